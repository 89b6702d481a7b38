//! What the vectors do not show of each codec: other clients' forms, the bounds, and what is wrong.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use structured_zstd::encoding::{CompressionLevel as ZstdLevel, FrameCompressor};

use super::{
    BatchMemory, Compression, CompressionLevel, Compressor, DecompressFault, Decompressor, Dialect,
    InvalidCompressionLevel,
};

const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Several blocks of each codec, compressible.
fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(|number| [(number / 300) as u8, (number % 7) as u8]).collect()
}

fn compress(compression: Compression, content: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    Compressor::new(compression).compress_into(content, &mut compressed).unwrap();
    compressed
}

fn decompress(compression: Compression, compressed: &[u8], max_bytes: usize) -> Result<Bytes, DecompressFault> {
    Decompressor::new(max_bytes).decompress(compression, compressed).map_err(|error| error.fault)
}

#[test]
fn the_bound_holds_to_the_byte() {
    let content = content();
    for codec in CODECS {
        let compressed = compress(codec, &content);
        assert_eq!(decompress(codec, &compressed, content.len()).unwrap(), content, "{codec}");
        let max_bytes = content.len() - 1;
        assert_eq!(decompress(codec, &compressed, max_bytes), Err(DecompressFault::TooLarge { max_bytes }), "{codec}");
    }
}

#[test]
fn a_small_bound_is_not_exceeded_by_what_is_allocated() {
    for codec in CODECS {
        let compressed = compress(codec, &vec![0; 20 << 20]);
        let mut output = Vec::new();
        let result = Decompressor::new(1000).decompress_into(codec, &compressed, &mut output);
        assert_eq!(result.unwrap_err().fault, DecompressFault::TooLarge { max_bytes: 1000 }, "{codec}");
        assert!(output.capacity() <= 2000, "{codec}: {}", output.capacity());
    }
}

#[test]
fn a_cut_is_an_error_at_every_length() {
    let content: Vec<u8> = (0..200u32).flat_map(|number| (number * number).to_le_bytes()).collect();
    for codec in CODECS {
        let compressed = compress(codec, &content);
        for length in 0..compressed.len() {
            let result = decompress(codec, &compressed[..length], 1 << 20);
            // Snappy's framing has no end: a cut between, or just behind, its blocks is one that nobody can see.
            let invisible = codec == Compression::Snappy && (16..20).contains(&length);
            assert!(result.is_err() || invisible, "{codec}: {length} of {} bytes", compressed.len());
        }
        assert_eq!(decompress(codec, &[], 10), Err(DecompressFault::Empty));
    }
}

#[test]
fn gzip_members_follow_one_another_and_what_is_no_member_is_ignored() {
    let mut compressed = compress(Compression::Gzip, b"first ");
    let second = compress(Compression::Gzip, b"second");
    // With a name, a comment, an extra field and a checksum over the header.
    let mut header = vec![0x1f, 0x8b, 8, 0b1_1110, 0, 0, 0, 0, 0, 0, 2, 0, 1, 2];
    header.extend_from_slice(b"name\0comment\0");
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    header.extend_from_slice(&(crc.sum() as u16).to_le_bytes());
    compressed.extend_from_slice(&header);
    compressed.extend_from_slice(&second[10..]);
    compressed.extend_from_slice(b"not a member");
    assert_eq!(decompress(Compression::Gzip, &compressed, 100).unwrap(), &b"first second"[..]);
}

#[test]
fn a_wrong_gzip_trailer_is_an_error() {
    let compressed = compress(Compression::Gzip, b"content");
    for (back, fault) in [
        (8, DecompressFault::Checksum { part: "content" }),
        (4, DecompressFault::Malformed { reason: "the length in the gzip trailer is wrong" }),
    ] {
        let mut wrong = compressed.clone();
        let at = wrong.len() - back;
        wrong[at] ^= 1;
        assert_eq!(decompress(Compression::Gzip, &wrong, 100), Err(fault));
    }
}

#[test]
fn snappy_is_read_bare_and_in_streams_that_follow_one_another() {
    let bare = snap::raw::Encoder::new().compress_vec(b"bare block").unwrap();
    assert_eq!(decompress(Compression::Snappy, &bare, 100).unwrap(), &b"bare block"[..]);
    let mut streams = compress(Compression::Snappy, b"one ");
    streams.extend(compress(Compression::Snappy, b"two"));
    assert_eq!(decompress(Compression::Snappy, &streams, 100).unwrap(), &b"one two"[..]);
}

#[test]
fn snappy_that_claims_gigabytes_allocates_nothing() {
    let mut output = Vec::new();
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let result = Decompressor::new(usize::MAX).decompress_into(Compression::Snappy, &claim, &mut output);
    let reason = "a block claims more than it can hold";
    assert_eq!(result.unwrap_err().fault, DecompressFault::Malformed { reason });
    assert_eq!(output.capacity(), 0);
}

