//! What can be wrong with a batch or a record, and where.

use crate::compression::DecompressError;

/// A batch that cannot be read.
///
/// The batches after it can be, as far as its length is to be believed: [`RecordBatches`](super::RecordBatches) goes
/// on behind it, and [`next_offset`](Self::next_offset) is where a consumer that wants to skip it goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record batch at offset {base_offset} (byte {position}) is corrupt: {fault}")]
#[non_exhaustive]
pub struct CorruptBatch {
    /// The offset that the batch's first field states.
    pub base_offset: i64,
    /// The offset behind the batch, where its header is whole; otherwise the next batch's own offset tells.
    pub next_offset: Option<i64>,
    /// Where the batch starts in the partition's bytes.
    pub position: usize,
    /// What is wrong.
    pub fault: BatchFault,
}

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchFault {
    /// Its length is less than its header takes, or more than a batch can have; what follows cannot be found.
    #[error("its length field is {length}, which no batch of its magic can have")]
    ImpossibleLength {
        /// The length field.
        length: i32,
    },
    /// Its format is none that exists.
    #[error("its magic is {magic}, and there are 0, 1 and 2")]
    UnknownMagic {
        /// The magic.
        magic: i8,
    },
    /// Its attributes name a codec that does not exist, or not in its magic.
    #[error("its compression type is {id}, which does not exist in its magic")]
    UnknownCompression {
        /// The codec's number.
        id: u8,
    },
    /// It states fewer than no records.
    #[error("its record count is {count}")]
    NegativeRecordCount {
        /// The count.
        count: i32,
    },
    /// Its last offset is before its first, or beyond what an offset can be.
    #[error("its last offset is {last_offset_delta} after its base offset")]
    OffsetsOutOfRange {
        /// The header's field.
        last_offset_delta: i32,
    },
    /// Its bytes are not those that the checksum was computed over.
    #[error("its CRC is {computed:#010x} and should be {stated:#010x}")]
    Crc {
        /// The one in the batch.
        stated: u32,
        /// That of its bytes.
        computed: u32,
    },
    /// Its records do not decompress.
    #[error(transparent)]
    Decompress(DecompressError),
    /// The compressed message of magic 0 or 1 holds messages that cannot be read.
    #[error("the message at byte {position} within it is corrupt: {fault}")]
    Message {
        /// Where the message starts, decompressed.
        position: usize,
        /// What is wrong with it.
        fault: RecordFault,
    },
}

/// A record that cannot be read. The records before it are good; those after it in the batch cannot be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record at offset {offset} (byte {position} of its batch, decompressed) is corrupt: {fault}")]
#[non_exhaustive]
pub struct CorruptRecord {
    /// The offset of the record: its own where it can be read, otherwise the one after the record before it.
    pub offset: i64,
    /// The offset behind its batch, where a consumer that wants to skip the rest goes on.
    pub next_offset: i64,
    /// Where the record starts in the batch's records, decompressed.
    pub position: usize,
    /// What is wrong.
    pub fault: RecordFault,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// It ends before it is complete, or its batch states more records than it has.
    #[error("it ends too early")]
    Truncated,
    /// A variable-length integer does not end within its type's bytes.
    #[error("a variable-length integer in it does not end")]
    MalformedVarint,
    /// Its length field is negative.
    #[error("its length is negative")]
    NegativeLength,
    /// Its fields take more or less than its length.
    #[error("its fields do not fill its length")]
    LengthMismatch,
    /// It states fewer than no headers.
    #[error("its header count is negative")]
    NegativeHeaderCount,
    /// A header has no key.
    #[error("a header's key is null")]
    NullHeaderKey,
    /// Its batch has bytes after as many records as it states.
    #[error("bytes follow the last record")]
    TrailingBytes,
    /// Its offset is beyond what an offset can be.
    #[error("its offset is out of range")]
    OffsetOutOfRange,
    /// A message within a compressed one of another magic.
    #[error("its magic is not that of the message around it")]
    MagicMismatch,
    /// A compressed message within a compressed one.
    #[error("it is compressed within a compressed message")]
    NestedCompression,
    /// Its checksum (magic 0 and 1) does not fit.
    #[error("its CRC is wrong")]
    Crc,
    /// A compressed message without messages in it.
    #[error("it holds no messages")]
    NoMessages,
}
