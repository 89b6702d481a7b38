//! Messages of magic 0 and 1, read only.
//!
//! Each message is a batch of its own; a compressed one holds a whole set of messages in its value. What its offset
//! says differs: in magic 0 the inner messages have their own offsets; in magic 1 theirs count from 0, and the outer
//! one is that of the last (KIP-31), or 0 as some producers leave it. With log append time (KIP-32) the outer
//! timestamp holds for all.

use bytes::Bytes;

use super::header::{ATTRIBUTE_COMPRESSION, BatchHeader, Fields, LOG_OVERHEAD_BYTES, MAGIC_AT};
use super::{BatchFault, NO_TIMESTAMP, Record, RecordFault, TimestampType, crc32};
use crate::compression::{Compression, Decompressor, Dialect};

/// How the messages of an opened batch are to be understood.
#[derive(Clone, Copy, Debug)]
pub(super) struct LegacyMessages {
    /// What is added to each offset.
    offset_shift: i64,
    /// What replaces each timestamp.
    timestamp: Option<i64>,
    /// Whether each message's CRC has yet to be looked at; that of the outermost was, with the batch's.
    check_crc: bool,
}

impl LegacyMessages {
    /// Reads the message at `position`, and returns it with the position behind it.
    #[inline(never)]
    pub(super) fn read(self, bytes: &[u8], position: usize) -> Result<(Record<'_>, usize), RecordFault> {
        let (message, end) = Message::parse(bytes, position)?;
        if self.check_crc && crc32(message.checked) != message.crc {
            return Err(RecordFault::Crc);
        }
        let record = Record {
            offset: message.offset.wrapping_add(self.offset_shift),
            timestamp: match self.timestamp {
                Some(timestamp) if message.magic > 0 => timestamp,
                _ => message.timestamp,
            },
            key: message.key,
            value: message.value,
            headers: &[],
            header_count: 0,
        };
        Ok((record, end))
    }
}

/// Opens the message that `bytes` are: as the one record that it is, or as those that it holds. The header that is
/// returned has the true base offset and count.
pub(super) fn open(
    bytes: &Bytes,
    header: &BatchHeader,
    decompressor: &mut Decompressor,
) -> Result<(BatchHeader, Bytes, LegacyMessages), BatchFault> {
    if header.compression == Compression::None {
        let messages = LegacyMessages { offset_shift: 0, timestamp: None, check_crc: false };
        return Ok((*header, bytes.clone(), messages));
    }
    let corrupt = |position, fault| BatchFault::Message { position, fault };
    let (wrapper, _) = Message::parse(bytes, 0).map_err(|fault| corrupt(0, fault))?;
    let compressed = wrapper.value.ok_or(corrupt(0, RecordFault::NoMessages))?;
    let dialect = if header.magic == 0 { Dialect::MagicZero } else { Dialect::Standard };
    let records =
        decompressor.decompress_shared(header.compression, compressed, dialect).map_err(BatchFault::Decompress)?;
    let inner = Inner::survey(&records, header)?;
    let out_of_range = |shift: &i64| inner.first_offset.checked_add(*shift).is_none();
    let offset_shift = inner.offset_shift(header).filter(|shift| !out_of_range(shift));
    let offset_shift = offset_shift.ok_or(corrupt(0, RecordFault::OffsetOutOfRange))?;
    let opened = BatchHeader {
        base_offset: inner.first_offset.wrapping_add(offset_shift),
        record_count: Some(inner.count),
        ..*header
    };
    let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
    let timestamp = append_time.then_some(header.max_timestamp);
    Ok((opened, records, LegacyMessages { offset_shift, timestamp, check_crc: true }))
}

/// What a look at all messages within a compressed one tells.
struct Inner {
    count: u32,
    first_offset: i64,
    last_offset: i64,
}

impl Inner {
    fn survey(records: &[u8], header: &BatchHeader) -> Result<Self, BatchFault> {
        let corrupt = |position, fault| BatchFault::Message { position, fault };
        let mut position = 0;
        let mut inner = Self { count: 0, first_offset: 0, last_offset: 0 };
        while position < records.len() {
            let (message, end) = Message::parse(records, position).map_err(|fault| corrupt(position, fault))?;
            if message.magic != header.magic {
                return Err(corrupt(position, RecordFault::MagicMismatch));
            }
            if message.compressed {
                return Err(corrupt(position, RecordFault::NestedCompression));
            }
            if inner.count == 0 {
                inner.first_offset = message.offset;
            }
            inner.last_offset = message.offset;
            inner.count = inner.count.saturating_add(1);
            position = end;
        }
        if inner.count == 0 {
            return Err(corrupt(0, RecordFault::NoMessages));
        }
        Ok(inner)
    }

    /// What the inner offsets lack; `None` if it is negative, or no offset.
    fn offset_shift(&self, header: &BatchHeader) -> Option<i64> {
        // An outer offset of 0 comes from producers that leave it so: the inner ones count from 0, too.
        if header.magic == 0 || header.last_offset == 0 {
            return Some(0);
        }
        header.last_offset.checked_sub(self.last_offset).filter(|shift| *shift >= 0)
    }
}

/// One message as it stands.
struct Message<'b> {
    offset: i64,
    crc: u32,
    /// What the CRC is computed over.
    checked: &'b [u8],
    magic: i8,
    compressed: bool,
    timestamp: i64,
    key: Option<&'b [u8]>,
    value: Option<&'b [u8]>,
}

impl<'b> Message<'b> {
    /// Reads the message at `start`, and returns it with the position behind it.
    fn parse(bytes: &'b [u8], start: usize) -> Result<(Self, usize), RecordFault> {
        let bytes = bytes.get(start..).unwrap_or_default();
        if bytes.len() < LOG_OVERHEAD_BYTES {
            return Err(RecordFault::Truncated);
        }
        let mut fields = Fields { bytes, at: 0 };
        let (offset, length) = (fields.i64(), fields.i32());
        let length = usize::try_from(length).map_err(|_| RecordFault::NegativeLength)?;
        let end = LOG_OVERHEAD_BYTES.saturating_add(length);
        let message = bytes.get(..end).ok_or(RecordFault::Truncated)?;
        let mut fields = Fields { bytes: message, at: LOG_OVERHEAD_BYTES };
        let (crc, magic, attributes) = (fields.i32() as u32, fields.i8(), fields.i8());
        let timestamp = match magic {
            0 => NO_TIMESTAMP,
            1 => fields.i64(),
            _ => return Err(RecordFault::MagicMismatch),
        };
        let mut position = fields.at;
        let key = sized(message, &mut position)?;
        let value = sized(message, &mut position)?;
        if position != end {
            return Err(RecordFault::LengthMismatch);
        }
        let compressed = i16::from(attributes) & ATTRIBUTE_COMPRESSION != 0;
        let checked = message.get(MAGIC_AT..).unwrap_or_default();
        Ok((Self { offset, crc, checked, magic, compressed, timestamp, key, value }, start + end))
    }
}

/// A length of four bytes and as many bytes; null where it is negative.
fn sized<'b>(message: &'b [u8], position: &mut usize) -> Result<Option<&'b [u8]>, RecordFault> {
    let rest = message.get(*position..).ok_or(RecordFault::Truncated)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(RecordFault::Truncated)?;
    *position += 4;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Ok(None) };
    let bytes = rest.get(..length).ok_or(RecordFault::Truncated)?;
    *position += length;
    Ok(Some(bytes))
}
