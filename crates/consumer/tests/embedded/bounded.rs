//! Reading up to an end, and then finishing.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_consumer::{BoundedRead, Error, FetchError, IsolationLevel, ReadRange};
use ottla_wire::compression::Compression;
use ottla_wire::records::{ControlRecordType, ProducerState, control_batch};

use crate::setup::{Seen, Setup, TOPIC, partition};

/// All of it, without an error.
async fn finish(read: &mut BoundedRead) -> BTreeMap<i32, Vec<i64>> {
    let mut seen = Seen::default();
    while let Some(batches) = read.next().await {
        seen.take(&batches.unwrap());
    }
    assert!(read.progress().is_done());
    seen.0
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_read_up_to_where_it_ended_when_the_read_began() {
    let setup = Setup::start(3, 6).await;
    for index in 0..5 {
        setup.append_compressed(index, 100, Compression::ALL[index as usize]).await;
        setup.append(index, 50).await;
    }
    let mut read = setup.consumer().max_poll_bytes(1000).read_bounded(ReadRange::topic(TOPIC)).await.unwrap();
    let progress = read.progress().clone();
    assert_eq!((progress.records(), progress.share_done()), (0, 0.0));
    for index in 0..6 {
        setup.append(index, 10).await;
    }
    let mut last = 0.0;
    let mut seen = Seen::default();
    while let Some(batches) = read.next().await {
        seen.take(&batches.unwrap());
        assert!(progress.share_done() > last, "it goes on with each");
        last = progress.share_done();
        assert_eq!(progress.records(), seen.count() as u64);
    }
    seen.assert_complete(5, 150);
    assert_eq!((seen.0.get(&5), last), (None, 1.0));
    assert!(progress.bytes() > 5 * 150 * 10);
    for (_, progress) in progress.partitions().take(5) {
        assert_eq!((progress.start, progress.next, progress.end, progress.records), (0, 150, 150, 150));
    }
    assert!(read.next().await.is_none(), "it stays so");
    read.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_empty_is_done_at_once() {
    let setup = Setup::start(1, 3).await;
    let began = tokio::time::Instant::now();
    let mut read = setup.consumer().read_bounded(ReadRange::topic(TOPIC)).await.unwrap();
    assert!(read.next().await.is_none());
    assert!(read.progress().is_done());
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_spans_an_end_is_cut_there() {
    let setup = Setup::start(1, 2).await;
    for _ in 0..3 {
        setup.append_compressed(0, 10, Compression::Zstd).await;
        setup.append(1, 10).await;
    }
    let offsets = [(partition(0), 3..17), (partition(1), 25..26)];
    let mut read = setup.consumer().read_bounded(ReadRange::offsets(offsets)).await.unwrap();
    let seen = finish(&mut read).await;
    assert_eq!((&seen[&0], &seen[&1]), (&(3..17).collect::<Vec<_>>(), &vec![25]));
    assert_eq!((read.progress().records(), read.progress().share_done()), (15, 1.0));
}

#[tokio::test(start_paused = true)]
async fn a_time_range_is_one_of_offsets() {
    let setup = Setup::start(3, 3).await;
    // The timestamps are the offsets.
    setup.append(0, 40).await;
    setup.append(1, 25).await;
    let range = ReadRange::topic(TOPIC).from_timestamp(20).until_timestamp(30);
    let seen = finish(&mut setup.consumer().read_bounded(range).await.unwrap()).await;
    assert_eq!(seen, BTreeMap::from([(0, (20..30).collect()), (1, (20..25).collect())]));
    let range = ReadRange::partitions([partition(0)]).from_timestamp(40);
    let seen = finish(&mut setup.consumer().read_bounded(range).await.unwrap()).await;
    assert_eq!(seen, BTreeMap::new(), "there is none as late as that");
    let range = ReadRange::partitions([partition(0)]).from_timestamp(30).until_timestamp(20);
    let seen = finish(&mut setup.consumer().read_bounded(range).await.unwrap()).await;
    assert_eq!(seen, BTreeMap::new(), "it ends before it begins");
}

#[tokio::test(start_paused = true)]
async fn markers_at_the_end_are_passed() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 5).await;
    for _ in 0..3 {
        let marker = control_batch(ControlRecordType::Commit, 0, 0, ProducerState::default());
        setup.append_bytes(0, marker, 1).await;
    }
    let mut read = setup.consumer().read_bounded(ReadRange::topic(TOPIC)).await.unwrap();
    assert_eq!(finish(&mut read).await[&0], [0, 1, 2, 3, 4]);
    assert_eq!(read.progress().partition(&partition(0)).unwrap().next, 8);
}

#[tokio::test(start_paused = true)]
async fn under_read_committed_the_last_stable_offset_is_the_end() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 5).await;
    let mut read = setup
        .consumer()
        .isolation_level(IsolationLevel::ReadCommitted)
        .read_bounded(ReadRange::topic(TOPIC))
        .await
        .unwrap();
    assert_eq!(finish(&mut read).await[&0], [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_log_does_not_have_is_an_error_and_so_is_a_start() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 5).await;
    setup.append(0, 5).await;
    let error = setup.consumer().read_bounded(ReadRange::offsets([(partition(0), 0..11)])).await.unwrap_err();
    assert!(matches!(error, Error::EndGone { end: 11, log_end: 10, .. }), "{error}");
    setup.embedded.delete_records(TOPIC, 0, 5).await.unwrap();
    let mut read = setup.consumer().read_bounded(ReadRange::offsets([(partition(0), 2..8)])).await.unwrap();
    let error = read.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Fetch(FetchError::OffsetOutOfRange { offset: 2, .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_meanwhile_is_an_error_and_no_endless_wait() {
    let setup = Setup::start(1, 2).await;
    setup.append(0, 5).await;
    setup.append(1, 5).await;
    let consumer = setup.consumer().default_api_timeout(Duration::from_secs(5));
    let mut read = consumer.read_bounded(ReadRange::topic(TOPIC)).await.unwrap();
    setup.embedded.delete_topic(TOPIC).await.unwrap();
    let told = async {
        loop {
            match read.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("it was read to the end"),
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_mins(1), told).await.expect("it waits for ever");
    assert!(!matches!(error, Error::Config(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_group_has_no_part_in_it() {
    let setup = Setup::start(1, 1).await;
    let error = setup.consumer().group_id("group").read_bounded(ReadRange::topic(TOPIC)).await.unwrap_err();
    assert_eq!(error.to_string(), "group.id is group, which a bounded read has no use for");
    let missing = setup.consumer().default_api_timeout(Duration::from_secs(2));
    assert!(missing.read_bounded(ReadRange::topic("no-such-topic")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn as_a_stream_it_yields_batches_and_ends() {
    let setup = Setup::start(1, 2).await;
    for index in 0..2 {
        for _ in 0..5 {
            setup.append(index, 10).await;
        }
    }
    let read = setup.consumer().max_poll_bytes(1).read_bounded(ReadRange::topic(TOPIC)).await.unwrap();
    let mut stream = read.into_stream();
    let (mut records, mut batches) = (0, 0);
    while let Some(batch) = stream.next().await {
        records += batch.unwrap().records().count();
        batches += 1;
        assert_eq!(stream.progress().records(), records as u64);
    }
    assert_eq!((records, batches), (100, 10));
    assert!(stream.progress().is_done() && stream.next().await.is_none());
}
