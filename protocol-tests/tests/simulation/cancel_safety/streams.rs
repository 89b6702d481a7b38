//! Streams whose next item is not waited for to its end.

use std::time::Duration;

use ottla::PartitionStream;
use protocol_tests::simulation::dropping::drop_after;
use tokio::task::JoinSet;

use super::setup::{PARTITIONS, RECORDS, Seen, Setup, TOPIC, in_time};

/// After more polls than these, every future here has ended by itself: the first one, which joins, takes the most.
const POLLS: u32 = 25;

#[tokio::test(start_paused = true)]
async fn the_next_record_of_a_stream() {
    for polls in 0..POLLS {
        let (setup, seen) = (Setup::start().await, Seen::default());
        let mut consumer = setup.member(2).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        let handle = consumer.handle();
        let mut records = consumer.stream();
        let reading = async {
            while !seen.is_complete() {
                let next = match drop_after(polls, records.next()).await {
                    Some(next) => next,
                    None => records.next().await,
                };
                let record = next.unwrap().unwrap();
                seen.record(record.partition(), record.offset());
                assert!(handle.mark_processed(&record));
            }
        };
        in_time("reading", reading).await;
        drop(records);
        in_time("close", consumer.close()).await.unwrap();
        setup.assert_all_is_committed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn streams_themselves_dropped_in_the_middle() {
    for polls in 0..POLLS {
        let (setup, seen) = (Setup::start().await, Seen::default());
        // All at once, so that much has been taken in and not been yielded.
        let mut consumer = setup.member(2).max_poll_bytes(1 << 20).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        let handle = consumer.handle();
        let reading = async {
            while !seen.is_complete() {
                let mut records = consumer.stream();
                let next = drop_after(polls, records.next()).await;
                let next = if let Some(next) = next { next } else { records.next().await };
                let record = next.unwrap().unwrap();
                seen.record(record.partition(), record.offset());
                assert!(handle.mark_processed(&record));
            }
        };
        in_time("reading", reading).await;
        in_time("close", consumer.close()).await.unwrap();
        setup.assert_all_is_committed().await;
    }
}

/// Reads a partition to its end, drops its futures again and again, and commits.
async fn read_partition(mut partition: PartitionStream, seen: Seen, polls: u32) {
    loop {
        let next = match drop_after(polls, partition.next()).await {
            Some(next) => next,
            None => partition.next().await,
        };
        let Some(batch) = next else { return };
        let batch = batch.unwrap();
        seen.batch(&batch);
        partition.come_back();
        // One that has been polled goes its way, whether it is waited for or not.
        match drop_after(polls, partition.commit_sync()).await {
            Some(committed) => committed.unwrap(),
            None if polls == 0 && batch.next_offset() == RECORDS => partition.commit_sync().await.unwrap(),
            None => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_batch_of_a_partition_and_the_next_partition() {
    for polls in 0..POLLS {
        let (setup, seen) = (Setup::start().await, Seen::default());
        let consumer = setup.member(2).enable_auto_commit(false).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        let (mut streams, mut readers) = (consumer.into_partition_streams(), JoinSet::new());
        let reading = async {
            while !seen.is_complete() {
                let dropped = drop_after(polls, streams.next()).await;
                let whole = match dropped {
                    Some(stream) => Some(stream),
                    None => tokio::time::timeout(Duration::from_millis(20), streams.next()).await.ok(),
                };
                if let Some(stream) = whole {
                    readers.spawn(read_partition(stream.unwrap(), seen.clone(), polls));
                }
            }
        };
        in_time("reading", reading).await;
        assert_eq!(readers.len(), PARTITIONS as usize, "a stream for each partition, and once");
        in_time("close", streams.close_within(Duration::from_secs(10))).await.unwrap();
        while let Some(reader) = in_time("a reader", readers.join_next()).await {
            reader.unwrap();
        }
        setup.assert_all_is_committed().await;
        assert_eq!(seen.count(), i64::from(PARTITIONS) * RECORDS);
    }
}
