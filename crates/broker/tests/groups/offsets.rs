//! Committing offsets, and reading them.

use std::time::Duration;

use ottla_broker::{EmbeddedCluster, GroupState};
use ottla_connection::Connection;
use ottla_wire::messages::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetFetchRequest,
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponsePartition,
};
use ottla_wire::{ApiKey, ErrorCode, LeaderEpoch, NodeId, TopicId, TopicPartition};
use tokio::time::Instant;

use crate::member::{GROUP, Member, TOPIC, connect_to_coordinator, in_memory};

pub(crate) fn commit(topic_id: TopicId, partition_index: i32, committed_offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_leader_epoch: LeaderEpoch(5),
        committed_metadata: Some("kept".to_owned()),
    };
    let topic = OffsetCommitRequestTopic { name: TOPIC.to_owned(), topic_id, partitions: vec![partition] };
    OffsetCommitRequest { group_id: GROUP.to_owned(), topics: vec![topic], ..Default::default() }
}

pub(crate) fn fetch(topic_id: TopicId, partition_index: i32) -> OffsetFetchRequest {
    let topic = OffsetFetchRequestTopics { name: TOPIC.to_owned(), topic_id, partition_indexes: vec![partition_index] };
    let group = OffsetFetchRequestGroup { group_id: GROUP.to_owned(), topics: Some(vec![topic]), ..Default::default() };
    OffsetFetchRequest { groups: vec![group], ..Default::default() }
}

pub(crate) async fn committed(connection: &Connection, request: &OffsetCommitRequest) -> ErrorCode {
    connection.request(request).await.unwrap().topics[0].partitions[0].error_code
}

pub(crate) async fn fetched(connection: &Connection, request: &OffsetFetchRequest) -> OffsetFetchResponsePartition {
    let mut response = connection.request(request).await.unwrap();
    assert_eq!(response.groups[0].error_code, ErrorCode::None);
    response.groups[0].topics[0].partitions.remove(0)
}

async fn with_topic() -> (EmbeddedCluster, TopicId, Connection) {
    let cluster = in_memory().nodes(3).start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 2, 3).await.unwrap();
    let connection = connect_to_coordinator(&cluster).await;
    (cluster, topic, connection)
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_read_back() {
    let (cluster, topic, connection) = with_topic().await;
    assert_eq!(fetched(&connection, &fetch(topic, 1)).await.committed_offset, -1, "the group does not exist");
    assert_eq!(committed(&connection, &commit(topic, 1, 42)).await, ErrorCode::None);
    let read = fetched(&connection, &fetch(topic, 1)).await;
    assert_eq!((read.committed_offset, read.committed_leader_epoch), (42, LeaderEpoch(5)));
    assert_eq!((read.metadata.as_deref(), read.error_code), (Some("kept"), ErrorCode::None));
    let none = fetched(&connection, &fetch(topic, 0)).await;
    assert_eq!(
        (none.committed_offset, none.committed_leader_epoch, none.metadata.as_deref()),
        (-1, LeaderEpoch::NONE, Some(""))
    );
    let known = cluster.committed_offsets(GROUP).await.unwrap();
    let offset = &known[&TopicPartition::new(TOPIC, 1)];
    assert_eq!((offset.offset, offset.metadata.as_str(), offset.commit_timestamp_ms), (42, "kept", 1_000_000));
    assert_eq!(known.len(), 1);
    let described = cluster.describe_group(GROUP).await.unwrap();
    assert_eq!((described.state, described.protocol_type), (GroupState::Empty, None));
}

