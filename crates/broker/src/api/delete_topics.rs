//! DeleteTopics, by name or by id.

use ottla_wire::messages::{DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_wire::{ErrorCode, TopicId};

use super::{AnyResponse, Context, Outcome};
use crate::state::{ClusterState, Now, Refused, unknown_topic};

pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: DeleteTopicsRequest) -> Outcome {
    let topic = |asked: DeleteTopicState| {
        let found = match &asked.name {
            Some(name) => state.topic(name),
            None => state.topic_by_id(asked.topic_id),
        };
        let found = found.map(|topic| (topic.id, Box::<str>::from(&*topic.name)));
        let name = found.as_ref().map(|(_, name)| name.clone()).or_else(|| asked.name.clone());
        let topic_id = found.as_ref().map_or(asked.topic_id, |(id, _)| *id);
        let named = name.as_deref().unwrap_or_default();
        let deleted = match context.refused(named, None).or_else(|| context.not_controller(state)) {
            Some(code) => Err(code.into()),
            None => delete(state, &asked, found.as_ref().map(|(id, _)| *id)),
        };
        let deleted = context.answered_with(named, None).map_or(deleted, |code| Err(code.into()));
        let (error_code, error_message) = match deleted {
            Ok(()) => (ErrorCode::None, None),
            Err(Refused { code, reason }) => (code, Some(reason.into())),
        };
        DeletableTopicResult { name, topic_id, error_code, error_message }
    };
    // A version has one of the two lists.
    let by_name =
        request.topic_names.into_iter().map(|name| DeleteTopicState { name: Some(name), ..Default::default() });
    let responses = request.topics.into_iter().chain(by_name).map(topic).collect();
    Outcome::Answer(AnyResponse::DeleteTopics(DeleteTopicsResponse { responses, ..Default::default() }))
}

fn delete(state: &mut ClusterState, asked: &DeleteTopicState, found: Option<TopicId>) -> Result<(), Refused> {
    match (&asked.name, asked.topic_id.known(), found) {
        (Some(_), Some(_), _) | (None, None, _) => {
            let reason = "You may not specify both topic name and topic id, nor neither.".to_owned();
            Err(Refused { code: ErrorCode::InvalidRequest, reason })
        }
        (_, _, Some(id)) => state.delete_topic(id),
        (Some(_), None, None) => Err(unknown_topic()),
        (None, Some(_), None) => Err(ErrorCode::UnknownTopicId.into()),
    }
}
