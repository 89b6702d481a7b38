//! Records of every shape from fixed seeds, written and read again through each codec and level.

use fastrand::Rng;
use ottla_wire::compression::{Compression, CompressionLevel, Compressor, Decompressor};
use ottla_wire::records::{BatchBuilder, ProducerState, RecordBatches};

use super::ComparedRecord;
use super::read;

#[test]
fn random_records_come_back_as_they_went_through_each_codec_and_level() {
    let mut records = 0;
    for level in levels() {
        // One for all, as a producer and a consumer use them: nothing is left behind by the batch before.
        let mut compressor = Compressor::new(level);
        let mut decompressor = Decompressor::default();
        for seed in 0..BATCHES {
            records += round_trip(seed, &mut compressor, &mut decompressor);
        }
    }
    println!("{records} records came back");
    assert!(records > 10_000);
}

fn round_trip(seed: u64, compressor: &mut Compressor, decompressor: &mut Decompressor) -> usize {
    let place = format!("seed {seed}, {:?}", compressor.level());
    let given = records(&mut Rng::with_seed(seed));
    let mut builder = BatchBuilder::new();
    for record in &given {
        let headers = record.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref()));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.append_at(record.offset as i32, record.timestamp, key, value, headers).expect("a record that fits");
    }
    let producer = ProducerState { producer_id: 7, producer_epoch: 1, base_sequence: 5, transactional: false };
    let bytes = builder.build(compressor, producer).expect("a batch");
    let mut batches = RecordBatches::new(bytes);
    let batch = batches.next().expect("a batch").expect("a sound batch");
    assert_eq!(batch.max_timestamp(), given.iter().map(|record| record.timestamp).max().expect("records"), "{place}");
    let open = batch.open(decompressor).unwrap_or_else(|error| panic!("{place}: {error}"));
    let read: Vec<_> = open.records().map(|record| read::record(&batch, &record.expect("a sound record"))).collect();
    assert_eq!(read, given, "{place}");
    assert!(batches.next().is_none(), "{place}");
    given.len()
}

fn records(random: &mut Rng) -> Vec<ComparedRecord> {
    let most_bytes = *random.choice(&[16, 200, 9000, 70_000]).expect("sizes");
    let mut offset = -1;
    let mut timestamp = *random.choice(&[0, -1, 1_700_000_000_000, i64::MAX - 1_000_000, i64::MIN]).expect("times");
    let count = random.usize(1..if most_bytes > 1000 { 20 } else { 100 });
    let mut record = || {
        offset += if random.u8(..10) == 0 { random.i64(1..100_000) } else { 1 };
        timestamp = i64::saturating_add(timestamp, random.i64(-20..20_000));
        let headers = (0..random.usize(..4)).map(|index| (format!("ключ-{index}"), bytes(random, 40)));
        let headers = headers.collect();
        ComparedRecord {
            offset,
            timestamp,
            key: bytes(random, 64),
            value: bytes(random, most_bytes),
            headers,
            control: None,
        }
    };
    (0..count).map(|_| record()).collect()
}

/// Null, or bytes that compress well or not at all.
fn bytes(random: &mut Rng, most: usize) -> Option<Vec<u8>> {
    let length = random.usize(..most);
    match random.u8(..8) {
        0 => None,
        1..=3 => Some((0..length).map(|_| random.u8(..)).collect()),
        4 => Some(vec![random.u8(..); length]),
        _ => Some((0..length).map(|_| random.u8(b'a'..b'e')).collect()),
    }
}

fn levels() -> Vec<CompressionLevel> {
    let mut levels: Vec<CompressionLevel> = Compression::ALL.into_iter().map(CompressionLevel::from).collect();
    let more = [
        (Compression::Gzip, &[1, 9][..]),
        (Compression::Lz4, &[1, 17]),
        (Compression::Zstd, &[-131_072, -1, 0, 1, 12]),
    ];
    for (compression, more) in more {
        levels.extend(more.iter().map(|&level| CompressionLevel::new(compression, level).expect("a level")));
    }
    levels
}

const BATCHES: u64 = 40;
