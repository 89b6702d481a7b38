//! CreateTopics.

use std::collections::BTreeMap;

use ottla_wire::messages::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicConfigs, CreatableTopicResult,
    CreateTopicsRequest, CreateTopicsResponse,
};
use ottla_wire::{ErrorCode, NodeId, TopicId};

use super::{AnyResponse, Context, Outcome};
use crate::state::{CONFIG_KEYS, ClusterState, NewTopic, Now, Refused, TopicConfig};

/// The most partitions that one request may make, over all its topics, as in KRaft controllers
/// (`MAX_PARTITIONS_PER_BATCH`): a frame of a few bytes must not take all memory.
const MAX_PARTITIONS_PER_REQUEST: u64 = 10_000;

pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: CreateTopicsRequest) -> Outcome {
    let mut named = BTreeMap::<Box<str>, usize>::new();
    for topic in &request.topics {
        *named.entry(topic.name.clone()).or_default() += 1;
    }
    let repeated = |name: &str| named.get(name).is_some_and(|times| *times > 1);
    let asks_too_much = partitions_asked_for(state, &request.topics) > MAX_PARTITIONS_PER_REQUEST;
    let topic = |topic: CreatableTopic| {
        let name = topic.name.clone();
        let created = match context.refused(&name, None).or_else(|| context.not_controller(state)) {
            Some(code) => Err(code.into()),
            None if asks_too_much => Err(Refused {
                code: ErrorCode::PolicyViolation,
                reason: "Excessively large number of partitions per request.".to_owned(),
            }),
            None if repeated(&name) => Err(ErrorCode::InvalidRequest.into()),
            None => create(state, topic, request.validate_only),
        };
        let created = context.answered_with(&name, None).map_or(created, |code| Err(code.into()));
        created.unwrap_or_else(|Refused { code, reason }| CreatableTopicResult {
            name,
            error_code: code,
            error_message: Some(reason.into()),
            ..Default::default()
        })
    };
    let topics = request.topics.into_iter().map(topic).collect();
    Outcome::Answer(AnyResponse::CreateTopics(CreateTopicsResponse { topics, ..Default::default() }))
}

/// How many partitions a request would make. A count that is not valid counts as one.
fn partitions_asked_for(state: &ClusterState, topics: &[CreatableTopic]) -> u64 {
    let count = |topic: &CreatableTopic| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => u64::try_from(state.settings.default_partitions).unwrap_or(1),
        (0, count) => u64::try_from(count).unwrap_or(1).max(1),
        (assigned, _) => assigned as u64,
    };
    topics.iter().map(count).fold(0, u64::saturating_add)
}

fn create(
    state: &mut ClusterState,
    topic: CreatableTopic,
    only_validate: bool,
) -> Result<CreatableTopicResult, Refused> {
    let CreatableTopic { name, num_partitions, replication_factor, assignments, configs } = topic;
    let assignment = replicas_in_order(assignments)?;
    let by_hand = !assignment.is_empty();
    if by_hand && (num_partitions != -1 || replication_factor != -1) {
        let reason = "Both numPartitions or replicationFactor and replicasAssignments were set.".to_owned();
        return Err(Refused { code: ErrorCode::InvalidRequest, reason });
    }
    let partitions = (num_partitions != -1).then_some(num_partitions);
    let replication_factor = (replication_factor != -1).then_some(replication_factor);
    let count = if by_hand { assignment.len() as i32 } else { partitions.unwrap_or(state.settings.default_partitions) };
    let factor = match assignment.first() {
        Some(replicas) => replicas.len() as i16,
        None => replication_factor.unwrap_or(state.settings.default_replication_factor),
    };
    let config = configs.into_iter().map(set_config).collect::<Result<BTreeMap<_, _>, _>>()?;
    let defaults = &state.settings.topic_defaults;
    let described = describe_config(&TopicConfig::new(config.clone(), defaults)?, defaults);
    let new = NewTopic { name: name.to_string(), partitions, replication_factor, assignment, config };
    let id = state.create_topic(new, only_validate)?;
    Ok(CreatableTopicResult {
        name,
        topic_id: if only_validate { TopicId::NONE } else { id },
        num_partitions: count,
        replication_factor: factor,
        configs: Some(described),
        ..Default::default()
    })
}

/// The replicas of partitions 0, 1, and so on; every one has to be there.
fn replicas_in_order(assignments: Box<[CreatableReplicaAssignment]>) -> Result<Vec<Vec<NodeId>>, Refused> {
    let mut assignments = assignments.into_vec();
    assignments.sort_by_key(|assignment| assignment.partition_index);
    let consecutive = (0i32..).zip(&assignments).all(|(index, assignment)| assignment.partition_index == index);
    if !consecutive {
        let reason = "partitions should be a consecutive 0-based integer sequence".to_owned();
        return Err(Refused { code: ErrorCode::InvalidReplicaAssignment, reason });
    }
    Ok(assignments.into_iter().map(|assignment| assignment.broker_ids.into_vec()).collect())
}

fn set_config(config: CreatableTopicConfig) -> Result<(String, String), Refused> {
    let CreatableTopicConfig { name, value } = config;
    match value {
        Some(value) => Ok((name.into(), value.into())),
        None => Err(Refused { code: ErrorCode::InvalidConfig, reason: format!("Null value not supported for {name}") }),
    }
}

fn describe_config(config: &TopicConfig, defaults: &BTreeMap<String, String>) -> Vec<CreatableTopicConfigs> {
    let describe = |key: &crate::state::ConfigKey| {
        let (value, source) = config.describe(key, defaults);
        CreatableTopicConfigs {
            name: key.name.into(),
            value: Some(value.into()),
            config_source: source as i8,
            ..Default::default()
        }
    };
    CONFIG_KEYS.iter().map(describe).collect()
}

#[cfg(test)]
mod tests;
