//! Java's batches, mutated from fixed seeds, with the CRCs wrong and made right again: nothing panics, nothing is read
//! without end, nothing becomes more than it may; and where `kafka-protocol`'s decoder accepts what we accept, both read
//! the same.

use bytes::Bytes;
use fastrand::Rng;
use kafka_protocol::records::RecordBatchDecoder;
use ottla_wire::compression::Decompressor;
use ottla_wire::records::{RecordBatches, crc32, crc32c};
use protocol_tests::golden;

use super::read;

#[test]
fn no_mutation_of_a_batch_panics_or_reads_without_end_or_becomes_too_large() {
    let seeds = seeds();
    let mut counts = Counts::default();
    for seed in 0..MUTATIONS {
        let mut random = Rng::with_seed(seed);
        let mut bytes = random.choice(&seeds).expect("seeds").clone();
        mutate(&mut bytes, &mut random);
        if random.bool() {
            repair(&mut bytes);
        }
        walk(seed, bytes, &mut counts);
    }
    println!("{counts:?}");
    let Counts { batches, records, corrupt_headers, corrupt_batches, corrupt_records } = counts;
    for (count, least) in
        [(batches, 4000), (records, 8000), (corrupt_headers, 2000), (corrupt_batches, 2000), (corrupt_records, 1500)]
    {
        assert!(count >= least, "the mutations reach every stage: {counts:?}");
    }
}

#[test]
fn what_another_decoder_accepts_it_reads_as_we_do() {
    let seeds = seeds();
    let (mut compared, mut refused_there) = (0, 0);
    for seed in 0..MUTATIONS {
        let mut random = Rng::with_seed(seed);
        let mut bytes = random.choice(&seeds).expect("seeds").clone();
        mutate(&mut bytes, &mut random);
        repair(&mut bytes);
        let ours = read::read(bytes.clone());
        // That decoder believes counts, so it is only shown what we found sound; it has no codecs here; and it
        // keeps one header of each name.
        let plain = ours.batches.iter().all(|batch| batch.compression == "none" && batch.magic == 2);
        if ours.fault.is_some() || ours.batches.is_empty() || !plain {
            continue;
        }
        let mut whole = Bytes::from(bytes).slice(..ours.whole_bytes);
        let Ok(sets) = RecordBatchDecoder::decode_all(&mut whole) else {
            refused_there += 1;
            continue;
        };
        let theirs: Vec<_> = sets.into_iter().flat_map(|set| set.records).collect();
        let ours: Vec<_> = ours.batches.iter().flat_map(|batch| &batch.records).collect();
        assert_eq!(ours.len(), theirs.len(), "seed {seed}: records");
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            assert_eq!(ours.offset, theirs.offset, "seed {seed}");
            assert_eq!(ours.key.as_deref(), theirs.key.as_deref(), "seed {seed}");
            assert_eq!(ours.value.as_deref(), theirs.value.as_deref(), "seed {seed}");
            for (key, value) in &theirs.headers {
                let last = ours.headers.iter().rev().find(|(name, _)| **name == **key).expect("their header");
                assert_eq!(last.1.as_deref(), value.as_deref(), "seed {seed}");
            }
            compared += 1;
        }
    }
    println!("{compared} records read alike, {refused_there} buffers refused there alone");
    assert!(compared > 1000, "{compared} compared");
}

#[derive(Debug, Default)]
struct Counts {
    batches: usize,
    records: usize,
    corrupt_headers: usize,
    corrupt_batches: usize,
    corrupt_records: usize,
}

/// Reads everything that can be read, going on behind errors.
fn walk(seed: u64, bytes: Vec<u8>, counts: &mut Counts) {
    let length = bytes.len();
    let mut batches = RecordBatches::new(Bytes::from(bytes));
    let mut decompressor = Decompressor::new(MAX_BYTES);
    let mut before = 0;
    while let Some(batch) = batches.next() {
        assert!(batches.position() > before && batches.position() <= length, "seed {seed}: it moves on, within bounds");
        before = batches.position();
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                assert!(!error.to_string().is_empty() && error.position < length, "seed {seed}");
                counts.corrupt_headers += 1;
                continue;
            }
        };
        assert!(batch.next_offset() > batch.last_offset(), "seed {seed}: a consumer that skips it moves on");
        // Unchecked, so that wrong CRCs hide nothing.
        let open = match batch.open_unchecked(&mut decompressor) {
            Ok(open) => open,
            Err(error) => {
                assert_eq!((error.position, error.next_offset), (batch.position(), Some(batch.next_offset())));
                counts.corrupt_batches += 1;
                continue;
            }
        };
        assert!(open.buffer().len() <= MAX_BYTES.max(length), "seed {seed}: bound");
        counts.batches += 1;
        for record in open.records() {
            match record {
                Ok(record) => {
                    let headers = record.headers();
                    assert_eq!(headers.len(), headers.count(), "seed {seed}: checked headers are all there");
                    let owned = open.to_owned_record(&record);
                    assert_eq!(read::record(&batch, &(&owned).into()), read::record(&batch, &record), "seed {seed}");
                    counts.records += 1;
                }
                Err(error) => {
                    assert_eq!(error.next_offset, batch.next_offset(), "seed {seed}");
                    assert!(error.position <= open.buffer().len(), "seed {seed}");
                    counts.corrupt_records += 1;
                }
            }
        }
    }
}

/// The smaller buffers of all three files.
fn seeds() -> Vec<Vec<u8>> {
    let files = ["record_batches.jsonl.gz", "record_batches_legacy.jsonl.gz", "record_batches_corrupt.jsonl.gz"];
    let lines = files.iter().flat_map(|file| golden::lines(file));
    lines.map(|line| line.bytes("bytes")).filter(|bytes| (1..2000).contains(&bytes.len())).collect()
}

/// Changes a few places, half of them in the first header.
fn mutate(bytes: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let end = if random.bool() { bytes.len() } else { bytes.len().min(80) };
        let at = random.usize(..end);
        match random.u8(..7) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes[at] = *random.choice(&[0, 1, 0x7f, 0x80, 0xff]).expect("values"),
            2 => bytes[at] = random.u8(..),
            3 => bytes.insert(at, random.u8(..)),
            4 => drop(bytes.remove(at)),
            5 => bytes.truncate(at),
            _ => {
                let copied = bytes[at..(at + random.usize(1..32)).min(bytes.len())].to_vec();
                let to = random.usize(..=bytes.len());
                bytes.splice(to..to, copied);
            }
        }
    }
}

/// Makes the last batch's length and all CRCs right, so that what lies behind them is reached.
fn repair(bytes: &mut [u8]) {
    let mut start = 0;
    while bytes.len() - start >= 17 {
        let rest = &mut bytes[start..];
        let length = i32::from_be_bytes([rest[8], rest[9], rest[10], rest[11]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(12);
        let length = if length < 26 || length > rest.len() { rest.len() } else { length };
        let batch = &mut rest[..length];
        batch[8..12].copy_from_slice(&(length as i32 - 12).to_be_bytes());
        if batch[16] == 2 && batch.len() >= 61 {
            let crc = crc32c(&batch[21..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
        } else {
            let crc = crc32(&batch[16..]);
            batch[12..16].copy_from_slice(&crc.to_be_bytes());
        }
        start += length;
    }
}

const MUTATIONS: u64 = 10_000;
const MAX_BYTES: usize = 256 << 10;
