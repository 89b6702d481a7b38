//! ApiVersions (18): what a broker speaks (KIP-35), and who is asking (KIP-511).
//!
//! The response always has header version 0, and its error form is that of version 0, so that a client can read it
//! before it knows anything.

use super::macros::{message, wire_struct};
use crate::ErrorCode;

wire_struct! {
    /// Asks what the broker speaks.
    pub struct ApiVersionsRequest {
        /// The client library's name.
        client_software_name: String [3..; ignorable],
        /// Its version.
        client_software_version: String [3..; ignorable],
    }
}

wire_struct! {
    /// What the broker speaks.
    pub struct ApiVersionsResponse {
        /// UNSUPPORTED_VERSION where the request's own version is not known.
        error_code: ErrorCode [0..],
        /// The APIs and their versions.
        api_keys: Vec<ApiVersion> [0..],
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [1..; ignorable],
    }
    tagged {
        /// Features the broker could run at (KIP-584).
        0 => supported_features: Vec<SupportedFeature> [3..; ignorable],
        /// The epoch of the finalized features, -1 where unknown.
        1 => finalized_features_epoch: i64 [3..; default -1; ignorable],
        /// Features the cluster runs at.
        2 => finalized_features: Vec<FinalizedFeature> [3..; ignorable],
        /// Whether a ZooKeeper cluster is ready to migrate (KIP-866).
        3 => zk_migration_ready: bool [3..; ignorable],
    }
}

wire_struct! {
    /// One API and the versions of it that the broker speaks.
    pub struct ApiVersion {
        /// Its number.
        api_key: i16 [0..],
        /// The lowest version.
        min_version: i16 [0..],
        /// The highest version.
        max_version: i16 [0..],
    }
}

wire_struct! {
    /// A feature that the broker supports.
    pub struct SupportedFeature {
        /// Its name.
        name: String [3..],
        /// The lowest level.
        min_version: i16 [3..],
        /// The highest level.
        max_version: i16 [3..],
    }
}

wire_struct! {
    /// A feature that the cluster has finalized.
    pub struct FinalizedFeature {
        /// Its name.
        name: String [3..],
        /// The highest finalized level.
        max_version_level: i16 [3..],
        /// The lowest finalized level.
        min_version_level: i16 [3..],
    }
}

message! { ApiVersionsRequest => ApiVersionsResponse: ApiVersions, 0..=4, flexible 3 }
