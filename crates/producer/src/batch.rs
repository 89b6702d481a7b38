//! A batch: filling, and encoded.
//!
//! A [`Batch`] takes records in wire form until it is full; the [`Encoder`] compresses it and makes it an
//! [`EncodedBatch`], which knows how its attempts went. A batch that is too large for the broker is split in two, which
//! share the [`Completion`] and differ in the range of records that they answer for.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ottla_wire::compression::{CompressionLevel, Compressor, Decompressor};
use ottla_wire::records::{BatchBuilder, ProducerState, RecordBatches};
use ottla_wire::{EncodeError, NodeId};

use crate::completion::Completion;
use crate::{Error, ProducerRecord};

/// Numbers the batches of a producer in the order of their creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId(u64);

impl BatchId {
    /// This id; the next time, the next.
    pub(crate) fn take_next(&mut self) -> Self {
        let id = *self;
        self.0 += 1;
        id
    }
}

/// A batch that takes records.
pub(crate) struct Batch {
    id: BatchId,
    completion: Arc<Completion>,
    created: Instant,
    expires: Instant,
    limit_bytes: usize,
    builder: BatchBuilder,
    flushed: bool,
}

impl Batch {
    /// What a batch takes up besides its records.
    pub(crate) const OVERHEAD_BYTES: usize = 61;

    /// The most that a record can take up in a batch.
    pub(crate) fn record_bytes_bound(record: &ProducerRecord<'_>) -> usize {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let header = |(name, value): (&str, Option<&[u8]>)| HEADER_OVERHEAD_BYTES + name.len() + length(value);
        let headers: usize = record.headers().map(header).sum();
        RECORD_OVERHEAD_BYTES + length(record.key_bytes()) + length(record.value_bytes()) + headers
    }

    /// An empty batch that takes records up to `limit_bytes`, of which it allocates the memory.
    pub(crate) fn open(
        id: BatchId,
        completion: Arc<Completion>,
        created: Instant,
        expires: Instant,
        limit_bytes: usize,
    ) -> Self {
        let builder = BatchBuilder::with_capacity(limit_bytes);
        Self { id, completion, created, expires, limit_bytes, builder, flushed: false }
    }

    pub(crate) fn id(&self) -> BatchId {
        self.id
    }

    pub(crate) fn completion(&self) -> &Arc<Completion> {
        &self.completion
    }

    /// When its first record came.
    pub(crate) fn created(&self) -> Instant {
        self.created
    }

    /// When its delivery timeout passes.
    pub(crate) fn expires(&self) -> Instant {
        self.expires
    }

    /// Whether a record of at most so many bytes fits.
    pub(crate) fn has_room(&self, record_bytes: usize) -> bool {
        self.builder.estimated_size() + record_bytes <= self.limit_bytes
    }

    /// Whether not even the smallest record fits.
    pub(crate) fn is_full(&self) -> bool {
        !self.has_room(RECORD_OVERHEAD_BYTES)
    }

    /// Has it sent without lingering when its turn comes.
    pub(crate) fn flush(&mut self) {
        self.flushed = true;
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.flushed
    }

    /// How many records it has.
    pub(crate) fn record_count(&self) -> u32 {
        self.builder.record_count()
    }

    /// Adds a record and gives its index. Fails without changing anything.
    pub(crate) fn append(&mut self, record: &ProducerRecord<'_>, timestamp_ms: i64) -> Result<u32, EncodeError> {
        let index = self.builder.record_count();
        self.builder.append(timestamp_ms, record.key_bytes(), record.value_bytes(), record.headers())?;
        Ok(index)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Batch")
            .field("id", &self.id)
            .field("records", &self.record_count())
            .field("bytes", &self.builder.estimated_size())
            .finish_non_exhaustive()
    }
}

/// Encodes batches. Keeps the codec's memory from one batch to the next.
#[derive(Debug)]
pub(crate) struct Encoder {
    compressor: Compressor,
}

impl Encoder {
    pub(crate) fn new(compression: CompressionLevel) -> Self {
        Self { compressor: Compressor::new(compression) }
    }

    /// Encodes a batch. On failure it comes back without records, to be answered.
    pub(crate) fn encode(&mut self, mut batch: Batch) -> Result<EncodedBatch, Box<(EncodedBatch, CauseOfEncode)>> {
        let record_count = batch.record_count();
        batch.completion.seal(record_count);
        let records = batch.builder.build(&mut self.compressor, ProducerState::NONE);
        let mut encoded = EncodedBatch {
            completion: batch.completion,
            records: Bytes::new(),
            first_index: 0,
            record_count,
            expires: batch.expires,
            attempts: 0,
            failures: 0,
            failed_on: NodeId::NONE,
            may_have_been_written: false,
            last_error: None,
            answered: false,
        };
        match records {
            Ok(records) => {
                encoded.records = records;
                Ok(encoded)
            }
            Err(error) => Err(Box::new((encoded, Arc::new(error)))),
        }
    }

