//! The one bound on memory.

use std::time::Duration;

use ottla_consumer::{Error, FetchError};
use ottla_wire::ApiKey;
use ottla_wire::compression::{Compression, Compressor};
use ottla_wire::records::{BatchBuilder, ProducerState};

use crate::setup::{LONG, Setup, partition};

const BOUND: usize = 256 * 1024;

fn large_batch(bytes: usize, compression: Compression) -> bytes::Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(0, None, Some(&vec![b'x'; bytes]), []).unwrap();
    builder.build(&mut Compressor::new(compression), ProducerState::default()).unwrap()
}

/// A topic of so many partitions with twenty batches of 20,000 bytes in each.
async fn filled(nodes: i32, partitions: i32) -> Setup {
    let setup = Setup::start(nodes, partitions).await;
    for index in 0..partitions {
        for _ in 0..20 {
            setup.append_bytes(index, large_batch(20_000, Compression::None), 1).await;
        }
    }
    setup
}

#[tokio::test(start_paused = true)]
async fn a_slow_application_keeps_the_bound_and_loses_nothing() {
    let setup = filled(3, 6).await;
    let consumer = setup.consumer().fetch_buffer_max_bytes(BOUND).max_poll_bytes(30_000);
    let mut consumer = consumer.build().unwrap();
    consumer.assign_topic("topic").await.unwrap();
    let (mut records, mut most) = (0, 0);
    while records < 120 {
        let batches = consumer.poll(LONG).await.unwrap();
        records += batches.record_count();
        // All that can come has come when nothing has happened for so long.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            most = most.max(consumer.fetch_metrics().memory.used_bytes);
            assert!(
                consumer.fetch_metrics().memory.used_bytes <= BOUND,
                "{} bytes",
                consumer.fetch_metrics().memory.used_bytes
            );
        }
    }
    assert_eq!(records, 120);
    assert!(most > BOUND / 2, "only {most} bytes were ever buffered");
    assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
    assert_eq!(consumer.fetch_metrics().memory.used_bytes, 0);
}

