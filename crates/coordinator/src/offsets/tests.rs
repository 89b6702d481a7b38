//! Commits in their order, and lookups that never take an error for "nothing is committed".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ottla_cluster::Backoff;
use ottla_wire::messages::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic, OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_wire::{ErrorCode, GenerationId, LeaderEpoch, NodeId, TopicId, TopicPartition};

use super::commit::{CommitQueue, Consequences, NextCommit, Stamp};
use super::fetch::Lookups;
use crate::classic::{Identity, MembershipView};
use crate::state::harness::{NODE, TOPIC, no_answer, origin};
use crate::{Error, OffsetAndMetadata};

const TIMEOUT: Duration = Duration::from_mins(1);

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(1), Rng::with_seed(1))
}

fn queue() -> (CommitQueue, Instant) {
    (CommitQueue::new("group".into(), backoff()), origin())
}

fn stamp(generation: i32) -> Stamp {
    let identity = Identity { member_id: "member".into(), generation_id: GenerationId(generation) };
    Stamp { identity, group_instance_id: None }
}

type Offsets = BTreeMap<TopicPartition, OffsetAndMetadata>;

fn offsets(offsets: &[(i32, i64)]) -> Offsets {
    let offset =
        |(partition, offset): &(i32, i64)| (TopicPartition::new(TOPIC, *partition), OffsetAndMetadata::new(*offset));
    offsets.iter().map(offset).collect()
}

fn enqueue(queue: &mut CommitQueue, now: Instant, generation: i32, committed: &[(i32, i64)]) -> u64 {
    queue.enqueue(now, stamp(generation), offsets(committed), BTreeMap::new(), TIMEOUT).0
}

/// The partitions and offsets that a request commits.
fn committed(request: &OffsetCommitRequest) -> Vec<(i32, i64)> {
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| (partition.partition_index, partition.committed_offset)).collect()
}

fn answer(
    queue: &mut CommitQueue,
    now: Instant,
    next: &NextCommit,
    code: impl Fn(i32) -> Option<ErrorCode>,
) -> Consequences {
    let topics = next.request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().filter_map(|partition| {
            let (partition_index, error_code) = (partition.partition_index, code(partition.partition_index)?);
            Some(OffsetCommitResponsePartition { partition_index, error_code })
        });
        let (name, topic_id) = (topic.name.clone(), topic.topic_id);
        OffsetCommitResponseTopic { name, topic_id, partitions: partitions.collect() }
    });
    let response = OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() };
    queue.handle_answer(now, next.number, NODE, Ok(response), |_| MembershipView::Current)
}

fn results(queue: &mut CommitQueue) -> Vec<(u64, bool)> {
    queue.take_results().into_iter().map(|(id, result)| (id.0, result.is_ok())).collect()
}

#[test]
fn commits_of_one_membership_go_together_and_the_later_offset_wins() {
    let (mut queue, now) = queue();
    let first = enqueue(&mut queue, now, 1, &[(0, 5), (1, 1)]);
    let second = enqueue(&mut queue, now, 1, &[(0, 7)]);
    let third = enqueue(&mut queue, now, 2, &[(0, 3)]);
    let next = queue.next_request(now).unwrap();
    assert_eq!(committed(&next.request), [(0, 7), (1, 1)]);
    assert_eq!((next.request.generation_id_or_member_epoch, next.request.member_id.as_str()), (1, "member"));
    assert!(queue.next_request(now).is_none(), "one in flight");
    answer(&mut queue, now, &next, |_| Some(ErrorCode::None));
    assert_eq!(results(&mut queue), [(first, true), (second, true)]);
    assert!(!queue.is_done(super::CommitId(third)) && queue.is_done(super::CommitId(second)));
    let next = queue.next_request(now).unwrap();
    assert_eq!((committed(&next.request), next.request.generation_id_or_member_epoch), (vec![(0, 3)], 2));
}

#[test]
fn commits_that_know_a_topic_by_different_ids_never_go_together() {
    let (mut queue, now) = queue();
    let (old, new) = (TopicId([1; 16]), TopicId([2; 16]));
    let mut commit = |topic: &str, id: Option<TopicId>, offset| {
        let offsets = [(TopicPartition::new(topic, 0), OffsetAndMetadata::new(offset))];
        let ids = id.map(|id| (Arc::from(topic), id)).into_iter().collect();
        queue.enqueue(now, stamp(1), offsets.into(), ids, TIMEOUT);
    };
    // The first one knows nothing of the topic that the others differ about.
    commit("other", Some(TopicId([3; 16])), 1);
    commit(TOPIC, Some(old), 5);
    commit("other", Some(TopicId([3; 16])), 2);
    commit(TOPIC, Some(new), 7);
    let sent = |next: &NextCommit| {
        let of_topic = |topic: &OffsetCommitRequestTopic| (topic.topic_id, topic.partitions[0].committed_offset);
        next.request.topics.iter().map(of_topic).collect::<Vec<_>>()
    };
    let next = queue.next_request(now).unwrap();
    assert_eq!(sent(&next), [(TopicId([3; 16]), 2), (old, 5)]);
    answer(&mut queue, now, &next, |_| Some(ErrorCode::None));
    assert_eq!(sent(&queue.next_request(now).unwrap()), [(new, 7)]);
}

