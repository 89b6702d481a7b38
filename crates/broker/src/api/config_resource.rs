//! What has configurations, as DescribeConfigs and its kin name it: topics. Brokers and groups have none that could be
//! described or changed: what they do is the builder's.

use std::collections::BTreeSet;

use ottla_wire::messages::AlterConfigsResourceResponse;
use ottla_wire::{ErrorCode, TopicId};

use super::Context;
use crate::state::{ClusterState, Refused, unknown_topic};

/// The types of resources that are known here, by Kafka's numbers (KIP-133, KIP-1043).
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const GROUP: i8 = 32;

/// Changes the configuration of each resource by `change`, and says what became of it. One that is named twice is refused.
pub(super) fn alter<R>(
    state: &mut ClusterState,
    context: &Context,
    resources: Vec<R>,
    named: impl Fn(&R) -> (i8, Box<str>),
    change: impl Fn(&mut ClusterState, TopicId, R) -> Result<(), Refused>,
) -> Vec<AlterConfigsResourceResponse> {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> =
        resources.iter().map(&named).filter(|resource| !seen.insert(resource.clone())).collect();
    let response = |resource: R| {
        let (resource_type, resource_name) = named(&resource);
        let altered = match context.refused(&resource_name, None) {
            Some(code) => Err(code.into()),
            None if repeated.contains(&(resource_type, resource_name.clone())) => {
                let reason = "Each resource must appear at most once.".to_owned();
                Err(Refused { code: ErrorCode::InvalidRequest, reason })
            }
            None => alterable(state, resource_type, &resource_name).and_then(|topic| change(state, topic, resource)),
        };
        let altered = context.answered_with(&resource_name, None).map_or(altered, |code| Err(code.into()));
        let (error_code, error_message) = match altered {
            Ok(()) => (ErrorCode::None, None),
            Err(Refused { code, reason }) => (code, Some(reason.into())),
        };
        AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name }
    };
    resources.into_iter().map(response).collect()
}

fn alterable(state: &ClusterState, resource_type: i8, name: &str) -> Result<TopicId, Refused> {
    match resource_type {
        TOPIC => state.topic(name).map(|topic| topic.id).ok_or_else(unknown_topic),
        BROKER | GROUP => {
            let reason = "Brokers and groups of an embedded cluster have no configurations.".to_owned();
            Err(Refused { code: ErrorCode::InvalidConfig, reason })
        }
        other => Err(Refused { code: ErrorCode::InvalidRequest, reason: format!("Unexpected resource type {other}.") }),
    }
}

/// What is answered where a configuration is given no value.
pub(super) fn null_value(name: &str) -> Refused {
    Refused { code: ErrorCode::InvalidRequest, reason: format!("Null value not supported for : {name}") }
}

/// What is answered where a configuration is named twice.
pub(super) fn repeated_key() -> Refused {
    Refused { code: ErrorCode::InvalidRequest, reason: "Error due to duplicate config keys".to_owned() }
}
