//! The table of what each error code does in each state, as `classic` and `offsets` document it, and the rules of a
//! member's life with exact times.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::Metadata;
use ottla_wire::messages::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopics,
};
use ottla_wire::{ErrorCode, TopicPartition};

use super::harness::{Harness, TOPIC, config, no_answer};
use crate::request::{Incoming, Outgoing};
use crate::{Error, GroupConfig, OffsetAndMetadata};

/// What a coordinator may say: each code that means something to a member, and one of each other kind.
const CODES: &[ErrorCode] = &[
    ErrorCode::UnknownMemberId,
    ErrorCode::IllegalGeneration,
    ErrorCode::MemberIdRequired,
    ErrorCode::RebalanceInProgress,
    ErrorCode::FencedInstanceId,
    ErrorCode::NotCoordinator,
    ErrorCode::CoordinatorNotAvailable,
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::RequestTimedOut,
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::UnstableOffsetCommit,
    ErrorCode::GroupAuthorizationFailed,
    ErrorCode::TopicAuthorizationFailed,
    ErrorCode::GroupMaxSizeReached,
    ErrorCode::InconsistentGroupProtocol,
    ErrorCode::InvalidSessionTimeout,
    ErrorCode::InvalidGroupId,
    ErrorCode::OffsetMetadataTooLarge,
    ErrorCode::UnknownServerError,
    ErrorCode::Unknown(999),
];

fn fixed() -> GroupConfig {
    let mut config = config();
    config.group_instance_id = Some("instance".to_owned());
    config
}

/// A line for each code, and one for no answer.
fn table(mut answer: impl FnMut(Option<ErrorCode>) -> String) -> String {
    let mut table = String::new();
    for code in CODES {
        writeln!(table, "{}: {}", code.name(), answer(Some(*code))).unwrap();
    }
    writeln!(table, "no answer: {}", answer(None)).unwrap();
    table
}

/// Compares with the section of that name. Where they differ, the section as it would be now is printed.
fn check(name: &str, table: &str) {
    let tables = include_str!("../../testdata/error_codes.txt");
    let sections = tables.split("# ").filter_map(|section| section.split_once('\n'));
    let expected = sections.filter(|(title, _)| *title == name).map(|(_, lines)| lines.trim()).next();
    assert_eq!(Some(table.trim()), expected, "\n# {name}\n{table}");
}

fn join_table(owned: &[i32]) -> String {
    table(|code| {
        let mut harness = Harness::preparing(fixed(), owned);
        match code {
            Some(code) => harness.answer_join(code),
            None => harness.fail("JoinGroup", no_answer()),
        }
        harness.describe()
    })
}

#[test]
fn each_answer_to_join_group() {
    check("JoinGroup, nothing owned", &join_table(&[]));
}

#[test]
fn each_answer_to_join_group_of_a_member_that_owns_partitions() {
    check("JoinGroup, partitions owned", &join_table(&[0]));
}

fn sync_table(owned: &[i32]) -> String {
    table(|code| {
        let mut harness = Harness::completing(fixed(), owned);
        match code {
            Some(code) => harness.answer_sync(code),
            None => harness.fail("SyncGroup", no_answer()),
        }
        harness.describe()
    })
}

#[test]
fn each_answer_to_sync_group() {
    check("SyncGroup, nothing owned", &sync_table(&[]));
}

#[test]
fn each_answer_to_sync_group_of_a_member_that_owns_partitions() {
    check("SyncGroup, partitions owned", &sync_table(&[0]));
}

fn heartbeat_table(member: impl Fn() -> Harness) -> String {
    table(|code| {
        let mut harness = member();
        match code {
            Some(code) => harness.answer_heartbeat(code),
            None => harness.fail("Heartbeat", no_answer()),
        }
        harness.describe()
    })
}

#[test]
fn each_answer_to_a_heartbeat_while_sync_group_is_in_flight() {
    let member = |owned: &'static [i32]| {
        move || {
            let mut harness = Harness::completing(fixed(), owned);
            harness.pass(Duration::from_secs(3));
            harness
        }
    };
    check("Heartbeat, CompletingRebalance, nothing owned", &heartbeat_table(member(&[])));
    check("Heartbeat, CompletingRebalance, partitions owned", &heartbeat_table(member(&[0])));
}

fn beating() -> Harness {
    let mut harness = Harness::stable(fixed());
    harness.pass(Duration::from_secs(3));
    harness
}

#[test]
fn each_answer_to_a_heartbeat_of_a_stable_member() {
    check("Heartbeat, Stable", &heartbeat_table(beating));
}

#[test]
fn each_answer_to_a_heartbeat_while_a_rebalance_is_pending() {
    let member = || {
        let mut harness = beating();
        harness.state.group.rejoin("asked for");
        harness.event();
        harness
    };
    check("Heartbeat, Stable, rebalance pending", &heartbeat_table(member));
}

