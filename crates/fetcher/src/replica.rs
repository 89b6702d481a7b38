//! Reading from the replica that stands closest (KIP-392).
//!
//! A leader that knows a replica in the consumer's rack (`client.rack`) answers a Fetch with that replica's node instead of
//! records. The partition is then fetched there, by that broker's lanes, until:
//!
//! | what happens | what follows |
//! |---|---|
//! | `metadata.max.age` has passed | the leader is asked again: another may be closer now |
//! | the replica answers with an error | the leader is asked, after a back-off |
//! | it answers OFFSET_OUT_OF_RANGE | the same: it may lag behind, and only a leader's word is for `auto.offset.reset` |
//! | it cannot be reached, or its answer is late | the leader is asked, and for a while not told the rack |
//! | there is another leader, or another epoch of it, or the replica is no broker any more | the leader is asked |
//!
//! A leader that names a replica sends no records, so it is followed each time. A replica that answers with an error each time is
//! paced by the back-off, which only records or an empty answer in good order end. One that the leader reaches and the consumer
//! does not would be named for ever: without a rack the leader names none and serves. How long that is tried
//! ([`Unreached`]) doubles until the replica answers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ottla_cluster::Metadata;
use ottla_wire::NodeId;

use crate::position::Partition;
use crate::state::State;

/// A replica that a partition is read from instead of from its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) node: NodeId,
    /// The leader is asked again then.
    until: Instant,
}

/// A replica that was named by a leader and could not be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unreached {
    /// How often in a row.
    times: u32,
    /// The leader is not told the rack before.
    until: Instant,
}

impl Partition {
    /// The broker that it is fetched from.
    pub(crate) fn fetched_from(&self) -> Option<NodeId> {
        let leader = self.leader?;
        Some(self.replica.map_or(leader.node, |replica| replica.node))
    }

    /// Whether `node` is the replica that it is read from.
    pub(crate) fn is_read_from(&self, node: NodeId) -> bool {
        self.replica.is_some_and(|replica| replica.node == node)
    }

    /// Whether `from`, which has named `replica`, is its leader, and no other.
    pub(crate) fn is_sent_elsewhere(&self, from: NodeId, replica: NodeId) -> bool {
        self.fetched_from() == Some(from) && self.replica.is_none() && replica != from
    }

    /// Goes back to the leader, if it is not there.
    pub(crate) fn leave_replica(&mut self) {
        if self.replica.take().is_some() {
            self.in_flight = None;
        }
    }
}

impl State {
    /// The leader has named a replica to read from.
    pub(crate) fn follow_replica(&mut self, place: usize, generation: u64, node: NodeId, now: Instant) {
        if !self.known_nodes.contains(&node) {
            self.refresh(place);
            self.retry_later(place, generation, now);
            return;
        }
        let until = now + self.replica_max_age.min(LONGEST);
        let Some(partition) = self.current(place, generation) else { return };
        tracing::debug!(partition = %partition.name, %node, "reading from the closest replica");
        partition.replica = Some(Replica { node, until });
        self.replicas_expire_at = Some(self.replicas_expire_at.map_or(until, |earliest| earliest.min(until)));
    }

    /// Reads from the leader again.
    pub(crate) fn leave_replica(&mut self, place: usize) {
        if let Some(partition) = self.partition_mut(place) {
            partition.leave_replica();
        }
    }

    /// A broker cannot be reached, or is late: what is read from it as a replica is read from leaders.
    pub(crate) fn leave_replicas_on(&mut self, node: NodeId, now: Instant) {
        if self.replicas_expire_at.is_none() {
            return;
        }
        let left = self.partitions.iter().flatten().filter(|partition| partition.is_read_from(node));
        let leaders: BTreeSet<NodeId> = left.filter_map(|partition| Some(partition.leader?.node)).collect();
        for leader in leaders {
            let unreached = self.unreached_replicas.entry((leader, node)).or_insert(Unreached { times: 0, until: now });
            let span = LEADER_SERVES.saturating_mul(1 << unreached.times.min(16));
            unreached.times = unreached.times.saturating_add(1);
            unreached.until = now + span.min(self.replica_max_age);
        }
        self.leave_where(|partition| partition.is_read_from(node));
    }

    /// A broker has answered with something of a partition: if it is read from there as a replica, that can be reached.
    pub(crate) fn replica_reached(&mut self, place: usize, node: NodeId) {
        if self.unreached_replicas.is_empty() {
            return;
        }
        let partition = self.partition(place).filter(|partition| partition.is_read_from(node));
        if let Some(leader) = partition.and_then(|partition| partition.leader) {
            self.unreached_replicas.remove(&(leader.node, node));
        }
    }

    /// What a broker is told of where the consumer stands.
    pub(crate) fn rack_for(&self, node: NodeId, now: Instant) -> String {
        let is_withheld = self.unreached_replicas.iter().any(|((leader, _), of)| *leader == node && now < of.until);
        self.config.client_rack.clone().filter(|_| !is_withheld).unwrap_or_default()
    }

    /// Takes in which brokers there are.
    pub(crate) fn update_nodes(&mut self, metadata: &Metadata) {
        self.known_nodes = metadata.brokers().map(|broker| broker.node).collect();
        let known = &self.known_nodes;
        self.unreached_replicas.retain(|(leader, replica), _| known.contains(leader) && known.contains(replica));
        if self.replicas_expire_at.is_some() {
            let known = std::mem::take(&mut self.known_nodes);
            self.leave_where(|partition| partition.replica.is_some_and(|replica| !known.contains(&replica.node)));
            self.known_nodes = known;
        }
    }

    /// Has leaders asked again whose replicas have had their time.
    pub(crate) fn expire_replicas(&mut self, now: Instant) {
        if self.replicas_expire_at.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.leave_where(|partition| partition.replica.is_some_and(|replica| replica.until <= now));
        let until = |partition: &Partition| partition.replica.map(|replica| replica.until);
        self.replicas_expire_at = self.partitions.iter().flatten().filter_map(until).min();
        self.is_news = true;
    }

    fn leave_where(&mut self, leaves: impl Fn(&Partition) -> bool) {
        for place in 0..self.partitions.len() {
            if self.partition(place).is_some_and(&leaves) {
                self.leave_replica(place);
            }
        }
    }
}

/// How long a leader serves itself after its replica could not be reached, the first time.
const LEADER_SERVES: Duration = Duration::from_secs(10);

/// Durations of the configuration are added to clocks: no sum may overflow.
const LONGEST: Duration = Duration::from_hours(365 * 24);
