//! What a Fetch response costs before any of its records is looked at: parsed in place, as the fetch path does it, and
//! as structures, for 1 to 10,000 partitions.
//!
//! Each partition carries 1 KiB of records or, as most partitions of a session do, none. The bytes of the records are
//! not read by either parser, so that only their number of partitions tells responses apart. What reading a response in
//! place allocates is printed before it is timed.

#![allow(missing_docs, reason = "criterion's macros make functions without")]

use allocation_counter::{CountingAllocator, measure};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ottla_wire::messages::{FetchPartitionData, FetchResponse, FetchResponseView, FetchableTopicResponse};
use ottla_wire::{ErrorCode, Message, Reader, TopicId, Writer};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// With topic ids and the leader's tagged fields: what brokers have spoken since 3.7.
const VERSION: i16 = 16;
/// Before topic ids, and not flexible.
const OLD_VERSION: i16 = 11;
const PARTITION_COUNTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const RECORDS_BYTES: usize = 1024;
const PARTITIONS_PER_TOPIC: usize = 100;

fn response(partitions: usize, version: i16, records: Option<&Bytes>) -> Bytes {
    let partition = |partition_index: usize| FetchPartitionData {
        partition_index: partition_index as i32,
        error_code: ErrorCode::None,
        high_watermark: 1_000_000,
        last_stable_offset: 1_000_000,
        log_start_offset: 0,
        records: Some(records.cloned().unwrap_or_default()),
        ..Default::default()
    };
    let topic = |(index, partitions): (usize, &[usize])| FetchableTopicResponse {
        topic: if version < 13 { format!("topic-{index}") } else { String::new() },
        topic_id: if version < 13 { TopicId::NONE } else { TopicId([index as u8 + 1; 16]) },
        partitions: partitions.iter().map(|index| partition(*index)).collect(),
    };
    let indexes: Vec<usize> = (0..partitions).collect();
    let responses = indexes.chunks(PARTITIONS_PER_TOPIC).enumerate().map(topic).collect();
    let response = FetchResponse { session_id: 7, responses, ..Default::default() };
    let mut writer = Writer::new();
    response.encode(&mut writer, version).expect("a response that the version can carry");
    writer.into_bytes()
}

fn in_place(body: &Bytes, version: i16) -> i64 {
    let view = FetchResponseView::parse(body.clone(), version).expect("a whole response");
    view.partitions().map(|partition| partition.records.map_or(0, |records| records.len() as i64)).sum()
}

fn as_structures(body: &Bytes, version: i16) -> i64 {
    let response = FetchResponse::decode(&mut Reader::new(body.clone()), version).expect("a whole response");
    let partitions = response.responses.into_iter().flat_map(|topic| topic.partitions);
    partitions.map(|partition| partition.records.map_or(0, |records| records.len() as i64)).sum()
}

fn parse(criterion: &mut Criterion) {
    let records = Bytes::from(vec![0; RECORDS_BYTES]);
    for (content, version, records) in
        [("records", VERSION, Some(&records)), ("empty", VERSION, None), ("records, old", OLD_VERSION, Some(&records))]
    {
        let mut group = criterion.benchmark_group(format!("fetch response/{content}"));
        for partitions in PARTITION_COUNTS {
            let body = response(partitions, version, records);
            let allocations = measure(|| in_place(&body, version)).1.allocations;
            println!("allocations: {allocations} for a response of {partitions} partitions, in place");
            group.throughput(Throughput::Elements(partitions as u64));
            group.bench_with_input(BenchmarkId::new("in place", partitions), &body, |bencher, body| {
                bencher.iter(|| in_place(body, version));
            });
            // Thousands of empty partitions take more memory as structures than the reader allows.
            if FetchResponse::decode(&mut Reader::new(body.clone()), version).is_ok() {
                group.bench_with_input(BenchmarkId::new("structures", partitions), &body, |bencher, body| {
                    bencher.iter(|| as_structures(body, version));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, parse);
criterion_main!(benches);
