//! LZ4: the frame format, over the blocks of `lz4_flex`.
//!
//! The frame is our own because that crate's takes a stream cut before its end mark for a whole one. Read: blocks
//! that stand alone and blocks that refer to earlier ones (other clients write them; Java does not), all three
//! checksums, the content size. Written: what Java writes, blocks of 64 KiB that stand alone, no checksum but the
//! header's. What follows the end mark is ignored, as Java does.
//!
//! In magic 0 the header's checksum is computed over too many bytes (KIP-57); it is not looked at there.

use std::hash::Hasher;

use lz4_flex::block::{self, CompressTable};
use twox_hash::XxHash32;

use super::compressor::CodecFailure;
use super::decompressor::{DecompressFault, Dialect, Output};

/// Reads frames.
pub(super) struct Decoder;

impl Decoder {
    #[allow(clippy::unused_self, reason = "each codec is used in the same way")]
    pub(super) fn decode(
        &mut self,
        compressed: &[u8],
        dialect: Dialect,
        output: &mut Output<'_>,
    ) -> Result<(), DecompressFault> {
        let (frame, mut rest) = Frame::parse(compressed, dialect)?;
        let start = output.length();
        loop {
            let (size, after) = rest.split_first_chunk::<4>().ok_or(DecompressFault::Truncated)?;
            let size = u32::from_le_bytes(*size);
            if size == END_MARK {
                rest = after;
                break;
            }
            let length = (size & !UNCOMPRESSED) as usize;
            if length > frame.block_bytes {
                return Err(malformed("a block is larger than the frame allows"));
            }
            let (block, after) = after.split_at_checked(length).ok_or(DecompressFault::Truncated)?;
            rest = if frame.block_checksums { checksum(block, after, "block")? } else { after };
            if size & UNCOMPRESSED == 0 {
                frame.block(block, start, output)?;
            } else {
                output.copy(block)?;
            }
        }
        let (written, _) = output.parts(0)?;
        let content = written.get(start..).unwrap_or_default();
        if frame.content_bytes.is_some_and(|claimed| claimed != content.len() as u64) {
            return Err(malformed("the content size is wrong"));
        }
        if frame.content_checksum {
            checksum(content, rest, "content")?;
        }
        Ok(())
    }
}

/// A frame's header.
struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_bytes: Option<u64>,
    block_bytes: usize,
}

impl Frame {
    fn parse(input: &[u8], dialect: Dialect) -> Result<(Self, &[u8]), DecompressFault> {
        let descriptor = input.strip_prefix(&MAGIC).ok_or(malformed("it does not start with an LZ4 frame header"))?;
        let ([flags, block], mut rest) = descriptor.split_first_chunk::<2>().ok_or(DecompressFault::Truncated)?;
        if flags >> 6 != 1 {
            return Err(malformed("the frame's version is unknown"));
        }
        if flags & (FLAG_RESERVED | FLAG_DICTIONARY) != 0 || block & 0x8f != 0 {
            return Err(malformed("the frame's header uses a dictionary or reserved bits"));
        }
        let block_bytes = match block >> 4 {
            code @ 4..=7 => 1 << (8 + 2 * code),
            _ => return Err(malformed("the frame's block size is unknown")),
        };
        let mut content_bytes = None;
        if flags & FLAG_CONTENT_SIZE != 0 {
            let (size, after) = rest.split_first_chunk::<8>().ok_or(DecompressFault::Truncated)?;
            content_bytes = Some(u64::from_le_bytes(*size));
            rest = after;
        }
        let (expected, after) = rest.split_first().ok_or(DecompressFault::Truncated)?;
        let described = &descriptor[..descriptor.len() - rest.len()];
        if dialect == Dialect::Standard && header_checksum(described) != *expected {
            return Err(DecompressFault::Checksum { part: "header" });
        }
        let frame = Self {
            linked: flags & FLAG_INDEPENDENT == 0,
            block_checksums: flags & FLAG_BLOCK_CHECKSUM != 0,
            content_checksum: flags & FLAG_CONTENT_CHECKSUM != 0,
            content_bytes,
            block_bytes,
        };
        Ok((frame, after))
    }

