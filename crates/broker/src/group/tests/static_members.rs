//! Static members (KIP-345, KIP-814).

use super::*;

/// A stable group whose leader, `old`, has the instance id `instance`.
fn with_static_leader() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.join_static("instance", "old");
    fixture.join_new("other");
    fixture.pass(Duration::ZERO);
    fixture.sync("other");
    fixture.sync("old");
    fixture
}

#[test]
fn a_static_leader_that_comes_back_leads_on_without_a_rebalance() {
    let mut fixture = with_static_leader();
    let joined = fixture.join_static("instance", "new");
    let answer = fixture.joined(joined);
    assert_eq!((answer.error_code, answer.generation_id.0), (ErrorCode::None, 1));
    assert_eq!((answer.member_id.as_str(), answer.leader.as_str()), ("new", "new"));
    assert!(answer.skip_assignment);
    assert_eq!(answer.members.len(), 2);
    assert_eq!(fixture.group.state(), GroupState::Stable);
    let sync = fixture.sync("new");
    assert_eq!(fixture.synced(sync).assignment, b"of old"[..], "it has what it had");
    let written = fixture.written.unwrap();
    assert_eq!(written.leader.as_deref(), Some("new"));
    assert!(written.members.iter().any(|member| member.instance_id.as_deref() == Some("instance")));
}

#[test]
fn a_client_that_cannot_skip_the_assignment_is_not_told_that_it_leads() {
    let mut fixture = with_static_leader();
    let join = fixture.request("");
    let (instance_id, new_member_id) = (Some("instance".to_owned()), "new".to_owned());
    let joined = fixture.handle_join(Join { new_member_id, instance_id, can_skip_assignment: false, ..join });
    let answer = fixture.joined(joined);
    assert_eq!((answer.member_id.as_str(), answer.leader.as_str()), ("new", "old"));
    assert!(!answer.skip_assignment && answer.members.is_empty());
}

#[test]
fn the_old_id_is_fenced() {
    let mut fixture = with_static_leader();
    fixture.join_static("instance", "new");
    let beat = |fixture: &mut Fixture, instance_id| {
        fixture.group.handle_heartbeat(fixture.now, "old", instance_id, 1).unwrap_err()
    };
    assert_eq!(beat(&mut fixture, Some("instance")), ErrorCode::FencedInstanceId);
    assert_eq!(beat(&mut fixture, None), ErrorCode::UnknownMemberId);
    let join = fixture.request("old");
    let joined = fixture.handle_join(Join { instance_id: Some("instance".to_owned()), ..join });
    assert_eq!(fixture.joined(joined).error_code, ErrorCode::FencedInstanceId);
    let committer = Committer { member_id: "old", instance_id: Some("instance"), generation_id: 1 };
    assert_eq!(fixture.group.handle_commit(fixture.now, committer), Err(ErrorCode::FencedInstanceId));
    let leave = Leave { member_id: "old".to_owned(), instance_id: Some("instance".to_owned()) };
    assert_eq!(fixture.group.handle_leave(fixture.now, &[leave]), Ok(vec![ErrorCode::FencedInstanceId]));
}

#[test]
fn what_waits_under_the_old_id_is_fenced() {
    let mut fixture = Fixture::new();
    let joining = fixture.join_static("instance", "old");
    let joined = fixture.join_static("instance", "new");
    let answer = fixture.joined(joining);
    assert_eq!((answer.error_code, answer.member_id.as_str()), (ErrorCode::FencedInstanceId, "old"));
    fixture.pass(Duration::ZERO);
    assert_eq!(fixture.joined(joined).leader, "new");

    let mut fixture = Fixture::new();
    fixture.join_new("leader");
    fixture.join_static("instance", "old");
    fixture.pass(Duration::ZERO);
    let syncing = fixture.sync("old");
    let joined = fixture.join_static("instance", "new");
    assert_eq!(fixture.synced(syncing).error_code, ErrorCode::FencedInstanceId);
    assert_eq!(fixture.group.state(), GroupState::PreparingRebalance, "the leader assigns to an id that is gone");
    fixture.rejoin("leader");
    assert_eq!(fixture.joined(joined).generation_id.0, 2);
}

