//! Produce (0): record batches for partitions. By topic id from version 13 on (KIP-516).

use bytes::Bytes;

use super::macros::{message, wire_struct};
use super::topics::versions_by_topic_id;
use super::{NodeEndpoint, ProducePartitionResponse};
use crate::{Field, Message, Request, TopicId, VersionRange};

wire_struct! {
    /// Brings record batches, at most one a partition. With `acks` 0 it is not answered.
    pub struct ProduceRequest {
        /// The transaction that the batches belong to.
        transactional_id: Option<String> [3..],
        /// 0: none, 1: the leader's, -1: that of all in-sync replicas.
        acks: i16 [0..],
        /// How long the leader may wait for the other replicas, in milliseconds.
        timeout_ms: i32 [0..],
        /// The batches by topic.
        topic_data: Vec<ProduceTopicData> [0..],
    }
}

wire_struct! {
    /// The batches for one topic.
    pub struct ProduceTopicData {
        /// The topic's name.
        name: String [0..=12; ignorable],
        /// Its id.
        topic_id: TopicId [13..; ignorable],
        /// The batches by partition.
        partition_data: Vec<ProducePartitionData> [0..],
    }
}

wire_struct! {
    /// The batch for one partition.
    pub struct ProducePartitionData {
        /// The partition's index in its topic.
        index: i32 [0..],
        /// The batch.
        records: Option<Bytes> [0..],
    }
}

wire_struct! {
    /// What became of the batches.
    pub struct ProduceResponse {
        /// The answers by topic.
        responses: Vec<ProduceTopicResponse> [0..],
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [1..; ignorable],
    }
    tagged {
        /// Where the leaders are that `current_leader` names (KIP-951).
        0 => node_endpoints: Vec<NodeEndpoint> [10..; ignorable],
    }
}

wire_struct! {
    /// What became of one topic's batches.
    pub struct ProduceTopicResponse {
        /// The topic's name.
        name: String [0..=12; ignorable],
        /// Its id.
        topic_id: TopicId [13..; ignorable],
        /// The answers by partition.
        partition_responses: Box<[ProducePartitionResponse]> [0..],
    }
}

message! { ProduceRequest, ProduceResponse: Produce, 3..=13, flexible 9 }

impl Request for ProduceRequest {
    type Response = ProduceResponse;

    fn usable_versions(&self) -> VersionRange {
        let topics = self.topic_data.iter().map(|topic| (topic.name.as_str(), topic.topic_id));
        versions_by_topic_id(self.carried_by(Self::VERSIONS), 13, topics)
    }
}
