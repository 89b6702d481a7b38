//! OffsetForLeaderEpoch (23): where a leader's epoch ends, by which a client finds out that the log was truncated
//! behind its back (KIP-320).

use super::macros::{message, wire_struct};
use crate::{ErrorCode, LeaderEpoch, NodeId};

wire_struct! {
    /// Asks where epochs end.
    pub struct OffsetForLeaderEpochRequest {
        /// The follower that asks, -1: a consumer, -2: whoever wants to see beyond the high watermark.
        replica_id: NodeId [3..; default NodeId(-2); ignorable],
        /// The partitions by topic.
        topics: Vec<OffsetForLeaderTopic> [0..],
    }
}

wire_struct! {
    /// The partitions of one topic.
    pub struct OffsetForLeaderTopic {
        /// The topic's name.
        topic: String [0..],
        /// The partitions.
        partitions: Vec<OffsetForLeaderPartition> [0..],
    }
}

wire_struct! {
    /// A partition and an epoch.
    pub struct OffsetForLeaderPartition {
        /// The partition's index in its topic.
        partition: i32 [0..],
        /// The leader's epoch as the client knows it, -1: do not check.
        current_leader_epoch: LeaderEpoch [2..; ignorable],
        /// The epoch whose end is wanted.
        leader_epoch: LeaderEpoch [0..; default LeaderEpoch(0)],
    }
}

wire_struct! {
    /// Says where epochs end.
    pub struct OffsetForLeaderEpochResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [2..; ignorable],
        /// The ends by topic.
        topics: Vec<OffsetForLeaderTopicResult> [0..],
    }
}

wire_struct! {
    /// The ends in one topic.
    pub struct OffsetForLeaderTopicResult {
        /// The topic's name.
        topic: String [0..],
        /// The ends by partition.
        partitions: Vec<EpochEndOffset> [0..],
    }
}

wire_struct! {
    /// The end of an epoch in one partition.
    pub struct EpochEndOffset {
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The partition's index in its topic.
        partition: i32 [0..],
        /// The largest epoch that is not above the one asked for, -1 where there is none.
        leader_epoch: LeaderEpoch [1..; ignorable],
        /// Where it ends, -1 where unknown.
        end_offset: i64 [0..; default -1],
    }
}

message! { OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse: OffsetForLeaderEpoch, 2..=4, flexible 4 }
