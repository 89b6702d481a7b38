//! OffsetFetch (9): reads committed offsets; of several groups at once from version 8 on (KIP-709), by topic id from
//! version 10 on (KIP-848).

use super::macros::{message, wire_struct};
use super::topics::versions_by_topic_id;
use crate::{ErrorCode, Field, LeaderEpoch, Message, Request, TopicId, VersionRange};

wire_struct! {
    /// Asks for committed offsets.
    pub struct OffsetFetchRequest {
        /// The group, before batching.
        group_id: String [0..=7],
        /// Its partitions, before batching; `None`: all that have an offset.
        topics: Option<Vec<OffsetFetchRequestTopic>> [0..=7; nullable 2..=7],
        /// The groups.
        groups: Vec<OffsetFetchRequestGroup> [8..],
        /// Whether to fail, rather than to leave them out, while a transaction's offsets are pending (KIP-447).
        require_stable: bool [7..],
    }
}

wire_struct! {
    /// The partitions of one topic, before batching.
    pub struct OffsetFetchRequestTopic {
        /// The topic's name.
        name: String [0..=7],
        /// The partitions.
        partition_indexes: Vec<i32> [0..=7],
    }
}

wire_struct! {
    /// One group.
    pub struct OffsetFetchRequestGroup {
        /// The group.
        group_id: String [8..],
        /// The member that asks.
        member_id: Option<String> [9..; ignorable],
        /// Its epoch, -1: none.
        member_epoch: i32 [9..; default -1; ignorable],
        /// Its partitions; `None`: all that have an offset.
        topics: Option<Vec<OffsetFetchRequestTopics>> [8..],
    }
}

wire_struct! {
    /// The partitions of one topic.
    pub struct OffsetFetchRequestTopics {
        /// The topic's name.
        name: String [8..=9; ignorable],
        /// Its id.
        topic_id: TopicId [10..; ignorable],
        /// The partitions.
        partition_indexes: Vec<i32> [8..],
    }
}

wire_struct! {
    /// Brings committed offsets.
    pub struct OffsetFetchResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [3..; ignorable],
        /// The offsets by topic, before batching.
        topics: Vec<OffsetFetchResponseTopic> [0..=7],
        /// What went wrong with the group, before batching.
        error_code: ErrorCode [2..=7; ignorable],
        /// The groups.
        groups: Vec<OffsetFetchResponseGroup> [8..],
    }
}

wire_struct! {
    /// The offsets of one topic, before batching.
    pub struct OffsetFetchResponseTopic {
        /// The topic's name.
        name: String [0..=7],
        /// The offsets by partition.
        partitions: Vec<OffsetFetchResponsePartition> [0..=7],
    }
}

wire_struct! {
    /// The offset of one partition.
    pub struct OffsetFetchResponsePartition {
        /// The partition's index in its topic.
        partition_index: i32 [0..],
        /// The offset to read from next, -1 where none is committed.
        committed_offset: i64 [0..],
        /// The epoch of the last record read, -1 where unknown.
        committed_leader_epoch: LeaderEpoch [5..; ignorable],
        /// What the application had kept with it.
        metadata: Option<String> [0..],
        /// What went wrong.
        error_code: ErrorCode [0..],
    }
}

wire_struct! {
    /// The offsets of one group.
    pub struct OffsetFetchResponseGroup {
        /// The group.
        group_id: String [8..],
        /// The offsets by topic.
        topics: Vec<OffsetFetchResponseTopics> [8..],
        /// What went wrong with the group.
        error_code: ErrorCode [8..],
    }
}

wire_struct! {
    /// The offsets of one topic.
    pub struct OffsetFetchResponseTopics {
        /// The topic's name.
        name: String [8..=9; ignorable],
        /// Its id.
        topic_id: TopicId [10..; ignorable],
        /// The offsets by partition.
        partitions: Vec<OffsetFetchResponsePartition> [8..],
    }
}

message! { OffsetFetchRequest, OffsetFetchResponse: OffsetFetch, 1..=10, flexible 6 }

impl Request for OffsetFetchRequest {
    type Response = OffsetFetchResponse;

    fn usable_versions(&self) -> VersionRange {
        let topics = self.groups.iter().filter_map(|group| group.topics.as_ref()).flatten();
        let topics = topics.map(|topic| (topic.name.as_str(), topic.topic_id));
        versions_by_topic_id(self.carried_by(Self::VERSIONS), 10, topics)
    }
}
