//! What every request is answered in every state.

use super::*;

const STATES: [GroupState; 5] = [
    GroupState::Empty,
    GroupState::PreparingRebalance,
    GroupState::CompletingRebalance,
    GroupState::Stable,
    GroupState::Dead,
];

/// A group in a state, which has, where it may, the members `leader` and `other`; in PreparingRebalance nobody has
/// rejoined but a third.
fn in_state(state: GroupState) -> Fixture {
    let fixture = match state {
        GroupState::Empty => {
            let mut fixture = Fixture::stable(&["gone"]);
            fixture.leave("gone");
            fixture
        }
        GroupState::PreparingRebalance => {
            let mut fixture = Fixture::stable(&["leader", "other"]);
            fixture.join_new("third");
            fixture
        }
        GroupState::CompletingRebalance => Fixture::completing(&["leader", "other"]),
        GroupState::Stable => Fixture::stable(&["leader", "other"]),
        GroupState::Dead => {
            let mut fixture = Fixture::stable(&["leader", "other"]);
            fixture.group.end(ErrorCode::NotCoordinator);
            fixture.carry_out();
            fixture
        }
    };
    assert_eq!(fixture.group.state(), state);
    fixture
}

/// What a request is answered in each of the states, in the order of [`STATES`]; `None` where it waits.
fn answers(mut ask: impl FnMut(&mut Fixture) -> Option<ErrorCode>) -> [Option<ErrorCode>; 5] {
    STATES.map(|state| ask(&mut in_state(state)))
}

fn code_of(fixture: &mut Fixture, reply: ReplyId) -> Option<ErrorCode> {
    fixture.replies.remove(&reply).map(|reply| match reply {
        Reply::Join(response) => response.error_code,
        Reply::Sync(response) => response.error_code,
    })
}

const OK: Option<ErrorCode> = Some(ErrorCode::None);
const WAITS: Option<ErrorCode> = None;
const UNKNOWN: Option<ErrorCode> = Some(ErrorCode::UnknownMemberId);
const REBALANCING: Option<ErrorCode> = Some(ErrorCode::RebalanceInProgress);
const OLD: Option<ErrorCode> = Some(ErrorCode::IllegalGeneration);
const DEAD: Option<ErrorCode> = Some(ErrorCode::CoordinatorNotAvailable);
const INCONSISTENT: Option<ErrorCode> = Some(ErrorCode::InconsistentGroupProtocol);

#[test]
fn heartbeats() {
    assert_eq!(answers(|fixture| Some(fixture.heartbeat("leader"))), [UNKNOWN, REBALANCING, OK, OK, DEAD]);
    assert_eq!(answers(|fixture| Some(fixture.heartbeat("stranger"))), [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, DEAD]);
    let of_another_generation = answers(|fixture| {
        let generation_id = fixture.group.generation_id + 1;
        fixture.group.handle_heartbeat(fixture.now, "leader", None, generation_id).err()
    });
    assert_eq!(of_another_generation, [UNKNOWN, OLD, OLD, OLD, DEAD]);
    let of_an_unknown_instance = answers(|fixture| {
        let generation_id = fixture.group.generation_id;
        fixture.group.handle_heartbeat(fixture.now, "leader", Some("instance"), generation_id).err()
    });
    assert_eq!(of_an_unknown_instance, [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, DEAD]);
}

#[test]
fn requests_for_an_assignment() {
    let sync = |member_id: &'static str, ahead: i32| {
        answers(move |fixture| {
            let reply = fixture.handle_sync(member_id, fixture.group.generation_id + ahead);
            code_of(fixture, reply)
        })
    };
    assert_eq!(sync("leader", 0), [UNKNOWN, REBALANCING, OK, OK, DEAD]);
    assert_eq!(sync("other", 0), [UNKNOWN, REBALANCING, WAITS, OK, DEAD]);
    assert_eq!(sync("stranger", 0), [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, DEAD]);
    assert_eq!(sync("other", -1), [UNKNOWN, OLD, OLD, OLD, DEAD]);
    assert_eq!(sync("other", 1), [UNKNOWN, OLD, OLD, OLD, DEAD]);
}

#[test]
fn requests_for_an_assignment_by_another_protocol() {
    let by = |protocol_type: Option<&'static str>, protocol_name: Option<&'static str>| {
        answers(move |fixture| {
            let sync = Sync {
                reply: ReplyId(1000),
                member_id: "other".to_owned(),
                instance_id: None,
                generation_id: fixture.group.generation_id,
                protocol_type: protocol_type.map(str::to_owned),
                protocol_name: protocol_name.map(str::to_owned),
                assignments: BTreeMap::new(),
            };
            fixture.group.handle_sync(sync);
            fixture.carry_out();
            code_of(fixture, ReplyId(1000))
        })
    };
    assert_eq!(by(Some("connect"), None), [UNKNOWN, INCONSISTENT, INCONSISTENT, INCONSISTENT, DEAD]);
    assert_eq!(by(None, Some("sticky")), [UNKNOWN, INCONSISTENT, INCONSISTENT, INCONSISTENT, DEAD]);
    assert_eq!(by(None, None), [UNKNOWN, REBALANCING, WAITS, OK, DEAD]);
}

