//! Asking new leaders whether their logs have what was read (OffsetForLeaderEpoch, KIP-320).
//!
//! Nothing is fetched from a leader before it has answered. What is buffered goes on being handed out meanwhile, because it was
//! replicated when it was fetched, as all was that was handed out before. As soon as an answer tells where the log parted from
//! what was fetched, nothing behind that is handed out any more, and the position is [seen to](crate::lost_position).
//!
//! A leader of an older epoch than it is asked for is behind, and decides nothing: metadata came from a broker that is behind, too.
//! It is believed after some attempts all the same, because so is the leader of a topic that was made anew where topics have no
//! ids.
//!
//! A broker that cannot be asked (no OffsetForLeaderEpoch, no epochs, or only for those who administer it) is believed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ottla_cluster::Leader;
use ottla_wire::messages::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopic,
};
use ottla_wire::{ErrorCode, LeaderEpoch, NodeId, TopicPartition};

use crate::Error;
use crate::buffered::Failure;
use crate::position::{Partition, Validation};
use crate::state::State;
use crate::truncation::{DivergingOffset, Question, Verdict};

/// One OffsetForLeaderEpoch for partitions that share a leader.
#[derive(Debug)]
pub(crate) struct ValidationRequest {
    pub(crate) id: u64,
    pub(crate) node: NodeId,
    pub(crate) request: OffsetForLeaderEpochRequest,
    asked: BTreeMap<TopicPartition, Question>,
}

impl ValidationRequest {
    fn new(id: u64, node: NodeId) -> Self {
        let request =
            OffsetForLeaderEpochRequest { replica_id: NodeId::NONE, ..OffsetForLeaderEpochRequest::default() };
        Self { id, node, request, asked: BTreeMap::new() }
    }

    fn ask(&mut self, name: TopicPartition, leader: Leader, question: Question) {
        let partition = OffsetForLeaderPartition {
            partition: name.partition,
            current_leader_epoch: leader.epoch.unwrap_or(LeaderEpoch::NONE),
            leader_epoch: question.epoch,
        };
        let topics = &mut self.request.topics;
        if let Some(topic) = topics.last_mut().filter(|topic| *topic.topic == *name.topic) {
            topic.partitions.push(partition);
        } else {
            let topic = name.topic.as_ref().to_owned();
            topics.push(OffsetForLeaderTopic { topic, partitions: vec![partition] });
        }
        self.asked.insert(name, question);
    }
}

impl State {
    /// What leaders are to be asked now.
    pub(crate) fn next_validations(&mut self, now: Instant) -> Vec<ValidationRequest> {
        if self.to_validate.is_empty() {
            return Vec::new();
        }
        let id = self.new_generation();
        let mut nodes: BTreeMap<NodeId, ValidationRequest> = BTreeMap::new();
        let places: Vec<usize> = self.to_validate.iter().copied().collect();
        for place in places {
            let Some(partition) = self.partition_mut(place).filter(|partition| partition.needs_validation()) else {
                self.to_validate.remove(&place);
                continue;
            };
            let (Some(question), Some(leader)) = (partition.wants_validation(), partition.leader) else { continue };
            if partition.is_due(now) {
                partition.in_flight = Some(id);
                let request = nodes.entry(leader.node).or_insert_with(|| ValidationRequest::new(id, leader.node));
                request.ask(partition.name.clone(), leader, question);
            }
        }
        self.watch_lookups(nodes.keys().map(|node| (id, *node)), now);
        nodes.into_values().collect()
    }

    /// Takes in the answer; `Err`: there is none.
    pub(crate) fn handle_validation(
        &mut self,
        asked: &ValidationRequest,
        answer: Result<OffsetForLeaderEpochResponse, ottla_cluster::Error>,
        now: Instant,
    ) {
        self.handle_lookup_ended(asked.id, asked.node, answer.is_ok());
        let failure = match answer {
            Ok(response) => {
                for topic in response.topics {
                    let name: Arc<str> = topic.topic.into();
                    for end in &topic.partitions {
                        let name = TopicPartition { topic: Arc::clone(&name), partition: end.partition };
                        self.handle_epoch_end(asked, &name, end, now);
                    }
                }
                None
            }
            Err(error) => Some(error),
        };
        // Those that the answer left out, or all of them.
        for name in asked.asked.keys() {
            let Some((place, generation)) = self.release_lookup(name, asked.id) else { continue };
            match &failure {
                Some(error) if is_unsupported(error) => self.validated(place),
                Some(error) if !error.is_retriable() => {
                    self.fail(place, generation, Error::Cluster(error.clone()), now);
                }
                _ => {
                    self.refresh(place);
                    self.retry_later(place, generation, now);
                }
            }
        }
    }

