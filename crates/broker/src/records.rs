//! Record batches on their way into a log, and records looked up in one.
//!
//! What a producer sends is checked as Kafka's `LogValidator` checks it, record by record: one batch of magic 2, its
//! CRC, its size, offsets that count from 0, no control or transactional records. Two things are stricter than in Kafka,
//! which mends them silently: offsets within the batch have to be consecutive, and nothing may follow the batch.

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::compression::{Compression, Decompressor};
use ottla_wire::messages::BatchIndexAndErrorMessage;
use ottla_wire::records::{RecordBatch, RecordBatches};

use crate::log::{BatchEntry, Log, ProducerStamp};
use crate::state::{TimestampType, TopicConfig};

/// What one batch may decompress to, to be checked or looked into.
pub(crate) const MAX_BATCH_BYTES: usize = ottla_wire::compression::DEFAULT_MAX_BATCH_BYTES;

/// Why a batch is not appended.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<String>,
    pub(crate) records: Vec<BatchIndexAndErrorMessage>,
}

impl Rejected {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()), records: Vec::new() }
    }
}

impl From<ErrorCode> for Rejected {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new() }
    }
}

/// The batch that a Produce request in `version` brings for a partition, checked.
pub(crate) fn validate(
    records: Option<Bytes>,
    version: i16,
    config: &TopicConfig,
    decompressor: &mut Decompressor,
) -> Result<RecordBatch, Rejected> {
    let batch = the_only_batch(records.unwrap_or_default())?;
    let invalid = |message: &str| Err(Rejected::new(ErrorCode::InvalidRecord, message));
    if batch.magic() != 2 {
        return invalid("Produce requests are only allowed to contain record batches with magic version 2");
    }
    if version < 7 && batch.compression() == Compression::Zstd {
        let message = "Produce requests with version below 7 are not allowed to use ZStandard compression";
        return Err(Rejected::new(ErrorCode::UnsupportedCompressionType, message));
    }
    if batch.size_bytes() > config.max_message_bytes {
        let (size, limit) = (batch.size_bytes(), config.max_message_bytes);
        let message =
            format!("The record batch size in the append is {size} bytes which exceeds the maximum of {limit}");
        return Err(Rejected::new(ErrorCode::MessageTooLarge, message));
    }
    batch.check_crc().map_err(|corrupt| Rejected::new(ErrorCode::CorruptMessage, corrupt.to_string()))?;
    if batch.base_offset() != 0 {
        return invalid("The baseOffset of the record batch in the append should be 0");
    }
    if batch.is_control() {
        return invalid("Clients are not allowed to write control records");
    }
    if batch.is_transactional() {
        return Err(Rejected::new(ErrorCode::InvalidTxnState, "The embedded cluster has no transactions"));
    }
    if batch.producer_id() >= 0 && (batch.base_sequence() < 0 || batch.producer_epoch() < 0) {
        return invalid("Invalid sequence number or epoch in a record batch with a producer id");
    }
    let count = batch.record_count().map_or(0, i64::from);
    if count == 0 || batch.last_offset() - batch.base_offset() + 1 != count {
        return invalid("Inconsistent batch offset range or record count");
    }
    validate_records(&batch, config, decompressor)?;
    Ok(batch)
}

fn the_only_batch(records: Bytes) -> Result<RecordBatch, Rejected> {
    let mut batches = RecordBatches::new(records);
    let exactly_one =
        || Rejected::new(ErrorCode::InvalidRecord, "Produce requests must contain exactly one record batch");
    let batch = match batches.next() {
        Some(Ok(batch)) => batch,
        Some(Err(corrupt)) => return Err(Rejected::new(ErrorCode::CorruptMessage, corrupt.to_string())),
        None if batches.rest().is_empty() => return Err(exactly_one()),
        None => return Err(Rejected::new(ErrorCode::CorruptMessage, "The record batch is incomplete")),
    };
    if batches.next().is_some() || !batches.rest().is_empty() {
        return Err(exactly_one());
    }
    Ok(batch)
}

fn validate_records(
    batch: &RecordBatch,
    config: &TopicConfig,
    decompressor: &mut Decompressor,
) -> Result<(), Rejected> {
    let open = batch
        .open_unchecked(decompressor)
        .map_err(|corrupt| Rejected::new(ErrorCode::CorruptMessage, corrupt.to_string()))?;
    let mut refused = Vec::new();
    for (index, record) in (0i32..).zip(open.records()) {
        let record = record.map_err(|corrupt| Rejected::new(ErrorCode::InvalidRecord, corrupt.to_string()))?;
        let fault = if record.offset() != i64::from(index) {
            "The offsets of the batch's records are not consecutive"
        } else if config.compacted && record.key().is_none() {
            "Compacted topic cannot accept message without key"
        } else {
            continue;
        };
        refused
            .push(BatchIndexAndErrorMessage { batch_index: index, batch_index_error_message: Some(fault.to_owned()) });
    }
    if refused.is_empty() {
        return Ok(());
    }
    let message = Some("One or more records have been rejected".to_owned());
    Err(Rejected { code: ErrorCode::InvalidRecord, message, records: refused })
}