/// Reads it all while one batch of each so many records is kept, and checks that nothing comes to a standstill.
async fn read_and_hold(nodes: i32, bound: usize, each: usize) {
    let setup = filled(nodes, 16).await;
    let mut consumer = setup.consumer().fetch_buffer_max_bytes(bound).build().unwrap();
    consumer.assign((0..16).map(partition)).unwrap();
    let (mut held, mut records) = (Vec::new(), 0);
    while records < 16 * 20 {
        let batches = consumer.poll(LONG).await;
        let batches = batches.unwrap_or_else(|error| panic!("{error} after {records}, {nodes} nodes, bound {bound}"));
        assert!(!batches.is_empty() && consumer.fetch_metrics().memory.used_bytes <= bound);
        records += batches.record_count();
        if held.len() * each < records {
            held.extend(batches.into_iter().next());
        }
    }
    drop(held);
    assert_eq!(consumer.fetch_metrics().memory.used_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn one_batch_that_is_held_stops_nobody() {
    // Each answer takes what it is allowed to, and the held batch keeps all of one in memory.
    for (nodes, bound) in [(1, BOUND), (1, 5 * BOUND), (3, 5 * BOUND)] {
        read_and_hold(nodes, bound, 16 * 20).await;
    }
}

#[tokio::test(start_paused = true)]
async fn batches_of_several_answers_can_be_held() {
    // Far less than the bound is held, but of four answers that would fill it twice were they as large as the first.
    for (nodes, bound) in [(1, 10 * BOUND), (3, 10 * BOUND)] {
        read_and_hold(nodes, bound, 16 * 20 / 4).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_the_bound_gets_through_alone() {
    let setup = Setup::start(3, 3).await;
    for index in 0..3 {
        setup.append_bytes(index, large_batch(20_000, Compression::None), 1).await;
        setup.append_bytes(index, large_batch(900_000, Compression::None), 1).await;
        setup.append_bytes(index, large_batch(20_000, Compression::None), 1).await;
    }
    let mut consumer = setup.consumer().fetch_buffer_max_bytes(BOUND).build().unwrap();
    consumer.assign_topic("topic").await.unwrap();
    let mut sizes = Vec::new();
    while sizes.len() < 9 {
        for batch in &consumer.poll(LONG).await.unwrap() {
            sizes.extend(batch.records().map(|record| record.unwrap().value().unwrap().len()));
        }
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [[20_000; 3], [20_000; 3], [900_000; 3]].concat());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_memory_casts_no_doubt_on_its_broker() {
    let setup = Setup::start(1, 1).await;
    setup.append_bytes(0, large_batch(20_000, Compression::None), 1).await;
    let mut consumer = setup.consumer().fetch_buffer_max_bytes(BOUND).build().unwrap();
    consumer.assign_topic("topic").await.unwrap();
    let held = consumer.poll(LONG).await.unwrap();
    // It is larger than the bound, and waits until it is alone.
    setup.append_bytes(0, large_batch(900_000, Compression::None), 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let node = setup.embedded.nodes().next().unwrap();
    let asked = || setup.embedded.faults().requests(node, ApiKey::Metadata);
    let before = asked();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(asked(), before);
    drop(held);
    assert_eq!(consumer.poll(LONG).await.unwrap().record_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_holds_all_the_memory_is_told() {
    let setup = filled(1, 1).await;
    let mut consumer = setup.consumer().fetch_buffer_max_bytes(BOUND).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let mut held = Vec::new();
    let error = loop {
        match consumer.poll(LONG).await {
            Ok(batches) => {
                assert!(!batches.is_empty(), "poll stalled");
                held.push(batches);
            }
            Err(error) => break error,
        }
    };
    let Error::Fetch(FetchError::BufferHeld { held_bytes, bound_bytes }) = error else { panic!("{error}") };
    assert_eq!(bound_bytes, BOUND);
    assert!(held_bytes > BOUND / 2 && held_bytes <= BOUND, "{held_bytes} bytes");
    let before: usize = held.iter().map(ottla_consumer::Batches::record_count).sum();
    held.clear();
    let mut after = 0;
    while before + after < 20 {
        let batches = consumer.poll(LONG).await.unwrap();
        after += batches.record_count();
    }
    assert_eq!(before + after, 20);
}

#[tokio::test(start_paused = true)]
async fn a_paused_partition_that_fills_the_memory_starves_no_other_and_loses_nothing() {
    let setup = filled(1, 2).await;
    let mut consumer = setup.consumer().fetch_buffer_max_bytes(BOUND).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(
        consumer.fetch_metrics().memory.used_bytes > BOUND / 2,
        "only {} bytes came",
        consumer.fetch_metrics().memory.used_bytes
    );
    consumer.pause([&partition(0)]).unwrap();
    consumer.assign([partition(0), partition(1)]).unwrap();

    let mut offsets = [const { Vec::new() }; 2];
    for index in [1, 0] {
        while offsets[index].len() < 20 {
            let batches = consumer.poll(LONG).await.unwrap();
            assert!(!batches.is_empty(), "nothing comes of partition {index}");
            for batch in &batches {
                offsets[batch.partition() as usize].extend(batch.records().map(|record| record.unwrap().offset()));
            }
        }
        assert!(index == 0 || offsets[0].is_empty(), "a paused partition was handed out");
        consumer.resume([&partition(0)]).unwrap();
    }
    assert_eq!(offsets, [(); 2].map(|()| (0..20).collect::<Vec<i64>>()));
}

#[tokio::test(start_paused = true)]
async fn what_batches_decompress_to_counts() {
    let setup = Setup::start(1, 1).await;
    for _ in 0..10 {
        setup.append_bytes(0, large_batch(100_000, Compression::Zstd), 1).await;
    }
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let batches = consumer.poll(LONG).await.unwrap();
    assert!(consumer.fetch_metrics().memory.used_bytes >= batches.len() * 100_000);
    drop(batches);
    assert!(consumer.fetch_metrics().memory.used_bytes < 100_000);
}

#[tokio::test(start_paused = true)]
async fn the_gauges_tell_what_waits_from_what_is_held() {
    let setup = filled(1, 1).await;
    let mut consumer = setup.consumer().max_poll_bytes(30_000).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let memory = consumer.fetch_metrics().memory;
    assert!(memory.used_bytes >= 20 * 20_000, "{memory:?}");
    assert_eq!((memory.buffered_bytes, memory.held_bytes), (memory.used_bytes, 0), "all of it waits");
    assert_eq!(memory.bound_bytes, 32 << 20);

    let mut last = consumer.poll(LONG).await.unwrap();
    let some = consumer.fetch_metrics();
    assert_eq!((some.memory.buffered_bytes, some.memory.held_bytes), (memory.used_bytes, 0), "some of it waits");
    assert_eq!(some.totals.waiting_bytes(), some.totals.fetched_bytes - some.totals.delivered_bytes);
    while consumer.fetch_metrics().totals.delivered_records < 20 {
        last = consumer.poll(LONG).await.unwrap();
    }
    let record = {
        let batch = last.iter().next().unwrap();
        batch.to_owned_record(&batch.records().next().unwrap().unwrap())
    };
    drop(last);
    let held = consumer.fetch_metrics().memory;
    assert_eq!((held.buffered_bytes, held.held_bytes), (0, memory.used_bytes), "one record keeps all of the answer");
    drop(record);
    let memory = consumer.fetch_metrics().memory;
    assert_eq!((memory.used_bytes, memory.held_bytes), (0, 0));
    assert!(memory.idle_bytes > 0);
}

#[tokio::test(start_paused = true)]
async fn every_byte_that_was_fetched_is_counted_once_wherever_it_went() {
    let setup = filled(1, 3).await;
    let mut consumer = setup.consumer().max_poll_bytes(50_000).build().unwrap();
    consumer.assign((0..3).map(partition)).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let all = consumer.fetch_metrics().totals.fetched_bytes;
    assert_eq!(consumer.fetch_metrics().totals.waiting_bytes(), all);
    let first = consumer.poll(LONG).await.unwrap();
    let of_each = all / 3;
    let handed_out = consumer.fetch_metrics().totals.delivered_bytes;
    assert_eq!(handed_out / (of_each / 20), first.len() as u64);
    let gone = first.iter().next().unwrap().topic_partition().clone();
    let sought = (0..3).map(partition).find(|partition| *partition != gone).unwrap();
    consumer.seek(&sought, 0).unwrap();
    assert_eq!(consumer.fetch_metrics().totals.unwanted_bytes, of_each, "what was buffered of it is fetched again");
    consumer.assign((0..3).map(partition).filter(|partition| *partition != gone)).unwrap();
    let mut records = 0;
    while records < 40 {
        let batches = consumer.poll(LONG).await.unwrap();
        records += batches.iter().filter(|batch| *batch.topic_partition() != gone).count();
    }
    let totals = consumer.fetch_metrics().totals;
    assert_eq!(totals.unwanted_bytes, 2 * of_each - handed_out);
    assert_eq!((totals.fetched_bytes, totals.delivered_bytes), (4 * of_each, 2 * of_each + handed_out));
    assert_eq!((totals.waiting_bytes(), totals.given_up_bytes, totals.cut_bytes), (0, 0, 0));
    assert!(totals.fetches >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_detached_record_keeps_nothing_but_itself_in_memory() {
    let setup = filled(1, 1).await;
    setup.append_bytes(0, large_batch(20_000, Compression::Zstd), 1).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let mut records = Vec::new();
    while records.len() < 21 {
        for batch in &consumer.poll(LONG).await.unwrap() {
            records.extend(batch.records().map(|record| batch.to_owned_record(&record.unwrap())));
        }
    }
    let held = consumer.fetch_metrics().memory.held_bytes;
    assert!(held >= 20 * 20_000, "{held} bytes");
    let detached: Vec<_> = records.iter().cloned().map(ottla_consumer::OwnedRecord::detach).collect();
    assert_eq!(consumer.fetch_metrics().memory.held_bytes, held);
    drop(records);
    assert_eq!(consumer.fetch_metrics().memory.used_bytes, 0);
    assert!(detached.iter().all(|record| *record.value().unwrap() == vec![b'x'; 20_000]));
}

/// Reads so many records, and says how many bytes their values had; the memory stays within the bound.
async fn read_within(consumer: &mut ottla_consumer::Consumer, records: usize, bound: usize) -> usize {
    let (mut read, mut bytes) = (0, 0);
    while read < records {
        let batches = consumer.poll(LONG).await.unwrap();
        assert!(!batches.is_empty(), "poll stalled after {read}");
        for batch in &batches {
            for record in batch.records() {
                bytes += record.unwrap().value().unwrap().len();
                read += 1;
            }
        }
        let memory = consumer.fetch_metrics().memory;
        assert!(memory.used_bytes + memory.idle_bytes <= bound, "{memory:?}");
    }
    assert_eq!(read, records, "nothing twice");
    bytes
}

#[tokio::test(start_paused = true)]
async fn what_is_held_of_batches_that_were_compressed_well_keeps_the_bound() {
    let setup = Setup::start(1, 1).await;
    for _ in 0..50 {
        setup.append_bytes(0, large_batch(100_000, Compression::Zstd), 1).await;
    }
    let mut consumer = setup.consumer().fetch_buffer_max_bytes(10 * BOUND).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let mut held = Vec::new();
    let error = loop {
        match consumer.poll(LONG).await {
            Ok(batches) => held.extend(batches),
            Err(error) => break error,
        }
        let memory = consumer.fetch_metrics().memory;
        assert!(memory.used_bytes <= 10 * BOUND, "{memory:?}");
    };
    assert!(
        matches!(error, Error::Fetch(FetchError::BufferHeld { held_bytes, .. }) if held_bytes > 9 * BOUND),
        "{error}"
    );
    assert!((20..27).contains(&held.len()), "{}", held.len());
    let before = held.len();
    held.clear();
    read_within(&mut consumer, 50 - before, 10 * BOUND).await;
    assert_eq!(consumer.fetch_metrics().totals.given_up_bytes, 0, "it was there");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_becomes_much_more_than_any_before_it_finds_room() {
    let setup = filled(1, 3).await;
    for index in 0..3 {
        setup.append_bytes(index, large_batch(3 * BOUND, Compression::Lz4), 1).await;
        for _ in 0..40 {
            setup.append_bytes(index, large_batch(20_000, Compression::None), 1).await;
        }
    }
    let mut consumer = setup.consumer().fetch_buffer_max_bytes(8 * BOUND).build().unwrap();
    consumer.assign((0..3).map(partition)).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let bytes = read_within(&mut consumer, 3 * 61, 8 * BOUND).await;
    assert_eq!(bytes, 3 * (60 * 20_000 + 3 * BOUND));
    assert!(consumer.fetch_metrics().totals.given_up_bytes > 0, "there was no need to make room");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_becomes_more_than_the_bound_gets_through_alone() {
    let setup = filled(1, 2).await;
    for index in 0..2 {
        setup.append_bytes(index, large_batch(20 * BOUND, Compression::Gzip), 1).await;
        setup.append_bytes(index, large_batch(20_000, Compression::None), 1).await;
    }
    let mut consumer = setup.consumer().fetch_buffer_max_bytes(BOUND).build().unwrap();
    consumer.assign((0..2).map(partition)).unwrap();
    let (mut records, mut large) = (0, 0);
    while records < 2 * 22 {
        let batches = consumer.poll(LONG).await.unwrap();
        assert!(!batches.is_empty(), "poll stalled");
        records += batches.record_count();
        let memory = consumer.fetch_metrics().memory;
        if memory.used_bytes > BOUND {
            assert_eq!((batches.len(), memory.receiving_bytes), (1, 0), "{memory:?}");
            large += 1;
        }
    }
    assert_eq!((records, large), (2 * 22, 2));
    assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
    let memory = consumer.fetch_metrics().memory;
    assert!(memory.used_bytes == 0 && memory.idle_bytes <= BOUND, "{memory:?}");
}