#[test]
fn a_return_that_changes_the_protocol_has_all_rejoin() {
    let mut fixture = Fixture::new();
    let join = fixture.request("");
    let instance_id = Some("instance".to_owned());
    fixture.handle_join(Join {
        instance_id: instance_id.clone(),
        new_member_id: "old".to_owned(),
        protocols: protocols(&["range", "sticky"]),
        ..join
    });
    fixture.pass(Duration::ZERO);
    fixture.sync("old");
    let join = fixture.request("");
    let (new_member_id, protocols) = ("new".to_owned(), protocols(&["sticky", "range"]));
    let joined = fixture.handle_join(Join { new_member_id, instance_id, protocols, ..join });
    let answer = fixture.joined(joined);
    assert_eq!((answer.generation_id.0, answer.protocol_name.as_deref()), (2, Some("sticky")));
}

#[test]
fn a_return_that_cannot_be_written_has_not_happened() {
    let mut fixture = with_static_leader();
    fixture.writes_are_safe = false;
    let joined = fixture.join_static("instance", "new");
    assert!(fixture.waits(joined));
    let written = fixture.unsafe_writes.remove(0);
    fixture.group.handle_write_failed(fixture.now, written, ErrorCode::CoordinatorNotAvailable);
    fixture.carry_out();
    let answer = fixture.joined(joined);
    assert_eq!((answer.error_code, answer.member_id.as_str()), (ErrorCode::CoordinatorNotAvailable, ""));
    assert_eq!(fixture.member_ids(), ["old", "other"]);
    assert_eq!(fixture.group.leader.as_deref(), Some("old"));
    assert_eq!(fixture.group.handle_heartbeat(fixture.now, "old", Some("instance"), 1), Ok(()));
}

#[test]
fn a_return_that_is_overtaken_by_a_rebalance_is_answered_by_it() {
    let mut fixture = with_static_leader();
    fixture.writes_are_safe = false;
    let joined = fixture.join_static("instance", "new");
    let third = fixture.join_new("third");
    let written = fixture.unsafe_writes.remove(0);
    fixture.group.handle_written(fixture.now, written);
    fixture.carry_out();
    assert!(fixture.waits(joined));
    fixture.rejoin("other");
    assert_eq!(fixture.joined(joined).generation_id.0, 2);
    assert_eq!(fixture.joined(third).generation_id.0, 2);
}

#[test]
fn a_static_member_is_in_the_next_generation_without_rejoining_until_its_session_ends() {
    let mut fixture = with_static_leader();
    let third = fixture.join_new("third");
    let other = fixture.rejoin("other");
    for _ in 0..6 {
        fixture.pass(just_under(REBALANCE / 6));
        let generation_id = fixture.group.generation_id;
        let beat = fixture.group.handle_heartbeat(fixture.now, "old", Some("instance"), generation_id);
        assert_eq!(beat, Err(ErrorCode::RebalanceInProgress));
    }
    fixture.pass(6 * MILLISECOND);
    assert_eq!(fixture.joined(third).leader, "other", "the leader has not joined");
    assert_eq!(fixture.joined(other).members.len(), 3);
    fixture.pass(SESSION);
    assert_eq!(fixture.member_ids(), Vec::<&str>::new(), "nobody was heard of any more");
}

#[test]
fn an_administrator_takes_an_instance_out() {
    let mut fixture = with_static_leader();
    let instance = |instance_id: &str| Leave { member_id: String::new(), instance_id: Some(instance_id.to_owned()) };
    let codes = fixture.group.handle_leave(fixture.now, &[instance("instance"), instance("stranger")]);
    assert_eq!(codes, Ok(vec![ErrorCode::None, ErrorCode::UnknownMemberId]));
    assert_eq!(fixture.member_ids(), ["other"]);
    assert_eq!(fixture.group.state(), GroupState::PreparingRebalance);
}