/// The producer that a batch names.
pub(crate) fn stamp(batch: &RecordBatch) -> Option<ProducerStamp> {
    let records = batch.record_count().and_then(|count| i32::try_from(count).ok()).unwrap_or(1);
    ProducerStamp::new(batch.producer_id(), batch.producer_epoch(), batch.base_sequence(), records)
}

/// Appends a checked batch: gives it its offsets, the leader's epoch and, where the topic wants that, the time.
/// Returns its first offset.
pub(crate) fn append(
    log: &mut Log,
    batch: RecordBatch,
    leader_epoch: i32,
    config: &TopicConfig,
    timestamp_ms: i64,
) -> Result<i64, Rejected> {
    let batch = match config.timestamp_type {
        TimestampType::CreateTime => batch,
        TimestampType::LogAppendTime => batch
            .set_log_append_time(timestamp_ms)
            .map_err(|corrupt| Rejected::new(ErrorCode::CorruptMessage, corrupt.to_string()))?,
    };
    let base_offset = log.end_offset();
    let last_offset = base_offset.saturating_add(batch.last_offset() - batch.base_offset());
    let entry = BatchEntry::new((base_offset, last_offset), batch.max_timestamp(), leader_epoch).by(stamp(&batch));
    log.append(entry, batch.size_bytes(), |buffer| put_in_place(buffer, batch.bytes(), base_offset, leader_epoch));
    Ok(base_offset)
}

/// Appends bytes that nobody has checked, as `records` records: what a broker with a bad disk serves. If they look like a
/// batch of magic 2, they are given their offset and epoch; otherwise they stay as they are.
pub(crate) fn append_unchecked(log: &mut Log, bytes: &Bytes, records: u32, leader_epoch: i32) -> i64 {
    let base_offset = log.end_offset();
    let last_offset = base_offset.saturating_add(i64::from(records.max(1)) - 1);
    let parsed = RecordBatches::new(bytes.clone()).next().and_then(Result::ok);
    let max_timestamp = parsed.as_ref().map_or(-1, RecordBatch::max_timestamp);
    let entry = BatchEntry::new((base_offset, last_offset), max_timestamp, leader_epoch);
    let is_magic_2 = bytes.get(MAGIC_AT) == Some(&2);
    log.append(entry, bytes.len(), |buffer| {
        if is_magic_2 {
            put_in_place(buffer, bytes, base_offset, leader_epoch);
        } else {
            buffer.extend_from_slice(bytes);
        }
    });
    base_offset
}

/// Copies a batch behind what is in the buffer, and [places](place) it there.
fn put_in_place(buffer: &mut Vec<u8>, batch: &[u8], base_offset: i64, leader_epoch: i32) {
    let start = buffer.len();
    buffer.extend_from_slice(batch);
    place(buffer.get_mut(start..).unwrap_or_default(), base_offset, leader_epoch);
}

/// Writes into a batch of magic 2 what only the broker knows: neither field is covered by the CRC.
pub(crate) fn place(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    if let Some(field) = batch.get_mut(..8) {
        field.copy_from_slice(&base_offset.to_be_bytes());
    }
    if let Some(field) = batch.get_mut(LEADER_EPOCH_AT..LEADER_EPOCH_AT + 4) {
        field.copy_from_slice(&leader_epoch.to_be_bytes());
    }
}

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamped {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
}

/// The first record at or after a timestamp, of those before the offset `below`.
pub(crate) fn earliest_at_or_after(log: &mut Log, timestamp: i64, below: i64) -> Option<Stamped> {
    let start = log.start_offset();
    let candidates = log.entries_since(timestamp).collect::<Vec<_>>();
    candidates
        .into_iter()
        .find_map(|index| record_in(log, index, timestamp, start))
        .filter(|found| found.offset < below)
}

/// The record with the latest timestamp, the first of several, of those before the offset `below`.
pub(crate) fn latest_timestamp(log: &mut Log, below: i64) -> Option<Stamped> {
    let start = log.start_offset();
    let readable = log.entries().enumerate().filter(|(_, entry)| entry.last_offset < below);
    let (index, timestamp) = readable
        .map(|(index, entry)| (index, entry.max_timestamp))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    record_in(log, index, timestamp, start)
}

fn record_in(log: &mut Log, index: usize, timestamp: i64, start: i64) -> Option<Stamped> {
    let stored = log.stored(index)?;
    let leader_epoch = stored.entry.leader_epoch;
    let batch = RecordBatches::new(stored.bytes).next()?.ok()?;
    let open = batch.open_unchecked(&mut Decompressor::new(MAX_BATCH_BYTES)).ok()?;
    let mut records = open.records().filter_map(Result::ok);
    let found = records.find(|record| record.timestamp() >= timestamp && record.offset() >= start)?;
    Some(Stamped { timestamp: found.timestamp(), offset: found.offset(), leader_epoch })
}

/// Where a batch states its leader's epoch.
const LEADER_EPOCH_AT: usize = 12;

/// Where a batch or message of any format states its magic.
const MAGIC_AT: usize = 16;

#[cfg(test)]
mod tests;
