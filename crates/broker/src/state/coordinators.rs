//! The group coordinators: each partition of `__consumer_offsets` has one, on the node that leads it.
//!
//! What a coordinator knows is a [`Shard`]. It is read from the partition's log when its node begins to lead, and
//! forgotten when it ceases to, so that what survives a move or a death is what the log's replicas have: members and
//! committed offsets, but not who was joining. Everything that is answered as done was written first, and is answered
//! when the high watermark has passed it.
//!
//! Invariant: after [`ClusterState::settle`] there is a shard for exactly those partitions of the topic whose leader
//! runs, and it is of that leader's epoch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::compression::Decompressor;
use ottla_wire::hashing::coordinator_partition;
use ottla_wire::records::{BatchBuilder, ProducerState, RecordBatches};
use ottla_wire::{ErrorCode, NodeId, TopicId, TopicPartition};

use super::{ClusterState, NewTopic, Now, PartitionKey, Timer, TimerId};
use crate::group::{Action, CommittedOffset, Group, GroupLimits, GroupMetadata, Record, Reply, ReplyId, Written};
use crate::log::Log;
use crate::records::{self, MAX_BATCH_BYTES};

/// The topic whose leaders coordinate groups.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The topic whose leaders would coordinate transactions.
pub(crate) const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// How many partitions the topics of the coordinators have (`offsets.topic.num.partitions`,
/// `transaction.state.log.num.partitions`).
const COORDINATOR_PARTITIONS: i32 = 50;

/// How many replicas those have, where there are so many nodes (`offsets.topic.replication.factor`).
const COORDINATOR_REPLICAS: usize = 3;

/// How long a coordinator waits for what it has written to be replicated (`offsets.commit.timeout.ms`).
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Something that has been written.
#[derive(Debug)]
struct Unreplicated {
    /// It is safe once the high watermark is there.
    required: i64,
    /// When the group is told that it failed, if it is to be told.
    deadline: Option<Instant>,
    group: Arc<str>,
    change: Change,
}

/// What takes effect once it is safe.
#[derive(Debug)]
enum Change {
    Offsets(Vec<(TopicPartition, Option<CommittedOffset>)>),
    Group(Written),
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

    /// Has the coordinators follow what has changed: they move with the leaders of their partitions, and go on where
    /// what they wrote has been replicated.
    pub(crate) fn settle(&mut self, now: Now) {
        for (name, id) in std::mem::take(&mut self.coordinators.deleted_topics) {
            self.delete_offsets_of(&name, id, now);
        }
        while let Some(key) = self.changed.next_unsettled() {
            let of_groups = self.topic_by_id(key.topic).is_some_and(|topic| *topic.name == *OFFSETS_TOPIC);
            if of_groups || self.coordinators.shards.contains_key(&key) {
                self.settle_partition(key, now);
            }
        }
    }

    /// The time of a group's next step has come.
    pub(super) fn handle_group_timeout(&mut self, key: PartitionKey, group: &str, now: Now) {
        if let Some(coordinated) = self.coordinated_mut(key, group) {
            coordinated.timer = None;
        }
        self.with_group(key, now, group, |group| group.handle_timeout(now.instant));
    }

    /// What was written has not been replicated in time: groups that wait for it are told.
    pub(super) fn handle_write_timeout(&mut self, key: PartitionKey, now: Now) {
        let Some(shard) = self.coordinators.shards.get_mut(&key) else { return };
        shard.timer = None;
        let mut failed = Vec::new();
        for write in &mut shard.unreplicated {
            if write.deadline.is_some_and(|deadline| deadline <= now.instant)
                && let Change::Group(written) = &mut write.change
            {
                write.deadline = None;
                failed.push((Arc::clone(&write.group), std::mem::replace(written, Written::Nothing)));
            }
        }
        for (group, written) in failed {
            let code = ErrorCode::CoordinatorNotAvailable;
            self.with_group(key, now, &group, |group| group.handle_write_failed(now.instant, written, code));
        }
        self.reschedule_writes(key);
    }

