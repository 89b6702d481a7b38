//! Fetch (1): record batches from partitions, with incremental sessions (KIP-227). By topic id from version 13 on
//! (KIP-516).
//!
//! A client that reads at speed parses the response in place, with [`FetchResponseView`](super::FetchResponseView);
//! [`FetchResponse`] is what a broker builds, and what tests compare the view with.

use bytes::Bytes;

use super::macros::{message, wire_struct};
use super::topics::versions_by_topic_id;
use super::{FetchPartition, LeaderIdAndEpoch, NodeEndpoint};
use crate::{ErrorCode, Field, LeaderEpoch, Message, NodeId, ProducerId, Request, TopicId, VersionRange};

wire_struct! {
    /// Asks for record batches.
    pub struct FetchRequest {
        /// The follower that asks, -1: a consumer.
        replica_id: NodeId [0..=14],
        /// How long the broker may wait for `min_bytes`, in milliseconds (`fetch.max.wait.ms`).
        max_wait_ms: i32 [0..],
        /// How many bytes are worth an answer before that (`fetch.min.bytes`).
        min_bytes: i32 [0..],
        /// How many bytes the answer may have; the first batch is sent whatever its size (`fetch.max.bytes`).
        max_bytes: i32 [3..; default i32::MAX; ignorable],
        /// 0: all records, 1: without those of open and aborted transactions (`isolation.level`).
        isolation_level: i8 [4..; ignorable],
        /// The fetch session, 0: none yet.
        session_id: i32 [7..; ignorable],
        /// Its epoch; 0: begin one, -1: none wanted.
        session_epoch: i32 [7..; default -1; ignorable],
        /// The partitions; in a session those that are new or changed.
        topics: Vec<FetchTopic> [0..],
        /// The partitions to be taken out of the session.
        forgotten_topics_data: Vec<ForgottenTopic> [7..],
        /// The client's rack, to be sent to a replica there (KIP-392, `client.rack`).
        rack_id: String [11..; ignorable],
    }
    tagged {
        /// The cluster that is meant; used among controllers.
        0 => cluster_id: Option<String> [12..; ignorable],
        /// The follower that asks.
        1 => replica_state: ReplicaState [15..],
    }
}

wire_struct! {
    /// The follower that asks, and its epoch (KIP-903).
    pub struct ReplicaState {
        /// Its id, -1: a consumer.
        replica_id: NodeId [15..],
        /// Its epoch.
        replica_epoch: i64 [15..; default -1],
    }
}

wire_struct! {
    /// The partitions of one topic.
    pub struct FetchTopic {
        /// The topic's name.
        topic: String [0..=12; ignorable],
        /// Its id.
        topic_id: TopicId [13..; ignorable],
        /// The partitions.
        partitions: Vec<FetchPartition> [0..],
    }
}

wire_struct! {
    /// The partitions of one topic to be taken out of the session.
    pub struct ForgottenTopic {
        /// The topic's name.
        topic: String [7..=12; ignorable],
        /// Its id.
        topic_id: TopicId [13..; ignorable],
        /// The partitions.
        partitions: Vec<i32> [7..],
    }
}

wire_struct! {
    /// Brings record batches.
    pub struct FetchResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [1..; ignorable],
        /// What went wrong with the request or its session.
        error_code: ErrorCode [7..; ignorable],
        /// The session, 0: none.
        session_id: i32 [7..],
        /// The partitions; in a session those that changed.
        responses: Vec<FetchableTopicResponse> [0..],
    }
    tagged {
        /// Where the leaders are that `current_leader` names (KIP-951).
        0 => node_endpoints: Vec<NodeEndpoint> [16..; ignorable],
    }
}

wire_struct! {
    /// One topic's partitions.
    pub struct FetchableTopicResponse {
        /// The topic's name.
        topic: String [0..=12; ignorable],
        /// Its id.
        topic_id: TopicId [13..; ignorable],
        /// The partitions.
        partitions: Vec<FetchPartitionData> [0..],
    }
}

wire_struct! {
    /// One partition's batches, and its state.
    pub struct FetchPartitionData {
        /// The partition's index in its topic.
        partition_index: i32 [0..],
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// Up to where the records are replicated.
        high_watermark: i64 [0..],
        /// Up to where no transaction is open, -1 where unknown.
        last_stable_offset: i64 [4..; default -1; ignorable],
        /// The first offset that the partition still has, -1 where unknown.
        log_start_offset: i64 [5..; default -1; ignorable],
        /// The transactions among the records that were aborted; `None` unless they were asked to be left out.
        aborted_transactions: Option<Vec<AbortedTransaction>> [4..; ignorable],
        /// The replica to read from instead, -1: none (KIP-392).
        preferred_read_replica: NodeId [11..],
        /// Whole record batches, but for the last, which may be cut.
        records: Option<Bytes> [0..],
    }
    tagged {
        /// Where the log parted from what the client has read (KIP-595).
        0 => diverging_epoch: DivergingEpoch [12..],
        /// Who leads the partition now, where this broker does not (KIP-951).
        1 => current_leader: LeaderIdAndEpoch [12..],
        /// The snapshot to fetch instead; used among controllers.
        2 => snapshot_id: SnapshotId [12..],
    }
}

wire_struct! {
    /// The largest epoch that the client and the broker share, and where it ends. -1 and -1: they do not part.
    pub struct DivergingEpoch {
        /// The epoch.
        epoch: LeaderEpoch [12..],
        /// Its end.
        end_offset: i64 [12..; default -1],
    }
}

wire_struct! {
    /// A snapshot of the cluster's metadata.
    pub struct SnapshotId {
        /// The offset that it ends before.
        end_offset: i64 [0..; default -1],
        /// The epoch of the last record in it.
        epoch: LeaderEpoch [0..],
    }
}

wire_struct! {
    /// A transaction that was aborted.
    pub struct AbortedTransaction {
        /// Whose it was.
        producer_id: ProducerId [4..; default ProducerId(0)],
        /// Its first offset in the partition.
        first_offset: i64 [4..],
    }
}

message! { FetchRequest, FetchResponse: Fetch, 4..=18, flexible 12 }

impl Request for FetchRequest {
    type Response = FetchResponse;

    /// By topic ids only where every topic has one. A request of a session that names no topic fits every version:
    /// the session's own are kept to with [`Within`](crate::Within).
    fn usable_versions(&self) -> VersionRange {
        let topics = self.topics.iter().map(|topic| (topic.topic.as_str(), topic.topic_id));
        let forgotten = self.forgotten_topics_data.iter().map(|topic| (topic.topic.as_str(), topic.topic_id));
        versions_by_topic_id(self.carried_by(Self::VERSIONS), 13, topics.chain(forgotten))
    }
}
