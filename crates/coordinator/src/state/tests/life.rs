//! The life of a member, with exact times.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_cluster::LATE;
use ottla_wire::consumer_protocol::{Assignment, Subscription};
use ottla_wire::messages::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember, LeaveGroupMemberResponse, LeaveGroupResponse,
    SyncGroupResponse,
};
use ottla_wire::{ErrorCode, GenerationId, TopicPartition};

use super::super::harness::{AllToOne, Harness, NODE, OTHER_NODE, TOPIC, config, no_answer};
use super::{fixed, offsets};
use crate::assignor::{RebalanceProtocol, TopicPartitions, Topics};
use crate::request::{Incoming, Outgoing};
use crate::{AssignmentFault, Error, EventOrStanding, GroupConfig, GroupEvent, LostReason, RebalanceReason};

const MILLISECOND: Duration = Duration::from_millis(1);
const INTERVAL: Duration = Duration::from_secs(3);
const SESSION: Duration = Duration::from_secs(45);
const MAX_POLL: Duration = Duration::from_mins(5);

/// What the JoinGroup in flight says.
fn join_request(harness: &mut Harness) -> JoinGroupRequest {
    let (_, Outgoing::JoinGroup { request, .. }) = harness.take("JoinGroup") else { unreachable!() };
    request
}

fn subscription(request: &JoinGroupRequest) -> Subscription {
    Subscription::decode(request.protocols[0].metadata.clone()).unwrap()
}

/// Lets time pass in which all heartbeats are answered.
fn live(harness: &mut Harness, time: Duration) {
    let until = harness.now + time;
    while harness.now < until {
        harness.pass(INTERVAL.min(until - harness.now));
        if harness.is_sent("Heartbeat") {
            harness.answer_heartbeat(ErrorCode::None);
        }
    }
}

#[test]
fn a_heartbeat_is_due_one_interval_after_joining_and_after_the_last_one() {
    let mut harness = Harness::stable(config());
    harness.pass(Duration::from_millis(2_999));
    assert!(!harness.is_sent("Heartbeat"));
    assert_eq!(harness.state.next_deadline(), Some(harness.now + MILLISECOND));
    harness.pass(MILLISECOND);
    harness.pass(INTERVAL);
    assert_eq!(harness.sent.len(), 1, "one at a time");
    harness.answer_heartbeat(ErrorCode::None);
    assert!(harness.is_sent("Heartbeat"), "the next was due while the first was in flight");
}

#[test]
fn a_heartbeat_that_failed_is_sent_again_after_a_back_off() {
    let mut harness = Harness::stable(config());
    harness.pass(INTERVAL);
    harness.answer_heartbeat(ErrorCode::CoordinatorLoadInProgress);
    assert!(!harness.is_sent("Heartbeat"));
    harness.pass(Duration::from_millis(120));
    assert!(harness.is_sent("Heartbeat"), "within the first back-off, and not after an interval");
}

#[test]
fn heartbeats_go_on_while_a_rebalance_is_pending_and_end_with_join_group() {
    let mut harness = Harness::stable(config());
    harness.pass(INTERVAL);
    harness.answer_heartbeat(ErrorCode::RebalanceInProgress);
    for _ in 0..50 {
        harness.pass(INTERVAL);
        harness.answer_heartbeat(ErrorCode::RebalanceInProgress);
    }
    assert!(harness.state.group.is_rebalance_pending() && harness.state.group.membership().is_some());
    assert!(matches!(harness.event(), Some(GroupEvent::RebalanceNeeded { .. })) && harness.event().is_none());
    assert!(!harness.is_sent("JoinGroup"), "not before the application has given up its partitions");
    harness.state.group.join(Vec::new());
    harness.run();
    harness.pass(INTERVAL);
    assert!(harness.is_sent("JoinGroup") && !harness.is_sent("Heartbeat"));
}

#[test]
fn without_a_heartbeat_answered_for_two_thirds_of_the_session_timeout_the_coordinator_is_looked_for_again() {
    let mut harness = Harness::stable(config());
    harness.pass(INTERVAL);
    assert!(harness.is_sent("Heartbeat"));
    for _ in 0..26 {
        harness.pass(LATE);
        harness.found(); // it is silent, and the only one that the cluster knows
    }
    harness.pass(LATE.saturating_sub(MILLISECOND));
    let asks = harness.asks;
    assert_eq!(harness.disconnects, 0);
    harness.pass(MILLISECOND);
    assert_eq!((harness.asks, harness.disconnects), (asks + 1, 1));
    assert!(harness.state.group.membership().is_some(), "the membership is the coordinator's to end");
    harness.found();
    harness.pass(INTERVAL);
    harness.answer_heartbeat(ErrorCode::None);
    assert!(harness.state.group.membership().is_some() && harness.event().is_none());
}

