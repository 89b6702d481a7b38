//! What to say to a broker before anything else. Without I/O.
//!
//! ```text
//!   connected ─▶ ApiVersions 3 ──NONE──────────────────────────────────▶ Ready
//!                     │ UNSUPPORTED_VERSION (KIP-511: answered as version 0) ─▶ the highest it lists, or 0 ─┐
//!                     │ an answer that cannot be read ─▶ ApiVersions 0, on the same connection ─────────────┤
//!                     │ closed ─▶ Reconnect ─▶ the same again ─closed─▶ Reconnect ─▶ ApiVersions 0 ──────────┘
//! ```
//!
//! Kafka answers an ApiVersions request that is too new with an error; Azure Event Hubs resets the connection. That one
//! closes proves nothing, for the broker may be about to stop: it is asked once more as before. Otherwise what is tried
//! next is lower than what was tried, so the handshake ends. Nothing of this is remembered: the broker may be upgraded
//! before the next connection.
//!
//! SASL will follow here, between ApiVersions and Ready.

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{
    ApiKey, BrokerVersions, DecodeError, ErrorCode, Frame, Message, Reader, ResponseHeader, VersionRange,
    encode_request, throttle_duration,
};

use crate::{CloseCause, ConnectionConfig, HandshakeError};

/// The version asked in first: the first that names the client, and the last that no broker closes a connection over
/// unless it would over any flexible one.
const FIRST_VERSION: i16 = 3;

/// The handshake of one connection.
#[derive(Debug)]
pub(crate) struct Handshake {
    client_id: Option<String>,
    request: ApiVersionsRequest,
    version: i16,
    /// A connection has closed already over this version.
    closed_over: Option<i16>,
    correlation_id: i32,
    throttle_time: Duration,
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send this, and hand in the answer.
    Send(Frame),
    /// Connect anew, then [`Handshake::start`].
    Reconnect,
    /// The connection can be used.
    Ready(BrokerVersions),
    /// It cannot.
    Failed(HandshakeError),
}

impl Handshake {
    /// For a client as `config` describes it.
    pub(crate) fn new(config: &ConnectionConfig) -> Self {
        let request = ApiVersionsRequest {
            client_software_name: software_text(&config.client_software_name),
            client_software_version: software_text(&config.client_software_version),
        };
        let client_id = config.client_id.as_deref().map(str::to_owned);
        Self {
            client_id,
            request,
            version: FIRST_VERSION,
            closed_over: None,
            correlation_id: 0,
            throttle_time: Duration::ZERO,
        }
    }

    /// The transport has connected, or connected anew.
    pub(crate) fn start(&mut self) -> Step {
        self.ask()
    }

    /// The broker has answered: a frame without its length.
    pub(crate) fn handle_response(&mut self, frame: Bytes) -> Step {
        match self.read(frame) {
            Ok(Answer::Versions(response)) => match response.error_code.into_result() {
                Ok(()) => {
                    if ApiKey::ApiVersions.is_throttled_by_client(self.version) {
                        self.throttle_time = throttle_duration(response.throttle_time_ms);
                    }
                    Step::Ready(BrokerVersions::from_response(&response))
                }
                Err(error_code) => Step::Failed(HandshakeError::Refused { error_code }),
            },
            Ok(Answer::Unsupported(_)) if self.version == 0 => {
                Step::Failed(HandshakeError::Refused { error_code: ErrorCode::UnsupportedVersion })
            }
            Ok(Answer::Unsupported(spoken)) => {
                // Its own range of ApiVersions is all that such an answer lists; some brokers do not even list that.
                let below = VersionRange::new(0, self.version - 1);
                let both = spoken.map(|spoken| spoken.intersect(below)).filter(|both| both.min <= both.max);
                self.version = both.map_or(0, |both| both.max);
                self.ask()
            }
            Ok(Answer::Mismatch(received)) => {
                let expected = Some(self.correlation_id);
                Step::Failed(HandshakeError::Closed(CloseCause::CorrelationMismatch { expected, received }))
            }
            Err(_) if self.version > 0 => {
                self.version = 0;
                self.ask()
            }
            Err(source) => Step::Failed(HandshakeError::Decode { version: self.version, source }),
        }
    }

    /// The connection has closed before there was an answer.
    pub(crate) fn handle_closed(&mut self, cause: CloseCause) -> Step {
        if self.version == 0 {
            return Step::Failed(HandshakeError::Closed(cause));
        }
        if self.closed_over.replace(self.version) == Some(self.version) {
            self.version = 0;
        }
        Step::Reconnect
    }

    /// How long the broker asks for nothing to be sent over a connection that is [ready](Step::Ready) (KIP-219).
    pub(crate) fn throttle_time(&self) -> Duration {
        self.throttle_time
    }

    /// The correlation id for the first request after the handshake.
    pub(crate) fn next_correlation_id(&self) -> i32 {
        self.correlation_id.wrapping_add(1)
    }

    fn ask(&mut self) -> Step {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        match encode_request(&self.request, self.version, self.correlation_id, self.client_id.as_deref()) {
            Ok(frame) => Step::Send(frame),
            Err(source) => Step::Failed(HandshakeError::Encode(source)),
        }
    }

    fn read(&self, frame: Bytes) -> Result<Answer, DecodeError> {
        let mut reader = Reader::new(frame);
        let header =
            ResponseHeader::read(&mut reader, ResponseHeader::is_flexible::<ApiVersionsResponse>(self.version))?;
        if header.correlation_id != self.correlation_id {
            return Ok(Answer::Mismatch(header.correlation_id));
        }
        if ErrorCode::from(reader.clone().i16()?) != ErrorCode::UnsupportedVersion {
            return ApiVersionsResponse::decode(&mut reader, self.version).map(Answer::Versions);
        }
        let listed = ApiVersionsResponse::decode(&mut reader, 0).ok();
        let spoken = listed.and_then(|listed| BrokerVersions::from_response(&listed).range(ApiKey::ApiVersions));
        Ok(Answer::Unsupported(spoken))
    }
}

/// What an answer says.
enum Answer {
    Versions(ApiVersionsResponse),
    /// The broker does not speak the version asked in, but these.
    Unsupported(Option<VersionRange>),
    Mismatch(i32),
}

/// Brokers close the connection over a name or version that is not of letters, digits, dots and hyphens, beginning and
/// ending with a letter or digit (KIP-511).
fn software_text(text: &str) -> String {
    let allowed = |letter: char| if letter.is_ascii_alphanumeric() || ".-".contains(letter) { letter } else { '-' };
    let text: String = text.chars().map(allowed).collect();
    match text.trim_matches(['.', '-']) {
        "" => "unknown".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
