//! CreatePartitions: more partitions for topics.

use ottla_wire::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use ottla_wire::{ErrorCode, NodeId};

use super::{AnyResponse, Context, Outcome};
use crate::state::{ClusterState, Now, Refused, unknown_topic};

pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: CreatePartitionsRequest) -> Outcome {
    let topic = |topic: CreatePartitionsTopic| {
        let name = topic.name.clone();
        let grown = match context.refused(&name, None).or_else(|| context.not_controller(state)) {
            Some(code) => Err(code.into()),
            None => grow(state, topic, request.validate_only),
        };
        let grown = context.answered_with(&name, None).map_or(grown, |code| Err(code.into()));
        let (error_code, error_message) = match grown {
            Ok(()) => (ErrorCode::None, None),
            Err(Refused { code, reason }) => (code, Some(reason.into())),
        };
        CreatePartitionsTopicResult { name, error_code, error_message }
    };
    let results = request.topics.into_iter().map(topic).collect();
    Outcome::Answer(AnyResponse::CreatePartitions(CreatePartitionsResponse { results, ..Default::default() }))
}

fn grow(state: &mut ClusterState, topic: CreatePartitionsTopic, only_validate: bool) -> Result<(), Refused> {
    let id = state.topic(&topic.name).map(|topic| topic.id).ok_or_else(unknown_topic)?;
    let replicas = topic.assignments.into_iter().flatten().map(|assignment| assignment.broker_ids.into_vec());
    let assignment: Vec<Vec<NodeId>> = replicas.collect();
    state.grow_topic(id, topic.count, assignment, only_validate)
}
