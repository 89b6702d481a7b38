//! DeleteTopics (20): by name, or from version 6 on by id (KIP-516). To be sent to the controller.

use super::macros::{message, wire_struct};
use crate::{ErrorCode, Field, Message, Request, TopicId, VersionRange};

wire_struct! {
    /// Deletes topics.
    pub struct DeleteTopicsRequest {
        /// The topics.
        topics: Vec<DeleteTopicState> [6..; ignorable],
        /// The topics, as earlier versions name them.
        topic_names: Vec<Box<str>> [1..=5; ignorable],
        /// How long the broker may wait until they are gone, in milliseconds.
        timeout_ms: i32 [1..],
    }
}

wire_struct! {
    /// A topic to be deleted, by name or by id. (Its fields have all versions: those of the list decide.)
    pub struct DeleteTopicState {
        /// Its name; `None` where it is named by its id.
        name: Option<Box<str>> [1..],
        /// Its id; [`TopicId::NONE`] where it is named by its name.
        topic_id: TopicId [1..],
    }
}

wire_struct! {
    /// Says what became of the topics.
    pub struct DeleteTopicsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [1..; ignorable],
        /// The topics.
        responses: Vec<DeletableTopicResult> [1..],
    }
}

wire_struct! {
    /// What became of one topic.
    pub struct DeletableTopicResult {
        /// Its name; `None` where it was named by an id that the client may not know the name of.
        name: Option<Box<str>> [1..; nullable 6..],
        /// Its id.
        topic_id: TopicId [6..; ignorable],
        /// What went wrong.
        error_code: ErrorCode [1..],
        /// The same in words.
        error_message: Option<Box<str>> [5..; ignorable],
    }
}

message! { DeleteTopicsRequest, DeleteTopicsResponse: DeleteTopics, 1..=6, flexible 4 }

impl DeleteTopicsRequest {
    /// Deletes the topics of these names, in whatever version the broker speaks.
    pub fn of_names<N: Into<Box<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        let topic_names: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
        let by_name = |name| DeleteTopicState { name: Some(name), topic_id: TopicId::NONE };
        Self { topics: topic_names.iter().cloned().map(by_name).collect(), topic_names, ..Self::default() }
    }

    /// Deletes the topics of these ids.
    pub fn of_ids(ids: impl IntoIterator<Item = TopicId>) -> Self {
        let by_id = |topic_id| DeleteTopicState { name: None, topic_id };
        Self { topics: ids.into_iter().map(by_id).collect(), ..Self::default() }
    }
}

impl Request for DeleteTopicsRequest {
    type Response = DeleteTopicsResponse;

    /// Each of the two lists has its versions, and a version is left out whose list does not name all topics.
    fn usable_versions(&self) -> VersionRange {
        let versions = self.carried_by(Self::VERSIONS);
        let is_listed = |name: &str| self.topics.iter().any(|topic| topic.name.as_deref() == Some(name));
        let is_named = |topic: &DeleteTopicState| {
            topic.topic_id == TopicId::NONE && topic.name.as_ref().is_some_and(|name| self.topic_names.contains(name))
        };
        let versions = if self.topic_names.iter().all(|name| is_listed(name)) { versions } else { versions.at_most(5) };
        if self.topics.iter().all(is_named) { versions } else { versions.at_least(6) }
    }
}
