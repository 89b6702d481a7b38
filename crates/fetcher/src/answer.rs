//! What an answer to Fetch changes.
//!
//! Two steps. [`read`] goes through the bytes, outside the lock: it finds each partition's part and walks the headers
//! of its batches, which gives the next fetch offset; no record is looked at. [`State::handle_answer`] takes that in:
//! positions move on, records are put in the queue, errors decide what is done next.
//!
//! | error code | what is done |
//! |---|---|
//! | OFFSET_OUT_OF_RANGE | the leader is asked whether the log was [truncated](crate::validation); if not, once all before it has been handed out: what `auto.offset.reset` says |
//! | NOT_LEADER_OR_FOLLOWER and others that a newer leader or later attempt answers | the cluster is asked, the partition tried again after the back-off, for ever |
//! | any, of a [replica](crate::replica) that is no leader | its leader is asked |
//! | any other (TOPIC_AUTHORIZATION_FAILED, ..) | the application is told through poll; tried again, and told again, after the back-off |

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_cluster::{Address, Broker, Leader};
use ottla_wire::messages::{AbortedTransaction, FetchResponseView, FetchedPartition, FetchedTopic, NodeEndpoint};
use ottla_wire::records::{CorruptBatch, RecordBatches};
use ottla_wire::{ApiKey, DecodeError, ErrorCode, LeaderEpoch, NodeId, TopicId, TopicPartition, throttle_duration};

use crate::aborted::AbortedTransactions;
use crate::ask::Brought;
use crate::buffer_pool::WaitingAnswer;
use crate::buffered::{Answered, Entry};
use crate::plan::{Fetch, Lane};
use crate::session::SessionAnswer;
use crate::state::State;
use crate::truncation::{DivergingOffset, ReadEpochs};
use crate::{Error, IsolationLevel};

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    throttle_time: Duration,
    version: i16,
    error_code: ErrorCode,
    session_id: i32,
    /// The topics, by name or by id, whichever the version has.
    topics: Vec<(Box<str>, Option<TopicId>)>,
    parts: Vec<Part>,
    endpoints: Vec<NodeEndpoint>,
    /// Counts what it takes while its records wait to be handed out.
    waiting: Option<Arc<WaitingAnswer>>,
}

impl Answer {
    /// What it takes is counted while its records wait to be handed out.
    pub(crate) fn waiting(self, waiting: Arc<WaitingAnswer>) -> Self {
        Self { waiting: Some(waiting), ..self }
    }

    /// Whether it has no record of any partition, and not because the broker throttles, or sends elsewhere.
    fn is_empty_handed(&self) -> bool {
        let is_empty = |part: &Part| {
            let is_sent_elsewhere = part.replica.is_some() || part.diverging.is_some();
            part.received_bytes == 0 && part.error_code == ErrorCode::None && !is_sent_elsewhere
        };
        self.error_code == ErrorCode::None && self.throttle_time.is_zero() && self.parts.iter().all(is_empty)
    }
}

/// One partition's part of it.
#[derive(Debug)]
struct Part {
    /// Its topic, of those of the answer.
    topic: usize,
    partition: i32,
    error_code: ErrorCode,
    leader: Option<Leader>,
    high_watermark: i64,
    last_stable_offset: i64,
    log_start_offset: i64,
    aborted: AbortedTransactions,
    /// Whole batches.
    records: Bytes,
    /// How many bytes came, cut ones included.
    received_bytes: usize,
    brought: Brought,
    /// The offset behind the first batch, and that behind the last.
    first_end: Option<i64>,
    next_offset: Option<i64>,
    /// The leader epochs of the batches.
    epochs: ReadEpochs,
    /// The replica to read from instead.
    replica: Option<NodeId>,
    /// Where the log parts from what was read, if it does.
    diverging: Option<DivergingOffset>,
    corrupt: Option<CorruptBatch>,
}

/// What the driver is to pass on to the cluster (KIP-951).
#[derive(Debug, Default)]
pub(crate) struct Hints {
    pub(crate) leaders: Vec<(TopicPartition, Leader)>,
    pub(crate) nodes: Vec<Broker>,
    /// Whether the supervisor or the other lane has something to do.
    pub(crate) is_for_others: bool,
}