#[test]
fn commits() {
    let commit = |member_id: &'static str, generation_id: Option<i32>| {
        answers(move |fixture| {
            let generation_id = generation_id.unwrap_or(fixture.group.generation_id);
            Some(fixture.commit(member_id, generation_id))
        })
    };
    assert_eq!(commit("leader", None), [UNKNOWN, OK, REBALANCING, OK, DEAD]);
    assert_eq!(commit("stranger", None), [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, DEAD]);
    assert_eq!(commit("leader", Some(77)), [UNKNOWN, OLD, OLD, OLD, DEAD]);
    assert_eq!(commit("leader", Some(-1)), [OK, OLD, OLD, OLD, DEAD]);
    assert_eq!(commit("", Some(-1)), [OK, UNKNOWN, UNKNOWN, UNKNOWN, DEAD]);
    assert_eq!(commit("", Some(0)), [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, DEAD]);
}

#[test]
fn departures() {
    assert_eq!(answers(|fixture| Some(fixture.leave("other"))), [UNKNOWN, OK, OK, OK, DEAD]);
    assert_eq!(answers(|fixture| Some(fixture.leave("stranger"))), [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, DEAD]);
    assert_eq!(answers(|fixture| Some(fixture.leave(""))), [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, DEAD]);
}

#[test]
fn joins() {
    let rejoin = |member_id: &'static str| {
        answers(move |fixture| {
            let reply = fixture.rejoin(member_id);
            code_of(fixture, reply)
        })
    };
    assert_eq!(rejoin("leader"), [UNKNOWN, WAITS, OK, WAITS, DEAD]);
    assert_eq!(rejoin("other"), [UNKNOWN, WAITS, OK, OK, DEAD]);
    assert_eq!(rejoin("stranger"), [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, DEAD]);
    let with = |change: fn(Join) -> Join| {
        answers(move |fixture| {
            let join = fixture.request("other");
            let reply = fixture.handle_join(change(join));
            code_of(fixture, reply)
        })
    };
    let of_another_type = with(|join| Join { protocol_type: "connect".to_owned(), ..join });
    assert_eq!(of_another_type, [UNKNOWN, INCONSISTENT, INCONSISTENT, INCONSISTENT, DEAD]);
    let without_a_type = with(|join| Join { protocol_type: String::new(), ..join });
    assert_eq!(without_a_type, [INCONSISTENT, INCONSISTENT, INCONSISTENT, INCONSISTENT, DEAD]);
    let without_protocols = with(|join| Join { protocols: Vec::new(), ..join });
    assert_eq!(without_protocols, [INCONSISTENT, INCONSISTENT, INCONSISTENT, INCONSISTENT, DEAD]);
    let of_others = with(|join| Join { protocols: protocols(&["sticky"]), ..join });
    assert_eq!(of_others, [UNKNOWN, INCONSISTENT, INCONSISTENT, INCONSISTENT, DEAD]);
    let of_one_more = with(|join| Join { protocols: protocols(&["sticky", "range"]), ..join });
    assert_eq!(of_one_more, [UNKNOWN, WAITS, WAITS, WAITS, DEAD], "a change of what a member can has all rejoin");
}

#[test]
fn new_members() {
    let new = |change: fn(Join) -> Join| {
        answers(move |fixture| {
            let join = fixture.request("");
            let reply = fixture.handle_join(change(Join { new_member_id: "new".to_owned(), ..join }));
            code_of(fixture, reply)
        })
    };
    assert_eq!(new(|join| join), [WAITS, WAITS, WAITS, WAITS, DEAD]);
    let required = Some(ErrorCode::MemberIdRequired);
    let careful = new(|join| Join { requires_known_member_id: true, ..join });
    assert_eq!(careful, [required, required, required, required, DEAD]);
    let of_an_instance =
        new(|join| Join { requires_known_member_id: true, instance_id: Some("instance".to_owned()), ..join });
    assert_eq!(of_an_instance, [WAITS, WAITS, WAITS, WAITS, DEAD]);
    let of_another_type = new(|join| Join { protocol_type: "connect".to_owned(), ..join });
    assert_eq!(of_another_type, [WAITS, INCONSISTENT, INCONSISTENT, INCONSISTENT, DEAD]);
}

#[test]
fn a_group_that_ends_answers_everyone_who_waits() {
    let mut fixture = Fixture::completing(&["leader", "other"]);
    let sync = fixture.sync("other");
    assert!(fixture.waits(sync));
    fixture.group.end(ErrorCode::NotCoordinator);
    fixture.carry_out();
    assert_eq!(fixture.synced(sync).error_code, ErrorCode::NotCoordinator);

    let mut fixture = in_state(GroupState::PreparingRebalance);
    let join = fixture.rejoin("leader");
    fixture.group.end(ErrorCode::NotCoordinator);
    fixture.carry_out();
    let answer = fixture.joined(join);
    assert_eq!((answer.error_code, answer.member_id.as_str()), (ErrorCode::NotCoordinator, "leader"));
}
