//! Decompression with a bound, into memory that its user may recycle.

use bytes::Bytes;

use super::{Compression, gzip, lz4, snappy, zstd};

/// What one batch may decompress to, if nothing else is said: 64 MiB.
pub const DEFAULT_MAX_BATCH_BYTES: usize = 64 << 20;

/// Where decompressed batches live.
///
/// The vector that is decompressed into keeps its length from use to use: what is there already is overwritten, not
/// cleared, so that a warm vector costs neither a page fault nor zeroing. Implemented by whoever pools them; without
/// one, each batch gets memory of its own.
pub trait BatchMemory: Send {
    /// A vector to decompress into: its content does not matter, and it is made longer where need be.
    fn take(&mut self) -> Vec<u8>;

    /// The vector, `from` bytes long, is about to become `to` bytes long. False if that is too much for now: then
    /// [`share`](Self::share) gets it back as it was, with [`DecompressFault::NoMemory`] for the batch.
    fn may_grow(&mut self, from: usize, to: usize) -> bool {
        let _ = (from, to);
        true
    }

    /// The first `length` bytes of a vector that [`take`](Self::take) gave. Also called with length 0, for a vector
    /// that came to nothing.
    fn share(&mut self, memory: Vec<u8>, length: usize) -> Bytes;
}

/// Opens compressed batches, with the codecs' tables kept from one to the next.
pub struct Decompressor {
    max_bytes: usize,
    memory: Option<Box<dyn BatchMemory>>,
    gzip: gzip::Decoder,
    lz4: lz4::Decoder,
    snappy: snappy::Decoder,
    zstd: zstd::Decoder,
}

impl Decompressor {
    /// One that lets no batch become more than `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            memory: None,
            gzip: gzip::Decoder::default(),
            lz4: lz4::Decoder,
            snappy: snappy::Decoder::default(),
            zstd: zstd::Decoder::default(),
        }
    }

    /// The same, decompressing into vectors from `memory`.
    pub fn with_memory(max_bytes: usize, memory: Box<dyn BatchMemory>) -> Self {
        Self { memory: Some(memory), ..Self::new(max_bytes) }
    }

    /// What one batch may become.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Decompresses into the front of `output` and returns how many bytes that gave. `output` grows where it is too
    /// short, never beyond `max_bytes` by more than a codec's slack, and never shrinks.
    pub fn decompress_into(
        &mut self,
        compression: Compression,
        compressed: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<usize, DecompressError> {
        self.decompress_as(compression, compressed, Dialect::Standard, output, None)
    }

    /// Decompresses into memory of its own, or of the [`BatchMemory`].
    pub fn decompress(&mut self, compression: Compression, compressed: &[u8]) -> Result<Bytes, DecompressError> {
        self.decompress_shared(compression, compressed, Dialect::Standard)
    }

    pub(crate) fn decompress_shared(
        &mut self,
        compression: Compression,
        compressed: &[u8],
        dialect: Dialect,
    ) -> Result<Bytes, DecompressError> {
        let Some(mut memory) = self.memory.take() else {
            let mut output = Vec::new();
            let length = self.decompress_as(compression, compressed, dialect, &mut output, None)?;
            output.truncate(length);
            return Ok(Bytes::from(output));
        };
        let mut output = memory.take();
        let length = self.decompress_as(compression, compressed, dialect, &mut output, Some(&mut *memory));
        let shared = memory.share(output, *length.as_ref().unwrap_or(&0));
        self.memory = Some(memory);
        length.map(|_| shared)
    }

    fn decompress_as(
        &mut self,
        compression: Compression,
        compressed: &[u8],
        dialect: Dialect,
        output: &mut Vec<u8>,
        lender: Option<&mut (dyn BatchMemory + 'static)>,
    ) -> Result<usize, DecompressError> {
        let fail = |fault| DecompressError { compression, fault };
        // Most codecs take no bytes for "no bytes"; no encoder writes that.
        if compressed.is_empty() && compression != Compression::None {
            return Err(fail(DecompressFault::Empty));
        }
        let mut output = Output { memory: output, lender, length: 0, max_bytes: self.max_bytes };
        match compression {
            Compression::None => output.copy(compressed),
            Compression::Gzip => self.gzip.decode(compressed, &mut output),
            Compression::Snappy => self.snappy.decode(compressed, &mut output),
            Compression::Lz4 => self.lz4.decode(compressed, dialect, &mut output),
            Compression::Zstd => self.zstd.decode(compressed, &mut output),
        }
        .map_err(fail)?;
        Ok(output.length)
    }
}

impl Default for Decompressor {
    /// Lets a batch become [`DEFAULT_MAX_BATCH_BYTES`].
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BATCH_BYTES)
    }
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Decompressor").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}

