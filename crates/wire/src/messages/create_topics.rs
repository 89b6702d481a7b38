//! CreateTopics (19). To be sent to the controller.

use super::macros::{message, wire_struct};
use crate::{ErrorCode, Field, Message, NodeId, Request, TopicId, VersionRange};

wire_struct! {
    /// Creates topics.
    pub struct CreateTopicsRequest {
        /// The topics.
        topics: Vec<CreatableTopic> [0..],
        /// How long the broker may wait until they exist everywhere, in milliseconds.
        timeout_ms: i32 [0..; default 60_000],
        /// Whether only to check the request.
        validate_only: bool [1..],
    }
}

wire_struct! {
    /// A topic to be created.
    pub struct CreatableTopic {
        /// Its name.
        name: Box<str> [0..],
        /// How many partitions, -1: the broker's `num.partitions` (from version 4 on), or as many as are assigned by hand.
        num_partitions: i32 [0..],
        /// How many replicas of each, -1: the broker's `default.replication.factor` (from version 4 on), or as assigned by
        /// hand.
        replication_factor: i16 [0..],
        /// Where the replicas are to be, where that is assigned by hand.
        assignments: Box<[CreatableReplicaAssignment]> [0..],
        /// Its settings.
        configs: Box<[CreatableTopicConfig]> [0..],
    }
}

wire_struct! {
    /// Where a partition's replicas are to be.
    pub struct CreatableReplicaAssignment {
        /// The partition.
        partition_index: i32 [0..],
        /// The brokers, the preferred leader first.
        broker_ids: Box<[NodeId]> [0..],
    }
}

wire_struct! {
    /// A setting of a topic.
    pub struct CreatableTopicConfig {
        /// Its name, such as `retention.ms`.
        name: Box<str> [0..],
        /// Its value.
        value: Option<Box<str>> [0..],
    }
}

wire_struct! {
    /// Says what became of the topics.
    pub struct CreateTopicsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [2..; ignorable],
        /// The topics.
        topics: Vec<CreatableTopicResult> [0..],
    }
}

wire_struct! {
    /// What became of one topic.
    pub struct CreatableTopicResult {
        /// Its name.
        name: Box<str> [0..],
        /// Its id.
        topic_id: TopicId [7..; ignorable],
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The same in words.
        error_message: Option<Box<str>> [1..; ignorable],
        /// How many partitions it has, -1 where that is not told.
        num_partitions: i32 [5..; default -1; ignorable],
        /// How many replicas each has, -1 where that is not told.
        replication_factor: i16 [5..; default -1; ignorable],
        /// Its settings; `None` where they are not told.
        configs: Option<Vec<CreatableTopicConfigs>> [5..; ignorable],
    }
    tagged {
        /// Why its settings are not told, where they are not.
        0 => topic_config_error_code: ErrorCode [5..; ignorable],
    }
}

wire_struct! {
    /// A setting of a topic that was created.
    pub struct CreatableTopicConfigs {
        /// Its name.
        name: Box<str> [5..],
        /// Its value; `None` where it is sensitive.
        value: Option<Box<str>> [5..],
        /// Whether it cannot be changed.
        read_only: bool [5..],
        /// Where it comes from, by Kafka's number; -1: unknown.
        config_source: i8 [5..; default -1; ignorable],
        /// Whether its value is kept secret.
        is_sensitive: bool [5..],
    }
}

message! { CreateTopicsRequest, CreateTopicsResponse: CreateTopics, 2..=7, flexible 5 }

impl Request for CreateTopicsRequest {
    type Response = CreateTopicsResponse;

    fn usable_versions(&self) -> VersionRange {
        let leaves_open = |topic: &CreatableTopic| {
            topic.assignments.is_empty() && (topic.num_partitions == -1 || topic.replication_factor == -1)
        };
        let versions = self.carried_by(Self::VERSIONS);
        // Before version 4 the broker has no defaults to fill in (KIP-464).
        if self.topics.iter().any(leaves_open) { versions.at_least(4) } else { versions }
    }
}