    fn handle_epoch_end(
        &mut self,
        asked: &ValidationRequest,
        name: &TopicPartition,
        end: &EpochEndOffset,
        now: Instant,
    ) {
        let Some(question) = asked.asked.get(name) else { return };
        let Some((place, generation)) = self.release_lookup(name, asked.id) else { return };
        match end.error_code {
            ErrorCode::None => {
                let end = end
                    .leader_epoch
                    .known()
                    .filter(|_| end.end_offset >= 0)
                    .map(|leader_epoch| DivergingOffset { offset: end.end_offset, leader_epoch });
                if self.is_behind(place, *question, end) {
                    self.refresh(place);
                    self.retry_later(place, generation, now);
                } else {
                    self.judge(place, *question, end);
                }
            }
            // Before Kafka 2.3 only those may ask who may administer the cluster.
            ErrorCode::ClusterAuthorizationFailed | ErrorCode::UnsupportedForMessageFormat => self.validated(place),
            error_code => self.refused("OffsetForLeaderEpoch", asked.node, place, generation, error_code, now),
        }
    }

    /// Whether the leader knows nothing of the epoch that it was asked for because it led before that, and may yet be found to
    /// lead no more.
    fn is_behind(&mut self, place: usize, question: Question, answer: Option<DivergingOffset>) -> bool {
        let Some(partition) = self.partition_mut(place) else { return false };
        let leader_epoch = partition.leader.and_then(|leader| leader.epoch);
        let is_older = leader_epoch.is_some_and(|leader_epoch| leader_epoch < question.epoch);
        if !is_older || answer.is_some_and(|answer| answer.leader_epoch >= question.epoch) {
            return false;
        }
        partition.answers_from_behind = partition.answers_from_behind.saturating_add(1);
        partition.answers_from_behind <= ATTEMPTS_AT_A_NEWER_LEADER
    }

    /// The leader's log knows this of what was read.
    fn judge(&mut self, place: usize, question: Question, answer: Option<DivergingOffset>) {
        let Some(partition) = self.partition_mut(place) else { return };
        match partition.epochs.judge(question, answer) {
            Verdict::Agrees => self.validated(place),
            Verdict::AskAgain(question) => {
                let is_out_of_range = matches!(partition.validation, Validation::Needed { is_out_of_range: true, .. });
                partition.validation = Validation::Needed { again: Some(question), is_out_of_range };
            }
            Verdict::Parted(diverging) => self.parted(place, Some(diverging)),
            Verdict::Unknown => self.parted(place, None),
        }
    }

    /// A Fetch was answered by where the log parts from what was read.
    pub(crate) fn handle_diverging(&mut self, place: usize, answer: DivergingOffset) {
        let Some(partition) = self.partition_mut(place) else { return };
        let question = partition.fetch_offset().and_then(|offset| partition.epochs.question(offset));
        match question {
            Some(question) => self.judge(place, question, Some(answer)),
            None => self.parted(place, Some(answer)),
        }
        if self.partition(place).is_some_and(Partition::needs_validation) {
            self.to_validate.insert(place);
        }
    }

    /// The log does not have the fetch offset, as its leader says. Because it was truncated?
    pub(crate) fn handle_out_of_range(&mut self, place: usize, generation: u64) {
        let Some(partition) = self.current(place, generation) else { return };
        let can_ask = partition.leader.is_some_and(|leader| leader.epoch.is_some());
        if can_ask && partition.epochs.latest().is_some() {
            partition.validation = Validation::Needed { again: None, is_out_of_range: true };
            self.to_validate.insert(place);
            return;
        }
        self.push_out_of_range(place);
    }

    fn push_out_of_range(&mut self, place: usize) {
        let Some(partition) = self.partition_mut(place) else { return };
        // Nothing is fetched until the application has been handed what is before it.
        partition.untold = true;
        let generation = partition.generation;
        self.buffered.push_failure(place, generation, Failure::OutOfRange);
    }

    /// The leader has what was read, as far as can be told.
    fn validated(&mut self, place: usize) {
        let Some(partition) = self.partition_mut(place) else { return };
        let is_out_of_range = matches!(partition.validation, Validation::Needed { is_out_of_range: true, .. });
        partition.validation = Validation::Done;
        partition.succeeded();
        if is_out_of_range {
            self.push_out_of_range(place);
        }
    }

    fn parted(&mut self, place: usize, diverging: Option<DivergingOffset>) {
        let Some(partition) = self.partition_mut(place) else { return };
        partition.validation = Validation::Truncated(diverging);
        partition.succeeded();
        self.truncated.insert(place);
    }
}

/// With the back-off of its default, about ten seconds.
const ATTEMPTS_AT_A_NEWER_LEADER: u32 = 10;

/// Whether the broker does not know OffsetForLeaderEpoch.
fn is_unsupported(error: &ottla_cluster::Error) -> bool {
    let ottla_cluster::Error::Connection { source, .. } = error else { return false };
    matches!(source, ottla_connection::Error::UnsupportedVersion { .. })
}
