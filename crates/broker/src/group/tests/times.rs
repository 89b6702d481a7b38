//! When what happens by itself, to the millisecond.

use super::*;

const NEW_MEMBER_JOIN: Duration = Duration::from_mins(5);

#[test]
fn a_session_ends_without_heartbeats_and_not_before() {
    let mut fixture = Fixture::stable(&["leader", "other"]);
    fixture.pass(just_under(SESSION));
    assert_eq!(fixture.heartbeat("leader"), ErrorCode::None);
    assert_eq!(fixture.member_ids(), ["leader", "other"]);
    fixture.pass(MILLISECOND);
    assert_eq!(fixture.member_ids(), ["leader"]);
    assert_eq!(fixture.group.state(), GroupState::PreparingRebalance);
    assert_eq!(fixture.heartbeat("leader"), ErrorCode::RebalanceInProgress);
    assert_eq!(fixture.heartbeat("other"), ErrorCode::UnknownMemberId);
}

#[test]
fn commits_keep_a_session_alive() {
    let mut fixture = Fixture::stable(&["a"]);
    fixture.pass(just_under(SESSION));
    assert_eq!(fixture.commit("a", 1), ErrorCode::None);
    fixture.pass(just_under(SESSION));
    assert_eq!(fixture.member_ids(), ["a"]);
    fixture.pass(MILLISECOND);
    assert_eq!((fixture.member_ids(), fixture.group.state()), (Vec::new(), GroupState::Empty));
}

#[test]
fn whoever_waits_need_not_be_heard_of() {
    let mut fixture = Fixture::stable(&["leader", "other"]);
    let joined = fixture.rejoin("leader");
    for _ in 0..5 {
        fixture.pass(just_under(SESSION));
        assert_eq!(fixture.heartbeat("other"), ErrorCode::RebalanceInProgress);
    }
    assert!(fixture.waits(joined));
    fixture.rejoin("other");
    assert_eq!(fixture.joined(joined).generation_id.0, 2);
    let synced = fixture.sync("other");
    for _ in 0..5 {
        fixture.pass(just_under(SESSION));
        assert_eq!(fixture.heartbeat("leader"), ErrorCode::None);
    }
    assert!(fixture.waits(synced));
}

#[test]
fn those_who_do_not_rejoin_in_time_are_removed() {
    let mut fixture = Fixture::stable(&["leader", "other"]);
    let new = fixture.join_new("new");
    let joined = fixture.rejoin("other");
    for _ in 0..6 {
        fixture.pass(just_under(REBALANCE / 6));
        assert_eq!(fixture.heartbeat("leader"), ErrorCode::RebalanceInProgress);
    }
    fixture.pass(5 * MILLISECOND);
    assert!(fixture.waits(joined) && fixture.waits(new));
    fixture.pass(MILLISECOND);
    let answer = fixture.joined(joined);
    assert_eq!((answer.generation_id.0, answer.leader.as_str(), answer.members.len()), (2, "new", 0));
    assert_eq!(fixture.member_ids(), ["new", "other"]);
    assert_eq!(fixture.heartbeat("leader"), ErrorCode::UnknownMemberId);
}

#[test]
fn those_who_do_not_ask_for_their_assignment_in_time_are_removed() {
    let mut fixture = Fixture::completing(&["leader", "other"]);
    fixture.sync("leader");
    for _ in 0..6 {
        fixture.pass(just_under(REBALANCE / 6));
        assert_eq!(fixture.heartbeat("leader"), ErrorCode::None);
        assert_eq!(fixture.heartbeat("other"), ErrorCode::None);
    }
    fixture.pass(5 * MILLISECOND);
    assert_eq!((fixture.member_ids().len(), fixture.group.state()), (2, GroupState::Stable));
    fixture.pass(MILLISECOND);
    assert_eq!((fixture.member_ids(), fixture.group.state()), (vec!["leader"], GroupState::PreparingRebalance));
}

#[test]
fn without_the_leaders_assignment_all_rejoin_in_time() {
    let mut fixture = Fixture::completing(&["leader", "other"]);
    let synced = fixture.sync("other");
    for _ in 0..12 {
        fixture.pass(REBALANCE / 12);
        fixture.heartbeat("leader");
    }
    assert_eq!(fixture.synced(synced).error_code, ErrorCode::RebalanceInProgress);
    assert_eq!(fixture.member_ids(), ["other"]);
}

#[test]
fn when_all_have_asked_for_their_assignment_nothing_is_due_but_sessions() {
    let mut fixture = Fixture::stable(&["leader", "other"]);
    assert_eq!(fixture.group.next_deadline(), Some(fixture.now + SESSION));
    for _ in 0..20 {
        fixture.pass(just_under(SESSION));
        assert_eq!((fixture.heartbeat("leader"), fixture.heartbeat("other")), (ErrorCode::None, ErrorCode::None));
    }
    assert_eq!(fixture.group.state(), GroupState::Stable);
}

