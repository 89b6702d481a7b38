//! Zstandard (RFC 8878).
//!
//! Frames are walked block header by block header first, which bounds exactly enough what they can become: raw and
//! run-length blocks say it, a compressed one is at most 128 KiB. Then everything is decoded once, into room of that
//! size. Several frames may follow one another, skippable ones among them.

use std::cell::RefCell;

use structured_zstd::decoding::{ContentChecksum, FrameDecoder, errors::FrameDecoderError};
use structured_zstd::encoding::{CompressionLevel, FrameCompressor};

use super::decompressor::{DecompressFault, Output};

/// Reads frames.
#[derive(Default)]
pub(super) struct Decoder {
    // Made when the first frame comes: its tables are large.
    frames: Option<Box<FrameDecoder>>,
}

impl Decoder {
    pub(super) fn decode(&mut self, compressed: &[u8], output: &mut Output<'_>) -> Result<(), DecompressFault> {
        let mut rest = compressed;
        let mut most = 0usize;
        while !rest.is_empty() {
            let bound;
            (bound, rest) = walk(rest, output)?;
            most = most.saturating_add(bound);
        }
        let too_large = output.too_large();
        let decoder = self.frames.get_or_insert_with(|| {
            let mut decoder = Box::new(FrameDecoder::new());
            decoder.set_content_checksum(ContentChecksum::Verify);
            decoder
        });
        let (_, free) = output.parts(most)?;
        let short = free.len() < most;
        match decoder.decode_all(compressed, free) {
            Ok(length) => {
                output.advance(length);
                Ok(())
            }
            Err(error) => {
                // An abandoned frame's state is of no use to the next.
                self.frames = None;
                Err(match error {
                    FrameDecoderError::TargetTooSmall if short => too_large,
                    FrameDecoderError::TargetTooSmall => malformed("a block becomes larger than it may"),
                    FrameDecoderError::ChecksumMismatch { .. } => DecompressFault::Checksum { part: "content" },
                    _ => malformed("a frame is malformed"),
                })
            }
        }
    }
}

/// Writes a frame at a time.
///
/// The library's context cannot move between threads, and a producer's task does. So each thread keeps one, for the
/// level that it was last used with.
pub(super) struct Encoder {
    level: i32,
    frame: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(level: i32) -> Self {
        let level = if level == 0 { CompressionLevel::DEFAULT_LEVEL } else { level };
        Self { level, frame: Vec::new() }
    }

    pub(super) fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) {
        CONTEXT.with_borrow_mut(|context| {
            let frames = match context {
                Some((level, frames)) if *level == self.level => frames,
                context => {
                    let frames = FrameCompressor::new(CompressionLevel::from_level(self.level));
                    &mut context.insert((self.level, frames)).1
                }
            };
            frames.compress_independent_frame_into(input, &mut self.frame);
        });
        output.extend_from_slice(&self.frame);
    }
}

thread_local! {
    static CONTEXT: RefCell<Option<(i32, FrameCompressor)>> = const { RefCell::new(None) };
}

/// Walks over the frame at the start of `input`: the most that it can become, and what follows it.
fn walk<'a>(input: &'a [u8], output: &Output<'_>) -> Result<(usize, &'a [u8]), DecompressFault> {
    let mut rest = Walk { rest: input };
    let magic = u32::from_le_bytes(rest.array()?);
    if magic & SKIPPABLE_MASK == SKIPPABLE_MAGIC {
        let length = u32::from_le_bytes(rest.array()?);
        rest.skip(length as usize)?;
        return Ok((0, rest.rest));
    }
    if magic != MAGIC {
        return Err(malformed("it does not start with a zstd frame header"));
    }
    let [descriptor] = rest.array()?;
    let single_segment = descriptor & 1 << 5 != 0;
    rest.skip(usize::from(!single_segment) + [0, 1, 2, 4][usize::from(descriptor & 3)])?;
    let content_bytes = match descriptor >> 6 {
        0 if single_segment => Some(u64::from(rest.array::<1>()?[0])),
        0 => None,
        1 => Some(u64::from(u16::from_le_bytes(rest.array()?)) + 256),
        2 => Some(u64::from(u32::from_le_bytes(rest.array()?))),
        _ => Some(u64::from_le_bytes(rest.array()?)),
    };
    if content_bytes.is_some_and(|length| length > output.remaining() as u64) {
        return Err(output.too_large());
    }
    let mut most = 0usize;
    loop {
        let [low, middle, high] = rest.array()?;
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let size = (header >> 3) as usize;
        let (follows, becomes) = match header >> 1 & 3 {
            0 => (size, size),
            1 => (1, size),
            2 => (size, LARGEST_BLOCK_BYTES),
            _ => return Err(malformed("a block is of a reserved type")),
        };
        rest.skip(follows)?;
        most = most.saturating_add(becomes);
        if header & 1 != 0 {
            break;
        }
    }
    if descriptor & 1 << 2 != 0 {
        rest.skip(4)?;
    }
    let claimed = content_bytes.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
    Ok((most.min(claimed), rest.rest))
}

/// The rest of the input, taken from its front.
struct Walk<'a> {
    rest: &'a [u8],
}

impl Walk<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecompressFault> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecompressFault::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn skip(&mut self, length: usize) -> Result<(), DecompressFault> {
        self.rest = self.rest.get(length..).ok_or(DecompressFault::Truncated)?;
        Ok(())
    }
}

fn malformed(reason: &'static str) -> DecompressFault {
    DecompressFault::Malformed { reason }
}

const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
const SKIPPABLE_MASK: u32 = 0xffff_fff0;
const LARGEST_BLOCK_BYTES: usize = 128 * 1024;
