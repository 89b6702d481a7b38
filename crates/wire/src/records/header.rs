//! The header of a batch, of every magic.
//!
//! Magic 2, in this order: base offset i64, length i32 (of what follows it), partition leader epoch i32, magic i8, CRC
//! u32 (CRC-32C of all that follows it), attributes i16, last offset delta i32, base timestamp i64, max timestamp i64,
//! producer id i64, producer epoch i16, base sequence i32, record count i32, records.
//!
//! A message of magic 0 or 1: offset i64, length i32, CRC u32 (CRC-32), magic i8, attributes i8, timestamp i64 (magic 1
//! only), key, value; a compressed one holds more of them in its value.

use super::{BatchFault, NO_TIMESTAMP};
use crate::compression::Compression;

/// What the timestamps of a batch's records mean (KIP-32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimestampType {
    /// There are none: magic 0.
    NoTimestampType,
    /// The producer set them.
    CreateTime,
    /// The broker set one for the whole batch when it appended it.
    LogAppendTime,
}

/// A batch's header, checked as far as it can be by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchHeader {
    pub(super) magic: i8,
    pub(super) attributes: i16,
    pub(super) compression: Compression,
    pub(super) base_offset: i64,
    pub(super) last_offset: i64,
    pub(super) partition_leader_epoch: i32,
    pub(super) crc: u32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    /// `None` for a compressed message of magic 0 or 1, which does not say it.
    pub(super) record_count: Option<u32>,
}

impl BatchHeader {
    /// Reads the header of the batch that `bytes` are.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BatchFault> {
        let length = bytes.get(8..LOG_OVERHEAD_BYTES).map_or(0, |length| Fields { bytes: length, at: 0 }.i32());
        let too_short = BatchFault::ImpossibleLength { length };
        let Some(magic) = bytes.get(MAGIC_AT) else { return Err(too_short) };
        let magic = *magic as i8;
        let smallest = match magic {
            2 => HEADER_BYTES,
            1 => LOG_OVERHEAD_BYTES + 22,
            0 => LOG_OVERHEAD_BYTES + 14,
            _ => return Err(BatchFault::UnknownMagic { magic }),
        };
        if bytes.len() < smallest {
            return Err(too_short);
        }
        if magic == 2 { Self::parse_batch(bytes) } else { Self::parse_message(bytes, magic) }
    }

    fn parse_batch(bytes: &[u8]) -> Result<Self, BatchFault> {
        let mut fields = Fields { bytes, at: 0 };
        let base_offset = fields.i64();
        let _length = fields.i32();
        let partition_leader_epoch = fields.i32();
        let magic = fields.i8();
        let crc = fields.i32() as u32;
        let attributes = fields.i16();
        let last_offset_delta = fields.i32();
        let last_offset = base_offset
            .checked_add(i64::from(last_offset_delta))
            .filter(|last| last_offset_delta >= 0 && *last < i64::MAX)
            .ok_or(BatchFault::OffsetsOutOfRange { last_offset_delta })?;
        let header = Self {
            magic,
            attributes,
            compression: compression(attributes, magic)?,
            base_offset,
            last_offset,
            partition_leader_epoch,
            crc,
            base_timestamp: fields.i64(),
            max_timestamp: fields.i64(),
            producer_id: fields.i64(),
            producer_epoch: fields.i16(),
            base_sequence: fields.i32(),
            record_count: None,
        };
        let count = fields.i32();
        let record_count = u32::try_from(count).map_err(|_| BatchFault::NegativeRecordCount { count })?;
        Ok(Self { record_count: Some(record_count), ..header })
    }

    fn parse_message(bytes: &[u8], magic: i8) -> Result<Self, BatchFault> {
        let mut fields = Fields { bytes, at: 0 };
        let offset = fields.i64();
        let _length = fields.i32();
        let crc = fields.i32() as u32;
        let _magic = fields.i8();
        let attributes = i16::from(fields.i8());
        let timestamp = if magic == 1 { fields.i64() } else { NO_TIMESTAMP };
        if offset == i64::MAX {
            return Err(BatchFault::OffsetsOutOfRange { last_offset_delta: 0 });
        }
        let compression = compression(attributes, magic)?;
        Ok(Self {
            magic,
            attributes,
            compression,
            base_offset: offset,
            last_offset: offset,
            partition_leader_epoch: -1,
            crc,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: (compression == Compression::None).then_some(1),
        })
    }

    pub(super) fn timestamp_type(&self) -> TimestampType {
        if self.magic == 0 {
            TimestampType::NoTimestampType
        } else if self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    pub(super) fn has(&self, attribute: i16) -> bool {
        self.magic == 2 && self.attributes & attribute != 0
    }
}

fn compression(attributes: i16, magic: i8) -> Result<Compression, BatchFault> {
    let id = (attributes & ATTRIBUTE_COMPRESSION) as u8;
    match Compression::from_id(id) {
        Some(Compression::Zstd) if magic < 2 => Err(BatchFault::UnknownCompression { id }),
        Some(compression) => Ok(compression),
        None => Err(BatchFault::UnknownCompression { id }),
    }
}

/// Big-endian integers one after the other; zeroes beyond the end, which the caller has ruled out.
pub(super) struct Fields<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl Fields<'_> {
    pub(super) fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.take())
    }

    pub(super) fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    pub(super) fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    pub(super) fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let field = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        self.at += N;
        field.copied().unwrap_or([0; N])
    }
}

/// Offset and length: what stands before the bytes that the length counts.
pub(super) const LOG_OVERHEAD_BYTES: usize = 12;
/// Where the magic stands, whichever it is.
pub(super) const MAGIC_AT: usize = 16;
/// The header of magic 2.
pub(super) const HEADER_BYTES: usize = 61;
pub(super) const LEADER_EPOCH_AT: usize = 12;
pub(super) const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;
pub(super) const LAST_OFFSET_DELTA_AT: usize = 23;
pub(super) const BASE_TIMESTAMP_AT: usize = 27;
pub(super) const MAX_TIMESTAMP_AT: usize = 35;
pub(super) const PRODUCER_ID_AT: usize = 43;
pub(super) const RECORD_COUNT_AT: usize = 57;

pub(super) const ATTRIBUTE_COMPRESSION: i16 = 0x07;
pub(super) const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
pub(super) const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
pub(super) const ATTRIBUTE_CONTROL: i16 = 0x20;
pub(super) const ATTRIBUTE_DELETE_HORIZON: i16 = 0x40;
