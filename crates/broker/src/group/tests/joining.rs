//! Who is in a generation, who leads it, and by which protocol it goes.

use super::*;

#[test]
fn the_leader_is_told_the_members_and_the_others_are_not() {
    let mut fixture = Fixture::new();
    let (first, second) = (fixture.join_new("b"), fixture.join_new("a"));
    fixture.pass(Duration::ZERO);
    let leader = fixture.joined(first);
    assert_eq!((leader.generation_id.0, leader.leader.as_str(), leader.member_id.as_str()), (1, "b", "b"));
    assert_eq!(leader.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(leader.protocol_name.as_deref(), Some("range"));
    let members = leader.members.iter().map(|member| (member.member_id.as_str(), &member.metadata[..]));
    assert_eq!(members.collect::<Vec<_>>(), [("a", &b"subscription"[..]), ("b", &b"subscription"[..])]);
    let follower = fixture.joined(second);
    assert_eq!((follower.leader.as_str(), follower.member_id.as_str(), follower.members.len()), ("b", "a", 0));
}

#[test]
fn all_get_what_the_leader_assigned_once_it_is_written() {
    let mut fixture = Fixture::completing(&["leader", "other"]);
    fixture.writes_are_safe = false;
    let (of_other, of_leader) = (fixture.sync("other"), fixture.sync("leader"));
    assert!(fixture.waits(of_other) && fixture.waits(of_leader));
    assert_eq!(fixture.group.state(), GroupState::CompletingRebalance);
    let written = fixture.unsafe_writes.remove(0);
    fixture.group.handle_written(fixture.now, written);
    fixture.carry_out();
    assert_eq!(fixture.group.state(), GroupState::Stable);
    let answer = fixture.synced(of_other);
    assert_eq!((answer.error_code, &answer.assignment[..]), (ErrorCode::None, &b"of other"[..]));
    assert_eq!(answer.protocol_name.as_deref(), Some("range"));
    assert_eq!(fixture.synced(of_leader).assignment, b"of leader"[..]);
    let written = fixture.written.unwrap();
    assert_eq!((written.generation_id, written.leader.as_deref()), (1, Some("leader")));
    let assigned = written.members.iter().map(|member| &member.assignment[..]);
    assert_eq!(assigned.collect::<Vec<_>>(), [&b"of leader"[..], &b"of other"[..]]);
}

#[test]
fn whoever_the_leader_forgets_is_assigned_nothing() {
    let mut fixture = Fixture::completing(&["leader", "other"]);
    let other = fixture.sync("other");
    let sync = Sync {
        reply: ReplyId(1000),
        member_id: "leader".to_owned(),
        instance_id: None,
        generation_id: 1,
        protocol_type: None,
        protocol_name: None,
        assignments: [("stranger".to_owned(), Bytes::from_static(b"much"))].into(),
    };
    fixture.group.handle_sync(sync);
    fixture.carry_out();
    assert_eq!(fixture.synced(other).assignment, b""[..]);
    assert_eq!(fixture.synced(ReplyId(1000)).assignment, b""[..]);
    assert_eq!(fixture.written.unwrap().members.len(), 2);
}

#[test]
fn an_assignment_that_cannot_be_written_has_all_rejoin() {
    let mut fixture = Fixture::completing(&["leader", "other"]);
    fixture.writes_are_safe = false;
    let (of_other, of_leader) = (fixture.sync("other"), fixture.sync("leader"));
    let written = fixture.unsafe_writes.remove(0);
    fixture.group.handle_write_failed(fixture.now, written, ErrorCode::CoordinatorNotAvailable);
    fixture.carry_out();
    for reply in [of_other, of_leader] {
        assert_eq!(fixture.synced(reply).error_code, ErrorCode::CoordinatorNotAvailable);
    }
    assert_eq!(fixture.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn an_assignment_that_is_overtaken_by_a_rebalance_is_dropped() {
    let mut fixture = Fixture::completing(&["leader", "other"]);
    fixture.writes_are_safe = false;
    let of_leader = fixture.sync("leader");
    let third = fixture.join_new("third");
    assert_eq!(fixture.synced(of_leader).error_code, ErrorCode::RebalanceInProgress);
    let written = fixture.unsafe_writes.remove(0);
    fixture.group.handle_written(fixture.now, written);
    fixture.carry_out();
    assert_eq!(fixture.group.state(), GroupState::PreparingRebalance);
    let joins = [fixture.rejoin("leader"), fixture.rejoin("other"), third];
    for join in joins {
        assert_eq!(fixture.joined(join).generation_id.0, 2);
    }
}

#[test]
fn a_new_member_has_those_who_wait_for_their_assignment_rejoin() {
    let mut fixture = Fixture::completing(&["leader", "other"]);
    let other = fixture.sync("other");
    fixture.join_new("third");
    assert_eq!(fixture.synced(other).error_code, ErrorCode::RebalanceInProgress);
}

#[test]
fn a_lost_answer_is_given_again() {
    let mut fixture = Fixture::completing(&["leader", "other"]);
    let (leader, other) = (fixture.rejoin("leader"), fixture.rejoin("other"));
    let leader = fixture.joined(leader);
    assert_eq!((leader.generation_id.0, leader.members.len()), (1, 2));
    assert_eq!(fixture.joined(other).members.len(), 0);
}

#[test]
fn a_request_sent_twice_is_answered_twice_alike() {
    let mut fixture = Fixture::new();
    fixture.join_new("first");
    fixture.pass(Duration::ZERO);
    let second = fixture.join_new("second");
    let again = fixture.rejoin("second");
    fixture.rejoin("first");
    let answer = fixture.joined(second);
    assert_eq!((answer.error_code, answer.generation_id.0), (ErrorCode::None, 2));
    assert_eq!(fixture.joined(again), answer);
}

#[test]
fn members_vote_for_the_protocol_they_want_most_of_those_that_all_have() {
    let mut fixture = Fixture::new();
    for (member_id, names) in [("a", ["x", "y", "z"]), ("b", ["y", "z", "w"]), ("c", ["z", "y", "v"])] {
        let join = fixture.request("");
        fixture.handle_join(Join { new_member_id: member_id.to_owned(), protocols: protocols(&names), ..join });
    }
    fixture.pass(Duration::ZERO);
    assert_eq!(fixture.group.protocol_name.as_deref(), Some("y"));
}

#[test]
fn a_protocol_that_is_named_twice_counts_once() {
    let mut fixture = Fixture::new();
    let join = fixture.request("");
    fixture.handle_join(Join { new_member_id: "a".to_owned(), protocols: protocols(&["x", "x"]), ..join });
    fixture.pass(Duration::ZERO);
    assert_eq!(fixture.group.protocol_name.as_deref(), Some("x"));
}

#[test]
fn when_the_leader_leaves_another_leads() {
    let mut fixture = Fixture::stable(&["c", "b", "a"]);
    fixture.leave("c");
    let (b, a) = (fixture.rejoin("b"), fixture.rejoin("a"));
    assert_eq!(fixture.joined(b).leader, "a");
    assert_eq!(fixture.joined(a).members.len(), 2);
}

#[test]
fn the_last_to_leave_has_an_empty_group_written() {
    let mut fixture = Fixture::stable(&["a"]);
    assert_eq!(fixture.leave("a"), ErrorCode::None);
    assert_eq!((fixture.group.state(), fixture.group.generation_id), (GroupState::Empty, 2));
    let written = fixture.written.unwrap();
    assert_eq!((written.generation_id, written.protocol_name, written.members.len()), (2, None, 0));
    assert_eq!(written.protocol_type, "consumer");
    assert_eq!(fixture.group.next_deadline(), None);
}

#[test]
fn an_id_that_was_given_out_lets_its_member_in() {
    let mut fixture = Fixture::new();
    let join = fixture.request("");
    let asked = fixture.handle_join(Join { new_member_id: "a".to_owned(), requires_known_member_id: true, ..join });
    let answer = fixture.joined(asked);
    assert_eq!((answer.error_code, answer.member_id.as_str()), (ErrorCode::MemberIdRequired, "a"));
    assert_eq!(fixture.group.state(), GroupState::Empty);
    let joined = fixture.rejoin("a");
    fixture.pass(Duration::ZERO);
    assert_eq!(fixture.joined(joined).generation_id.0, 1);
}

#[test]
fn an_id_that_was_given_out_is_waited_for_and_may_be_given_back() {
    let mut fixture = Fixture::stable(&["a"]);
    let join = fixture.request("");
    fixture.handle_join(Join { new_member_id: "b".to_owned(), requires_known_member_id: true, ..join });
    assert_eq!(fixture.group.state(), GroupState::Stable, "nobody has joined yet");
    let rejoined = fixture.rejoin("a");
    assert!(fixture.waits(rejoined), "b is on its way");
    assert_eq!(fixture.leave("b"), ErrorCode::None);
    assert_eq!(fixture.joined(rejoined).generation_id.0, 2);
}

#[test]
fn a_full_group_takes_nobody_in() {
    let limits = GroupLimits { initial_rebalance_delay: Duration::ZERO, max_size: 2 };
    let mut fixture = Fixture::with(limits);
    let (a, b) = (fixture.join_new("a"), fixture.join_new("b"));
    let c = fixture.join_new("c");
    let refused = fixture.joined(c);
    assert_eq!((refused.error_code, refused.member_id.as_str()), (ErrorCode::GroupMaxSizeReached, ""));
    fixture.pass(Duration::ZERO);
    assert_eq!((fixture.joined(a).error_code, fixture.joined(b).error_code), (ErrorCode::None, ErrorCode::None));
    let d = fixture.join_new("d");
    assert_eq!(fixture.joined(d).error_code, ErrorCode::GroupMaxSizeReached);
    let again = fixture.rejoin("a");
    assert_eq!(fixture.joined(again).error_code, ErrorCode::None);
}

#[test]
fn a_group_is_loaded_as_it_was_written() {
    let mut fixture = Fixture::stable(&["leader", "other"]);
    let metadata = fixture.written.clone().unwrap();
    let limits = fixture.group.limits;
    fixture.now += Duration::from_secs(100);
    fixture.group = Group::load("group".into(), limits, metadata.clone(), fixture.now);
    assert_eq!(fixture.group.state(), GroupState::Stable);
    assert_eq!(fixture.heartbeat("other"), ErrorCode::None);
    let sync = fixture.sync("other");
    assert_eq!(fixture.synced(sync).assignment, b"of other"[..]);
    assert_eq!(fixture.group.metadata(&BTreeMap::new()), metadata);
    assert_eq!(fixture.group.next_deadline(), Some(fixture.now + SESSION), "sessions begin anew");
    let rejoined = fixture.rejoin("other");
    assert_eq!(fixture.joined(rejoined).generation_id.0, 1);
}
