//! ListOffsets: the offset at a timestamp, or at one of the places that negative timestamps stand for.
//!
//! A partition that is named twice is refused, as in Kafka.
//!
//! Records beyond the high watermark are not found: a consumer could not read them.

use std::collections::BTreeSet;

use ottla_wire::messages::{
    EARLIEST_LOCAL_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP, EARLIEST_TIMESTAMP, LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic, ListOffsetsTopicResponse, MAX_TIMESTAMP,
};
use ottla_wire::{ErrorCode, LeaderEpoch, TopicId};

use super::{AnyResponse, Context, Outcome, check_leader_epoch, partition_key};
use crate::records::{earliest_at_or_after, latest_timestamp};
use crate::state::{ClusterState, Now, Partition};

pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: ListOffsetsRequest) -> Outcome {
    let repeated = repeated_partitions(&request);
    let topic = |topic: ListOffsetsTopic| {
        let partition = |asked: &ListOffsetsPartition| {
            let is_repeated = repeated.contains(&(topic.name.clone(), asked.partition_index));
            let found =
                if is_repeated { Err(ErrorCode::InvalidRequest) } else { find(state, context, &topic.name, asked) };
            let (error_code, found) = match found {
                Ok(found) => (ErrorCode::None, found),
                Err(code) => (code, Found::NOTHING),
            };
            ListOffsetsPartitionResponse {
                partition_index: asked.partition_index,
                error_code,
                timestamp: found.timestamp,
                offset: found.offset,
                // Before version 4 there is no place for it.
                leader_epoch: if context.version < 4 { LeaderEpoch::NONE } else { LeaderEpoch(found.leader_epoch) },
            }
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        ListOffsetsTopicResponse { name: topic.name, partitions }
    };
    let topics = request.topics.into_iter().map(topic).collect();
    Outcome::Answer(AnyResponse::ListOffsets(ListOffsetsResponse { topics, ..Default::default() }))
}

/// The partitions that the request names more than once. Looking into their batches as often would cost a lot for little.
fn repeated_partitions(request: &ListOffsetsRequest) -> BTreeSet<(String, i32)> {
    let partitions = |topic: &'_ ListOffsetsTopic| -> Vec<(String, i32)> {
        topic.partitions.iter().map(|asked| (topic.name.clone(), asked.partition_index)).collect()
    };
    let mut seen = BTreeSet::new();
    request.topics.iter().flat_map(partitions).filter(|partition| !seen.insert(partition.clone())).collect()
}

/// What was found for one partition.
struct Found {
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

impl Found {
    const NOTHING: Self = Self { timestamp: -1, offset: -1, leader_epoch: -1 };
}

fn find(
    state: &mut ClusterState,
    context: &Context,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<Found, ErrorCode> {
    if let Some(code) = context.read_refused(topic, Some(asked.partition_index)) {
        return Err(code);
    }
    let key = partition_key(state, topic, TopicId::NONE, asked.partition_index)?;
    let partition = state.partition(key).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_leader_epoch(asked.current_leader_epoch, partition.leader_epoch())?;
    if !state.serves(context.node, partition) {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    let partition = state.partition_mut(key).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let end = partition.high_watermark();
    match asked.timestamp {
        LATEST_TIMESTAMP => Ok(at_end(partition, end)),
        EARLIEST_TIMESTAMP => Ok(at_start(partition)),
        EARLIEST_LOCAL_TIMESTAMP if context.version >= 8 => Ok(at_start(partition)),
        MAX_TIMESTAMP if context.version >= 7 => {
            Ok(latest_timestamp(&mut partition.log, end).map_or(Found::NOTHING, from))
        }
        // There is no tiered storage, and nothing waits to be uploaded to it.
        LATEST_TIERED_TIMESTAMP if context.version >= 9 => Ok(Found::NOTHING),
        EARLIEST_PENDING_UPLOAD_TIMESTAMP if context.version >= 11 => Ok(Found::NOTHING),
        timestamp if timestamp < 0 => Err(ErrorCode::UnsupportedVersion),
        timestamp => Ok(earliest_at_or_after(&mut partition.log, timestamp, end).map_or(Found::NOTHING, from)),
    }
}

fn from(found: crate::records::Stamped) -> Found {
    Found { timestamp: found.timestamp, offset: found.offset, leader_epoch: found.leader_epoch }
}

fn at_end(partition: &Partition, end: i64) -> Found {
    Found { timestamp: -1, offset: end, leader_epoch: partition.leader_epoch() }
}

fn at_start(partition: &Partition) -> Found {
    let offset = partition.log.start_offset();
    // As in Kafka: the epoch of the first record, unknown where there is none.
    let leader_epoch = partition.log.entries().next().map_or(-1, |entry| entry.leader_epoch);
    Found { timestamp: -1, offset, leader_epoch }
}

#[cfg(test)]
mod tests;