#[test]
fn an_answer_to_a_heartbeat_that_is_overtaken_by_join_group_changes_nothing() {
    let member = || {
        let mut harness = beating();
        harness.state.group.rejoin("asked for");
        harness.event();
        harness.state.group.join(Vec::new());
        harness.run();
        harness
    };
    check("Heartbeat, PreparingRebalance", &heartbeat_table(member));
}

#[test]
fn an_answer_to_a_heartbeat_of_a_member_that_has_left_changes_nothing() {
    let member = || {
        let mut harness = beating();
        harness.leave(Duration::from_secs(1));
        harness
    };
    check("Heartbeat, Unjoined", &heartbeat_table(member));
}

#[test]
fn each_answer_to_leave_group() {
    let table = table(|code| {
        let mut harness = Harness::stable(config());
        harness.leave(Duration::from_secs(1));
        match code {
            Some(code) => harness.answer_leave(code),
            None => harness.fail("LeaveGroup", no_answer()),
        }
        let result = match &harness.state.leaves.take_results()[..] {
            [(1, Ok(()))] => "left",
            [(1, Err(_))] => "failed",
            [] => "again",
            results => panic!("{results:?}"),
        };
        format!("{result}; {}", harness.describe())
    });
    check("LeaveGroup", &table);
}

fn offsets(offset: i64) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
    [(TopicPartition::new(TOPIC, 0), OffsetAndMetadata::new(offset))].into()
}

fn answer_commit(harness: &mut Harness, error_code: ErrorCode) {
    let (from, request) = harness.take("OffsetCommit");
    let Outgoing::OffsetCommit { number, .. } = request else { unreachable!() };
    let partitions = vec![OffsetCommitResponsePartition { partition_index: 0, error_code }];
    let topics =
        vec![OffsetCommitResponseTopic { name: TOPIC.to_owned(), partitions, ..OffsetCommitResponseTopic::default() }];
    let response = OffsetCommitResponse { topics, ..OffsetCommitResponse::default() };
    harness.answer(from, Incoming::OffsetCommit { number, answer: Ok(response) });
}

/// What becomes of a commit that is in flight, and of the member.
fn commit_table(member: impl Fn() -> Harness, meanwhile: impl Fn(&mut Harness)) -> String {
    table(|code| {
        let mut harness = member();
        harness.state.commit(harness.now, offsets(7), &Metadata::default()).unwrap();
        harness.run();
        meanwhile(&mut harness);
        match code {
            Some(code) => answer_commit(&mut harness, code),
            None => harness.fail("OffsetCommit", no_answer()),
        }
        let result = match harness.state.commits.take_results().pop() {
            None if harness.state.commits.is_empty() => "gone",
            None => "retried",
            Some((_, Ok(()))) => "committed",
            Some((_, Err(error))) => match error {
                Error::RebalanceInProgress { .. } => "RebalanceInProgress",
                Error::CommitFailed { .. } => "CommitFailed",
                Error::FencedInstanceId { .. } => "FencedInstanceId",
                Error::Refused { .. } => "Refused",
                Error::PartitionRefused { .. } => "PartitionRefused",
                _ => "another error",
            },
        };
        format!("{result}; {}", harness.describe())
    })
}

#[test]
fn each_answer_to_a_commit_of_a_stable_member() {
    check("OffsetCommit, Stable", &commit_table(|| Harness::stable(fixed()), |_| {}));
}

#[test]
fn each_answer_to_a_commit_of_a_generation_before_the_rebalance() {
    let meanwhile = |harness: &mut Harness| {
        harness.state.group.rejoin("asked for");
        harness.event();
        harness.state.group.join(Vec::new());
        harness.run();
    };
    check("OffsetCommit, PreparingRebalance", &commit_table(|| Harness::stable(fixed()), meanwhile));
}

#[test]
fn each_answer_to_a_commit_of_an_older_generation() {
    let meanwhile = |harness: &mut Harness| {
        harness.state.group.rejoin("asked for");
        harness.event();
        harness.state.group.join(Vec::new());
        harness.run();
        let (from, request) = harness.take("JoinGroup");
        let Outgoing::JoinGroup { attempt, .. } = request else { unreachable!() };
        let response = ottla_wire::messages::JoinGroupResponse {
            generation_id: ottla_wire::GenerationId(6),
            protocol_name: Some("all-to-one".to_owned()),
            leader: "leader".to_owned(),
            member_id: "member".to_owned(),
            ..ottla_wire::messages::JoinGroupResponse::default()
        };
        harness.answer(from, Incoming::JoinGroup { attempt, answer: Ok(response) });
        harness.answer_sync(ErrorCode::None);
        harness.event();
    };
    check("OffsetCommit, Stable in the next generation", &commit_table(|| Harness::stable(fixed()), meanwhile));
}

