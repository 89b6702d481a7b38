//! What the cluster knows: nodes, topics, partitions, who leads what. The controller's part of Kafka, and the replicas'.
//!
//! One state is shared by all nodes: metadata is never stale between them, unless a fault makes it so. Decisions only:
//! events and the time come in; the requests that have to be looked at again come out of
//! [`take_changed`](ClusterState::take_changed), after [`settle`](ClusterState::settle) has had the group coordinators
//! follow what has changed.
//!
//! A node is in one of three states:
//!
//! ```text
//! Running ──stop──▶ Stopped         leaders move first, then it goes
//!    │  ▲              │
//!    │  └────start─────┤
//!   kill               │
//!    ▼                 │
//!  Dead ──fence────────┘            noticed after `broker_session_timeout`; until then it leads what it led
//! ```

mod changes;
mod coordinators;
mod partition;
mod timers;
mod topic_config;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ottla_connection::Address;
use ottla_wire::compression::{Compression, Compressor, Decompressor};
use ottla_wire::{ErrorCode, NodeId, TopicId};

pub(crate) use self::changes::Awaited;
use self::changes::Changes;
use self::coordinators::Coordinators;
pub(crate) use self::coordinators::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC, WRITE_TIMEOUT, is_internal};
pub(crate) use self::partition::Partition;
pub(crate) use self::timers::{TimerId, Timers};
pub(crate) use self::topic_config::{CONFIG_KEYS, ConfigChange, ConfigKey, ConfigSource, TimestampType, TopicConfig};
pub(crate) use self::topics::{NewTopic, Topic, check_name, unknown_topic};
use crate::fetch_session::FetchSessions;
use crate::records::MAX_BATCH_BYTES;
use crate::settings::{Loss, Settings};

/// The time: on the clock that deadlines are measured with, and on the one that stamps records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Milliseconds since 1970.
    pub(crate) timestamp_ms: i64,
}

/// Why something was not done, as an answer says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: ErrorCode,
    pub(crate) reason: String,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, reason: code.name().to_owned() }
    }
}

/// Names a partition for as long as its topic exists; a topic made anew has other keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionKey {
    pub(crate) topic: TopicId,
    pub(crate) partition: i32,
}

/// A node as the others see it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    pub(crate) rack: Option<String>,
    standing: Standing,
    /// Whether its followers take over what leaders have.
    replicates: bool,
    /// Counts its starts, so that a fencing that was due for an earlier life does not hit this one.
    incarnation: u64,
}

impl Node {
    /// Whether the controller believes it to be up.
    pub(crate) fn is_live(&self) -> bool {
        self.standing != Standing::Stopped
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Running,
    Dead,
    Stopped,
}

#[derive(Clone, Debug)]
enum Timer {
    Replicate(PartitionKey),
    Lag(PartitionKey),
    Fence(NodeId, u64),
    Group(PartitionKey, Arc<str>),
    GroupWrites(PartitionKey),
}

/// The whole cluster.
#[derive(Debug)]
pub(crate) struct ClusterState {
    pub(crate) settings: Settings,
    pub(crate) cluster_id: String,
    nodes: BTreeMap<NodeId, Node>,
    topics: BTreeMap<TopicId, Topic>,
    names: BTreeMap<Arc<str>, TopicId>,
    next_producer_id: i64,
    /// How many topics have been made; the next one's replicas start at another node.
    created: usize,
    /// How often Metadata has been answered.
    turns: usize,
    random: fastrand::Rng,
    timers: Timers<Timer>,
    changed: Changes,
    coordinators: Coordinators,
    fetch_sessions: BTreeMap<NodeId, FetchSessions>,
    /// For looking into the batches that arrive.
    pub(crate) decompressor: Decompressor,
    /// For the batches that coordinators write.
    compressor: Compressor,
}

impl ClusterState {
    /// A cluster whose nodes, all of them running, are found at those addresses.
    pub(crate) fn new(settings: Settings, addresses: BTreeMap<NodeId, Address>) -> Self {
        let mut random = fastrand::Rng::with_seed(settings.seed);
        let racks = &settings.racks;
        let node = |(index, (id, address)): (usize, (NodeId, Address))| {
            let rack = (!racks.is_empty()).then(|| racks[index % racks.len()].clone());
            (id, Node { address, rack, standing: Standing::Running, replicates: true, incarnation: 0 })
        };
        let nodes = addresses.into_iter().enumerate().map(node).collect();
        let cluster_id = TopicId(random_bytes(&mut random)).to_string();
        Self {
            settings,
            cluster_id,
            nodes,
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            // As in Kafka, where ids are handed out in blocks of a thousand; and not 0, which defaults look like.
            next_producer_id: 1000,
            created: 0,
            turns: 0,
            random,
            timers: Timers::default(),
            changed: Changes::default(),
            coordinators: Coordinators::default(),
            fetch_sessions: BTreeMap::new(),
            decompressor: Decompressor::new(MAX_BATCH_BYTES),
            compressor: Compressor::new(Compression::None),
        }
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// The nodes that the controller believes to be up.
    pub(crate) fn live_nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes().filter(|(_, node)| node.is_live())
    }

