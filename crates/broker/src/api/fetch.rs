//! Fetch: batches from partitions, waiting for some where there are none (long poll).
//!
//! Read as Kafka reads: the request's `max_bytes` bounds the whole answer and `partition_max_bytes` each partition, but
//! the first partition with data gives at least one batch whatever its size (KIP-74); the last batch of a partition may
//! be cut. From version 11 on followers serve consumers, up to what they have (KIP-392).
//!
//! In a session (KIP-227) the request names what changed, and the answer what is new; what is read is the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::messages::{
    DivergingEpoch, FetchPartition, FetchPartitionData, FetchRequest, FetchResponse, FetchableTopicResponse,
    LeaderIdAndEpoch,
};
use ottla_wire::{ErrorCode, LeaderEpoch, NodeId};

use super::{AnyResponse, Context, LeaderHints, Outcome, Waiting, WaitingRequest, check_leader_epoch, partition_key};
use crate::fetch_session::{NO_SESSION, Opened, PartitionName, SessionRequest, SessionUse};
use crate::state::{Awaited, ClusterState, Now, Partition, PartitionKey};

/// The longest that a client can make a request wait.
const MAX_WAIT: Duration = Duration::from_mins(5);

/// The most that one answer holds, whatever the client asks for (`fetch.max.bytes` of brokers).
const MAX_BYTES: i32 = 55 * 1024 * 1024;

/// The first version that names topics by their ids.
const BY_ID: i16 = 13;

pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, mut request: FetchRequest) -> Outcome {
    let asked = session_request(context, &mut request);
    let Opened { partitions, session } = match state.fetch_sessions(context.node).open(now.instant, asked) {
        Ok(opened) => opened,
        Err(code) => return Outcome::Answer(AnyResponse::Fetch(refused(code))),
    };
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let awaited = AwaitedFetch { context: context.clone(), request, partitions, session };
    if let Some(response) = awaited.try_answer(state, max_wait.is_zero()) {
        return Outcome::Answer(AnyResponse::Fetch(response));
    }
    let partitions = awaited.keys(state).map(Awaited::Partition).collect();
    let request = WaitingRequest::Fetch(awaited);
    Outcome::Wait(Waiting { until: Some(now.instant + max_wait), awaited: partitions, request })
}

/// Takes the partitions out of a request.
fn session_request(context: &Context, request: &mut FetchRequest) -> SessionRequest {
    let mut partitions = Vec::new();
    for topic in std::mem::take(&mut request.topics) {
        let name: Arc<str> = topic.topic.into();
        for asked in topic.partitions {
            let (topic, topic_id, index) = (Arc::clone(&name), topic.topic_id, asked.partition);
            partitions.push((PartitionName { topic, topic_id, index }, asked));
        }
    }
    let mut forgotten = Vec::new();
    for topic in std::mem::take(&mut request.forgotten_topics_data) {
        let name: Arc<str> = topic.topic.into();
        let partition = |index| PartitionName { topic: Arc::clone(&name), topic_id: topic.topic_id, index };
        forgotten.extend(topic.partitions.into_iter().map(partition));
    }
    SessionRequest {
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        by_id: context.version >= BY_ID,
        partitions,
        forgotten,
    }
}

/// The answer to a request whose session is not what its client believes.
fn refused(error_code: ErrorCode) -> FetchResponse {
    FetchResponse { error_code, ..Default::default() }
}

/// The answer to one partition.
type Answered<'p> = (&'p PartitionName, FetchPartitionData);

/// A request that waits for its `min_bytes`.
#[derive(Debug)]
pub(crate) struct AwaitedFetch {
    context: Context,
    /// Without its partitions.
    request: FetchRequest,
    /// What is read, in this order.
    partitions: Vec<(PartitionName, FetchPartition)>,
    session: SessionUse,
}

impl AwaitedFetch {
    /// The answer, if there is enough to read, an error to report, or no time left to wait.
    pub(super) fn try_answer(&self, state: &mut ClusterState, overdue: bool) -> Option<FetchResponse> {
        (overdue || self.is_due(state)).then(|| self.answer(state))
    }

    fn is_due(&self, state: &ClusterState) -> bool {
        if self.partitions.is_empty() {
            return true;
        }
        // More than the answer may hold is not waited for.
        let wanted = u64::try_from(self.request.min_bytes.min(self.request.max_bytes).min(MAX_BYTES)).unwrap_or(0);
        let mut available = 0;
        for (name, asked) in &self.partitions {
            match self.view(state, name, asked) {
                Err(_) => return true,
                Ok(view) if view.diverging_epoch.is_some() || view.preferred_read_replica.is_some() => return true,
                Ok(view) => {
                    let bytes = view.partition.log.bytes_between(asked.fetch_offset, view.end);
                    available += bytes.min(u64::try_from(asked.partition_max_bytes).unwrap_or(0).max(1));
                }
            }
            if available >= wanted {
                return true;
            }
        }
        false
    }

