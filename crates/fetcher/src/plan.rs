//! What the next Fetch to a broker asks for.
//!
//! There are two lanes to a broker, each a connection. The *main* lane asks for all partitions that may be fetched, and
//! parks at the broker until one of them has records (`fetch_max_wait`). A partition that is assigned, sought or resumed
//! meanwhile goes by the lane *aside*, with waits of [`ASIDE_WAIT`], and joins the main lane when that has been
//! answered. So such a partition waits for [`ASIDE_AFTER`] and [`ASIDE_WAIT`] at most, and not for another's long poll.
//!
//! While records flow, the main lane is answered at once and the lane aside is not used.
//!
//! The main lane keeps a [session](crate::session) with the broker, and looks only at partitions that have [changed](crate::changed).
//! What is paused, backs off, is elsewhere or goes aside leaves the session, or the broker would send its records. While a
//! request of the session is on its way, nothing leaves or joins: what it brings of a partition that was paused is kept, and
//! of one that was sought dropped, for such a partition does not bear the session's mark any more.

use std::time::{Duration, Instant};

use ottla_cluster::LATE;
use ottla_wire::messages::FetchRequest;
use ottla_wire::{LeaderEpoch, NodeId, Within};

use crate::ask::{BatchSizes, Limits, whole_batches};
use crate::budget::{Grant, Occasion};
use crate::buffer_pool::Usage;
use crate::changed::Broker;
use crate::fetch_size::Arrival;
use crate::position::Partition;
use crate::session::{Reading, Session, SessionRequest, TopicOf};
use crate::state::State;

/// Which of the two connections to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Main,
    Aside,
}

/// A Fetch that is to be sent. Its partitions count as in flight until it is given to
/// [`State::handle_answer`] or [`State::handle_failure`].
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) id: u64,
    pub(crate) node: NodeId,
    pub(crate) lane: Lane,
    pub(crate) request: Within<FetchRequest>,
    /// The partitions of the lane aside. Those of the main lane are in the broker's session.
    pub(crate) aside: Session,
    pub(crate) granted: Grant,
    pub(crate) max_wait: Duration,
    pub(crate) sent_at: Instant,
    /// An answer that has not begun to come by then is late.
    pub(crate) late_at: Instant,
}

impl Fetch {
    fn new(
        id: u64,
        node: NodeId,
        lane: Lane,
        request: SessionRequest,
        granted: Grant,
        max_wait: Duration,
        now: Instant,
    ) -> Self {
        let late_at = now + max_wait + LATE;
        Self {
            id,
            node,
            lane,
            request: request.into(),
            aside: Session::default(),
            granted,
            max_wait,
            sent_at: now,
            late_at,
        }
    }
}

/// What a lane is to do.
#[derive(Debug)]
pub(crate) enum NextFetch {
    Send(Box<Fetch>),
    /// Nothing before then, unless something changes.
    Wait(Option<Instant>),
    /// Nothing until memory is given back, or something changes.
    WaitForMemory,
    /// Nothing any more: the broker leads no assigned partition.
    End,
}

