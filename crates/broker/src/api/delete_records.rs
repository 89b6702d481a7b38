//! DeleteRecords: a partition begins later (KIP-107).
//!
//! The followers begin where the leader does, at once, so nothing has to be waited for.

use ottla_wire::messages::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopic, DeleteRecordsTopicResult,
};
use ottla_wire::{ErrorCode, TopicId};

use super::{AnyResponse, Context, Outcome, partition_key};
use crate::state::{ClusterState, Now, is_internal};

/// Stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: DeleteRecordsRequest) -> Outcome {
    let topic = |topic: DeleteRecordsTopic| {
        let partition = |asked: &DeleteRecordsPartition| {
            let index = asked.partition_index;
            let deleted = match context.refused(&topic.name, Some(index)) {
                Some(code) => Err(code),
                None => delete(state, context, &topic.name, asked),
            };
            let deleted = context.answered_with(&topic.name, Some(index)).map_or(deleted, Err);
            let (low_watermark, error_code) = match deleted {
                Ok(start) => (start, ErrorCode::None),
                Err(code) => (-1, code),
            };
            DeleteRecordsPartitionResult { partition_index: index, low_watermark, error_code }
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        DeleteRecordsTopicResult { name: topic.name, partitions }
    };
    let topics = request.topics.into_iter().map(topic).collect();
    Outcome::Answer(AnyResponse::DeleteRecords(DeleteRecordsResponse { topics, ..Default::default() }))
}

/// Returns the first offset that is left.
fn delete(
    state: &mut ClusterState,
    context: &Context,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<i64, ErrorCode> {
    if is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let key = partition_key(state, topic, TopicId::NONE, asked.partition_index)?;
    let only_compacted =
        state.topic_by_id(key.topic).is_some_and(|topic| topic.config.compacted && !topic.config.deletes);
    let partition = state.partition(key).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if partition.leader() != Some(context.node) {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    if only_compacted {
        return Err(ErrorCode::PolicyViolation);
    }
    let offset = if asked.offset == HIGH_WATERMARK { partition.high_watermark() } else { asked.offset };
    if !(0..=partition.high_watermark()).contains(&offset) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    state.delete_before(key, offset).ok_or(ErrorCode::UnknownTopicOrPartition)
}