#[test]
fn each_of_the_commits_that_went_together_gets_its_own_result() {
    let (mut queue, now) = queue();
    let first = enqueue(&mut queue, now, 1, &[(0, 5)]);
    let second = enqueue(&mut queue, now, 1, &[(1, 7)]);
    let next = queue.next_request(now).unwrap();
    let code = |partition| if partition == 0 { ErrorCode::OffsetMetadataTooLarge } else { ErrorCode::None };
    answer(&mut queue, now, &next, |partition| Some(code(partition)));
    assert_eq!(results(&mut queue), [(first, false), (second, true)]);
}

#[test]
fn a_commit_that_is_tried_again_does_not_take_a_later_one_back() {
    let (mut queue, now) = queue();
    let first = enqueue(&mut queue, now, 1, &[(0, 5), (1, 3)]);
    let second = enqueue(&mut queue, now, 1, &[(1, 9)]);
    let next = queue.next_request(now).unwrap();
    let code = |partition| if partition == 0 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::None };
    answer(&mut queue, now, &next, |partition| Some(code(partition)));
    assert_eq!(results(&mut queue), [(second, true)]);
    assert!(queue.next_request(now).is_none(), "after a back-off");
    let due = queue.next_deadline(true).unwrap();
    assert!(due - now <= Duration::from_millis(120), "{:?}", due - now);
    let next = queue.next_request(due).unwrap();
    assert_eq!(committed(&next.request), [(0, 5)], "what has succeeded is not committed again");
    answer(&mut queue, due, &next, |_| Some(ErrorCode::None));
    assert_eq!(results(&mut queue), [(first, true)]);
}

#[test]
fn commits_that_fail_are_tried_again_before_those_behind_them() {
    let (mut queue, now) = queue();
    enqueue(&mut queue, now, 1, &[(0, 5)]);
    let next = queue.next_request(now).unwrap();
    enqueue(&mut queue, now, 1, &[(0, 6), (1, 1)]);
    enqueue(&mut queue, now, 2, &[(0, 7)]);
    queue.handle_answer(now, next.number, NODE, Err(no_answer()), |_| MembershipView::Current);
    let next = queue.next_request(now + TIMEOUT / 2).unwrap();
    assert_eq!(committed(&next.request), [(0, 6), (1, 1)], "what has come since goes with it, and wins");
    assert_eq!(next.request.generation_id_or_member_epoch, 1);
}

#[test]
fn a_commit_ends_with_its_time_whether_it_is_in_flight_or_not() {
    let (mut queue, now) = queue();
    let first = enqueue(&mut queue, now, 1, &[(0, 5)]);
    let next = queue.next_request(now).unwrap();
    queue.handle_answer(now, next.number, NODE, Err(no_answer()), |_| MembershipView::Current);
    let next = queue.next_request(now + TIMEOUT / 2).unwrap();
    let second = enqueue(&mut queue, now, 1, &[(0, 6)]);
    assert_eq!(queue.next_deadline(true), Some(now + TIMEOUT));
    queue.handle_timeout(now + TIMEOUT);
    let ended = queue.take_results();
    assert_eq!(ended.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [first, second]);
    let error = ended[0].1.as_ref().unwrap_err();
    assert!(matches!(error, Error::TimedOut { source: Some(_), .. }) && error.may_have_taken_effect(), "{error:?}");
    // Its answer still comes, and is nobody's.
    answer(&mut queue, now + TIMEOUT, &next, |_| Some(ErrorCode::None));
    assert!(results(&mut queue).is_empty() && queue.is_empty());
    assert_eq!(queue.next_deadline(true), None);
}

#[test]
fn a_partition_that_the_answer_leaves_out_is_committed_again() {
    let (mut queue, now) = queue();
    enqueue(&mut queue, now, 1, &[(0, 5), (1, 6)]);
    let next = queue.next_request(now).unwrap();
    answer(&mut queue, now, &next, |partition| (partition == 0).then_some(ErrorCode::None));
    assert!(results(&mut queue).is_empty());
    let next = queue.next_request(now + TIMEOUT / 2).unwrap();
    assert_eq!(committed(&next.request), [(1, 6)]);
}