impl State {
    /// What is to be sent to `node` by `lane`, while the memory is used like that.
    pub(crate) fn next_fetch(&mut self, node: NodeId, lane: Lane, now: Instant, usage: Usage) -> NextFetch {
        self.sort();
        let Some(broker) = self.brokers.get_mut(&node) else { return NextFetch::End };
        if broker.places.is_empty() {
            return NextFetch::End;
        }
        if let Some(until) = broker.not_before.filter(|until| *until > now) {
            return NextFetch::Wait(Some(until));
        }
        broker.wake(now);
        let next = match lane {
            Lane::Main => self.next_main(node, now, usage),
            Lane::Aside => self.next_aside(node, now, usage),
        };
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.waits_for_memory[lane as usize] = matches!(next, NextFetch::WaitForMemory);
        }
        next
    }

    /// Whether there is nothing to hand out while a lane waits for memory, so that others have it all: paused partitions, the
    /// application, or fetches that are parked at brokers with nothing new, which will be again when they come back.
    pub(crate) fn lacks_memory(&self, used: usize) -> bool {
        let mut brokers = self.fetched_brokers();
        self.buffered.is_empty()
            && brokers.any(|(_, broker)| broker.waits_for_memory.contains(&true))
            && self.budget.refuses(used)
    }

    fn next_main(&mut self, node: NodeId, now: Instant, usage: Usage) -> NextFetch {
        self.look(node, now);
        let Some(broker) = self.brokers.get(&node) else { return NextFetch::End };
        if broker.session.is_empty() || broker.sent_at[Lane::Main as usize].is_some() {
            return NextFetch::Wait(broker.next_back());
        }
        let on = self.occasion(usage, node, broker, &broker.session);
        let Some(granted) = self.budget.grant(on) else { return NextFetch::WaitForMemory };
        let id = self.new_generation();
        let max_wait = self.config.fetch_max_wait;
        let Self { brokers, partitions, .. } = self;
        let Some(broker) = brokers.get_mut(&node) else { return NextFetch::End };
        let request = broker.session.request(|place| turn(partitions, place));
        self.send(Fetch::new(id, node, Lane::Main, request, granted, max_wait, now), now)
    }

    /// Brings the session of the main lane up to what is to be read, unless a request of it is on its way.
    fn look(&mut self, node: NodeId, now: Instant) {
        let limits = self.config.partition_limits();
        let Self { brokers, partitions, generations, .. } = self;
        let Some(broker) = brokers.get_mut(&node) else { return };
        if broker.sent_at[Lane::Main as usize].is_some() {
            return;
        }
        for name in std::mem::take(&mut broker.gone) {
            broker.session.leave(&name.topic, name.partition);
        }
        broker.settle_behind(|behind| is_behind(partitions, node, behind));
        let mark = broker.session_mark;
        let mut changed = std::mem::take(&mut broker.changed);
        for place in changed.drain(..) {
            let Some(Some(partition)) = partitions.get_mut(place) else { continue };
            if !partition.listed.look(node) {
                continue;
            }
            let is_elsewhere = partition.in_flight.is_some_and(|id| id != mark);
            match partition.reading(limits).filter(|_| !is_elsewhere) {
                Some(reading) if partition.is_due(now) => {
                    partition.in_flight = Some(mark);
                    let asked = partition.asked.filter(|(offset, _)| *offset == reading.offset);
                    partition.asked = asked.or(Some((reading.offset, *generations)));
                    if partition.cut_answers > 0 {
                        // Named behind others, it may never have room for a whole batch; a full request names it in its turn.
                        broker.session.begin_anew();
                    }
                    broker.session.read(partition.topic_of(), partition.name.partition, place, reading);
                }
                waits => {
                    partition.in_flight.take_if(|id| *id == mark);
                    partition.asked = None;
                    broker.session.leave(&partition.name.topic, partition.name.partition);
                    let until = partition.not_before.filter(|_| waits.is_some());
                    broker.backing_off.extend(until.map(|until| (until, place)));
                }
            }
        }
        broker.changed = changed; // with its memory
    }

    fn next_aside(&mut self, node: NodeId, now: Instant, usage: Usage) -> NextFetch {
        let Some(broker) = self.brokers.get(&node) else { return NextFetch::End };
        let (due, next_due) = self.due_aside(node, broker, now);
        if due.is_empty() {
            return NextFetch::Wait(next_due);
        }
        let max_wait = match broker.wait_aside(now, self.config.fetch_max_wait) {
            Ok(max_wait) => max_wait,
            // Those that are due may all have joined the main lane by the time when the next is.
            Err(until) => return NextFetch::Wait(until.or(next_due)),
        };
        let mut session = Session::default();
        for place in &due {
            let Some(partition) = self.partition(*place) else { continue };
            let Some(reading) = partition.reading(self.config.partition_limits()) else { continue };
            session.read(partition.topic_of(), partition.name.partition, *place, reading);
        }
        let on = self.occasion(usage, node, broker, &session);
        let Some(granted) = self.budget.grant_aside(on) else { return NextFetch::WaitForMemory };
        let id = self.new_generation();
        for place in due {
            if let Some(partition) = self.partition_mut(place) {
                partition.in_flight = Some(id);
            }
        }
        let request = session.request(|place| turn(&self.partitions, place));
        let fetch = Fetch::new(id, node, Lane::Aside, request, granted, max_wait, now);
        self.send(Fetch { aside: session, ..fetch }, now)
    }

    /// The places of the partitions that may be fetched aside now, and when there will be more.
    fn due_aside(&self, node: NodeId, broker: &Broker, now: Instant) -> (Vec<usize>, Option<Instant>) {
        let mut due = Vec::new();
        let mut earliest = broker.next_back();
        for place in &broker.changed {
            let wants_fetch = |partition: &&Partition| partition.listed.at == Some(node) && partition.wants_fetch();
            let Some(partition) = self.partition(*place).filter(wants_fetch) else { continue };
            match partition.not_before {
                Some(not_before) if not_before > now => {
                    earliest = Some(earliest.map_or(not_before, |earliest| earliest.min(not_before)));
                }
                _ => due.push(*place),
            }
        }
        (due, earliest)
    }

    fn occasion(&self, usage: Usage, node: NodeId, broker: &Broker, session: &Session) -> Occasion {
        let Usage { reading, .. } = usage;
        let used = usage.used.saturating_sub(reading);
        // Of an answer that is half handed out, that half: who holds one record of it will hold the whole.
        let waiting = usize::try_from(self.totals().waiting_bytes()).unwrap_or(usize::MAX);
        let held = used.saturating_sub(waiting);
        let brokers = self.fetched_brokers().count();
        // As much as is worth the way, or what is lost at the end of an answer.
        let first_bytes = self.behind(node).next().map_or(0, |(_, bytes)| bytes);
        let worthwhile_bytes = broker.fetch_size.worthwhile_bytes().max(first_bytes);
        Occasion { used, reading, held, brokers, header_bytes: header_bytes(session), worthwhile_bytes }
    }

    /// How the partitions are read of which a broker has more, in the order of their turns, which is the broker's.
    pub(crate) fn behind(&self, node: NodeId) -> impl Iterator<Item = (BatchSizes, usize)> {
        let limits = self.config.partition_limits();
        let behind = self.brokers.get(&node).into_iter().flat_map(|broker| &broker.behind);
        behind.filter(move |behind| is_behind(&self.partitions, node, behind)).filter_map(move |(_, place)| {
            let partition = self.partition(*place)?;
            partition.is_fetchable().then(|| (partition.sizes, partition.sizes.ask(limits)))
        })
    }

    fn send(&mut self, mut fetch: Fetch, now: Instant) -> NextFetch {
        let mut max_bytes = fetch.granted.max_bytes;
        if fetch.lane == Lane::Main {
            max_bytes = whole_batches(max_bytes, self.behind(fetch.node));
        }
        if let Some(broker) = self.brokers.get_mut(&fetch.node) {
            broker.sent_at[fetch.lane as usize] = Some(now);
        }
        let rack_id = self.rack_for(fetch.node, now);
        let request = &mut fetch.request.request;
        // Redpanda has been seen never to answer a Fetch that does not wait.
        request.max_wait_ms = i32::try_from(fetch.max_wait.as_millis()).unwrap_or(i32::MAX).max(1);
        request.min_bytes = self.config.fetch_min_bytes;
        request.max_bytes = i32::try_from(max_bytes).unwrap_or(i32::MAX);
        request.isolation_level = self.config.isolation_level.number();
        request.rack_id = rack_id;
        NextFetch::Send(Box::new(fetch))
    }

    /// The partitions of a Fetch that is in flight, and what those bear that wait for it.
    pub(crate) fn session_of<'s>(&'s self, fetch: &'s Fetch) -> Option<(&'s Session, u64)> {
        match fetch.lane {
            Lane::Main => self.brokers.get(&fetch.node).map(|broker| (&broker.session, broker.session_mark)),
            Lane::Aside => Some((&fetch.aside, fetch.id)),
        }
    }

    /// The main lane's connection to a broker is no more.
    pub(crate) fn handle_disconnected(&mut self, node: NodeId) {
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.session.reconnected();
        }
    }

    /// The main lane to a broker ends: the request that tells it that its session is over, if it has one.
    pub(crate) fn end_session(&mut self, node: NodeId) -> Option<Within<FetchRequest>> {
        let mut end: Within<FetchRequest> = self.brokers.get_mut(&node)?.session.end()?.into();
        end.request.max_wait_ms = 1;
        Some(end)
    }

    /// The answer to a Fetch has come so.
    pub(crate) fn handle_arrival(&mut self, fetch: &Fetch, arrival: Arrival) {
        if let Some(broker) = self.brokers.get_mut(&fetch.node) {
            broker.fetch_size.observe(arrival, fetch.granted.max_bytes);
        }
    }

    /// A Fetch is no longer in flight.
    pub(crate) fn finish(&mut self, fetch: &Fetch) {
        self.budget.answered(fetch.granted);
        if let Some(broker) = self.brokers.get_mut(&fetch.node) {
            broker.sent_at[fetch.lane as usize] = None;
        }
    }
}

