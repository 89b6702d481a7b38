//! Offsets that are looked up with ListOffsets: starts of partitions, and what the application asks for.

use std::collections::BTreeMap;
use std::time::Instant;

use ottla_cluster::{Leader, WallClock};
use ottla_wire::messages::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use ottla_wire::{ErrorCode, LeaderEpoch, NodeId, TopicPartition};

use crate::position::{Partition, Phase};
use crate::state::State;
use crate::{Error, IsolationLevel, Lookup};

/// What a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetAndTimestamp {
    /// The offset.
    pub offset: i64,
    /// The timestamp of the record there, in milliseconds since 1970; `None` where one end of the log was asked for.
    pub timestamp: Option<i64>,
    /// The leader epoch of the record there, where the broker tells it.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// One ListOffsets for partitions that share a leader.
#[derive(Debug)]
pub(crate) struct LookupRequest {
    pub(crate) node: NodeId,
    pub(crate) request: ListOffsetsRequest,
    pub(crate) wanted: BTreeMap<TopicPartition, Lookup>,
}

/// What became of one partition's lookup.
#[derive(Debug)]
pub(crate) enum LookedUp {
    /// `None`: the broker has no such offset.
    Found(Option<OffsetAndTimestamp>),
    Refused(ErrorCode),
}

/// Groups lookups by the broker that is to be asked.
pub(crate) fn group(
    wanted: impl IntoIterator<Item = (TopicPartition, Leader, Lookup)>,
    isolation: IsolationLevel,
    timeout_ms: i32,
    clock: &WallClock,
) -> Vec<LookupRequest> {
    let now_ms = clock.now_ms();
    let mut nodes: BTreeMap<NodeId, LookupRequest> = BTreeMap::new();
    for (name, leader, lookup) in wanted {
        let request = nodes.entry(leader.node).or_insert_with(|| LookupRequest {
            node: leader.node,
            request: ListOffsetsRequest {
                isolation_level: isolation.number(),
                timeout_ms,
                ..ListOffsetsRequest::default()
            },
            wanted: BTreeMap::new(),
        });
        let partition = ListOffsetsPartition {
            partition_index: name.partition,
            current_leader_epoch: leader.epoch.unwrap_or(LeaderEpoch::NONE),
            timestamp: lookup.timestamp(now_ms),
        };
        let topics = &mut request.request.topics;
        match topics.last_mut().filter(|topic| *topic.name == *name.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(ListOffsetsTopic { name: name.topic.as_ref().to_owned(), partitions: vec![partition] }),
        }
        request.wanted.insert(name, lookup);
    }
    nodes.into_values().collect()
}

impl LookupRequest {
    /// What the answer says of each partition that was asked for; one that it leaves out is to be asked for again.
    pub(crate) fn read(&self, response: ListOffsetsResponse) -> Vec<(TopicPartition, Lookup, LookedUp)> {
        let mut read = Vec::with_capacity(self.wanted.len());
        for topic in response.topics {
            let name: std::sync::Arc<str> = topic.name.into();
            for partition in topic.partitions {
                let name = TopicPartition { topic: name.clone(), partition: partition.partition_index };
                if let Some(lookup) = self.wanted.get(&name) {
                    read.push((name, *lookup, looked_up(&partition)));
                }
            }
        }
        read
    }
}

fn looked_up(partition: &ListOffsetsPartitionResponse) -> LookedUp {
    if partition.error_code != ErrorCode::None {
        return LookedUp::Refused(partition.error_code);
    }
    LookedUp::Found((partition.offset >= 0).then_some(OffsetAndTimestamp {
        offset: partition.offset,
        timestamp: (partition.timestamp >= 0).then_some(partition.timestamp),
        leader_epoch: partition.leader_epoch.known(),
    }))
}

/// The lookups of starts that one ListOffsets makes.
#[derive(Debug)]
pub(crate) struct StartLookup {
    pub(crate) id: u64,
    pub(crate) lookup: LookupRequest,
}