/// Reads an answer.
pub(crate) fn read(isolation: IsolationLevel, version: i16, body: Bytes) -> Result<Answer, DecodeError> {
    let view = FetchResponseView::parse(body, version)?;
    let mut topics: Vec<(Box<str>, Option<TopicId>)> = Vec::new();
    let partitions = view.partitions();
    let mut parts = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let FetchedTopic { name, id } = partition.topic;
        if topics.last().is_none_or(|(last, last_id)| **last != *name || last_id.unwrap_or_default() != id) {
            topics.push((name.into(), id.known()));
        }
        parts.push(Part::read(topics.len() - 1, isolation, partition));
    }
    Ok(Answer {
        throttle_time: throttle_time(version, view.throttle_time_ms),
        version,
        error_code: view.error_code,
        session_id: view.session_id,
        topics,
        parts,
        endpoints: view.node_endpoints,
        waiting: None,
    })
}

/// How long the broker is to be left alone (KIP-219).
fn throttle_time(version: i16, throttle_time_ms: i32) -> Duration {
    let is_ours = ApiKey::Fetch.is_throttled_by_client(version);
    if is_ours { throttle_duration(throttle_time_ms) } else { Duration::ZERO }
}

impl Part {
    fn read(topic: usize, isolation: IsolationLevel, data: FetchedPartition<'_>) -> Self {
        let aborted = data.aborted_transactions();
        let received = data.records.unwrap_or_default();
        let mut part = Self {
            topic,
            partition: data.partition_index,
            error_code: data.error_code,
            leader: data
                .current_leader
                .leader_id
                .known()
                .map(|node| Leader { node, epoch: data.current_leader.leader_epoch.known() }),
            high_watermark: data.high_watermark,
            last_stable_offset: data.last_stable_offset,
            log_start_offset: data.log_start_offset,
            aborted: AbortedTransactions::default(),
            received_bytes: received.len(),
            brought: Brought::default(),
            records: Bytes::new(),
            first_end: None,
            next_offset: None,
            epochs: ReadEpochs::default(),
            replica: data.preferred_read_replica.known(),
            diverging: data
                .diverging_epoch
                .epoch
                .known()
                .map(|leader_epoch| DivergingOffset { offset: data.diverging_epoch.end_offset, leader_epoch })
                .filter(|diverging| diverging.offset >= 0),
            corrupt: None,
        };
        // Some brokers list them whatever was asked for.
        if isolation == IsolationLevel::ReadCommitted {
            let pair = |aborted: AbortedTransaction| (aborted.first_offset, aborted.producer_id.0);
            part.aborted = AbortedTransactions::new(aborted.into_iter().flatten().map(pair).collect());
        }
        part.walk(&received);
        part
    }

    /// Finds where the batches end, and the offset behind them.
    fn walk(&mut self, received: &Bytes) {
        let mut batches = RecordBatches::new(received.clone());
        let mut end = 0;
        while let Some(batch) = batches.next() {
            match batch {
                Ok(batch) => {
                    end = batches.position();
                    self.brought.batches += 1;
                    self.brought.largest = self.brought.largest.max(batch.size_bytes());
                    self.first_end.get_or_insert(batch.next_offset());
                    if self.next_offset.is_none_or(|next_offset| batch.next_offset() > next_offset) {
                        self.next_offset = Some(batch.next_offset());
                        self.epochs.read(LeaderEpoch(batch.partition_leader_epoch()).known(), batch.base_offset());
                    }
                }
                Err(corrupt) => {
                    self.corrupt = Some(corrupt);
                    break;
                }
            }
        }
        self.records = received.slice(..end);
        self.brought.whole = end;
        self.brought.cut = received.len() - end;
        self.brought.next = batches.incomplete_bytes();
    }

    /// The leader epochs of the batches that end behind `offset`.
    fn epochs_from(&mut self, offset: i64) -> ReadEpochs {
        if self.first_end.is_none_or(|first_end| first_end > offset) {
            return std::mem::take(&mut self.epochs);
        }
        let (mut epochs, mut next_offset) = (ReadEpochs::default(), offset);
        for batch in RecordBatches::new(self.records.clone()).flatten() {
            if batch.next_offset() > next_offset {
                next_offset = batch.next_offset();
                epochs.read(LeaderEpoch(batch.partition_leader_epoch()).known(), batch.base_offset());
            }
        }
        epochs
    }
}