#[test]
fn a_coordinator_that_is_silent_is_left_for_another_as_soon_as_the_cluster_names_one() {
    let mut harness = Harness::stable(config());
    harness.state.commit(harness.now, offsets(1), &ottla_cluster::Metadata::default()).unwrap();
    harness.pass(INTERVAL);
    assert!(harness.is_sent("OffsetCommit") && harness.is_sent("Heartbeat"));
    let asks = harness.asks;
    harness.found();
    harness.pass(LATE);
    assert_eq!((harness.asks, harness.disconnects), (asks + 1, 0), "it has time, but the cluster is asked");
    harness.state.handle_coordinator(harness.now, Ok(OTHER_NODE));
    harness.run();
    assert_eq!(harness.disconnects, 1);
    harness.pass(LATE / 2);
    for name in ["OffsetCommit", "Heartbeat"] {
        assert_eq!(harness.take(name).0.node, OTHER_NODE, "{name} is sent again, to the new one");
    }
    assert!(harness.sent.is_empty() && harness.event().is_none(), "and the membership lasts");
}

#[test]
fn what_could_not_be_sent_waits_for_the_node_that_failed_and_not_for_the_one_that_coordinates_instead() {
    type Member = fn() -> Harness;
    let committing: Member = || {
        let mut harness = Harness::stable(config());
        harness.state.commit(harness.now, offsets(1), &ottla_cluster::Metadata::default()).unwrap();
        harness.run();
        harness
    };
    let joining: Member = || Harness::preparing(config(), &[]);
    for (name, member) in [("OffsetCommit", committing), ("JoinGroup", joining)] {
        for (node, is_at_once) in [(NODE, false), (OTHER_NODE, true)] {
            let mut harness = member();
            for _ in 0..5 {
                harness.fail(name, no_answer());
                harness.pass(LATE * 2);
                harness.found();
                harness.pass(LATE * 2);
            }
            harness.fail(name, no_answer());
            harness.state.handle_coordinator(harness.now, Ok(node));
            harness.run();
            assert_eq!(harness.is_sent(name), is_at_once, "{name} to {node}");
        }
    }
}

#[test]
fn a_coordinator_that_holds_a_join_back_is_asked_about_once_a_heartbeat_s_interval() {
    let mut harness = Harness::preparing(config(), &[]);
    let asks = harness.asks;
    for intervals in 1..4 {
        harness.pass(INTERVAL.saturating_sub(MILLISECOND));
        assert_eq!(harness.asks, asks + intervals - 1);
        harness.pass(MILLISECOND);
        assert_eq!(harness.asks, asks + intervals);
        harness.found();
    }
    assert!(harness.is_sent("JoinGroup") && harness.disconnects == 0, "it still is the one");
    harness.pass(INTERVAL);
    harness.state.handle_coordinator(harness.now, Ok(OTHER_NODE));
    harness.run();
    harness.pass(LATE);
    assert_eq!(harness.take("JoinGroup").0.node, OTHER_NODE);
}

#[test]
fn not_being_polled_for_the_maximum_ends_the_membership() {
    let mut harness = Harness::stable(config());
    for _ in 0..4 {
        live(&mut harness, Duration::from_millis(299_999));
        harness.state.group.polled(harness.now);
        assert!(harness.event().is_none(), "it is being polled");
    }
    live(&mut harness, Duration::from_millis(299_999));
    assert!(harness.event().is_none());
    harness.pass(MILLISECOND);
    let lost = harness.event();
    assert!(matches!(lost, Some(GroupEvent::Lost { reason: LostReason::MaxPollIntervalExceeded })), "{lost:?}");
    let (_, Outgoing::LeaveGroup { leave, .. }) = harness.take("LeaveGroup") else { unreachable!() };
    let request = leave.request(true);
    assert_eq!(request.members[0].member_id, "member");
    assert_eq!(request.members[0].reason.as_deref(), Some("not polled for max.poll.interval.ms"));
    assert_eq!((leave.request(false).member_id.as_str(), leave.request(false).members.len()), ("member", 0));
}