    fn answer(&self, state: &mut ClusterState) -> FetchResponse {
        let mut hints = LeaderHints::carried_since(16, self.context.version);
        let mut budget =
            Budget { bytes: usize::try_from(self.request.max_bytes.min(MAX_BYTES)).unwrap_or(0), at_least_one: true };
        let mut answered = Vec::with_capacity(self.partitions.len());
        for (name, asked) in &self.partitions {
            answered.push(self.answer_partition(state, name, asked, &mut budget, &mut hints));
        }
        let (session_id, answered) = match self.in_session(state, answered) {
            Ok(in_session) => in_session,
            Err(code) => return refused(code),
        };
        let responses = by_topic(answered);
        FetchResponse { session_id, responses, node_endpoints: hints.endpoints, ..Default::default() }
    }

    /// What of the answers to all partitions the client gets, and in which session.
    fn in_session(
        &self,
        state: &mut ClusterState,
        answered: Vec<FetchPartitionData>,
    ) -> Result<(i32, Vec<Answered<'_>>), ErrorCode> {
        let sessions = state.fetch_sessions(self.context.node);
        let pairs = self.partitions.iter().zip(&answered);
        let (session_id, news) = match self.session {
            SessionUse::None => (NO_SESSION, None),
            SessionUse::Begins { by_id, at } => {
                (sessions.begin(by_id, at, pairs.map(|((name, asked), data)| (name, asked, data))), None)
            }
            SessionUse::GoesOn { session_id, epoch } => {
                let pairs = pairs.map(|((name, _), data)| (name, data));
                (session_id, Some(sessions.select(session_id, epoch, pairs)?))
            }
        };
        let names = self.partitions.iter().map(|(name, _)| name);
        let mut answered = names.zip(answered).collect::<Vec<_>>();
        if let Some(news) = news {
            let mut news = news.into_iter();
            answered.retain(|_| news.next().unwrap_or(true));
        }
        Ok((session_id, answered))
    }

    fn answer_partition(
        &self,
        state: &mut ClusterState,
        name: &PartitionName,
        asked: &FetchPartition,
        budget: &mut Budget,
        hints: &mut LeaderHints,
    ) -> FetchPartitionData {
        let view = match self.view(state, name, asked) {
            Ok(view) => view,
            Err((key, error_code)) => {
                let current_leader = hints.hint(state, key, error_code);
                return failed(asked.partition, error_code, current_leader, self.aborted_transactions());
            }
        };
        let (key, end) = (view.key, view.end);
        let reads = view.diverging_epoch.is_none() && view.preferred_read_replica.is_none();
        let mut data = FetchPartitionData {
            partition_index: asked.partition,
            high_watermark: end,
            last_stable_offset: end,
            log_start_offset: view.partition.log.start_offset(),
            preferred_read_replica: view.preferred_read_replica.unwrap_or(NodeId::NONE),
            diverging_epoch: view.diverging_epoch.unwrap_or_default(),
            aborted_transactions: self.aborted_transactions(),
            records: Some(Bytes::new()),
            ..Default::default()
        };
        if let Some(partition) = state.partition_mut(key).filter(|_| reads) {
            let max_bytes = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(budget.bytes);
            let records = partition.log.read(asked.fetch_offset, end, max_bytes, budget.at_least_one);
            budget.spend(records.len());
            data.records = Some(records);
        }
        data
    }

