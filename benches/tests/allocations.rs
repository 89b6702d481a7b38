//! What reading allocates, counted: nothing for a record, a constant for a batch. Counts do not depend on the machine.
//!
//! The client runs on this thread, which is the one that is counted; the broker replays from memory on another.

use allocation_counter::{CountingAllocator, measure};
use ottla::Compression;
use ottla_benches::{Reader, ReplayServer, ReplayShape, ReplayTopic};
use ottla_broker::{Replay, Transport};
use ottla_connection::MemoryNetwork;
use ottla_wire::compression::Decompressor;
use ottla_wire::messages::{FetchPartitionData, FetchResponse, FetchResponseView, FetchableTopicResponse};
use ottla_wire::records::RecordBatches;
use ottla_wire::{Message, TopicId, Writer};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// The most that a batch may take from its arrival to its last record: it is planned, parsed, opened and handed out.
const MOST_OF_A_BATCH: f64 = 8.0;

/// Of a Fetch response, with topic ids.
const VERSION: i16 = 16;

fn shape(batch_records: usize, compression: Compression) -> ReplayShape {
    ReplayShape { value_bytes: 100, batch_records, compression, lap_bytes: 4 << 20 }
}

/// Allocations per batch of a consumer, the least of several stretches.
fn allocations_of_a_batch(batch_records: usize, compression: Compression, partitions: i32) -> f64 {
    let replay = Replay::new(shape(batch_records, compression).batches()).expect("batches of ours").endless();
    let topic = ReplayTopic { name: "t".to_owned(), partitions, replay };
    let server =
        ReplayServer::start(Transport::Memory(MemoryNetwork::new()), 1, vec![topic]).expect("a server in memory");
    let mut reader = Reader::new(server.bootstrap_servers(), Some(server.connector()), "t", 1, &[]);
    let records = batch_records as u64 * 60;
    let mut measured = || {
        let (read, allocated) = measure(|| reader.read(records));
        assert_eq!(read.records, read.batches * batch_records as u64);
        allocated.allocations as f64 / read.batches as f64
    };
    // What is made once, and what waiting for a broker takes that a busy machine delays, is not in the least of them; what
    // each batch or record takes is in all.
    (0..5).map(|_| measured()).fold(f64::INFINITY, f64::min)
}

#[test]
fn the_records_of_a_batch_allocate_nothing() {
    for compression in Compression::ALL {
        let batches = shape(500, compression).batches();
        let mut decompressor = Decompressor::default();
        let batch = RecordBatches::new(batches).next().unwrap().unwrap().open(&mut decompressor).unwrap();
        let (records, allocated) = measure(|| {
            batch.records().map(Result::unwrap).filter(|record| record.value().is_some_and(|v| v.len() == 100)).count()
        });
        assert_eq!((records, allocated.allocations), (500, 0), "{compression}");
    }
}

#[test]
fn a_batch_allocates_the_same_whatever_the_number_of_its_records() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        for partitions in [1, 12] {
            let small = allocations_of_a_batch(10, compression, partitions);
            let large = allocations_of_a_batch(1000, compression, partitions);
            println!("{compression}, {partitions} partitions: {small:.2} a batch of 10 records, {large:.2} of 1000");
            assert!(small <= MOST_OF_A_BATCH, "{compression}, {partitions} partitions: {small} a batch of 10");
            // A response has fewer batches that are larger: what a response takes is shared by fewer.
            assert!(large <= MOST_OF_A_BATCH, "{compression}, {partitions} partitions: {large} a batch of 1000");
        }
    }
}

#[test]
fn a_response_in_place_allocates_nothing_for_a_partition() {
    let partition = |partition_index: i32| FetchPartitionData { partition_index, ..Default::default() };
    let parsed = |partitions: i32| {
        let topic = FetchableTopicResponse {
            topic_id: TopicId([1; 16]),
            partitions: (0..partitions).map(partition).collect(),
            ..Default::default()
        };
        let mut writer = Writer::new();
        let response = FetchResponse { responses: vec![topic], ..Default::default() };
        response.encode(&mut writer, VERSION).expect("a response that the version can carry");
        let body = writer.into_bytes();
        let (read, allocated) = measure(|| {
            let view = FetchResponseView::parse(body.clone(), VERSION).expect("a whole response");
            view.partitions().count()
        });
        assert_eq!(read, partitions as usize);
        allocated.allocations
    };
    assert_eq!(parsed(10_000), parsed(1));
}
