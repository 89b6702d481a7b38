//! What a bounded read reads: which partitions, from where, up to where.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use ottla_wire::TopicPartition;

use crate::{Consumer, Error};

/// What a [bounded read](crate::ConsumerBuilder::read_bounded) reads: all that partitions have now, unless a time or offsets are given.
///
/// A time range is one of offsets, as Kafka looks them up: each partition is read from its first record whose timestamp is
/// [`from_timestamp`](Self::from_timestamp) or later, up to before its first record whose timestamp is
/// [`until_timestamp`](Self::until_timestamp) or later. Where timestamps are in order, these are exactly the records of that
/// time. Where they are not, records between the two may be older than the range, and records behind its end may belong to it;
/// nothing is sorted out by timestamp, for that would be to read all of the log.
#[derive(Clone, Debug)]
pub struct ReadRange {
    what: What,
    from_ms: Option<i64>,
    until_ms: Option<i64>,
}

#[derive(Clone, Debug)]
enum What {
    Topics(BTreeSet<Arc<str>>),
    Partitions(BTreeSet<TopicPartition>),
    Offsets(BTreeMap<TopicPartition, Range<i64>>),
}

impl ReadRange {
    /// All partitions of a topic.
    pub fn topic(topic: impl Into<Arc<str>>) -> Self {
        Self::topics([topic])
    }

    /// All partitions of some topics.
    pub fn topics(topics: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        Self::of(What::Topics(topics.into_iter().map(Into::into).collect()))
    }

    /// These partitions.
    pub fn partitions(partitions: impl IntoIterator<Item = TopicPartition>) -> Self {
        Self::of(What::Partitions(partitions.into_iter().collect()))
    }

    /// These offsets of these partitions. A time range has no part in them.
    pub fn offsets(offsets: impl IntoIterator<Item = (TopicPartition, Range<i64>)>) -> Self {
        Self::of(What::Offsets(offsets.into_iter().collect()))
    }

    fn of(what: What) -> Self {
        Self { what, from_ms: None, until_ms: None }
    }

    /// From each partition's first record whose timestamp is this or later, in milliseconds since 1970. Default: from the
    /// first record that it has.
    pub fn from_timestamp(self, timestamp_ms: i64) -> Self {
        Self { from_ms: Some(timestamp_ms), ..self }
    }

    /// Up to before each partition's first record whose timestamp is this or later, in milliseconds since 1970. Default:
    /// up to its end when the read begins.
    pub fn until_timestamp(self, timestamp_ms: i64) -> Self {
        Self { until_ms: Some(timestamp_ms), ..self }
    }

    /// The offsets of each partition.
    pub(super) async fn find(self, consumer: &Consumer) -> Result<BTreeMap<TopicPartition, Range<i64>>, Error> {
        let partitions = match self.what {
            What::Offsets(offsets) => return within_logs(offsets, consumer).await,
            What::Partitions(partitions) => partitions,
            What::Topics(topics) => {
                let mut partitions = BTreeSet::new();
                for topic in topics {
                    partitions.extend(consumer.partitions_of(&topic).await?);
                }
                partitions
            }
        };
        let at = |time: i64| partitions.iter().map(move |partition| (partition.clone(), time));
        let mut ends = consumer.end_offsets(partitions.iter().cloned()).await?;
        let starts = match self.from_ms {
            // Where there is no such record, there is nothing to read.
            Some(time) => ends_where_none(consumer.offsets_for_times(at(time)).await?, &ends),
            None => consumer.beginning_offsets(partitions.iter().cloned()).await?,
        };
        if let Some(time) = self.until_ms {
            let until = ends_where_none(consumer.offsets_for_times(at(time)).await?, &ends);
            for (partition, end) in &mut ends {
                *end = until.get(partition).map_or(*end, |until| *until.min(end));
            }
        }
        let range = |(partition, end): (TopicPartition, i64)| {
            let start = starts.get(&partition).map_or(end, |start| *start.min(&end));
            (partition, start..end)
        };
        Ok(ends.into_iter().map(range).collect())
    }
}

fn ends_where_none(
    found: BTreeMap<TopicPartition, Option<crate::OffsetAndTimestamp>>,
    ends: &BTreeMap<TopicPartition, i64>,
) -> BTreeMap<TopicPartition, i64> {
    let offset = |(partition, found): (TopicPartition, Option<crate::OffsetAndTimestamp>)| {
        let offset = found.map(|found| found.offset).or_else(|| ends.get(&partition).copied())?;
        Some((partition, offset))
    };
    found.into_iter().filter_map(offset).collect()
}

/// The offsets, which must not lie behind the ends of the logs: what is not there yet is not waited for.
async fn within_logs(
    offsets: BTreeMap<TopicPartition, Range<i64>>,
    consumer: &Consumer,
) -> Result<BTreeMap<TopicPartition, Range<i64>>, Error> {
    let ends = consumer.end_offsets(offsets.keys().cloned()).await?;
    for (partition, offsets) in &offsets {
        if let Some(log_end) = ends.get(partition)
            && offsets.end > *log_end
        {
            return Err(Error::EndGone { partition: partition.clone(), end: offsets.end, log_end: *log_end });
        }
    }
    Ok(offsets)
}
