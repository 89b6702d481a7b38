//! Which partitions are to be looked at: those that have changed, and no others.
//!
//! With ten thousand partitions of which one has records, nothing may go through all of them for an answer or a poll. So
//! whoever takes hold of a partition to change it ([`State::partition_mut`]) has it listed as *touched*, and before
//! anything is decided, [`State::sort`] goes through those that are:
//!
//! - each stands in the list of the broker that it is fetched from, and in that of no other;
//! - the broker's lanes look at it, before they ask next;
//! - those that are not on their way (no leader, no offset, a log that may have been truncated) are listed for the
//!   supervisor.
//!
//! Invariant: a partition that nobody has touched is as it was when it was looked at last. A deadline of its own that passes
//! (`not_before`) stands in a list of its broker by time.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use ottla_wire::{NodeId, TopicPartition};

use crate::fetch_size::FetchSize;
use crate::position::{Partition, Phase};
use crate::session::Session;
use crate::state::State;

/// Where a partition is listed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Listed {
    is_touched: bool,
    /// The broker that it is fetched from, as of the last [sorting](State::sort).
    pub(crate) at: Option<NodeId>,
    /// Whether it stands in `changed` of that broker.
    is_changed: bool,
    /// Counts the answers that brought records: who was served last comes last (KIP-74).
    pub(crate) turn: u64,
}

/// What is known of one broker from which assigned partitions are fetched.
#[derive(Debug)]
pub(crate) struct Broker {
    /// The places of its partitions.
    pub(crate) places: BTreeSet<usize>,
    /// Those that the lanes have to look at, in the order in which they were touched; some may be another's by now.
    pub(crate) changed: Vec<usize>,
    /// Those that are to be looked at when their time has come.
    pub(crate) backing_off: BTreeSet<(Instant, usize)>,
    /// The last request by the main lane that was answered without a single record, by its number.
    pub(crate) empty_handed: u64,
    /// Those of which it had more when it answered last, each with its turn, in that order. One that has had another turn
    /// since, or has gone to another broker, does not count.
    pub(crate) behind: VecDeque<(u64, usize)>,
    /// Those that are its partitions no longer, and may stand in its session still.
    pub(crate) gone: BTreeSet<TopicPartition>,
    /// What the main lane has told the broker.
    pub(crate) session: Session,
    /// Stands in [`Partition::in_flight`] for the session.
    pub(crate) session_mark: u64,
    /// When the fetch in flight left, by lane.
    pub(crate) sent_at: [Option<Instant>; 2],
    /// Whether a fetch waits for memory, by lane.
    pub(crate) waits_for_memory: [bool; 2],
    /// Nothing is sent before: it failed, or said that it throttles.
    pub(crate) not_before: Option<Instant>,
    /// How many fetches have failed in a row.
    pub(crate) failures: u32,
    /// Whether the application has yet to be told of a failure.
    pub(crate) untold: bool,
    /// It owes an answer, or did not give the last one.
    pub(crate) is_silent: bool,
    pub(crate) fetch_size: FetchSize,
}

impl Broker {
    fn new(session_mark: u64, session: Session) -> Self {
        Self {
            places: BTreeSet::new(),
            changed: Vec::new(),
            backing_off: BTreeSet::new(),
            empty_handed: 0,
            behind: VecDeque::new(),
            gone: BTreeSet::new(),
            session,
            session_mark,
            sent_at: [None; 2],
            waits_for_memory: [false; 2],
            not_before: None,
            failures: 0,
            untold: false,
            is_silent: false,
            fetch_size: FetchSize::default(),
        }
    }

    /// Forgets what does not count as behind, at a cost that is in proportion to what was added.
    pub(crate) fn settle_behind(&mut self, counts: impl Fn(&(u64, usize)) -> bool) {
        while self.behind.front().is_some_and(|first| !counts(first)) {
            self.behind.pop_front();
        }
        if self.behind.len() > 2 * self.places.len() {
            self.behind.retain(counts);
        }
    }

    /// Has those looked at whose time has come.
    pub(crate) fn wake(&mut self, now: Instant) {
        while self.backing_off.first().is_some_and(|(due, _)| *due <= now) {
            let place = self.backing_off.pop_first().map(|(_, place)| place);
            // It may be fetched from elsewhere by now.
            self.changed.extend(place.filter(|place| self.places.contains(place)));
        }
    }
}