impl State {
    /// Takes in the answer to a Fetch.
    pub(crate) fn handle_answer(&mut self, fetch: &Fetch, answer: Answer, now: Instant) -> Hints {
        self.finish(fetch);
        self.handle_heard(fetch.node);
        self.totals.fetches += 1;
        let is_empty_handed = fetch.lane == Lane::Main && answer.is_empty_handed();
        let mut hints = Hints { leaders: Vec::new(), nodes: nodes(answer.endpoints), is_for_others: false };
        if let Some(broker) = self.brokers.get_mut(&fetch.node) {
            broker.failures = 0;
            broker.not_before = (!answer.throttle_time.is_zero()).then(|| now + answer.throttle_time);
            if is_empty_handed {
                broker.empty_handed = fetch.id;
            }
        }
        let Some((session, _)) = self.session_of(fetch) else { return hints };
        let was_full = session.is_full();
        let topics: Vec<_> = answer.topics.iter().map(|(name, id)| session.topic(name, *id)).collect();
        let told = answer.parts.iter().map(|part| (topics.get(part.topic).copied().flatten(), part.partition));
        let places = session.places_of(told);
        let mut is_as_asked = true;
        let mut answered = BTreeSet::new();
        for (part, place) in answer.parts.into_iter().zip(places) {
            let received = part.received_bytes as u64;
            self.totals.fetched_bytes += received;
            // What was not asked for is not looked at, nor what is told twice.
            match place {
                Some(place) if !was_full || answered.insert(place) => {
                    self.handle_part(fetch, place, part, answer.waiting.as_ref(), &mut hints, now);
                }
                Some(_) => self.totals.unwanted_bytes += received,
                None => {
                    self.totals.unwanted_bytes += received;
                    is_as_asked = false;
                }
            }
        }
        if was_full && answer.error_code == ErrorCode::None {
            is_as_asked &= self.handle_left_out(fetch, &answered, now);
        }
        if fetch.lane == Lane::Aside {
            self.release_all(fetch);
        } else if let Some(broker) = self.brokers.get_mut(&fetch.node) {
            let Answer { version, error_code, session_id, .. } = answer;
            broker.session.answered(SessionAnswer { version, error_code, session_id, is_as_asked });
        }
        match answer.error_code {
            ErrorCode::None => {}
            error_code if !was_full && is_of_session(error_code) => {
                tracing::debug!(node = %fetch.node, %error_code, "the fetch session is over");
            }
            error_code => self.handle_refusal(fetch, error_code, now),
        }
        // The main lane may have come back meanwhile, found these partitions in flight, and be waiting for a change.
        hints.is_for_others |= fetch.lane == Lane::Aside || !self.stale_topics.is_empty();
        // What backs off now is to be fetched aside when it is due, where the main lane is parked by then.
        hints.is_for_others |= std::mem::take(&mut self.is_news);
        hints
    }

    /// What the answer to a full Fetch left out is asked for again, after a back-off: a broker that leaves it out each time
    /// must not be asked without end. Returns whether there was nothing.
    fn handle_left_out(&mut self, fetch: &Fetch, answered: &BTreeSet<usize>, now: Instant) -> bool {
        let Some((session, mark)) = self.session_of(fetch) else { return true };
        let left_out: Vec<_> = session.places().filter(|place| !answered.contains(place)).collect();
        for place in &left_out {
            if let Some(generation) = self.release(*place, mark) {
                self.retry_later(*place, generation, now);
            }
        }
        left_out.is_empty()
    }

