//! DeleteRecords (21): deletes the records of partitions up to an offset (KIP-107). To be sent to their leaders.

use super::macros::{message, wire_struct};
use crate::ErrorCode;

wire_struct! {
    /// Deletes records.
    pub struct DeleteRecordsRequest {
        /// The partitions by topic.
        topics: Vec<DeleteRecordsTopic> [0..],
        /// How long the broker may wait until the followers have followed, in milliseconds.
        timeout_ms: i32 [0..],
    }
}

wire_struct! {
    /// The partitions of one topic.
    pub struct DeleteRecordsTopic {
        /// The topic's name.
        name: String [0..],
        /// The partitions.
        partitions: Vec<DeleteRecordsPartition> [0..],
    }
}

wire_struct! {
    /// A partition, and what of it is to go.
    pub struct DeleteRecordsPartition {
        /// The partition's index in its topic.
        partition_index: i32 [0..],
        /// The first offset that stays, -1: the high watermark.
        offset: i64 [0..],
    }
}

wire_struct! {
    /// Says what became of the partitions.
    pub struct DeleteRecordsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [0..],
        /// The partitions by topic.
        topics: Vec<DeleteRecordsTopicResult> [0..],
    }
}

wire_struct! {
    /// The partitions of one topic.
    pub struct DeleteRecordsTopicResult {
        /// The topic's name.
        name: String [0..],
        /// The partitions.
        partitions: Vec<DeleteRecordsPartitionResult> [0..],
    }
}

wire_struct! {
    /// What became of one partition.
    pub struct DeleteRecordsPartitionResult {
        /// The partition's index in its topic.
        partition_index: i32 [0..],
        /// The first offset that any replica still has, -1 where something went wrong.
        low_watermark: i64 [0..],
        /// What went wrong.
        error_code: ErrorCode [0..],
    }
}

message! { DeleteRecordsRequest => DeleteRecordsResponse: DeleteRecords, 0..=2, flexible 2 }