#[test]
fn a_topic_keeps_the_id_that_it_had_when_the_commit_was_made() {
    let (mut queue, now) = queue();
    let id = |byte| BTreeMap::from([(Arc::from(TOPIC), TopicId([byte; 16]))]);
    queue.enqueue(now, stamp(1), offsets(&[(0, 5)]), id(1), TIMEOUT);
    queue.enqueue(now, stamp(1), offsets(&[(1, 6)]), id(1), TIMEOUT);
    queue.enqueue(now, stamp(1), offsets(&[(0, 1)]), id(2), TIMEOUT);
    let next = queue.next_request(now).unwrap();
    assert_eq!(committed(&next.request), [(0, 5), (1, 6)], "the topic was made anew: its offsets are others");
    assert_eq!(next.request.topics[0].topic_id, TopicId([1; 16]));
    assert_eq!(next.request.topics[0].name, TOPIC, "for brokers that do not know ids");
    // Brokers that do answer without names.
    let partition = |partition_index, error_code| OffsetCommitResponsePartition { partition_index, error_code };
    let topic = OffsetCommitResponseTopic {
        topic_id: TopicId([1; 16]),
        partitions: vec![partition(0, ErrorCode::None), partition(1, ErrorCode::UnknownTopicId)],
        ..OffsetCommitResponseTopic::default()
    };
    let response = OffsetCommitResponse { topics: vec![topic], ..OffsetCommitResponse::default() };
    let consequences = queue.handle_answer(now, next.number, NODE, Ok(response), |_| MembershipView::Current);
    assert_eq!(results(&mut queue).len(), 1);
    assert_eq!(consequences.stale_topics, [Arc::from(TOPIC)]);
}

#[test]
fn all_that_a_commit_says_is_written() {
    let (mut queue, now) = queue();
    let said = OffsetAndMetadata::new(5).leader_epoch(Some(LeaderEpoch(3))).metadata("note");
    let mut fixed = stamp(1);
    fixed.group_instance_id = Some("instance".into());
    queue.enqueue(now, fixed, [(TopicPartition::new(TOPIC, 0), said)].into(), BTreeMap::new(), TIMEOUT);
    let request = queue.next_request(now).unwrap().request;
    assert_eq!((request.group_id.as_str(), request.group_instance_id.as_deref()), ("group", Some("instance")));
    let partition = &request.topics[0].partitions[0];
    assert_eq!((partition.committed_offset, partition.committed_leader_epoch), (5, LeaderEpoch(3)));
    assert_eq!(partition.committed_metadata.as_deref(), Some("note"));
    queue.enqueue(now, Stamp::default(), offsets(&[(0, 1)]), BTreeMap::new(), TIMEOUT);
    queue.fail_all(&no_answer());
    assert_eq!(results(&mut queue).len(), 1, "the one in flight waits for its answer");
}

fn lookups() -> (Lookups, Instant) {
    (Lookups::new("group".into(), true, backoff()), origin())
}

fn partition(partition_index: i32, committed_offset: i64, error_code: ErrorCode) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index,
        committed_offset,
        error_code,
        ..OffsetFetchResponsePartition::default()
    }
}

fn batched(topic: OffsetFetchResponseTopics) -> OffsetFetchResponse {
    let group = OffsetFetchResponseGroup {
        group_id: "group".to_owned(),
        topics: vec![topic],
        ..OffsetFetchResponseGroup::default()
    };
    OffsetFetchResponse { groups: vec![group], ..OffsetFetchResponse::default() }
}

#[test]
fn nothing_is_committed_only_where_the_coordinator_says_so() {
    let (mut lookups, now) = lookups();
    let wanted = (0..3).map(|index| TopicPartition::new(TOPIC, index)).collect();
    lookups.begin(now, wanted, TIMEOUT);
    let asked = lookups.next_request(now, |_| None).unwrap();
    assert!(lookups.next_request(now, |_| None).is_none(), "once");
    // One is known, one has none, and one may have: its transaction is under way.
    let partitions = vec![
        partition(0, 7, ErrorCode::None),
        partition(1, -1, ErrorCode::None),
        partition(2, -1, ErrorCode::UnstableOffsetCommit),
    ];
    let topic =
        OffsetFetchResponseTopics { name: TOPIC.to_owned(), partitions, ..OffsetFetchResponseTopics::default() };
    lookups.handle_answer(now, &asked, NODE, Ok(batched(topic)));
    assert!(lookups.take_results().is_empty());
    let again = lookups.next_request(now + TIMEOUT / 2, |_| None).unwrap();
    let request = again.wanted.request(true, true);
    let topics = request.groups[0].topics.as_ref().unwrap();
    assert_eq!(topics[0].partition_indexes, [2], "the others are known");
    assert!(request.require_stable && !again.wanted.request(true, false).require_stable);
    let topic = OffsetFetchResponseTopics {
        name: TOPIC.to_owned(),
        partitions: vec![partition(2, 9, ErrorCode::None)],
        ..OffsetFetchResponseTopics::default()
    };
    lookups.handle_answer(now, &again, NODE, Ok(batched(topic)));
    let (_, found) = lookups.take_results().pop().unwrap();
    let found: Vec<_> = found.unwrap().into_values().map(|found| found.map(|found| found.offset)).collect();
    assert_eq!(found, [Some(7), None, Some(9)]);
}

