//! The group coordinators: each partition of `__consumer_offsets` has one, on the node that leads it.
//!
//! What a coordinator knows is a [`Shard`]. It is read from the partition's log when its node begins to lead, and
//! forgotten when it ceases to, so that what survives a move or a death is what the log's replicas have: members and
//! committed offsets, but not who was joining. Everything that is answered as done was written first, and is answered
//! when the high watermark has passed it.
//!
//! Invariant: after [`ClusterState::settle`] there is a shard for exactly those partitions of the topic whose leader
//! runs, and it is of that leader's epoch.

mod deletions;
mod moves;
mod writes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use ottla_wire::hashing::coordinator_partition;
use ottla_wire::{ErrorCode, NodeId, TopicId, TopicPartition};

pub(crate) use self::writes::WRITE_TIMEOUT;
use self::writes::{Change, Unreplicated};
use super::{ClusterState, NewTopic, Now, PartitionKey, Timer, TimerId};
use crate::group::{Action, CommittedOffset, Group, GroupLimits, Record, Reply, ReplyId};

/// The topic whose leaders coordinate groups.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The topic whose leaders would coordinate transactions.
pub(crate) const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// How many partitions the topics of the coordinators have (`offsets.topic.num.partitions`,
/// `transaction.state.log.num.partitions`).
const COORDINATOR_PARTITIONS: i32 = 50;

/// How many replicas those have, where so many nodes are up when they are made (`offsets.topic.replication.factor`).
const COORDINATOR_REPLICAS: usize = 3;

/// Whether a topic is one of the brokers' own.
pub(crate) fn is_internal(topic: &str) -> bool {
    matches!(topic, OFFSETS_TOPIC | TRANSACTIONS_TOPIC)
}

/// The committed offsets of a group.
pub(crate) type CommittedOffsets = BTreeMap<TopicPartition, CommittedOffset>;

/// All coordinators, and the answers that they owe.
#[derive(Debug, Default)]
pub(super) struct Coordinators {
    shards: BTreeMap<PartitionKey, Shard>,
    next_reply: u64,
    /// The answers to requests that somebody still waits for.
    replies: BTreeMap<ReplyId, Option<Reply>>,
    deleted_topics: Vec<(Arc<str>, TopicId)>,
}

/// What the coordinator of one partition knows.
#[derive(Debug)]
struct Shard {
    leader: NodeId,
    leader_epoch: i32,
    /// Until then it is still reading the log.
    serves_from: Instant,
    groups: BTreeMap<Arc<str>, Coordinated>,
    offsets: BTreeMap<Arc<str>, CommittedOffsets>,
    /// What has been written and not been replicated, oldest first.
    unreplicated: VecDeque<Unreplicated>,
    timer: Option<TimerId>,
}

#[derive(Debug)]
struct Coordinated {
    group: Group,
    timer: Option<TimerId>,
}

