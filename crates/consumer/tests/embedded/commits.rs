//! Commits by the application: what they say, in which order they arrive, and who makes use of them.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ottla_broker::Fault;
use ottla_consumer::{AutoOffsetReset, Consumer, Error, GroupError, OffsetAndMetadata, StartAt, TopicPartition};
use ottla_wire::{ApiKey, ErrorCode, LeaderEpoch, NodeId};

use crate::group::{Polled, SESSION, eventually, join_alone, next, owned};
use crate::setup::{Seen, Setup, TOPIC, partition};

fn at(offset: i64) -> [(TopicPartition, OffsetAndMetadata); 1] {
    [(partition(0), OffsetAndMetadata::new(offset))]
}

/// A consumer of the group's offsets that is no member.
fn reader(setup: &Setup) -> Consumer {
    setup.member().enable_auto_commit(false).build().unwrap()
}

/// What a future has now.
fn now<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn what_was_come_back_from_is_committed_with_its_leader_epoch() {
    let setup = Setup::start(3, 2).await;
    for node in [1, 2, 0] {
        setup.embedded.move_leader(TOPIC, 0, NodeId(node)).await.unwrap();
    }
    setup.append(0, 7).await;
    let leader_epoch = setup.embedded.describe_partition(TOPIC, 0).await.unwrap().leader_epoch;
    assert!(leader_epoch > 0);
    let mut consumer = setup.member().enable_auto_commit(false).build().unwrap();
    let mut seen = join_alone(&mut consumer, 2).await;
    while seen.count() < 7 {
        seen.take(&next(&mut consumer).await);
    }
    consumer.commit_sync().await.unwrap();
    let committed = consumer.committed([partition(0)]).await.unwrap();
    let expected = OffsetAndMetadata::new(7).leader_epoch(Some(LeaderEpoch(leader_epoch)));
    assert_eq!(committed[&partition(0)], Some(expected));

    setup.append(0, 1).await;
    Seen::default().take(&next(&mut consumer).await);
    consumer.commit_async().await.unwrap();
    assert_eq!(setup.committed(0).await, Some(8));
}

