//! ListOffsets (2): the offset at a timestamp, or at one of the places that negative timestamps stand for.

use super::macros::{message, wire_struct};
use crate::{ErrorCode, Field, LeaderEpoch, Message, NodeId, Request, VersionRange};

/// Stands for the offset after the last record.
pub const LATEST_TIMESTAMP: i64 = -1;
/// Stands for the first offset.
pub const EARLIEST_TIMESTAMP: i64 = -2;
/// Stands for the record with the highest timestamp (KIP-734).
pub const MAX_TIMESTAMP: i64 = -3;
/// Stands for the first offset on the broker's own disk (KIP-405).
pub const EARLIEST_LOCAL_TIMESTAMP: i64 = -4;
/// Stands for the last offset in tiered storage (KIP-1005).
pub const LATEST_TIERED_TIMESTAMP: i64 = -5;
/// Stands for the first offset that is not yet in tiered storage (KIP-1023).
pub const EARLIEST_PENDING_UPLOAD_TIMESTAMP: i64 = -6;

wire_struct! {
    /// Asks for offsets.
    pub struct ListOffsetsRequest {
        /// The follower that asks, -1: a consumer.
        replica_id: NodeId [0..],
        /// 0: the end is the high watermark, 1: the last stable offset (`isolation.level`).
        isolation_level: i8 [2..],
        /// The partitions by topic.
        topics: Vec<ListOffsetsTopic> [0..],
        /// How long the broker may ask tiered storage, in milliseconds (KIP-1075).
        timeout_ms: i32 [10..; ignorable],
    }
}

wire_struct! {
    /// The partitions of one topic.
    pub struct ListOffsetsTopic {
        /// The topic's name.
        name: String [0..],
        /// The partitions.
        partitions: Vec<ListOffsetsPartition> [0..],
    }
}

wire_struct! {
    /// A partition and a timestamp.
    pub struct ListOffsetsPartition {
        /// The partition's index in its topic.
        partition_index: i32 [0..],
        /// The leader's epoch as the client knows it, -1: do not check.
        current_leader_epoch: LeaderEpoch [4..; ignorable],
        /// In milliseconds since 1970, or one of the constants beside this.
        timestamp: i64 [0..],
    }
}

wire_struct! {
    /// Brings offsets.
    pub struct ListOffsetsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [2..; ignorable],
        /// The offsets by topic.
        topics: Vec<ListOffsetsTopicResponse> [0..],
    }
}

wire_struct! {
    /// The offsets of one topic.
    pub struct ListOffsetsTopicResponse {
        /// The topic's name.
        name: String [0..],
        /// The offsets by partition.
        partitions: Vec<ListOffsetsPartitionResponse> [0..],
    }
}

wire_struct! {
    /// The offset of one partition.
    pub struct ListOffsetsPartitionResponse {
        /// The partition's index in its topic.
        partition_index: i32 [0..],
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The timestamp of the record found, -1 where none was asked for or found.
        timestamp: i64 [1..; default -1],
        /// The offset, -1 where no record is as late.
        offset: i64 [1..; default -1],
        /// The epoch of the record found, -1 where unknown.
        leader_epoch: LeaderEpoch [4..],
    }
}

message! { ListOffsetsRequest, ListOffsetsResponse: ListOffsets, 1..=11, flexible 6 }

impl Request for ListOffsetsRequest {
    type Response = ListOffsetsResponse;

    /// A broker takes a place that its version does not know for a timestamp, and answers nonsense: such versions are
    /// left out.
    fn usable_versions(&self) -> VersionRange {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.fold(self.carried_by(Self::VERSIONS), |versions, partition| match partition.timestamp {
            MAX_TIMESTAMP => versions.at_least(7),
            EARLIEST_LOCAL_TIMESTAMP => versions.at_least(8),
            LATEST_TIERED_TIMESTAMP => versions.at_least(9),
            EARLIEST_PENDING_UPLOAD_TIMESTAMP => versions.at_least(11),
            _ => versions,
        })
    }
}
