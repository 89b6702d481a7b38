//! Who has read which record, by what the members tell of their polls.

use std::collections::BTreeMap;
use std::ops::Range;

use ottla::TopicPartition;
use protocol_tests::verifiable::{Event, consumed};

/// The members that have read each offset, in the order of the additions.
#[derive(Debug, Default)]
pub(crate) struct Readings(BTreeMap<TopicPartition, BTreeMap<i64, Vec<String>>>);

impl Readings {
    /// Adds what a member has told.
    pub(crate) fn add(&mut self, member: &str, events: &[Event]) {
        for (partition, offsets) in events.iter().flat_map(consumed) {
            let readers = self.0.entry(partition).or_default();
            for offset in offsets {
                readers.entry(offset).or_default().push(member.to_owned());
            }
        }
    }

    /// The first of these offsets that nobody has read.
    pub(crate) fn unread(&self, partition: &TopicPartition, mut offsets: Range<i64>) -> Option<i64> {
        offsets.find(|offset| self.readers(partition, *offset).is_empty())
    }

    /// Who has read an offset.
    pub(crate) fn readers(&self, partition: &TopicPartition, offset: i64) -> &[String] {
        self.0.get(partition).and_then(|of| of.get(&offset)).map_or(&[], Vec::as_slice)
    }

    /// One beyond the last offset that was read of each partition.
    pub(crate) fn ends(&self) -> BTreeMap<TopicPartition, i64> {
        let end = |of: &BTreeMap<i64, Vec<String>>| of.last_key_value().map_or(0, |(last, _)| last + 1);
        self.0.iter().map(|(partition, of)| (partition.clone(), end(of))).collect()
    }
}

pub(crate) const TESTS: &[(&str, fn())] = &[("readings::each_offset_knows_its_readers", each_offset_knows_its_readers)];

fn each_offset_knows_its_readers() {
    let partition = TopicPartition::new("t", 1);
    let read = |first: i64, last: i64| {
        let count = last - first + 1;
        Event::new(format!(
            r#"{{"name":"records_consumed","count":{count},"partitions":[
            {{"topic":"t","partition":1,"count":{count},"minOffset":{first},"maxOffset":{last}}}]}}"#
        ))
    };
    let mut readings = Readings::default();
    readings.add("one", &[read(0, 2), read(4, 4)]);
    readings.add("two", &[read(2, 2)]);
    assert_eq!(readings.readers(&partition, 2), ["one", "two"]);
    assert_eq!((readings.unread(&partition, 0..3), readings.unread(&partition, 0..6)), (None, Some(3)));
    assert_eq!(readings.ends(), [(partition, 5)].into());
}
