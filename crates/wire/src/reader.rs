//! The one cursor over bytes from the network.
//!
//! Two limits make it safe to point at anything: no read goes past the end of the frame, and everything that a read
//! puts on the heap is charged against an allowance of three times the frame (with a floor, below which tiny messages
//! would not fit). Together with the frame itself, decoding a message peaks at four times the frame. An array is
//! charged for all its elements before any is read, so a lying count fails before it allocates.

use bytes::{Buf, Bytes};

use crate::guard::DEFAULT_MAX_GUARDED_BYTES;

/// Heap bytes that a frame of any size may decode to; what a few strings and vectors need.
const SMALLEST_ALLOWANCE_BYTES: usize = 16 * 1024;

/// Why bytes are not the message they were taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame ended before the value did.
    #[error("{wanted} bytes wanted at position {position}, {remaining} remain")]
    UnexpectedEnd {
        /// Where in the frame the value starts.
        position: usize,
        /// How many bytes it needs.
        wanted: usize,
        /// How many there are.
        remaining: usize,
    },
    /// A length, or a count times the smallest element, is more than what remains of the frame.
    #[error("a length of {length} at position {position} is more than the {remaining} bytes that remain can hold")]
    LengthBeyondFrame {
        /// Where the length stands.
        position: usize,
        /// What it claims.
        length: i64,
        /// How many bytes remain.
        remaining: usize,
    },
    /// Decoded, the frame would take more memory than its size warrants.
    #[error("the frame decodes to more than {allowance} bytes of memory")]
    MemoryBeyondAllowance {
        /// What it may take.
        allowance: usize,
    },
    /// A variable-length integer does not end within its type's bytes.
    #[error("a variable-length integer at position {position} does not end")]
    MalformedVarint {
        /// Where it starts.
        position: usize,
    },
    /// A length that is negative where null is not allowed.
    #[error("null at position {position}, where a value must stand")]
    UnexpectedNull {
        /// Where it stands.
        position: usize,
    },
    /// A string is not UTF-8.
    #[error("the string at position {position} is not UTF-8")]
    InvalidUtf8 {
        /// Where it starts.
        position: usize,
    },
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    UnknownVersion {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Bytes are left over after the message's last field.
    #[error("{left_over} bytes are left over after {message}")]
    TrailingBytes {
        /// The message's name.
        message: &'static str,
        /// How many bytes.
        left_over: usize,
    },
    /// A value that the field cannot have.
    #[error("{value} at position {position} is no value for {field}")]
    InvalidValue {
        /// Where it stands.
        position: usize,
        /// The field or kind of value.
        field: &'static str,
        /// What stood there.
        value: i64,
    },
    /// Admin requests are read, and their responses written, with the cargo feature `broker` only.
    #[error("admin requests are read with the cargo feature `broker` only")]
    NeedsBrokerFeature,
    /// A message of the `kafka-protocol` crate did not decode; the text is that crate's.
    #[error("{message} does not decode: {reason}")]
    Guarded {
        /// The message's name.
        message: &'static str,
        /// What was wrong with it.
        reason: String,
    },
    /// A frame for the `kafka-protocol` crate is over the limit set for those.
    #[error("{message} has {length} bytes, over the limit of {limit}")]
    GuardedFrameTooLarge {
        /// The message's name.
        message: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
}

/// A cursor over a frame. `Bytes` values and records that it returns share the frame's buffer.
#[derive(Clone, Debug)]
pub struct Reader {
    frame: Bytes,
    position: usize,
    allowance: usize,
    charged: usize,
    guarded_limit: usize,
}

impl Reader {
    /// Reads `frame` from its start.
    pub fn new(frame: Bytes) -> Self {
        let allowance = frame.len().saturating_mul(3).max(SMALLEST_ALLOWANCE_BYTES);
        Self { frame, position: 0, allowance, charged: 0, guarded_limit: DEFAULT_MAX_GUARDED_BYTES }
    }

    /// Lets a frame of any size decode to so many heap bytes: a broker is asked about short names by the thousand, which
    /// take more in memory than on the wire.
    #[must_use]
    pub fn with_allowance_of_at_least(mut self, bytes: usize) -> Self {
        self.allowance = self.allowance.max(bytes);
        self
    }

    /// Sets how large a message may be that the `kafka-protocol` crate reads, 16 MiB unless it is set.
    #[must_use]
    pub fn with_guarded_limit(mut self, bytes: usize) -> Self {
        self.guarded_limit = bytes;
        self
    }

    pub(crate) fn guarded_limit(&self) -> usize {
        self.guarded_limit
    }

    /// Where in the frame the next read starts.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes have not been read.
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.position
    }

    /// The unread rest, without copying it.
    pub fn rest(&self) -> Bytes {
        self.frame.slice(self.position..)
    }

    /// Takes `length` bytes, sharing the frame's buffer.
    pub fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.require(length)?;
        let start = self.position;
        self.position += length;
        Ok(self.frame.slice(start..start + length))
    }

    /// Takes `length` bytes as a slice of the frame.
    pub fn slice(&mut self, length: usize) -> Result<&[u8], DecodeError> {
        self.require(length)?;
        let start = self.position;
        self.position += length;
        Ok(&self.frame[start..start + length])
    }

    /// Moves past `length` bytes.
    pub fn skip(&mut self, length: usize) -> Result<(), DecodeError> {
        self.require(length)?;
        self.position += length;
        Ok(())
    }

    /// Charges the allowance for `bytes` of heap memory that are about to be allocated.
    pub fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.charged = self.charged.saturating_add(bytes);
        if self.charged > self.allowance {
            return Err(DecodeError::MemoryBeyondAllowance { allowance: self.allowance });
        }
        Ok(())
    }

    /// One unsigned byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// A big-endian integer of one byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// A big-endian integer of two bytes.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// A big-endian integer of four bytes.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A big-endian integer of eight bytes.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// `N` bytes as they stand.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let slice = self.slice(N)?;
        let mut array = [0; N];
        array.copy_from_slice(slice);
        Ok(array)
    }

    /// An unsigned variable-length integer of up to five bytes (KIP-482).
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let start = self.position;
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8()?;
            // The fifth byte holds the last four bits; Java drops what is beyond them.
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::MalformedVarint { position: start })
    }

    /// A zig-zag encoded variable-length integer of up to five bytes.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let value = self.unsigned_varint()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// A zig-zag encoded variable-length integer of up to ten bytes.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let start = self.position;
        let mut value: u64 = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(DecodeError::MalformedVarint { position: start })
    }

    /// The length of a string: compact where flexible, else two bytes. `None` is null.
    pub(crate) fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let position = self.position;
        let length = if flexible { i64::from(self.unsigned_varint()?) - 1 } else { i64::from(self.i16()?) };
        self.check_length(position, length)
    }

    /// The length of bytes or the count of an array: compact where flexible, else four bytes. `None` is null.
    pub(crate) fn long_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let position = self.position;
        let length = if flexible { i64::from(self.unsigned_varint()?) - 1 } else { i64::from(self.i32()?) };
        self.check_length(position, length)
    }

    /// UTF-8 text of `length` bytes, copied and charged.
    pub(crate) fn text(&mut self, length: usize) -> Result<String, DecodeError> {
        let position = self.position;
        self.charge(length)?;
        let slice = self.slice(length)?;
        match std::str::from_utf8(slice) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(DecodeError::InvalidUtf8 { position }),
        }
    }

    /// Room for `count` elements of which none is encoded in fewer than `smallest` bytes; charged, never believed
    /// beyond what the rest of the frame can hold.
    pub(crate) fn vector<T>(&mut self, count: usize, smallest: usize) -> Result<Vec<T>, DecodeError> {
        if count.saturating_mul(smallest.max(1)) > self.remaining() {
            return Err(DecodeError::LengthBeyondFrame {
                position: self.position,
                length: count as i64,
                remaining: self.remaining(),
            });
        }
        self.charge(count.saturating_mul(size_of::<T>()))?;
        Ok(Vec::with_capacity(count))
    }

    /// Skips the tagged fields at the end of a flexible structure that knows none (KIP-482).
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(false))
    }

    /// Reads tagged fields: `field` is called with each tag, reads its value and returns true, or leaves an unknown
    /// one and returns false. A value that is longer than what `field` read is skipped to its end.
    pub(crate) fn tagged_fields(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let position = self.position;
            let size = self.unsigned_varint()? as usize;
            if size > self.remaining() {
                let (length, remaining) = (size as i64, self.remaining());
                return Err(DecodeError::LengthBeyondFrame { position, length, remaining });
            }
            let end = self.position + size;
            field(tag, self)?;
            if self.position > end {
                return Err(DecodeError::UnexpectedEnd {
                    position,
                    wanted: self.position + size - end,
                    remaining: size,
                });
            }
            self.position = end;
        }
        Ok(())
    }

    fn check_length(&self, position: usize, length: i64) -> Result<Option<usize>, DecodeError> {
        match usize::try_from(length) {
            Ok(length) if length <= self.remaining() => Ok(Some(length)),
            // Kafka writes -1, and reads every negative length as null.
            Err(_) => Ok(None),
            Ok(_) => Err(DecodeError::LengthBeyondFrame { position, length, remaining: self.remaining() }),
        }
    }

    fn require(&self, wanted: usize) -> Result<(), DecodeError> {
        if wanted > self.remaining() {
            return Err(DecodeError::UnexpectedEnd { position: self.position, wanted, remaining: self.remaining() });
        }
        Ok(())
    }
}

impl From<Bytes> for Reader {
    fn from(frame: Bytes) -> Self {
        Self::new(frame)
    }
}

impl From<Reader> for Bytes {
    /// The unread rest.
    fn from(mut reader: Reader) -> Self {
        reader.frame.advance(reader.position);
        reader.frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lying_count_allocates_nothing() {
        let mut reader = Reader::new(Bytes::from(vec![0; 100]));
        assert!(matches!(reader.vector::<u64>(101, 1), Err(DecodeError::LengthBeyondFrame { length: 101, .. })));
    }

    #[test]
    fn memory_is_bounded_by_the_frame() {
        let mut reader = Reader::new(Bytes::from(vec![0; 100_000]));
        assert!(matches!(reader.vector::<[u8; 64]>(100_000, 1), Err(DecodeError::MemoryBeyondAllowance { .. })));
    }

    #[test]
    fn a_varint_that_does_not_end_is_refused() {
        let mut reader = Reader::new(Bytes::from_static(&[0xff; 11]));
        assert_eq!(reader.clone().unsigned_varint(), Err(DecodeError::MalformedVarint { position: 0 }));
        assert_eq!(reader.varlong(), Err(DecodeError::MalformedVarint { position: 0 }));
    }
}
