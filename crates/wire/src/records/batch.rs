//! Finding the batches in a partition's bytes, and what their headers say.

use bytes::{Bytes, BytesMut};

use super::header::{
    ATTRIBUTE_CONTROL, ATTRIBUTE_DELETE_HORIZON, ATTRIBUTE_LOG_APPEND_TIME, ATTRIBUTE_TRANSACTIONAL, ATTRIBUTES_AT,
    BatchHeader, CRC_AT, Fields, LEADER_EPOCH_AT, LOG_OVERHEAD_BYTES, MAGIC_AT, MAX_TIMESTAMP_AT,
};
use super::open::{OpenBatch, open};
use super::{BatchFault, CorruptBatch, ProducerState, TimestampType, crc32, crc32c};
use crate::compression::{Compression, Decompressor};

/// The batches in a partition's bytes, one after the other.
///
/// Ends silently at a last batch that is incomplete: a broker cuts what it sends at a size. Ends after an error that
/// leaves no way to find the next batch; goes on behind a corrupt batch otherwise.
#[derive(Clone, Debug)]
pub struct RecordBatches {
    bytes: Bytes,
    position: usize,
}

impl RecordBatches {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, position: 0 }
    }

    /// Where the next batch starts; at the end, how many bytes were whole batches.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What has not been looked at, or is left over as incomplete.
    pub fn rest(&self) -> Bytes {
        self.bytes.slice(self.position..)
    }

    /// How many bytes the batch takes of which only a part is left over, if enough of it is there to tell. What a broker
    /// claims, to be bounded by whoever acts on it.
    pub fn incomplete_bytes(&self) -> Option<usize> {
        let rest = self.bytes.get(self.position..).filter(|rest| rest.len() >= LOG_OVERHEAD_BYTES)?;
        let length = usize::try_from(Fields { bytes: rest, at: 8 }.i32()).ok()?;
        Some(length.saturating_add(LOG_OVERHEAD_BYTES)).filter(|length| *length > rest.len())
    }

    /// The length of the whole batch at the position; `None` if it is incomplete.
    fn next_length(&mut self) -> Result<Option<usize>, CorruptBatch> {
        let rest = &self.bytes[self.position..];
        if rest.len() < LOG_OVERHEAD_BYTES {
            return Ok(None);
        }
        let mut fields = Fields { bytes: rest, at: 0 };
        let (base_offset, length) = (fields.i64(), fields.i32());
        let corrupt = |fault| CorruptBatch { base_offset, next_offset: None, position: self.position, fault };
        if !(SMALLEST_LENGTH..=LARGEST_LENGTH).contains(&length) {
            return Err(corrupt(BatchFault::ImpossibleLength { length }));
        }
        // As Java does: a magic that does not exist shows before the batch is complete.
        let Some(magic) = rest.get(MAGIC_AT) else { return Ok(None) };
        let magic = *magic as i8;
        if !(0..=2).contains(&magic) {
            return Err(corrupt(BatchFault::UnknownMagic { magic }));
        }
        let length = LOG_OVERHEAD_BYTES.saturating_add(length as usize);
        Ok((length <= rest.len()).then_some(length))
    }

    /// Moves behind the batch at the position if it is whole, or to the end.
    fn skip(&mut self, fault: &BatchFault) {
        let length = Fields { bytes: &self.bytes[self.position..], at: 8 }.i32();
        let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(LOG_OVERHEAD_BYTES);
        let behind = self.position.saturating_add(length);
        let lost = matches!(fault, BatchFault::ImpossibleLength { .. });
        self.position = if lost { self.bytes.len() } else { behind.min(self.bytes.len()) };
    }
}

impl Iterator for RecordBatches {
    type Item = Result<RecordBatch, CorruptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = match self.next_length() {
            Ok(Some(length)) => length,
            Ok(None) => return None,
            Err(corrupt) => {
                self.skip(&corrupt.fault);
                return Some(Err(corrupt));
            }
        };
        let position = self.position;
        let bytes = self.bytes.slice(position..position + length);
        self.position += length;
        Some(RecordBatch::parse(bytes, position))
    }
}

