//! What a fault changes in an answer: how brokers answer that are not quite Kafka.
//!
//! The answer is made as always, and then changed in one place, so that no handler knows of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_wire::messages::{
    AbortedTransaction, DivergingEpoch, FetchPartitionData, FetchResponse, ListOffsetsResponse, MetadataResponse,
    ProduceResponse,
};
use ottla_wire::records::RecordBatches;
use ottla_wire::{LeaderEpoch, ProducerId, TopicId};

use crate::api::AnyResponse;
use crate::fault::Target;
use crate::machine::Answer;

/// A way of answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Alteration {
    Throttle(Duration),
    HideLeaderEpochs,
    HideTopicIds,
    ZeroHighWatermarks,
    /// By producer and first offset.
    ListAborted(Arc<[(ProducerId, i64)]>),
    AnswerUnasked,
}

/// An alteration, and what of an answer it is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Altered {
    pub(crate) alteration: Alteration,
    pub(crate) target: Target,
}

impl Altered {
    pub(crate) fn apply(&self, answer: &mut Answer) {
        match (&self.alteration, answer) {
            (Alteration::AnswerUnasked, answer @ Answer::Nothing) => {
                *answer = Answer::Response(AnyResponse::Produce(ProduceResponse::default()));
            }
            (Alteration::Throttle(time), Answer::Response(response)) => throttle(response, *time),
            (Alteration::HideLeaderEpochs, Answer::Response(response)) => hide_leader_epochs(response),
            (Alteration::HideTopicIds, Answer::Response(AnyResponse::Metadata(response))) => {
                self.hide_topic_ids(response);
            }
            (Alteration::ZeroHighWatermarks, Answer::Response(AnyResponse::Fetch(response))) => {
                for partition in fetched(response) {
                    (partition.high_watermark, partition.last_stable_offset, partition.log_start_offset) = (0, 0, 0);
                }
            }
            (Alteration::ZeroHighWatermarks, Answer::Response(AnyResponse::ListOffsets(response))) => {
                listed(response).for_each(|partition| partition.offset = 0);
            }
            (Alteration::ListAborted(transactions), Answer::Response(AnyResponse::Fetch(response))) => {
                let aborted = |&(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset };
                for partition in fetched(response) {
                    partition.aborted_transactions = Some(transactions.iter().map(aborted).collect());
                }
            }
            // An answer without any such thing, or none at all.
            _ => {}
        }
    }

    fn hide_topic_ids(&self, response: &mut MetadataResponse) {
        for topic in &mut response.topics {
            if self.target.names(topic.name.as_deref().unwrap_or_default(), None) {
                topic.topic_id = TopicId::NONE;
            }
        }
    }
}

fn throttle(response: &mut AnyResponse, time: Duration) {
    response.set_throttle_time_ms(i32::try_from(time.as_millis()).unwrap_or(i32::MAX));
    if let AnyResponse::Fetch(response) = response {
        response.responses.clear();
    }
}

fn hide_leader_epochs(response: &mut AnyResponse) {
    match response {
        AnyResponse::Metadata(response) => {
            let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.leader_epoch = LeaderEpoch::NONE);
        }
        AnyResponse::ListOffsets(response) => {
            listed(response).for_each(|partition| partition.leader_epoch = LeaderEpoch::NONE);
        }
        AnyResponse::OffsetFetch(response) => {
            let groups = response.groups.iter_mut().flat_map(|group| &mut group.topics);
            let partitions = groups.flat_map(|topic| &mut topic.partitions);
            let before_groups = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            let partitions = partitions.chain(before_groups);
            partitions.for_each(|partition| partition.committed_leader_epoch = LeaderEpoch::NONE);
        }
        AnyResponse::Fetch(response) => {
            for partition in fetched(response) {
                partition.current_leader.leader_epoch = LeaderEpoch::NONE;
                partition.diverging_epoch = DivergingEpoch::default();
                partition.records = partition.records.take().map(|records| without_epochs(&records));
            }
        }
        AnyResponse::Produce(response) => {
            let partitions = response.responses.iter_mut().flat_map(|topic| topic.partition_responses.iter_mut());
            partitions.for_each(|partition| partition.current_leader.leader_epoch = LeaderEpoch::NONE);
        }
        _ => {}
    }
}

/// The batches, each with -1 for the epoch of the leader that appended it, which no checksum covers.
fn without_epochs(records: &Bytes) -> Bytes {
    let mut altered = BytesMut::from(records.as_ref());
    let (mut batches, mut start) = (RecordBatches::new(records.clone()), 0);
    while let Some(Ok(_)) = batches.next() {
        let epoch = start + LEADER_EPOCH_AT..start + LEADER_EPOCH_AT + 4;
        if let Some(epoch) = altered.get_mut(epoch) {
            epoch.copy_from_slice(&(-1i32).to_be_bytes());
        }
        start = batches.position();
    }
    altered.freeze()
}

fn fetched(response: &mut FetchResponse) -> impl Iterator<Item = &mut FetchPartitionData> {
    response.responses.iter_mut().flat_map(|topic| &mut topic.partitions)
}

fn listed(
    response: &mut ListOffsetsResponse,
) -> impl Iterator<Item = &mut ottla_wire::messages::ListOffsetsPartitionResponse> {
    response.topics.iter_mut().flat_map(|topic| &mut topic.partitions)
}

/// Where a batch's header has it: after the base offset and the length.
const LEADER_EPOCH_AT: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_cluster::batch;

    #[test]
    fn each_batch_loses_its_epoch_and_nothing_else() {
        let two = [batch(&[1, 2]), batch(&[3])].concat();
        let altered = without_epochs(&Bytes::from(two.clone()));
        let epochs = RecordBatches::new(altered.clone()).map(|batch| batch.unwrap().partition_leader_epoch());
        assert_eq!(epochs.collect::<Vec<_>>(), [-1, -1]);
        let differing = altered.iter().zip(&two).filter(|(one, other)| one != other).count();
        assert!(differing <= 8, "{differing}");
    }
}
