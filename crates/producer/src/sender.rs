//! Which batch goes to which broker next, without I/O.
//!
//! A partition that has something to send gets a [`Turn`]. The turn ends when the batch taken for it is settled: written,
//! refused, or out of time. Until then the partition sends nothing else, which keeps its records in order.
//!
//! ```text
//!                 ┌── leader unknown ──▶ Leaderless ──┐ metadata
//!   add ──────────┤                                   ▼
//!                 └── leader known ───────────────▶ Queued(node) ──next_request──▶ InFlight ──▶ settled
//!                                                     ▲                               │
//!                                                     └──── BackingOff(until) ◀── retriable error
//! ```
//!
//! What an answer means for a batch is in [`answer`], what is done without one in [`silence`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::{Backoff, LATE};
use ottla_wire::messages::ProducePartitionResponse;
use ottla_wire::{ErrorCode, NodeId, TopicPartition};

use self::answer::{Attempt, answer};
use crate::accumulator::PartitionKey;
use crate::batch::{Batch, BatchId, EncodedBatch, Encoder};
use crate::completion::{Completion, Outcome};
use crate::config::ProducerConfig;
use crate::{Error, SendFailure};

mod answer;
mod silence;

/// Numbers the requests.
pub(crate) type RequestId = u64;

/// Who leads the partitions.
pub(crate) trait Leaders {
    /// The partition's leader, where it is known to have one.
    fn leader(&self, partition: &TopicPartition) -> Option<NodeId>;
}

/// Batches on their way.
#[derive(Debug)]
pub(crate) struct Sender {
    max_in_flight: usize,
    max_request_size: usize,
    max_retries: u32,
    delivery_timeout: Duration,
    backoff: Backoff,
    encoder: Encoder,
    turns: BTreeMap<PartitionKey, Turn>,
    nodes: BTreeMap<NodeId, Node>,
    in_flight: BTreeMap<RequestId, InFlight>,
    next_request: RequestId,
    actions: VecDeque<Action>,
    /// When to ask again who leads what has no leader, and how often that was asked.
    leaderless_refresh: Option<(Instant, u32)>,
}

#[derive(Debug)]
struct Turn {
    topic_partition: TopicPartition,
    place: Place,
    /// What is left of the batch: empty until it is taken, two or more parts once it was split. The first is the one in
    /// flight.
    parts: VecDeque<EncodedBatch>,
    batch: Option<BatchId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queued(NodeId),
    Leaderless,
    BackingOff { until: Instant, failed_on: NodeId },
    InFlight,
}

#[derive(Debug, Default)]
struct Node {
    queue: VecDeque<PartitionKey>,
    in_flight: usize,
    /// The broker asked to be left alone until then (KIP-219).
    throttled_until: Option<Instant>,
    /// It owes an answer, or did not give the last one: somebody else may lead its partitions by now.
    is_silent: bool,
}

#[derive(Debug)]
struct InFlight {
    node: NodeId,
    /// Those that still wait for its answer.
    partitions: Vec<PartitionKey>,
    /// When it is late; `None`: it is.
    late_at: Option<Instant>,
}

/// A request to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: RequestId,
    pub(crate) node: NodeId,
    pub(crate) batches: Vec<OutgoingBatch>,
}

/// A batch in it.
#[derive(Clone, Debug)]
pub(crate) struct OutgoingBatch {
    pub(crate) key: PartitionKey,
    pub(crate) topic_partition: TopicPartition,
    pub(crate) records: bytes::Bytes,
}

/// What follows from what happened.
#[derive(Debug)]
pub(crate) enum Action {
    /// These records of a batch have their answer.
    Answer { completion: Arc<Completion>, records: Range<u32>, outcome: Outcome },
    /// The partition's turn has ended, and all of its batch is answered.
    TurnEnded { partition: PartitionKey, batch: Option<BatchId> },
    /// The topic's metadata is out of date.
    Refresh { topic: Arc<str> },
}

impl Sender {
    pub(crate) fn new(config: &ProducerConfig, backoff: Backoff) -> Self {
        Self {
            max_in_flight: config.max_in_flight_requests_per_connection,
            max_request_size: config.max_request_size,
            max_retries: config.retries,
            delivery_timeout: config.delivery_timeout,
            backoff,
            encoder: Encoder::new(config.compression),
            turns: BTreeMap::new(),
            nodes: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            next_request: 0,
            actions: VecDeque::new(),
            leaderless_refresh: None,
        }
    }

