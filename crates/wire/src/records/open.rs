//! A batch whose records can be read, and the walk over them.
//!
//! This loop is the hot path of the whole client: one slice, a position in it, one- and two-byte integers inline,
//! nothing allocated, counted or locked for a record.
#![allow(clippy::inline_always, reason = "measured: a call for a record costs as much as the record")]

use bytes::Bytes;

use super::header::{BatchHeader, HEADER_BYTES};
use super::legacy::{self, LegacyMessages};
use super::record::OwnedRecord;
use super::varint::{sized, varint, varlong};
use super::{BatchFault, CorruptRecord, Record, RecordFault, TimestampType};
use crate::compression::{Compression, Decompressor, Dialect};

/// A batch whose CRC has been checked and whose records are decompressed.
#[derive(Clone, Debug)]
pub struct OpenBatch {
    header: BatchHeader,
    records: Bytes,
    legacy: Option<LegacyMessages>,
}

/// Makes the records of the batch that `bytes` are readable.
pub(super) fn open(
    bytes: &Bytes,
    header: &BatchHeader,
    decompressor: &mut Decompressor,
) -> Result<OpenBatch, BatchFault> {
    if header.magic < 2 {
        let (header, records, messages) = legacy::open(bytes, header, decompressor)?;
        return Ok(OpenBatch { header, records, legacy: Some(messages) });
    }
    let payload = bytes.slice(HEADER_BYTES.min(bytes.len())..);
    let records = match header.compression {
        Compression::None => payload,
        // Java does not look at the payload of a batch that has no records.
        _ if header.record_count == Some(0) => Bytes::new(),
        compression => {
            decompressor.decompress_shared(compression, &payload, Dialect::Standard).map_err(BatchFault::Decompress)?
        }
    };
    Ok(OpenBatch { header: *header, records, legacy: None })
}

impl OpenBatch {
    /// Walks the records.
    #[inline]
    pub fn records(&self) -> Records<'_> {
        Records {
            bytes: &self.records,
            position: 0,
            remaining: self.header.record_count.unwrap_or(0),
            base_offset: self.header.base_offset,
            base_timestamp: self.header.base_timestamp,
            append_timestamp: self.header.max_timestamp,
            append_time: self.header.timestamp_type() == TimestampType::LogAppendTime,
            legacy: self.legacy,
            next_offset: self.header.base_offset,
            behind: self.header.last_offset.saturating_add(1),
        }
    }

    /// The records' bytes, decompressed: what records borrow from, and owned ones share.
    pub fn buffer(&self) -> &Bytes {
        &self.records
    }

    /// A record of this batch that keeps the batch's buffer alive instead of borrowing from it.
    pub fn to_owned_record(&self, record: &Record<'_>) -> OwnedRecord {
        record.to_owned(&self.records)
    }

    /// The offset of the first record, also of a compressed message of magic 0 or 1.
    pub fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// The offset of the last record, also if that record has been compacted away.
    pub fn last_offset(&self) -> i64 {
        self.header.last_offset
    }

    /// The offset behind the batch.
    pub fn next_offset(&self) -> i64 {
        self.header.last_offset.saturating_add(1)
    }

    /// How many records it says it has.
    pub fn record_count(&self) -> u32 {
        self.header.record_count.unwrap_or(0)
    }

    /// What its timestamps mean.
    pub fn timestamp_type(&self) -> TimestampType {
        self.header.timestamp_type()
    }
}

/// An iterator over the records of a batch; ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'b> {
    bytes: &'b [u8],
    position: usize,
    remaining: u32,
    base_offset: i64,
    base_timestamp: i64,
    append_timestamp: i64,
    append_time: bool,
    legacy: Option<LegacyMessages>,
    next_offset: i64,
    behind: i64,
}

impl<'b> Records<'b> {
    /// The offset behind the last record that was read; at the end of the batch, that behind the batch.
    pub fn next_offset(&self) -> i64 {
        if self.remaining == 0 { self.behind } else { self.next_offset }
    }

    #[inline(always)]
    fn parse(&mut self) -> Result<Record<'b>, RecordFault> {
        let mut position = self.position;
        let length = varint(self.bytes, &mut position)?;
        let length = usize::try_from(length).map_err(|_| RecordFault::NegativeLength)?;
        let end = position + length;
        // Everything below reads from a slice that ends where the record does.
        let record = self.bytes.get(..end).ok_or(RecordFault::Truncated)?;
        // The attributes of a record are not used.
        position += 1;
        let timestamp_delta = varlong(record, &mut position)?;
        let offset_delta = varint(record, &mut position)?;
        let key = sized(record, &mut position)?;
        let value = sized(record, &mut position)?;
        let header_count = varint(record, &mut position)?;
        let (headers, header_count) = if header_count == 0 {
            (&[][..], 0)
        } else {
            let checked = check_headers(record, position, header_count)?;
            position = end;
            checked
        };
        if position != end {
            return Err(RecordFault::LengthMismatch);
        }
        let timestamp =
            if self.append_time { self.append_timestamp } else { self.base_timestamp.wrapping_add(timestamp_delta) };
        self.position = end;
        let offset = self.base_offset.wrapping_add(i64::from(offset_delta));
        Ok(Record { offset, timestamp, key, value, headers, header_count })
    }

    #[inline(always)]
    fn parse_message(&mut self, messages: LegacyMessages) -> Result<Record<'b>, RecordFault> {
        let (record, behind) = messages.read(self.bytes, self.position)?;
        self.position = behind;
        Ok(record)
    }

    /// Ends the walk with the error at the position.
    #[inline(always)]
    fn corrupt(&mut self, fault: RecordFault) -> CorruptRecord {
        self.remaining = 0;
        // By value, as with every call that is left here: the walk's state shall be in registers.
        corrupt(self.next_offset, self.behind, self.position, fault)
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<Record<'b>, CorruptRecord>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        let record = match self.legacy {
            None => self.parse(),
            Some(messages) => self.parse_message(messages),
        };
        let record = match record {
            Ok(record) => record,
            Err(fault) => return Some(Err(self.corrupt(fault))),
        };
        self.remaining -= 1;
        if self.remaining == 0 && self.position != self.bytes.len() {
            return Some(Err(self.corrupt(RecordFault::TrailingBytes)));
        }
        self.next_offset = record.offset.wrapping_add(1);
        Some(Ok(record))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        // What the batch states is believed as a bound only.
        (0, Some(self.remaining as usize))
    }
}

impl std::iter::FusedIterator for Records<'_> {}

#[cold]
#[inline(never)]
fn corrupt(offset: i64, next_offset: i64, position: usize, fault: RecordFault) -> CorruptRecord {
    CorruptRecord { offset, next_offset, position, fault }
}

/// Walks over `count` headers, which fill the record from `start` on, so that [`Headers`](super::Headers) need not fail.
#[inline(never)]
fn check_headers(record: &[u8], start: usize, count: i32) -> Result<(&[u8], u32), RecordFault> {
    let count = u32::try_from(count).map_err(|_| RecordFault::NegativeHeaderCount)?;
    let mut position = start;
    // No more than the bytes there are: each header takes two.
    for _ in 0..count {
        sized(record, &mut position)?.ok_or(RecordFault::NullHeaderKey)?;
        sized(record, &mut position)?;
    }
    if position != record.len() {
        return Err(RecordFault::LengthMismatch);
    }
    Ok((record.get(start..).unwrap_or_default(), count))
}
