//! IncrementalAlterConfigs (44): changes single settings of a topic or broker (KIP-339).

use super::AlterConfigsResourceResponse;
use super::macros::{message, wire_struct};

wire_struct! {
    /// Changes settings.
    pub struct IncrementalAlterConfigsRequest {
        /// Whose.
        resources: Vec<IncrementalAlterConfigsResource> [0..],
        /// Whether only to check the request.
        validate_only: bool [0..],
    }
}

wire_struct! {
    /// A topic or broker whose settings change.
    pub struct IncrementalAlterConfigsResource {
        /// What it is, by Kafka's number: 2 a topic, 4 a broker.
        resource_type: i8 [0..],
        /// The topic's name or the broker's id.
        resource_name: Box<str> [0..],
        /// The changes.
        configs: Vec<IncrementalAlterableConfig> [0..],
    }
}

wire_struct! {
    /// A change of a setting.
    pub struct IncrementalAlterableConfig {
        /// Its name.
        name: Box<str> [0..],
        /// What is done to it, by Kafka's number: 0 it is set, 1 it goes back to its default, 2 and 3 entries are added to
        /// and taken out of the list that it is.
        config_operation: i8 [0..],
        /// The value, or the entries.
        value: Option<Box<str>> [0..],
    }
}

wire_struct! {
    /// Says what became of the resources.
    pub struct IncrementalAlterConfigsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [0..],
        /// The resources.
        responses: Vec<AlterConfigsResourceResponse> [0..],
    }
}

message! { IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse: IncrementalAlterConfigs, 0..=1, flexible 1 }