/// A frame as other clients write it: linked blocks, all checksums, the content size.
fn lz4_frame(first: &[u8], second: &[u8]) -> Vec<u8> {
    let content = [first, second].concat();
    let descriptor = [[0b0101_1100, 4 << 4].as_slice(), &(content.len() as u64).to_le_bytes()].concat();
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18];
    frame.extend_from_slice(&descriptor);
    frame.push((xxh32(&descriptor) >> 8) as u8);
    let block = lz4_flex::block::compress(first);
    let linked = lz4_flex::block::compress_with_dict(second, first);
    assert!(linked.len() < 30, "the second block refers to the first");
    for block in [block, linked] {
        frame.extend_from_slice(&(block.len() as u32).to_le_bytes());
        frame.extend_from_slice(&block);
        frame.extend_from_slice(&xxh32(&block).to_le_bytes());
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&xxh32(&content).to_le_bytes());
    frame
}

fn xxh32(bytes: &[u8]) -> u32 {
    twox_hash::XxHash32::oneshot(0, bytes)
}

#[test]
fn lz4_frames_with_linked_blocks_and_all_checksums_are_read() {
    let content: Vec<u8> = (0..2000u32).map(|number| ((number * number) >> 3) as u8).collect();
    let frame = lz4_frame(&content, &content[100..1900]);
    let expected = [&content[..], &content[100..1900]].concat();
    assert_eq!(decompress(Compression::Lz4, &frame, 1 << 20).unwrap(), expected);
    // Every byte of it matters but those of the blocks' own encoding, which their checksums watch over.
    for at in 0..frame.len() {
        let mut wrong = frame.clone();
        wrong[at] ^= 0x10;
        assert!(decompress(Compression::Lz4, &wrong, 1 << 20).is_err(), "byte {at} of {}", frame.len());
    }
}

#[test]
fn the_lz4_header_checksum_of_magic_0_is_not_looked_at() {
    let mut frame = compress(Compression::Lz4, b"an old message set");
    // What old producers computed: over the frame's magic, too.
    frame[6] = (xxh32(&frame[..6]) >> 8) as u8;
    let fault = DecompressFault::Checksum { part: "header" };
    assert_eq!(decompress(Compression::Lz4, &frame, 100), Err(fault));
    let read = Decompressor::new(100).decompress_shared(Compression::Lz4, &frame, Dialect::MagicZero);
    assert_eq!(read.unwrap(), &b"an old message set"[..]);
}

#[test]
fn zstd_frames_follow_one_another_and_skippable_ones_are_skipped() {
    let mut first = FrameCompressor::<&[u8], Vec<u8>>::new(ZstdLevel::Fastest);
    first.set_content_size_flag(false);
    first.set_content_checksum(true);
    let first = first.compress_independent_frame(&content());
    let skippable = [&0x184d_2a53u32.to_le_bytes()[..], &3u32.to_le_bytes(), b"abc"].concat();
    let compressed = [&skippable[..], &first, &skippable, &compress(Compression::Zstd, b"second")].concat();
    let expected = [&content()[..], b"second"].concat();
    assert_eq!(decompress(Compression::Zstd, &compressed, expected.len()).unwrap(), expected);
    let mut wrong = first.clone();
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(decompress(Compression::Zstd, &wrong, 1 << 20), Err(DecompressFault::Checksum { part: "content" }));
    assert!(decompress(Compression::Zstd, &[&first[..], b"?"].concat(), 1 << 20).is_err(), "nothing may follow");
}

#[test]
fn zstd_that_claims_more_than_allowed_allocates_nothing() {
    // A single segment that states 2^62 bytes.
    let claim = [&0xfd2f_b528u32.to_le_bytes()[..], &[0b1110_0000], &(1u64 << 62).to_le_bytes(), &[1, 0, 0]].concat();
    let mut output = Vec::new();
    let result = Decompressor::new(1 << 20).decompress_into(Compression::Zstd, &claim, &mut output);
    assert_eq!(result.unwrap_err().fault, DecompressFault::TooLarge { max_bytes: 1 << 20 });
    assert_eq!(output.capacity(), 0);
}

#[test]
fn a_decompressor_is_as_good_as_new_after_an_error() {
    let content = content();
    let mut decompressor = Decompressor::default();
    for codec in CODECS {
        let compressed = compress(codec, &content);
        for cut in [compressed.len() / 2, compressed.len() - 1] {
            assert!(decompressor.decompress(codec, &compressed[..cut]).is_err(), "{codec}");
            assert_eq!(decompressor.decompress(codec, &compressed).unwrap(), content, "{codec}");
        }
    }
}

