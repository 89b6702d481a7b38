//! OffsetFetch: the offsets that groups have committed, as far as they are safe.
//!
//! With `require_stable` the answer waits until everything that was written before is safe, too; that is what Kafka's
//! coordinator does from 4.0 on. Offsets of transactions, which it would have to wait for besides, are not there yet.

use ottla_wire::messages::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_wire::{ErrorCode, LeaderEpoch, TopicPartition};

use super::{AnyResponse, Context, Outcome, Waiting, WaitingRequest};
use crate::group::CommittedOffset;
use crate::state::{Awaited, ClusterState, Now, PartitionKey, WRITE_TIMEOUT};

pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, request: OffsetFetchRequest) -> Outcome {
    let OffsetFetchRequest { group_id, topics, mut groups, require_stable } = request;
    if context.version < 8 {
        let by_name = |topic: ottla_wire::messages::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        };
        let topics = topics.map(|topics| topics.into_iter().map(by_name).collect());
        groups = vec![OffsetFetchRequestGroup { group_id, topics, ..Default::default() }];
    }
    let group = |group: OffsetFetchRequestGroup| {
        let coordinated = match context.whole_refused() {
            Some(code) => Err(code),
            None => state.coordinated_by(context.node, &group.group_id, now.instant),
        };
        let coordinated = coordinated.map(|key| {
            let leader_epoch = state.partition(key).map_or(-1, crate::state::Partition::leader_epoch);
            let required = if require_stable { state.written_until(key) } else { 0 };
            Source { key, leader_epoch, required }
        });
        AskedGroup { group, source: coordinated }
    };
    let awaited = AwaitedOffsets { context: context.clone(), groups: groups.into_iter().map(group).collect() };
    if let Some(response) = awaited.try_answer(state, false) {
        return Outcome::Answer(AnyResponse::OffsetFetch(response));
    }
    let sources = awaited.groups.iter().filter_map(|asked| asked.source.as_ref().ok());
    Outcome::Wait(Waiting {
        until: Some(now.instant + WRITE_TIMEOUT),
        awaited: sources.map(|source| Awaited::Partition(source.key)).collect(),
        request: WaitingRequest::OffsetFetch(awaited),
    })
}

/// A request that waits until what was committed before is safe.
#[derive(Debug)]
pub(crate) struct AwaitedOffsets {
    context: Context,
    groups: Vec<AskedGroup>,
}

#[derive(Debug)]
struct AskedGroup {
    group: OffsetFetchRequestGroup,
    /// Where its offsets are, or why they are not here.
    source: Result<Source, ErrorCode>,
}

/// The log that a group's offsets are in.
#[derive(Debug)]
struct Source {
    key: PartitionKey,
    leader_epoch: i32,
    /// How far it has to be replicated.
    required: i64,
}

impl AwaitedOffsets {
    /// The answer, if there is nothing left to wait for.
    pub(super) fn try_answer(&self, state: &ClusterState, overdue: bool) -> Option<OffsetFetchResponse> {
        let mut groups = Vec::with_capacity(self.groups.len());
        for asked in &self.groups {
            let safe = match &asked.source {
                Ok(source) => match self.is_safe(state, source) {
                    Some(safe) => safe,
                    // Kafka says this of its timeout, for clients that would not ask again otherwise.
                    None if overdue => Err(ErrorCode::NotCoordinator),
                    None => return None,
                },
                Err(code) => Err(*code),
            };
            groups.push(self.answer(state, &asked.group, safe));
        }
        Some(in_version(self.context.version, groups))
    }

    fn is_safe(&self, state: &ClusterState, source: &Source) -> Option<Result<PartitionKey, ErrorCode>> {
        let partition = state.partition(source.key);
        let led = partition.filter(|partition| {
            partition.leader() == Some(self.context.node) && partition.leader_epoch() == source.leader_epoch
        });
        match led {
            None => Some(Err(ErrorCode::NotCoordinator)),
            Some(partition) if partition.high_watermark() >= source.required => Some(Ok(source.key)),
            Some(_) => None,
        }
    }