#[test]
fn an_answer_that_leaves_a_partition_out_says_nothing_of_it() {
    let (mut lookups, now) = lookups();
    lookups.begin(now, [TopicPartition::new(TOPIC, 0)].into(), TIMEOUT);
    let asked = lookups.next_request(now, |_| None).unwrap();
    lookups.handle_answer(now, &asked, NODE, Ok(OffsetFetchResponse::default()));
    assert!(lookups.take_results().is_empty() && !lookups.is_empty());
    assert!(lookups.next_deadline(true).unwrap() < now + TIMEOUT);
    assert_eq!(lookups.next_deadline(false), Some(now + TIMEOUT), "there is nobody to ask");
    lookups.handle_timeout(now + TIMEOUT);
    let (_, failed) = lookups.take_results().pop().unwrap();
    let error = failed.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("says nothing of topic-0"), "{source}");
}

#[test]
fn all_forms_of_the_answer_are_read() {
    let id = TopicId([1; 16]);
    let one = || vec![partition(0, 7, ErrorCode::None)];
    let old_topic = OffsetFetchResponseTopic { name: TOPIC.to_owned(), partitions: one() };
    let old = OffsetFetchResponse { topics: vec![old_topic], ..OffsetFetchResponse::default() };
    let named =
        OffsetFetchResponseTopics { name: TOPIC.to_owned(), partitions: one(), ..OffsetFetchResponseTopics::default() };
    let by_id = OffsetFetchResponseTopics { topic_id: id, partitions: one(), ..OffsetFetchResponseTopics::default() };
    for answer in [old, batched(named), batched(by_id)] {
        let (mut lookups, now) = lookups();
        lookups.begin(now, [TopicPartition::new(TOPIC, 0)].into(), TIMEOUT);
        let asked = lookups.next_request(now, |_| Some(id)).unwrap();
        lookups.handle_answer(now, &asked, NODE, Ok(answer));
        assert!(matches!(lookups.take_results()[..], [(_, Ok(_))]));
    }
    // A topic that was made anew under the same name is another.
    let (mut lookups, now) = lookups();
    lookups.begin(now, [TopicPartition::new(TOPIC, 0)].into(), TIMEOUT);
    let asked = lookups.next_request(now, |_| Some(TopicId([2; 16]))).unwrap();
    let other = OffsetFetchResponseTopics { topic_id: id, partitions: one(), ..OffsetFetchResponseTopics::default() };
    lookups.handle_answer(now, &asked, NODE, Ok(batched(other)));
    assert!(lookups.take_results().is_empty());
    let old = asked.wanted.request(false, false);
    assert_eq!((old.group_id.as_str(), old.topics.unwrap().len(), old.groups.len()), ("group", 1, 0));
}

#[test]
fn an_answer_to_a_lookup_that_was_abandoned_or_asked_again_is_nobodys() {
    let (mut lookups, now) = lookups();
    let lookup = lookups.begin(now, [TopicPartition::new(TOPIC, 0)].into(), TIMEOUT);
    let asked = lookups.next_request(now, |_| None).unwrap();
    lookups.handle_answer(now, &asked, NodeId(2), Err(no_answer()));
    let again = lookups.next_request(now + TIMEOUT / 2, |_| None).unwrap();
    let topic = || OffsetFetchResponseTopics {
        name: TOPIC.to_owned(),
        partitions: vec![partition(0, 7, ErrorCode::None)],
        ..OffsetFetchResponseTopics::default()
    };
    lookups.handle_answer(now, &asked, NODE, Ok(batched(topic())));
    assert!(lookups.take_results().is_empty(), "late");
    lookups.abandon(lookup);
    lookups.handle_answer(now, &again, NODE, Ok(batched(topic())));
    assert!(lookups.take_results().is_empty() && lookups.is_empty());
}
