//! CreateTopics (19).

use kafka_protocol::messages as kafka;
use kafka_protocol::messages::create_topics_request as kafka_request;
use kafka_protocol::messages::create_topics_response as kafka_response;

use super::{FromGuarded, ToGuarded, guarded_message, optional_text, text};
use crate::{EncodeError, ErrorCode, NodeId, Request, TopicId};

/// Creates topics. To be sent to the controller.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreateTopicsRequest {
    /// The topics.
    pub topics: Vec<CreatableTopic>,
    /// How long the broker may wait until they exist everywhere, in milliseconds.
    pub timeout_ms: i32,
    /// Whether only to check the request.
    pub validate_only: bool,
}

impl Default for CreateTopicsRequest {
    fn default() -> Self {
        Self { topics: Vec::new(), timeout_ms: 60_000, validate_only: false }
    }
}

/// A topic to be created.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreatableTopic {
    /// Its name.
    pub name: String,
    /// How many partitions, -1: the broker's `num.partitions`, or as many as are assigned by hand.
    pub num_partitions: i32,
    /// How many replicas of each, -1: the broker's `default.replication.factor`, or as assigned by hand.
    pub replication_factor: i16,
    /// Where the replicas are to be, where that is assigned by hand.
    pub assignments: Vec<CreatableReplicaAssignment>,
    /// Its settings.
    pub configs: Vec<CreatableTopicConfig>,
}

/// Where a partition's replicas are to be.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreatableReplicaAssignment {
    /// The partition.
    pub partition_index: i32,
    /// The brokers, the preferred leader first.
    pub broker_ids: Vec<NodeId>,
}

/// A setting of a topic.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreatableTopicConfig {
    /// Its name, such as `retention.ms`.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
}

/// Says what became of the topics.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreateTopicsResponse {
    /// How long the broker held the request back for a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<CreatableTopicResult>,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreatableTopicResult {
    /// Its name.
    pub name: String,
    /// Its id. From version 7 on.
    pub topic_id: TopicId,
    /// What went wrong.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<String>,
    /// Why its settings are not told, where they are not.
    pub topic_config_error_code: ErrorCode,
    /// How many partitions it has, -1 where that is not told.
    pub num_partitions: i32,
    /// How many replicas each has, -1 where that is not told.
    pub replication_factor: i16,
    /// Its settings; `None` where they are not told.
    pub configs: Option<Vec<CreatableTopicConfigs>>,
}

impl Default for CreatableTopicResult {
    fn default() -> Self {
        Self {
            name: String::new(),
            topic_id: TopicId::NONE,
            error_code: ErrorCode::None,
            error_message: None,
            topic_config_error_code: ErrorCode::None,
            num_partitions: -1,
            replication_factor: -1,
            configs: None,
        }
    }
}

/// A setting of a topic that was created.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreatableTopicConfigs {
    /// Its name.
    pub name: String,
    /// Its value; `None` where it is sensitive.
    pub value: Option<String>,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Where it comes from, by Kafka's number; -1: unknown.
    pub config_source: i8,
    /// Whether its value is kept secret.
    pub is_sensitive: bool,
}

guarded_message! { CreateTopicsRequest, CreateTopicsResponse: CreateTopics, 5..=7 }

impl Request for CreateTopicsRequest {
    type Response = CreateTopicsResponse;
}

impl ToGuarded<kafka::CreateTopicsRequest> for CreateTopicsRequest {
    fn to_guarded(&self, _: i16) -> Result<kafka::CreateTopicsRequest, EncodeError> {
        let assignment = |assignment: &CreatableReplicaAssignment| {
            let brokers = assignment.broker_ids.iter().map(|&NodeId(id)| id.into()).collect();
            kafka_request::CreatableReplicaAssignment::default()
                .with_partition_index(assignment.partition_index)
                .with_broker_ids(brokers)
        };
        let config = |config: &CreatableTopicConfig| {
            kafka_request::CreatableTopicConfig::default()
                .with_name(text(&config.name))
                .with_value(optional_text(config.value.as_ref()))
        };
        let topic = |topic: &CreatableTopic| {
            kafka_request::CreatableTopic::default()
                .with_name(text(&topic.name).into())
                .with_num_partitions(topic.num_partitions)
                .with_replication_factor(topic.replication_factor)
                .with_assignments(topic.assignments.iter().map(assignment).collect())
                .with_configs(topic.configs.iter().map(config).collect())
        };
        Ok(kafka::CreateTopicsRequest::default()
            .with_topics(self.topics.iter().map(topic).collect())
            .with_timeout_ms(self.timeout_ms)
            .with_validate_only(self.validate_only))
    }
}

