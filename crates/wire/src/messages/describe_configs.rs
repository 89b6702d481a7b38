//! DescribeConfigs (32): the settings of topics and brokers, and where each comes from.

use super::macros::{message, wire_struct};
use crate::ErrorCode;

wire_struct! {
    /// Asks for settings.
    pub struct DescribeConfigsRequest {
        /// Whose.
        resources: Vec<DescribeConfigsResource> [0..],
        /// Whether each setting is to be told with those that it overrides.
        include_synonyms: bool [1..],
        /// Whether each setting is to be explained.
        include_documentation: bool [3..],
    }
}

wire_struct! {
    /// A topic or broker whose settings are asked for.
    pub struct DescribeConfigsResource {
        /// What it is, by Kafka's number: 2 a topic, 4 a broker.
        resource_type: i8 [0..],
        /// The topic's name or the broker's id.
        resource_name: Box<str> [0..],
        /// The settings by name; `None`: all of them.
        configuration_keys: Option<Vec<Box<str>>> [0..],
    }
}

wire_struct! {
    /// Brings settings.
    pub struct DescribeConfigsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [0..],
        /// The resources.
        results: Vec<DescribeConfigsResult> [0..],
    }
}

wire_struct! {
    /// The settings of one topic or broker.
    pub struct DescribeConfigsResult {
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The same in words.
        error_message: Option<Box<String>> [0..],
        /// What it is, by Kafka's number.
        resource_type: i8 [0..],
        /// The topic's name or the broker's id.
        resource_name: Box<str> [0..],
        /// Its settings.
        configs: Box<[DescribeConfigsResourceResult]> [0..],
    }
}

wire_struct! {
    /// A setting.
    pub struct DescribeConfigsResourceResult {
        /// Its name.
        name: Box<str> [0..],
        /// Its value; `None` where it is sensitive.
        value: Option<Box<str>> [0..],
        /// Whether it cannot be changed.
        read_only: bool [0..],
        /// Where it comes from, by Kafka's number; -1: unknown.
        config_source: i8 [1..; default -1; ignorable],
        /// Whether its value is kept secret.
        is_sensitive: bool [0..],
        /// The settings that it overrides, itself first.
        synonyms: Box<[DescribeConfigsSynonym]> [1..; ignorable],
        /// The type of its value, by Kafka's number; 0: unknown.
        config_type: i8 [3..; ignorable],
        /// What it does.
        documentation: Option<Box<String>> [3..; ignorable],
    }
}

wire_struct! {
    /// A setting under another name, or at another level.
    pub struct DescribeConfigsSynonym {
        /// Its name.
        name: Box<str> [1..],
        /// Its value; `None` where it is sensitive.
        value: Option<Box<str>> [1..],
        /// Where it comes from, by Kafka's number.
        source: i8 [1..],
    }
}

message! { DescribeConfigsRequest => DescribeConfigsResponse: DescribeConfigs, 1..=4, flexible 4 }
