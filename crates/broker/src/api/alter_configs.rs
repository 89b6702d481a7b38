//! AlterConfigs: a topic gets all its configurations anew; what is not named goes back to its default.

use std::collections::BTreeMap;

use ottla_wire::TopicId;
use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResource, AlterConfigsResponse};

use super::config_resource::{alter, null_value, repeated_key};
use super::{AnyResponse, Context, Outcome};
use crate::state::{ClusterState, Now, Refused, TopicConfig};

pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: AlterConfigsRequest) -> Outcome {
    let named = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let change = |state: &mut ClusterState, topic, resource| replace(state, topic, resource, request.validate_only);
    let responses = alter(state, context, request.resources, named, change);
    Outcome::Answer(AnyResponse::AlterConfigs(AlterConfigsResponse { responses, ..Default::default() }))
}

fn replace(
    state: &mut ClusterState,
    topic: TopicId,
    resource: AlterConfigsResource,
    only_validate: bool,
) -> Result<(), Refused> {
    let mut set = BTreeMap::new();
    for config in resource.configs {
        let value = config.value.ok_or_else(|| null_value(&config.name))?;
        if set.insert(config.name.into(), value.into()).is_some() {
            return Err(repeated_key());
        }
    }
    let config = TopicConfig::new(set, &state.settings.topic_defaults)?;
    state.configure_topic(topic, config, only_validate);
    Ok(())
}