#[test]
fn a_poll_only_moves_its_deadline_away_so_that_it_need_wake_nobody() {
    let mut quick = config();
    quick.max_poll_interval = Duration::from_secs(2);
    let mut harness = Harness::stable(quick);
    let asleep_until = harness.state.next_deadline();
    assert_eq!(asleep_until, Some(harness.now + Duration::from_secs(2)), "before the next heartbeat is due");
    harness.pass(MILLISECOND);
    harness.state.group.polled(harness.now);
    assert!(harness.state.next_deadline() > asleep_until);
}

#[test]
fn a_static_member_that_is_not_polled_does_not_send_leave_group() {
    let mut harness = Harness::stable(fixed());
    harness.pass(MAX_POLL);
    assert!(matches!(harness.event(), Some(GroupEvent::Lost { .. })));
    assert!(!harness.is_sent("LeaveGroup"), "its partitions are kept for it until its session ends");
}

#[test]
fn join_group_says_who_joins_with_what() {
    let mut harness = Harness::stable(fixed());
    harness.state.group.rejoin(&"long ".repeat(100));
    harness.state.group.join(vec![TopicPartition::new(TOPIC, 0)]);
    harness.run();
    let request = join_request(&mut harness);
    assert_eq!((request.member_id.as_str(), request.group_instance_id.as_deref()), ("member", Some("instance")));
    assert_eq!((request.session_timeout_ms, request.rebalance_timeout_ms), (45_000, 300_000));
    assert_eq!(request.reason.map(|reason| reason.len()), Some(255));
    assert_eq!(request.protocols[0].name, "all-to-one");
    let subscription = Subscription::decode(request.protocols[0].metadata.clone()).unwrap();
    assert_eq!(subscription.topics.iter().collect::<Vec<_>>(), [TOPIC]);
    assert_eq!(subscription.owned_partitions.partitions().collect::<Vec<_>>(), [(TOPIC, 0)]);
    assert_eq!(subscription.generation_id, GenerationId(5));
}

#[test]
fn the_answer_to_join_group_is_waited_for_five_seconds_longer_than_the_group_has() {
    let group = Harness::new(config()).state.group;
    assert_eq!(group.join_timeout, Duration::from_secs(305));
    let mut quick = config();
    quick.max_poll_interval = Duration::from_secs(10);
    assert_eq!(Harness::new(quick).state.group.join_timeout, Duration::from_secs(30), "as any other answer");
}

#[test]
fn a_first_join_goes_with_the_id_that_it_is_given() {
    let mut harness = Harness::new(config());
    harness.state.group.subscribe([Arc::from(TOPIC)].into());
    harness.pass(SESSION);
    assert_eq!((harness.asks, harness.sent.len()), (0, 0), "nothing happens before join");
    harness.state.group.join(Vec::new());
    harness.run();
    harness.found();
    let first = harness.sent.front().unwrap();
    assert!(matches!(&first.1, Outgoing::JoinGroup { request, .. } if request.member_id.is_empty()));
    harness.answer_join(ErrorCode::MemberIdRequired);
    assert_eq!(join_request(&mut harness).member_id, "member");
}

#[test]
fn join_group_that_keeps_failing_is_sent_more_and_more_slowly() {
    let mut harness = Harness::preparing(config(), &[]);
    let mut waits = Vec::new();
    for _ in 0..6 {
        harness.answer_join(ErrorCode::RebalanceInProgress);
        let before = harness.now;
        while !harness.is_sent("JoinGroup") {
            harness.pass(MILLISECOND);
        }
        waits.push((harness.now - before).as_millis());
    }
    assert_eq!(waits[0], 0, "the first time at once");
    assert!(waits[1] >= 160 && waits[2] >= 320 && waits[3..].iter().all(|wait| *wait >= 640), "{waits:?}");
    // A generation with an assignment ends the series.
    harness.answer_join(ErrorCode::None);
    harness.answer_sync(ErrorCode::None);
    harness.state.group.join(Vec::new());
    harness.run();
    harness.answer_join(ErrorCode::RebalanceInProgress);
    assert!(harness.is_sent("JoinGroup"));
}