    /// The two halves of a batch of several records, by their count. `None` where it cannot be read back, which would
    /// be a mistake of the encoder.
    pub(crate) fn split(&mut self, batch: &EncodedBatch) -> Option<(EncodedBatch, EncodedBatch)> {
        // Our own records: what they decompress to has been in memory before.
        let mut decompressor = Decompressor::new(usize::MAX);
        let open = RecordBatches::new(batch.records.clone()).next()?.ok()?.open(&mut decompressor).ok()?;
        let half = batch.record_count / 2;
        let mut halves = [BatchBuilder::new(), BatchBuilder::new()];
        for (index, record) in (0..).zip(open.records()) {
            let record = record.ok()?;
            let headers: Vec<_> = record.headers().collect();
            let headers = headers.iter().map(|header| (header.key(), header.value())).collect::<Vec<_>>();
            let headers = headers.iter().map(|(name, value)| (&**name, *value));
            let [first, second] = &mut halves;
            let builder = if index < half { first } else { second };
            builder.append(record.timestamp(), record.key(), record.value(), headers).ok()?;
        }
        let [mut first, mut second] = halves;
        let part = |first_index, record_count, records| EncodedBatch {
            records,
            first_index,
            record_count,
            last_error: None,
            completion: Arc::clone(&batch.completion),
            ..*batch
        };
        let (first_count, second_count) = (first.record_count(), second.record_count());
        if (first_count, second_count) != (half, batch.record_count - half) {
            return None;
        }
        let first = first.build(&mut self.compressor, ProducerState::NONE).ok()?;
        let second = second.build(&mut self.compressor, ProducerState::NONE).ok()?;
        Some((part(batch.first_index, first_count, first), part(batch.first_index + half, second_count, second)))
    }
}

/// Why a batch could not be encoded.
pub(crate) type CauseOfEncode = Arc<dyn std::error::Error + Send + Sync>;

/// A batch, or a part of one, as it is sent.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    completion: Arc<Completion>,
    records: Bytes,
    /// The place of its first record among those that its completion answers for.
    first_index: u32,
    record_count: u32,
    expires: Instant,
    attempts: u32,
    failures: u32,
    failed_on: NodeId,
    may_have_been_written: bool,
    last_error: Option<Error>,
    answered: bool,
}

impl EncodedBatch {
    pub(crate) fn completion(&self) -> &Arc<Completion> {
        &self.completion
    }

    pub(crate) fn records(&self) -> &Bytes {
        &self.records
    }

    pub(crate) fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Its records, by their index in the completion.
    pub(crate) fn indexes(&self) -> Range<u32> {
        self.first_index..self.first_index + self.record_count
    }

    pub(crate) fn expires(&self) -> Instant {
        self.expires
    }

    /// How many attempts were made that may have reached a broker.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How many attempts in a row have failed on the node that failed last, those that never left included.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether an attempt that failed may have written it all the same.
    pub(crate) fn may_have_been_written(&self) -> bool {
        self.may_have_been_written
    }

    /// Notes an attempt that failed on a node.
    pub(crate) fn attempt_failed(&mut self, node: NodeId, sent: bool, error: Error) {
        self.attempts += u32::from(sent);
        let before = if std::mem::replace(&mut self.failed_on, node) == node { self.failures } else { 0 };
        self.failures = before.saturating_add(1);
        self.may_have_been_written |= error.may_have_been_written();
        self.last_error = Some(error);
    }

    /// What the last attempt failed with, which then tells of all attempts whether one may have been written.
    pub(crate) fn take_last_error(&mut self) -> Option<Error> {
        let error = self.last_error.take()?;
        Some(if self.may_have_been_written { error.with_possible_write() } else { error })
    }

    /// Whether its records have not been answered yet.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.answered
    }

    /// Notes that they have been.
    pub(crate) fn answered(&mut self) {
        self.answered = true;
    }
}

/// A record's lengths, deltas and attributes, each at its longest.
const RECORD_OVERHEAD_BYTES: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
/// A header's two lengths.
const HEADER_OVERHEAD_BYTES: usize = 10;