impl FromGuarded<kafka::CreateTopicsRequest> for CreateTopicsRequest {
    fn from_guarded(request: kafka::CreateTopicsRequest, _: i16) -> Self {
        let assignment = |assignment: kafka_request::CreatableReplicaAssignment| CreatableReplicaAssignment {
            partition_index: assignment.partition_index,
            broker_ids: assignment.broker_ids.into_iter().map(|id| NodeId(id.0)).collect(),
        };
        let config = |config: kafka_request::CreatableTopicConfig| CreatableTopicConfig {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
        };
        let topic = |topic: kafka_request::CreatableTopic| CreatableTopic {
            name: topic.name.to_string(),
            num_partitions: topic.num_partitions,
            replication_factor: topic.replication_factor,
            assignments: topic.assignments.into_iter().map(assignment).collect(),
            configs: topic.configs.into_iter().map(config).collect(),
        };
        Self {
            topics: request.topics.into_iter().map(topic).collect(),
            timeout_ms: request.timeout_ms,
            validate_only: request.validate_only,
        }
    }
}

impl ToGuarded<kafka::CreateTopicsResponse> for CreateTopicsResponse {
    fn to_guarded(&self, version: i16) -> Result<kafka::CreateTopicsResponse, EncodeError> {
        let config = |config: &CreatableTopicConfigs| {
            kafka_response::CreatableTopicConfigs::default()
                .with_name(text(&config.name))
                .with_value(optional_text(config.value.as_ref()))
                .with_read_only(config.read_only)
                .with_config_source(config.config_source)
                .with_is_sensitive(config.is_sensitive)
        };
        let topic = |topic: &CreatableTopicResult| {
            let id = if version >= 7 { topic.topic_id } else { TopicId::NONE };
            kafka_response::CreatableTopicResult::default()
                .with_name(text(&topic.name).into())
                .with_topic_id(uuid::Uuid::from_bytes(id.0))
                .with_error_code(topic.error_code.into())
                .with_error_message(optional_text(topic.error_message.as_ref()))
                .with_topic_config_error_code(topic.topic_config_error_code.into())
                .with_num_partitions(topic.num_partitions)
                .with_replication_factor(topic.replication_factor)
                .with_configs(topic.configs.as_ref().map(|configs| configs.iter().map(config).collect()))
        };
        Ok(kafka::CreateTopicsResponse::default()
            .with_throttle_time_ms(self.throttle_time_ms)
            .with_topics(self.topics.iter().map(topic).collect()))
    }
}

impl FromGuarded<kafka::CreateTopicsResponse> for CreateTopicsResponse {
    fn from_guarded(response: kafka::CreateTopicsResponse, _: i16) -> Self {
        let config = |config: kafka_response::CreatableTopicConfigs| CreatableTopicConfigs {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            read_only: config.read_only,
            config_source: config.config_source,
            is_sensitive: config.is_sensitive,
        };
        let topic = |topic: kafka_response::CreatableTopicResult| CreatableTopicResult {
            name: topic.name.to_string(),
            topic_id: TopicId(topic.topic_id.into_bytes()),
            error_code: topic.error_code.into(),
            error_message: topic.error_message.map(|message| message.to_string()),
            topic_config_error_code: topic.topic_config_error_code.into(),
            num_partitions: topic.num_partitions,
            replication_factor: topic.replication_factor,
            configs: topic.configs.map(|configs| configs.into_iter().map(config).collect()),
        };
        Self { throttle_time_ms: response.throttle_time_ms, topics: response.topics.into_iter().map(topic).collect() }
    }
}