#[test]
fn after_a_failure_the_next_join_waits_as_well() {
    let mut harness = Harness::preparing(config(), &[]);
    harness.answer_join(ErrorCode::GroupMaxSizeReached);
    assert!(matches!(harness.event(), Some(GroupEvent::Failed(_))));
    harness.state.group.join(Vec::new());
    harness.run();
    assert!(!harness.is_sent("JoinGroup"), "a loop over poll must not flood the coordinator");
    harness.pass(Duration::from_millis(120));
    assert!(harness.is_sent("JoinGroup"));
}

#[test]
fn the_answers_of_an_older_attempt_change_nothing() {
    let mut harness = Harness::preparing(config(), &[]);
    let (from, old) = harness.take("JoinGroup");
    let Outgoing::JoinGroup { attempt, .. } = old else { unreachable!() };
    harness.state.handle(harness.now, from, Incoming::JoinGroup { attempt, answer: Err(no_answer()) });
    harness.run();
    harness.found();
    harness.pass(Duration::from_secs(2));
    assert!(harness.is_sent("JoinGroup"));
    let late = JoinGroupResponse {
        generation_id: GenerationId(4),
        protocol_name: Some("all-to-one".to_owned()),
        member_id: "member".to_owned(),
        ..JoinGroupResponse::default()
    };
    harness.answer(from, Incoming::JoinGroup { attempt, answer: Ok(late) });
    assert_eq!(harness.describe(), "PreparingRebalance, at once, id kept");
    harness.answer_join(ErrorCode::None);
    let late = SyncGroupResponse { error_code: ErrorCode::UnknownMemberId, ..SyncGroupResponse::default() };
    harness.answer(from, Incoming::SyncGroup { attempt, answer: Ok(late) });
    harness.answer_sync(ErrorCode::None);
    assert_eq!(harness.describe(), "Stable, id kept, assigned");
}

#[test]
fn what_the_application_has_not_seen_of_a_membership_that_is_lost_it_does_not_see() {
    let mut harness = Harness::stable(config());
    harness.pass(INTERVAL);
    harness.answer_heartbeat(ErrorCode::RebalanceInProgress);
    harness.pass(INTERVAL);
    harness.answer_heartbeat(ErrorCode::UnknownMemberId);
    // The application was giving up its partitions all the while, and now joins with what it does not own any more.
    harness.state.group.join(vec![TopicPartition::new(TOPIC, 0)]);
    harness.run();
    assert!(!harness.state.group.is_joining(), "it is to know first");
    let lost = harness.event();
    assert!(matches!(lost, Some(GroupEvent::Lost { .. })) && harness.event().is_none(), "{lost:?}");
    harness.state.group.join(Vec::new());
    harness.run();
    assert_eq!(subscription(&join_request(&mut harness)).generation_id, GenerationId::NONE);
}

#[test]
fn a_member_that_is_lost_stands_outside_only_once_it_was_told() {
    let mut harness = Harness::preparing(config(), &[]);
    let ask = |harness: &mut Harness| harness.state.group.next_event_or_standing();
    assert!(matches!(ask(&mut harness), EventOrStanding::Joining), "JoinGroup is in flight");
    harness.answer_join(ErrorCode::None);
    assert!(matches!(ask(&mut harness), EventOrStanding::Joining), "SyncGroup is in flight");
    harness.answer_sync(ErrorCode::None);
    assert!(matches!(ask(&mut harness), EventOrStanding::Event(GroupEvent::Assigned(_))));
    assert!(matches!(ask(&mut harness), EventOrStanding::Member));
    harness.pass(INTERVAL);
    harness.answer_heartbeat(ErrorCode::UnknownMemberId);
    assert!(harness.state.group.membership().is_none(), "before anybody was told");
    assert!(matches!(ask(&mut harness), EventOrStanding::Event(GroupEvent::Lost { .. })));
    assert!(matches!(ask(&mut harness), EventOrStanding::NotMember));
    let mut fresh = Harness::new(config());
    assert!(matches!(ask(&mut fresh), EventOrStanding::NotMember));
}

