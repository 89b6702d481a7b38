//! OffsetCommit: offsets are written for the group, and answered when they are as safe as what is produced with acks=all.

use ottla_wire::messages::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_wire::{ErrorCode, TopicId, TopicPartition};

use super::written::WrittenRecords;
use super::{AnyResponse, Context, Outcome, Waiting, WaitingRequest};
use crate::group::{CommittedOffset, Committer};
use crate::state::{ClusterState, Now, PartitionKey, WRITE_TIMEOUT};

pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, request: OffsetCommitRequest) -> Outcome {
    let OffsetCommitRequest { group_id, generation_id_or_member_epoch, member_id, group_instance_id, topics, .. } =
        request;
    let mut checked =
        topics.into_iter().map(|topic| check_topic(state, now, context, topic)).collect::<Vec<TopicResult>>();
    if !checked.iter().any(TopicResult::is_valid) {
        return Outcome::Answer(AnyResponse::OffsetCommit(answer(&checked, ErrorCode::None)));
    }
    let committer = Committer {
        member_id: &member_id,
        instance_id: group_instance_id.as_deref(),
        generation_id: generation_id_or_member_epoch,
    };
    let written = check_group(state, now, context, &group_id, committer).and_then(|key| {
        let offsets = take_offsets(state.settings.offset_metadata_max_bytes, &mut checked);
        if offsets.is_empty() {
            return Ok(None);
        }
        let required = state.commit_offsets(key, now, &group_id, offsets)?;
        Ok(Some(WrittenRecords::new(state, context.node, key, required)))
    });
    let written = match written {
        Ok(Some(written)) => written,
        Ok(None) => return Outcome::Answer(AnyResponse::OffsetCommit(answer(&checked, ErrorCode::None))),
        Err(code) => return Outcome::Answer(AnyResponse::OffsetCommit(answer(&checked, code))),
    };
    Outcome::Wait(Waiting {
        until: Some(now.instant + WRITE_TIMEOUT),
        awaited: vec![written.awaited()],
        request: WaitingRequest::OffsetCommit(AwaitedCommit { written, topics: checked }),
    })
}

/// A commit that has been written and has to be replicated.
#[derive(Debug)]
pub(crate) struct AwaitedCommit {
    written: WrittenRecords,
    topics: Vec<TopicResult>,
}

impl AwaitedCommit {
    /// The answer, if the offsets are safe, lost or overdue.
    pub(super) fn try_answer(&self, state: &ClusterState, overdue: bool) -> Option<OffsetCommitResponse> {
        Some(answer(&self.topics, self.written.fate(state, overdue)?))
    }
}

/// What becomes of the offsets of a topic.
#[derive(Debug)]
struct TopicResult {
    name: String,
    topic_id: TopicId,
    partitions: Vec<PartitionResult>,
}

#[derive(Debug)]
struct PartitionResult {
    index: i32,
    /// What is to be written; `None` once it has been taken.
    offset: Result<Option<(TopicPartition, CommittedOffset)>, ErrorCode>,
    /// An injected error that takes the place of the answer.
    answered_with: Option<ErrorCode>,
}

impl TopicResult {
    fn is_valid(&self) -> bool {
        self.partitions.iter().any(|partition| partition.offset.is_ok())
    }
}

fn check_topic(state: &ClusterState, now: Now, context: &Context, topic: OffsetCommitRequestTopic) -> TopicResult {
    let OffsetCommitRequestTopic { name, topic_id, partitions } = topic;
    let (found, missing) = if context.version >= 10 {
        (state.topic_by_id(topic_id), ErrorCode::UnknownTopicId)
    } else {
        (state.topic(&name), ErrorCode::UnknownTopicOrPartition)
    };
    let known = found.map_or(name.as_str(), |topic| &topic.name);
    let partition = |asked: OffsetCommitRequestPartition| {
        let index = asked.partition_index;
        let offset = match (context.refused(known, Some(index)), found) {
            (Some(code), _) => Err(code),
            (None, None) => Err(missing),
            (None, Some(topic)) if topic.partition(index).is_none() => Err(ErrorCode::UnknownTopicOrPartition),
            (None, Some(topic)) => {
                let offset = CommittedOffset {
                    offset: asked.committed_offset,
                    leader_epoch: asked.committed_leader_epoch.known(),
                    metadata: asked.committed_metadata.unwrap_or_default(),
                    commit_timestamp_ms: now.timestamp_ms,
                    topic_id: topic.id,
                };
                Ok(Some((TopicPartition::new(topic.name.clone(), index), offset)))
            }
        };
        PartitionResult { index, offset, answered_with: context.answered_with(known, Some(index)) }
    };
    let partitions = partitions.into_iter().map(partition).collect();
    TopicResult { name, topic_id, partitions }
}

/// Whether the group lets whoever asks commit. One that does not exist is made for those who are no members.
fn check_group(
    state: &mut ClusterState,
    now: Now,
    context: &Context,
    group_id: &str,
    committer: Committer<'_>,
) -> Result<PartitionKey, ErrorCode> {
    let key = state.coordinated_by(context.node, group_id, now.instant)?;
    if state.group(key, group_id).is_none() {
        match (committer.generation_id < 0, context.version >= 9) {
            // The offsets themselves tell a new coordinator of it.
            (true, _) => state.create_simple_group(key, group_id),
            (false, true) => return Err(ErrorCode::GroupIdNotFound),
            (false, false) => return Err(ErrorCode::IllegalGeneration),
        }
    }
    let checked = state.with_group(key, now, group_id, |group| group.handle_commit(now.instant, committer));
    checked.unwrap_or(Err(ErrorCode::NotCoordinator))?;
    Ok(key)
}

/// What is to be written. Metadata that is too long is refused.
fn take_offsets(max_metadata: usize, topics: &mut [TopicResult]) -> Vec<(TopicPartition, Option<CommittedOffset>)> {
    let mut offsets = Vec::new();
    for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let Ok(offset) = &mut partition.offset else { continue };
        // Java counts UTF-16 units.
        let too_long = |offset: &CommittedOffset| offset.metadata.encode_utf16().count() > max_metadata;
        if offset.as_ref().is_some_and(|(_, offset)| too_long(offset)) {
            partition.offset = Err(ErrorCode::OffsetMetadataTooLarge);
        } else {
            offsets.extend(offset.take().map(|(partition, offset)| (partition, Some(offset))));
        }
    }
    offsets
}

/// The answer, `code` being that of the partitions with which nothing is wrong by themselves.
fn answer(topics: &[TopicResult], code: ErrorCode) -> OffsetCommitResponse {
    let partition = |partition: &PartitionResult| OffsetCommitResponsePartition {
        partition_index: partition.index,
        error_code: partition.answered_with.unwrap_or(*partition.offset.as_ref().err().unwrap_or(&code)),
    };
    let topic = |topic: &TopicResult| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(partition).collect(),
    };
    OffsetCommitResponse { topics: topics.iter().map(topic).collect(), ..Default::default() }
}