/// One whole batch: its header, read, and its bytes, which it shares with the partition's.
///
/// A message of magic 0 or 1 is a batch, too: of one record, or of those that it holds compressed.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    bytes: Bytes,
    position: usize,
    header: BatchHeader,
}

impl RecordBatch {
    fn parse(bytes: Bytes, position: usize) -> Result<Self, CorruptBatch> {
        match BatchHeader::parse(&bytes) {
            Ok(header) => Ok(Self { bytes, position, header }),
            Err(fault) => {
                let base_offset = Fields { bytes: &bytes, at: 0 }.i64();
                let next_offset = next_offset_of(&bytes, &fault);
                Err(CorruptBatch { base_offset, next_offset, position, fault })
            }
        }
    }

    /// The batch's bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The batch's bytes.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// How many bytes it takes, offset and length included.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Where it starts in the partition's bytes.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Its format: 0, 1 or 2.
    pub fn magic(&self) -> i8 {
        self.header.magic
    }

    /// The offset of its first record. A compressed message of magic 0 or 1 states the last one's instead: there it
    /// is [`OpenBatch::base_offset`] that tells.
    pub fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// The offset of its last record, also if that record has been compacted away.
    pub fn last_offset(&self) -> i64 {
        self.header.last_offset
    }

    /// The offset behind it.
    pub fn next_offset(&self) -> i64 {
        self.header.last_offset.saturating_add(1)
    }

    /// How its records are compressed.
    pub fn compression(&self) -> Compression {
        self.header.compression
    }

    /// What its timestamps mean.
    pub fn timestamp_type(&self) -> TimestampType {
        self.header.timestamp_type()
    }

    /// What the deltas of its records' timestamps count from.
    pub fn base_timestamp(&self) -> i64 {
        self.header.base_timestamp
    }

    /// The largest of its timestamps; with [`TimestampType::LogAppendTime`], that of each record.
    pub fn max_timestamp(&self) -> i64 {
        self.header.max_timestamp
    }