#[test]
fn a_subscription_that_changes_while_joining_makes_another_rebalance_needed() {
    let mut harness = Harness::completing(config(), &[]);
    harness.state.group.subscribe([Arc::from("other")].into());
    harness.answer_sync(ErrorCode::None);
    let Some(GroupEvent::Assigned(assigned)) = harness.event() else { panic!("not assigned") };
    assert!(assigned.partitions.is_empty(), "the topic is not wanted any more");
    let needed = harness.event();
    let reason = RebalanceReason::SubscriptionChanged;
    assert!(matches!(&needed, Some(GroupEvent::RebalanceNeeded { reason: told }) if *told == reason), "{needed:?}");
}

#[test]
fn an_assignment_that_cannot_be_read_or_is_another_protocols_is_a_failure() {
    let answers = [
        SyncGroupResponse::default(),
        SyncGroupResponse { assignment: Bytes::from_static(b"\0\x03\x7f\xff"), ..SyncGroupResponse::default() },
        SyncGroupResponse { protocol_name: Some("other".to_owned()), ..SyncGroupResponse::default() },
        SyncGroupResponse { protocol_type: Some("connect".to_owned()), ..SyncGroupResponse::default() },
    ];
    for answer in answers {
        let mut harness = Harness::completing(config(), &[]);
        harness.answer_sync_with(answer.clone());
        assert!(matches!(harness.event(), Some(GroupEvent::Failed(_))), "{answer:?}");
    }
    for (protocol_type, protocol_name) in [("connect", "all-to-one"), ("consumer", "other")] {
        let mut harness = Harness::preparing(config(), &[]);
        harness.answer_join_with(JoinGroupResponse {
            protocol_type: Some(protocol_type.to_owned()),
            protocol_name: Some(protocol_name.to_owned()),
            ..JoinGroupResponse::default()
        });
        let failed = harness.event();
        assert!(matches!(&failed, Some(GroupEvent::Failed(Error::UnknownProtocol { .. }))), "{failed:?}");
    }
}

#[test]
fn commits_go_before_leave_group() {
    let mut harness = Harness::stable(config());
    harness.state.commit(harness.now, offsets(1), &ottla_cluster::Metadata::default()).unwrap();
    harness.leave(Duration::from_secs(10));
    assert!(harness.is_sent("OffsetCommit") && !harness.is_sent("LeaveGroup"));
    super::answer_commit(&mut harness, ErrorCode::None);
    assert!(harness.is_sent("LeaveGroup") && harness.state.leaves.take_results().is_empty());
    harness.answer_leave(ErrorCode::None);
    assert!(matches!(harness.state.leaves.take_results()[..], [(1, Ok(()))]));
}

#[test]
fn commits_that_take_long_hold_leave_group_back_for_half_of_its_time() {
    let half = Duration::from_secs(5);
    let mut harness = Harness::stable(config());
    harness.state.commit(harness.now, offsets(1), &ottla_cluster::Metadata::default()).unwrap();
    harness.leave(2 * half);
    assert_eq!(harness.state.leaves.next_deadline(true), Some(harness.now + half));
    harness.pass(half / 2);
    assert!(!harness.is_sent("LeaveGroup"));
    harness.pass(half / 2);
    assert!(harness.is_sent("LeaveGroup") && harness.is_sent("OffsetCommit"));
    assert_eq!(harness.state.leaves.next_deadline(true), Some(harness.now + half), "the leave's end");
    // The same where the member leaves because nobody polls.
    let mut harness = Harness::stable(config());
    live(&mut harness, INTERVAL * 99);
    harness.state.commit(harness.now, offsets(1), &ottla_cluster::Metadata::default()).unwrap();
    live(&mut harness, INTERVAL);
    assert!(matches!(harness.event(), Some(GroupEvent::Lost { .. })));
    assert!(harness.is_sent("OffsetCommit") && !harness.is_sent("LeaveGroup"));
    harness.pass(Duration::from_secs(15));
    assert!(harness.is_sent("LeaveGroup"));
}

#[test]
fn a_leave_that_waits_for_a_coordinator_wakes_nobody_before_its_end() {
    let mut harness = Harness::stable(config());
    let now = harness.now;
    harness.pass(INTERVAL);
    harness.fail("Heartbeat", no_answer());
    harness.leave(Duration::from_secs(10));
    harness.pass(Duration::from_secs(6));
    assert_eq!(harness.state.next_deadline(), Some(now + INTERVAL + Duration::from_secs(10)));
    harness.found();
    assert!(harness.is_sent("LeaveGroup"));
}

