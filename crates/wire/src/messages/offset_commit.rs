//! OffsetCommit (8): commits a group's offsets. By topic id from version 10 on (KIP-848).

use super::macros::{message, wire_struct};
use super::topics::versions_by_topic_id;
use crate::{ErrorCode, Field, LeaderEpoch, Message, Request, TopicId, VersionRange};

wire_struct! {
    /// Commits offsets.
    pub struct OffsetCommitRequest {
        /// The group.
        group_id: String [0..],
        /// The generation of a classic group's member, the epoch of a consumer group's; -1: no member commits.
        generation_id_or_member_epoch: i32 [1..; default -1; ignorable],
        /// The member's id, empty where no member commits.
        member_id: String [1..; ignorable],
        /// The id of a static member.
        group_instance_id: Option<String> [7..],
        /// How long to keep the offsets, in milliseconds, -1: as the broker is set.
        retention_time_ms: i64 [2..=4; default -1; ignorable],
        /// The offsets by topic.
        topics: Vec<OffsetCommitRequestTopic> [0..],
    }
}

wire_struct! {
    /// The offsets of one topic.
    pub struct OffsetCommitRequestTopic {
        /// The topic's name.
        name: String [0..=9; ignorable],
        /// Its id.
        topic_id: TopicId [10..; ignorable],
        /// The offsets by partition.
        partitions: Vec<OffsetCommitRequestPartition> [0..],
    }
}

wire_struct! {
    /// The offset of one partition.
    pub struct OffsetCommitRequestPartition {
        /// The partition's index in its topic.
        partition_index: i32 [0..],
        /// The offset to read from next.
        committed_offset: i64 [0..],
        /// The epoch of the last record read, -1 where unknown (KIP-320).
        committed_leader_epoch: LeaderEpoch [6..; ignorable],
        /// Whatever the application wants kept with it.
        committed_metadata: Option<String> [0..],
    }
}

wire_struct! {
    /// Says what became of it.
    pub struct OffsetCommitResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [3..; ignorable],
        /// The answers by topic.
        topics: Vec<OffsetCommitResponseTopic> [0..],
    }
}

wire_struct! {
    /// What became of one topic's offsets.
    pub struct OffsetCommitResponseTopic {
        /// The topic's name.
        name: String [0..=9; ignorable],
        /// Its id.
        topic_id: TopicId [10..; ignorable],
        /// The answers by partition.
        partitions: Vec<OffsetCommitResponsePartition> [0..],
    }
}

wire_struct! {
    /// What became of one partition's offset.
    pub struct OffsetCommitResponsePartition {
        /// The partition's index in its topic.
        partition_index: i32 [0..],
        /// What went wrong.
        error_code: ErrorCode [0..],
    }
}

message! { OffsetCommitRequest, OffsetCommitResponse: OffsetCommit, 2..=10, flexible 8 }

impl Request for OffsetCommitRequest {
    type Response = OffsetCommitResponse;

    fn usable_versions(&self) -> VersionRange {
        let topics = self.topics.iter().map(|topic| (topic.name.as_str(), topic.topic_id));
        versions_by_topic_id(self.carried_by(Self::VERSIONS), 10, topics)
    }
}
