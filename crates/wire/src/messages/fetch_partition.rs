//! A partition in a Fetch request: the one structure of which a request has tens of thousands.
//!
//! What only followers say of it stands in a box of its own. With it in the structure, an honest request of version 4,
//! which has sixteen bytes a partition, would decode to more than four times its size.

use super::macros::{field_as_table, wire_struct};
use crate::{LeaderEpoch, TopicId};

/// A partition, and where to read on.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct FetchPartition {
    /// Its index in the topic.
    pub partition: i32,
    /// The leader's epoch as the client knows it, -1: do not check (KIP-320). From version 9 on.
    pub current_leader_epoch: LeaderEpoch,
    /// The offset to read from.
    pub fetch_offset: i64,
    /// The epoch of the last record read, -1: do not look for a divergence. From version 12 on.
    pub last_fetched_epoch: LeaderEpoch,
    /// The follower's own first offset, -1: a consumer. From version 5 on.
    pub log_start_offset: i64,
    /// How many bytes this partition may bring; its first batch is sent whatever its size.
    pub partition_max_bytes: i32,
    /// What only followers say; absent where all of it is as a consumer has it.
    pub follower: Option<Box<FollowerPartition>>,
}

/// What a follower says of a partition.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct FollowerPartition {
    /// The directory that the replica is in (KIP-853). From version 17 on.
    pub replica_directory_id: TopicId,
    /// The high watermark as the follower knows it (KIP-1166). From version 18 on.
    pub high_watermark: i64,
}

impl Default for FetchPartition {
    fn default() -> Self {
        Self::from(Table::default())
    }
}

impl Default for FollowerPartition {
    fn default() -> Self {
        let Table { replica_directory_id, high_watermark, .. } = Table::default();
        Self { replica_directory_id, high_watermark }
    }
}

wire_struct! {
    /// The partition as it stands on the wire.
    pub struct Table {
        /// Its index in the topic.
        partition: i32 [0..],
        /// The leader's epoch as the client knows it, -1: do not check (KIP-320).
        current_leader_epoch: LeaderEpoch [9..; ignorable],
        /// The offset to read from.
        fetch_offset: i64 [0..],
        /// The epoch of the last record read, -1: do not look for a divergence.
        last_fetched_epoch: LeaderEpoch [12..],
        /// The follower's own first offset, -1: a consumer.
        log_start_offset: i64 [5..; default -1; ignorable],
        /// How many bytes this partition may bring; its first batch is sent whatever its size.
        partition_max_bytes: i32 [0..],
    }
    tagged {
        /// The follower's directory (KIP-853).
        0 => replica_directory_id: TopicId [17..; ignorable],
        /// The high watermark as the follower knows it (KIP-1166).
        1 => high_watermark: i64 [18..; default i64::MAX; ignorable],
    }
}

impl From<Table> for FetchPartition {
    fn from(table: Table) -> Self {
        let follower = FollowerPartition {
            replica_directory_id: table.replica_directory_id,
            high_watermark: table.high_watermark,
        };
        let consumers = follower.replica_directory_id == TopicId::NONE && follower.high_watermark == i64::MAX;
        Self {
            partition: table.partition,
            current_leader_epoch: table.current_leader_epoch,
            fetch_offset: table.fetch_offset,
            last_fetched_epoch: table.last_fetched_epoch,
            log_start_offset: table.log_start_offset,
            partition_max_bytes: table.partition_max_bytes,
            follower: (!consumers).then(|| Box::new(follower)),
        }
    }
}

impl From<&FetchPartition> for Table {
    fn from(partition: &FetchPartition) -> Self {
        let follower = partition.follower.as_deref().cloned().unwrap_or_default();
        Self {
            partition: partition.partition,
            current_leader_epoch: partition.current_leader_epoch,
            fetch_offset: partition.fetch_offset,
            last_fetched_epoch: partition.last_fetched_epoch,
            log_start_offset: partition.log_start_offset,
            partition_max_bytes: partition.partition_max_bytes,
            replica_directory_id: follower.replica_directory_id,
            high_watermark: follower.high_watermark,
        }
    }
}

field_as_table! { FetchPartition as Table, boxed follower: FollowerPartition }
