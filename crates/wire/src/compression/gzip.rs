//! gzip (RFC 1952) over raw deflate, whose tables are kept.
//!
//! Members may follow one another; what follows the last one and is no member is ignored, as Java does.

use flate2::{Compress, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::compressor::CodecFailure;
use super::decompressor::{DecompressFault, Output};

/// Reads gzip members.
#[derive(Default)]
pub(super) struct Decoder {
    inflate: Option<Decompress>,
}

impl Decoder {
    pub(super) fn decode(&mut self, compressed: &[u8], output: &mut Output<'_>) -> Result<(), DecompressFault> {
        let mut rest = member(compressed)?;
        loop {
            rest = self.inflate(rest, output)?;
            match member(rest) {
                Ok(next) => rest = next,
                Err(_) => return Ok(()),
            }
        }
    }

    /// Inflates one member whose header has been read, and returns what follows its trailer.
    fn inflate<'a>(&mut self, mut input: &'a [u8], output: &mut Output<'_>) -> Result<&'a [u8], DecompressFault> {
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        let mut crc = Crc::new();
        let mut step = claimed_length(input);
        loop {
            let (_, free) = output.parts(step)?;
            let mut probe = [0];
            // The bound is reached: one byte more shows whether the stream ends here, too.
            let at_bound = free.is_empty();
            let target = if at_bound { &mut probe[..] } else { free };
            let (read_before, written_before) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(input, target, FlushDecompress::None)
                .map_err(|_| DecompressFault::Malformed { reason: "the deflate stream is malformed" })?;
            let read = (inflate.total_in() - read_before) as usize;
            let written = (inflate.total_out() - written_before) as usize;
            crc.update(target.get(..written).unwrap_or_default());
            input = input.get(read..).unwrap_or_default();
            if at_bound && written > 0 {
                return Err(output.too_large());
            }
            output.advance(written);
            if status == Status::StreamEnd {
                break;
            }
            if read == 0 && written == 0 {
                return Err(DecompressFault::Truncated);
            }
            step = CHUNK_BYTES;
        }
        let (trailer, rest) = input.split_first_chunk::<8>().ok_or(DecompressFault::Truncated)?;
        let trailer = u64::from_le_bytes(*trailer);
        if trailer as u32 != crc.sum() {
            return Err(DecompressFault::Checksum { part: "content" });
        }
        if (trailer >> 32) as u32 != crc.amount() {
            return Err(DecompressFault::Malformed { reason: "the length in the gzip trailer is wrong" });
        }
        Ok(rest)
    }
}

/// Writes one gzip member at a time.
pub(super) struct Encoder {
    deflate: Compress,
}

impl Encoder {
    pub(super) fn new(level: i32) -> Self {
        let level = u32::try_from(level).map_or_else(|_| flate2::Compression::default(), flate2::Compression::new);
        Self { deflate: Compress::new(level, false) }
    }

    pub(super) fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(), CodecFailure> {
        let mut crc = Crc::new();
        crc.update(input);
        output.extend_from_slice(&HEADER);
        self.deflate.reset();
        // Deflate stores what it cannot shrink, at five bytes per block of at most 64 KiB.
        output.reserve(input.len() / 2 + 256);
        loop {
            let rest = input.get(self.deflate.total_in() as usize..).unwrap_or_default();
            let status = self.deflate.compress_vec(rest, output, FlushCompress::Finish).map_err(|_| CodecFailure)?;
            if status == Status::StreamEnd {
                break;
            }
            output.reserve(CHUNK_BYTES);
        }
        output.extend_from_slice(&crc.sum().to_le_bytes());
        output.extend_from_slice(&crc.amount().to_le_bytes());
        Ok(())
    }
}

/// Reads a member's header and returns what follows it.
fn member(input: &[u8]) -> Result<&[u8], DecompressFault> {
    let truncated = || DecompressFault::Truncated;
    let malformed = |reason| DecompressFault::Malformed { reason };
    let (fixed, mut rest) = input.split_first_chunk::<10>().ok_or_else(truncated)?;
    if fixed[..3] != HEADER[..3] {
        return Err(malformed("it does not start with a gzip header"));
    }
    let flags = fixed[3];
    if flags & FLAG_EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..).ok_or_else(truncated)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0).ok_or_else(truncated)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        let (expected, after) = rest.split_first_chunk::<2>().ok_or_else(truncated)?;
        let mut crc = Crc::new();
        crc.update(&input[..input.len() - rest.len()]);
        if crc.sum() as u16 != u16::from_le_bytes(*expected) {
            return Err(DecompressFault::Checksum { part: "header" });
        }
        rest = after;
    }
    Ok(rest)
}

/// The length that the trailer at the very end states, as far as deflate could reach it: a guess at what to make
/// room for, nothing more.
fn claimed_length(input: &[u8]) -> usize {
    let claimed = input.last_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    claimed.min(input.len().saturating_mul(DEFLATE_LARGEST_RATIO)).max(1)
}

const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const DEFLATE_LARGEST_RATIO: usize = 1032;
const CHUNK_BYTES: usize = 64 * 1024;
