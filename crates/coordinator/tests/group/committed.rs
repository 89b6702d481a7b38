//! Committed offsets, with and without a membership.

use std::time::Duration;

use ottla_broker::Fault;
use ottla_coordinator::{Coordinator, Error, GroupConfig, OffsetAndMetadata};
use ottla_wire::{ApiKey, ErrorCode, LeaderEpoch, TopicPartition};

use crate::member::{GROUP, Member, SOON, TOPIC, client, config, in_memory, offsets, partitions, start};

const QUICK: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn who_is_no_member_commits_and_looks_up_without_joining() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let coordinator = Coordinator::new(client.clone(), GroupConfig::new(GROUP)).unwrap();
    let handle = coordinator.handle();
    let nothing = handle.committed(partitions([0, 1]), QUICK).await.unwrap();
    assert!(nothing.len() == 2 && nothing.values().all(Option::is_none));
    let said = OffsetAndMetadata::new(5).leader_epoch(Some(LeaderEpoch(0))).metadata("note");
    handle.commit([(TopicPartition::new(TOPIC, 0), said.clone())].into()).await.unwrap();
    handle.commit([].into()).await.unwrap();
    let found = handle.committed(partitions([0, 1]), QUICK).await.unwrap();
    assert_eq!(found.into_values().collect::<Vec<_>>(), [Some(said), None]);
    assert_eq!(handle.committed([].into(), QUICK).await.unwrap().len(), 0);
    assert!(handle.membership().is_none());
    let total = |api| cluster.nodes().map(|node| cluster.faults().requests(node, api)).sum::<u64>();
    assert_eq!((total(ApiKey::JoinGroup), total(ApiKey::Heartbeat)), (0, 0));
    coordinator.close(Some("done"), QUICK).await.unwrap();
    assert_eq!(total(ApiKey::LeaveGroup), 0, "there is nothing to leave");
}

#[tokio::test(start_paused = true)]
async fn commits_take_effect_in_the_order_of_the_calls_whether_awaited_or_not() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    // Answered late, refused, and cut off: none lets a later one overtake an earlier one.
    cluster.faults().inject(Fault::delay(Duration::from_secs(3)).on_api(ApiKey::OffsetCommit).skip(3));
    let load = Fault::error(ErrorCode::CoordinatorLoadInProgress).on_api(ApiKey::OffsetCommit);
    cluster.faults().inject(load.skip(5).times(2));
    let cut = Fault::close_connection().on_api(ApiKey::OffsetCommit).after_handling();
    cluster.faults().inject(cut.skip(9));
    for offset in 0..20 {
        drop(member.handle().commit(offsets(&[(offset as i32 % 2, offset)])));
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    member.handle().commits_done().await;
    let found = member.handle().committed(partitions([0, 1]), QUICK).await.unwrap();
    let found: Vec<_> = found.into_values().map(|found| found.map(|found| found.offset)).collect();
    assert_eq!(found, [Some(18), Some(19)]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_goes_on_failing_ends_with_default_api_timeout_and_says_why() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    let load = Fault::error(ErrorCode::CoordinatorLoadInProgress).on_api(ApiKey::OffsetCommit).always();
    cluster.faults().inject(load);
    let before = tokio::time::Instant::now();
    let error = member.handle().commit(offsets(&[(0, 1)])).await.unwrap_err();
    assert_eq!(before.elapsed().as_secs(), 60);
    assert_eq!(error.error_code(), Some(ErrorCode::CoordinatorLoadInProgress), "{error:?}");
    assert!(error.is_retriable() && !error.may_have_taken_effect());
}

#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_names_the_partition_and_does_not_hold_up_the_others() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    let refusal = Fault::error(ErrorCode::OffsetMetadataTooLarge).on_api(ApiKey::OffsetCommit);
    cluster.faults().inject(refusal.on_partition(TOPIC, 1));
    let error = member.handle().commit(offsets(&[(0, 1), (1, 1)])).await.unwrap_err();
    assert_eq!(error.partition(), Some(&TopicPartition::new(TOPIC, 1)), "{error}");
    let found = member.handle().committed(partitions([0]), QUICK).await.unwrap();
    assert!(found.values().all(Option::is_some));
}

#[tokio::test(start_paused = true)]
async fn an_error_never_passes_for_nothing_being_committed() {
    let cluster = start(in_memory()).await;
    let coordinator = Coordinator::new(client(&cluster), GroupConfig::new(GROUP)).unwrap();
    let handle = coordinator.handle();
    handle.commit(offsets(&[(0, 7)])).await.unwrap();
    let retriable = [
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::NotCoordinator,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::UnstableOffsetCommit,
        ErrorCode::UnknownTopicOrPartition,
    ];
    for code in retriable {
        cluster.faults().inject(Fault::error(code).on_api(ApiKey::OffsetFetch).times(2));
        let found = handle.committed(partitions([0]), SOON).await.unwrap();
        assert_eq!(found.into_values().next().flatten().map(|found| found.offset), Some(7), "{code}");
    }
    cluster.faults().inject(Fault::close_connection().on_api(ApiKey::OffsetFetch).times(2));
    assert!(handle.committed(partitions([0]), SOON).await.unwrap().into_values().all(|found| found.is_some()));

    let unstable = Fault::error(ErrorCode::UnstableOffsetCommit).on_api(ApiKey::OffsetFetch).always();
    let fault = cluster.faults().inject(unstable);
    let error = handle.committed(partitions([0]), QUICK).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    cluster.faults().withdraw(fault);
    cluster.faults().inject(Fault::error(ErrorCode::GroupAuthorizationFailed).on_api(ApiKey::OffsetFetch));
    let error = handle.committed(partitions([0]), QUICK).await.unwrap_err();
    assert!(error.is_fatal(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn commits_and_lookups_do_not_wait_behind_a_join_that_is_parked() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let mut first = Member::join(&client, config());
    first.poll_until_assigned(1).await;
    let second = Member::join(&client, config());
    first.handle().event_ready().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = tokio::time::Instant::now();
    second.handle().committed(partitions([0]), QUICK).await.unwrap();
    first.handle().commit(offsets(&[(0, 3)])).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1));
    let error = second.handle().commit(offsets(&[(0, 3)])).await.unwrap_err();
    assert!(matches!(error, Error::RebalanceInProgress { .. }) && error.is_retriable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_topic_that_was_made_anew_are_not_the_old_ones() {
    let cluster = start(in_memory()).await;
    let coordinator = Coordinator::new(client(&cluster), GroupConfig::new(GROUP)).unwrap();
    let handle = coordinator.handle();
    handle.commit(offsets(&[(0, 7)])).await.unwrap();
    cluster.delete_topic(TOPIC).await.unwrap();
    cluster.create_topic(TOPIC, 6, 3).await.unwrap();
    let found = handle.committed(partitions([0]), SOON).await.unwrap();
    assert_eq!(found.into_values().next(), Some(None));
}