    /// A partition as this client may see it on the node that it asked.
    fn view<'s>(
        &self,
        state: &'s ClusterState,
        name: &PartitionName,
        asked: &FetchPartition,
    ) -> Result<View<'s>, (Option<PartitionKey>, ErrorCode)> {
        let node = self.context.node;
        let key = partition_key(state, &name.topic, name.topic_id, name.index);
        let topic = match key {
            Ok(key) => state.topic_by_id(key.topic).map_or("", |topic| &topic.name),
            Err(_) => &name.topic,
        };
        if let Some(code) = self.context.read_refused(topic, Some(name.index)) {
            return Err((key.ok(), code));
        }
        let key = key.map_err(|code| (None, code))?;
        let failed = |code| (Some(key), code);
        let partition = state.partition(key).ok_or(failed(ErrorCode::UnknownTopicOrPartition))?;
        check_leader_epoch(asked.current_leader_epoch, partition.leader_epoch()).map_err(failed)?;
        let is_leader = state.serves(node, partition);
        let may_read = is_leader || self.context.version >= 11 && partition.replicas().contains(&node);
        // A follower without a leader does not know up to where it may serve.
        if !may_read || partition.leader().is_none() {
            return Err(failed(ErrorCode::NotLeaderOrFollower));
        }
        let log = &partition.log;
        let end = if is_leader { partition.high_watermark() } else { partition.readable_end(node) };
        let log_end = partition.end_on(if is_leader { partition.leader().unwrap_or(node) } else { node });
        let mut view = View { key, partition, end, diverging_epoch: None, preferred_read_replica: None };
        if is_leader {
            view.preferred_read_replica = self.closest_replica(state, partition, asked.fetch_offset);
            view.diverging_epoch = diverging_epoch(partition, asked).map_err(failed)?;
        }
        let in_range = (log.start_offset()..=log_end).contains(&asked.fetch_offset);
        let moved = view.diverging_epoch.is_some() || view.preferred_read_replica.is_some();
        if in_range || moved { Ok(view) } else { Err(failed(ErrorCode::OffsetOutOfRange)) }
    }

    /// The replica to read from instead of the leader, as Kafka's `RackAwareReplicaSelector` chooses it: in the
    /// client's rack, the one that has most, of those in sync that have the offset; the leader itself, if it is there.
    fn closest_replica(&self, state: &ClusterState, partition: &Partition, fetch_offset: i64) -> Option<NodeId> {
        let rack = &self.request.rack_id;
        if !state.settings.fetch_from_closest_replica || rack.is_empty() {
            return None;
        }
        let in_rack = |node: &&NodeId| state.live_node(**node).and_then(|node| node.rack.as_ref()) == Some(rack);
        let closest = partition.in_sync().iter().filter(in_rack).copied();
        if closest.clone().any(|node| Some(node) == partition.leader()) {
            return None;
        }
        let start = partition.log.start_offset();
        let has_offset = |node: &NodeId| (start..=partition.end_on(*node)).contains(&fetch_offset);
        // Of equals the first, as they stand among the replicas.
        closest.filter(has_offset).rev().max_by_key(|node| partition.end_on(*node))
    }

    fn aborted_transactions(&self) -> Option<Vec<ottla_wire::messages::AbortedTransaction>> {
        (self.request.isolation_level == 1).then(Vec::new)
    }

    fn keys(&self, state: &ClusterState) -> impl Iterator<Item = PartitionKey> {
        let key = |(name, _): &(PartitionName, _)| partition_key(state, &name.topic, name.topic_id, name.index).ok();
        self.partitions.iter().filter_map(key)
    }
}

/// The answers in their order, those that follow one another of one topic together.
fn by_topic(answered: Vec<Answered<'_>>) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for (name, data) in answered {
        match topics.last_mut() {
            Some(last) if *last.topic == *name.topic && last.topic_id == name.topic_id => last.partitions.push(data),
            _ => topics.push(FetchableTopicResponse {
                topic: name.topic.to_string(),
                topic_id: name.topic_id,
                partitions: vec![data],
            }),
        }
    }
    topics
}

/// A partition, and what of it may be read.
struct View<'s> {
    key: PartitionKey,
    partition: &'s Partition,
    /// Up to here, exclusive.
    end: i64,
    diverging_epoch: Option<DivergingEpoch>,
    preferred_read_replica: Option<NodeId>,
}

/// What an answer may still take.
struct Budget {
    bytes: usize,
    /// Nothing has been read yet: the first batch comes whatever its size.
    at_least_one: bool,
}

impl Budget {
    fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.at_least_one &= bytes == 0;
    }
}

/// Where the log parted from what a client says it has read last (KIP-595).
fn diverging_epoch(partition: &Partition, asked: &FetchPartition) -> Result<Option<DivergingEpoch>, ErrorCode> {
    let Some(LeaderEpoch(last_fetched)) = asked.last_fetched_epoch.known() else { return Ok(None) };
    let end = partition.log.epochs.end_of(last_fetched, partition.log.end_offset());
    let (epoch, end_offset) = end.ok_or(ErrorCode::OffsetOutOfRange)?;
    let parted = epoch < last_fetched || end_offset < asked.fetch_offset;
    Ok(parted.then_some(DivergingEpoch { epoch: LeaderEpoch(epoch), end_offset }))
}

fn failed(
    partition_index: i32,
    error_code: ErrorCode,
    current_leader: LeaderIdAndEpoch,
    aborted_transactions: Option<Vec<ottla_wire::messages::AbortedTransaction>>,
) -> FetchPartitionData {
    FetchPartitionData {
        partition_index,
        error_code,
        high_watermark: -1,
        current_leader,
        aborted_transactions,
        records: Some(Bytes::new()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
