//! DescribeConfigs (32): the settings of topics and brokers.

use kafka_protocol::messages as kafka;
use kafka_protocol::messages::describe_configs_request as kafka_request;
use kafka_protocol::messages::describe_configs_response as kafka_response;

use super::{FromGuarded, ToGuarded, guarded_message, optional_text, text};
use crate::{EncodeError, ErrorCode, Request};

/// Asks for settings. Those of a broker are to be asked of that broker.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DescribeConfigsRequest {
    /// Whose settings.
    pub resources: Vec<DescribeConfigsResource>,
    /// Whether to say what a value hides, too.
    pub include_synonyms: bool,
    /// Whether to explain each setting.
    pub include_documentation: bool,
}

/// A topic or a broker.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DescribeConfigsResource {
    /// 2: a topic, 4: a broker (KIP-133).
    pub resource_type: i8,
    /// The topic's name, or the broker's id.
    pub resource_name: String,
    /// The settings' names; `None`: all of them.
    pub configuration_keys: Option<Vec<String>>,
}

/// Tells settings.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DescribeConfigsResponse {
    /// How long the broker held the request back for a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// The resources.
    pub results: Vec<DescribeConfigsResult>,
}

/// The settings of one resource.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DescribeConfigsResult {
    /// What went wrong.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<String>,
    /// 2: a topic, 4: a broker.
    pub resource_type: i8,
    /// The topic's name, or the broker's id.
    pub resource_name: String,
    /// The settings.
    pub configs: Vec<DescribeConfigsResourceResult>,
}

/// A setting.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DescribeConfigsResourceResult {
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
    /// What its value hides, and itself first.
    pub synonyms: Vec<DescribeConfigsSynonym>,
    /// The kind of its value, by Kafka's number; 0: unknown.
    pub config_type: i8,
    /// What it is for.
    pub documentation: Option<String>,
}

impl Default for DescribeConfigsResourceResult {
    fn default() -> Self {
        Self {
            name: String::new(),
            value: None,
            read_only: false,
            config_source: -1,
            is_sensitive: false,
            synonyms: Vec::new(),
            config_type: 0,
            documentation: None,
        }
    }
}

/// A value that a setting would have without the one before.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DescribeConfigsSynonym {
    /// The name that it goes by there.
    pub name: String,
    /// The value; `None` where it is sensitive.
    pub value: Option<String>,
    /// Where it comes from, by Kafka's number.
    pub source: i8,
}

guarded_message! { DescribeConfigsRequest, DescribeConfigsResponse: DescribeConfigs, 4..=4 }

impl Request for DescribeConfigsRequest {
    type Response = DescribeConfigsResponse;
}

impl ToGuarded<kafka::DescribeConfigsRequest> for DescribeConfigsRequest {
    fn to_guarded(&self, _: i16) -> Result<kafka::DescribeConfigsRequest, EncodeError> {
        let resource = |resource: &DescribeConfigsResource| {
            let keys = resource.configuration_keys.as_ref();
            kafka_request::DescribeConfigsResource::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(text(&resource.resource_name))
                .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()))
        };
        Ok(kafka::DescribeConfigsRequest::default()
            .with_resources(self.resources.iter().map(resource).collect())
            .with_include_synonyms(self.include_synonyms)
            .with_include_documentation(self.include_documentation))
    }
}

impl FromGuarded<kafka::DescribeConfigsRequest> for DescribeConfigsRequest {
    fn from_guarded(request: kafka::DescribeConfigsRequest, _: i16) -> Self {
        let resource = |resource: kafka_request::DescribeConfigsResource| {
            let keys = resource.configuration_keys;
            DescribeConfigsResource {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.to_string(),
                configuration_keys: keys.map(|keys| keys.iter().map(ToString::to_string).collect()),
            }
        };
        Self {
            resources: request.resources.into_iter().map(resource).collect(),
            include_synonyms: request.include_synonyms,
            include_documentation: request.include_documentation,
        }
    }
}

impl ToGuarded<kafka::DescribeConfigsResponse> for DescribeConfigsResponse {
    fn to_guarded(&self, _: i16) -> Result<kafka::DescribeConfigsResponse, EncodeError> {
        let synonym = |synonym: &DescribeConfigsSynonym| {
            kafka_response::DescribeConfigsSynonym::default()
                .with_name(text(&synonym.name))
                .with_value(optional_text(synonym.value.as_ref()))
                .with_source(synonym.source)
        };
        let config = |config: &DescribeConfigsResourceResult| {
            kafka_response::DescribeConfigsResourceResult::default()
                .with_name(text(&config.name))
                .with_value(optional_text(config.value.as_ref()))
                .with_read_only(config.read_only)
                .with_config_source(config.config_source)
                .with_is_sensitive(config.is_sensitive)
                .with_synonyms(config.synonyms.iter().map(synonym).collect())
                .with_config_type(config.config_type)
                .with_documentation(optional_text(config.documentation.as_ref()))
        };
        let result = |result: &DescribeConfigsResult| {
            kafka_response::DescribeConfigsResult::default()
                .with_error_code(result.error_code.into())
                .with_error_message(optional_text(result.error_message.as_ref()))
                .with_resource_type(result.resource_type)
                .with_resource_name(text(&result.resource_name))
                .with_configs(result.configs.iter().map(config).collect())
        };
        Ok(kafka::DescribeConfigsResponse::default()
            .with_throttle_time_ms(self.throttle_time_ms)
            .with_results(self.results.iter().map(result).collect()))
    }
}

impl FromGuarded<kafka::DescribeConfigsResponse> for DescribeConfigsResponse {
    fn from_guarded(response: kafka::DescribeConfigsResponse, _: i16) -> Self {
        let synonym = |synonym: kafka_response::DescribeConfigsSynonym| DescribeConfigsSynonym {
            name: synonym.name.to_string(),
            value: synonym.value.map(|value| value.to_string()),
            source: synonym.source,
        };
        let config = |config: kafka_response::DescribeConfigsResourceResult| DescribeConfigsResourceResult {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            read_only: config.read_only,
            config_source: config.config_source,
            is_sensitive: config.is_sensitive,
            synonyms: config.synonyms.into_iter().map(synonym).collect(),
            config_type: config.config_type,
            documentation: config.documentation.map(|documentation| documentation.to_string()),
        };
        let result = |result: kafka_response::DescribeConfigsResult| DescribeConfigsResult {
            error_code: result.error_code.into(),
            error_message: result.error_message.map(|message| message.to_string()),
            resource_type: result.resource_type,
            resource_name: result.resource_name.to_string(),
            configs: result.configs.into_iter().map(config).collect(),
        };
        Self {
            throttle_time_ms: response.throttle_time_ms,
            results: response.results.into_iter().map(result).collect(),
        }
    }
}
