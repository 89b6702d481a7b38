//! What coordinators write: groups and offsets are records of the partition's log, and take effect once the high
//! watermark has passed them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::records::{BatchBuilder, ProducerState};
use ottla_wire::{ErrorCode, TopicPartition};

use super::super::{ClusterState, Now, Partition, PartitionKey, Timer};
use crate::group::{CommittedOffset, GroupMetadata, Record, Written};
use crate::records;

/// How long a coordinator waits for what it has written to be replicated (`offsets.commit.timeout.ms`).
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Something that has been written.
#[derive(Debug)]
pub(super) struct Unreplicated {
    /// It is safe once the high watermark is there.
    pub(super) required: i64,
    /// When the group is told that it failed, if it is to be told.
    pub(super) deadline: Option<Instant>,
    pub(super) group: Arc<str>,
    pub(super) change: Change,
}

/// What takes effect once it is safe.
#[derive(Debug)]
pub(super) enum Change {
    Offsets(Vec<(TopicPartition, Option<CommittedOffset>)>),
    Group(Written),
}

impl ClusterState {
    /// What was written has not been replicated in time: groups that wait for it are told.
    pub(in crate::state) fn handle_write_timeout(&mut self, key: PartitionKey, now: Now) {
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

    /// Goes on where what was written has been replicated.
    pub(super) fn complete_writes(&mut self, key: PartitionKey, now: Now) {
        let Some(high_watermark) = self.partition(key).map(Partition::high_watermark) else { return };
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

    /// Writes a group, which goes on once that is safe.
    pub(super) fn write_group(
        &mut self,
        key: PartitionKey,
        now: Now,
        id: &Arc<str>,
        metadata: GroupMetadata,
        written: Written,
    ) {
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
    pub(super) fn write(&mut self, key: PartitionKey, now: Now, written: &[Record]) -> Result<i64, ErrorCode> {
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

    /// What was written takes effect once it is safe.
    pub(super) fn await_replication(&mut self, key: PartitionKey, write: Unreplicated) {
        if let Some(shard) = self.coordinators.shards.get_mut(&key) {
            shard.unreplicated.push_back(write);
        }
        self.reschedule_writes(key);
    }

    fn reschedule_writes(&mut self, key: PartitionKey) {
        let Some(shard) = self.coordinators.shards.get_mut(&key) else { return };
        let deadline = shard.unreplicated.iter().filter_map(|write| write.deadline).min();
        if let Some(former) = shard.timer.take() {
            self.timers.cancel(former);
        }
        shard.timer = deadline.map(|deadline| self.timers.set(deadline, Timer::GroupWrites(key)));
    }
}
