//! What is read, and where reading starts.

use std::time::Duration;

use ottla_consumer::{AutoOffsetReset, FetchError, Lookup, StartAt};
use ottla_wire::compression::Compression;
use ottla_wire::records::{ControlRecordType, ProducerState, control_batch};

use crate::setup::{LONG, Seen, Setup, partition, read};

#[tokio::test(start_paused = true)]
async fn every_record_of_every_codec_arrives_once_and_in_order() {
    let setup = Setup::start(3, 12).await;
    for round in 0..10 {
        for index in 0..12 {
            setup.append_compressed(index, 50, Compression::ALL[(round + index as usize) % 5]).await;
        }
    }
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign_topic("topic").await.unwrap();
    read(&mut consumer, 12 * 500).await.assert_complete(12, 500);
    for index in 0..12 {
        assert_eq!(consumer.position(&partition(index)).await.unwrap(), 500);
        assert_eq!(consumer.lag(&partition(index)).unwrap(), Some(0));
    }
    assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
    consumer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn more_partitions_than_one_poll_takes_are_all_read() {
    let setup = Setup::start(1, 600).await;
    for index in 0..600 {
        setup.append(index, 3).await;
    }
    let mut consumer = setup.consumer().max_poll_bytes(1000).build().unwrap();
    consumer.assign_topic("topic").await.unwrap();
    read(&mut consumer, 1800).await.assert_complete(600, 3);
}

#[tokio::test(start_paused = true)]
async fn small_fetches_starve_no_partition() {
    let setup = Setup::start(1, 8).await;
    for index in 0..8 {
        for _ in 0..20 {
            setup.append(index, 100).await;
        }
    }
    // A batch takes about 2 KB, so that one answer has one or two of them.
    let consumer = setup.consumer().fetch_max_bytes(3000).max_partition_fetch_bytes(100_000).max_poll_bytes(1);
    let mut consumer = consumer.build().unwrap();
    consumer.assign_topic("topic").await.unwrap();
    let mut seen = Seen::default();
    while seen.0.len() < 8 {
        seen.take(&consumer.poll(LONG).await.unwrap());
    }
    assert!(seen.0.values().all(|offsets| offsets.len() <= 600), "one partition was served before others");
    while seen.count() < 8 * 2000 {
        seen.take(&consumer.poll(LONG).await.unwrap());
    }
    seen.assert_complete(8, 2000);
}

#[tokio::test(start_paused = true)]
async fn reading_starts_at_the_end_where_nothing_else_is_said() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 10).await;
    let mut consumer = setup.consumer().auto_offset_reset(AutoOffsetReset::default()).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    assert_eq!(consumer.position(&partition(0)).await.unwrap(), 10);
    setup.append(0, 5).await;
    assert_eq!(read(&mut consumer, 5).await.0[&0], [10, 11, 12, 13, 14]);
}

