//! Produce: batches are checked, deduplicated, appended, and answered when as many replicas have them as was asked.
//!
//! | acks | answered |
//! |---|---|
//! | 0  | never; an error closes the connection, as the client could not learn of it otherwise |
//! | 1  | at once |
//! | -1 | when the high watermark has passed the batch, an election has lost it, or the request's time is up |

use std::sync::Arc;
use std::time::Duration;

use ottla_wire::messages::{
    ProducePartitionData, ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicData,
    ProduceTopicResponse, Refusal,
};
use ottla_wire::{ErrorCode, NodeId, TopicId};

use super::{AnyResponse, Context, LeaderHints, Outcome, Waiting, WaitingRequest, partition_key};
use crate::log::Verdict;
use crate::records::{self, Rejected};
use crate::state::{Awaited, ClusterState, Now, PartitionKey, TimestampType, is_internal};

/// The longest that a client can make a request wait: Java's default for the whole delivery.
const MAX_WAIT: Duration = Duration::from_mins(2);

pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, request: ProduceRequest) -> Outcome {
    let ProduceRequest { acks, timeout_ms, topic_data, transactional_id } = request;
    let mut awaited =
        AwaitedProduce { node: context.node, version: context.version, topics: Vec::with_capacity(topic_data.len()) };
    for ProduceTopicData { name, topic_id, partition_data } in topic_data {
        let topic_name =
            state.topic_by_id(topic_id).map_or_else(|| name.as_str().into(), |topic| Arc::clone(&topic.name));
        let mut partitions = Vec::with_capacity(partition_data.len());
        for data in partition_data {
            let index = data.index;
            let refused =
                context.refused(&topic_name, Some(index)).or_else(|| refused_whole(acks, transactional_id.as_deref()));
            let key = partition_key(state, &name, topic_id, index);
            let appended = match (refused, key) {
                (Some(code), _) | (None, Err(code)) => Err(Rejected::from(code)),
                (None, Ok(key)) => append(state, now, context, acks, key, data),
            };
            let answered_with = context.answered_with(&topic_name, Some(index));
            partitions.push(PartitionResult { index, key: key.ok(), appended, answered_with });
        }
        awaited.topics.push(TopicResult { name, topic_id, partitions });
    }
    if acks == 0 {
        let failed = awaited.partitions().any(|partition| partition.appended.is_err());
        return if failed { Outcome::Close } else { Outcome::NoAnswer };
    }
    if acks == 1 || awaited.partitions().all(|partition| partition.appended.is_err()) {
        return Outcome::Answer(AnyResponse::Produce(awaited.answer(state, None)));
    }
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)).min(MAX_WAIT);
    let partitions = awaited.partitions().filter_map(|partition| partition.key).map(Awaited::Partition).collect();
    let request = WaitingRequest::Produce(awaited);
    Outcome::Wait(Waiting { until: Some(now.instant + timeout), awaited: partitions, request })
}

