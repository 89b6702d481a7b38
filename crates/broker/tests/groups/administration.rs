//! Listing, describing and deleting groups and offsets, as administrators ask for it.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_broker::{EmbeddedCluster, GroupState, Loss};
use ottla_connection::Connection;
use ottla_wire::consumer_protocol::Subscription;
use ottla_wire::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, DescribedGroup, ListGroupsRequest, ListedGroup, OffsetDeleteRequest,
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
};
use ottla_wire::{ApiKey, ErrorCode, NodeId, TopicId, TopicPartition};

use crate::member::{GROUP, Member, TOPIC, connect, connect_to_coordinator, in_memory, two_members};
use crate::offsets::{commit, committed, fetch, fetched};

async fn three_nodes() -> (EmbeddedCluster, TopicId) {
    let cluster = in_memory().nodes(3).start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 2, 3).await.unwrap();
    (cluster, topic)
}

fn list(states: &[&str], types: &[&str]) -> ListGroupsRequest {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    ListGroupsRequest { states_filter: owned(states), types_filter: owned(types) }
}

async fn listed(connection: &Connection, request: &ListGroupsRequest) -> Vec<ListedGroup> {
    let response = connection.request(request).await.unwrap();
    assert_eq!(response.error_code, ErrorCode::None);
    response.groups
}

async fn described(connection: &Connection, group: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest { groups: vec![group.into()], include_authorized_operations: true };
    connection.request(&request).await.unwrap().groups.remove(0)
}

async fn deleted(connection: &Connection, group: &str) -> ErrorCode {
    let request = DeleteGroupsRequest { groups_names: vec![group.into()] };
    connection.request(&request).await.unwrap().results[0].error_code
}

fn forget(partitions: &[i32]) -> OffsetDeleteRequest {
    let partition = |partition_index: &i32| OffsetDeleteRequestPartition { partition_index: *partition_index };
    let partitions = partitions.iter().map(partition).collect();
    let topics = vec![OffsetDeleteRequestTopic { name: TOPIC.to_owned(), partitions }];
    OffsetDeleteRequest { group_id: GROUP.to_owned(), topics }
}

fn codes(response: &OffsetDeleteResponse) -> Vec<(i32, ErrorCode)> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| (partition.partition_index, partition.error_code)).collect()
}