    fn answer(
        &self,
        state: &ClusterState,
        group: &OffsetFetchRequestGroup,
        safe: Result<PartitionKey, ErrorCode>,
    ) -> OffsetFetchResponseGroup {
        let topics = match (&safe, &group.topics) {
            (Ok(key), Some(topics)) => topics.iter().map(|topic| self.of_topic(state, *key, group, topic)).collect(),
            (Ok(key), None) => self.all_of(state, *key, group),
            // Before version 2 only partitions have codes.
            (Err(code), Some(topics)) if self.context.version < 2 => {
                topics.iter().map(|topic| failed(topic, *code)).collect()
            }
            (Err(_), _) => Vec::new(),
        };
        OffsetFetchResponseGroup {
            group_id: group.group_id.clone(),
            topics,
            error_code: safe.err().unwrap_or(ErrorCode::None),
        }
    }

    fn of_topic(
        &self,
        state: &ClusterState,
        key: PartitionKey,
        group: &OffsetFetchRequestGroup,
        asked: &OffsetFetchRequestTopics,
    ) -> OffsetFetchResponseTopics {
        let name = if self.context.version >= 10 {
            let Some(topic) = state.topic_by_id(asked.topic_id) else {
                return failed(asked, ErrorCode::UnknownTopicId);
            };
            &*topic.name
        } else {
            asked.name.as_str()
        };
        let partition = |index: &i32| {
            let offset = state.committed_offset(key, &group.group_id, &TopicPartition::new(name, *index));
            self.of_partition(name, *index, offset)
        };
        OffsetFetchResponseTopics {
            name: asked.name.clone(),
            topic_id: asked.topic_id,
            partitions: asked.partition_indexes.iter().map(partition).collect(),
        }
    }

    fn all_of(
        &self,
        state: &ClusterState,
        key: PartitionKey,
        group: &OffsetFetchRequestGroup,
    ) -> Vec<OffsetFetchResponseTopics> {
        let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
        for (partition, offset) in state.committed_offsets(key, &group.group_id) {
            let exists = state.topic(&partition.topic).is_some();
            if self.context.version >= 10 && !exists {
                // There is no id that it could be named by.
                continue;
            }
            let answer = self.of_partition(&partition.topic, partition.partition, Some(offset));
            match topics.last_mut() {
                Some(last) if *last.name == *partition.topic => last.partitions.push(answer),
                _ => topics.push(OffsetFetchResponseTopics {
                    name: partition.topic.to_string(),
                    topic_id: offset.topic_id,
                    partitions: vec![answer],
                }),
            }
        }
        topics
    }

    fn of_partition(
        &self,
        topic: &str,
        partition_index: i32,
        offset: Option<&CommittedOffset>,
    ) -> OffsetFetchResponsePartition {
        match (self.context.read_refused(topic, Some(partition_index)), offset) {
            (Some(code), _) => no_offset(partition_index, code),
            (None, None) => no_offset(partition_index, ErrorCode::None),
            (None, Some(offset)) => OffsetFetchResponsePartition {
                partition_index,
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch.unwrap_or_default(),
                metadata: Some(offset.metadata.clone()),
                error_code: ErrorCode::None,
            },
        }
    }
}

fn failed(asked: &OffsetFetchRequestTopics, code: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions = asked.partition_indexes.iter().map(|index| no_offset(*index, code)).collect();
    OffsetFetchResponseTopics { name: asked.name.clone(), topic_id: asked.topic_id, partitions }
}

fn no_offset(partition_index: i32, error_code: ErrorCode) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: LeaderEpoch::NONE,
        metadata: Some(String::new()),
        error_code,
    }
}

fn in_version(version: i16, mut groups: Vec<OffsetFetchResponseGroup>) -> OffsetFetchResponse {
    if version >= 8 {
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let Some(group) = groups.pop() else { return OffsetFetchResponse::default() };
    let by_name =
        |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic { name: topic.name, partitions: topic.partitions };
    let topics = group.topics.into_iter().map(by_name).collect();
    OffsetFetchResponse { topics, error_code: group.error_code, ..Default::default() }
}
