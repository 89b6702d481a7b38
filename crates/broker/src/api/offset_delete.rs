//! OffsetDelete: what a group has committed for partitions that none of its members reads is forgotten (KIP-496).

use ottla_wire::messages::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};
use ottla_wire::{ErrorCode, TopicPartition};

use super::written::WrittenRecords;
use super::{AnyResponse, Context, Outcome, Waiting, WaitingRequest};
use crate::group::Group;
use crate::state::{ClusterState, Now, PartitionKey, WRITE_TIMEOUT};

pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, request: OffsetDeleteRequest) -> Outcome {
    let OffsetDeleteRequest { group_id, topics } = request;
    let checked = match context.whole_refused_before() {
        Some(code) => Err(code),
        None => check_group(state, now, context, &group_id),
    };
    let key = match checked {
        Ok(key) => key,
        Err(error_code) => {
            return Outcome::Answer(AnyResponse::OffsetDelete(OffsetDeleteResponse {
                error_code,
                ..Default::default()
            }));
        }
    };
    let topics: Vec<TopicResult> =
        topics.into_iter().map(|topic| check_topic(state, context, key, &group_id, topic)).collect();
    let deleted = topics.iter().flat_map(TopicResult::deleted).map(|partition| (partition, None)).collect::<Vec<_>>();
    let written = if deleted.is_empty() {
        Ok(None)
    } else {
        let required = state.commit_offsets(key, now, &group_id, deleted);
        required.map(|required| Some(WrittenRecords::new(state, context.node, key, required)))
    };
    let awaited = AwaitedOffsetDeletion { topics, written, answered_with: context.whole_answered_with() };
    Outcome::Wait(Waiting {
        until: Some(now.instant + WRITE_TIMEOUT),
        awaited: awaited.written.iter().flatten().map(WrittenRecords::awaited).collect(),
        request: WaitingRequest::OffsetDelete(awaited),
    })
}

fn check_group(state: &ClusterState, now: Now, context: &Context, group_id: &str) -> Result<PartitionKey, ErrorCode> {
    if group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let key = state.coordinated_by(context.node, group_id, now.instant)?;
    state.group(key, group_id).map_or(Err(ErrorCode::GroupIdNotFound), Group::check_offset_deletion)?;
    Ok(key)
}

fn check_topic(
    state: &ClusterState,
    context: &Context,
    key: PartitionKey,
    group_id: &str,
    topic: OffsetDeleteRequestTopic,
) -> TopicResult {
    let name = topic.name;
    let is_subscribed = state.group(key, group_id).is_some_and(|group| group.is_subscribed_to(&name));
    let partition = |index| {
        let exists = state.topic(&name).is_some_and(|topic| topic.partition(index).is_some());
        let refused = match (context.refused(&name, Some(index)), exists) {
            (Some(code), _) => Some(code),
            (None, false) => Some(ErrorCode::UnknownTopicOrPartition),
            (None, true) => is_subscribed.then_some(ErrorCode::GroupSubscribedToTopic),
        };
        (index, refused)
    };
    let partitions = topic.partitions.iter().map(|asked| partition(asked.partition_index)).collect();
    TopicResult { name, partitions }
}

/// What becomes of the offsets of a topic.
#[derive(Debug)]
struct TopicResult {
    name: String,
    /// Each with the reason why its offset stays.
    partitions: Vec<(i32, Option<ErrorCode>)>,
}

impl TopicResult {
    fn deleted(&self) -> impl Iterator<Item = TopicPartition> {
        let deleted = self.partitions.iter().filter(|(_, refused)| refused.is_none());
        deleted.map(|(index, _)| TopicPartition::new(self.name.as_str(), *index))
    }
}

/// A request whose deletions have been written and have to be replicated.
#[derive(Debug)]
pub(crate) struct AwaitedOffsetDeletion {
    topics: Vec<TopicResult>,
    /// What was written, if anything had to be.
    written: Result<Option<WrittenRecords>, ErrorCode>,
    /// An injected error that takes the place of the answer.
    answered_with: Option<ErrorCode>,
}

impl AwaitedOffsetDeletion {
    /// The answer, if the deletions are safe, lost or overdue.
    pub(super) fn try_answer(&self, state: &ClusterState, overdue: bool) -> Option<OffsetDeleteResponse> {
        let fate = match &self.written {
            Ok(Some(written)) => written.fate(state, overdue)?,
            Ok(None) => ErrorCode::None,
            Err(code) => *code,
        };
        let error_code = self.answered_with.unwrap_or(fate);
        if error_code != ErrorCode::None {
            return Some(OffsetDeleteResponse { error_code, ..Default::default() });
        }
        let partition = |(index, refused): &(i32, Option<ErrorCode>)| OffsetDeleteResponsePartition {
            partition_index: *index,
            error_code: refused.unwrap_or(ErrorCode::None),
        };
        let topic = |topic: &TopicResult| OffsetDeleteResponseTopic {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(partition).collect(),
        };
        Some(OffsetDeleteResponse { topics: self.topics.iter().map(topic).collect(), ..Default::default() })
    }
}