#[tokio::test(start_paused = true)]
async fn all_offsets_of_several_groups_are_read_at_once() {
    let (_cluster, topic, connection) = with_topic().await;
    for partition in [0, 1] {
        committed(&connection, &commit(topic, partition, 10 + i64::from(partition))).await;
    }
    let group = |group_id: &str| OffsetFetchRequestGroup { group_id: group_id.to_owned(), ..Default::default() };
    let all = OffsetFetchRequest { groups: vec![group(GROUP)], ..Default::default() };
    let response = connection.request(&all).await.unwrap();
    assert_eq!(response.groups[0].topics[0].topic_id, topic);
    let offsets = response.groups[0].topics[0].partitions.iter().map(|partition| partition.committed_offset);
    assert_eq!(offsets.collect::<Vec<_>>(), [10, 11]);
    // Groups of other coordinators are told so, one by one.
    let names = (0..20).map(|number| group(&format!("group-{number}"))).collect::<Vec<_>>();
    let response = connection.request(&OffsetFetchRequest { groups: names, ..Default::default() }).await.unwrap();
    let codes = response.groups.iter().map(|group| group.error_code).collect::<Vec<_>>();
    assert!(codes.contains(&ErrorCode::None) && codes.contains(&ErrorCode::NotCoordinator), "{codes:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_committed_is_refused_partition_by_partition() {
    let (cluster, topic, connection) = with_topic().await;
    let mut request = commit(topic, 0, 7);
    let good = request.topics[0].partitions[0].clone();
    let too_long = "é".repeat(4097);
    let just_fits = "é".repeat(4096);
    request.topics[0].partitions = vec![
        OffsetCommitRequestPartition { partition_index: 2, ..good.clone() },
        OffsetCommitRequestPartition { committed_metadata: Some(too_long), ..good.clone() },
        OffsetCommitRequestPartition { partition_index: 1, committed_metadata: Some(just_fits), ..good.clone() },
    ];
    let response = connection.request(&request).await.unwrap();
    let codes = response.topics[0].partitions.iter().map(|partition| (partition.partition_index, partition.error_code));
    let expected =
        [(2, ErrorCode::UnknownTopicOrPartition), (0, ErrorCode::OffsetMetadataTooLarge), (1, ErrorCode::None)];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    assert_eq!(cluster.committed_offsets(GROUP).await.unwrap().len(), 1);
    assert_eq!(committed(&connection, &commit(TopicId([9; 16]), 0, 7)).await, ErrorCode::UnknownTopicId);
    assert_eq!(fetched(&connection, &fetch(TopicId([9; 16]), 0)).await.error_code, ErrorCode::UnknownTopicId);
}

#[tokio::test(start_paused = true)]
async fn members_commit_for_their_generation_and_nobody_else_while_there_are_members() {
    let (cluster, topic, connection) = with_topic().await;
    let mut member = Member::new(&cluster).await;
    member.join_alone().await;
    let of_member = OffsetCommitRequest {
        member_id: member.id.clone(),
        generation_id_or_member_epoch: member.generation_id.0,
        ..commit(topic, 0, 1)
    };
    assert_eq!(committed(&connection, &of_member).await, ErrorCode::None);
    assert_eq!(committed(&connection, &commit(topic, 0, 2)).await, ErrorCode::UnknownMemberId);
    let late = OffsetCommitRequest { generation_id_or_member_epoch: 0, ..of_member.clone() };
    assert_eq!(committed(&connection, &late).await, ErrorCode::IllegalGeneration);
    let elsewhere = OffsetCommitRequest { group_instance_id: Some("instance".to_owned()), ..of_member.clone() };
    assert_eq!(committed(&connection, &elsewhere).await, ErrorCode::UnknownMemberId);
    member.join().await;
    assert_eq!(committed(&connection, &of_member).await, ErrorCode::IllegalGeneration);
    let joined = OffsetCommitRequest { generation_id_or_member_epoch: member.generation_id.0, ..of_member };
    assert_eq!(committed(&connection, &joined).await, ErrorCode::RebalanceInProgress);
    assert_eq!(cluster.committed_offsets(GROUP).await.unwrap()[&TopicPartition::new(TOPIC, 0)].offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_of_a_group_that_does_not_exist_cannot_commit() {
    for (version, code) in [(8, ErrorCode::IllegalGeneration), (9, ErrorCode::GroupIdNotFound)] {
        let cluster = in_memory().api_versions(ApiKey::OffsetCommit, version, version).start().await.unwrap();
        let topic = cluster.create_topic(TOPIC, 1, 1).await.unwrap();
        let connection = connect_to_coordinator(&cluster).await;
        let member_id = "stranger".to_owned();
        let request = OffsetCommitRequest { generation_id_or_member_epoch: 3, member_id, ..commit(topic, 0, 1) };
        assert_eq!(committed(&connection, &request).await, code);
        assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::Dead);
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_does_not_inherit_offsets() {
    let (cluster, topic, connection) = with_topic().await;
    committed(&connection, &commit(topic, 0, 42)).await;
    cluster.delete_topic(TOPIC).await.unwrap();
    assert!(cluster.committed_offsets(GROUP).await.unwrap().is_empty());
    let anew = cluster.create_topic(TOPIC, 2, 3).await.unwrap();
    assert_eq!(fetched(&connection, &fetch(anew, 0)).await.committed_offset, -1);

    // Nor where it was deleted while there was no coordinator.
    committed(&connection, &commit(anew, 0, 43)).await;
    for node in cluster.nodes().collect::<Vec<_>>() {
        cluster.stop_node(node).await.unwrap();
    }
    cluster.delete_topic(TOPIC).await.unwrap();
    for node in cluster.nodes().collect::<Vec<_>>() {
        cluster.start_node(node).await.unwrap();
    }
    cluster.create_topic(TOPIC, 2, 3).await.unwrap();
    assert!(cluster.committed_offsets(GROUP).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_answered_when_it_is_replicated_and_read_as_stable_only_then() {
    let delay = Duration::from_millis(50);
    let cluster = in_memory().nodes(3).replication_delay(delay).start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 1, 3).await.unwrap();
    let (commits, reads) = (connect_to_coordinator(&cluster).await, connect_to_coordinator(&cluster).await);
    let asked = Instant::now();
    let pending = commits.send(&commit(topic, 0, 42), Duration::from_mins(1));
    let id = cluster.coordinator(GROUP).await.unwrap();
    while cluster.faults().requests(id, ApiKey::OffsetCommit) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fetched(&reads, &fetch(topic, 0)).await.committed_offset, -1);
    assert_eq!(asked.elapsed(), Duration::ZERO);
    let stable = OffsetFetchRequest { require_stable: true, ..fetch(topic, 0) };
    assert_eq!(fetched(&reads, &stable).await.committed_offset, 42);
    assert_eq!(asked.elapsed(), delay);
    assert_eq!(pending.await.unwrap().topics[0].partitions[0].error_code, ErrorCode::None);
    assert_eq!(asked.elapsed(), delay);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_not_replicated_in_time_fails_and_may_have_taken_effect() {
    let (cluster, topic, connection) = with_topic().await;
    let coordinator = cluster.coordinator(GROUP).await.unwrap();
    let other = NodeId((coordinator.0 + 1) % 3);
    cluster.pause_replication(other).await.unwrap();
    let asked = Instant::now();
    assert_eq!(committed(&connection, &commit(topic, 0, 42)).await, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(asked.elapsed(), Duration::from_secs(5));
    let stable = OffsetFetchRequest { require_stable: true, ..fetch(topic, 0) };
    let response = connection.request(&stable).await.unwrap();
    assert_eq!(response.groups[0].error_code, ErrorCode::NotCoordinator);
    cluster.resume_replication(other).await.unwrap();
    assert_eq!(fetched(&connection, &fetch(topic, 0)).await.committed_offset, 42);
}

#[tokio::test(start_paused = true)]
async fn with_too_few_replicas_in_sync_nothing_is_committed() {
    let cluster = in_memory().nodes(2).topic_default("min.insync.replicas", "2").start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 1, 2).await.unwrap();
    let coordinator = cluster.coordinator(GROUP).await.unwrap();
    let connection = connect_to_coordinator(&cluster).await;
    cluster.stop_node(NodeId(1 - coordinator.0)).await.unwrap();
    assert_eq!(committed(&connection, &commit(topic, 0, 42)).await, ErrorCode::CoordinatorNotAvailable);
    assert!(cluster.committed_offsets(GROUP).await.unwrap().is_empty());
    cluster.start_node(NodeId(1 - coordinator.0)).await.unwrap();
    assert_eq!(committed(&connection, &commit(topic, 0, 42)).await, ErrorCode::None);
}
