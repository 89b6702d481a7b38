//! How coordinators follow the leaders of their partitions: what one knew is forgotten with its leadership, and read from
//! the log by the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ottla_wire::compression::Decompressor;
use ottla_wire::records::RecordBatches;
use ottla_wire::{ErrorCode, NodeId, TopicId};

use super::super::{ClusterState, Now, PartitionKey};
use super::{CommittedOffsets, Coordinated, OFFSETS_TOPIC, Shard};
use crate::group::{Action, Group, GroupMetadata, Record};
use crate::log::Log;
use crate::records::MAX_BATCH_BYTES;

impl ClusterState {
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