#[test]
fn a_leave_that_is_not_answered_ends_with_its_time() {
    let mut harness = Harness::stable(config());
    harness.leave(Duration::from_secs(10));
    assert_eq!(harness.state.next_deadline(), Some(harness.now + Duration::from_secs(10)));
    harness.pass(Duration::from_secs(10));
    assert!(matches!(harness.state.leaves.take_results()[..], [(1, Err(Error::TimedOut { .. }))]));
    assert_eq!(harness.state.next_deadline(), None, "nothing is left to do");
    // An answer that comes later is nobody's.
    harness.answer_leave(ErrorCode::None);
    assert!(harness.state.leaves.take_results().is_empty());
}

#[test]
fn a_leave_follows_the_coordinator_that_moves() {
    let mut harness = Harness::stable(config());
    harness.leave(Duration::from_secs(10));
    let asks = harness.asks;
    harness.answer_leave(ErrorCode::NotCoordinator);
    assert_eq!((harness.asks, harness.disconnects), (asks + 1, 1), "it is looked for at once");
    harness.found();
    harness.pass(Duration::from_secs(1));
    let (to, _) = harness.sent.front().expect("it is asked in its turn");
    assert_eq!(Some(*to), harness.state.coordinator.known());
    harness.answer_leave(ErrorCode::None);
    assert!(matches!(harness.state.leaves.take_results()[..], [(1, Ok(()))]));
    assert_eq!(harness.state.next_deadline(), None, "nothing is left to do");
}

#[test]
fn a_leave_is_tried_again_with_back_off_until_its_time_is_over() {
    let mut harness = Harness::stable(config());
    let end = harness.now + Duration::from_secs(10);
    harness.leave(Duration::from_secs(10));
    let mut last = Duration::ZERO;
    for _ in 0..3 {
        harness.answer_leave(ErrorCode::CoordinatorLoadInProgress);
        let wait = harness.state.next_deadline().unwrap() - harness.now;
        assert!(wait > last && !harness.is_sent("LeaveGroup"), "a longer wait than before");
        last = wait;
        harness.pass(wait);
        assert!(harness.is_sent("LeaveGroup"));
    }
    harness.fail("LeaveGroup", no_answer());
    harness.pass(end - harness.now);
    let results = harness.state.leaves.take_results();
    let [(1, Err(Error::TimedOut { source: Some(source), .. }))] = &results[..] else { panic!("{results:?}") };
    assert!(matches!(**source, Error::NoAnswer { .. }), "the last attempt's: {source}");
    assert_eq!(harness.state.next_deadline(), None);
}

#[test]
fn a_leave_that_is_cut_off_with_the_coordinator_goes_to_the_next() {
    let mut harness = Harness::stable(config());
    harness.state.commit(harness.now, offsets(1), &ottla_cluster::Metadata::default()).unwrap();
    harness.leave(Duration::from_secs(10));
    harness.pass(Duration::from_secs(5));
    assert!(harness.is_sent("OffsetCommit") && harness.is_sent("LeaveGroup"));
    super::answer_commit(&mut harness, ErrorCode::NotCoordinator);
    assert_eq!((harness.disconnects, harness.is_sent("LeaveGroup")), (1, false));
    harness.found();
    harness.pass(Duration::from_secs(1));
    harness.answer_leave(ErrorCode::UnknownMemberId);
    assert!(matches!(harness.state.leaves.take_results()[..], [(1, Ok(()))]), "it had been taken in before");
}

#[test]
fn a_leave_for_which_no_coordinator_is_named_has_failed() {
    let mut harness = Harness::stable(config());
    harness.pass(INTERVAL);
    harness.fail("Heartbeat", no_answer());
    harness.leave(Duration::from_secs(10));
    let error_code = ErrorCode::GroupAuthorizationFailed;
    harness.state.handle_coordinator(harness.now, Err(Error::FindCoordinator { group: "group".into(), error_code }));
    harness.run();
    let results = harness.state.leaves.take_results();
    assert!(matches!(results[..], [(1, Err(Error::FindCoordinator { .. }))]), "{results:?}");
    assert!(!harness.is_sent("LeaveGroup"));
}