#[test]
fn each_answer_to_a_commit_without_a_membership() {
    let member = || {
        let mut harness = Harness::new(config());
        harness.state.commit(harness.now, BTreeMap::new(), &Metadata::default()).unwrap();
        harness.run();
        harness.found();
        answer_commit(&mut harness, ErrorCode::None);
        harness.state.commits.take_results();
        harness
    };
    check("OffsetCommit, without a membership", &commit_table(member, |_| {}));
}

#[test]
fn a_commit_is_refused_at_once_where_a_membership_is_needed_and_is_not_there() {
    let mut harness = Harness::preparing(config(), &[]);
    let commit = |harness: &mut Harness| harness.state.commit(harness.now, offsets(1), &Metadata::default());
    assert!(matches!(commit(&mut harness), Err(Error::RebalanceInProgress { .. })), "JoinGroup is in flight");
    harness.answer_join(ErrorCode::None);
    assert!(matches!(commit(&mut harness), Err(Error::RebalanceInProgress { .. })), "SyncGroup is in flight");
    harness.answer_sync(ErrorCode::None);
    assert!(commit(&mut harness).is_ok());
    harness.pass(Duration::from_secs(3));
    harness.answer_heartbeat(ErrorCode::UnknownMemberId);
    assert!(matches!(commit(&mut harness), Err(Error::CommitFailed { error_code: None, .. })), "it was lost");
    let negative = harness.state.commit(harness.now, offsets(-1), &Metadata::default());
    assert!(matches!(negative, Err(Error::InvalidOffset { offset: -1, .. })));
}

fn lookup_table(of_group: bool) -> String {
    table(|code| {
        let mut harness = Harness::stable(fixed());
        let wanted = [TopicPartition::new(TOPIC, 0)].into();
        harness.state.lookups.begin(harness.now, wanted, Duration::from_mins(1));
        harness.run();
        let Some(code) = code else {
            harness.fail("OffsetFetch", no_answer());
            let is_open = !harness.state.lookups.is_empty();
            return format!("{}; {}", if is_open { "retried" } else { "gone" }, harness.describe());
        };
        let (from, request) = harness.take("OffsetFetch");
        let Outgoing::OffsetFetch(asked) = request else { unreachable!() };
        let (group, partition) = if of_group { (code, ErrorCode::None) } else { (ErrorCode::None, code) };
        harness.answer(from, Incoming::OffsetFetch { asked, answer: Ok(fetched(group, partition, -1)) });
        let result = match harness.state.lookups.take_results().pop() {
            None if harness.state.lookups.is_empty() => "gone",
            None => "retried",
            Some((_, Ok(_))) => "found",
            Some((_, Err(Error::Refused { .. }))) => "Refused",
            Some((_, Err(Error::PartitionRefused { .. }))) => "PartitionRefused",
            Some((_, Err(_))) => "another error",
        };
        format!("{result}; {}", harness.describe())
    })
}

fn fetched(group: ErrorCode, partition: ErrorCode, committed_offset: i64) -> OffsetFetchResponse {
    let partition = OffsetFetchResponsePartition {
        committed_offset,
        error_code: partition,
        ..OffsetFetchResponsePartition::default()
    };
    let topic = OffsetFetchResponseTopics {
        name: TOPIC.to_owned(),
        partitions: vec![partition],
        ..OffsetFetchResponseTopics::default()
    };
    let group = OffsetFetchResponseGroup {
        group_id: "group".to_owned(),
        topics: if group == ErrorCode::None { vec![topic] } else { Vec::new() },
        error_code: group,
    };
    OffsetFetchResponse { groups: vec![group], ..OffsetFetchResponse::default() }
}

#[test]
fn each_answer_to_a_lookup() {
    check("OffsetFetch, of the group", &lookup_table(true));
    check("OffsetFetch, of a partition", &lookup_table(false));
}

#[test]
fn each_answer_to_find_coordinator() {
    let table = table(|code| {
        let mut harness = Harness::new(fixed());
        harness.state.lookups.begin(harness.now, [TopicPartition::new(TOPIC, 0)].into(), Duration::from_mins(1));
        harness.state.group.subscribe([Arc::from(TOPIC)].into());
        harness.state.group.join(Vec::new());
        harness.run();
        let error = match code {
            Some(error_code) => Error::FindCoordinator { group: "group".into(), error_code },
            None => no_answer(),
        };
        harness.state.handle_coordinator(harness.now, Err(error));
        harness.run();
        assert_eq!(harness.asks, 1, "not again at once");
        harness.pass(Duration::from_secs(2));
        let again = if harness.asks == 2 { "asked again" } else { "not asked again" };
        let lookup = if harness.state.lookups.is_empty() { "lookup failed" } else { "lookup waits" };
        format!("{again}, {lookup}; {}", harness.describe())
    });
    check("FindCoordinator", &table);
}

mod life;
