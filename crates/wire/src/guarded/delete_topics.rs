//! DeleteTopics (20): by name, or from version 6 on by id (KIP-516).

use kafka_protocol::messages as kafka;
use kafka_protocol::messages::delete_topics_request as kafka_request;
use kafka_protocol::messages::delete_topics_response as kafka_response;

use super::{FromGuarded, ToGuarded, guarded_message, optional_text, text};
use crate::{EncodeError, ErrorCode, Message, Request, TopicId, VersionRange};

/// Deletes topics. To be sent to the controller.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DeleteTopicsRequest {
    /// The topics. Versions before 6 carry them as a list of names.
    pub topics: Vec<DeleteTopicState>,
    /// How long the broker may wait until they are gone, in milliseconds.
    pub timeout_ms: i32,
}

/// A topic to be deleted, by name or by id.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DeleteTopicState {
    /// Its name; `None` where it is named by its id.
    pub name: Option<String>,
    /// Its id; [`TopicId::NONE`] where it is named by its name.
    pub topic_id: TopicId,
}

/// Says what became of the topics.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DeleteTopicsResponse {
    /// How long the broker held the request back for a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub responses: Vec<DeletableTopicResult>,
}

/// What became of one topic.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DeletableTopicResult {
    /// Its name; `None` where it was named by an id that the client may not know the name of.
    pub name: Option<String>,
    /// Its id. From version 6 on.
    pub topic_id: TopicId,
    /// What went wrong.
    pub error_code: ErrorCode,
    /// The same in words. From version 5 on.
    pub error_message: Option<String>,
}

guarded_message! { DeleteTopicsRequest, DeleteTopicsResponse: DeleteTopics, 4..=6 }

impl Request for DeleteTopicsRequest {
    type Response = DeleteTopicsResponse;

    fn usable_versions(&self) -> VersionRange {
        let by_id = |topic: &DeleteTopicState| topic.name.is_none() || topic.topic_id != TopicId::NONE;
        if self.topics.iter().any(by_id) { Self::VERSIONS.at_least(6) } else { Self::VERSIONS }
    }
}

impl ToGuarded<kafka::DeleteTopicsRequest> for DeleteTopicsRequest {
    fn to_guarded(&self, version: i16) -> Result<kafka::DeleteTopicsRequest, EncodeError> {
        let request = kafka::DeleteTopicsRequest::default().with_timeout_ms(self.timeout_ms);
        if version >= 6 {
            let topic = |topic: &DeleteTopicState| {
                kafka_request::DeleteTopicState::default()
                    .with_name(optional_text(topic.name.as_ref()).map(Into::into))
                    .with_topic_id(uuid::Uuid::from_bytes(topic.topic_id.0))
            };
            return Ok(request.with_topics(self.topics.iter().map(topic).collect()));
        }
        let name = |topic: &DeleteTopicState| match &topic.name {
            Some(name) => Ok(text(name).into()),
            None => Err(EncodeError::NullNotInVersion { message: Self::NAME, field: "name", version }),
        };
        Ok(request.with_topic_names(self.topics.iter().map(name).collect::<Result<_, _>>()?))
    }
}

impl FromGuarded<kafka::DeleteTopicsRequest> for DeleteTopicsRequest {
    fn from_guarded(request: kafka::DeleteTopicsRequest, _: i16) -> Self {
        let by_name = request
            .topic_names
            .into_iter()
            .map(|name| DeleteTopicState { name: Some(name.to_string()), topic_id: TopicId::NONE });
        let by_either = request.topics.into_iter().map(|topic| DeleteTopicState {
            name: topic.name.map(|name| name.to_string()),
            topic_id: TopicId(topic.topic_id.into_bytes()),
        });
        // A version has one of the two lists.
        Self { topics: by_name.chain(by_either).collect(), timeout_ms: request.timeout_ms }
    }
}

impl ToGuarded<kafka::DeleteTopicsResponse> for DeleteTopicsResponse {
    fn to_guarded(&self, version: i16) -> Result<kafka::DeleteTopicsResponse, EncodeError> {
        let result = |result: &DeletableTopicResult| {
            let id = if version >= 6 { result.topic_id } else { TopicId::NONE };
            let message = if version >= 5 { result.error_message.as_ref() } else { None };
            kafka_response::DeletableTopicResult::default()
                .with_name(optional_text(result.name.as_ref()).map(Into::into))
                .with_topic_id(uuid::Uuid::from_bytes(id.0))
                .with_error_code(result.error_code.into())
                .with_error_message(optional_text(message))
        };
        Ok(kafka::DeleteTopicsResponse::default()
            .with_throttle_time_ms(self.throttle_time_ms)
            .with_responses(self.responses.iter().map(result).collect()))
    }
}

impl FromGuarded<kafka::DeleteTopicsResponse> for DeleteTopicsResponse {
    fn from_guarded(response: kafka::DeleteTopicsResponse, _: i16) -> Self {
        let result = |result: kafka_response::DeletableTopicResult| DeletableTopicResult {
            name: result.name.map(|name| name.to_string()),
            topic_id: TopicId(result.topic_id.into_bytes()),
            error_code: result.error_code.into(),
            error_message: result.error_message.map(|message| message.to_string()),
        };
        Self {
            throttle_time_ms: response.throttle_time_ms,
            responses: response.responses.into_iter().map(result).collect(),
        }
    }
}