    fn settle_partition(&mut self, key: PartitionKey, now: Now) {
        let leader = self.partition(key).and_then(|partition| Some((partition.leader()?, partition.leader_epoch())));
        // A dead node leads until its death is noticed, but does nothing.
        let leads = leader.filter(|(node, _)| self.is_running(*node) == Some(true));
        let loaded = self.coordinators.shards.get(&key).map(|shard| (shard.leader, shard.leader_epoch));
        if loaded != leads {
            self.unload(key);
            if let Some((node, epoch)) = leads {
                self.load(key, node, epoch, now);
            }
        }
        self.complete_writes(key, now);
    }

    fn unload(&mut self, key: PartitionKey) {
        let Some(shard) = self.coordinators.shards.remove(&key) else { return };
        if let Some(timer) = shard.timer {
            self.timers.cancel(timer);
        }
        for mut coordinated in shard.groups.into_values() {
            if let Some(timer) = coordinated.timer {
                self.timers.cancel(timer);
            }
            coordinated.group.end(ErrorCode::NotCoordinator);
            for action in coordinated.group.take_actions() {
                if let Action::Reply(id, reply) = action {
                    self.reply(id, reply);
                }
            }
        }
    }

    fn load(&mut self, key: PartitionKey, leader: NodeId, leader_epoch: i32, now: Now) {
        let serves_from = now.instant + self.settings.coordinator_load_time;
        let limits = self.group_limits();
        let Some(partition) = self.partition_mut(key) else { return };
        let (loaded, offsets) = read_log(&mut partition.log);
        let group = |(id, metadata): (Arc<str>, GroupMetadata)| {
            let group = Group::load(Arc::clone(&id), limits, metadata, serves_from);
            (id, Coordinated { group, timer: None })
        };
        let groups: BTreeMap<_, _> = loaded.into_iter().map(group).collect();
        let ids = groups.keys().cloned().collect::<Vec<_>>();
        let unreplicated = VecDeque::new();
        let shard = Shard { leader, leader_epoch, serves_from, groups, offsets, unreplicated, timer: None };
        self.coordinators.shards.insert(key, shard);
        for group in ids {
            self.reschedule(key, &group);
        }
    }

