//! Brokers that are silent, cut connections, answer late, or are not there.

use std::time::Duration;

use ottla_broker::Fault;
use ottla_cluster::InvalidSetting;
use ottla_coordinator::{Coordinator, Error, GroupConfig, GroupEvent};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::member::{
    GROUP, Member, client, client_with, config, in_memory, offsets, partitions, poll_all, settle, start, topics,
};

const QUICK: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn close_is_bounded_even_if_every_broker_is_silent() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    cluster.faults().inject(Fault::black_hole().always());
    let commit = member.handle().commit(offsets(&[(0, 1)]));
    let (handle, before) = (member.handle().clone(), Instant::now());
    let error = member.coordinator.close(Some("done"), QUICK).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert_eq!(before.elapsed(), QUICK);
    assert!(matches!(commit.await, Err(Error::Closed)));
    assert!(matches!(handle.commit(offsets(&[(0, 2)])).await, Err(Error::Closed)));
    assert!(matches!(handle.committed(partitions([0]), QUICK).await, Err(Error::Closed)));
    handle.commits_done().await;
    handle.join(Vec::new());
    assert!(matches!(handle.next_event(), Some(GroupEvent::Failed(Error::Closed))));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_tried_again_and_again_keeps_nobody_from_leaving() {
    let is_left = async |cluster: &ottla_broker::EmbeddedCluster| {
        while !cluster.describe_group(GROUP).await.unwrap().members.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut quick = config();
    (quick.max_poll_interval, quick.session_timeout) = (Duration::from_secs(10), Duration::from_mins(5));
    for how in ["close", "leave", "is not polled"] {
        let cluster = start(in_memory()).await;
        let unknown = Fault::error(ErrorCode::UnknownTopicOrPartition).on_api(ApiKey::OffsetCommit).always();
        cluster.faults().inject(unknown);
        let mut member = Member::join(&client(&cluster), quick.clone());
        member.poll_until_assigned(1).await;
        let commit = member.handle().commit(offsets(&[(0, 1)]));
        let before = Instant::now();
        match how {
            "close" => {
                let error = member.coordinator.close(Some("done"), QUICK).await.unwrap_err();
                assert!(matches!(error, Error::TimedOut { .. }), "the commit was not made: {error}");
                assert!(before.elapsed() <= QUICK);
                assert!(cluster.describe_group(GROUP).await.unwrap().members.is_empty());
                assert!(matches!(commit.await, Err(Error::Closed)));
            }
            "leave" => {
                assert!(member.handle().leave("done", QUICK).await);
                assert!(before.elapsed() < QUICK, "there is time for the answer");
                assert!(cluster.describe_group(GROUP).await.unwrap().members.is_empty());
            }
            _ => {
                let left = tokio::time::timeout(Duration::from_secs(30), is_left(&cluster)).await;
                left.expect("it leaves well before the commit's time and the session are over");
                assert!(before.elapsed() >= Duration::from_secs(10));
            }
        }
    }
}

/// What a coordinator that moves, comes up or goes away says to LeaveGroup.
fn passing() -> [(Fault, Option<ErrorCode>); 5] {
    let refused = |code| (Fault::error(code).on_api(ApiKey::LeaveGroup), Some(code));
    [
        refused(ErrorCode::NotCoordinator),
        refused(ErrorCode::CoordinatorNotAvailable),
        refused(ErrorCode::CoordinatorLoadInProgress),
        (Fault::close_connection().on_api(ApiKey::LeaveGroup), None),
        (Fault::close_connection().on_api(ApiKey::LeaveGroup).after_handling(), None),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_leave_that_fails_for_a_while_is_tried_again_in_its_time() {
    for (fault, _) in passing() {
        for is_closed in [true, false] {
            let cluster = start(in_memory()).await;
            let mut member = Member::join(&client(&cluster), config());
            member.poll_until_assigned(1).await;
            cluster.faults().inject(fault.clone().times(2));
            let before = Instant::now();
            if is_closed {
                member.coordinator.close(Some("done"), QUICK).await.unwrap();
            } else {
                assert!(member.handle().leave("done", QUICK).await);
            }
            assert!(before.elapsed() < QUICK);
            assert!(cluster.describe_group(GROUP).await.unwrap().members.is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_moves_at_the_moment_of_close_is_followed() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    let nodes: Vec<_> = cluster.nodes().collect();
    let coordinator = cluster.coordinator(GROUP).await.unwrap();
    let other = nodes.into_iter().find(|node| *node != coordinator).unwrap();
    cluster.move_coordinator(GROUP, other).await.unwrap();
    member.coordinator.close(Some("done"), QUICK).await.unwrap();
    assert!(cluster.describe_group(GROUP).await.unwrap().members.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_leave_that_nobody_confirmed_is_none() {
    for (fault, error_code) in passing() {
        for is_closed in [true, false] {
            let cluster = start(in_memory()).await;
            let mut member = Member::join(&client(&cluster), config());
            member.poll_until_assigned(1).await;
            cluster.faults().inject(fault.clone().always());
            let before = Instant::now();
            if is_closed {
                let error = member.coordinator.close(Some("done"), QUICK).await.unwrap_err();
                assert_eq!(error.error_code(), error_code, "{error}");
                assert!(matches!(error, Error::TimedOut { attempted: "LeaveGroup", .. }), "{error}");
            } else {
                assert!(!member.handle().leave("done", QUICK).await);
                assert!(member.handle().membership().is_none(), "it has left all the same");
            }
            assert_eq!(before.elapsed(), QUICK, "it is tried to the end");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leave_that_is_refused_for_good_is_known_at_once() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    let refused = Fault::error(ErrorCode::GroupAuthorizationFailed).on_api(ApiKey::LeaveGroup);
    cluster.faults().inject(refused.always());
    let before = Instant::now();
    let error = member.coordinator.close(Some("done"), QUICK).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(before.elapsed() < QUICK);
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().members.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn close_is_bounded_while_joining_and_while_the_coordinator_is_looked_for() {
    for api in [ApiKey::FindCoordinator, ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::LeaveGroup] {
        let cluster = start(in_memory()).await;
        cluster.faults().inject(Fault::black_hole().on_api(api).always());
        let member = Member::join(&client(&cluster), config());
        tokio::time::sleep(Duration::from_secs(7)).await;
        let before = Instant::now();
        // Where it is no member yet there is nothing to leave, and no error.
        let _: Result<_, _> = member.coordinator.close(Some("done"), QUICK).await;
        assert!(before.elapsed() <= QUICK, "{api}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_that_is_lost_or_refused_once_only_costs_time() {
    let apis = [
        ApiKey::FindCoordinator,
        ApiKey::JoinGroup,
        ApiKey::SyncGroup,
        ApiKey::Heartbeat,
        ApiKey::OffsetCommit,
        ApiKey::OffsetFetch,
        ApiKey::Metadata,
    ];
    let faults = || {
        let unavailable = Fault::error(ErrorCode::CoordinatorNotAvailable);
        [Fault::close_connection(), Fault::close_connection().after_handling(), Fault::black_hole(), unavailable]
    };
    for api in apis {
        for fault in faults() {
            let cluster = start(in_memory()).await;
            let client = client(&cluster);
            let id = cluster.faults().inject(fault.clone().on_api(api));
            let mut members = vec![Member::join(&client, config()), Member::join(&client, config())];
            settle(&mut members).await;
            members[0].handle().commit(offsets(&[(0, 1)])).await.unwrap();
            let found = members[1].handle().committed(partitions([0]), Duration::from_mins(2)).await.unwrap();
            assert!(found.into_values().all(|found| found.is_some()));
            let before = Instant::now();
            while cluster.faults().hits(id) == 0 || before.elapsed() < Duration::from_mins(1) {
                assert!(before.elapsed() < Duration::from_mins(10), "{api} {fault:?} was not hit");
                poll_all(&mut members).await;
            }
            settle(&mut members).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_away_for_a_minute_is_waited_for() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let mut members = vec![Member::join(&client, config()), Member::join(&client, config())];
    settle(&mut members).await;
    let nodes: Vec<_> = cluster.nodes().collect();
    for node in &nodes {
        cluster.stop_node(*node).await.unwrap();
    }
    let before = Instant::now();
    while before.elapsed() < Duration::from_mins(1) {
        poll_all(&mut members).await;
    }
    let commit = members[0].handle().commit(offsets(&[(0, 4)]));
    for node in &nodes {
        cluster.start_node(*node).await.unwrap();
    }
    let before = Instant::now();
    settle(&mut members).await;
    // Whether it was taken in depends on who came back first; that it ends does not.
    let _: Result<_, _> = commit.await;
    members[0].handle().commit(offsets(&[(0, 5)])).await.unwrap();
    assert!(before.elapsed() < Duration::from_mins(1), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_may_not_be_read_is_a_failure_that_is_told() {
    let cluster = start(in_memory()).await;
    let refusal = Fault::error(ErrorCode::GroupAuthorizationFailed).on_api(ApiKey::FindCoordinator).always();
    let fault = cluster.faults().inject(refusal);
    let coordinator = Coordinator::new(client(&cluster), config()).unwrap();
    coordinator.handle().subscribe(topics(&["topic"]));
    coordinator.handle().join(Vec::new());
    let error = coordinator.handle().commit(offsets(&[(0, 1)])).await.unwrap_err();
    assert!(matches!(error, Error::RebalanceInProgress { .. }));
    coordinator.handle().event_ready().await;
    let failed = coordinator.handle().next_event();
    assert!(matches!(&failed, Some(GroupEvent::Failed(error)) if error.is_fatal()), "{failed:?}");
    assert!(!coordinator.handle().is_joining());
    let error = coordinator.handle().committed(partitions([0]), QUICK).await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::GroupAuthorizationFailed));
    cluster.faults().withdraw(fault);
    coordinator.handle().join(Vec::new());
    coordinator.handle().event_ready().await;
    assert!(matches!(coordinator.handle().next_event(), Some(GroupEvent::Assigned(_))));
}

#[tokio::test(start_paused = true)]
async fn a_seed_replays_a_run_to_the_millisecond() {
    let run = async |seed| {
        let cluster = start(in_memory()).await;
        let client = client_with(&cluster, seed, |config| config);
        let start = Instant::now();
        let faults = [ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::FindCoordinator];
        for api in faults {
            cluster.faults().inject(Fault::error(ErrorCode::CoordinatorNotAvailable).on_api(api).times(3));
        }
        let mut member = Member::join(&client, config());
        member.poll_until_assigned(1).await;
        start.elapsed()
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await, "the back-offs differ");
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_are_named() {
    let cluster = start(in_memory()).await;
    let refused = |change: fn(&mut GroupConfig)| {
        let mut config = config();
        change(&mut config);
        match Coordinator::new(client(&cluster), config) {
            Err(Error::Config(InvalidSetting { setting, .. })) => setting,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(|config| config.group_id.clear()), "group.id");
    assert_eq!(refused(|config| config.heartbeat_interval = config.session_timeout), "heartbeat.interval.ms");
    assert_eq!(refused(|config| config.session_timeout = Duration::ZERO), "session.timeout.ms");
    assert_eq!(refused(|config| config.max_poll_interval = Duration::MAX), "max.poll.interval.ms");
    assert_eq!(refused(|config| config.group_instance_id = Some("a b".to_owned())), "group.instance.id");
    let twice: fn(&mut GroupConfig) = |config| config.assignors.extend(config.assignors.clone());
    assert_eq!(refused(twice), "partition.assignment.strategy");
    let mut nobody = GroupConfig::new(GROUP);
    nobody.assignors.clear();
    let coordinator = Coordinator::new(client(&cluster), nobody).unwrap();
    coordinator.handle().subscribe(topics(&["topic"]));
    coordinator.handle().join(Vec::new());
    assert!(matches!(coordinator.handle().next_event(), Some(GroupEvent::Failed(Error::NoAssignor { .. }))));
}

#[test]
fn without_a_runtime_it_says_so() {
    let cluster = ottla_cluster::ClusterConfig::new(["broker:9092".parse().unwrap()]);
    let coordinator = Coordinator::new(ottla_cluster::Cluster::new(cluster).unwrap(), config()).unwrap();
    coordinator.handle().subscribe(topics(&["topic"]));
    coordinator.handle().join(Vec::new());
    assert!(matches!(coordinator.handle().next_event(), Some(GroupEvent::Failed(Error::NoRuntime))));
    drop(coordinator.handle().commit(offsets(&[(0, 1)])));
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_given_up_does_not_hold_up_the_next() {
    let cluster = start(in_memory()).await;
    // The first JoinGroup is answered with the member's id, the second with silence.
    cluster.faults().inject(Fault::black_hole().on_api(ApiKey::JoinGroup).skip(1));
    let mut member = Member::join(&client(&cluster), config());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(member.handle().is_joining());
    assert!(member.handle().leave("changed its mind", QUICK).await);
    member.handle().subscribe(topics(&["topic"]));
    member.handle().join(Vec::new());
    let before = Instant::now();
    member.poll_until_assigned(1).await;
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
}
