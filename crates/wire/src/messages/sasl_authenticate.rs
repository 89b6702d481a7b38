//! SaslAuthenticate (36): carries a SASL mechanism's own messages (KIP-152). What they hold is kept out of `Debug`.

use super::macros::{message, wire_struct};
use crate::{ErrorCode, SecretBytes};

wire_struct! {
    /// The mechanism's next message from the client.
    pub struct SaslAuthenticateRequest {
        /// The message.
        auth_bytes: SecretBytes [0..],
    }
}

wire_struct! {
    /// The mechanism's next message from the broker.
    pub struct SaslAuthenticateResponse {
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The same in words.
        error_message: Option<String> [0..],
        /// The message.
        auth_bytes: SecretBytes [0..],
        /// How long until the client must authenticate again, in milliseconds, 0: never (KIP-368).
        session_lifetime_ms: i64 [1..; ignorable],
    }
}

message! { SaslAuthenticateRequest => SaslAuthenticateResponse: SaslAuthenticate, 0..=2, flexible 2 }