#[test]
fn what_goes_wrong_with_the_one_that_leaves_counts_also_where_the_request_is_well() {
    let mut harness = Harness::stable(config());
    harness.leave(Duration::from_secs(10));
    let (from, request) = harness.take("LeaveGroup");
    let Outgoing::LeaveGroup { number, .. } = request else { unreachable!() };
    let error_code = ErrorCode::GroupAuthorizationFailed;
    let members = vec![LeaveGroupMemberResponse { error_code, ..LeaveGroupMemberResponse::default() }];
    let response = LeaveGroupResponse { members, ..LeaveGroupResponse::default() };
    harness.answer(from, Incoming::LeaveGroup { number, answer: Ok(response) });
    let results = harness.state.leaves.take_results();
    assert!(matches!(results[..], [(1, Err(Error::Refused { .. }))]), "{results:?}");
}

/// One that leads a group of two, and whose assignment is to be made.
fn leading(config: GroupConfig, subscriptions: [(&str, Bytes); 2], skip_assignment: bool) -> Harness {
    let mut harness = Harness::preparing(config, &[]);
    let members = subscriptions.map(|(member_id, metadata)| JoinGroupResponseMember {
        member_id: member_id.to_owned(),
        metadata,
        ..JoinGroupResponseMember::default()
    });
    harness.answer_join_with(JoinGroupResponse {
        generation_id: GenerationId(5),
        protocol_name: Some("all-to-one".to_owned()),
        leader: "member".to_owned(),
        member_id: "member".to_owned(),
        members: members.into(),
        skip_assignment,
        ..JoinGroupResponse::default()
    });
    harness
}

fn wanting(topic: &str, owned: &[i32], version: i16) -> Bytes {
    let subscription = Subscription {
        topics: [topic].into_iter().collect(),
        owned_partitions: owned.iter().map(|partition| (topic, *partition)).collect(),
        ..Subscription::default()
    };
    subscription.encode(version).unwrap()
}

fn topics(counts: &[(&str, i32)]) -> Topics {
    Topics(counts.iter().map(|(name, count)| (Arc::from(*name), TopicPartitions::new(*count))).collect())
}

/// Runs the leader's job on those topics.
fn assign(harness: &mut Harness, known: &Topics) {
    let (attempt, job) = harness.jobs.pop().unwrap();
    harness.state.group.handle_assigned(harness.now, attempt, job.run(known.clone()));
    harness.run();
}

#[test]
fn the_leader_assigns_to_all_in_the_version_that_all_can_read() {
    let members = [("member", wanting(TOPIC, &[], 3)), ("older", wanting(TOPIC, &[], 1))];
    let mut harness = leading(config(), members, false);
    assign(&mut harness, &topics(&[(TOPIC, 2)]));
    let (_, Outgoing::SyncGroup { request, .. }) = harness.sent.back().unwrap() else { panic!("no SyncGroup") };
    assert_eq!(request.assignments.len(), 2);
    assert_eq!(request.assignments[0].assignment[..2], [0, 1]);
    let first = Assignment::decode(request.assignments[0].assignment.clone()).unwrap();
    assert_eq!(first.partitions.partitions().count(), 2);
    harness.answer_sync(ErrorCode::None);
    let Some(GroupEvent::Assigned(assigned)) = harness.event() else { panic!("not assigned") };
    let group = assigned.group.unwrap();
    assert_eq!((&*group[0].member_id, group[0].partitions.len()), ("member", 2));
    assert_eq!((&*group[1].member_id, group[1].partitions.len()), ("older", 0));
}

#[test]
fn the_leader_names_the_member_whose_subscription_cannot_be_read() {
    let members = [("member", wanting(TOPIC, &[], 3)), ("broken", Bytes::from_static(b"\0\x01\x7f\xff\xff\xff"))];
    let mut harness = leading(config(), members, false);
    let failed = harness.event();
    let Some(GroupEvent::Failed(Error::Subscription { member_id, .. })) = &failed else { panic!("{failed:?}") };
    assert_eq!(&**member_id, "broken");
}

#[test]
fn a_static_leader_that_comes_back_does_not_assign_but_watches() {
    let members = [("member", wanting(TOPIC, &[], 3)), ("other", wanting(TOPIC, &[], 3))];
    let mut harness = leading(fixed(), members, true);
    assign(&mut harness, &topics(&[(TOPIC, 2)]));
    let (_, Outgoing::SyncGroup { request, .. }) = harness.sent.back().unwrap() else { panic!("no SyncGroup") };
    assert!(request.assignments.is_empty());
    harness.answer_sync(ErrorCode::None);
    let Some(GroupEvent::Assigned(assigned)) = harness.event() else { panic!("not assigned") };
    assert_eq!(assigned.group, None);
    harness.state.group.handle_topics(&topics(&[(TOPIC, 3)]));
    assert!(harness.state.group.is_rebalance_pending());
}

