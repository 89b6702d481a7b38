//! What was written for a group is answered as done once it is as safe as what is produced with acks=all.

use ottla_wire::{ErrorCode, NodeId};

use crate::state::{Awaited, ClusterState, Partition, PartitionKey};

/// Records in the log of a coordinator that have to be replicated.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenRecords {
    node: NodeId,
    key: PartitionKey,
    leader_epoch: i32,
    /// The high watermark that makes them safe.
    required: i64,
}

impl WrittenRecords {
    /// What `node` has just written.
    pub(super) fn new(state: &ClusterState, node: NodeId, key: PartitionKey, required: i64) -> Self {
        let leader_epoch = state.partition(key).map_or(-1, Partition::leader_epoch);
        Self { node, key, leader_epoch, required }
    }

    /// What a request waits for that waits for this.
    pub(super) fn awaited(&self) -> Awaited {
        Awaited::Partition(self.key)
    }

    /// The code to answer with, if what was written is safe, lost or overdue.
    pub(super) fn fate(&self, state: &ClusterState, overdue: bool) -> Option<ErrorCode> {
        match state.partition(self.key) {
            Some(partition)
                if partition.leader() == Some(self.node) && partition.leader_epoch() == self.leader_epoch =>
            {
                match (partition.high_watermark() >= self.required, overdue) {
                    (true, _) => Some(ErrorCode::None),
                    (false, true) => Some(ErrorCode::CoordinatorNotAvailable),
                    (false, false) => None,
                }
            }
            _ => Some(ErrorCode::NotCoordinator),
        }
    }
}
