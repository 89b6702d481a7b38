//! Compression at one level, with the codec's context kept.

use super::{Compression, CompressionLevel, gzip, lz4, snappy, zstd};

/// Compresses one batch after the other at one [`CompressionLevel`].
///
/// A context of zstd takes megabytes at high levels: keep one for a producer, not one for a partition.
pub struct Compressor {
    level: CompressionLevel,
    codec: Codec,
}

impl Compressor {
    /// One for a level, or for a [`Compression`] at Kafka's default level. Its context is made with the first batch.
    pub fn new(level: impl Into<CompressionLevel>) -> Self {
        Self { level: level.into(), codec: Codec::None }
    }

    /// What it compresses with.
    pub fn compression(&self) -> Compression {
        self.level.compression()
    }

    /// The level.
    pub fn level(&self) -> CompressionLevel {
        self.level
    }

    /// Appends `input`, compressed, to `output`.
    pub fn compress_into(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(), CompressError> {
        let level = self.level.level();
        if matches!(self.codec, Codec::None) {
            self.codec = match self.level.compression() {
                Compression::None => Codec::None,
                Compression::Gzip => Codec::Gzip(gzip::Encoder::new(level)),
                Compression::Snappy => Codec::Snappy(Box::new(snappy::Encoder::new())),
                Compression::Lz4 => Codec::Lz4(lz4::Encoder::new()),
                Compression::Zstd => Codec::Zstd(zstd::Encoder::new(level)),
            };
        }
        let done = match &mut self.codec {
            Codec::None => {
                output.extend_from_slice(input);
                Ok(())
            }
            Codec::Gzip(encoder) => encoder.encode(input, output),
            Codec::Snappy(encoder) => encoder.encode(input, output),
            Codec::Lz4(encoder) => encoder.encode(input, output),
            Codec::Zstd(encoder) => {
                encoder.encode(input, output);
                Ok(())
            }
        };
        done.map_err(|CodecFailure| CompressError { compression: self.compression(), length: input.len() })
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Compressor").field("level", &self.level).finish_non_exhaustive()
    }
}

/// A codec that refused its input; the known codecs do so only for inputs of gigabytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes do not compress with {compression}")]
#[non_exhaustive]
pub struct CompressError {
    /// The codec.
    pub compression: Compression,
    /// How much it was given.
    pub length: usize,
}

/// What a codec's encoder says when it fails.
pub(super) struct CodecFailure;

enum Codec {
    None,
    Gzip(gzip::Encoder),
    Snappy(Box<snappy::Encoder>),
    Lz4(lz4::Encoder),
    Zstd(zstd::Encoder),
}
