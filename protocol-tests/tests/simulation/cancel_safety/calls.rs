//! What a consumer's handle is asked for, or told to do, and not waited for.

use std::future::Future;
use std::pin::Pin;

use ottla::consumer::Error;
use ottla::{ConsumerHandle, OffsetAndMetadata, TopicPartition};
use protocol_tests::simulation::dropping::drop_after;

use super::setup::{PARTITIONS, RECORDS, Seen, Setup, TOPIC, all_partitions, at_each_poll, in_time, read};

type Call = fn(ConsumerHandle) -> Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// A member reads, a call is dropped, and made again to its end; the member reads on.
async fn is_safe_to_drop(name: &str, waits: u32, call: Call) {
    at_each_poll(waits, async |polls| {
        let (setup, seen) = (Setup::start().await, Seen::default());
        let mut consumer = setup.member(2).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        read(&mut consumer, &seen, RECORDS).await;
        let ended = drop_after(polls, call(consumer.handle())).await;
        in_time(name, call(consumer.handle())).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        for (partition, committed) in setup.committed().await {
            assert!(committed <= seen.next(partition), "{name} commits {partition} at {committed}");
        }
        read(&mut consumer, &seen, i64::from(PARTITIONS) * RECORDS).await;
        in_time("close", consumer.close()).await.unwrap();
        setup.assert_all_is_committed().await;
        ended.is_some()
    })
    .await;
}

/// The partition that every test asks for.
fn one() -> TopicPartition {
    TopicPartition::new(TOPIC, 1)
}

#[tokio::test(start_paused = true)]
async fn commit_sync() {
    is_safe_to_drop("commit_sync", 0, |consumer| Box::pin(async move { consumer.commit_sync().await })).await;
}

#[tokio::test(start_paused = true)]
async fn commit_async() {
    is_safe_to_drop("commit_async", 0, |consumer| Box::pin(async move { consumer.commit_async().await })).await;
}

#[tokio::test(start_paused = true)]
async fn commit_sync_offsets() {
    let call: Call =
        |consumer| Box::pin(async move { consumer.commit_sync_offsets([(one(), OffsetAndMetadata::new(0))]).await });
    is_safe_to_drop("commit_sync_offsets", 0, call).await;
}

#[tokio::test(start_paused = true)]
async fn committed() {
    let call: Call = |consumer| Box::pin(async move { consumer.committed(all_partitions()).await.map(|_| ()) });
    is_safe_to_drop("committed", 0, call).await;
}

#[tokio::test(start_paused = true)]
async fn position_of_a_partition_that_waits_for_its_committed_offset() {
    let call: Call = |consumer| {
        Box::pin(async move {
            let before = consumer.position(&one()).await?;
            consumer.commit_sync_offsets([(one(), OffsetAndMetadata::new(before))]).await?;
            consumer.seek_to(&one(), ottla::StartAt::Committed)?;
            assert_eq!(consumer.position(&one()).await?, before);
            Ok(())
        })
    };
    is_safe_to_drop("position", 1, call).await;
}

#[tokio::test(start_paused = true)]
async fn offsets_that_are_looked_up() {
    let call: Call = |consumer| {
        Box::pin(async move {
            assert_eq!(consumer.beginning_offsets([one()]).await?[&one()], 0);
            assert_eq!(consumer.end_offsets([one()]).await?[&one()], RECORDS);
            assert_eq!(consumer.offsets_for_times([(one(), 0)]).await?.len(), 1);
            Ok(())
        })
    };
    is_safe_to_drop("offsets", 3, call).await;
}

#[tokio::test(start_paused = true)]
async fn next_error() {
    let call: Call = |consumer| {
        Box::pin(async move {
            // There is none: it is what would be waited for.
            let waiting = tokio::time::timeout(std::time::Duration::from_millis(10), consumer.next_error());
            assert!(waiting.await.is_err());
            Ok(())
        })
    };
    is_safe_to_drop("next_error", 0, call).await;
}

#[tokio::test(start_paused = true)]
async fn assign_topic() {
    at_each_poll(0, async |polls| {
        let (setup, seen) = (Setup::start().await, Seen::default());
        let mut consumer = setup.member(2).build().unwrap();
        let ended = drop_after(polls, consumer.assign_topic(TOPIC)).await;
        in_time("assign_topic", consumer.assign_topic(TOPIC)).await.unwrap();
        read(&mut consumer, &seen, i64::from(PARTITIONS) * RECORDS).await;
        in_time("close", consumer.close()).await.unwrap();
        setup.assert_all_is_committed().await;
        ended.is_some()
    })
    .await;
}
