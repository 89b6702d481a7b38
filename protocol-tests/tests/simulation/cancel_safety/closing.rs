//! Closing, and `run`: dropping their futures is dropping the consumer, and the group gets over it.

use std::time::Duration;

use ottla::PartitionStream;
use ottla::consumer::HandlerResult;
use protocol_tests::simulation::dropping::drop_after;

use super::setup::{PARTITIONS, RECORDS, Seen, Setup, TOPIC, at_each_poll, in_time, read, read_again};

/// Whoever comes next finds all that was not committed, and nothing is committed that was not read.
async fn is_taken_over(setup: &Setup, seen: &Seen) {
    for (partition, committed) in setup.committed().await {
        assert!(committed <= seen.next(partition), "partition {partition} is committed at {committed}: {seen:?}");
    }
    let mut next = setup.member(7).build().unwrap();
    next.subscribe([TOPIC]).unwrap();
    read_again(&mut next, seen).await;
    in_time("close", next.close()).await.unwrap();
    setup.assert_all_is_committed().await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_is_a_crash_at_the_worst() {
    at_each_poll(2, async |polls| {
        let (setup, seen) = (Setup::start().await, Seen::default());
        let mut consumer = setup.member(2).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        read(&mut consumer, &seen, RECORDS).await;
        let ended = drop_after(polls, consumer.close()).await;
        is_taken_over(&setup, &seen).await;
        ended.is_some()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_close_of_partition_streams_that_is_dropped_is_a_crash_at_the_worst() {
    at_each_poll(2, async |polls| {
        let (setup, seen) = (Setup::start().await, Seen::default());
        let consumer = setup.member(2).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        let mut streams = consumer.into_partition_streams();
        let mut partition = in_time("a stream", streams.next()).await.unwrap();
        let batch = tokio::select! {
            batch = partition.next() => batch.unwrap().unwrap(),
            () = async { while streams.next().await.is_ok() {} } => panic!("streams do not end"),
        };
        seen.batch(&batch);
        partition.come_back();
        drop(partition);
        let ended = drop_after(polls, streams.close_within(Duration::from_secs(10))).await;
        is_taken_over(&setup, &seen).await;
        ended.is_some()
    })
    .await;
}

/// Reads until the stream ends. Its records may have been read before, by another.
async fn read_partition(mut partition: PartitionStream, seen: Seen) -> HandlerResult {
    while let Some(batch) = partition.next().await {
        let batch = batch?;
        for record in batch.records() {
            seen.record_again(batch.partition(), record?.offset());
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_is_a_crash_at_the_worst() {
    at_each_poll(10, async |polls| {
        let (setup, seen) = (Setup::start().await, Seen::default());
        let consumer = setup.member(2).auto_commit_interval(Duration::from_millis(20)).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        let (all_seen, reading) = (seen.clone(), seen.clone());
        let half = async move {
            while all_seen.count() < i64::from(PARTITIONS) * RECORDS / 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let running = consumer.run(half, move |partition| read_partition(partition, reading.clone()));
        let ended = drop_after(polls, running).await;
        is_taken_over(&setup, &seen).await;
        ended.is_some()
    })
    .await;
}
