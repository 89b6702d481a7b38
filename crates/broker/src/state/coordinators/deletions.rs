//! How groups and committed offsets are deleted: by records without a value, after which neither this coordinator nor one
//! that reads its log knows of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_wire::{ErrorCode, TopicPartition};

use super::super::{ClusterState, Now, PartitionKey};
use super::writes::{Change, Unreplicated};
use crate::group::Record;

impl ClusterState {
    /// Deletes a group that is there and has no members, with all that it has committed. Returns the high watermark that
    /// makes that safe.
    pub(crate) fn delete_group(&mut self, key: PartitionKey, now: Now, group: &str) -> Result<i64, ErrorCode> {
        let group: Arc<str> = group.into();
        let offsets = self.written_offsets(key, &group);
        let mut records = offsets.iter().map(|partition| deleted_offset(&group, partition)).collect::<Vec<_>>();
        records.push(Record::Group { group: Arc::clone(&group), value: None });
        let required = self.write(key, now, &records)?;
        self.forget_group(key, &group);
        let change = Change::Offsets(offsets.into_iter().map(|partition| (partition, None)).collect());
        self.await_replication(key, Unreplicated { required, deadline: None, group, change });
        Ok(required)
    }

    /// The partitions for which a group has an offset, be it safe yet or not.
    fn written_offsets(&self, key: PartitionKey, group: &Arc<str>) -> BTreeSet<TopicPartition> {
        let Some(shard) = self.coordinators.shards.get(&key) else { return BTreeSet::new() };
        let mut partitions: BTreeSet<_> =
            shard.offsets.get(group).into_iter().flat_map(|offsets| offsets.keys().cloned()).collect();
        for write in shard.unreplicated.iter().filter(|write| write.group == *group) {
            if let Change::Offsets(offsets) = &write.change {
                partitions.extend(offsets.iter().map(|(partition, _)| partition.clone()));
            }
        }
        partitions
    }

    fn forget_group(&mut self, key: PartitionKey, group: &str) {
        let Some(shard) = self.coordinators.shards.get_mut(&key) else { return };
        // It has no members, so nobody waits for it.
        if let Some(timer) = shard.groups.remove(group).and_then(|coordinated| coordinated.timer) {
            self.timers.cancel(timer);
        }
    }
}

fn deleted_offset(group: &Arc<str>, partition: &TopicPartition) -> Record {
    Record::Offset { group: Arc::clone(group), partition: partition.clone(), value: None }
}
