//! Who coordinates, and what outlives a move of the coordinator.

use std::time::Duration;

use bytes::Bytes;
use ottla_broker::{EmbeddedCluster, GroupState, Loss};
use ottla_wire::messages::{
    FindCoordinatorRequest, MetadataRequest, ProducePartitionData, ProduceRequest, ProduceTopicData,
};
use ottla_wire::{ErrorCode, NodeId, TopicId};
use tokio::time::sleep;

use crate::member::{
    GROUP, Member, SESSION_TIMEOUT, TOPIC, connect, connect_to_coordinator, in_memory, just_under, two_members,
};
use crate::offsets::{commit, committed, fetch, fetched};

const OFFSETS_TOPIC: &str = "__consumer_offsets";

async fn three_nodes() -> (EmbeddedCluster, TopicId) {
    let cluster = in_memory().nodes(3).start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 1, 3).await.unwrap();
    (cluster, topic)
}

fn find(groups: &[&str]) -> FindCoordinatorRequest {
    let coordinator_keys = groups.iter().map(|group| (*group).to_owned()).collect();
    FindCoordinatorRequest { coordinator_keys, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_first_has_the_topic_made_and_asks_again() {
    let cluster = in_memory().nodes(3).start().await.unwrap();
    let connection = connect(&cluster, NodeId(0)).await;
    let internal = async || {
        let metadata = connection.request(&MetadataRequest::all_topics()).await.unwrap();
        metadata
            .topics
            .into_iter()
            .map(|topic| (topic.name.unwrap(), topic.is_internal, topic.partitions.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(internal().await, []);
    let first = connection.request(&find(&[GROUP])).await.unwrap().coordinators.remove(0);
    assert_eq!((first.error_code, first.node_id, first.port), (ErrorCode::CoordinatorNotAvailable, NodeId::NONE, -1));
    assert_eq!(internal().await, [(OFFSETS_TOPIC.to_owned(), true, 50)]);
    let found = connection.request(&find(&[GROUP, "other", GROUP])).await.unwrap().coordinators;
    // "group".hashCode() is 98629247 in Java, so it is partition 47's.
    let led_by = cluster.describe_partition(OFFSETS_TOPIC, 47).await.unwrap();
    assert_eq!(led_by.replicas.len(), 3);
    assert_eq!((Some(found[0].node_id), found[0].error_code), (led_by.leader, ErrorCode::None));
    assert_eq!(found[2], found[0]);
    assert_eq!(found[1].key, "other");
    let address = cluster.address(found[0].node_id).unwrap();
    assert_eq!((found[0].host.as_str(), found[0].port), (address.host(), i32::from(address.port())));
    assert_eq!(cluster.coordinator(GROUP).await.unwrap(), found[0].node_id);

    for (key_type, code) in
        [(1, ErrorCode::CoordinatorNotAvailable), (1, ErrorCode::None), (2, ErrorCode::InvalidRequest)]
    {
        let request = FindCoordinatorRequest { key_type, ..find(&["id"]) };
        assert_eq!(connection.request(&request).await.unwrap().coordinators[0].error_code, code);
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_do_not_coordinate_say_so() {
    let (cluster, topic) = three_nodes().await;
    let coordinator = cluster.coordinator(GROUP).await.unwrap();
    let mut member = Member::new(&cluster).await;
    member.join_alone().await;
    member.connection = connect(&cluster, NodeId((coordinator.0 + 1) % 3)).await;
    assert_eq!(member.heartbeat().await, ErrorCode::NotCoordinator);
    assert_eq!(member.try_join().await.error_code, ErrorCode::NotCoordinator);
    assert_eq!(member.try_sync(&[]).await.error_code, ErrorCode::NotCoordinator);
    assert_eq!(committed(&member.connection, &commit(topic, 0, 1)).await, ErrorCode::NotCoordinator);
    let response = member.connection.request(&fetch(topic, 0)).await.unwrap();
    assert_eq!((response.groups[0].error_code, response.groups[0].topics.len()), (ErrorCode::NotCoordinator, 0));
}

#[tokio::test(start_paused = true)]
async fn members_and_offsets_outlive_a_move_and_sessions_begin_anew() {
    let (cluster, topic) = three_nodes().await;
    let (mut leader, mut other) = two_members(&cluster).await;
    let of_nobody = commit(topic, 0, 7);
    let of_member = ottla_wire::messages::OffsetCommitRequest {
        member_id: leader.id.clone(),
        generation_id_or_member_epoch: leader.generation_id.0,
        ..of_nobody
    };
    assert_eq!(committed(&leader.connection, &of_member).await, ErrorCode::None);
    let before = cluster.describe_group(GROUP).await.unwrap();
    let from = cluster.coordinator(GROUP).await.unwrap();
    let to = NodeId((from.0 + 1) % 3);
    sleep(SESSION_TIMEOUT / 2).await;
    cluster.move_coordinator(GROUP, to).await.unwrap();
    assert_eq!(cluster.coordinator(GROUP).await.unwrap(), to);
    assert_eq!(leader.heartbeat().await, ErrorCode::NotCoordinator);
    assert_eq!(cluster.describe_group(GROUP).await.unwrap(), before);
    for member in [&mut leader, &mut other] {
        member.connection = connect_to_coordinator(&cluster).await;
    }
    sleep(just_under(SESSION_TIMEOUT)).await;
    assert_eq!((leader.heartbeat().await, other.heartbeat().await), (ErrorCode::None, ErrorCode::None));
    assert_eq!(other.sync(&[]).await, b"two"[..]);
    assert_eq!(fetched(&leader.connection, &fetch(topic, 0)).await.committed_offset, 7);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_joining_during_a_move_is_told_and_joins_at_the_new_coordinator() {
    let (cluster, _) = three_nodes().await;
    let (mut leader, other) = two_members(&cluster).await;
    let joining = leader.connection.send(&leader.join_request(), Duration::from_mins(10));
    while cluster.describe_group(GROUP).await.unwrap().state != GroupState::PreparingRebalance {
        tokio::task::yield_now().await;
    }
    cluster.stop_node(cluster.coordinator(GROUP).await.unwrap()).await.unwrap();
    let answer = joining.await.unwrap();
    assert_eq!((answer.error_code, &answer.member_id), (ErrorCode::NotCoordinator, &leader.id));
    leader.connection = connect_to_coordinator(&cluster).await;
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::Stable, "as it was written last");
    let rejoins = leader.connection.send(&leader.join_request(), Duration::from_mins(10));
    sleep(SESSION_TIMEOUT).await;
    let joined = rejoins.await.unwrap();
    assert_eq!((joined.error_code, joined.members.len()), (ErrorCode::None, 1), "the other was not heard of");
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn committed_offsets_live_as_long_as_a_replica_in_sync() {
    let (cluster, topic) = three_nodes().await;
    let coordinator = cluster.coordinator(GROUP).await.unwrap();
    assert_eq!(committed(&connect_to_coordinator(&cluster).await, &commit(topic, 0, 7)).await, ErrorCode::None);
    cluster.kill_node(coordinator, Loss::Everything).await.unwrap();
    let second = cluster.coordinator(GROUP).await.unwrap();
    assert_ne!(second, coordinator);
    assert_eq!(fetched(&connect(&cluster, second).await, &fetch(topic, 0)).await.committed_offset, 7);
    cluster.kill_node(second, Loss::Everything).await.unwrap();
    let third = cluster.coordinator(GROUP).await.unwrap();
    assert_eq!(fetched(&connect(&cluster, third).await, &fetch(topic, 0)).await.committed_offset, 7);
    cluster.kill_node(third, Loss::Everything).await.unwrap();
    let error = cluster.coordinator(GROUP).await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::CoordinatorNotAvailable));
    cluster.start_node(third).await.unwrap();
    assert!(cluster.committed_offsets(GROUP).await.unwrap().is_empty());
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::Dead);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_replicated_dies_with_the_coordinator() {
    let delay = Duration::from_millis(50);
    let cluster = in_memory().nodes(3).replication_delay(delay).start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 1, 3).await.unwrap();
    let connection = connect_to_coordinator(&cluster).await;
    assert_eq!(committed(&connection, &commit(topic, 0, 7)).await, ErrorCode::None);
    let pending = connection.send(&commit(topic, 0, 8), Duration::from_mins(1));
    let coordinator = cluster.coordinator(GROUP).await.unwrap();
    while cluster.faults().requests(coordinator, ottla_wire::ApiKey::OffsetCommit) < 2 {
        tokio::task::yield_now().await;
    }
    cluster.kill_node(coordinator, Loss::Nothing).await.unwrap();
    assert!(pending.await.is_err(), "its connection broke");
    assert_eq!(fetched(&connect_to_coordinator(&cluster).await, &fetch(topic, 0)).await.committed_offset, 7);
}

#[tokio::test(start_paused = true)]
async fn until_the_death_of_a_coordinator_is_noticed_there_is_none_but_it() {
    let cluster = in_memory().nodes(3).broker_session_timeout(Duration::from_secs(9)).start().await.unwrap();
    let (leader, _other) = two_members(&cluster).await;
    let coordinator = cluster.coordinator(GROUP).await.unwrap();
    cluster.kill_node(coordinator, Loss::Nothing).await.unwrap();
    let connection = connect(&cluster, NodeId((coordinator.0 + 1) % 3)).await;
    let found = connection.request(&find(&[GROUP])).await.unwrap().coordinators.remove(0);
    assert_eq!((found.node_id, found.error_code), (coordinator, ErrorCode::None));
    let error = cluster.describe_group(GROUP).await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::CoordinatorNotAvailable));
    sleep(Duration::from_secs(9)).await;
    let found = connection.request(&find(&[GROUP])).await.unwrap().coordinators.remove(0);
    assert_ne!(found.node_id, coordinator);
    let members = cluster.describe_group(GROUP).await.unwrap().members;
    assert!(members.iter().any(|member| member.member_id == leader.id));
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_reads_its_log_asks_for_patience() {
    let time = Duration::from_secs(3);
    let cluster = in_memory().nodes(3).coordinator_load_time(time).start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 1, 3).await.unwrap();
    cluster.coordinator(GROUP).await.unwrap();
    sleep(time).await;
    let (mut leader, other) = two_members(&cluster).await;
    let to = NodeId((cluster.coordinator(GROUP).await.unwrap().0 + 1) % 3);
    cluster.move_coordinator(GROUP, to).await.unwrap();
    leader.connection = connect(&cluster, to).await;
    let loading = ErrorCode::CoordinatorLoadInProgress;
    assert_eq!(leader.heartbeat().await, ErrorCode::None, "it believes whoever says to be a member");
    assert_eq!(leader.try_join().await.error_code, loading);
    assert_eq!(leader.try_sync(&[]).await.error_code, loading);
    assert_eq!(committed(&leader.connection, &commit(topic, 0, 1)).await, loading);
    let response = leader.connection.request(&fetch(topic, 0)).await.unwrap();
    assert_eq!(response.groups[0].error_code, loading);
    sleep(just_under(time + SESSION_TIMEOUT)).await;
    assert_eq!(leader.heartbeat().await, ErrorCode::None);
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().members.len(), 2);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn clients_cannot_write_where_coordinators_do() {
    let cluster = in_memory().start().await.unwrap();
    let connection = connect_to_coordinator(&cluster).await;
    let partition_data = vec![ProducePartitionData { index: 0, records: Some(Bytes::from_static(b"?")) }];
    let id = cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let metadata = connection.request(&MetadataRequest::of_names([OFFSETS_TOPIC])).await.unwrap();
    let topic_id = metadata.topics[0].topic_id;
    assert_ne!(topic_id, id);
    let topic = ProduceTopicData { name: OFFSETS_TOPIC.to_owned(), topic_id, partition_data };
    let request = ProduceRequest { acks: 1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() };
    let response = connection.request(&request).await.unwrap();
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::InvalidTopicException);
}
