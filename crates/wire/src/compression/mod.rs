//! The codecs that record batches are compressed with, and the bound on what may come out of them.
//!
//! A [`Decompressor`] never lets a batch become more than its `max_bytes`, and checks that before it allocates; a
//! [`Compressor`] holds a codec's context at one [`CompressionLevel`]. Both keep their tables and buffers warm from
//! one batch to the next. A codec a file: `gzip`, `snappy` (xerial framing, as Java writes it), `lz4` (the frame
//! format, our own layer over blocks) and `zstd`; the crates that do the work appear nowhere else.
//!
//! KIP-110 (zstd), KIP-390 (levels), KIP-57 (the LZ4 header checksum that magic 0 gets wrong).

mod compressor;
mod decompressor;
mod gzip;
mod level;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;
use std::str::FromStr;

pub use compressor::{CompressError, Compressor};
pub(crate) use decompressor::Dialect;
pub use decompressor::{BatchMemory, DEFAULT_MAX_BATCH_BYTES, DecompressError, DecompressFault, Decompressor};
pub use level::{CompressionLevel, InvalidCompressionLevel};

/// How the records of a batch are compressed (Kafka's `compression.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy in the framing of xerial's snappy-java.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard (KIP-110): brokers from 2.1 on, magic 2 only.
    Zstd,
}

impl Compression {
    /// Every one of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in the lowest three bits of a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The one with that number.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|compression| compression.name() == name);
        known.ok_or_else(|| UnknownCompression { name: name.to_owned() })
    }
}

/// A name that is none of Kafka's compression types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compression.type is {name:?}, which is none of none, gzip, snappy, lz4, zstd")]
#[non_exhaustive]
pub struct UnknownCompression {
    /// The name.
    pub name: String,
}

#[cfg(test)]
mod tests;