    /// Decompresses one block of the frame whose content starts at `start`.
    fn block(&self, block: &[u8], start: usize, output: &mut Output<'_>) -> Result<(), DecompressFault> {
        let most = self.block_bytes.min(block.len().saturating_mul(LARGEST_RATIO));
        let short = output.remaining() < most;
        let too_large = output.too_large();
        let (written, free) = output.parts(most)?;
        let content = written.get(start..).unwrap_or_default();
        let length = if self.linked && !content.is_empty() {
            let dictionary = &content[content.len().saturating_sub(WINDOW_BYTES)..];
            block::decompress_into_with_dict(block, free, dictionary)
        } else {
            block::decompress_into(block, free)
        };
        let length = length.map_err(|error| match error {
            block::DecompressError::OutputTooSmall { .. } if short => too_large,
            block::DecompressError::OutputTooSmall { .. } => malformed("a block becomes larger than the frame allows"),
            _ => malformed("a block is malformed"),
        })?;
        output.advance(length);
        Ok(())
    }
}

/// Writes frames.
pub(super) struct Encoder {
    table: CompressTable,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { table: CompressTable::large() }
    }

    pub(super) fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(), CodecFailure> {
        let descriptor = [1 << 6 | FLAG_INDEPENDENT, 4 << 4];
        output.extend_from_slice(&MAGIC);
        output.extend_from_slice(&descriptor);
        output.push(header_checksum(&descriptor));
        for block in input.chunks(BLOCK_BYTES) {
            let start = output.len();
            output.resize(start + 4 + block::get_maximum_output_size(block.len()), 0);
            let target = &mut output[start + 4..];
            let length = block::compress_into_with_table(block, target, &mut self.table).map_err(|_| CodecFailure)?;
            let (size, length) = if length < block.len() {
                (length as u32, length)
            } else {
                target[..block.len()].copy_from_slice(block);
                (block.len() as u32 | UNCOMPRESSED, block.len())
            };
            output[start..start + 4].copy_from_slice(&size.to_le_bytes());
            output.truncate(start + 4 + length);
        }
        output.extend_from_slice(&END_MARK.to_le_bytes());
        Ok(())
    }
}

/// Compares the checksum at the start of `rest` with that of `content`, and returns what follows it.
fn checksum<'a>(content: &[u8], rest: &'a [u8], part: &'static str) -> Result<&'a [u8], DecompressFault> {
    let (expected, rest) = rest.split_first_chunk::<4>().ok_or(DecompressFault::Truncated)?;
    if xxh32(content) != u32::from_le_bytes(*expected) {
        return Err(DecompressFault::Checksum { part });
    }
    Ok(rest)
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (xxh32(descriptor) >> 8) as u8
}

fn xxh32(bytes: &[u8]) -> u32 {
    let mut hasher = XxHash32::with_seed(0);
    hasher.write(bytes);
    hasher.finish_32()
}

fn malformed(reason: &'static str) -> DecompressFault {
    DecompressFault::Malformed { reason }
}

const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
const FLAG_DICTIONARY: u8 = 1;
const FLAG_RESERVED: u8 = 1 << 1;
const FLAG_CONTENT_CHECKSUM: u8 = 1 << 2;
const FLAG_CONTENT_SIZE: u8 = 1 << 3;
const FLAG_BLOCK_CHECKSUM: u8 = 1 << 4;
const FLAG_INDEPENDENT: u8 = 1 << 5;
const END_MARK: u32 = 0;
const UNCOMPRESSED: u32 = 1 << 31;
/// How far a block may refer back.
const WINDOW_BYTES: usize = 64 * 1024;
/// What is written: 64 KiB, the smallest that the format knows.
const BLOCK_BYTES: usize = 64 * 1024;
/// A byte of length says at most this many bytes.
const LARGEST_RATIO: usize = 255;
