//! What the consumer tells, in the order of Java's fields.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ottla::{Record, TopicPartition};
use serde::Serialize;

use super::polled::Chunk;
use crate::json_lines::Event;

/// The consumer is there, and about to subscribe.
#[derive(Serialize)]
pub(super) struct StartupComplete {}

/// Somebody wants the consumer to end; or, behind [`ShutdownComplete`], it has ended by itself.
#[derive(Serialize)]
pub(super) struct ShutdownRequested {}

/// The consumer is closed.
#[derive(Serialize)]
pub(super) struct ShutdownComplete {}

/// What the listener was told is assigned.
#[derive(Serialize)]
pub(super) struct PartitionsAssigned<'a> {
    partitions: Vec<Partition<'a>>,
}

/// What the listener was told is revoked, or lost.
#[derive(Serialize)]
pub(super) struct PartitionsRevoked<'a> {
    partitions: Vec<Partition<'a>>,
}

/// What a poll brought.
#[derive(Serialize)]
pub(super) struct RecordsConsumed<'a> {
    count: usize,
    partitions: Vec<RecordSetSummary<'a>>,
}

/// A record.
#[derive(Serialize)]
pub(super) struct RecordData<'a> {
    key: Option<Cow<'a, str>>,
    value: Option<Cow<'a, str>>,
    topic: &'a str,
    partition: i32,
    offset: i64,
}

/// How a commit went.
#[derive(Serialize)]
pub(super) struct OffsetsCommitted<'a> {
    offsets: Vec<CommitData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    success: bool,
}

#[derive(Serialize)]
struct Partition<'a> {
    topic: &'a str,
    partition: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordSetSummary<'a> {
    #[serde(flatten)]
    partition: Partition<'a>,
    count: usize,
    min_offset: i64,
    max_offset: i64,
}

#[derive(Serialize)]
struct CommitData<'a> {
    #[serde(flatten)]
    partition: Partition<'a>,
    offset: i64,
}

impl<'a> From<&'a TopicPartition> for Partition<'a> {
    fn from(partition: &'a TopicPartition) -> Self {
        Self { topic: &partition.topic, partition: partition.partition }
    }
}

impl<'a> PartitionsAssigned<'a> {
    pub(super) fn new(partitions: &'a BTreeSet<TopicPartition>) -> Self {
        Self { partitions: partitions.iter().map(Partition::from).collect() }
    }
}

impl<'a> PartitionsRevoked<'a> {
    pub(super) fn new(partitions: &'a BTreeSet<TopicPartition>) -> Self {
        Self { partitions: partitions.iter().map(Partition::from).collect() }
    }
}

impl<'a> RecordsConsumed<'a> {
    pub(super) fn new(chunk: &Chunk<'a>) -> Self {
        let summary = |(partition, records): (&&'a TopicPartition, &Vec<Record<'a>>)| {
            Some(RecordSetSummary {
                partition: (*partition).into(),
                count: records.len(),
                min_offset: records.first()?.offset(),
                max_offset: records.last()?.offset(),
            })
        };
        Self { count: chunk.count, partitions: chunk.records.iter().filter_map(summary).collect() }
    }
}

impl<'a> RecordData<'a> {
    /// Bytes that are no UTF-8 become replacement characters, as in Java.
    pub(super) fn new(partition: &'a TopicPartition, record: &Record<'a>) -> Self {
        Self {
            key: record.key().map(String::from_utf8_lossy),
            value: record.value().map(String::from_utf8_lossy),
            topic: &partition.topic,
            partition: partition.partition,
            offset: record.offset(),
        }
    }
}

impl<'a> OffsetsCommitted<'a> {
    pub(super) fn new(offsets: &[(&'a TopicPartition, i64)], error: Option<String>) -> Self {
        let offsets =
            offsets.iter().map(|(partition, offset)| CommitData { partition: (*partition).into(), offset: *offset });
        Self { offsets: offsets.collect(), success: error.is_none(), error }
    }
}

impl Event for StartupComplete {
    const NAME: &'static str = "startup_complete";
}

impl Event for ShutdownRequested {
    const NAME: &'static str = "shutdown_requested";
}

impl Event for ShutdownComplete {
    const NAME: &'static str = "shutdown_complete";
}

impl Event for PartitionsAssigned<'_> {
    const NAME: &'static str = "partitions_assigned";
}

impl Event for PartitionsRevoked<'_> {
    const NAME: &'static str = "partitions_revoked";
}

impl Event for RecordsConsumed<'_> {
    const NAME: &'static str = "records_consumed";
}

impl Event for RecordData<'_> {
    const NAME: &'static str = "record_data";
}

impl Event for OffsetsCommitted<'_> {
    const NAME: &'static str = "offsets_committed";
}
