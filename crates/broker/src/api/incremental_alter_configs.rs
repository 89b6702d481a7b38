//! IncrementalAlterConfigs: single configurations of a topic change (KIP-339).

use std::collections::BTreeSet;

use ottla_wire::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource, IncrementalAlterConfigsResponse,
    IncrementalAlterableConfig,
};
use ottla_wire::{ErrorCode, TopicId};

use super::config_resource::{alter, null_value, repeated_key};
use super::{AnyResponse, Context, Outcome};
use crate::state::{ClusterState, ConfigChange, Now, Refused, unknown_topic};

pub(super) fn handle(
    state: &mut ClusterState,
    _: Now,
    context: &Context,
    request: IncrementalAlterConfigsRequest,
) -> Outcome {
    let named = |resource: &IncrementalAlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let change = |state: &mut ClusterState, topic, resource| change(state, topic, resource, request.validate_only);
    let responses = alter(state, context, request.resources, named, change);
    Outcome::Answer(AnyResponse::IncrementalAlterConfigs(IncrementalAlterConfigsResponse {
        responses,
        ..Default::default()
    }))
}

fn change(
    state: &mut ClusterState,
    topic: TopicId,
    resource: IncrementalAlterConfigsResource,
    only_validate: bool,
) -> Result<(), Refused> {
    let mut named = BTreeSet::new();
    if !resource.configs.iter().all(|config| named.insert(&*config.name)) {
        return Err(repeated_key());
    }
    let changes = resource.configs.into_iter().map(read_change).collect::<Result<Vec<_>, _>>()?;
    let before = &state.topic_by_id(topic).ok_or_else(unknown_topic)?.config;
    let config = before.changed(changes, &state.settings.topic_defaults)?;
    state.configure_topic(topic, config, only_validate);
    Ok(())
}

fn read_change(config: IncrementalAlterableConfig) -> Result<(String, ConfigChange), Refused> {
    let IncrementalAlterableConfig { name, config_operation, value } = config;
    let change = match (config_operation, value) {
        (1, _) => ConfigChange::Delete,
        (0 | 2 | 3, None) => return Err(null_value(&name)),
        (0, Some(value)) => ConfigChange::Set(value.into()),
        (2, Some(entries)) => ConfigChange::Append(entries.into()),
        (3, Some(entries)) => ConfigChange::Subtract(entries.into()),
        (other, _) => {
            let reason = format!("Unknown operation {other} for the configuration {name}");
            return Err(Refused { code: ErrorCode::InvalidRequest, reason });
        }
    };
    Ok((name.into(), change))
}