/// Whether the broker had more of a partition when it answered last, which was in this turn.
fn is_behind(partitions: &[Option<Partition>], node: NodeId, (turn, place): &(u64, usize)) -> bool {
    let partition = partitions.get(*place).and_then(Option::as_ref);
    partition.is_some_and(|partition| partition.listed.turn == *turn && partition.listed.at == Some(node))
}

/// When a partition has its turn.
fn turn(partitions: &[Option<Partition>], place: usize) -> u64 {
    partitions.get(place).and_then(Option::as_ref).map_or(0, |partition| partition.listed.turn)
}

/// About how long an answer is without its records, where it tells of all partitions of a session: a little more than it
/// mostly is. What is unusual (aborted transactions, other leaders) may take more, as may a batch that is larger than
/// what was asked for.
fn header_bytes(session: &Session) -> usize {
    let extent = session.extent();
    ANSWER_HEADER_BYTES
        + extent.topics * TOPIC_HEADER_BYTES
        + extent.topic_name_bytes
        + extent.partitions * PARTITION_HEADER_BYTES
}

impl Partition {
    /// How it is to be read, if it may be.
    fn reading(&self, limits: Limits) -> Option<Reading> {
        let offset = self.fetch_offset().filter(|_| self.is_fetchable())?;
        let leader_epoch = self.leader.and_then(|leader| leader.epoch).unwrap_or(LeaderEpoch::NONE);
        let max_bytes = i32::try_from(self.sizes.ask(limits)).unwrap_or(i32::MAX);
        Some(Reading { offset, leader_epoch, max_bytes })
    }