/// The lists that are not a broker's.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// In the order in which they were touched.
    touched: Vec<usize>,
    /// Those without a leader or an offset to fetch from, or of which it is not known whether the leader has them.
    pub(crate) stranded: BTreeSet<usize>,
}

impl Listed {
    /// The broker's lanes look at it now. False if it is another's by now.
    pub(crate) fn look(&mut self, node: NodeId) -> bool {
        let is_its = self.at == Some(node);
        self.is_changed &= !is_its;
        is_its
    }
}

impl Partition {
    fn is_stranded(&self) -> bool {
        self.leader.is_none() || !matches!(self.phase, Phase::Fetching { .. }) || self.needs_validation()
    }
}

impl State {
    /// A partition, to be changed: it will be looked at.
    pub(crate) fn partition_mut(&mut self, place: usize) -> Option<&mut Partition> {
        let partition = self.partitions.get_mut(place)?.as_mut()?;
        if !std::mem::replace(&mut partition.listed.is_touched, true) {
            self.changed.touched.push(place);
        }
        Some(partition)
    }

    /// Lists anew all that has been touched.
    pub(crate) fn sort(&mut self) {
        let mut touched = std::mem::take(&mut self.changed.touched);
        for place in touched.drain(..) {
            let Some(partition) = self.partitions.get_mut(place).and_then(Option::as_mut) else { continue };
            if !std::mem::take(&mut partition.listed.is_touched) {
                continue; // its place was another's
            }
            if partition.is_stranded() {
                self.changed.stranded.insert(place);
            } else {
                self.changed.stranded.remove(&place);
            }
            let (from, to) = (partition.listed.at, partition.fetched_from());
            let is_listed = std::mem::replace(&mut partition.listed.is_changed, to.is_some()) && from == to;
            if from != to {
                partition.listed.at = to;
                let mark = from.and_then(|node| self.brokers.get(&node)).map(|broker| broker.session_mark);
                partition.in_flight.take_if(|id| Some(*id) == mark);
                partition.asked = None;
                let name = partition.name.clone();
                self.unlist(place, from, name);
            }
            let Some(node) = to else { continue };
            if !is_listed {
                self.broker(node).changed.push(place);
            }
            if from != to {
                self.broker(node).places.insert(place);
            }
        }
        self.changed.touched = touched; // with its memory
    }

    /// A partition is not assigned any more.
    pub(crate) fn unlist_place(&mut self, place: usize) {
        self.changed.stranded.remove(&place);
        let Some(partition) = self.partitions.get(place).and_then(Option::as_ref) else { return };
        let (at, name) = (partition.listed.at, partition.name.clone());
        self.unlist(place, at, name);
    }

    fn unlist(&mut self, place: usize, at: Option<NodeId>, name: TopicPartition) {
        let Some(broker) = at.and_then(|node| self.brokers.get_mut(&node)) else { return };
        broker.places.remove(&place);
        broker.gone.insert(name);
    }

    fn broker(&mut self, node: NodeId) -> &mut Broker {
        let wants_session = self.config.fetch_sessions;
        let Self { brokers, generations, .. } = self;
        brokers.entry(node).or_insert_with(|| {
            *generations += 1;
            Broker::new(*generations, if wants_session { Session::wanted() } else { Session::default() })
        })
    }

    /// Drops brokers that nothing is fetched from, unless something is in flight or they have a session to be ended.
    pub(crate) fn drop_idle_brokers(&mut self) {
        self.brokers.retain(|_, broker| {
            !broker.places.is_empty() || broker.sent_at.iter().any(Option::is_some) || broker.session.is_open()
        });
    }

    /// The partitions that are not on their way, by place.
    pub(crate) fn stranded(&mut self) -> impl Iterator<Item = (usize, &Partition)> {
        self.sort();
        let partitions = &self.partitions;
        self.changed.stranded.iter().filter_map(|place| Some((*place, partitions.get(*place)?.as_ref()?)))
    }

    /// How many partitions have been touched and not been sorted.
    #[cfg(test)]
    pub(crate) fn touched(&self) -> usize {
        self.changed.touched.len()
    }

    /// The brokers from which partitions are fetched.
    pub(crate) fn fetched_brokers(&self) -> impl Iterator<Item = (&NodeId, &Broker)> {
        self.brokers.iter().filter(|(_, broker)| !broker.places.is_empty())
    }
}
