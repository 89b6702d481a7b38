//! Metadata: the nodes, the topics and who leads their partitions.
//!
//! A topic that is created because it was asked for is answered with UNKNOWN_TOPIC_OR_PARTITION this time, as KRaft
//! brokers do: clients ask again.

use ottla_wire::messages::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataTopic,
    PartitionReplicas,
};
use ottla_wire::{ErrorCode, LeaderEpoch, NodeId, TopicId};

use super::{AnyResponse, Context, Outcome, authorized_operations};
use crate::state::{ClusterState, NewTopic, Now, Partition, Topic, check_name, is_internal};

pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: MetadataRequest) -> Outcome {
    let may_create = (request.allow_auto_topic_creation || context.version < 4) && state.settings.auto_create_topics;
    state.next_turn();
    let with_operations = request.include_topic_authorized_operations;
    let mut topics: Vec<_> = match request.topics {
        None => state.topics().map(|topic| describe(state, context, topic)).collect(),
        // Version 0 cannot say "all" in another way.
        Some(none) if none.is_empty() && context.version == 0 => {
            state.topics().map(|topic| describe(state, context, topic)).collect()
        }
        Some(asked) => asked.into_iter().map(|topic| answer(state, context, topic, may_create)).collect(),
    };
    for topic in topics.iter_mut().filter(|topic| topic.error_code == ErrorCode::None) {
        topic.topic_authorized_operations = authorized_operations::of_topic(with_operations);
    }
    let broker = |(node_id, node): (NodeId, &crate::state::Node)| MetadataBroker {
        node_id,
        host: node.address.host().to_owned(),
        port: i32::from(node.address.port()),
        rack: node.rack.clone(),
    };
    Outcome::Answer(AnyResponse::Metadata(MetadataResponse {
        brokers: state.live_nodes().map(broker).collect(),
        cluster_id: Some(state.cluster_id.clone()),
        controller_id: state.controller(),
        topics,
        cluster_authorized_operations: authorized_operations::of_cluster(request.include_cluster_authorized_operations),
        error_code: context.whole_refused().filter(|_| context.version >= 13).unwrap_or(ErrorCode::None),
        ..Default::default()
    }))
}

fn answer(state: &mut ClusterState, context: &Context, asked: MetadataRequestTopic, may_create: bool) -> MetadataTopic {
    let Some(name) = asked.name else {
        return match state.topic_by_id(asked.topic_id) {
            Some(topic) => describe(state, context, topic),
            None => MetadataTopic {
                error_code: ErrorCode::UnknownTopicId,
                topic_id: asked.topic_id,
                // Versions 10 and 11 let topics be asked for by id, and cannot answer without a name.
                name: (context.version < 12).then(String::new),
                ..Default::default()
            },
        };
    };
    if let Some(topic) = state.topic(&name) {
        return describe(state, context, topic);
    }
    let error_code = match context.read_refused(&name, None) {
        Some(code) => code,
        None => match check_name(&name) {
            Err(refused) => refused.code,
            Ok(()) if may_create => created(state, &name),
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
        },
    };
    MetadataTopic { error_code, name: Some(name), topic_id: TopicId::NONE, ..Default::default() }
}

fn created(state: &mut ClusterState, name: &str) -> ErrorCode {
    let made = if is_internal(name) {
        state.create_internal_topic(name)
    } else {
        state.create_topic(NewTopic { name: name.to_owned(), ..NewTopic::default() }, false)
    };
    match made {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        // As in Kafka: the next attempt may find more nodes up.
        Err(refused) if refused.code == ErrorCode::InvalidReplicationFactor => ErrorCode::InvalidReplicationFactor,
        Err(refused) => refused.code,
    }
}

fn describe(state: &ClusterState, context: &Context, topic: &Topic) -> MetadataTopic {
    let partitions = topic.partitions.iter().enumerate();
    let partition = |(index, partition)| describe_partition(state, context, topic, index as i32, partition);
    MetadataTopic {
        error_code: context.topic_refused(&topic.name).unwrap_or_default(),
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.map(partition).collect(),
        ..Default::default()
    }
}

fn describe_partition(
    state: &ClusterState,
    context: &Context,
    topic: &Topic,
    index: i32,
    partition: &Partition,
) -> MetadataPartition {
    let leader = state.told_leader(usize::try_from(index).unwrap_or(0), partition);
    let is_offline = |node: &&NodeId| state.live_node(**node).is_none();
    let offline: Vec<NodeId> = partition.replicas().iter().filter(is_offline).copied().collect();
    let leaderless = if leader.is_none() { ErrorCode::LeaderNotAvailable } else { ErrorCode::None };
    MetadataPartition {
        error_code: context.partition_refused(&topic.name, index).unwrap_or(leaderless),
        partition_index: index,
        leader_id: leader.unwrap_or(NodeId::NONE),
        leader_epoch: LeaderEpoch(partition.leader_epoch()),
        replicas: PartitionReplicas::new(partition.replicas(), partition.in_sync(), &offline),
    }
}
