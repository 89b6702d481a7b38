//! DescribeConfigs: the configurations of topics.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::config_resource::{BROKER, GROUP, TOPIC};
use super::{AnyResponse, Context, Outcome};
use crate::state::{CONFIG_KEYS, ClusterState, ConfigKey, ConfigSource, Now, TopicConfig};

pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: DescribeConfigsRequest) -> Outcome {
    let resource = |asked: DescribeConfigsResource| {
        let described = match context.read_refused(&asked.resource_name, None) {
            Some(code) => Err(code),
            None => describe(state, &asked, request.include_synonyms),
        };
        let (error_code, configs) = match described {
            Ok(configs) => (ErrorCode::None, configs),
            Err(code) => (code, Box::default()),
        };
        DescribeConfigsResult {
            error_code,
            error_message: (error_code != ErrorCode::None).then(|| Box::new(error_code.name().to_owned())),
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
            configs,
        }
    };
    let results = request.resources.into_iter().map(resource).collect();
    Outcome::Answer(AnyResponse::DescribeConfigs(DescribeConfigsResponse { results, ..Default::default() }))
}

fn describe(
    state: &ClusterState,
    asked: &DescribeConfigsResource,
    with_synonyms: bool,
) -> Result<Box<[DescribeConfigsResourceResult]>, ErrorCode> {
    match asked.resource_type {
        TOPIC => {
            let topic = state.topic(&asked.resource_name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
            let wanted = |key: &&ConfigKey| {
                let keys = asked.configuration_keys.as_ref();
                keys.is_none_or(|keys| keys.iter().any(|wanted| **wanted == *key.name))
            };
            let describe = |key| describe_key(state, &topic.config, key, with_synonyms);
            Ok(CONFIG_KEYS.iter().filter(wanted).map(describe).collect())
        }
        BROKER | GROUP => Ok(Box::default()),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

fn describe_key(
    state: &ClusterState,
    config: &TopicConfig,
    key: &ConfigKey,
    with_synonyms: bool,
) -> DescribeConfigsResourceResult {
    let (value, source) = config.describe(key, &state.settings.topic_defaults);
    let synonym = |value: &str, source: ConfigSource| DescribeConfigsSynonym {
        name: key.name.into(),
        value: Some(value.into()),
        source: source as i8,
    };
    let mut synonyms = Vec::new();
    if with_synonyms {
        synonyms.push(synonym(value, source));
        if source != ConfigSource::Default {
            synonyms.push(synonym(key.default, ConfigSource::Default));
        }
    }
    DescribeConfigsResourceResult {
        name: key.name.into(),
        value: Some(value.into()),
        config_source: source as i8,
        synonyms: synonyms.into(),
        config_type: key.kind as i8,
        ..Default::default()
    }
}