fn subscription() -> bytes::Bytes {
    Subscription { topics: [TOPIC].into_iter().collect(), ..Default::default() }.encode(3).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_node_lists_the_groups_that_it_coordinates() {
    let (cluster, topic) = three_nodes().await;
    cluster.coordinator(GROUP).await.unwrap();
    let mut expected = BTreeSet::new();
    for number in 0..20 {
        let group_id = format!("group-{number}");
        let connection = connect(&cluster, cluster.coordinator(&group_id).await.unwrap()).await;
        let request = ottla_wire::messages::OffsetCommitRequest { group_id: group_id.clone(), ..commit(topic, 0, 1) };
        assert_eq!(committed(&connection, &request).await, ErrorCode::None);
        expected.insert(group_id);
    }
    let mut all = BTreeSet::new();
    for node in cluster.nodes().collect::<Vec<_>>() {
        for group in listed(&connect(&cluster, node).await, &list(&[], &[])).await {
            assert_eq!(cluster.coordinator(group.group_id()).await.unwrap(), node);
            assert!(all.insert(group.group_id().to_owned()), "{group:?} is listed twice");
        }
    }
    assert_eq!(all, expected);
}

#[tokio::test(start_paused = true)]
async fn groups_are_listed_by_state_and_type_in_letters_of_any_case() {
    let (cluster, _) = three_nodes().await;
    let mut member = Member::new(&cluster).await;
    member.join_alone().await;
    let stable = ListedGroup::new(GROUP, "consumer", "Stable", "classic");
    for (request, is_listed) in [
        (list(&[], &[]), true),
        (list(&["Stable"], &[]), true),
        (list(&["empty", "sTABLE"], &["CLASSIC"]), true),
        (list(&["Empty"], &[]), false),
        (list(&["Unheard-of"], &[]), false),
        (list(&[], &["consumer"]), false),
    ] {
        let expected = if is_listed { vec![stable.clone()] } else { Vec::new() };
        assert_eq!(listed(&member.connection, &request).await, expected, "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_still_reads_a_log_lists_nothing_yet() {
    let time = Duration::from_secs(3);
    let cluster = in_memory().coordinator_load_time(time).start().await.unwrap();
    let connection = connect_to_coordinator(&cluster).await;
    let response = connection.request(&list(&[], &[])).await.unwrap();
    assert_eq!((response.error_code, response.groups.len()), (ErrorCode::CoordinatorLoadInProgress, 0));
    assert_eq!(described(&connection, GROUP).await.error_code, ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(deleted(&connection, GROUP).await, ErrorCode::CoordinatorLoadInProgress);
    tokio::time::sleep(time).await;
    assert_eq!(listed(&connection, &list(&[], &[])).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_stable_group_is_described_with_all_that_its_members_have() {
    let (cluster, _) = three_nodes().await;
    let (leader, other) = two_members(&cluster).await;
    let group = described(&leader.connection, GROUP).await;
    let state = (&*group.group_state, &*group.protocol_type, &*group.protocol_data);
    assert_eq!((group.error_code, state), (ErrorCode::None, ("Stable", "consumer", "range")));
    // Read, delete, describe, describe and alter configs.
    assert_eq!(group.authorized_operations, 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11);
    assert_eq!(group.members.len(), 2);
    for (member, given) in [(&leader, &b"one"[..]), (&other, &b"two"[..])] {
        let described = group.members.iter().find(|described| described.member_id == member.id).unwrap();
        assert_eq!(&*described.client_host, "/127.0.0.1");
        assert_eq!((&described.member_metadata[..], &described.member_assignment[..]), (&b"subscription"[..], given));
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_without_a_common_protocol_is_described_without_what_goes_by_it() {
    let (cluster, _) = three_nodes().await;
    let mut member = Member::new(&cluster).await;
    member.join_alone().await;
    let joined = member.join().await;
    let group = described(&member.connection, GROUP).await;
    assert_eq!((&*group.group_state, &*group.protocol_data), ("CompletingRebalance", ""));
    assert_eq!(group.members[0].member_id, joined.member_id);
    assert!(group.members[0].member_metadata.is_empty());
    assert_eq!(member.leave().await, ErrorCode::None);
    let group = described(&member.connection, GROUP).await;
    assert_eq!((&*group.group_state, &*group.protocol_type, group.members.len()), ("Empty", "consumer", 0));
}

#[tokio::test(start_paused = true)]
async fn a_group_is_deleted_with_its_offsets_once_it_is_empty() {
    let (cluster, topic) = three_nodes().await;
    let mut member = Member::new(&cluster).await;
    assert_eq!(deleted(&member.connection, GROUP).await, ErrorCode::GroupIdNotFound);
    member.join_alone().await;
    let of_member = ottla_wire::messages::OffsetCommitRequest {
        member_id: member.id.clone(),
        generation_id_or_member_epoch: member.generation_id.0,
        ..commit(topic, 0, 7)
    };
    assert_eq!(committed(&member.connection, &of_member).await, ErrorCode::None);
    assert_eq!(deleted(&member.connection, GROUP).await, ErrorCode::NonEmptyGroup);
    member.leave().await;
    assert_eq!(deleted(&member.connection, GROUP).await, ErrorCode::None);
    assert_eq!(deleted(&member.connection, GROUP).await, ErrorCode::GroupIdNotFound);
    assert_eq!(listed(&member.connection, &list(&[], &[])).await, []);
    assert!(cluster.committed_offsets(GROUP).await.unwrap().is_empty());
    assert_eq!(fetched(&member.connection, &fetch(topic, 0)).await.committed_offset, -1);
    // A coordinator that reads the log knows no more of it.
    let to = NodeId((cluster.coordinator(GROUP).await.unwrap().0 + 1) % 3);
    cluster.move_coordinator(GROUP, to).await.unwrap();
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::Dead);
    assert!(cluster.committed_offsets(GROUP).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_answered_when_it_is_safe_and_takes_along_what_was_committed_just_before() {
    let delay = Duration::from_millis(50);
    let cluster = in_memory().nodes(3).replication_delay(delay).start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 2, 3).await.unwrap();
    let coordinator = cluster.coordinator(GROUP).await.unwrap();
    let (one, two) = (connect(&cluster, coordinator).await, connect(&cluster, coordinator).await);
    assert_eq!(committed(&one, &commit(topic, 0, 7)).await, ErrorCode::None);
    let pending = one.send(&commit(topic, 1, 8), Duration::from_mins(1));
    while cluster.faults().requests(coordinator, ApiKey::OffsetCommit) < 2 {
        tokio::task::yield_now().await;
    }
    let start = tokio::time::Instant::now();
    assert_eq!(deleted(&two, GROUP).await, ErrorCode::None);
    assert_eq!(start.elapsed(), delay);
    assert_eq!(pending.await.unwrap().topics[0].partitions[0].error_code, ErrorCode::None, "it was safe before that");
    assert!(cluster.committed_offsets(GROUP).await.unwrap().is_empty());
    cluster.kill_node(coordinator, Loss::Everything).await.unwrap();
    assert!(cluster.committed_offsets(GROUP).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_offset_is_forgotten_where_no_member_reads_the_topic() {
    let (cluster, topic) = three_nodes().await;
    let connection = connect_to_coordinator(&cluster).await;
    let response = connection.request(&forget(&[0])).await.unwrap();
    assert_eq!((response.error_code, response.topics.len()), (ErrorCode::GroupIdNotFound, 0));
    for partition in [0, 1] {
        assert_eq!(committed(&connection, &commit(topic, partition, 7)).await, ErrorCode::None);
    }
    let response = connection.request(&forget(&[1, 5])).await.unwrap();
    assert_eq!(codes(&response), [(1, ErrorCode::None), (5, ErrorCode::UnknownTopicOrPartition)]);
    let left = cluster.committed_offsets(GROUP).await.unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(left, [TopicPartition::new(TOPIC, 0)]);

    let mut member = Member::new(&cluster).await;
    member.subscription = subscription();
    member.join_alone().await;
    let response = connection.request(&forget(&[0])).await.unwrap();
    assert_eq!(codes(&response), [(0, ErrorCode::GroupSubscribedToTopic)]);
    let unknown = OffsetDeleteRequestTopic { name: "unknown".to_owned(), ..forget(&[0]).topics.remove(0) };
    let response = connection.request(&OffsetDeleteRequest { topics: vec![unknown], ..forget(&[]) }).await.unwrap();
    assert_eq!(codes(&response), [(0, ErrorCode::UnknownTopicOrPartition)]);
    let other = cluster.create_topic("other", 1, 1).await.unwrap();
    let mut of_other = commit(other, 0, 3);
    of_other.topics[0].name = "other".to_owned();
    let of_other = ottla_wire::messages::OffsetCommitRequest {
        member_id: member.id.clone(),
        generation_id_or_member_epoch: member.generation_id.0,
        ..of_other
    };
    assert_eq!(committed(&connection, &of_other).await, ErrorCode::None);
    let not_read = OffsetDeleteRequestTopic { name: "other".to_owned(), ..forget(&[0]).topics.remove(0) };
    let response = connection.request(&OffsetDeleteRequest { topics: vec![not_read], ..forget(&[]) }).await.unwrap();
    assert_eq!(codes(&response), [(0, ErrorCode::None)]);
    member.leave().await;
    let response = connection.request(&forget(&[0])).await.unwrap();
    assert_eq!(codes(&response), [(0, ErrorCode::None)]);
    assert!(cluster.committed_offsets(GROUP).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn members_that_say_nothing_legible_are_taken_to_read_every_topic() {
    let (cluster, _) = three_nodes().await;
    let mut member = Member::new(&cluster).await;
    member.join_alone().await;
    let response = member.connection.request(&forget(&[0])).await.unwrap();
    assert_eq!(codes(&response), [(0, ErrorCode::GroupSubscribedToTopic)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_elsewhere_is_left_to_the_coordinator() {
    let (cluster, _) = three_nodes().await;
    let mut member = Member::new(&cluster).await;
    member.join_alone().await;
    let other = connect(&cluster, NodeId((cluster.coordinator(GROUP).await.unwrap().0 + 1) % 3)).await;
    assert_eq!(described(&other, GROUP).await.error_code, ErrorCode::NotCoordinator);
    assert_eq!(deleted(&other, GROUP).await, ErrorCode::NotCoordinator);
    assert_eq!(other.request(&forget(&[0])).await.unwrap().error_code, ErrorCode::NotCoordinator);
    assert_eq!(listed(&other, &list(&[], &[])).await, []);
    let nameless = OffsetDeleteRequest { group_id: String::new(), ..forget(&[0]) };
    assert_eq!(other.request(&nameless).await.unwrap().error_code, ErrorCode::InvalidGroupId);
}