#[test]
fn a_new_member_that_is_never_answered_is_removed_in_the_end() {
    let mut fixture = Fixture::stable(&["leader"]);
    let join = fixture.request("leader");
    let rebalance_timeout = 2 * NEW_MEMBER_JOIN;
    fixture.handle_join(Join { rebalance_timeout, ..join });
    fixture.pass(Duration::ZERO);
    fixture.sync("leader");
    let new = fixture.join_new("new");
    let mut left = NEW_MEMBER_JOIN;
    while left > MILLISECOND {
        let step = just_under(SESSION).min(just_under(left));
        fixture.pass(step);
        fixture.heartbeat("leader");
        left -= step;
    }
    assert!(fixture.waits(new));
    fixture.pass(MILLISECOND);
    let answer = fixture.joined(new);
    assert_eq!((answer.error_code, answer.member_id.as_str()), (ErrorCode::UnknownMemberId, ""));
    assert_eq!(fixture.member_ids(), ["leader"]);
}

#[test]
fn an_id_that_nobody_comes_back_with_is_forgotten_after_a_session() {
    let mut fixture = Fixture::stable(&["a"]);
    let join = fixture.request("");
    fixture.handle_join(Join { new_member_id: "b".to_owned(), requires_known_member_id: true, ..join });
    let joined = fixture.rejoin("a");
    fixture.pass(just_under(SESSION));
    assert!(fixture.waits(joined));
    fixture.pass(MILLISECOND);
    assert_eq!(fixture.joined(joined).generation_id.0, 2);
    let late = fixture.rejoin("b");
    assert_eq!(fixture.joined(late).error_code, ErrorCode::UnknownMemberId);
}

#[test]
fn an_empty_group_waits_for_more_and_longer_while_they_come() {
    let delay = Duration::from_secs(3);
    let limits = GroupLimits { initial_rebalance_delay: delay, max_size: 10 };
    let mut fixture = Fixture::with(limits);
    let first = fixture.join_new("first");
    fixture.pass(just_under(delay));
    let second = fixture.join_new("second");
    fixture.pass(MILLISECOND);
    assert!(fixture.waits(first), "somebody came, so others may");
    fixture.pass(just_under(delay));
    assert!(fixture.waits(first) && fixture.waits(second));
    fixture.pass(MILLISECOND);
    assert_eq!((fixture.joined(first).generation_id.0, fixture.joined(second).generation_id.0), (1, 1));
}

#[test]
fn an_empty_group_waits_no_longer_than_its_members_give_it() {
    let delay = Duration::from_secs(3);
    let limits = GroupLimits { initial_rebalance_delay: delay, max_size: 100 };
    let mut fixture = Fixture::with(limits);
    let join = fixture.request("");
    let rebalance_timeout = Duration::from_secs(7);
    let first = fixture.handle_join(Join { new_member_id: "first".to_owned(), rebalance_timeout, ..join });
    for second in 0..7 {
        assert!(fixture.waits(first), "after {second} s");
        fixture.join_new(&format!("member-{second}"));
        fixture.pass(Duration::from_secs(1));
    }
    assert_eq!(fixture.joined(first).members.len(), 8);
}

#[test]
fn a_group_that_nobody_rejoins_waits_for_sessions_to_end() {
    let mut fixture = Fixture::new();
    fixture.join_static("instance-a", "a");
    fixture.join_static("instance-b", "b");
    fixture.pass(Duration::ZERO);
    fixture.sync("a");
    fixture.sync("b");
    let left = fixture.group.handle_leave(fixture.now, &[Leave { member_id: "a".to_owned(), instance_id: None }]);
    assert_eq!(left, Ok(vec![ErrorCode::None]));
    for _ in 0..20 {
        fixture.pass(just_under(SESSION));
        assert_eq!(fixture.heartbeat("b"), ErrorCode::RebalanceInProgress);
    }
    assert_eq!((fixture.group.state(), fixture.group.generation_id), (GroupState::PreparingRebalance, 1));
    fixture.pass(SESSION);
    assert_eq!((fixture.group.state(), fixture.group.generation_id), (GroupState::Empty, 2));
}

#[test]
fn timeouts_of_zero_do_not_spin() {
    let mut fixture = Fixture::new();
    fixture.join_static("instance-a", "a");
    fixture.join_static("instance-b", "b");
    fixture.pass(Duration::ZERO);
    fixture.sync("b");
    fixture.sync("a");
    let mut metadata = fixture.written.clone().unwrap();
    for member in &mut metadata.members {
        member.rebalance_timeout = Duration::ZERO;
    }
    fixture.group = Group::load("group".into(), fixture.group.limits, metadata, fixture.now);
    assert_eq!(fixture.leave("a"), ErrorCode::None);
    for _ in 0..3 {
        fixture.pass(Duration::ZERO);
        assert_eq!(fixture.group.state(), GroupState::PreparingRebalance);
        assert!(fixture.group.next_deadline().unwrap() > fixture.now);
    }
}
