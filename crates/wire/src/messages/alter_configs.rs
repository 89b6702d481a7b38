//! AlterConfigs (33): replaces all settings of a topic or broker. [IncrementalAlterConfigs](super::incremental_alter_configs)
//! changes single ones, and is what clients should ask for where the broker has it.

use super::macros::{message, wire_struct};
use crate::ErrorCode;

wire_struct! {
    /// Replaces settings.
    pub struct AlterConfigsRequest {
        /// Whose.
        resources: Vec<AlterConfigsResource> [0..],
        /// Whether only to check the request.
        validate_only: bool [0..],
    }
}

wire_struct! {
    /// A topic or broker whose settings are replaced.
    pub struct AlterConfigsResource {
        /// What it is, by Kafka's number: 2 a topic, 4 a broker.
        resource_type: i8 [0..],
        /// The topic's name or the broker's id.
        resource_name: Box<str> [0..],
        /// All that it is to have set. What is not named goes back to its default.
        configs: Vec<AlterableConfig> [0..],
    }
}

wire_struct! {
    /// A setting.
    pub struct AlterableConfig {
        /// Its name.
        name: Box<str> [0..],
        /// Its value.
        value: Option<Box<str>> [0..],
    }
}

wire_struct! {
    /// Says what became of the resources.
    pub struct AlterConfigsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [0..],
        /// The resources.
        responses: Vec<AlterConfigsResourceResponse> [0..],
    }
}

wire_struct! {
    /// What became of one resource.
    pub struct AlterConfigsResourceResponse {
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The same in words.
        error_message: Option<Box<str>> [0..],
        /// What it is, by Kafka's number.
        resource_type: i8 [0..],
        /// The topic's name or the broker's id.
        resource_name: Box<str> [0..],
    }
}

message! { AlterConfigsRequest => AlterConfigsResponse: AlterConfigs, 0..=2, flexible 2 }
