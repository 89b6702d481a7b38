//! A test for each line of the table in `merge`.

use std::sync::Arc;

use ottla_wire::messages::{MetadataBroker, MetadataPartition, MetadataResponse, MetadataTopic};
use ottla_wire::{ErrorCode, LeaderEpoch, NodeId, TopicId};

use super::merge::{Merged, forget_topics, merge, observe_leader, observe_node};
use super::*;
use crate::Address;

const ID: TopicId = TopicId([1; 16]);
const OTHER_ID: TopicId = TopicId([2; 16]);

fn broker(node: i32) -> MetadataBroker {
    MetadataBroker { node_id: NodeId(node), host: format!("b{node}"), port: 9092, rack: None }
}

fn partition(index: i32, leader: i32, epoch: i32) -> MetadataPartition {
    let (leader_id, leader_epoch) = (NodeId(leader), LeaderEpoch(epoch));
    MetadataPartition { partition_index: index, leader_id, leader_epoch, ..Default::default() }
}

fn topic(id: TopicId, partitions: &[MetadataPartition]) -> MetadataTopic {
    let name = Some("t".to_owned());
    MetadataTopic { name, topic_id: id, partitions: partitions.into(), ..Default::default() }
}

fn failed(id: TopicId, error_code: ErrorCode) -> MetadataTopic {
    MetadataTopic { error_code, ..topic(id, &[]) }
}

fn answer(topics: impl IntoIterator<Item = MetadataTopic>) -> MetadataResponse {
    MetadataResponse {
        brokers: vec![broker(1), broker(2), broker(3)],
        cluster_id: Some("cluster".to_owned()),
        controller_id: NodeId(2),
        topics: topics.into_iter().collect(),
        ..Default::default()
    }
}

fn after(answers: impl IntoIterator<Item = MetadataTopic>) -> Metadata {
    answers.into_iter().fold(Metadata::default(), |known, topic| merged(&known, answer([topic])))
}

fn merged(known: &Metadata, answer: MetadataResponse) -> Metadata {
    merge(known, answer, false).unwrap().metadata
}

#[allow(clippy::unnecessary_wraps, reason = "compared with what is an option everywhere")]
fn leader(node: i32, epoch: Option<i32>) -> Option<Leader> {
    Some(Leader { node: NodeId(node), epoch: epoch.map(LeaderEpoch) })
}