    /// Gives a partition its turn.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        key: PartitionKey,
        topic_partition: TopicPartition,
        leaders: &impl Leaders,
    ) {
        let turn = Turn { topic_partition, place: Place::Leaderless, parts: VecDeque::new(), batch: None };
        let earlier = self.turns.insert(key, turn);
        debug_assert!(earlier.is_none(), "{key:?} had its turn already");
        self.enqueue(now, key, leaders);
    }

    /// The next request that may leave now. `take` gives the oldest batch of a partition.
    pub(crate) fn next_request(
        &mut self,
        now: Instant,
        take: &mut impl FnMut(PartitionKey) -> Option<Batch>,
    ) -> Option<Outgoing> {
        loop {
            let max_in_flight = self.max_in_flight;
            let node = self.nodes.iter().find(|(_, node)| node.may_send(now, max_in_flight)).map(|(id, _)| *id)?;
            let batches = self.fill_request(node, take);
            if batches.is_empty() {
                continue; // What was queued has expired; the queue is shorter now.
            }
            let id = self.next_request;
            self.next_request += 1;
            let partitions = batches.iter().map(|batch| batch.key).collect();
            self.in_flight.insert(id, InFlight { node, partitions, late_at: Some(now + LATE) });
            self.nodes.entry(node).or_default().in_flight += 1;
            return Some(Outgoing { id, node, batches });
        }
    }

    /// Moves batches from a node's queue into a request, up to `max.request.size`, at least one.
    fn fill_request(
        &mut self,
        node: NodeId,
        take: &mut impl FnMut(PartitionKey) -> Option<Batch>,
    ) -> Vec<OutgoingBatch> {
        let mut batches: Vec<OutgoingBatch> = Vec::new();
        let mut size = 0;
        while let Some(key) = self.nodes.get_mut(&node).and_then(|node| node.queue.pop_front()) {
            if !self.prepare(key, take) {
                continue;
            }
            let Some(turn) = self.turns.get_mut(&key) else { continue };
            let Some(batch) = turn.parts.front() else { continue };
            size += batch.records().len() + PARTITION_OVERHEAD_BYTES + turn.topic_partition.topic.len();
            if size > self.max_request_size && !batches.is_empty() {
                self.nodes.entry(node).or_default().queue.push_front(key);
                break;
            }
            turn.place = Place::InFlight;
            let topic_partition = turn.topic_partition.clone();
            batches.push(OutgoingBatch { key, topic_partition, records: batch.records().clone() });
        }
        batches
    }

    /// Sees to it that a turn has an encoded batch; ends the turn where there is none.
    fn prepare(&mut self, key: PartitionKey, take: &mut impl FnMut(PartitionKey) -> Option<Batch>) -> bool {
        let Some(turn) = self.turns.get_mut(&key) else { return false };
        if turn.parts.is_empty() {
            let Some(batch) = take(key) else {
                self.end_turn(key);
                return false;
            };
            turn.batch = Some(batch.id());
            match self.encoder.encode(batch) {
                Ok(encoded) => turn.parts.push_back(encoded),
                Err(unencodable) => {
                    let (batch, source) = *unencodable;
                    let error = Error::Encode { topic_partition: turn.topic_partition.clone(), source };
                    turn.parts.push_back(batch);
                    self.answer_first(key, Outcome::Failed(error));
                    return false;
                }
            }
        }
        true
    }

    /// Takes in the answer to a request, by partition.
    pub(crate) fn handle_response(
        &mut self,
        now: Instant,
        id: RequestId,
        throttle: Duration,
        mut answers: BTreeMap<PartitionKey, ProducePartitionResponse>,
        leaders: &impl Leaders,
    ) {
        let Some(InFlight { node, partitions, .. }) = self.request_done(id) else { return };
        self.nodes.entry(node).or_default().is_silent = false;
        if !throttle.is_zero() {
            self.nodes.entry(node).or_default().throttled_until = Some(now + throttle);
        }
        for key in partitions {
            match answers.remove(&key) {
                Some(answer) if answer.error_code == ErrorCode::None => self.written(now, key, &answer, leaders),
                Some(answer) => self.refused(now, key, node, &answer, leaders),
                None => {
                    let left_out =
                        |topic_partition| Error::LeftOut { topic_partition, node, may_have_been_written: true };
                    self.failed(now, key, leaders, (node, Attempt::Sent), left_out);
                }
            }
        }
    }

    /// Takes in that a request was written to the socket, where no answer is asked for (acks 0).
    pub(crate) fn handle_sent(&mut self, now: Instant, id: RequestId, leaders: &impl Leaders) {
        let Some(InFlight { node, partitions, .. }) = self.request_done(id) else { return };
        self.nodes.entry(node).or_default().is_silent = false;
        for key in partitions {
            let outcome = Outcome::Written { base_offset: None, log_append_time_ms: None };
            self.answer_part(now, key, outcome, leaders);
        }
    }

    /// Takes in that a request has no answer.
    pub(crate) fn handle_failure(
        &mut self,
        now: Instant,
        id: RequestId,
        failure: &SendFailure,
        leaders: &impl Leaders,
    ) {
        let Some(InFlight { node, partitions, .. }) = self.request_done(id) else { return };
        self.nodes.entry(node).or_default().is_silent = true;
        let attempt = match failure {
            SendFailure::NotConnected(_) | SendFailure::LeaderMoved { was_sent: false } => Attempt::NotSent,
            SendFailure::Connection(_) | SendFailure::LeaderMoved { was_sent: true } => Attempt::Sent,
        };
        let may_have_been_written = failure.may_have_taken_effect();
        for key in partitions {
            self.refresh(key);
            let error = |topic_partition| Error::NoAnswer {
                topic_partition,
                node,
                may_have_been_written,
                source: failure.clone(),
            };
            self.failed(now, key, leaders, (node, attempt), error);
        }
    }

    /// Takes in that the metadata has changed: what waits for a leader, or for one that no longer leads, moves.
    pub(crate) fn handle_metadata(&mut self, now: Instant, leaders: &impl Leaders) {
        for node in self.nodes.values_mut() {
            node.queue.clear();
        }
        let waiting = self.turns.iter().filter(|(_, turn)| match turn.place {
            Place::Queued(_) | Place::Leaderless => true,
            // The back-off spares the node that failed, not the one that leads instead of it (KIP-951).
            Place::BackingOff { failed_on, .. } => {
                leaders.leader(&turn.topic_partition).is_some_and(|leader| leader != failed_on)
            }
            Place::InFlight => false,
        });
        let waiting: Vec<PartitionKey> = waiting.map(|(key, _)| *key).collect();
        for key in waiting {
            self.enqueue(now, key, leaders);
        }
        self.overtake(now, leaders);
        self.doubt_silent_leaders(leaders);
        let led: BTreeSet<NodeId> =
            self.turns.values().filter_map(|turn| leaders.leader(&turn.topic_partition)).collect();
        self.nodes.retain(|id, node| {
            let is_idle = node.queue.is_empty() && node.in_flight == 0 && node.throttled_until.is_none();
            !is_idle || (node.is_silent && led.contains(id))
        });
    }

    /// Takes in that a batch has expired before it was taken. Its partition may have no other: then nobody needs to know
    /// who leads it. If it has, it gets another turn at once.
    pub(crate) fn handle_expired(&mut self, partition: &TopicPartition) {
        let waits_in_vain = |turn: &Turn| turn.place == Place::Leaderless && turn.parts.is_empty();
        let turn = self.turns.iter().find(|(_, turn)| turn.topic_partition == *partition && waits_in_vain(turn));
        if let Some(key) = turn.map(|(key, _)| *key) {
            self.end_turn(key);
        }
    }

    /// Does what is due: back-offs that have passed, delivery timeouts, questions for a leader.
    pub(crate) fn handle_timeout(&mut self, now: Instant, leaders: &impl Leaders) {
        if self.next_deadline().is_none_or(|at| now < at) {
            return;
        }
        let due = |turn: &Turn| match turn.place {
            Place::BackingOff { until, .. } => until <= now,
            Place::Queued(_) | Place::Leaderless | Place::InFlight => false,
        };
        let due: Vec<PartitionKey> = self.turns.iter().filter(|(_, turn)| due(turn)).map(|(key, _)| *key).collect();
        let expired = |turn: &Turn| turn.parts.iter().any(|part| part.is_waiting() && part.expires() <= now);
        let expired: Vec<PartitionKey> =
            self.turns.iter().filter(|(_, turn)| expired(turn)).map(|(key, _)| *key).collect();
        for key in expired {
            self.expire(key);
        }
        for key in due {
            if self.turns.contains_key(&key) {
                self.enqueue(now, key, leaders);
            }
        }
        for node in self.nodes.values_mut() {
            node.throttled_until.take_if(|until| *until <= now);
        }
        self.ask_for_leaders(now);
        self.look_after_late_answers(now, leaders);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let backing_off = self.turns.values().filter_map(|turn| match turn.place {
            Place::BackingOff { until, .. } => Some(until),
            Place::Queued(_) | Place::Leaderless | Place::InFlight => None,
        });
        let parts = self.turns.values().flat_map(|turn| &turn.parts);
        let expiries = parts.filter(|part| part.is_waiting()).map(EncodedBatch::expires);
        let throttles = self.nodes.values().filter_map(|node| node.throttled_until);
        let leaderless = self.leaderless_refresh.map(|(at, _)| at);
        let late = self.in_flight.values().filter_map(|request| request.late_at);
        backing_off.chain(expiries).chain(throttles).chain(leaderless).chain(late).min()
    }

    /// What is to be done now.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Answers everything under way as given up, in the order of the partitions.
    pub(crate) fn abandon(&mut self) {
        self.in_flight.clear();
        let keys: Vec<PartitionKey> = self.turns.keys().copied().collect();
        for key in keys {
            let Some(turn) = self.turns.get_mut(&key) else { continue };
            let in_flight = turn.place == Place::InFlight;
            for (place, part) in turn.parts.iter().enumerate().filter(|(_, part)| part.is_waiting()) {
                let may_have_been_written = part.may_have_been_written() || (in_flight && place == 0);
                self.actions.push_back(answer(part, Outcome::Failed(Error::Closed { may_have_been_written })));
            }
            self.end_turn(key);
        }
        self.nodes.clear();
    }

    fn request_done(&mut self, id: RequestId) -> Option<InFlight> {
        let request = self.in_flight.remove(&id)?;
        if let Some(node) = self.nodes.get_mut(&request.node) {
            node.in_flight = node.in_flight.saturating_sub(1);
        }
        Some(request)
    }

    /// Puts a turn into its leader's queue.
    fn enqueue(&mut self, now: Instant, key: PartitionKey, leaders: &impl Leaders) {
        let Some(turn) = self.turns.get_mut(&key) else { return };
        if let Some(node) = leaders.leader(&turn.topic_partition) {
            turn.place = Place::Queued(node);
            self.nodes.entry(node).or_default().queue.push_back(key);
        } else {
            turn.place = Place::Leaderless;
            if self.leaderless_refresh.is_none() {
                self.leaderless_refresh = Some((now, 0));
                self.ask_for_leaders(now);
            } else {
                self.refresh(key);
            }
        }
    }

    /// Has the topics of partitions without a leader refreshed, again and again while there are any.
    fn ask_for_leaders(&mut self, now: Instant) {
        let Some((at, asked)) = self.leaderless_refresh else { return };
        if now < at {
            return;
        }
        let leaderless = self.turns.values().filter(|turn| turn.place == Place::Leaderless);
        let mut topics: Vec<Arc<str>> = leaderless.map(|turn| Arc::clone(&turn.topic_partition.topic)).collect();
        topics.dedup();
        self.leaderless_refresh = (!topics.is_empty()).then(|| {
            let asked = asked.saturating_add(1);
            (now + self.backoff.next_delay(asked), asked)
        });
        self.actions.extend(topics.into_iter().map(|topic| Action::Refresh { topic }));
    }

    fn refresh(&mut self, key: PartitionKey) {
        let Some(turn) = self.turns.get(&key) else { return };
        let topic = Arc::clone(&turn.topic_partition.topic);
        let asked = |action: &Action| matches!(action, Action::Refresh { topic: asked } if *asked == topic);
        if !self.actions.iter().any(asked) {
            self.actions.push_back(Action::Refresh { topic });
        }
    }

    fn end_turn(&mut self, partition: PartitionKey) {
        if let Some(turn) = self.turns.remove(&partition) {
            self.actions.push_back(Action::TurnEnded { partition, batch: turn.batch });
        }
    }
}

impl Node {
    fn may_send(&self, now: Instant, max_in_flight: usize) -> bool {
        !self.queue.is_empty()
            && self.in_flight < max_in_flight
            && self.throttled_until.is_none_or(|until| until <= now)
    }
}

/// What a partition takes up in a request besides its records: index, lengths, tags, and a topic's id and name, counted
/// as if each were of another topic.
const PARTITION_OVERHEAD_BYTES: usize = 48;

#[cfg(test)]
mod tests;
