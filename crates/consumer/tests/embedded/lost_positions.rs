//! Logs that lose what was read: truncated, deleted from the start, made anew.

use std::time::Duration;

use ottla_broker::{Fault, Loss};
use ottla_consumer::{
    AutoOffsetReset, Consumer, ConsumerHandle, Error, FetchError, OnTruncation, RecordStream, StartAt, WallClock,
};
use ottla_wire::{ApiKey, ErrorCode, LeaderEpoch, NodeId};

use crate::setup::{LONG, Seen, Setup, TOPIC, partition, read};

/// What is lost in an unclean election: offsets from 10 on, which only the leader had.
const KEPT: i64 = 10;

/// Three nodes, the followers of which lack the last ten of twenty records, and are not waited for.
async fn with_lagging_followers() -> (Setup, NodeId) {
    let settings = |builder: ottla_broker::EmbeddedClusterBuilder| {
        builder.unclean_leader_election(true).replica_lag_time_max(Duration::from_secs(1))
    };
    let setup = Setup::start_with(3, 1, settings).await;
    setup.append(0, KEPT as u32).await;
    let leader = setup.embedded.describe_partition(TOPIC, 0).await.unwrap().leader.unwrap();
    for node in setup.embedded.nodes().filter(|node| *node != leader) {
        setup.embedded.pause_replication(node).await.unwrap();
    }
    setup.append(0, 10).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(setup.embedded.describe_partition(TOPIC, 0).await.unwrap().high_watermark, 20);
    (setup, leader)
}

async fn truncate(setup: &Setup, leader: NodeId) {
    setup.embedded.kill_node(leader, Loss::Nothing).await.unwrap();
    assert_eq!(setup.end(0).await, KEPT);
}

fn truncation(error: &Error) -> (i64, Option<LeaderEpoch>, Option<ottla_consumer::DivergingOffset>) {
    match error {
        Error::Fetch(FetchError::LogTruncated { position, leader_epoch, diverging, .. }) => {
            (*position, *leader_epoch, *diverging)
        }
        error => panic!("{error}"),
    }
}