    /// When its tombstones may go, in milliseconds since 1970 (KIP-534); `None` until the log cleaner has set it.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.header.has(ATTRIBUTE_DELETE_HORIZON).then_some(self.header.base_timestamp)
    }

    /// Whether it holds control records, which are not for applications: transaction markers and the like.
    pub fn is_control(&self) -> bool {
        self.header.has(ATTRIBUTE_CONTROL)
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.header.has(ATTRIBUTE_TRANSACTIONAL)
    }

    /// The producer's id, -1 without idempotence.
    pub fn producer_id(&self) -> i64 {
        self.header.producer_id
    }

    /// The producer's epoch, -1 without idempotence.
    pub fn producer_epoch(&self) -> i16 {
        self.header.producer_epoch
    }

    /// The sequence number of its first record, -1 without idempotence.
    pub fn base_sequence(&self) -> i32 {
        self.header.base_sequence
    }

    /// The sequence number of its last record, -1 without idempotence; after 2^31 - 1 comes 0.
    pub fn last_sequence(&self) -> i32 {
        let delta = (self.header.last_offset - self.header.base_offset) as i32;
        match self.header.base_sequence {
            -1 => -1,
            base if base >= 0 => base.wrapping_add(delta) & i32::MAX,
            base => base.wrapping_add(delta),
        }
    }

    /// The epoch of the leader that appended it, -1 if that is not known.
    pub fn partition_leader_epoch(&self) -> i32 {
        self.header.partition_leader_epoch
    }

    /// The CRC that it states.
    pub fn crc(&self) -> u32 {
        self.header.crc
    }

    /// How many records it says it has; `None` for a compressed message of magic 0 or 1.
    pub fn record_count(&self) -> Option<u32> {
        self.header.record_count
    }

    /// Compares the CRC with that of its bytes.
    pub fn check_crc(&self) -> Result<(), CorruptBatch> {
        let computed = if self.header.magic == 2 {
            crc32c(self.bytes.get(ATTRIBUTES_AT..).unwrap_or_default())
        } else {
            crc32(self.bytes.get(MAGIC_AT..).unwrap_or_default())
        };
        if computed != self.header.crc {
            return Err(self.corrupt(BatchFault::Crc { stated: self.header.crc, computed }));
        }
        Ok(())
    }

    /// Checks the CRC and makes the records readable: shares the buffer, or decompresses, once.
    pub fn open(&self, decompressor: &mut Decompressor) -> Result<OpenBatch, CorruptBatch> {
        self.check_crc()?;
        self.open_unchecked(decompressor)
    }

    /// The same without looking at the CRC (Kafka's `check.crcs=false`).
    pub fn open_unchecked(&self, decompressor: &mut Decompressor) -> Result<OpenBatch, CorruptBatch> {
        open(&self.bytes, &self.header, decompressor).map_err(|fault| self.corrupt(fault))
    }

    /// Gives the batch its place in a log: its first record's offset, and the epoch of the leader that appends it.
    /// Neither is under the CRC. The bytes are copied if anyone else holds them.
    ///
    /// Of magic 2 only; others stay as they are.
    pub fn assign_offsets(self, base_offset: i64, partition_leader_epoch: i32) -> Result<Self, CorruptBatch> {
        self.rewrite(|bytes| {
            put(bytes, 0, &base_offset.to_be_bytes());
            put(bytes, LEADER_EPOCH_AT, &partition_leader_epoch.to_be_bytes());
        })
    }

    /// Sets the time of appending as the timestamp of all records (`message.timestamp.type=LogAppendTime`), which
    /// costs computing the CRC.
    ///
    /// Of magic 2 only; others stay as they are.
    pub fn set_log_append_time(self, timestamp: i64) -> Result<Self, CorruptBatch> {
        let attributes = self.header.attributes | ATTRIBUTE_LOG_APPEND_TIME;
        self.rewrite(|bytes| {
            put(bytes, ATTRIBUTES_AT, &attributes.to_be_bytes());
            put(bytes, MAX_TIMESTAMP_AT, &timestamp.to_be_bytes());
            put_crc(bytes);
        })
    }

    /// Sets what an idempotent producer states, anew: after its epoch was raised, for instance. Costs computing the
    /// CRC, and nothing of the compression.
    ///
    /// Of magic 2 only; others stay as they are.
    pub fn set_producer_state(self, state: ProducerState) -> Result<Self, CorruptBatch> {
        self.rewrite(|bytes| state.put(bytes))
    }

    fn rewrite(self, change: impl FnOnce(&mut [u8])) -> Result<Self, CorruptBatch> {
        if self.header.magic != 2 {
            return Ok(self);
        }
        let mut bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        change(&mut bytes);
        Self::parse(bytes.freeze(), self.position)
    }

    fn corrupt(&self, fault: BatchFault) -> CorruptBatch {
        CorruptBatch {
            base_offset: self.header.base_offset,
            next_offset: Some(self.next_offset()),
            position: self.position,
            fault,
        }
    }
}

/// Writes a field of the header.
pub(super) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

/// Computes the CRC of a batch of magic 2.
pub(super) fn put_crc(bytes: &mut [u8]) {
    let crc = crc32c(bytes.get(ATTRIBUTES_AT..).unwrap_or_default());
    put(bytes, CRC_AT, &crc.to_be_bytes());
}

/// The offset behind a batch whose header is whole but for the field that `fault` names.
fn next_offset_of(bytes: &[u8], fault: &BatchFault) -> Option<i64> {
    if matches!(fault, BatchFault::ImpossibleLength { .. } | BatchFault::OffsetsOutOfRange { .. }) {
        return None;
    }
    let magic_2 = bytes.get(MAGIC_AT) == Some(&2);
    let delta = if magic_2 { Fields { bytes, at: ATTRIBUTES_AT + 2 }.i32() } else { 0 };
    Fields { bytes, at: 0 }.i64().checked_add(i64::from(delta))?.checked_add(1)
}

/// The length of the smallest message of magic 0.
const SMALLEST_LENGTH: i32 = 14;
/// A batch's whole size is an `i32`, too.
const LARGEST_LENGTH: i32 = i32::MAX - LOG_OVERHEAD_BYTES as i32;