    fn topic_of(&self) -> TopicOf<'_> {
        TopicOf { name: &self.name.topic, id: self.topic_id }
    }
}

impl Broker {
    /// When the next partition is back from its back-off.
    fn next_back(&self) -> Option<Instant> {
        self.backing_off.first().map(|(until, _)| *until)
    }

    /// How long a Fetch by the lane aside may wait at the broker; if none is to be sent, when one may be.
    fn wait_aside(&self, now: Instant, fetch_max_wait: Duration) -> Result<Duration, Option<Instant>> {
        // With nothing in flight, whatever is to be fetched goes by the main lane.
        let Some(sent_at) = self.sent_at[Lane::Main as usize] else { return Err(None) };
        let parked_at = sent_at + ASIDE_AFTER;
        if now < parked_at {
            return Err(Some(parked_at));
        }
        let back_at = sent_at + fetch_max_wait;
        let overdue_at = back_at + OVERDUE_AFTER;
        if now >= overdue_at {
            return Ok(ASIDE_WAIT); // the broker is slow by that lane
        }
        let remaining = back_at.saturating_duration_since(now);
        if remaining < ASIDE_AFTER {
            return Err(Some(overdue_at)); // better to join the main lane
        }
        Ok(remaining.min(ASIDE_WAIT))
    }
}

/// How long a main fetch must have been out before it is taken to be parked at the broker.
const ASIDE_AFTER: Duration = Duration::from_millis(5);
/// How long a fetch by the lane aside waits at the broker: others may come to need that lane.
const ASIDE_WAIT: Duration = Duration::from_millis(25);
/// How long after its time a main fetch is still taken to be about to come back.
const OVERDUE_AFTER: Duration = Duration::from_millis(30);
/// What an answer has beside its topics.
const ANSWER_HEADER_BYTES: usize = 64;
/// What a topic has beside its name and partitions: its id, how many there are.
const TOPIC_HEADER_BYTES: usize = 32;
/// What a partition has beside its records: offsets, who leads it.
const PARTITION_HEADER_BYTES: usize = 96;
