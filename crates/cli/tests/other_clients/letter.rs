//! A record as the programs print it, and Ottla's records in the same form.

use std::collections::{BTreeMap, BTreeSet};

use ottla::Client;
use protocol_tests::record::PlainRecord;
use protocol_tests::suite::read_from_start;
use protocol_tests::verifiable::Event;
use serde_json::Value;

use crate::shared::PARTITIONS;

/// A record that was written or read, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Letter {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) value: String,
}

impl Letter {
    /// What a line says, if it is of a record.
    fn read(json: &Value) -> Option<Self> {
        Some(Self {
            partition: i32::try_from(json["partition"].as_i64()?).ok()?,
            offset: json["offset"].as_i64()?,
            key: json["key"].as_str()?.to_owned(),
            value: json["value"].as_str()?.to_owned(),
        })
    }

    pub(crate) fn from_record(record: &PlainRecord) -> Self {
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap_or_default()).expect("a text");
        Self {
            partition: record.partition.expect("a record that was read has a partition"),
            offset: record.offset.expect("a record that was read has an offset"),
            key: text(&record.key),
            value: text(&record.value),
        }
    }
}

/// The records among the lines of a program, in their order.
pub(crate) fn letters(events: &[Event]) -> Vec<Letter> {
    events.iter().filter_map(|event| Letter::read(&event.json)).collect()
}

/// The records in the order of their places, of which none may be there twice.
pub(crate) fn in_order(letters: impl IntoIterator<Item = Letter>) -> Vec<Letter> {
    let mut places = BTreeSet::new();
    let mut letters: Vec<_> = letters.into_iter().collect();
    for letter in &letters {
        assert!(places.insert((letter.partition, letter.offset)), "twice: {letter:?}");
    }
    letters.sort();
    letters
}

/// How many there are in each partition.
pub(crate) fn counts(letters: &[Letter]) -> BTreeMap<i32, usize> {
    let mut counts = BTreeMap::new();
    for letter in letters {
        *counts.entry(letter.partition).or_default() += 1;
    }
    counts
}

/// What Ottla reads of a topic that is to hold `count` records, in order.
pub(crate) async fn read_by_ottla(client: &Client, topic: &str, written: &[Letter]) -> Vec<Letter> {
    let counts = counts(written);
    let mut letters = Vec::new();
    for partition in 0..PARTITIONS {
        let count = counts.get(&partition).copied().unwrap_or_default();
        let records = read_from_start(client, topic, partition, count).await;
        letters.extend(records.iter().map(Letter::from_record));
    }
    in_order(letters)
}
