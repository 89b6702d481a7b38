//! What a poll hands out: whole batches, owned.
//!
//! A [`Batches`] keeps its buffers alive and borrows nothing from the fetcher, so it may be held over an await, sent to
//! another task, and used while the fetcher is told to seek or pause. Its memory counts against
//! `fetch_buffer_max_bytes` until it is dropped, and so does that of a record that was made an owned one. What was not
//! compressed is a slice of the broker's answer, so that one record keeps all of the answer in memory.

use std::sync::Arc;

use ottla_wire::records::{OpenBatch, OwnedRecord, Record, TimestampType};
use ottla_wire::{LeaderEpoch, TopicPartition};

use crate::Records;
use crate::handed_out::{Progress, Reached};
use crate::opener::OpenedBatch;

/// The batches of one poll. Those of one partition stand in the order of their offsets.
#[derive(Debug, Default)]
pub struct Batches {
    batches: Vec<Batch>,
}

impl Batches {
    pub(crate) fn new(opened: Vec<OpenedBatch>, progress: &Arc<Progress>) -> Self {
        let batch = |(cell, opened): (usize, OpenedBatch)| Batch {
            place: opened.place,
            generation: opened.generation,
            partition: opened.partition,
            high_watermark: opened.high_watermark,
            from: opened.from,
            until: i64::MAX,
            leader_epoch: opened.leader_epoch,
            open: opened.open,
            progress: Arc::clone(progress),
            cell,
        };
        Self { batches: opened.into_iter().enumerate().map(batch).collect() }
    }

    /// Whether there is none: the poll's time was up.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many batches there are.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// The batches.
    pub fn iter(&self) -> std::slice::Iter<'_, Batch> {
        self.batches.iter()
    }

    /// How many records its batches say they have, those before the position included.
    pub fn record_count(&self) -> usize {
        self.batches.iter().map(|batch| batch.open.record_count() as usize).sum()
    }
}

impl<'b> IntoIterator for &'b Batches {
    type Item = &'b Batch;
    type IntoIter = std::slice::Iter<'b, Batch>;

    fn into_iter(self) -> Self::IntoIter {
        self.batches.iter()
    }
}

impl FromIterator<Batch> for Batches {
    fn from_iter<I: IntoIterator<Item = Batch>>(batches: I) -> Self {
        Self { batches: batches.into_iter().collect() }
    }
}

impl IntoIterator for Batches {
    type Item = Batch;
    type IntoIter = std::vec::IntoIter<Batch>;

    fn into_iter(self) -> Self::IntoIter {
        self.batches.into_iter()
    }
}

/// How far the records of a [`Batch`] have been walked.
#[derive(Clone, Debug)]
pub struct BatchProgress {
    progress: Arc<Progress>,
    cell: usize,
}

impl BatchProgress {
    /// The offset of the record that could not be read, where its iterator came to one.
    pub fn corrupt_offset(&self) -> Option<i64> {
        match self.progress.reached(self.cell) {
            Reached::Corrupt(offset) => Some(offset),
            Reached::Offset(_) | Reached::End => None,
        }
    }
}

/// One batch of one partition: as the producer made it, its checksum compared, decompressed. Cloning it shares it.
///
/// It counts as *come back from* when an iterator over its records has returned `None`, or when the next poll begins.
///
/// # Memory
///
/// Holding a batch holds more than its [`size_bytes`](Self::size_bytes). One that was not compressed is a slice of the answer
/// that it came in, with what came of other partitions of that broker; all of it stays in memory, and counts against
/// `fetch_buffer_max_bytes`, until the last batch and the last owned record of it are dropped. An answer takes up to half
/// of that setting, divided by the number of brokers. (What is compressed is decompressed into memory of its own.) So
/// whoever holds a batch for long, or has it wait in a queue for a slow reader, slows the reading of all partitions: the
/// next answers are smaller by as much as is held, and where batches of many answers are held nothing is read until
/// some are dropped. Whoever keeps records for long [detaches](Record::to_detached) them, which copies.
#[derive(Clone, Debug)]
pub struct Batch {
    place: usize,
    generation: u64,
    partition: TopicPartition,
    high_watermark: i64,
    from: i64,
    /// Records from this offset on are not handed out.
    until: i64,
    leader_epoch: Option<LeaderEpoch>,
    open: OpenBatch,
    progress: Arc<Progress>,
    cell: usize,
}

impl Batch {
    /// The partition that it was read from.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The topic that it was read from.
    pub fn topic(&self) -> &str {
        &self.partition.topic
    }

    /// The partition's index in the topic.
    pub fn partition(&self) -> i32 {
        self.partition.partition
    }

    /// The end of the partition's replicated log, when this was fetched.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The offset that its records are handed out from: those before it were read already, or not asked for.
    pub fn start_offset(&self) -> i64 {
        self.from
    }

    /// The epoch of the leader that appended it, where the log says so (KIP-320).
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }

    /// The offset behind it; where it [ends before](Self::ending_before) that, the offset that it ends before.
    pub fn next_offset(&self) -> i64 {
        self.open.next_offset().min(self.until)
    }

    /// The same batch without the records at `offset` and behind.
    #[must_use]
    pub fn ending_before(self, offset: i64) -> Self {
        let until = self.until.min(offset).max(self.from);
        Self { until, ..self }
    }

    /// How many records its iterator hands out, unless one cannot be read. Where that is not all that the batch has, they are
    /// walked to be counted.
    pub fn record_count(&self) -> usize {
        if self.from <= self.open.base_offset() && self.open.next_offset() <= self.until {
            return self.open.record_count() as usize;
        }
        let offsets = self.open.records().map_while(Result::ok).map(|record| record.offset());
        offsets.filter(|offset| (self.from..self.until).contains(offset)).count()
    }

    /// How many bytes its records take in memory. Holding it can hold more: see [Memory](Self#memory).
    pub fn size_bytes(&self) -> usize {
        self.open.buffer().len()
    }

    /// What its records' timestamps mean.
    pub fn timestamp_type(&self) -> TimestampType {
        self.open.timestamp_type()
    }

    /// How far its records have been walked, apart from the records themselves: it keeps none of them in memory.
    pub fn progress(&self) -> BatchProgress {
        BatchProgress { progress: Arc::clone(&self.progress), cell: self.cell }
    }

    /// Walks its records, from the position on.
    #[inline]
    pub fn records(&self) -> Records<'_> {
        Records::new(self, &self.progress, self.cell, self.from..self.until)
    }

    /// One of its records that keeps the batch's buffer alive instead of borrowing from it: no copy, but all of the
    /// buffer stays in memory until the last such record is dropped, and counts against `fetch_buffer_max_bytes`. For what is
    /// kept for long there is [`Record::to_detached`], which copies.
    pub fn to_owned_record(&self, record: &Record<'_>) -> OwnedRecord {
        self.open.to_owned_record(record)
    }

    /// Its partition's place and the course that it was read on.
    pub(crate) fn course(&self) -> (usize, u64) {
        (self.place, self.generation)
    }

    pub(crate) fn open_batch(&self) -> &OpenBatch {
        &self.open
    }
}