#[test]
fn the_leader_wants_a_rebalance_when_a_topic_is_not_as_it_was() {
    let members = || [("member", wanting(TOPIC, &[], 3)), ("other", wanting("other", &[], 3))];
    let cases = [
        (vec![(TOPIC, 2)], None),
        (vec![(TOPIC, 2), ("unrelated", 1)], None),
        (vec![(TOPIC, 3)], Some(TOPIC)),
        (vec![(TOPIC, 2), ("other", 1)], Some("other")),
        (vec![], Some(TOPIC)),
    ];
    for (known, changed) in cases {
        for is_stable in [true, false] {
            let mut harness = leading(config(), members(), false);
            assign(&mut harness, &topics(&[(TOPIC, 2)]));
            if is_stable {
                harness.answer_sync(ErrorCode::None);
            }
            harness.state.group.handle_topics(&topics(&known));
            if !is_stable {
                // What changed before there was an assignment counts as well.
                harness.answer_sync(ErrorCode::None);
            }
            assert!(matches!(harness.event(), Some(GroupEvent::Assigned(_))));
            let needed = match harness.event() {
                Some(GroupEvent::RebalanceNeeded { reason: RebalanceReason::MetadataChanged { topic } }) => Some(topic),
                _ => None,
            };
            assert_eq!(needed.as_deref(), changed, "{known:?}");
        }
    }
}

#[test]
fn an_assignors_result_is_checked() {
    let cooperative = || config();
    let mut eager = config();
    eager.assignors = vec![Arc::new(AllToOne(RebalanceProtocol::Eager))];
    let cases = [
        (cooperative(), wanting(TOPIC, &[], 3), wanting("other", &[], 3), "subscribe"),
        (cooperative(), wanting("other", &[], 3), wanting(TOPIC, &[], 3), "subscribe"),
        (cooperative(), wanting(TOPIC, &[], 3), wanting(TOPIC, &[1], 3), "still owns"),
        (cooperative(), wanting(TOPIC, &[1], 3), wanting(TOPIC, &[1], 3), ""),
        (eager, wanting(TOPIC, &[], 3), wanting(TOPIC, &[1], 3), ""),
    ];
    for (config, one, other, fault) in cases {
        let known = if fault == "subscribe" { topics(&[(TOPIC, 2), ("other", 1)]) } else { topics(&[(TOPIC, 2)]) };
        let mut harness = leading(config, [("member", one), ("other", other)], false);
        assign(&mut harness, &known);
        match harness.event() {
            Some(GroupEvent::Failed(Error::InvalidAssignment { fault: told, .. })) => {
                assert!(!fault.is_empty() && told.to_string().contains(fault), "{told}");
            }
            event => assert!(event.is_none() && fault.is_empty(), "{fault}: {event:?}"),
        }
    }
    let fault = AssignmentFault::ResultCount { members: 2, results: 1 };
    assert_eq!(fault.to_string(), "2 members, but 1 results");
}

#[test]
fn a_refusal_names_the_coordinator() {
    let mut harness = Harness::preparing(config(), &[]);
    harness.answer_join(ErrorCode::GroupMaxSizeReached);
    let Some(GroupEvent::Failed(error)) = harness.event() else { panic!("not failed") };
    assert!(matches!(error, Error::Refused { node: NODE, .. }));
    assert_eq!(error.to_string(), "JoinGroup of group group was refused by coordinator 1: GROUP_MAX_SIZE_REACHED (81)");
}

#[test]
fn a_rebalance_that_is_asked_for_is_told_once() {
    let mut harness = Harness::stable(config());
    harness.state.group.rejoin("first");
    harness.state.group.rejoin("second");
    let reason = RebalanceReason::Requested { reason: "first".into() };
    assert!(matches!(harness.event(), Some(GroupEvent::RebalanceNeeded { reason: told }) if told == reason));
    assert!(harness.event().is_none());
    let mut nobody = Harness::new(config());
    nobody.state.group.rejoin("nothing to rejoin");
    assert!(nobody.event().is_none());
}
