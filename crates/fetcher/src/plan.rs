//! What the next Fetch to a broker asks for.
//!
//! There are two lanes to a broker, each a connection. The *main* lane asks for all partitions that may be fetched, and
//! parks at the broker until one of them has records (`fetch_max_wait`). A partition that is assigned, sought or resumed
//! meanwhile goes by the lane *aside*, with waits of [`ASIDE_WAIT`], and joins the main lane when that has been
//! answered. So such a partition waits for [`ASIDE_AFTER`] and [`ASIDE_WAIT`] at most, and not for another's long poll.
//!
//! While records flow, the main lane is answered at once and the lane aside is not used.

use std::time::{Duration, Instant};

use ottla_cluster::LATE;
use ottla_wire::messages::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::{LeaderEpoch, NodeId};

use crate::ask::whole_batches;
use crate::budget::{Grant, Occasion};
use crate::buffer_pool::Usage;
use crate::fetch_size::Arrival;
use crate::state::{Broker, State};

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
    pub(crate) request: FetchRequest,
    /// Its partitions, in the request's order.
    pub(crate) asked: Vec<Asked>,
    pub(crate) granted: Grant,
    pub(crate) max_wait: Duration,
    pub(crate) sent_at: Instant,
    /// An answer that has not begun to come by then is late.
    pub(crate) late_at: Instant,
}

/// One partition of a Fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) place: usize,
    pub(crate) offset: i64,
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
        let brokers = self.brokers.values().filter(|broker| !broker.order.is_empty()).count();
        let Some(broker) = self.brokers.get(&node) else { return NextFetch::End };
        if broker.order.is_empty() {
            return NextFetch::End;
        }
        if let Some(until) = broker.not_before.filter(|until| *until > now) {
            return NextFetch::Wait(Some(until));
        }
        let worthwhile_bytes = broker.fetch_size.worthwhile_bytes();
        let max_wait = match lane {
            Lane::Main => self.config.fetch_max_wait,
            Lane::Aside => match broker.wait_aside(now, self.config.fetch_max_wait) {
                Ok(max_wait) => max_wait,
                // When neither the lane nor a partition is due, a look at the first of the two is early, and harmless.
                Err(until) => return NextFetch::Wait(self.due(node, now).map_or_else(|due| due, |_| until)),
            },
        };
        let due = match self.due(node, now) {
            Ok(due) => due,
            Err(until) => return NextFetch::Wait(until),
        };
        let Usage { reading, .. } = usage;
        let used = usage.used.saturating_sub(reading);
        // Of an answer that is half handed out, that half: who holds one record of it will hold the whole.
        let waiting = usize::try_from(self.totals().waiting_bytes()).unwrap_or(usize::MAX);
        let held = used.saturating_sub(waiting);
        let worthwhile_bytes = worthwhile_bytes.max(self.bytes_worth_their_loss(&due));
        let on = Occasion { used, reading, held, brokers, header_bytes: self.header_bytes(&due), worthwhile_bytes };
        let granted = match lane {
            Lane::Main => self.budget.grant(on),
            Lane::Aside => self.budget.grant_aside(on),
        };
        let Some(granted) = granted else { return NextFetch::WaitForMemory };
        NextFetch::Send(Box::new(self.fetch(node, lane, now, due, granted, max_wait)))
    }

    /// The places of the partitions that may be fetched from `node` now; if there are none, when there will be.
    fn due(&self, node: NodeId, now: Instant) -> Result<Vec<usize>, Option<Instant>> {
        let order = self.brokers.get(&node).map(|broker| broker.order.as_slice()).unwrap_or_default();
        let mut due = Vec::with_capacity(order.len());
        let mut earliest: Option<Instant> = None;
        for place in order {
            let Some(partition) = self.partition(*place).filter(|partition| partition.wants_fetch()) else { continue };
            match partition.not_before {
                Some(not_before) if not_before > now => {
                    earliest = Some(earliest.map_or(not_before, |earliest| earliest.min(not_before)));
                }
                _ => due.push(*place),
            }
        }
        if due.is_empty() { Err(earliest) } else { Ok(due) }
    }

    /// How many bytes the partition whose turn it is should bring at once, so that little is lost of them.
    fn bytes_worth_their_loss(&self, due: &[usize]) -> usize {
        let first = due.first().and_then(|place| self.partition(*place));
        first.map_or(0, |first| first.sizes.ask(self.config.partition_limits()))
    }

    /// About how long the answer is without its records, where it tells of these partitions: a little more than it
    /// mostly is. What is unusual (aborted transactions, other leaders) may take more, as may a batch that is larger than
    /// what was asked for.
    fn header_bytes(&self, due: &[usize]) -> usize {
        let mut bytes = ANSWER_HEADER_BYTES;
        let mut last: Option<&str> = None;
        for place in due {
            let Some(partition) = self.partition(*place) else { continue };
            let topic = &*partition.name.topic;
            if last != Some(topic) {
                bytes += TOPIC_HEADER_BYTES + topic.len();
                last = Some(topic);
            }
            bytes += PARTITION_HEADER_BYTES;
        }
        bytes
    }

    fn fetch(
        &mut self,
        node: NodeId,
        lane: Lane,
        now: Instant,
        due: Vec<usize>,
        granted: Grant,
        max_wait: Duration,
    ) -> Fetch {
        let id = self.new_generation();
        let limits = self.config.partition_limits();
        let max_bytes = whole_batches(
            granted.max_bytes,
            due.iter().filter_map(|place| self.partition(*place)).map(|of| (of.sizes, of.sizes.ask(limits))),
        );
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut asked = Vec::with_capacity(due.len());
        for place in due {
            let Some(partition) = self.partition_mut(place) else { continue };
            let Some(offset) = partition.fetch_offset() else { continue };
            partition.in_flight = Some(id);
            let epoch = partition.leader.and_then(|leader| leader.epoch);
            let fetch_partition = FetchPartition {
                partition: partition.name.partition,
                current_leader_epoch: epoch.unwrap_or(LeaderEpoch::NONE),
                fetch_offset: offset,
                partition_max_bytes: i32::try_from(partition.sizes.ask(limits)).unwrap_or(i32::MAX),
                ..FetchPartition::default()
            };
            asked.push(Asked { place, offset });
            // As Java does: neighbours of one topic share an entry, and the order is kept whatever that takes.
            match topics.last_mut().filter(|topic| topic.topic == *partition.name.topic) {
                Some(topic) => topic.partitions.push(fetch_partition),
                None => topics.push(FetchTopic {
                    topic: partition.name.topic.as_ref().to_owned(),
                    topic_id: partition.topic_id.unwrap_or_default(),
                    partitions: vec![fetch_partition],
                }),
            }
        }
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.sent_at[lane as usize] = Some(now);
        }
        let request = FetchRequest {
            // Redpanda has been seen never to answer a Fetch that does not wait.
            max_wait_ms: i32::try_from(max_wait.as_millis()).unwrap_or(i32::MAX).max(1),
            min_bytes: self.config.fetch_min_bytes,
            max_bytes: i32::try_from(max_bytes).unwrap_or(i32::MAX),
            isolation_level: self.config.isolation_level.number(),
            rack_id: self.config.client_rack.clone().unwrap_or_default(),
            topics,
            ..FetchRequest::default()
        };
        Fetch { id, node, lane, request, asked, granted, max_wait, sent_at: now, late_at: now + max_wait + LATE }
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

impl Broker {
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
