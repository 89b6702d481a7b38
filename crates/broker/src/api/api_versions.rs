//! ApiVersions: what the brokers speak (KIP-35, KIP-511).

use ottla_wire::messages::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{ApiKey, ErrorCode};

use super::{AnyResponse, Context, Outcome, spoken_versions};
use crate::state::{ClusterState, Now};

#[allow(clippy::needless_pass_by_value, reason = "the form of all handlers")]
pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: ApiVersionsRequest) -> Outcome {
    let error_code = match context.whole_refused() {
        Some(code) => code,
        None if context.version >= 3 && !is_valid(&request) => ErrorCode::InvalidRequest,
        None => ErrorCode::None,
    };
    answer(state, context, error_code)
}

/// Kafka answers a version that it does not know in the form of version 0, and lists what it does know all the same.
pub(super) fn unknown_version(state: &ClusterState, context: &Context) -> Outcome {
    answer(state, context, ErrorCode::UnsupportedVersion)
}

fn answer(state: &ClusterState, context: &Context, error_code: ErrorCode) -> Outcome {
    let listed = |api: &ApiKey| {
        let spoken = spoken_versions(*api, context.node, &state.settings)?;
        // librdkafka compresses only where it sees Produce 0, and Kafka 4 lists it although it refuses it (KAFKA-18659).
        let min_version = if *api == ApiKey::Produce { 0 } else { spoken.min };
        Some(ApiVersion { api_key: api.number(), min_version, max_version: spoken.max })
    };
    let api_keys = ApiKey::ALL.iter().filter_map(listed).collect();
    Outcome::Answer(AnyResponse::ApiVersions(ApiVersionsResponse { error_code, api_keys, ..Default::default() }))
}

/// The client's name and version as Kafka accepts them: letters, digits, `-` and `.`, neither first nor last a mark.
fn is_valid(request: &ApiVersionsRequest) -> bool {
    [&request.client_software_name, &request.client_software_version].into_iter().all(|text| {
        let inner = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
        let outer = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
        text.chars().all(inner) && outer(text.chars().next()) && outer(text.chars().next_back())
    })
}