impl ClusterState {
    /// Where a group or transactional id is coordinated. Makes the topic for it if it is not there, which may take until
    /// the next time that somebody asks: then there is no coordinator yet.
    pub(crate) fn find_coordinator(&mut self, topic: &str, id: &str) -> Result<NodeId, ErrorCode> {
        if self.topic(topic).is_none() {
            // A failure is no other than that there is no coordinator: the next attempt may find more nodes up.
            let _ = self.create_internal_topic(topic);
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.coordinator(topic, id)
    }

    /// Where a group or transactional id is coordinated.
    pub(crate) fn coordinator(&self, topic: &str, id: &str) -> Result<NodeId, ErrorCode> {
        let key = self.coordinator_key(topic, id).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let leader = self.partition(key).and_then(super::Partition::leader);
        leader.filter(|node| self.live_node(*node).is_some()).ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// The partition whose leader coordinates a group or transactional id, if the topic is there.
    pub(crate) fn coordinator_key(&self, topic: &str, id: &str) -> Option<PartitionKey> {
        let topic = self.topic(topic)?;
        let partition = coordinator_partition(id, i32::try_from(topic.partitions.len()).ok()?)?;
        Some(PartitionKey { topic: topic.id, partition })
    }

    /// Makes one of the brokers' own topics.
    pub(crate) fn create_internal_topic(&mut self, topic: &str) -> Result<TopicId, super::Refused> {
        let replicas = COORDINATOR_REPLICAS.min(self.live_nodes().count());
        let config = [("cleanup.policy", "compact"), ("compression.type", "producer"), ("segment.bytes", "104857600")];
        let new = NewTopic {
            name: topic.to_owned(),
            partitions: Some(COORDINATOR_PARTITIONS),
            replication_factor: i16::try_from(replicas).ok(),
            config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..NewTopic::default()
        };
        self.create_topic(new, false)
    }

    /// The partition of a group, if `node` coordinates it and has read its log.
    pub(crate) fn coordinated_by(&self, node: NodeId, group: &str, now: Instant) -> Result<PartitionKey, ErrorCode> {
        let key = self.coordinator_key(OFFSETS_TOPIC, group).ok_or(ErrorCode::NotCoordinator)?;
        let shard = self.coordinators.shards.get(&key).filter(|shard| shard.leader == node);
        let shard = shard.ok_or(ErrorCode::NotCoordinator)?;
        if now < shard.serves_from { Err(ErrorCode::CoordinatorLoadInProgress) } else { Ok(key) }
    }

    /// A group, if there is one.
    pub(crate) fn group(&self, key: PartitionKey, group: &str) -> Option<&Group> {
        let shard = self.coordinators.shards.get(&key)?;
        shard.groups.get(group).map(|coordinated| &coordinated.group)
    }

    /// The groups that `node` coordinates, if it has read all its logs.
    pub(crate) fn groups_of(&self, node: NodeId, now: Instant) -> Result<impl Iterator<Item = &Group>, ErrorCode> {
        let shards = || self.coordinators.shards.values().filter(move |shard| shard.leader == node);
        if shards().any(|shard| now < shard.serves_from) {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        Ok(shards().flat_map(|shard| shard.groups.values()).map(|coordinated| &coordinated.group))
    }

    /// The offsets that a group has committed, as far as they are safe. Those for topics that have been deleted since
    /// are not among them, whatever goes by their names now.
    pub(crate) fn committed_offsets(
        &self,
        key: PartitionKey,
        group: &str,
    ) -> impl Iterator<Item = (&TopicPartition, &CommittedOffset)> {
        let offsets = self.coordinators.shards.get(&key).and_then(|shard| shard.offsets.get(group));
        offsets.into_iter().flatten().filter(|(partition, offset)| self.is_inherited(partition, offset))
    }

    /// The offset that a group has committed for a partition.
    pub(crate) fn committed_offset(
        &self,
        key: PartitionKey,
        group: &str,
        partition: &TopicPartition,
    ) -> Option<&CommittedOffset> {
        let offset = self.coordinators.shards.get(&key)?.offsets.get(group)?.get(partition)?;
        Some(offset).filter(|offset| self.is_inherited(partition, offset))
    }

    fn is_inherited(&self, partition: &TopicPartition, offset: &CommittedOffset) -> bool {
        self.topic(&partition.topic).is_none_or(|topic| topic.id == offset.topic_id)
    }

    /// Does something with a group, and carries out what it wants done. `None` where there is no such group here.
    pub(crate) fn with_group<T>(
        &mut self,
        key: PartitionKey,
        now: Now,
        group: &str,
        action: impl FnOnce(&mut Group) -> T,
    ) -> Option<T> {
        let result = action(self.group_mut(key, group)?);
        self.carry_out(key, now, group);
        self.reschedule(key, group);
        Some(result)
    }

    /// Makes a group and writes it, so that it is there after a move, too.
    pub(crate) fn create_group(&mut self, key: PartitionKey, now: Now, group: &str) {
        self.create_simple_group(key, group);
        self.with_group(key, now, group, Group::write);
    }

    /// Makes a group that only its offsets tell of.
    pub(crate) fn create_simple_group(&mut self, key: PartitionKey, group: &str) {
        let limits = self.group_limits();
        let Some(shard) = self.coordinators.shards.get_mut(&key) else { return };
        let id: Arc<str> = group.into();
        let coordinated = Coordinated { group: Group::new(Arc::clone(&id), limits), timer: None };
        shard.groups.insert(id, coordinated);
    }

    /// Writes offsets of a group that is there. Returns the high watermark that makes them safe.
    pub(crate) fn commit_offsets(
        &mut self,
        key: PartitionKey,
        now: Now,
        group: &str,
        offsets: Vec<(TopicPartition, Option<CommittedOffset>)>,
    ) -> Result<i64, ErrorCode> {
        let group: Arc<str> = group.into();
        let record = |(partition, value): &(TopicPartition, Option<CommittedOffset>)| Record::Offset {
            group: Arc::clone(&group),
            partition: partition.clone(),
            value: value.clone(),
        };
        let records = offsets.iter().map(record).collect::<Vec<_>>();
        let required = self.write(key, now, &records)?;
        let change = Change::Offsets(offsets);
        self.await_replication(key, Unreplicated { required, deadline: None, group, change });
        Ok(required)
    }

    /// How far the log has to be replicated for everything to be safe that was written for groups of a partition.
    pub(crate) fn written_until(&self, key: PartitionKey) -> i64 {
        let shard = self.coordinators.shards.get(&key);
        shard.and_then(|shard| shard.unreplicated.back()).map_or(0, |last| last.required)
    }

    /// Names an answer that somebody will wait for.
    pub(crate) fn new_reply(&mut self) -> ReplyId {
        let id = ReplyId(self.coordinators.next_reply);
        self.coordinators.next_reply += 1;
        self.coordinators.replies.insert(id, None);
        id
    }

    /// Takes an answer, if it is there.
    pub(crate) fn take_reply(&mut self, id: ReplyId) -> Option<Reply> {
        let reply = self.coordinators.replies.get_mut(&id)?.take()?;
        self.coordinators.replies.remove(&id);
        Some(reply)
    }

    /// Nobody waits for an answer any more.
    pub(crate) fn forget_reply(&mut self, id: ReplyId) {
        self.coordinators.replies.remove(&id);
    }

    /// A topic was deleted: what was committed for it is to go.
    pub(super) fn forget_offsets_of(&mut self, name: Arc<str>, id: TopicId) {
        self.coordinators.deleted_topics.push((name, id));
    }

    /// The time of a group's next step has come.
    pub(super) fn handle_group_timeout(&mut self, key: PartitionKey, group: &str, now: Now) {
        if let Some(coordinated) = self.coordinated_mut(key, group) {
            coordinated.timer = None;
        }
        self.with_group(key, now, group, |group| group.handle_timeout(now.instant));
    }

    /// Does what a group wants done.
    fn carry_out(&mut self, key: PartitionKey, now: Now, group: &str) {
        loop {
            let Some(of_group) = self.group_mut(key, group) else { return };
            let actions = of_group.take_actions();
            if actions.is_empty() {
                return;
            }
            let id = Arc::clone(&of_group.id);
            for action in actions {
                match action {
                    Action::Reply(id, reply) => self.reply(id, reply),
                    Action::Write(metadata, written) => self.write_group(key, now, &id, metadata, written),
                }
            }
        }
    }

    fn reply(&mut self, id: ReplyId, reply: Reply) {
        if let Some(place) = self.coordinators.replies.get_mut(&id) {
            *place = Some(reply);
            self.changed.insert_reply(id);
        }
    }

    fn reschedule(&mut self, key: PartitionKey, group: &str) {
        let Some(coordinated) = self.coordinated_mut(key, group) else { return };
        let (deadline, id) = (coordinated.group.next_deadline(), Arc::clone(&coordinated.group.id));
        let former = coordinated.timer.take();
        if let Some(former) = former {
            self.timers.cancel(former);
        }
        let timer = deadline.map(|deadline| self.timers.set(deadline, Timer::Group(key, id)));
        if let Some(coordinated) = self.coordinated_mut(key, group) {
            coordinated.timer = timer;
        }
    }

    fn coordinated_mut(&mut self, key: PartitionKey, group: &str) -> Option<&mut Coordinated> {
        self.coordinators.shards.get_mut(&key)?.groups.get_mut(group)
    }

    fn group_mut(&mut self, key: PartitionKey, group: &str) -> Option<&mut Group> {
        self.coordinated_mut(key, group).map(|coordinated| &mut coordinated.group)
    }

    fn group_limits(&self) -> GroupLimits {
        GroupLimits {
            initial_rebalance_delay: self.settings.group_initial_rebalance_delay,
            max_size: self.settings.group_max_size,
        }
    }
}