fn refused_whole(acks: i16, transactional_id: Option<&str>) -> Option<ErrorCode> {
    if transactional_id.is_some() {
        return Some(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    (!(-1..=1).contains(&acks)).then_some(ErrorCode::InvalidRequiredAcks)
}

fn append(
    state: &mut ClusterState,
    now: Now,
    context: &Context,
    acks: i16,
    key: PartitionKey,
    data: ProducePartitionData,
) -> Result<Appended, Rejected> {
    let config = state.topic_by_id(key.topic).map(|topic| Arc::clone(&topic.config));
    let config = config.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = state.partition(key).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if !state.serves(context.node, partition) {
        return Err(ErrorCode::NotLeaderOrFollower.into());
    }
    if state.topic_by_id(key.topic).is_some_and(|topic| is_internal(&topic.name)) {
        // What a client puts there would be read as what a coordinator wrote. Kafka lets nobody but its own tools.
        return Err(ErrorCode::InvalidTopicException.into());
    }
    let in_sync = partition.in_sync().len();
    if acks == -1 && in_sync < config.min_in_sync_replicas {
        let required = config.min_in_sync_replicas;
        let message = format!("The size of the current ISR is {in_sync}, below the {required} of min.insync.replicas");
        return Err(Rejected::new(ErrorCode::NotEnoughReplicas, message));
    }
    let batch = records::validate(data.records, context.version, &config, &mut state.decompressor)?;
    let partition = state.partition_mut(key).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let leader_epoch = partition.leader_epoch();
    let log = &mut partition.log;
    let log_append_time =
        |timestamp| if config.timestamp_type == TimestampType::LogAppendTime { timestamp } else { -1 };
    let verdict = records::stamp(&batch).map_or(Verdict::New, |stamp| log.producers.check(&stamp));
    let log_start_offset = log.start_offset();
    match verdict {
        Verdict::Refused(code) => Err(code.into()),
        Verdict::Duplicate { base_offset, last_offset, timestamp } => {
            let (required, log_append_time_ms) = (last_offset + 1, log_append_time(timestamp));
            Ok(Appended { base_offset, required, log_append_time_ms, log_start_offset, leader_epoch })
        }
        Verdict::New => {
            let base_offset = records::append(log, batch, leader_epoch, &config, now.timestamp_ms)?;
            let (required, log_append_time_ms) = (log.end_offset(), log_append_time(now.timestamp_ms));
            state.appended(key, now.instant);
            Ok(Appended { base_offset, required, log_append_time_ms, log_start_offset, leader_epoch })
        }
    }
}

/// A request with acks=all that waits for its batches to be replicated.
#[derive(Debug)]
pub(crate) struct AwaitedProduce {
    node: NodeId,
    version: i16,
    topics: Vec<TopicResult>,
}

#[derive(Debug)]
struct TopicResult {
    name: String,
    topic_id: TopicId,
    partitions: Vec<PartitionResult>,
}

#[derive(Debug)]
struct PartitionResult {
    index: i32,
    key: Option<PartitionKey>,
    appended: Result<Appended, Rejected>,
    /// An injected error that takes the place of the true answer.
    answered_with: Option<ErrorCode>,
}

#[derive(Clone, Copy, Debug)]
struct Appended {
    base_offset: i64,
    /// The high watermark that makes it safe.
    required: i64,
    log_append_time_ms: i64,
    log_start_offset: i64,
    leader_epoch: i32,
}

impl AwaitedProduce {
    /// The answer, if every batch is safe, lost or overdue.
    pub(super) fn try_answer(&self, state: &ClusterState, overdue: bool) -> Option<ProduceResponse> {
        let waits = |partition: &PartitionResult| matches!(self.fate(state, partition), Fate::Open);
        (overdue || !self.partitions().any(waits)).then(|| self.answer(state, Some(ErrorCode::RequestTimedOut)))
    }

    /// The answer, `open` being the code of what is not known to be safe; `None`: nobody asked for that.
    fn answer(&self, state: &ClusterState, open: Option<ErrorCode>) -> ProduceResponse {
        let mut hints = LeaderHints::carried_since(10, self.version);
        let responses = self.topics.iter().map(|topic| ProduceTopicResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses: topic
                .partitions
                .iter()
                .map(|partition| self.answer_partition(state, partition, open, &mut hints))
                .collect(),
        });
        let responses = responses.collect();
        ProduceResponse { responses, node_endpoints: hints.endpoints, ..Default::default() }
    }

    fn answer_partition(
        &self,
        state: &ClusterState,
        partition: &PartitionResult,
        open: Option<ErrorCode>,
        hints: &mut LeaderHints,
    ) -> ProducePartitionResponse {
        let failed = match (&partition.appended, open) {
            (Err(rejected), _) => Some(rejected.code),
            (Ok(_), None) => None,
            (Ok(_), Some(open)) => match self.fate(state, partition) {
                Fate::Safe => None,
                Fate::Lost(code) => Some(code),
                Fate::Open => Some(open),
            },
        };
        let error_code = partition.answered_with.or(failed).unwrap_or(ErrorCode::None);
        let mut response =
            ProducePartitionResponse { index: partition.index, error_code, base_offset: -1, ..Default::default() };
        match &partition.appended {
            Ok(appended) if error_code == ErrorCode::None => {
                response.base_offset = appended.base_offset;
                response.log_append_time_ms = appended.log_append_time_ms;
                response.log_start_offset = appended.log_start_offset;
            }
            Ok(_) => response.current_leader = hints.hint(state, partition.key, error_code),
            Err(rejected) => {
                response.current_leader = hints.hint(state, partition.key, error_code);
                let refusal =
                    Refusal { record_errors: rejected.records.clone(), error_message: rejected.message.clone() };
                response.refusal = Some(Box::new(refusal));
            }
        }
        response
    }

    fn fate(&self, state: &ClusterState, result: &PartitionResult) -> Fate {
        let (Ok(appended), Some(key)) = (&result.appended, result.key) else { return Fate::Safe };
        let Some(topic) = state.topic_by_id(key.topic) else { return Fate::Lost(ErrorCode::UnknownTopicOrPartition) };
        let Some(partition) = topic.partition(key.partition) else { return Fate::Safe };
        if !state.serves(self.node, partition) || partition.leader_epoch() != appended.leader_epoch {
            return Fate::Lost(ErrorCode::NotLeaderOrFollower);
        }
        if partition.high_watermark() < appended.required {
            return Fate::Open;
        }
        if partition.in_sync().len() < topic.config.min_in_sync_replicas {
            return Fate::Lost(ErrorCode::NotEnoughReplicasAfterAppend);
        }
        Fate::Safe
    }

    fn partitions(&self) -> impl Iterator<Item = &PartitionResult> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }
}

/// What has become of an appended batch.
enum Fate {
    Safe,
    Open,
    Lost(ErrorCode),
}

#[cfg(test)]
mod tests;