/// Compressed records that do not decompress.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {compression} data does not decompress: {fault}")]
#[non_exhaustive]
pub struct DecompressError {
    /// The codec.
    pub compression: Compression,
    /// What is wrong with the data.
    pub fault: DecompressFault,
}

/// What is wrong with compressed data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecompressFault {
    /// There is none.
    #[error("it is empty")]
    Empty,
    /// It ends before it is complete.
    #[error("it ends too early")]
    Truncated,
    /// It becomes more than is allowed.
    #[error("it becomes more than the {max_bytes} bytes that a batch may have")]
    TooLarge {
        /// The bound.
        max_bytes: usize,
    },
    /// Whoever lends the memory has none for it now: see [`BatchMemory::may_grow`].
    #[error("there is no memory for the {bytes} bytes that it becomes, or more")]
    NoMemory {
        /// How many it would have taken to go on.
        bytes: usize,
    },
    /// A checksum does not fit.
    #[error("its {part} checksum is wrong")]
    Checksum {
        /// Of what.
        part: &'static str,
    },
    /// It breaks the codec's format.
    #[error("{reason}")]
    Malformed {
        /// How.
        reason: &'static str,
    },
}

/// Which reading of a codec applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The codec's own specification.
    Standard,
    /// LZ4 frames in magic 0 have a header checksum over too many bytes (KIP-57).
    MagicZero,
}

/// Where a codec's output goes: the front of a vector that stays initialised at full length.
pub(super) struct Output<'a> {
    memory: &'a mut Vec<u8>,
    lender: Option<&'a mut (dyn BatchMemory + 'static)>,
    length: usize,
    max_bytes: usize,
}

impl Output<'_> {
    /// Room for `more` bytes after what is there, or an error if they would be too many.
    pub(super) fn room(&mut self, more: usize) -> Result<&mut [u8], DecompressFault> {
        let end = self.end(more)?;
        self.grow(end)?;
        Ok(&mut self.memory[self.length..end])
    }

    /// What is there, and room for up to `more` bytes after it, or for what remains of the bound, and of that all
    /// that is initialised already.
    pub(super) fn parts(&mut self, more: usize) -> Result<(&[u8], &mut [u8]), DecompressFault> {
        let end = self.length.saturating_add(more).min(self.max_bytes);
        self.grow(end)?;
        let (written, free) = self.memory.split_at_mut(self.length);
        let most = end - self.length;
        Ok((written, &mut free[..most]))
    }

    /// Counts `more` bytes as written; they are within the room that was given.
    pub(super) fn advance(&mut self, more: usize) {
        self.length = self.length.saturating_add(more).min(self.memory.len());
    }

    /// Appends bytes as they are.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Result<(), DecompressFault> {
        self.room(bytes.len())?.copy_from_slice(bytes);
        self.advance(bytes.len());
        Ok(())
    }

    /// How many bytes may still come.
    pub(super) fn remaining(&self) -> usize {
        self.max_bytes.saturating_sub(self.length)
    }

    /// How many bytes there are.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The error of data that becomes too large.
    pub(super) fn too_large(&self) -> DecompressFault {
        DecompressFault::TooLarge { max_bytes: self.max_bytes }
    }

    fn end(&self, more: usize) -> Result<usize, DecompressFault> {
        if more > self.remaining() {
            return Err(self.too_large());
        }
        Ok(self.length + more)
    }

    /// Grows, where it is too short, by at least half, so that a codec that comes block by block does not copy each time;
    /// within the bound, and by no more than it has to where memory is short.
    fn grow(&mut self, end: usize) -> Result<(), DecompressFault> {
        let from = self.memory.len();
        if from >= end {
            return Ok(());
        }
        let well = end.max(from.saturating_mul(3) / 2).min(self.max_bytes);
        let mut may_grow = |to| self.lender.as_mut().is_none_or(|lender| lender.may_grow(from, to));
        let granted = [well, end].into_iter().find(|to| may_grow(*to));
        let length = granted.ok_or(DecompressFault::NoMemory { bytes: end })?;
        // A vector left to itself doubles, which would be beyond the bound.
        self.memory.reserve_exact(length - from);
        self.memory.resize(length, 0);
        Ok(())
    }
}