impl State {
    /// The lookups that are to be made now.
    pub(crate) fn next_lookups(&mut self, now: Instant) -> Vec<StartLookup> {
        let id = self.new_generation();
        let due = |(place, partition): (usize, &Partition)| {
            let (lookup, leader) = (partition.wants_lookup()?, partition.leader?);
            partition.is_due(now).then(|| (place, (partition.name.clone(), leader, lookup)))
        };
        let (places, wanted): (Vec<_>, Vec<_>) = self.stranded().filter_map(due).unzip();
        for place in places {
            if let Some(partition) = self.partition_mut(place) {
                partition.in_flight = Some(id);
            }
        }
        let requests = group(wanted, self.config.isolation_level, LOOKUP_TIMEOUT_MS, &self.config.wall_clock);
        let lookups: Vec<_> = requests.into_iter().map(|lookup| StartLookup { id, lookup }).collect();
        self.watch_lookups(lookups.iter().map(|start| (start.id, start.lookup.node)), now);
        lookups
    }

    /// Tells of the partitions that have nowhere to start, again and again until the application has sought.
    pub(crate) fn tell_refused(&mut self, now: Instant) {
        let refused = |(place, partition): (usize, &Partition)| {
            if partition.untold || !partition.is_due(now) {
                return None;
            }
            let Phase::Refused(refusal) = partition.phase else { return None };
            Some((place, partition.generation, Error::of_refusal(partition.name.clone(), refusal)))
        };
        let refused: Vec<_> = self.stranded().filter_map(refused).collect();
        for (place, generation, error) in refused {
            self.fail(place, generation, error, now);
        }
    }

    /// When a partition is to be looked up, or told of, that is not now, or an answer is late.
    pub(crate) fn next_lookup_deadline(&mut self) -> Option<Instant> {
        let late_at = self.next_late_lookup();
        // Nothing is done about a partition until the application has been told of its failure.
        let waiting = self.stranded().map(|(_, partition)| partition).filter(|partition| {
            let is_refused = matches!(partition.phase, Phase::Refused(_));
            !partition.untold
                && (partition.leader.is_none()
                    || partition.wants_lookup().is_some()
                    || partition.wants_validation().is_some()
                    || is_refused)
        });
        waiting.filter_map(|partition| partition.not_before).chain(late_at).min()
    }

    /// Takes in the answer to a lookup of starts; `Err`: there is none.
    pub(crate) fn handle_lookup(
        &mut self,
        start: &StartLookup,
        answer: Result<ListOffsetsResponse, ottla_cluster::Error>,
        now: Instant,
    ) {
        self.handle_lookup_ended(start.id, start.lookup.node, answer.is_ok());
        let failure = match answer {
            Ok(response) => {
                for (name, lookup, looked_up) in start.lookup.read(response) {
                    self.handle_looked_up(start, &name, lookup, &looked_up, now);
                }
                None
            }
            Err(error) => Some(error),
        };
        // Those that the answer left out, or all of them.
        for name in start.lookup.wanted.keys() {
            let Some((place, generation)) = self.release_lookup(name, start.id) else { continue };
            self.refresh(place);
            match &failure {
                Some(error) if !error.is_retriable() => {
                    self.fail(place, generation, Error::Cluster(error.clone()), now);
                }
                _ => self.retry_later(place, generation, now),
            }
        }
    }

    fn handle_looked_up(
        &mut self,
        start: &StartLookup,
        name: &TopicPartition,
        lookup: Lookup,
        looked_up: &LookedUp,
        now: Instant,
    ) {
        let Some((place, generation)) = self.release_lookup(name, start.id) else { return };
        let Some(partition) = self.partition_mut(place) else { return };
        match *looked_up {
            LookedUp::Found(Some(found)) => partition.started(found.offset, found.leader_epoch),
            // No record is as late as that: those to come are.
            LookedUp::Found(None) if lookup.is_by_time() => {
                partition.phase = Phase::Starting(Lookup::Latest);
            }
            LookedUp::Found(None) => {
                self.fail(place, generation, Error::NoOffset { partition: name.clone(), lookup }, now);
            }
            LookedUp::Refused(error_code) => {
                self.refused("ListOffsets", start.lookup.node, place, generation, error_code, now);
            }
        }
    }

    /// The request is no longer in flight for the partition. Returns where it is if it was.
    pub(crate) fn release_lookup(&mut self, name: &TopicPartition, id: u64) -> Option<(usize, u64)> {
        let place = self.places.get(name).copied()?;
        let partition = self.partition_mut(place).filter(|partition| partition.in_flight == Some(id))?;
        partition.in_flight = None;
        Some((place, partition.generation))
    }
}

/// How long a broker may ask tiered storage (KIP-1075).
pub(crate) const LOOKUP_TIMEOUT_MS: i32 = 30_000;