#[tokio::test(start_paused = true)]
async fn reading_starts_where_it_is_told_also_within_a_batch() {
    let setup = Setup::start(1, 4).await;
    for index in 0..4 {
        setup.append_compressed(index, 10, Compression::Lz4).await;
    }
    let mut consumer = setup.consumer().build().unwrap();
    let starts = [StartAt::Offset(7), StartAt::Timestamp(4), StartAt::Earliest, StartAt::Timestamp(99)];
    consumer.assign_at((0..4).map(partition).zip(starts)).unwrap();
    let seen = read(&mut consumer, 3 + 6 + 10).await;
    assert_eq!(seen.0[&0], [7, 8, 9]);
    assert_eq!(seen.0[&1], [4, 5, 6, 7, 8, 9]);
    assert_eq!(seen.0[&2].len(), 10);
    assert_eq!(consumer.position(&partition(3)).await.unwrap(), 10);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_looked_up_by_place_and_time() {
    let setup = Setup::start(3, 3).await;
    for index in 0..3 {
        setup.append(index, 10).await;
    }
    setup.embedded.delete_records("topic", 1, 4).await.unwrap();
    let consumer = setup.consumer().build().unwrap();
    let partitions = || (0..3).map(partition);
    let beginning = consumer.beginning_offsets(partitions()).await.unwrap();
    assert_eq!(beginning.into_values().collect::<Vec<_>>(), [0, 4, 0]);
    let end = consumer.end_offsets(partitions()).await.unwrap();
    assert_eq!(end.into_values().collect::<Vec<_>>(), [10, 10, 10]);
    let times = consumer.offsets_for_times([(partition(0), 3), (partition(2), 99)]).await.unwrap();
    assert_eq!(times[&partition(0)].map(|found| (found.offset, found.timestamp)), Some((3, Some(3))));
    assert_eq!(times[&partition(2)], None);
    let greatest = consumer.lookup([(partition(0), Lookup::MaxTimestamp)]).await.unwrap();
    assert_eq!(greatest[&partition(0)].map(|found| (found.offset, found.timestamp)), Some((9, Some(9))));
}

#[tokio::test(start_paused = true)]
async fn an_offset_out_of_range_is_answered_by_the_policy() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 10).await;
    setup.append(0, 10).await;
    setup.embedded.delete_records("topic", 0, 10).await.unwrap();

    let mut earliest = setup.consumer().build().unwrap();
    earliest.assign_at([(partition(0), StartAt::Offset(3))]).unwrap();
    assert_eq!(read(&mut earliest, 10).await.0[&0], (10..20).collect::<Vec<_>>());

    let mut latest = setup.consumer().auto_offset_reset(AutoOffsetReset::Latest).build().unwrap();
    latest.assign_at([(partition(0), StartAt::Offset(3))]).unwrap();
    assert!(latest.poll(Duration::from_secs(3)).await.unwrap().is_empty());
    assert_eq!(latest.position(&partition(0)).await.unwrap(), 20);

    let mut none = setup.consumer().auto_offset_reset(AutoOffsetReset::None).build().unwrap();
    none.assign_at([(partition(0), StartAt::Offset(3))]).unwrap();
    for _ in 0..2 {
        let error = none.poll(LONG).await.unwrap_err();
        let text = "the log of topic-0 does not have offset 3, and auto.offset.reset is none";
        assert_eq!(error.to_string(), text, "told again and again");
    }
    none.seek(&partition(0), 15).unwrap();
    assert_eq!(read(&mut none, 5).await.0[&0], (15..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn no_position_and_no_policy_is_an_error_that_names_the_partition() {
    let setup = Setup::start(1, 1).await;
    let mut consumer = setup.consumer().auto_offset_reset(AutoOffsetReset::None).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let error = consumer.poll(LONG).await.unwrap_err();
    assert!(matches!(error, ottla_consumer::Error::Fetch(FetchError::NoPosition { .. })), "{error}");
    assert_eq!(error.partition(), Some(&partition(0)));
}

#[tokio::test(start_paused = true)]
async fn control_batches_are_passed_over() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 2).await;
    let commit = control_batch(ControlRecordType::Commit, 0, 0, ProducerState::default());
    setup.append_bytes(0, commit, 1).await;
    setup.append(0, 2).await;
    let commit = control_batch(ControlRecordType::Commit, 0, 0, ProducerState::default());
    setup.append_bytes(0, commit, 1).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    assert_eq!(read(&mut consumer, 4).await.0[&0], [0, 1, 3, 4]);
    assert!(consumer.poll(Duration::from_secs(1)).await.unwrap().is_empty());
    assert_eq!(consumer.position(&partition(0)).await.unwrap(), 6, "the position stands behind the last marker");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_yet_is_read_once_it_does() {
    let setup = Setup::start_with(1, 1, |builder| builder.auto_create_topics(false)).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([ottla_consumer::TopicPartition::new("later", 0)]).unwrap();
    assert!(consumer.poll(Duration::from_secs(30)).await.unwrap().is_empty());
    setup.embedded.create_topic("later", 1, 1).await.unwrap();
    let bytes = crate::setup::batch(0, 0, 3, Compression::None);
    setup.embedded.append_unchecked("later", 0, bytes, 3).await.unwrap();
    assert_eq!(read(&mut consumer, 3).await.0[&0], [0, 1, 2]);
}