    fn complete_writes(&mut self, key: PartitionKey, now: Now) {
        let Some(high_watermark) = self.partition(key).map(super::Partition::high_watermark) else { return };
        while let Some(shard) = self.coordinators.shards.get_mut(&key) {
            if shard.unreplicated.front().is_none_or(|write| write.required > high_watermark) {
                break;
            }
            let Some(write) = shard.unreplicated.pop_front() else { break };
            match write.change {
                Change::Offsets(offsets) => {
                    let committed = shard.offsets.entry(Arc::clone(&write.group)).or_default();
                    for (partition, offset) in offsets {
                        match offset {
                            Some(offset) => committed.insert(partition, offset),
                            None => committed.remove(&partition),
                        };
                    }
                    if committed.is_empty() {
                        shard.offsets.remove(&write.group);
                    }
                }
                Change::Group(written) => {
                    self.with_group(key, now, &write.group, |group| group.handle_written(now.instant, written));
                }
            }
        }
        self.reschedule_writes(key);
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

    fn write_group(&mut self, key: PartitionKey, now: Now, id: &Arc<str>, metadata: GroupMetadata, written: Written) {
        let record = Record::Group { group: Arc::clone(id), value: Some(metadata) };
        match self.write(key, now, &[record]) {
            Ok(required) => {
                let deadline = (written != Written::Nothing).then(|| now.instant + WRITE_TIMEOUT);
                let change = Change::Group(written);
                self.await_replication(key, Unreplicated { required, deadline, group: Arc::clone(id), change });
            }
            Err(code) => {
                if let Some(group) = self.group_mut(key, id) {
                    group.handle_write_failed(now.instant, written, code);
                }
            }
        }
    }

    /// Appends records to a partition's log. Returns the high watermark that makes them safe.
    fn write(&mut self, key: PartitionKey, now: Now, written: &[Record]) -> Result<i64, ErrorCode> {
        let topic = self.topic_by_id(key.topic).ok_or(ErrorCode::NotCoordinator)?;
        let config = Arc::clone(&topic.config);
        let in_sync = topic.partition(key.partition).map(|partition| partition.in_sync().len());
        if in_sync.is_none_or(|in_sync| in_sync < config.min_in_sync_replicas) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let mut batch = BatchBuilder::new();
        for record in written {
            // What does not fit into Kafka's form of a record, such as a group's name of 32 KiB.
            let (key, value) = record.encode(now.timestamp_ms).map_err(|_| ErrorCode::UnknownServerError)?;
            let appended = batch.append(now.timestamp_ms, Some(&key), value.as_deref(), []);
            appended.map_err(|_| ErrorCode::UnknownServerError)?;
        }
        let batch =
            batch.build(&mut self.compressor, ProducerState::NONE).map_err(|_| ErrorCode::UnknownServerError)?;
        if batch.len() > config.max_message_bytes {
            return Err(ErrorCode::UnknownServerError);
        }
        let partition = self.partition_mut(key).ok_or(ErrorCode::NotCoordinator)?;
        let epoch = partition.leader_epoch();
        let count = u32::try_from(written.len()).unwrap_or(u32::MAX);
        records::append_unchecked(&mut partition.log, &batch, count, epoch);
        let required = partition.log.end_offset();
        self.appended(key, now.instant);
        Ok(required)
    }

    fn await_replication(&mut self, key: PartitionKey, write: Unreplicated) {
        if let Some(shard) = self.coordinators.shards.get_mut(&key) {
            shard.unreplicated.push_back(write);
        }
        self.reschedule_writes(key);
    }

    fn delete_offsets_of(&mut self, topic: &Arc<str>, id: TopicId, now: Now) {
        let mut deleted = Vec::new();
        for (key, shard) in &self.coordinators.shards {
            for (group, offsets) in &shard.offsets {
                let of_topic =
                    offsets.iter().filter(|(partition, offset)| partition.topic == *topic && offset.topic_id == id);
                let of_topic = of_topic.map(|(partition, _)| (partition.clone(), None)).collect::<Vec<_>>();
                if !of_topic.is_empty() {
                    deleted.push((*key, Arc::clone(group), of_topic));
                }
            }
        }
        for (key, group, offsets) in deleted {
            // One that cannot be written now is told by the topic's id that it is not meant for another.
            let _ = self.commit_offsets(key, now, &group, offsets);
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

    fn reschedule_writes(&mut self, key: PartitionKey) {
        let Some(shard) = self.coordinators.shards.get_mut(&key) else { return };
        let deadline = shard.unreplicated.iter().filter_map(|write| write.deadline).min();
        if let Some(former) = shard.timer.take() {
            self.timers.cancel(former);
        }
        shard.timer = deadline.map(|deadline| self.timers.set(deadline, Timer::GroupWrites(key)));
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

/// What the log says of groups and of their offsets.
fn read_log(log: &mut Log) -> (BTreeMap<Arc<str>, GroupMetadata>, BTreeMap<Arc<str>, CommittedOffsets>) {
    let mut groups = BTreeMap::new();
    let mut offsets = BTreeMap::<Arc<str>, CommittedOffsets>::new();
    let mut decompressor = Decompressor::new(MAX_BATCH_BYTES);
    let batches = (0..log.batch_count()).filter_map(|index| log.stored(index)).collect::<Vec<_>>();
    for batch in batches.into_iter().flat_map(|batch| RecordBatches::new(batch.bytes)).filter_map(Result::ok) {
        // What somebody else has put there may be anything.
        let Ok(open) = batch.open_unchecked(&mut decompressor) else { continue };
        for record in open.records().filter_map(Result::ok) {
            match record.key().and_then(|key| Record::decode(key, record.value()).ok().flatten()) {
                Some(Record::Group { group, value: Some(metadata) }) => drop(groups.insert(group, metadata)),
                Some(Record::Group { group, value: None }) => drop(groups.remove(&group)),
                Some(Record::Offset { group, partition, value: Some(offset) }) => {
                    offsets.entry(group).or_default().insert(partition, offset);
                }
                Some(Record::Offset { group, partition, value: None }) => {
                    offsets.entry(group).or_default().remove(&partition);
                }
                None => {}
            }
        }
    }
    offsets.retain(|_, offsets| !offsets.is_empty());
    for group in offsets.keys() {
        // A group that only commits is written nowhere else.
        groups.entry(Arc::clone(group)).or_default();
    }
    (groups, offsets)
}
