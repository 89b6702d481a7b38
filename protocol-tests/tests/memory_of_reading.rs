//! How much memory a consumer takes, to the byte: all that its thread allocates, whatever for.
//!
//! The broker has a thread of its own, so that nothing of it is counted. The application is slow and holds on to as much
//! as it is let; what it reads compresses 50:1 and has records of 10 MB; there are 600 partitions.

use std::collections::VecDeque;
use std::time::Duration;

use allocation_counter::{CountingAllocator, measure};
use bytes::Bytes;
use ottla::consumer::{Error, FetchError};
use ottla::{AutoOffsetReset, Client};
use ottla_broker::EmbeddedCluster;
use ottla_wire::compression::{Compression, Compressor};
use ottla_wire::records::{BatchBuilder, ProducerState};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MIB: usize = 1024 * 1024;
/// The default of `fetch.buffer.max.bytes`.
const BOUND: usize = 32 * MIB;
/// What a consumer takes beside data: what is known of 600 partitions, requests and answers as they are read, the codec's tables and
/// window, the socket's buffers.
const CONSTANT: usize = 4 * MIB;
const PARTITIONS: i32 = 600;
const LARGE_RECORDS: i32 = 6;

/// A batch of so many records of so many bytes, which compresses about 50:1.
fn batch(records: usize, bytes: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(1);
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        let mut value = vec![b'x'; bytes];
        value.iter_mut().step_by(400).for_each(|byte| *byte = random.u8(..));
        builder.append(0, None, Some(&value), []).expect("the record fits");
    }
    builder.build(&mut Compressor::new(Compression::Zstd), ProducerState::default()).expect("it compresses")
}

/// A broker on a thread of its own, with the topic filled; ends with the sender that it gives.
fn start() -> (String, tokio::sync::oneshot::Sender<()>) {
    let (address, started) = std::sync::mpsc::channel();
    let (alive, ended) = tokio::sync::oneshot::channel();
    #[allow(clippy::disallowed_methods, reason = "what the broker allocates is not to be counted")]
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let cluster = EmbeddedCluster::builder().start().await.expect("the broker starts");
            cluster.create_topic("topic", PARTITIONS, 1).await.expect("the topic is created");
            let (small, large) = (batch(256, 1024), batch(1, 10_000_000));
            let ratios = [256 * 1024 / small.len(), 10_000_000 / large.len()];
            assert!(ratios.iter().all(|ratio| *ratio >= 40), "it compresses {ratios:?} to 1");
            for partition in 0..PARTITIONS {
                cluster.append_unchecked("topic", partition, small.clone(), 256).await.expect("it is appended");
            }
            for partition in 0..LARGE_RECORDS {
                cluster.append_unchecked("topic", partition, large.clone(), 1).await.expect("it is appended");
                cluster.append_unchecked("topic", partition, small.clone(), 256).await.expect("it is appended");
            }
            address.send(cluster.bootstrap_servers()).expect("the test waits");
            let _ = ended.await;
            cluster.shutdown().await;
        });
    });
    (started.recv().expect("the broker starts"), alive)
}

/// Reads it all, holding on to as much as it is let. Gives the most that was held.
async fn read(bootstrap_servers: &str) -> usize {
    let client = Client::builder().bootstrap_servers(bootstrap_servers).build().expect("a client");
    let consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build();
    let mut consumer = consumer.expect("a consumer");
    consumer.assign_topic("topic").await.expect("the topic is there");
    let (mut held, mut records, mut most_held) = (VecDeque::new(), 0, 0);
    while records < (PARTITIONS as usize + LARGE_RECORDS as usize) * 256 + LARGE_RECORDS as usize {
        match consumer.poll(Duration::from_secs(30)).await {
            Ok(batches) => {
                assert!(!batches.is_empty(), "nothing comes after {records} records");
                records += batches.record_count();
                held.push_back(batches);
            }
            Err(Error::Fetch(FetchError::BufferHeld { .. })) => held.clear(),
            Err(error) => panic!("{error} after {records} records"),
        }
        let memory = consumer.fetch_metrics().memory;
        assert!(memory.used_bytes + memory.idle_bytes <= BOUND, "{memory:?}");
        most_held = most_held.max(memory.held_bytes);
    }
    most_held
}

#[test]
fn a_slow_application_that_holds_what_it_can_takes_the_bound_a_tenth_and_a_constant() {
    let (bootstrap_servers, alive) = start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (most_held, allocated) = measure(|| runtime.block_on(read(&bootstrap_servers)));
    let mib = |bytes: usize| bytes as f64 / MIB as f64;
    println!("held {:.1} MiB, allocated {:.1} MiB at the most", mib(most_held), mib(allocated.peak_bytes));
    assert!(most_held > BOUND / 4 * 3, "only {most_held} bytes were held");
    assert!(allocated.peak_bytes <= BOUND + BOUND / 10 + CONSTANT, "{} bytes", allocated.peak_bytes);
    drop(alive);
}