    /// A node that the controller believes to be up.
    pub(crate) fn live_node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(&node).filter(|node| node.is_live())
    }

    /// Whether a node is there and runs, `None` where there is none of that number.
    pub(crate) fn is_running(&self, node: NodeId) -> Option<bool> {
        self.nodes.get(&node).map(|node| node.standing == Standing::Running)
    }

    /// The controller: the first node that is up.
    pub(crate) fn controller(&self) -> NodeId {
        self.live_nodes().next().map_or(NodeId::NONE, |(id, _)| id)
    }

    /// A random UUID, as Java prints it.
    pub(crate) fn new_uuid(&mut self) -> String {
        let number = u128::from_be_bytes(random_bytes(&mut self.random));
        let digits = format!("{number:032x}");
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| digits.get(part).unwrap_or_default());
        parts.join("-")
    }

    /// An id for an idempotent producer.
    pub(crate) fn new_producer_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id - 1
    }

    /// The fetch sessions of a node.
    pub(crate) fn fetch_sessions(&mut self, node: NodeId) -> &mut FetchSessions {
        let (slots, seed) = (self.settings.fetch_session_slots, self.settings.seed.wrapping_add(node.0 as u64));
        self.fetch_sessions.entry(node).or_insert_with(|| FetchSessions::new(slots, seed))
    }

    /// A topic by its name.
    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.names.get(name).and_then(|id| self.topics.get(id))
    }

    /// A topic by its id.
    pub(crate) fn topic_by_id(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// All topics in the order of their names.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// A partition.
    pub(crate) fn partition(&self, key: PartitionKey) -> Option<&Partition> {
        self.topics.get(&key.topic)?.partition(key.partition)
    }

    /// A partition, to be read or written.
    pub(crate) fn partition_mut(&mut self, key: PartitionKey) -> Option<&mut Partition> {
        let index = usize::try_from(key.partition).ok()?;
        self.topics.get_mut(&key.topic)?.partitions.get_mut(index)
    }

    /// A partition's leader has more than before.
    pub(crate) fn appended(&mut self, key: PartitionKey, now: Instant) {
        self.changed.insert(key);
        match self.settings.replication_delay {
            delay if delay.is_zero() => self.replicate(key, now),
            delay => {
                self.timers.set(now + delay, Timer::Replicate(key));
            }
        }
    }

    /// What waiting requests have to be looked at for.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<Awaited> {
        self.changed.take()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.take_due(now.instant) {
            match timer {
                Timer::Replicate(key) => self.replicate(key, now.instant),
                Timer::Lag(key) => self.drop_laggards(key, now.instant),
                Timer::Fence(node, incarnation) => {
                    let same_life = |node: &Node| node.incarnation == incarnation && node.standing == Standing::Dead;
                    if self.nodes.get(&node).is_some_and(same_life) {
                        self.fence(node, now.instant);
                    }
                }
                Timer::Group(key, group) => self.handle_group_timeout(key, &group, now),
                Timer::GroupWrites(key) => self.handle_write_timeout(key, now),
            }
        }
    }

    /// A node goes in good order: its leaders move first.
    pub(crate) fn stop(&mut self, node: NodeId, now: Instant) {
        self.fence(node, now);
    }

    /// A node dies, and loses what dying costs it.
    pub(crate) fn kill(&mut self, node: NodeId, loss: Loss, now: Instant) {
        let session_timeout = self.settings.broker_session_timeout;
        let Some(dying) = self.nodes.get_mut(&node) else { return };
        dying.standing = Standing::Dead;
        let incarnation = dying.incarnation;
        self.each_partition(|partition, _| partition.lose(node, loss));
        if session_timeout.is_zero() {
            self.fence(node, now);
        } else {
            self.timers.set(now + session_timeout, Timer::Fence(node, incarnation));
        }
    }

    /// A node comes back.
    pub(crate) fn start(&mut self, node: NodeId, now: Instant) {
        if self.nodes.get(&node).is_some_and(|node| node.standing == Standing::Dead) {
            // It registers anew before its absence was noticed: the controller fences its former life (KIP-631).
            self.fence(node, now);
        }
        self.fetch_sessions(node).clear();
        let Some(starting) = self.nodes.get_mut(&node) else { return };
        starting.standing = Standing::Running;
        starting.incarnation += 1;
        self.elect_where_needed();
        self.replicate_all(now);
    }

    /// Whether the followers on a node take over what the leaders have.
    pub(crate) fn set_replicates(&mut self, node: NodeId, replicates: bool, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.replicates = replicates;
        }
        self.replicate_all(now);
    }

    /// Where a partition is led, as answers to a client that asked elsewhere say it (KIP-951).
    pub(crate) fn leader_hint(&self, key: PartitionKey) -> Option<(NodeId, i32)> {
        let partition = self.partition(key).filter(|_| self.settings.leader_hints)?;
        Some((partition.leader()?, partition.leader_epoch()))
    }

    /// Whether clients may ask `node` as the partition's leader.
    pub(crate) fn serves(&self, node: NodeId, partition: &Partition) -> bool {
        match partition.leader() {
            Some(leader) => leader == node || self.settings.leaders_take_turns,
            None => false,
        }
    }

    /// Begins another answer to Metadata.
    pub(crate) fn next_turn(&mut self) {
        self.turns += 1;
    }

    /// Who leads the partition with that index, as clients are told.
    pub(crate) fn told_leader(&self, index: usize, partition: &Partition) -> Option<NodeId> {
        let leader = partition.leader()?;
        if !self.settings.leaders_take_turns {
            return Some(leader);
        }
        let running = self.live_nodes().count().max(1);
        self.live_nodes().map(|(node, _)| node).nth((self.turns + index) % running)
    }

    fn fence(&mut self, node: NodeId, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.standing = Standing::Stopped;
        }
        self.each_partition(|partition, _| partition.fence(node));
        self.elect_where_needed();
        self.replicate_all(now);
    }

    fn elect_where_needed(&mut self) {
        let nodes = &self.nodes;
        let is_up = |node| nodes.get(&node).is_some_and(|node| node.standing != Standing::Stopped);
        for topic in self.topics.values_mut() {
            for (index, partition) in topic.partitions.iter_mut().enumerate() {
                if partition.elect(is_up, topic.config.unclean_leader_election) {
                    self.changed.insert(PartitionKey { topic: topic.id, partition: index as i32 });
                }
            }
        }
    }

    fn replicate_all(&mut self, now: Instant) {
        let keys = self.topics.values().flat_map(Topic::keys).collect::<Vec<_>>();
        for key in keys {
            self.replicate(key, now);
        }
    }

    /// A round of replication of one partition, and what follows from it.
    fn replicate(&mut self, key: PartitionKey, now: Instant) {
        let nodes = &self.nodes;
        let Some(topic) = self.topics.get_mut(&key.topic) else { return };
        let Some(partition) = topic.partitions.get_mut(key.partition as usize) else { return };
        let runs = |node| nodes.get(&node).is_some_and(|node| node.standing == Standing::Running);
        if !partition.leader().is_some_and(runs) {
            return;
        }
        let was_lagging = partition.lagging_since();
        partition.replicate(now, |node| nodes.get(&node).is_some_and(|held| held.replicates) && runs(node));
        self.changed.insert(key);
        if let (None, Some(since)) = (was_lagging, partition.lagging_since()) {
            self.timers.set(since + self.settings.replica_lag_time_max, Timer::Lag(key));
        }
    }

    fn drop_laggards(&mut self, key: PartitionKey, now: Instant) {
        let limit = self.settings.replica_lag_time_max;
        let Some(partition) = self.partition_mut(key) else { return };
        partition.drop_laggards(now, limit);
        let next = partition.lagging_since();
        self.changed.insert(key);
        if let Some(since) = next {
            self.timers.set(since + limit, Timer::Lag(key));
        }
    }

    fn each_partition(&mut self, mut action: impl FnMut(&mut Partition, PartitionKey)) {
        for topic in self.topics.values_mut() {
            for (index, partition) in topic.partitions.iter_mut().enumerate() {
                let key = PartitionKey { topic: topic.id, partition: index as i32 };
                action(partition, key);
                self.changed.insert(key);
            }
        }
    }
}

fn random_bytes(random: &mut fastrand::Rng) -> [u8; 16] {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    // A version 4 UUID, as Kafka's ids are.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}
