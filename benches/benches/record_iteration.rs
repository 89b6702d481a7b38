//! Walking the records of one batch: CRC, decompression, records; and the walk alone.
//!
//! `walk/*` is the iteration of an uncompressed batch without its CRC, beside `by_hand/*`: the same bytes read by a loop
//! that knows them to be sound, which is the least that reading them can cost. `open/*` is what a consumer pays for a
//! batch: CRC, decompression into warm memory, and the walk. Throughput is in records; a batch is about 1 MiB. What each
//! allocates is printed before it is timed.
#![allow(missing_docs, reason = "criterion's macros")]

use std::fmt::Write;
use std::hint::black_box;

use allocation_counter::{CountingAllocator, measure};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ottla_wire::compression::{BatchMemory, Compression, Compressor, DEFAULT_MAX_BATCH_BYTES, Decompressor};
use ottla_wire::records::{BatchBuilder, OpenBatch, ProducerState, RecordBatch, RecordBatches};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn iteration(criterion: &mut Criterion) {
    walk(criterion);
    for compression in Compression::ALL {
        open(criterion, compression);
    }
}

fn walk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("walk");
    for value_bytes in VALUE_BYTES {
        let (batch, records) = batch(value_bytes, Compression::None);
        let open = batch.open(&mut Decompressor::default()).expect("a sound batch");
        assert_eq!(sum(&open), sum_by_hand(open.buffer()), "both read the same");
        println!("allocations: {} in a walk of {records} records", measure(|| sum(&open)).1.allocations);
        group.throughput(Throughput::Elements(records));
        group.bench_function(BenchmarkId::new("records", value_bytes), |bencher| {
            bencher.iter(|| sum(black_box(&open)));
        });
        group.bench_function(BenchmarkId::new("by_hand", value_bytes), |bencher| {
            bencher.iter(|| sum_by_hand(black_box(open.buffer())));
        });
    }
    group.finish();
}

fn open(criterion: &mut Criterion, compression: Compression) {
    let mut group = criterion.benchmark_group(format!("open/{compression}"));
    for value_bytes in VALUE_BYTES {
        let (batch, records) = batch(value_bytes, compression);
        let mut decompressor = Decompressor::with_memory(DEFAULT_MAX_BATCH_BYTES, Box::<Warm>::default());
        let mut opened = || sum(&black_box(&batch).open(&mut decompressor).expect("a sound batch"));
        opened(); // the memory is warm then
        println!("allocations: {} a batch of {records} records", measure(&mut opened).1.allocations);
        group.throughput(Throughput::Elements(records));
        group.bench_function(BenchmarkId::from_parameter(value_bytes), |bencher| {
            bencher.iter(&mut opened);
        });
    }
    group.finish();
}

/// Uses everything that a record says.
fn sum(batch: &OpenBatch) -> u64 {
    let mut sum = 0u64;
    for record in batch.records() {
        let record = record.expect("a sound record");
        let length = record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
        let last = record.value().and_then(<[u8]>::last).copied().unwrap_or(0);
        sum = sum.wrapping_add(length as u64 + u64::from(last) + record.offset() as u64 + record.timestamp() as u64);
    }
    sum
}

/// The same, of records that are known to be sound.
fn sum_by_hand(bytes: &[u8]) -> u64 {
    let mut sum = 0u64;
    let mut position = 0;
    while position < bytes.len() {
        let _length = integer(bytes, &mut position);
        position += 1;
        let timestamp = integer(bytes, &mut position) + BASE_TIMESTAMP;
        let offset = integer(bytes, &mut position);
        let key = integer(bytes, &mut position) as usize;
        position += key;
        let value = integer(bytes, &mut position) as usize;
        let last = bytes[position + value - 1];
        position += value;
        let _headers = integer(bytes, &mut position);
        sum = sum.wrapping_add((key + value) as u64 + u64::from(last) + offset as u64 + timestamp as u64);
    }
    sum
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "the least that it can cost")]
fn integer(bytes: &[u8], position: &mut usize) -> i64 {
    let first = u64::from(bytes[*position]);
    let mut value = first & 0x7f;
    *position += 1;
    if first >= 0x80 {
        let second = u64::from(bytes[*position]);
        *position += 1;
        value |= (second & 0x7f) << 7;
        if second >= 0x80 {
            let third = u64::from(bytes[*position]);
            *position += 1;
            value |= third << 14;
        }
    }
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// A batch of about a mebibyte: keys of 8 bytes, values like page views.
fn batch(value_bytes: usize, compression: Compression) -> (RecordBatch, u64) {
    let mut builder = BatchBuilder::with_capacity(BATCH_BYTES);
    let mut random = fastrand::Rng::with_seed(7);
    let mut records = 0;
    while builder.estimated_size() < BATCH_BYTES - 2 * value_bytes {
        let key = format!("{:08}", random.u32(..10_000));
        let mut value = format!("{{\"page\":\"/articles/{}\",\"user\":{},", random.u32(..500), random.u32(..));
        while value.len() < value_bytes {
            let milliseconds = random.u32(..900);
            write!(value, "\"load_ms\":{milliseconds},\"status\":200,\"agent\":\"Mozilla/5.0\",")
                .expect("a string takes everything");
        }
        value.truncate(value_bytes);
        let timestamp = BASE_TIMESTAMP + records as i64 / 8;
        builder.append(timestamp, Some(key.as_bytes()), Some(value.as_bytes()), []).expect("room for a record");
        records += 1;
    }
    let bytes = builder.build(&mut Compressor::new(compression), ProducerState::NONE).expect("a batch");
    (RecordBatches::new(bytes).next().expect("a batch").expect("a sound batch"), records)
}

/// One vector, used again and again, as a pool would.
#[derive(Default)]
struct Warm {
    returned: std::sync::Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
}

struct Lent {
    memory: Vec<u8>,
    length: usize,
    home: std::sync::Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
}

impl BatchMemory for Warm {
    fn take(&mut self) -> Vec<u8> {
        self.returned.lock().expect("no panic").pop().unwrap_or_default()
    }

    fn share(&mut self, memory: Vec<u8>, length: usize) -> Bytes {
        Bytes::from_owner(Lent { memory, length, home: self.returned.clone() })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.lock().expect("no panic").push(std::mem::take(&mut self.memory));
    }
}

const BATCH_BYTES: usize = 1 << 20;
const BASE_TIMESTAMP: i64 = 1_700_000_000_000;
const VALUE_BYTES: [usize; 3] = [10, 100, 1024];

criterion_group!(benches, iteration);
criterion_main!(benches);