/// The offsets of what comes, but for none.
async fn read_on(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    read(consumer, count).await.0.remove(&0).unwrap()
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_where_the_log_was_truncated_and_next_error_tells() {
    let (setup, leader) = with_lagging_followers().await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    assert_eq!(read_on(&mut consumer, 20).await.len(), 20);
    truncate(&setup, leader).await;
    setup.append(0, 15).await;
    assert_eq!(
        read_on(&mut consumer, 15).await,
        (10..25).collect::<Vec<_>>(),
        "also those at the offsets that were read"
    );
    let told = consumer.take_error().unwrap().error;
    assert_eq!(truncation(&told), (20, Some(LeaderEpoch(0)), Some(at(10, 0))));
    assert!(consumer.take_error().is_none());
}

fn at(offset: i64, epoch: i32) -> ottla_consumer::DivergingOffset {
    ottla_consumer::DivergingOffset::new(offset, LeaderEpoch(epoch))
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_had_yielded_when_it_was_dropped_is_compared_with_the_log_too() {
    let (setup, leader) = with_lagging_followers().await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let mut records = consumer.stream();
    for offset in 0..15 {
        assert_eq!(records.next().await.unwrap().unwrap().offset(), offset);
    }
    drop(records);
    truncate(&setup, leader).await;
    setup.append(0, 15).await;
    assert_eq!(read_on(&mut consumer, 15).await, (10..25).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_be_told_of_a_truncation_decides_by_a_seek() {
    for policy in [AutoOffsetReset::Earliest, AutoOffsetReset::None] {
        let (setup, leader) = with_lagging_followers().await;
        let on_truncation = if policy == AutoOffsetReset::None { OnTruncation::Reset } else { OnTruncation::Tell };
        let consumer = setup.consumer().auto_offset_reset(policy).on_truncation(on_truncation);
        let mut consumer = consumer.build().unwrap();
        consumer.assign_at([(partition(0), StartAt::Earliest)]).unwrap();
        assert_eq!(read_on(&mut consumer, 20).await.len(), 20);
        truncate(&setup, leader).await;
        setup.append(0, 15).await;
        let mut diverging = None;
        for _ in 0..2 {
            let error = consumer.poll(LONG).await.unwrap_err();
            let (position, _, parted) = truncation(&error);
            assert_eq!((position, error.partition()), (20, Some(&partition(0))));
            diverging = parted;
        }
        assert_eq!(consumer.position(&partition(0)).await.unwrap(), 20, "nothing has moved");
        consumer.seek_to(&partition(0), diverging.unwrap().into()).unwrap();
        assert_eq!(read_on(&mut consumer, 15).await, (10..25).collect::<Vec<_>>());
        assert!(consumer.take_error().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_committed_offset_of_a_log_that_was_truncated_is_noticed_before_the_first_fetch() {
    let (setup, leader) = with_lagging_followers().await;
    let mut first = setup.consumer().group_id("readers").build().unwrap();
    first.assign([partition(0)]).unwrap();
    assert_eq!(read_on(&mut first, 20).await.len(), 20);
    first.close().await.unwrap();
    truncate(&setup, leader).await;
    setup.append(0, 15).await;
    let mut second = setup.consumer().group_id("readers").on_truncation(OnTruncation::Tell).build().unwrap();
    second.assign([partition(0)]).unwrap();
    let error = second.poll(LONG).await.unwrap_err();
    assert_eq!(truncation(&error), (20, Some(LeaderEpoch(0)), Some(at(10, 0))));
}

#[tokio::test(start_paused = true)]
async fn where_the_leader_moves_and_nothing_is_lost_nothing_is_told() {
    let setup = Setup::start(3, 3).await;
    let mut consumer = setup.consumer().on_truncation(OnTruncation::Tell).build().unwrap();
    consumer.assign((0..3).map(partition)).unwrap();
    let mut seen = Seen::default();
    for round in 0..6 {
        for index in 0..3 {
            setup.append(index, 10).await;
            setup.embedded.move_leader(TOPIC, index, NodeId((round + index) % 3)).await.unwrap();
        }
        while seen.count() < 30 * (round as usize + 1) {
            seen.take(&consumer.poll(LONG).await.unwrap());
        }
    }
    seen.assert_complete(3, 60);
    assert!(consumer.take_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn brokers_that_cannot_be_asked_about_epochs_are_read_on_from() {
    let without = |builder: ottla_broker::EmbeddedClusterBuilder| {
        (0..3)
            .fold(builder, |builder, node| builder.node_api_versions(NodeId(node), ApiKey::OffsetForLeaderEpoch, 0, 1))
    };
    let setup = Setup::start_with(3, 1, without).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    for node in 0..3 {
        setup.embedded.move_leader(TOPIC, 0, NodeId(node)).await.unwrap();
        setup.append(0, 10).await;
        assert_eq!(read_on(&mut consumer, 10).await[0], 10 * i64::from(node));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_does_not_answer_about_epochs_is_asked_again_until_it_does() {
    let setup = Setup::start(3, 1).await;
    setup.append(0, 5).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    read_on(&mut consumer, 5).await;
    let refusal = Fault::error(ErrorCode::UnknownLeaderEpoch).on_api(ApiKey::OffsetForLeaderEpoch).times(3);
    setup.embedded.faults().inject(refusal);
    let leader = setup.embedded.describe_partition(TOPIC, 0).await.unwrap().leader.unwrap();
    setup.embedded.move_leader(TOPIC, 0, NodeId((leader.0 + 1) % 3)).await.unwrap();
    setup.append(0, 5).await;
    assert_eq!(read_on(&mut consumer, 5).await, [5, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn what_was_received_before_the_log_start_moved_is_handed_out_and_then_the_policy_decides() {
    for policy in [AutoOffsetReset::Earliest, AutoOffsetReset::Latest, AutoOffsetReset::None] {
        let setup = Setup::start(1, 1).await;
        for _ in 0..3 {
            setup.append(0, 10).await;
        }
        let consumer = setup.consumer().auto_offset_reset(policy).max_poll_bytes(1);
        let mut consumer = consumer.build().unwrap();
        consumer.assign_at([(partition(0), StartAt::Earliest)]).unwrap();
        assert_eq!(read_on(&mut consumer, 1).await, (0..10).collect::<Vec<_>>());
        setup.append(0, 10).await;
        setup.append(0, 10).await;
        // The fetch behind what is buffered is parked: it has brought these before the log lost them, or will not.
        setup.embedded.delete_records(TOPIC, 0, 50).await.unwrap();
        let mut offsets = Vec::new();
        let mut error = None;
        setup.append(0, 10).await;
        while error.is_none() && offsets.last() != Some(&59) {
            match consumer.poll(Duration::from_secs(30)).await {
                Ok(batches) if batches.is_empty() => break,
                Ok(batches) => {
                    let mut seen = Seen::default();
                    seen.take(&batches);
                    offsets.extend(seen.0.remove(&0).unwrap());
                }
                Err(told) => error = Some(told),
            }
        }
        assert_eq!(offsets[..20], (10..30).collect::<Vec<_>>(), "{policy:?}");
        assert!(offsets.is_sorted_by(|before, after| before < after), "{policy:?}: {offsets:?}");
        match policy {
            AutoOffsetReset::None if error.is_some() => {
                assert!(matches!(error, Some(Error::Fetch(FetchError::OffsetOutOfRange { .. }))), "{error:?}");
            }
            _ => assert!(error.is_none(), "{policy:?}: {error:?}"),
        }
        assert_eq!(setup.end(0).await, 60);
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_is_read_from_its_start_after_what_was_received_of_the_former() {
    let setup = Setup::start(1, 1).await;
    for _ in 0..3 {
        setup.append(0, 10).await;
    }
    // Latest: of what nobody has read nothing is left out all the same.
    let consumer = setup.consumer().auto_offset_reset(AutoOffsetReset::Latest).max_poll_bytes(1);
    let mut consumer = consumer.build().unwrap();
    consumer.assign_at([(partition(0), StartAt::Earliest)]).unwrap();
    assert_eq!(read_on(&mut consumer, 1).await, (0..10).collect::<Vec<_>>());
    setup.embedded.delete_topic(TOPIC).await.unwrap();
    setup.embedded.create_topic(TOPIC, 1, 1).await.unwrap();
    for _ in 0..4 {
        setup.append(0, 10).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(read_on(&mut consumer, 20).await, (10..30).collect::<Vec<_>>());
    assert!(consumer.take_error().is_none());
    assert_eq!(read_on(&mut consumer, 40).await, (0..40).collect::<Vec<_>>());
    let told = consumer.take_error().unwrap().error;
    assert!(told.to_string().starts_with("the topic of topic-0 was made anew: its id was "), "{told}");
    assert_eq!(told.partition(), Some(&partition(0)));
    assert!(consumer.take_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_is_an_error_where_there_is_no_policy() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 10).await;
    let mut consumer = setup.consumer().auto_offset_reset(AutoOffsetReset::None).build().unwrap();
    consumer.assign_at([(partition(0), StartAt::Earliest)]).unwrap();
    read_on(&mut consumer, 10).await;
    setup.embedded.delete_topic(TOPIC).await.unwrap();
    setup.embedded.create_topic(TOPIC, 1, 1).await.unwrap();
    setup.append(0, 20).await;
    for _ in 0..2 {
        let error = consumer.poll(LONG).await.unwrap_err();
        assert!(matches!(error, Error::Fetch(FetchError::TopicRecreated { .. })), "{error}");
    }
    consumer.seek(&partition(0), 5).unwrap();
    assert_eq!(read_on(&mut consumer, 15).await, (5..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_reset_by_duration_starts_at_the_first_record_that_is_not_older() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 10).await;
    let policy = AutoOffsetReset::ByDuration(Duration::from_millis(4));
    let consumer = |now_ms| {
        let consumer = setup.consumer().auto_offset_reset(policy).wall_clock(WallClock::new(move || now_ms));
        consumer.build().unwrap()
    };
    // Their timestamps are their offsets.
    for (now_ms, first) in [(9, 5), (3, 0), (100, 10)] {
        let mut consumer = consumer(now_ms);
        consumer.assign([partition(0)]).unwrap();
        assert_eq!(consumer.position(&partition(0)).await.unwrap(), first, "at {now_ms}");
        consumer.seek_to(&partition(0), StartAt::Ago(Duration::from_millis(4))).unwrap();
        assert_eq!(consumer.position(&partition(0)).await.unwrap(), first, "at {now_ms}");
        assert!(consumer.poll(Duration::ZERO).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_read_of_a_topic_made_anew_is_committed_for_it() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 20).await;
    let mut consumer = setup.consumer().group_id("readers").build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    read_on(&mut consumer, 20).await;
    consumer.poll(Duration::from_secs(6)).await.unwrap();
    assert_eq!(committed(&setup).await, Some(20));
    setup.embedded.delete_topic(TOPIC).await.unwrap();
    setup.embedded.create_topic(TOPIC, 1, 1).await.unwrap();
    assert_eq!(committed(&setup).await, None, "the former's went with it");
    setup.append(0, 20).await;
    assert_eq!(read_on(&mut consumer, 20).await, (0..20).collect::<Vec<_>>());
    consumer.close().await.unwrap();
    assert_eq!(committed(&setup).await, Some(20), "although the number has not moved");
}

async fn committed(setup: &Setup) -> Option<i64> {
    let committed = setup.embedded.committed_offsets("readers").await.unwrap();
    committed.get(&partition(0)).map(|committed| committed.offset)
}

#[tokio::test(start_paused = true)]
async fn after_a_truncation_what_is_read_anew_is_committed() {
    let (setup, leader) = with_lagging_followers().await;
    let mut consumer = setup.consumer().group_id("readers").build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    read_on(&mut consumer, 20).await;
    consumer.poll(Duration::from_secs(6)).await.unwrap();
    assert_eq!(committed(&setup).await, Some(20));
    truncate(&setup, leader).await;
    setup.append(0, 2).await;
    assert_eq!(read_on(&mut consumer, 2).await, [10, 11]);
    consumer.close().await.unwrap();
    assert_eq!(committed(&setup).await, Some(12));
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_where_the_log_was_truncated() {
    let (setup, leader) = with_lagging_followers().await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let handle = consumer.handle();
    let mut records = consumer.stream();
    take_marked(&mut records, &handle, 0..20).await;
    truncate(&setup, leader).await;
    setup.append(0, 15).await;
    take_marked(&mut records, &handle, 10..25).await;
    assert_eq!(handle.completed(&partition(0)).unwrap(), Some(25));
}

#[tokio::test(start_paused = true)]
async fn what_was_marked_of_a_log_that_was_truncated_is_not_committed_where_the_poll_that_noticed_was_cancelled() {
    let (setup, leader) = with_lagging_followers().await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let handle = consumer.handle();
    let mut records = consumer.stream();
    take_marked(&mut records, &handle, 0..15).await;
    for offset in 15..20 {
        assert_eq!(records.next().await.unwrap().unwrap().offset(), offset);
    }
    truncate(&setup, leader).await;
    let noticed = async {
        while handle.position(&partition(0)).await.unwrap() != 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        record = records.next() => panic!("there is none: {record:?}"),
        () = noticed => {}
    }
    assert_eq!(handle.completed(&partition(0)).unwrap(), Some(10));
}

async fn take_marked(records: &mut RecordStream<'_>, handle: &ConsumerHandle, offsets: std::ops::Range<i64>) {
    for offset in offsets {
        let record = records.next().await.unwrap().unwrap();
        assert_eq!(record.offset(), offset);
        assert!(handle.mark_processed(&record), "{offset}");
    }
}
