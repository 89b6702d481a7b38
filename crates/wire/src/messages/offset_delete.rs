//! OffsetDelete (47): forgets what a group has committed for partitions (KIP-496). To be sent to its coordinator.

use super::macros::{message, wire_struct};
use crate::ErrorCode;

wire_struct! {
    /// Deletes committed offsets.
    pub struct OffsetDeleteRequest {
        /// The group.
        group_id: String [0..],
        /// The partitions by topic.
        topics: Vec<OffsetDeleteRequestTopic> [0..],
    }
}

wire_struct! {
    /// The partitions of one topic.
    pub struct OffsetDeleteRequestTopic {
        /// The topic's name.
        name: String [0..],
        /// The partitions.
        partitions: Vec<OffsetDeleteRequestPartition> [0..],
    }
}

wire_struct! {
    /// A partition whose offset is to go.
    pub struct OffsetDeleteRequestPartition {
        /// The partition's index in its topic.
        partition_index: i32 [0..],
    }
}

wire_struct! {
    /// Says what became of the offsets.
    pub struct OffsetDeleteResponse {
        /// What went wrong with the whole request.
        error_code: ErrorCode [0..],
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [0..; ignorable],
        /// The partitions by topic.
        topics: Vec<OffsetDeleteResponseTopic> [0..],
    }
}

wire_struct! {
    /// The partitions of one topic.
    pub struct OffsetDeleteResponseTopic {
        /// The topic's name.
        name: String [0..],
        /// The partitions.
        partitions: Vec<OffsetDeleteResponsePartition> [0..],
    }
}

wire_struct! {
    /// What became of one partition's offset.
    pub struct OffsetDeleteResponsePartition {
        /// The partition's index in its topic.
        partition_index: i32 [0..],
        /// What went wrong.
        error_code: ErrorCode [0..],
    }
}

message! { OffsetDeleteRequest => OffsetDeleteResponse: OffsetDelete, 0..=0, flexible 1 }