    fn handle_part(
        &mut self,
        fetch: &Fetch,
        place: usize,
        mut part: Part,
        waiting: Option<&Arc<WaitingAnswer>>,
        hints: &mut Hints,
        now: Instant,
    ) {
        let mark = self.session_of(fetch).map(|(_, mark)| mark);
        let Some(generation) = mark.and_then(|mark| self.release(place, mark)) else {
            self.totals.unwanted_bytes += part.received_bytes as u64;
            return;
        };
        let not_whole = part.brought.cut as u64;
        if part.corrupt.is_some() {
            self.totals.given_up_bytes += not_whole;
        } else {
            self.totals.cut_bytes += not_whole;
        }
        if part.error_code != ErrorCode::None {
            self.totals.unwanted_bytes += part.records.len() as u64;
            self.handle_error_code(fetch, place, generation, &part, hints, now);
            return;
        }
        self.replica_reached(place, fetch.node);
        let turn = self.new_generation();
        let is_empty_handed = self.brokers.get(&fetch.node).is_some_and(|broker| broker.empty_handed == fetch.id);
        let Some(partition) = self.partition_mut(place) else { return };
        // What was found to be the end before is not, maybe.
        partition.asked.take_if(|_| !is_empty_handed);
        partition.high_watermark = Some(part.high_watermark);
        partition.last_stable_offset = (part.last_stable_offset >= 0).then_some(part.last_stable_offset);
        partition.log_start_offset = (part.log_start_offset >= 0).then_some(part.log_start_offset);
        let Some(position) = partition.fetch_offset() else {
            self.totals.unwanted_bytes += part.records.len() as u64;
            return;
        };
        if let Some(diverging) = part.diverging {
            self.totals.unwanted_bytes += part.records.len() as u64;
            self.handle_diverging(place, diverging);
            hints.is_for_others = true;
            return;
        }
        if let Some(replica) = part.replica.filter(|replica| partition.is_sent_elsewhere(fetch.node, *replica)) {
            self.totals.unwanted_bytes += part.records.len() as u64;
            self.follow_replica(place, generation, replica, now);
            hints.is_for_others = true;
            return;
        }
        if part.corrupt.is_none() && part.received_bytes > 0 {
            partition.sizes.learn(part.brought);
        }
        // A batch may lie before the offset asked for, and never takes it back.
        let next_offset = part.next_offset.filter(|next_offset| *next_offset > position);
        let (whole_bytes, high_watermark) = (part.records.len(), part.high_watermark);
        if let Some(offset) = next_offset {
            let epochs = part.epochs_from(position);
            partition.fetched(offset, epochs);
            partition.listed.turn = turn;
            if offset < high_watermark
                && let Some(broker) = self.brokers.get_mut(&fetch.node)
            {
                broker.behind.push_back((turn, place));
            }
            let waiting = waiting.cloned();
            let Part { records, high_watermark, aborted, .. } = part;
            let answered = Answered { place, generation, position, records, high_watermark, aborted, waiting };
            self.buffered.push(Entry::Answered(answered));
        } else {
            self.totals.passed_over_bytes += part.records.len() as u64;
        }
        if let Some(corrupt) = part.corrupt {
            let Some(partition) = self.partition(place).map(|partition| partition.name.clone()) else { return };
            let (offset, next_offset) = (next_offset.unwrap_or(position), corrupt.next_offset);
            self.fail(
                place,
                generation,
                Error::CorruptBatch { partition, offset, next_offset, source: corrupt.fault },
                now,
            );
        } else if next_offset.is_none() && is_end_of_log(whole_bytes, part.received_bytes, high_watermark, position) {
            // Nothing new, which such a broker may say at once each time.
            self.retry_later(place, generation, now);
        } else if next_offset.is_none() && part.received_bytes > 0 {
            self.handle_no_whole_batch(fetch, place, generation, part.received_bytes, now);
        } else if next_offset.is_none()
            && let Some(partition) = self.partition_mut(place)
        {
            partition.succeeded();
        }
    }

    /// A broker may cut the first batch of any partition but the first, which this one will be when it is named by turn. After
    /// some attempts there is no hope.
    fn handle_no_whole_batch(&mut self, fetch: &Fetch, place: usize, generation: u64, bytes: usize, now: Instant) {
        let Some(partition) = self.partition_mut(place) else { return };
        partition.cut_answers = partition.cut_answers.saturating_add(1);
        if partition.cut_answers <= ATTEMPTS_AT_A_WHOLE_BATCH {
            self.retry_later(place, generation, now);
            return;
        }
        let (partition, offset) = (partition.name.clone(), partition.fetch_offset().unwrap_or_default());
        self.fail(place, generation, Error::NoWholeBatch { partition, offset, node: fetch.node, bytes }, now);
    }

    fn handle_error_code(
        &mut self,
        fetch: &Fetch,
        place: usize,
        generation: u64,
        part: &Part,
        hints: &mut Hints,
        now: Instant,
    ) {
        if self.partition(place).is_some_and(|partition| partition.is_read_from(fetch.node)) {
            self.leave_replica(place);
            self.refresh(place);
            self.retry_later(place, generation, now);
            hints.is_for_others = true;
            return;
        }
        let Some(partition) = self.partition(place).map(|partition| partition.name.clone()) else { return };
        match part.error_code {
            ErrorCode::OffsetOutOfRange => {
                self.handle_out_of_range(place, generation);
                hints.is_for_others = true;
            }
            error_code => {
                if let Some(leader) = part.leader.filter(|_| is_answered_by_waiting(error_code)) {
                    hints.leaders.push((partition, leader));
                }
                self.refused("Fetch", fetch.node, place, generation, error_code, now);
            }
        }
    }

