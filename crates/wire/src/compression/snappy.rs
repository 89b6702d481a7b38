//! Snappy: blocks in the framing of xerial's snappy-java, as Java's producer writes it, and bare blocks.
//!
//! ```text
//! 82 'S' 'N' 'A' 'P' 'P' 'Y' 00 | version i32 | compatible version i32 | (length i32, block)*
//! ```

use snap::raw;

use super::compressor::CodecFailure;
use super::decompressor::{DecompressFault, Output};

/// Reads either form.
#[derive(Default)]
pub(super) struct Decoder {
    raw: raw::Decoder,
}

impl Decoder {
    pub(super) fn decode(&mut self, compressed: &[u8], output: &mut Output<'_>) -> Result<(), DecompressFault> {
        let Some(mut rest) = compressed.strip_prefix(&MAGIC) else {
            return self.block(compressed, output);
        };
        rest = versions(rest)?;
        // Java takes fewer than four bytes at the end for the end.
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            if length == &MAGIC[..4] {
                // Another stream follows.
                let after = rest.strip_prefix(&MAGIC).ok_or(malformed("a stream header is malformed"))?;
                rest = versions(after)?;
                continue;
            }
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| malformed("a length is negative"))?;
            let (block, after) = after.split_at_checked(length).ok_or(DecompressFault::Truncated)?;
            self.block(block, output)?;
            rest = after;
        }
        Ok(())
    }

    fn block(&mut self, block: &[u8], output: &mut Output<'_>) -> Result<(), DecompressFault> {
        let length = raw::decompress_len(block).map_err(|_| malformed("a block's header is malformed"))?;
        if length > block.len().saturating_mul(LARGEST_RATIO) {
            return Err(malformed("a block claims more than it can hold"));
        }
        let written =
            self.raw.decompress(block, output.room(length)?).map_err(|_| malformed("a block is malformed"))?;
        output.advance(written);
        Ok(())
    }
}

/// Writes xerial's framing in blocks of 32 KiB, as Java does.
pub(super) struct Encoder {
    raw: raw::Encoder,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { raw: raw::Encoder::new() }
    }

    pub(super) fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(), CodecFailure> {
        output.extend_from_slice(&MAGIC);
        output.extend_from_slice(&VERSION.to_be_bytes());
        output.extend_from_slice(&VERSION.to_be_bytes());
        for block in input.chunks(BLOCK_BYTES) {
            let start = output.len();
            output.resize(start + 4 + raw::max_compress_len(block.len()), 0);
            let length = self.raw.compress(block, &mut output[start + 4..]).map_err(|_| CodecFailure)?;
            output[start..start + 4].copy_from_slice(&(length as i32).to_be_bytes());
            output.truncate(start + 4 + length);
        }
        Ok(())
    }
}

/// Checks the two versions after the magic, and returns what follows them.
fn versions(input: &[u8]) -> Result<&[u8], DecompressFault> {
    let (versions, rest) = input.split_first_chunk::<8>().ok_or(DecompressFault::Truncated)?;
    if i32::from_be_bytes([versions[0], versions[1], versions[2], versions[3]]) < VERSION {
        return Err(malformed("the framing's version is none that exists"));
    }
    Ok(rest)
}

fn malformed(reason: &'static str) -> DecompressFault {
    DecompressFault::Malformed { reason }
}

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const VERSION: i32 = 1;
const BLOCK_BYTES: usize = 32 * 1024;
/// Three bytes copy at most 64.
const LARGEST_RATIO: usize = 22;
