//! How hard a codec tries (KIP-390), checked against the range that Java accepts.

use std::ops::RangeInclusive;

use super::Compression;

/// A compression type with the level to compress at.
///
/// | type | setting | range | default |
/// |---|---|---|---|
/// | gzip | `compression.gzip.level` | 1 to 9, or -1 for the default | -1, which is 6 |
/// | lz4 | `compression.lz4.level` | 1 to 17 | 9 |
/// | zstd | `compression.zstd.level` | -131072 to 22 | 3 |
///
/// LZ4's level is accepted and has no effect: the encoder has one speed, that of Java's levels below its
/// high-compression ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompressionLevel {
    compression: Compression,
    level: i32,
}

impl CompressionLevel {
    /// `level` for `compression`, if Kafka allows it. Types without levels (none, snappy) take none at all.
    pub fn new(compression: Compression, level: i32) -> Result<Self, InvalidCompressionLevel> {
        let (setting, range) = match compression {
            Compression::Gzip if level == GZIP_DEFAULT => return Ok(Self { compression, level }),
            Compression::Gzip => ("compression.gzip.level", 1..=9),
            Compression::Lz4 => ("compression.lz4.level", 1..=17),
            Compression::Zstd => ("compression.zstd.level", -131_072..=22),
            Compression::None | Compression::Snappy => return Err(InvalidCompressionLevel::NoLevels { compression }),
        };
        if !range.contains(&level) {
            return Err(InvalidCompressionLevel::OutOfRange { setting, level, range });
        }
        Ok(Self { compression, level })
    }

    /// The compression type.
    pub fn compression(self) -> Compression {
        self.compression
    }

    /// The level; zero for a type that has none.
    pub fn level(self) -> i32 {
        self.level
    }
}

impl From<Compression> for CompressionLevel {
    /// Kafka's default level.
    fn from(compression: Compression) -> Self {
        let level = match compression {
            Compression::Gzip => GZIP_DEFAULT,
            Compression::Lz4 => 9,
            Compression::Zstd => 3,
            Compression::None | Compression::Snappy => 0,
        };
        Self { compression, level }
    }
}

/// A level that Kafka does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCompressionLevel {
    /// It is beyond the setting's range.
    #[error("{setting} is {level}, which is not between {} and {}", range.start(), range.end())]
    OutOfRange {
        /// The setting's name.
        setting: &'static str,
        /// What was asked for.
        level: i32,
        /// What is allowed.
        range: RangeInclusive<i32>,
    },
    /// The type has no levels.
    #[error("compression.type {compression} has no levels")]
    NoLevels {
        /// The type.
        compression: Compression,
    },
}

/// zlib's own word for "your default".
const GZIP_DEFAULT: i32 = -1;