    /// The broker refused the whole Fetch.
    fn handle_refusal(&mut self, fetch: &Fetch, error_code: ErrorCode, now: Instant) {
        let places = self.session_of(fetch).map(|(session, _)| session.places().collect::<Vec<_>>());
        let places = places.unwrap_or_default();
        for place in &places {
            self.refresh(*place);
        }
        let place = places.first().copied();
        let error = if is_answered_by_waiting(error_code) {
            None
        } else {
            place.and_then(|place| self.partition(place)).map(|partition| Error::Refused {
                attempted: "Fetch",
                partition: partition.name.clone(),
                node: fetch.node,
                error_code,
            })
        };
        self.broker_failed(fetch.node, error, now);
    }

    /// A Fetch has no answer, or none that can be read.
    pub(crate) fn handle_failure(&mut self, fetch: &Fetch, error: Error, now: Instant) {
        self.finish(fetch);
        self.totals.failed_fetches += 1;
        // Of a session it is not known how it stands; what becomes of the next request, a full one, says more.
        let mut is_untold = false;
        match self.brokers.get_mut(&fetch.node).filter(|_| fetch.lane == Lane::Main) {
            Some(broker) => {
                is_untold = !broker.session.is_full();
                broker.session.begin_anew();
            }
            None => self.release_all(fetch),
        }
        // It may have stopped leading its partitions together with answering.
        self.doubt(fetch.node);
        self.leave_replicas_on(fetch.node, now);
        let error = (!error.is_retriable() && !is_untold).then_some(error);
        self.broker_failed(fetch.node, error, now);
    }

    /// Nothing is sent to the broker for a while; `error` is what the application is to be told of it.
    pub(crate) fn broker_failed(&mut self, node: NodeId, error: Option<Error>, now: Instant) {
        let Some(failures) = self.brokers.get(&node).map(|broker| broker.failures) else { return };
        let not_before = now + self.delay(failures);
        let Some(broker) = self.brokers.get_mut(&node) else { return };
        broker.failures = failures.saturating_add(1);
        broker.not_before = Some(not_before);
        if let Some(error) = error
            && !std::mem::replace(&mut broker.untold, true)
        {
            self.buffered.push(Entry::BrokerFailed { node, error });
        }
    }

    /// The lane aside has been answered, or has failed.
    fn release_all(&mut self, fetch: &Fetch) {
        for place in fetch.aside.places() {
            self.release(place, fetch.id);
        }
    }

    /// The request is no longer in flight for the partition. Returns the partition's generation if it was.
    fn release(&mut self, place: usize, id: u64) -> Option<u64> {
        self.partition(place).filter(|partition| partition.in_flight == Some(id))?;
        let partition = self.partition_mut(place)?;
        partition.in_flight = None;
        Some(partition.generation)
    }
}

/// Whether an error says only that the broker does not have the session as it is believed to.
fn is_of_session(error_code: ErrorCode) -> bool {
    matches!(
        error_code,
        ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch | ErrorCode::FetchSessionTopicIdError
    )
}

/// Whether an answer holds whole batches before the position and nothing else, and nothing is to be had behind it: some brokers
/// answer from further in front than they were asked.
fn is_end_of_log(whole_bytes: usize, received_bytes: usize, high_watermark: i64, position: i64) -> bool {
    whole_bytes > 0 && whole_bytes == received_bytes && high_watermark <= position
}

/// Where the brokers are that an answer names.
fn nodes(endpoints: Vec<NodeEndpoint>) -> Vec<Broker> {
    let node = |endpoint: NodeEndpoint| {
        let port = u16::try_from(endpoint.port).ok()?;
        let rack = endpoint.rack.map(Into::into);
        Some(Broker::new(endpoint.node_id, Address::new(endpoint.host, port), rack))
    };
    endpoints.into_iter().filter_map(node).collect()
}

/// Whether another leader, newer metadata or a later attempt answers an error, without the application's doing.
pub(crate) fn is_answered_by_waiting(error_code: ErrorCode) -> bool {
    match error_code {
        // Retriable by Kafka's table, but the log itself is at fault: the application should know.
        ErrorCode::CorruptMessage => false,
        error_code => error_code.is_retriable(),
    }
}

const ATTEMPTS_AT_A_WHOLE_BATCH: u32 = 3;
