//! Consuming from end to end, through `Consumer::poll`, from a broker that answers from memory on a thread of its own.
//!
//! What is measured is the processor time of the client's thread, so neither the broker's work nor waiting for it counts,
//! and the connection is in memory, so the kernel's work does not either; where the system does not count threads, it is the
//! time on the clock. Throughput is in records. Before each group, what a batch and a record allocate is printed.
//!
//! - `consume/VALUE_BYTES`: batches of 128 KiB, in twelve partitions, by codec.
//! - `growth`: batches of 100 records of 100 bytes, one of each partition in a fetch, by the number of partitions.
//! - `consumers`: one, and two in the same thread, which together read as much.
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use allocation_counter::{CountingAllocator, measure};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ottla::Compression;
use ottla_benches::{Reader, ReplayServer, ReplayShape, ReplayTopic, timed};
use ottla_broker::{Replay, Transport};
use ottla_connection::MemoryNetwork;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// How many records an iteration reads.
const RECORDS: u64 = 20_000;
const PARTITION_COUNTS: [i32; 5] = [1, 10, 100, 1_000, 10_000];

fn consume(criterion: &mut Criterion) {
    for value_bytes in [10, 100, 1024] {
        let mut group = criterion.benchmark_group(format!("consume/{value_bytes}"));
        for compression in Compression::ALL {
            let shape = ReplayShape::of_batches(value_bytes, 128 << 10, compression);
            let server = server(ReplayShape { lap_bytes: 16 << 20, ..shape }, 12);
            let reader = reader(&server, 1, &[]);
            bench(&mut group, BenchmarkId::from_parameter(compression), reader);
        }
        group.finish();
    }
}

fn growth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("growth");
    group.sample_size(10);
    let shape = ReplayShape { value_bytes: 100, batch_records: 100, ..SMALL };
    let one_batch = ReplayShape { lap_bytes: 1, ..shape }.batches().len().to_string();
    for partitions in PARTITION_COUNTS {
        let server = server(shape, partitions);
        let (reader, made) = measure(|| {
            let mut reader = reader(&server, 1, &[("max.partition.fetch.bytes", &one_batch)]);
            reader.read(1);
            reader
        });
        println!("kept: {} bytes a partition, metadata and buffers included", made.kept_bytes / partitions as usize);
        bench(&mut group, BenchmarkId::from_parameter(partitions), reader);
    }
    group.finish();
}

fn consumers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("consumers");
    let server = server(SMALL, 12);
    for consumers in [1, 2] {
        let reader = reader(&server, consumers, &[]);
        bench(&mut group, BenchmarkId::from_parameter(consumers), reader);
    }
    group.finish();
}

const SMALL: ReplayShape =
    ReplayShape { value_bytes: 100, batch_records: 1000, compression: Compression::None, lap_bytes: 16 << 20 };

/// Once and unoptimised, it is not the figures that matter.
fn lap_bytes(bytes: usize) -> usize {
    if cfg!(debug_assertions) { 1 << 20 } else { bytes }
}

fn server(shape: ReplayShape, partitions: i32) -> ReplayServer {
    let shape = ReplayShape { lap_bytes: lap_bytes(shape.lap_bytes), ..shape };
    let replay = Replay::new(shape.batches()).expect("batches of ours").endless();
    let topic = ReplayTopic { name: "t".to_owned(), partitions, replay };
    ReplayServer::start(Transport::Memory(MemoryNetwork::new()), 1, vec![topic]).expect("a server in memory")
}

fn reader(server: &ReplayServer, consumers: usize, settings: &[(&str, &str)]) -> Reader {
    Reader::new(server.bootstrap_servers(), Some(server.connector()), "t", consumers, settings)
}

fn bench(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    id: BenchmarkId,
    mut reader: Reader,
) {
    reader.read(RECORDS); // connections, metadata and positions are there then
    let (read, allocated) = measure(|| reader.read(10 * RECORDS));
    let (batches, records) = (read.batches as f64, read.records as f64);
    let allocations = allocated.allocations as f64;
    println!(
        "allocations: {:.2} a batch, {:.4} a record; {:.0} records a batch",
        allocations / batches,
        allocations / records,
        records / batches
    );
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|iterations| {
            let wanted = iterations * RECORDS;
            let (read, taken) = timed(true, || reader.read(wanted).records);
            // A poll gives whole batches, so it is a little more than what was wanted.
            taken.mul_f64(wanted as f64 / read as f64)
        });
    });
}

criterion_group!(benches, consume, growth, consumers);
criterion_main!(benches);
