//! Each codec's decompressor by itself, under bounds from 1 KiB to 4 MiB.
//!
//! An input is the codec, the bound, and the compressed bytes.
//!
//! - What comes out is no more than the bound, and memory is no more than [`memory_bound`].
//! - A decompressor that has met bad data is none the worse: it decompresses the same input to the same result.

use ottla_wire::compression::{Compression, Decompressor};

/// Beside its output: tables and windows of the codecs.
pub const CONTEXT_BYTES: usize = 512 * 1024;

/// What decompressing under a bound of `max_bytes` may take: the output, which while it grows is there twice, and the
/// codec's context.
pub fn memory_bound(max_bytes: usize) -> usize {
    2 * max_bytes + CONTEXT_BYTES
}

/// Checks an input.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let [codec, bound, compressed @ ..] = input else { return };
    let compression = Compression::ALL[usize::from(*codec) % Compression::ALL.len()];
    let max_bytes = 1 << (10 + bound % 13);
    let ((first, again), allocated) = allocation_counter::measure(|| {
        let mut decompressor = Decompressor::new(max_bytes);
        let mut output = Vec::new();
        let first = decompressor.decompress_into(compression, compressed, &mut output).map(|length| {
            output.truncate(length);
            (length, crc32c::crc32c(&output))
        });
        let again = decompressor.decompress_into(compression, compressed, &mut output).map(|length| {
            output.truncate(length);
            (length, crc32c::crc32c(&output))
        });
        (first, again)
    });
    let (taken, bound) = (allocated.peak_bytes, memory_bound(max_bytes));
    assert!(taken <= bound, "{compression}: {taken} bytes under a bound of {max_bytes}, over {bound}");
    if let Ok((length, _)) = first {
        assert!(length <= max_bytes, "{compression}: {length} bytes came out under a bound of {max_bytes}");
    }
    assert_eq!(first, again, "{compression}: the second result of one decompressor");
}

/// The input that is `compressed` under a bound that any small batch meets.
pub fn input(compression: Compression, compressed: &[u8]) -> Vec<u8> {
    let mut input = vec![compression.id(), 10];
    input.extend_from_slice(compressed);
    input
}
