//! A partition in a Metadata response: the one structure of which a response has tens of thousands.
//!
//! Its three lists of replicas stand in one piece of memory. With a vector for each, an honest answer of an old broker,
//! which has some forty bytes for a topic with one partition, would decode to more than four times its size.

use super::macros::{field_as_table, wire_struct};
use crate::{ErrorCode, LeaderEpoch, NodeId};

/// A partition, and where its replicas are.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct MetadataPartition {
    /// What went wrong with it.
    pub error_code: ErrorCode,
    /// Its index in the topic.
    pub partition_index: i32,
    /// The broker that leads it, -1 where none does.
    pub leader_id: NodeId,
    /// The leader's epoch, -1 where unknown. From version 7 on.
    pub leader_epoch: LeaderEpoch,
    /// The brokers that have a replica, in sync or not, offline or not.
    pub replicas: PartitionReplicas,
}

/// The brokers that have a replica of a partition, and which of them are in sync and offline.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PartitionReplicas {
    /// All of them, then those in sync, then those offline.
    nodes: Box<[NodeId]>,
    in_sync_from: u32,
    offline_from: u32,
}

impl PartitionReplicas {
    /// From the schema's three lists: `replica_nodes`, `isr_nodes`, and `offline_replicas`, which versions up to 4 lack.
    pub fn new(all: &[NodeId], in_sync: &[NodeId], offline: &[NodeId]) -> Self {
        // No frame holds as many nodes as an u32 counts.
        let in_sync_from = all.len() as u32;
        let offline_from = in_sync_from.saturating_add(in_sync.len() as u32);
        Self { nodes: [all, in_sync, offline].concat().into(), in_sync_from, offline_from }
    }

    /// The brokers that have a replica, the preferred leader first.
    pub fn all(&self) -> &[NodeId] {
        self.nodes.get(..self.in_sync_from as usize).unwrap_or_default()
    }

    /// Those in sync with the leader.
    pub fn in_sync(&self) -> &[NodeId] {
        self.nodes.get(self.in_sync_from as usize..self.offline_from as usize).unwrap_or_default()
    }

    /// Those that are offline.
    pub fn offline(&self) -> &[NodeId] {
        self.nodes.get(self.offline_from as usize..).unwrap_or_default()
    }
}

impl std::fmt::Debug for PartitionReplicas {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PartitionReplicas")
            .field("all", &self.all())
            .field("in_sync", &self.in_sync())
            .field("offline", &self.offline())
            .finish()
    }
}

wire_struct! {
    /// The partition as it stands on the wire.
    pub struct Table {
        /// What went wrong with it.
        error_code: ErrorCode [0..],
        /// Its index in the topic.
        partition_index: i32 [0..],
        /// The broker that leads it, -1 where none does.
        leader_id: NodeId [0..],
        /// The leader's epoch, -1 where unknown.
        leader_epoch: LeaderEpoch [7..; ignorable],
        /// The brokers that have a replica.
        replica_nodes: Vec<NodeId> [0..],
        /// Those in sync with the leader.
        isr_nodes: Vec<NodeId> [0..],
        /// Those that are offline.
        offline_replicas: Vec<NodeId> [5..; ignorable],
    }
}

impl From<Table> for MetadataPartition {
    fn from(table: Table) -> Self {
        Self {
            error_code: table.error_code,
            partition_index: table.partition_index,
            leader_id: table.leader_id,
            leader_epoch: table.leader_epoch,
            replicas: PartitionReplicas::new(&table.replica_nodes, &table.isr_nodes, &table.offline_replicas),
        }
    }
}

impl From<&MetadataPartition> for Table {
    fn from(partition: &MetadataPartition) -> Self {
        Self {
            error_code: partition.error_code,
            partition_index: partition.partition_index,
            leader_id: partition.leader_id,
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.all().to_vec(),
            isr_nodes: partition.replicas.in_sync().to_vec(),
            offline_replicas: partition.replicas.offline().to_vec(),
        }
    }
}

// What the lists were charged for is what the nodes take once they are in one piece.
field_as_table! { MetadataPartition as Table }
