//! CreatePartitions (37): adds partitions to topics.

use kafka_protocol::messages as kafka;
use kafka_protocol::messages::create_partitions_request as kafka_request;
use kafka_protocol::messages::create_partitions_response as kafka_response;

use super::{FromGuarded, ToGuarded, guarded_message, optional_text, text};
use crate::{EncodeError, ErrorCode, NodeId, Request};

/// Adds partitions to topics. To be sent to the controller.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreatePartitionsRequest {
    /// The topics.
    pub topics: Vec<CreatePartitionsTopic>,
    /// How long the broker may wait until they exist everywhere, in milliseconds.
    pub timeout_ms: i32,
    /// Whether only to check the request.
    pub validate_only: bool,
}

/// A topic that is to get partitions.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreatePartitionsTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it is to have in all.
    pub count: i32,
    /// Where the replicas of each new partition are to be; `None`: the broker decides.
    pub assignments: Option<Vec<CreatePartitionsAssignment>>,
}

/// Where a new partition's replicas are to be.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreatePartitionsAssignment {
    /// The brokers, the preferred leader first.
    pub broker_ids: Vec<NodeId>,
}

/// Says what became of the topics.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreatePartitionsResponse {
    /// How long the broker held the request back for a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub results: Vec<CreatePartitionsTopicResult>,
}

/// What became of one topic.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct CreatePartitionsTopicResult {
    /// Its name.
    pub name: String,
    /// What went wrong.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<String>,
}

guarded_message! { CreatePartitionsRequest, CreatePartitionsResponse: CreatePartitions, 2..=3 }

impl Request for CreatePartitionsRequest {
    type Response = CreatePartitionsResponse;
}

impl ToGuarded<kafka::CreatePartitionsRequest> for CreatePartitionsRequest {
    fn to_guarded(&self, _: i16) -> Result<kafka::CreatePartitionsRequest, EncodeError> {
        let assignment = |assignment: &CreatePartitionsAssignment| {
            let brokers = assignment.broker_ids.iter().map(|&NodeId(id)| id.into()).collect();
            kafka_request::CreatePartitionsAssignment::default().with_broker_ids(brokers)
        };
        let topic = |topic: &CreatePartitionsTopic| {
            let assignments = topic.assignments.as_ref();
            kafka_request::CreatePartitionsTopic::default()
                .with_name(text(&topic.name).into())
                .with_count(topic.count)
                .with_assignments(assignments.map(|assignments| assignments.iter().map(assignment).collect()))
        };
        Ok(kafka::CreatePartitionsRequest::default()
            .with_topics(self.topics.iter().map(topic).collect())
            .with_timeout_ms(self.timeout_ms)
            .with_validate_only(self.validate_only))
    }
}

impl FromGuarded<kafka::CreatePartitionsRequest> for CreatePartitionsRequest {
    fn from_guarded(request: kafka::CreatePartitionsRequest, _: i16) -> Self {
        let assignment = |assignment: kafka_request::CreatePartitionsAssignment| CreatePartitionsAssignment {
            broker_ids: assignment.broker_ids.into_iter().map(|id| NodeId(id.0)).collect(),
        };
        let topic = |topic: kafka_request::CreatePartitionsTopic| CreatePartitionsTopic {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic.assignments.map(|assignments| assignments.into_iter().map(assignment).collect()),
        };
        Self {
            topics: request.topics.into_iter().map(topic).collect(),
            timeout_ms: request.timeout_ms,
            validate_only: request.validate_only,
        }
    }
}

impl ToGuarded<kafka::CreatePartitionsResponse> for CreatePartitionsResponse {
    fn to_guarded(&self, _: i16) -> Result<kafka::CreatePartitionsResponse, EncodeError> {
        let result = |result: &CreatePartitionsTopicResult| {
            kafka_response::CreatePartitionsTopicResult::default()
                .with_name(text(&result.name).into())
                .with_error_code(result.error_code.into())
                .with_error_message(optional_text(result.error_message.as_ref()))
        };
        Ok(kafka::CreatePartitionsResponse::default()
            .with_throttle_time_ms(self.throttle_time_ms)
            .with_results(self.results.iter().map(result).collect()))
    }
}

impl FromGuarded<kafka::CreatePartitionsResponse> for CreatePartitionsResponse {
    fn from_guarded(response: kafka::CreatePartitionsResponse, _: i16) -> Self {
        let result = |result: kafka_response::CreatePartitionsTopicResult| CreatePartitionsTopicResult {
            name: result.name.to_string(),
            error_code: result.error_code.into(),
            error_message: result.error_message.map(|message| message.to_string()),
        };
        Self {
            throttle_time_ms: response.throttle_time_ms,
            results: response.results.into_iter().map(result).collect(),
        }
    }
}