/// Lends one vector, and remembers what came back.
struct OneVector {
    memory: Option<Vec<u8>>,
    shared: Arc<Mutex<Vec<(usize, usize)>>>,
}

impl BatchMemory for OneVector {
    fn take(&mut self) -> Vec<u8> {
        self.memory.take().unwrap_or_default()
    }

    fn share(&mut self, memory: Vec<u8>, length: usize) -> Bytes {
        self.shared.lock().unwrap().push((memory.len(), length));
        let bytes = Bytes::copy_from_slice(&memory[..length]);
        self.memory = Some(memory);
        bytes
    }
}

#[test]
fn memory_is_lent_and_comes_back_whole_also_after_an_error() {
    let shared = Arc::default();
    let memory = OneVector { memory: Some(vec![7; 5000]), shared: Arc::clone(&shared) };
    let mut decompressor = Decompressor::with_memory(1 << 20, Box::new(memory));
    for codec in CODECS {
        assert_eq!(decompressor.decompress(codec, &compress(codec, b"short")).unwrap(), &b"short"[..]);
        assert!(decompressor.decompress(codec, b"nothing of the kind").is_err());
    }
    let shared = shared.lock().unwrap();
    assert_eq!(shared.len(), 8);
    for pair in shared.chunks(2) {
        // It keeps its length: what is initialised stays so.
        assert_eq!((pair[0].1, pair[1].1), (5, 0));
        assert!(pair.iter().all(|(length, _)| *length >= 5000));
    }
}

/// Lends a new vector each time, of no more than so many bytes, and keeps account of what is out.
struct Bounded {
    bound: usize,
    lent: Arc<Mutex<usize>>,
}

impl BatchMemory for Bounded {
    fn take(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn may_grow(&mut self, from: usize, to: usize) -> bool {
        let mut lent = self.lent.lock().unwrap();
        assert_eq!(*lent, from);
        if to <= self.bound {
            *lent = to;
        }
        to <= self.bound
    }

    fn share(&mut self, mut memory: Vec<u8>, length: usize) -> Bytes {
        assert_eq!(memory.len(), std::mem::take(&mut *self.lent.lock().unwrap()), "all of it was asked for");
        memory.truncate(length);
        memory.into()
    }
}

#[test]
fn a_batch_for_which_there_is_no_memory_says_so_and_leaves_none_taken() {
    let content = content();
    for codec in CODECS {
        let compressed = compress(codec, &content);
        for (bound, is_enough) in [(content.len() / 2, false), (content.len() + (1 << 17), true)] {
            let memory = Bounded { bound, lent: Arc::default() };
            let mut decompressor = Decompressor::with_memory(1 << 30, Box::new(memory));
            for _ in 0..2 {
                match decompressor.decompress(codec, &compressed) {
                    Ok(decompressed) => assert!(is_enough && decompressed == content, "{codec}"),
                    Err(error) => {
                        let is_meant = matches!(error.fault, DecompressFault::NoMemory { bytes } if bytes > bound);
                        assert!(!is_enough && is_meant, "{codec}: {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_level_beyond_its_range_is_an_error_that_names_the_setting() {
    let cases = [
        (Compression::Gzip, &[-1, 1, 9][..], &[-2, 0, 10][..], "compression.gzip.level is 10"),
        (Compression::Lz4, &[1, 17], &[0, 18], "compression.lz4.level is 18"),
        (Compression::Zstd, &[-131_072, 0, 22], &[-131_073, 23], "compression.zstd.level is 23"),
    ];
    for (compression, good, bad, text) in cases {
        for &level in good {
            assert_eq!(CompressionLevel::new(compression, level).unwrap().level(), level);
        }
        let errors: Vec<_> =
            bad.iter().map(|&level| CompressionLevel::new(compression, level).unwrap_err().to_string()).collect();
        assert!(errors.last().unwrap().starts_with(text), "{errors:?}");
    }
    let none = CompressionLevel::new(Compression::Snappy, 1);
    assert_eq!(none, Err(InvalidCompressionLevel::NoLevels { compression: Compression::Snappy }));
}

#[test]
fn names_and_numbers_are_kafkas() {
    let names: Vec<_> = Compression::ALL.iter().map(|compression| compression.name()).collect();
    assert_eq!(names, ["none", "gzip", "snappy", "lz4", "zstd"]);
    for compression in Compression::ALL {
        assert_eq!(compression.name().parse(), Ok(compression));
        assert_eq!(Compression::from_id(compression.id()), Some(compression));
    }
    assert_eq!(Compression::from_id(5), None);
    assert!("LZ4".parse::<Compression>().is_err());
}