#[tokio::test(start_paused = true)]
async fn an_explicit_map_is_kept_with_metadata_and_leader_epoch_for_any_partition() {
    let setup = Setup::start(1, 3).await;
    let consumer = reader(&setup);
    let first = OffsetAndMetadata::new(5).metadata("five, and é").leader_epoch(Some(LeaderEpoch(0)));
    let second = OffsetAndMetadata::new(0);
    consumer.commit_sync_offsets([(partition(0), first.clone()), (partition(1), second.clone())]).await.unwrap();
    let committed = consumer.committed((0..3).map(partition)).await.unwrap();
    let expected = [(partition(0), Some(first)), (partition(1), Some(second)), (partition(2), None)];
    assert_eq!(committed, expected.into());
    let at_broker = setup.embedded.committed_offsets("group").await.unwrap();
    assert_eq!(at_broker[&partition(0)].metadata, "five, and é");
    assert_eq!(at_broker[&partition(0)].leader_epoch, Some(LeaderEpoch(0)));

    consumer.commit_sync_offsets([]).await.unwrap();
    assert_eq!(setup.commits(), 1, "nothing to say");
    let refused = consumer.commit_sync_offsets(at(-1)).await.unwrap_err();
    assert_eq!(refused.to_string(), "-1 of topic-0 is no offset that can be committed");
    assert_eq!(setup.commits(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_commit_overtakes_another_whatever_happens_to_them() {
    let faults = [
        Fault::delay(Duration::from_secs(2)),
        Fault::error(ErrorCode::CoordinatorLoadInProgress).times(3),
        Fault::error(ErrorCode::NotCoordinator),
        Fault::error(ErrorCode::RequestTimedOut).after_handling(),
        Fault::close_connection(),
        Fault::close_connection().after_handling(),
        Fault::black_hole(),
    ];
    for fault in faults {
        let setup = Setup::start(1, 1).await;
        setup.embedded.faults().inject(fault.clone().on_api(ApiKey::OffsetCommit));
        let consumer = reader(&setup);
        // They go back and forth: the last that arrives is seen to be the last that was asked for.
        let mut earlier: Vec<_> = [3, 9, 4, 8].map(|offset| consumer.commit_async_offsets(at(offset))).into();
        tokio::task::yield_now().await;
        earlier.push(consumer.commit_async_offsets(at(7)));
        consumer.commit_sync_offsets(at(5)).await.unwrap();
        for commit in earlier {
            assert!(matches!(now(commit), Poll::Ready(Ok(()))), "{fault:?}: a sync commit waits for those before it");
        }
        assert_eq!(setup.committed(0).await, Some(5), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_goes_its_way_when_nobody_waits_for_it() {
    let setup = Setup::start(1, 1).await;
    let consumer = reader(&setup);
    drop(consumer.commit_async_offsets(at(3)));
    setup.until_committed(0, 3).await;
    {
        let mut commit = pin!(consumer.commit_sync_offsets(at(4)));
        assert!(now(commit.as_mut()).is_pending());
    }
    setup.until_committed(0, 4).await;
    drop(consumer.commit_async_offsets(at(5)));
    consumer.close().await.unwrap();
    assert_eq!(setup.committed(0).await, Some(5), "closing waits for it");
}

#[tokio::test(start_paused = true)]
async fn assigned_partitions_start_at_committed_offsets_and_elsewhere_as_the_reset_policy_says() {
    let setup = Setup::start(1, 3).await;
    for index in 0..3 {
        setup.append(index, 10).await;
    }
    reader(&setup).commit_sync_offsets([(partition(0), OffsetAndMetadata::new(4))]).await.unwrap();
    let mut consumer = reader(&setup);
    consumer.assign([partition(0), partition(1)]).unwrap();
    assert_eq!(consumer.position(&partition(0)).await.unwrap(), 4);
    let seen = crate::setup::read(&mut consumer, 16).await;
    assert_eq!((&seen.0[&0], &seen.0[&1]), (&vec![4, 5, 6, 7, 8, 9], &(0..10).collect()));

    consumer.commit_sync().await.unwrap();
    consumer.seek(&partition(1), 3).unwrap();
    consumer.seek_to(&partition(0), StartAt::Committed).unwrap();
    assert_eq!(consumer.position(&partition(0)).await.unwrap(), 10);
    consumer.seek_to(&partition(1), StartAt::Committed).unwrap();
    assert_eq!(consumer.position(&partition(1)).await.unwrap(), 10);
    consumer.assign_at([(partition(0), StartAt::Offset(2)), (partition(2), StartAt::Committed)]).unwrap();
    let seen = crate::setup::read(&mut consumer, 18).await;
    assert_eq!((seen.0[&0][0], seen.0[&2][0]), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_fails_never_passes_for_nothing_committed() {
    let retried = [
        Fault::error(ErrorCode::CoordinatorLoadInProgress),
        Fault::error(ErrorCode::CoordinatorNotAvailable),
        Fault::error(ErrorCode::NotCoordinator),
        Fault::error(ErrorCode::UnstableOffsetCommit),
        Fault::error(ErrorCode::RequestTimedOut),
        Fault::error(ErrorCode::UnknownTopicOrPartition).on_partition(TOPIC, 0),
        Fault::error(ErrorCode::UnstableOffsetCommit).on_partition(TOPIC, 0),
        Fault::close_connection(),
        Fault::black_hole(),
    ];
    // Where the reset policy was followed, reading would begin at 0 or at 10.
    for (fault, policy) in retried.into_iter().zip([AutoOffsetReset::Earliest, AutoOffsetReset::Latest].repeat(5)) {
        let setup = Setup::start(1, 1).await;
        setup.append(0, 10).await;
        reader(&setup).commit_sync_offsets(at(4)).await.unwrap();
        let fault = fault.on_api(ApiKey::OffsetFetch);
        let times = setup.embedded.faults().inject(fault.clone().times(4));
        let mut consumer = setup.member().enable_auto_commit(false).auto_offset_reset(policy).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        let mut seen = Seen::default();
        seen.take(&next(&mut consumer).await);
        assert_eq!(seen.0[&0], [4, 5, 6, 7, 8, 9], "{fault:?}");
        assert_eq!(setup.embedded.faults().hits(times), 4, "{fault:?}");

        let always = setup.embedded.faults().inject(fault.clone().always());
        consumer.seek_to(&partition(0), StartAt::Committed).unwrap();
        for _ in 0..3 {
            let batches = consumer.poll(Duration::from_mins(1)).await.unwrap();
            assert!(batches.is_empty(), "{fault:?}");
        }
        assert_eq!(consumer.position_now(&partition(0)).unwrap(), None);
        let told: Vec<_> = std::iter::from_fn(|| consumer.take_error()).map(|told| told.error).collect();
        let is_time_out =
            |error: &Error| matches!(error, Error::Group(GroupError::TimedOut { attempted: "OffsetFetch", .. }));
        assert!(told.iter().any(is_time_out), "it was tried for default.api.timeout.ms, several times: {told:?}");
        setup.embedded.faults().withdraw(always);
        assert_eq!(consumer.position(&partition(0)).await.unwrap(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_is_refused_is_told_by_poll_and_nothing_is_read() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 10).await;
    let denied = Fault::error(ErrorCode::GroupAuthorizationFailed).on_api(ApiKey::OffsetFetch).always();
    let denied = setup.embedded.faults().inject(denied);
    let mut consumer = setup.member().build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    for _ in 0..3 {
        let error = consumer.poll(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.error_code(), Some(ErrorCode::GroupAuthorizationFailed), "{error}");
    }
    setup.embedded.faults().withdraw(denied);
    let mut seen = Seen::default();
    seen.take(&next(&mut consumer).await);
    seen.assert_complete(1, 10);
}

#[tokio::test(start_paused = true)]
async fn without_a_group_whatever_needs_one_says_so() {
    let setup = Setup::start(1, 1).await;
    let consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let says = |result: Result<(), Error>, what: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::NoGroup { .. }), "{error}");
        assert_eq!(error.to_string(), format!("{what} needs a group: set group.id"));
    };
    says(consumer.subscribe([TOPIC]), "subscribing to topics");
    says(consumer.commit_sync().await, "a commit");
    says(consumer.commit_async_offsets(at(1)).await, "a commit");
    says(consumer.committed([partition(0)]).await.map(drop), "looking up committed offsets");
    says(consumer.seek_to(&partition(0), StartAt::Committed), "reading from the committed offset");
    says(consumer.enforce_rebalance("to see"), "a rebalance");
}

#[tokio::test(start_paused = true)]
async fn a_commit_during_a_rebalance_says_so_and_one_after_the_membership_is_over_too() {
    let setup = Setup::start(1, 2).await;
    setup.append(0, 5).await;
    let poll_interval = Duration::from_mins(1);
    let mut consumer = setup.member().max_poll_interval(poll_interval).enable_auto_commit(false).build().unwrap();
    join_alone(&mut consumer, 2).await;
    let mut slow = setup.member().max_poll_interval(poll_interval).enable_auto_commit(false).build().unwrap();
    slow.subscribe([TOPIC]).unwrap();
    while owned(&slow).is_empty() {
        slow.poll(Duration::from_millis(20)).await.unwrap();
        consumer.poll(Duration::from_millis(20)).await.unwrap();
    }
    // `slow` is not polled from here on: the next rebalance waits for it.
    let third = Polled::start({
        let third = setup.member().max_poll_interval(poll_interval).enable_auto_commit(false).build().unwrap();
        third.subscribe([TOPIC]).unwrap();
        third
    });
    while !consumer.rebalance_pending() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    consumer.commit_sync_offsets(at(1)).await.expect("it is a member until it rejoins");
    consumer.poll(Duration::from_millis(20)).await.unwrap();
    let error = consumer.commit_sync_offsets(at(2)).await.unwrap_err();
    assert!(matches!(error, Error::Group(GroupError::RebalanceInProgress { .. })), "{error}");
    assert_eq!(setup.committed(0).await, Some(1));

    tokio::time::sleep(poll_interval + SESSION).await;
    let error = slow.commit_sync_offsets(at(3)).await.unwrap_err();
    assert!(matches!(error, Error::Group(GroupError::CommitFailed { .. })), "{error}");
    assert_eq!(setup.committed(0).await, Some(1));
    eventually(async || !owned(&third.handle).is_empty()).await;
}
