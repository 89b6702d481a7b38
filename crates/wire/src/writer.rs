//! Where messages are written: a growing buffer, with large byte values kept as they are beside it.
//!
//! A record batch of a megabyte is not copied into its frame: it becomes a segment of its own, and the connection
//! writes the segments one after the other.

use bytes::{BufMut, Bytes, BytesMut};

/// Values of at least this size are kept as a segment instead of being copied.
const SEGMENT_BYTES: usize = 4096;

/// Why a message cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    UnknownVersion {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is set that the version cannot carry, and that must not be lost.
    #[error("{message} version {version} cannot carry {field}")]
    FieldNotInVersion {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is absent that the version cannot leave out.
    #[error("{message} version {version} needs {field}")]
    NullNotInVersion {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string, an array or a frame is longer than its length field can say.
    #[error("a length of {length} is more than the protocol can carry")]
    TooLong {
        /// The length.
        length: usize,
    },
    /// Admin requests are read, and their responses written, with the cargo feature `broker` only.
    #[error("{message} is written with the cargo feature `broker` only")]
    NeedsBrokerFeature {
        /// The message's name.
        message: &'static str,
    },
    /// A message of the `kafka-protocol` crate did not encode; the text is that crate's.
    #[error("{message} does not encode: {reason}")]
    Guarded {
        /// The message's name.
        message: &'static str,
        /// What was wrong with it.
        reason: String,
    },
}

/// Collects the bytes of a message.
#[derive(Debug, Default)]
pub struct Writer {
    segments: Vec<Bytes>,
    buffer: BytesMut,
    length: usize,
}

impl Writer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes have been written.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes as they stand, copied.
    pub fn slice(&mut self, slice: &[u8]) {
        self.length += slice.len();
        self.buffer.put_slice(slice);
    }

    /// Bytes as they stand; large ones are shared, not copied.
    pub fn shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SEGMENT_BYTES {
            return self.slice(bytes);
        }
        self.length += bytes.len();
        if !self.buffer.is_empty() {
            self.segments.push(self.buffer.split().freeze());
        }
        self.segments.push(bytes.clone());
    }

    /// One unsigned byte.
    pub fn u8(&mut self, value: u8) {
        self.slice(&[value]);
    }

    /// A big-endian integer of one byte.
    pub fn i8(&mut self, value: i8) {
        self.slice(&value.to_be_bytes());
    }

    /// A big-endian integer of two bytes.
    pub fn i16(&mut self, value: i16) {
        self.slice(&value.to_be_bytes());
    }

    /// A big-endian integer of four bytes.
    pub fn i32(&mut self, value: i32) {
        self.slice(&value.to_be_bytes());
    }

    /// A big-endian integer of eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.slice(&value.to_be_bytes());
    }

    /// An unsigned variable-length integer (KIP-482).
    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    /// A zig-zag encoded variable-length integer.
    pub fn varint(&mut self, value: i32) {
        self.unsigned_varint((value << 1 ^ value >> 31) as u32);
    }

    /// A zig-zag encoded variable-length integer of up to ten bytes.
    pub fn varlong(&mut self, value: i64) {
        let mut value = (value << 1 ^ value >> 63) as u64;
        while value >= 0x80 {
            self.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    /// The length of a string: compact where flexible, else two bytes. `None` is null.
    pub(crate) fn string_length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        let Some(length) = length else {
            if flexible {
                self.u8(0);
            } else {
                self.i16(-1);
            }
            return Ok(());
        };
        if flexible {
            return self.compact_length(length);
        }
        self.i16(i16::try_from(length).map_err(|_| EncodeError::TooLong { length })?);
        Ok(())
    }

    /// The length of bytes or the count of an array: compact where flexible, else four bytes. `None` is null.
    pub(crate) fn long_length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        let Some(length) = length else {
            if flexible {
                self.u8(0);
            } else {
                self.i32(-1);
            }
            return Ok(());
        };
        if flexible {
            return self.compact_length(length);
        }
        self.i32(i32::try_from(length).map_err(|_| EncodeError::TooLong { length })?);
        Ok(())
    }

    /// Appends what another writer holds.
    pub(crate) fn append(&mut self, other: Self) {
        for segment in other.into_segments() {
            self.shared(&segment);
        }
    }

    /// The bytes, as segments to be written one after the other.
    pub fn into_segments(mut self) -> Vec<Bytes> {
        if !self.buffer.is_empty() {
            self.segments.push(self.buffer.freeze());
        }
        self.segments
    }

    /// The bytes in one piece.
    pub fn into_bytes(self) -> Bytes {
        let length = self.length;
        let mut segments = self.into_segments();
        if segments.len() == 1 {
            return segments.remove(0);
        }
        let mut whole = BytesMut::with_capacity(length);
        for segment in segments {
            whole.put_slice(&segment);
        }
        whole.freeze()
    }

    fn compact_length(&mut self, length: usize) -> Result<(), EncodeError> {
        let above = i32::try_from(length).map_err(|_| EncodeError::TooLong { length })? as u32 + 1;
        self.unsigned_varint(above);
        Ok(())
    }
}
