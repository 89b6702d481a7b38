//! SaslHandshake (17): chooses a SASL mechanism. From version 1 on the mechanism's own messages travel in
//! SaslAuthenticate, before that bare in frames (KIP-152).

use super::macros::{message, wire_struct};
use crate::ErrorCode;

wire_struct! {
    /// Chooses a mechanism.
    pub struct SaslHandshakeRequest {
        /// Its name, such as `SCRAM-SHA-256`.
        mechanism: String [0..],
    }
}

wire_struct! {
    /// Says whether the mechanism will do.
    pub struct SaslHandshakeResponse {
        /// UNSUPPORTED_SASL_MECHANISM where it will not.
        error_code: ErrorCode [0..],
        /// The mechanisms that the broker has.
        mechanisms: Vec<String> [0..],
    }
}

message! { SaslHandshakeRequest => SaslHandshakeResponse: SaslHandshake, 0..=1, flexible i16::MAX }
