//! A consumer's records one by one: what is committed of them, and that none is lost or out of place.

use std::time::Duration;

use ottla_consumer::{Consumer, ConsumerHandle, ConsumerRecord, RecordStream};
use tokio::time::Instant;

use crate::group::{Polled, eventually, owned};
use crate::setup::{Setup, TOPIC, partition, value};

async fn setup(partitions: i32) -> Setup {
    let setup = Setup::start(1, partitions).await;
    for index in 0..partitions {
        setup.append(index, 10).await;
        setup.append(index, 10).await;
    }
    setup
}

fn member(setup: &Setup) -> Consumer {
    let consumer = setup.member().auto_commit_interval(Duration::from_secs(5)).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    consumer
}

async fn take(records: &mut RecordStream<'_>, count: usize) -> Vec<ConsumerRecord> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let record = records.next().await.unwrap().unwrap();
        let expected = value(record.partition(), record.offset());
        assert_eq!(record.value().map(|value| value.to_vec()), Some(expected.into_bytes()));
        taken.push(record);
    }
    taken
}

/// Asks for a record that does not come within so long: the consumer goes on meanwhile.
async fn idle(records: &mut RecordStream<'_>, time: Duration) {
    assert!(tokio::time::timeout(time, records.next()).await.is_err(), "there was a record left");
}

fn offsets(records: &[ConsumerRecord]) -> Vec<i64> {
    records.iter().map(|record| record.offset()).collect()
}

fn mark(handle: &ConsumerHandle, record: &ConsumerRecord) {
    assert!(handle.mark_processed(record), "{record:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_ends_before_the_first_record_that_is_not_marked() {
    let setup = setup(1).await;
    let mut consumer = member(&setup);
    let handle = consumer.handle();
    let mut records = consumer.stream();
    let taken = take(&mut records, 20).await;
    assert_eq!(offsets(&taken), (0..20).collect::<Vec<_>>());
    for index in [2, 1, 4, 19] {
        mark(&handle, &taken[index]);
    }
    idle(&mut records, Duration::from_secs(12)).await;
    assert_eq!(handle.completed(&partition(0)).unwrap(), Some(0));
    assert!(setup.committed(0).await.is_none_or(|offset| offset == 0), "asking for more proves nothing");

    mark(&handle, &taken[0]);
    assert!(!handle.mark_processed(&taken[0]), "once");
    handle.commit_sync().await.unwrap();
    assert_eq!(setup.committed(0).await, Some(3));
    mark(&handle, &taken[3]);
    idle(&mut records, Duration::from_secs(6)).await;
    assert_eq!(setup.committed(0).await, Some(5), "the clock's");
    for record in &taken[5..19] {
        mark(&handle, record);
    }
    drop(records);
    consumer.close().await.unwrap();
    assert_eq!(setup.committed(0).await, Some(20), "close's");
}

#[tokio::test(start_paused = true)]
async fn closing_commits_nothing_that_was_not_marked() {
    let setup = setup(1).await;
    let mut consumer = member(&setup);
    let handle = consumer.handle();
    let mut records = consumer.stream();
    let taken = take(&mut records, 15).await;
    mark(&handle, &taken[0]);
    mark(&handle, &taken[2]);
    drop(records);
    consumer.close().await.unwrap();
    assert_eq!(setup.committed(0).await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_early_loses_nothing() {
    let setup = setup(3).await;
    let mut consumer = member(&setup);
    let mut all = Vec::new();
    for count in [1, 7, 4, 13, 11, 24] {
        all.extend(take(&mut consumer.stream(), count).await);
    }
    let mut polled = crate::setup::Seen::default();
    for record in all {
        polled.0.entry(record.partition()).or_default().push(record.offset());
    }
    polled.assert_complete(3, 20);
}

#[tokio::test(start_paused = true)]
async fn polls_and_streams_take_turns() {
    let setup = setup(1).await;
    let mut consumer = setup.member().max_poll_bytes(1).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let handle = consumer.handle();
    for record in take(&mut consumer.stream(), 4).await {
        mark(&handle, &record);
    }
    let mut seen = crate::setup::Seen::default();
    seen.take(&crate::group::next(&mut consumer).await);
    assert_eq!(seen.0[&0], [4, 5, 6, 7, 8, 9]);
    assert_eq!(handle.completed(&partition(0)).unwrap(), Some(10));
    let taken = take(&mut consumer.stream(), 3).await;
    assert_eq!(handle.completed(&partition(0)).unwrap(), Some(10));
    mark(&handle, &taken[0]);
    consumer.close().await.unwrap();
    assert_eq!(setup.committed(0).await, Some(11));
}

#[tokio::test(start_paused = true)]
async fn a_seek_takes_effect_with_the_next_record() {
    let setup = setup(2).await;
    let mut consumer = member(&setup);
    let handle = consumer.handle();
    let mut records = consumer.stream();
    let before = take(&mut records, 3).await;
    let sought = before[0].partition();
    assert!(before.iter().all(|record| record.partition() == sought));
    mark(&handle, &before[0]);
    handle.seek(&partition(sought), 15).unwrap();
    assert!(!handle.mark_processed(&before[1]), "what was handed out before the seek does not count any more");
    let after = take(&mut records, 25).await;
    let (here, there): (Vec<_>, Vec<_>) = after.into_iter().partition(|record| record.partition() == sought);
    assert_eq!((offsets(&here), offsets(&there)), ((15..20).collect(), (0..20).collect()));
    for record in here {
        mark(&handle, &record);
    }
    handle.commit_sync().await.unwrap();
    assert_eq!(setup.committed(sought).await, Some(20));
}

#[tokio::test(start_paused = true)]
async fn after_a_revocation_a_stream_yields_nothing_of_the_partition_and_its_marks_do_not_count() {
    let setup = setup(2).await;
    let mut consumer = setup.cooperative_member().build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let handle = consumer.handle();
    let mut records = consumer.stream();
    let taken = take(&mut records, 5).await;
    let first = taken[0].partition();
    for record in &taken[..3] {
        mark(&handle, record);
    }
    let other = setup.cooperative_member().build().unwrap();
    other.subscribe([TOPIC]).unwrap();
    let other = Polled::start(other);
    let (mut ours, began) = (taken, Instant::now());
    while owned(&other.handle).is_empty() {
        assert!(began.elapsed() < Duration::from_mins(1));
        if let Ok(record) = tokio::time::timeout(Duration::from_millis(100), records.next()).await {
            let record = record.unwrap().unwrap();
            assert!(handle.assignment().contains(record.topic_partition()));
            ours.push(record);
        }
    }
    let given = owned(&other.handle)[0];
    let from = if given == first { 3 } else { 0 };
    assert_eq!(setup.committed(given).await.unwrap_or(0), from, "the marked ones were committed at the revocation");
    eventually(async || other.count() >= 20 - from as usize).await;
    let (_, seen) = other.stop().await;
    assert_eq!(seen.0[&given], (from..20).collect::<Vec<_>>());
    let late = ours.iter().filter(|record| record.partition() == given && record.offset() >= from);
    assert!(late.into_iter().all(|record| !handle.mark_processed(record)), "it is another's");
}
