//! Metadata (3): the brokers, the topics and who leads their partitions.
//!
//! Topics are asked for by name; by id from version 12 on (KIP-516: versions 10 and 11 have the field, but brokers do
//! not look at it).

use super::MetadataPartition;
use super::macros::{message, wire_struct};
use crate::{ErrorCode, Field, Message, NodeId, Request, TopicId, VersionRange};

wire_struct! {
    /// Asks for the brokers and for topics.
    pub struct MetadataRequest {
        /// The topics; `None`: all of them.
        topics: Option<Vec<MetadataRequestTopic>> [0..; nullable 1..],
        /// Whether topics that do not exist are to be created, if the broker allows that.
        allow_auto_topic_creation: bool [4..; default true],
        /// Whether to say what the client may do with the cluster.
        include_cluster_authorized_operations: bool [8..=10],
        /// Whether to say what the client may do with each topic.
        include_topic_authorized_operations: bool [8..],
    }
}

wire_struct! {
    /// A topic asked for, by name or by id.
    pub struct MetadataRequestTopic {
        /// Its id.
        topic_id: TopicId [10..; ignorable],
        /// Its name, `None` where it is asked for by id.
        name: Option<String> [0..; nullable 10..],
    }
}

wire_struct! {
    /// The brokers and the topics.
    pub struct MetadataResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [3..; ignorable],
        /// The brokers that are alive.
        brokers: Vec<MetadataBroker> [0..],
        /// The cluster's id.
        cluster_id: Option<String> [2..; ignorable],
        /// The broker to send to what is the controller's. In a KRaft cluster it is any broker, which forwards.
        controller_id: NodeId [1..; ignorable],
        /// The topics.
        topics: Vec<MetadataTopic> [0..],
        /// A bit for each operation that the client may do with the cluster; the lowest number where not asked for.
        cluster_authorized_operations: i32 [8..=10; default i32::MIN],
        /// What went wrong with the whole request (KIP-1102: REBOOTSTRAP_REQUIRED).
        error_code: ErrorCode [13..; ignorable],
    }
}

wire_struct! {
    /// A broker.
    pub struct MetadataBroker {
        /// Its id.
        node_id: NodeId [0..],
        /// Its host, as its listener advertises it.
        host: String [0..],
        /// Its port.
        port: i32 [0..],
        /// Its rack.
        rack: Option<String> [1..; ignorable],
    }
}

wire_struct! {
    /// A topic.
    pub struct MetadataTopic {
        /// What went wrong with it.
        error_code: ErrorCode [0..],
        /// Its name; `None` where it was asked for by an id that the broker does not know.
        name: Option<String> [0..; nullable 12..],
        /// Its id.
        topic_id: TopicId [10..; ignorable],
        /// Whether it is the cluster's own, like `__consumer_offsets`.
        is_internal: bool [1..; ignorable],
        /// Its partitions.
        partitions: Box<[MetadataPartition]> [0..],
        /// A bit for each operation that the client may do with it; the lowest number where not asked for.
        topic_authorized_operations: i32 [8..; default i32::MIN],
    }
}

message! { MetadataRequest, MetadataResponse: Metadata, 0..=13, flexible 9 }

impl MetadataRequest {
    /// Asks for all topics.
    pub fn all_topics() -> Self {
        Self::default()
    }

    /// Asks for the topics of these names.
    pub fn of_names<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let topic = |name: N| MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        Self { topics: Some(names.into_iter().map(topic).collect()), ..Self::default() }
    }

    /// Asks for the topics of these ids.
    pub fn of_ids(ids: impl IntoIterator<Item = TopicId>) -> Self {
        let topic = |topic_id| MetadataRequestTopic { topic_id, name: None };
        Self { topics: Some(ids.into_iter().map(topic).collect()), ..Self::default() }
    }
}

impl Request for MetadataRequest {
    type Response = MetadataResponse;

    fn usable_versions(&self) -> VersionRange {
        let versions = self.carried_by(Self::VERSIONS);
        match &self.topics {
            // In version 0 an empty list asks for all topics, from version 1 on for none.
            Some(topics) if topics.is_empty() => versions.at_least(1),
            Some(topics) if topics.iter().any(|topic| topic.name.is_none()) => versions.at_least(12),
            Some(_) | None => versions,
        }
    }
}