#[test]
fn the_first_answer_is_taken_as_it_is() {
    let known = after([topic(ID, &[partition(1, 2, 7), partition(0, 1, 5)])]);
    assert_eq!(known.cluster_id(), Some("cluster"));
    assert_eq!(known.brokers().map(|broker| broker.node.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(known.broker(NodeId(3)).unwrap().address, Address::new("b3", 9092));
    assert_eq!(known.controller(), Some(NodeId(2)));
    assert_eq!(known.partition_count("t"), Some(2));
    assert_eq!(known.leader("t", 0), leader(1, Some(5)));
    assert_eq!(known.leader("t", 1), leader(2, Some(7)));
    assert_eq!(known.leader("t", 2), None);
    assert_eq!(known.topic_by_id(ID).unwrap().name.as_ref(), "t");
    assert!(!known.has_all_topics());
}

#[test]
fn an_answer_without_brokers_says_nothing() {
    let known = after([topic(ID, &[partition(0, 1, 5)])]);
    assert!(merge(&known, MetadataResponse::default(), false).is_none());
    let unusable = MetadataBroker { port: 0, ..broker(1) };
    assert!(merge(&known, MetadataResponse { brokers: vec![unusable], ..Default::default() }, false).is_none());
}

#[test]
fn another_cluster_makes_everything_forgotten() {
    let known = after([topic(ID, &[partition(0, 1, 5)])]);
    let other = MetadataResponse { cluster_id: Some("other".to_owned()), ..answer([]) };
    let known = merged(&known, other);
    assert_eq!((known.cluster_id(), known.topics().len()), (Some("other"), 0));
}

#[test]
fn brokers_and_controller_are_replaced() {
    let known = after([topic(ID, &[partition(0, 1, 5)])]);
    let now = MetadataResponse { brokers: vec![broker(3), broker(4)], ..answer([]) };
    let known = merged(&known, now);
    assert_eq!(known.brokers().map(|broker| broker.node.0).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(known.controller(), None, "node 2 is not among them");
    assert_eq!(known.partition_count("t"), Some(1), "what was not asked about stays");
}

#[test]
fn an_answer_about_all_topics_forgets_the_missing() {
    let known = after([topic(ID, &[partition(0, 1, 5)])]);
    let Merged { metadata, .. } = merge(&known, answer([]), true).unwrap();
    assert!(metadata.topic("t").is_none() && metadata.topic_by_id(ID).is_none() && metadata.has_all_topics());
}

#[test]
fn which_leader_stands_after_two_answers() {
    let none = TopicId::NONE;
    // The id and epoch known, the id and epoch answered, and the epoch that stands.
    let table = [
        ((ID, 5), (ID, 6), Some(6)),
        ((ID, 5), (ID, 5), Some(5)),
        ((ID, 5), (ID, 4), None),
        ((ID, 5), (OTHER_ID, 0), Some(0)),
        ((ID, 5), (ID, -1), Some(-1)),
        ((ID, -1), (ID, 0), Some(0)),
        ((ID, 5), (none, 4), None),
        ((none, 5), (ID, 4), None),
        ((none, 5), (none, 4), None),
        ((none, -1), (none, -1), Some(-1)),
    ];
    for (known, answered, stands) in table {
        let before = topic(known.0, &[partition(0, 1, known.1)]);
        let after = after([before, topic(answered.0, &[partition(0, 2, answered.1)])]);
        let expected = match stands {
            Some(epoch) => leader(2, (epoch >= 0).then_some(epoch)),
            None => leader(1, Some(known.1)),
        };
        assert_eq!(after.leader("t", 0), expected, "{known:?}, then {answered:?}");
    }
}

#[test]
fn the_id_outlives_an_answer_without_one_and_a_new_one_replaces_it() {
    let known = after([topic(ID, &[partition(0, 1, 5)]), topic(TopicId::NONE, &[partition(0, 1, 6)])]);
    assert_eq!(known.topic("t").unwrap().id, Some(ID));
    let known = merged(&known, answer([topic(OTHER_ID, &[partition(0, 1, 0)])]));
    assert_eq!(known.topic("t").unwrap().id, Some(OTHER_ID));
    assert!(known.topic_by_id(ID).is_none(), "the old id is no longer anybody's");
}

#[test]
fn partitions_are_not_taken_away_from_the_same_topic() {
    let two = [partition(0, 1, 5), partition(1, 1, 5)];
    let one = [partition(0, 1, 5)];
    assert_eq!(after([topic(ID, &two), topic(ID, &one)]).partition_count("t"), Some(2));
    assert_eq!(after([topic(ID, &two), topic(OTHER_ID, &one)]).partition_count("t"), Some(1));
    assert_eq!(after([topic(TopicId::NONE, &two), topic(TopicId::NONE, &one)]).partition_count("t"), Some(1));
}

#[test]
fn what_an_error_leaves_of_a_topic() {
    // The id known, the error, and whether the partitions stay.
    let table = [
        (ID, ErrorCode::LeaderNotAvailable, true),
        (TopicId::NONE, ErrorCode::LeaderNotAvailable, true),
        (ID, ErrorCode::UnknownTopicOrPartition, true),
        (TopicId::NONE, ErrorCode::UnknownTopicOrPartition, false),
        (ID, ErrorCode::TopicAuthorizationFailed, false),
        (ID, ErrorCode::InvalidTopicException, false),
    ];
    for (id, error, stay) in table {
        let known = after([topic(id, &[partition(0, 1, 5)]), failed(TopicId::NONE, error)]);
        assert_eq!(known.topic("t").unwrap().error, Some(error));
        assert_eq!(known.partition_count("t"), stay.then_some(1), "{error}");
        let known = merged(&known, answer([topic(id, &[partition(0, 2, 4)])]));
        let expected = if stay { leader(1, Some(5)) } else { leader(2, Some(4)) };
        assert_eq!((known.leader("t", 0), known.topic("t").unwrap().error), (expected, None), "{error}");
    }
}

#[test]
fn unsettled_topics_are_told() {
    let unsettled = |topic| merge(&Metadata::default(), answer([topic]), false).unwrap().unsettled;
    let told: Vec<Arc<str>> = vec!["t".into()];
    assert_eq!(unsettled(topic(ID, &[partition(0, 1, 5), partition(1, -1, 5)])), told);
    assert_eq!(unsettled(failed(ID, ErrorCode::LeaderNotAvailable)), told);
    assert!(unsettled(topic(ID, &[partition(0, 1, 5)])).is_empty());
    assert!(unsettled(failed(ID, ErrorCode::UnknownTopicOrPartition)).is_empty());
    assert!(unsettled(failed(ID, ErrorCode::TopicAuthorizationFailed)).is_empty());
}

#[test]
fn a_leader_that_came_with_another_answer_counts_if_it_is_newer() {
    let known = after([topic(ID, &[partition(0, 1, 5), partition(1, 1, -1)])]);
    // Partition, node and epoch observed, and whether that is news.
    let table = [
        (0, 2, Some(6), true),
        (0, 2, Some(5), false),
        (0, 2, Some(4), false),
        (0, 2, None, false),
        (0, 9, Some(6), false),
        (1, 2, Some(6), false),
        (7, 2, Some(6), false),
    ];
    for (partition, node, epoch, is_news) in table {
        let (mut now, observed) = (known.clone(), leader(node, epoch).unwrap());
        assert_eq!(observe_leader(&mut now, "t", partition, observed), is_news, "{partition} {node} {epoch:?}");
        let expected = if is_news { Some(observed) } else { known.leader("t", partition) };
        assert_eq!(now.leader("t", partition), expected);
    }
    assert!(!observe_leader(&mut known.clone(), "other", 0, leader(2, Some(6)).unwrap()));
}

#[test]
fn a_node_that_came_with_another_answer_is_taken_in() {
    let mut known = after([]);
    known = merged(&known, answer([]));
    let moved = Broker { node: NodeId(1), address: Address::new("elsewhere", 1), rack: None };
    assert!(observe_node(&mut known, moved.clone()));
    assert!(!observe_node(&mut known, moved.clone()));
    assert_eq!(known.broker(NodeId(1)), Some(&moved));
}

#[test]
fn forgotten_topics_are_forgotten_by_id_too() {
    let mut known = merge(&Metadata::default(), answer([topic(ID, &[partition(0, 1, 5)])]), true).unwrap().metadata;
    assert!(!forget_topics(&mut known, |name| name == "t"));
    assert!(forget_topics(&mut known, |_| false));
    assert!(known.topic("t").is_none() && known.topic_by_id(ID).is_none() && !known.has_all_topics());
}

#[test]
fn looking_a_topic_up_marks_it_as_used_in_all_snapshots() {
    let known = after([topic(ID, &[partition(0, 1, 5)])]);
    let newer = merged(&known, answer([topic(ID, &[partition(0, 1, 6)])]));
    let used = |metadata: &Metadata| metadata.topics["t"].used.take();
    assert!(!used(&newer));
    known.leader("t", 0);
    assert!(used(&newer));
    assert!(!used(&known));
}
