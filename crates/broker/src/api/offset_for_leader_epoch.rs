//! OffsetForLeaderEpoch: where a leader's epoch ends, by which clients detect truncation (KIP-101, KIP-279, KIP-320).

use ottla_wire::messages::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopic, OffsetForLeaderTopicResult,
};
use ottla_wire::{ErrorCode, LeaderEpoch, TopicId};

use super::{AnyResponse, Context, Outcome, check_leader_epoch, partition_key};
use crate::state::{ClusterState, Now};

pub(super) fn handle(
    state: &mut ClusterState,
    _: Now,
    context: &Context,
    request: OffsetForLeaderEpochRequest,
) -> Outcome {
    let topic = |topic: OffsetForLeaderTopic| {
        let partition = |asked: &OffsetForLeaderPartition| {
            let (error_code, end) = match end_of(state, context, &topic.topic, asked) {
                Ok(end) => (ErrorCode::None, end),
                Err(code) => (code, None),
            };
            let (leader_epoch, end_offset) = end.unwrap_or((-1, -1));
            let (partition, leader_epoch) = (asked.partition, LeaderEpoch(leader_epoch));
            EpochEndOffset { error_code, partition, leader_epoch, end_offset }
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        OffsetForLeaderTopicResult { topic: topic.topic, partitions }
    };
    let topics = request.topics.into_iter().map(topic).collect();
    Outcome::Answer(AnyResponse::OffsetForLeaderEpoch(OffsetForLeaderEpochResponse { topics, ..Default::default() }))
}

fn end_of(
    state: &ClusterState,
    context: &Context,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, ErrorCode> {
    if let Some(code) = context.read_refused(topic, Some(asked.partition)) {
        return Err(code);
    }
    let key = partition_key(state, topic, TopicId::NONE, asked.partition)?;
    let partition = state.partition(key).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_leader_epoch(asked.current_leader_epoch, partition.leader_epoch())?;
    if !state.serves(context.node, partition) {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    Ok(partition.log.epochs.end_of(asked.leader_epoch.0, partition.log.end_offset()))
}
