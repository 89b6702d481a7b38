//! CreatePartitions (37): adds partitions to topics. To be sent to the controller.

use super::macros::{message, wire_struct};
use crate::{ErrorCode, NodeId};

wire_struct! {
    /// Adds partitions to topics.
    pub struct CreatePartitionsRequest {
        /// The topics.
        topics: Vec<CreatePartitionsTopic> [0..],
        /// How long the broker may wait until they exist everywhere, in milliseconds.
        timeout_ms: i32 [0..],
        /// Whether only to check the request.
        validate_only: bool [0..],
    }
}

wire_struct! {
    /// A topic that is to get partitions.
    pub struct CreatePartitionsTopic {
        /// Its name.
        name: Box<str> [0..],
        /// How many partitions it is to have in all.
        count: i32 [0..],
        /// Where the replicas of each new partition are to be; `None`: the broker decides.
        assignments: Option<Vec<CreatePartitionsAssignment>> [0..],
    }
}

wire_struct! {
    /// Where a new partition's replicas are to be.
    pub struct CreatePartitionsAssignment {
        /// The brokers, the preferred leader first.
        broker_ids: Box<[NodeId]> [0..],
    }
}

wire_struct! {
    /// Says what became of the topics.
    pub struct CreatePartitionsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [0..],
        /// The topics.
        results: Vec<CreatePartitionsTopicResult> [0..],
    }
}

wire_struct! {
    /// What became of one topic.
    pub struct CreatePartitionsTopicResult {
        /// Its name.
        name: Box<str> [0..],
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The same in words.
        error_message: Option<Box<str>> [0..],
    }
}

message! { CreatePartitionsRequest => CreatePartitionsResponse: CreatePartitions, 0..=3, flexible 2 }
