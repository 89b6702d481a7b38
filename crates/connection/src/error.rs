//! What can go wrong on a connection, and what it says about the request.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::{ApiKey, DecodeError, EncodeError, ErrorCode, FrameTooLarge, UnsupportedVersion};

use crate::Address;

/// Why a connection could not be opened, or a request on it has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The transport did not connect.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: Address,
        /// What the transport said; for a name, what it said of each address.
        #[source]
        source: Arc<io::Error>,
    },
    /// The transport did not connect in time.
    #[error("cannot connect to {address} within {timeout:?}")]
    ConnectTimedOut {
        /// Where to.
        address: Address,
        /// The limit (`connection_setup_timeout`).
        timeout: Duration,
    },
    /// The transport connected, but the broker and the client did not agree how to talk.
    #[error("the handshake with {address} failed")]
    Handshake {
        /// With whom.
        address: Address,
        /// What went wrong.
        #[source]
        source: HandshakeError,
    },
    /// The broker speaks no version of the API that would do. Nothing was sent.
    #[error("{address} cannot be asked")]
    UnsupportedVersion {
        /// Which broker.
        address: Address,
        /// Which API, and what the broker speaks.
        #[source]
        source: UnsupportedVersion,
    },
    /// The request cannot be written down. Nothing was sent.
    #[error("{api} for {address} cannot be encoded")]
    Encode {
        /// The API.
        api: ApiKey,
        /// Which broker it was for.
        address: Address,
        /// What is wrong with it.
        #[source]
        source: EncodeError,
    },
    /// The answer is not what the protocol says. The connection stays open: the frame itself was whole.
    #[error("the answer of {address} to {api} version {version} cannot be decoded")]
    Decode {
        /// The API.
        api: ApiKey,
        /// The version of the request and of the answer.
        version: i16,
        /// Which broker.
        address: Address,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// There was no answer in time.
    #[error("{api} to {address} was not answered within {timeout:?}")]
    TimedOut {
        /// The API.
        api: ApiKey,
        /// Which broker.
        address: Address,
        /// The limit.
        timeout: Duration,
        /// Whether the whole request had been written, so that the broker may have acted on it.
        written: bool,
    },
    /// The connection closed before there was an answer.
    #[error("{api} to {address} has no answer: the connection is closed")]
    Closed {
        /// The API.
        api: ApiKey,
        /// Which broker.
        address: Address,
        /// Whether the whole request had been written, so that the broker may have acted on it.
        written: bool,
        /// Why it closed; the same for all that were in flight.
        #[source]
        cause: CloseCause,
    },
}

impl Error {
    /// Whether the same request may succeed on another connection, or later on this address.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::ConnectTimedOut { .. } | Self::TimedOut { .. } | Self::Closed { .. } => true,
            Self::Handshake { source, .. } => source.is_retriable(),
            Self::UnsupportedVersion { .. } | Self::Encode { .. } | Self::Decode { .. } => false,
        }
    }

    /// Whether the broker may have acted on the request although there is no answer.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::TimedOut { written, .. } | Self::Closed { written, .. } => *written,
            // There was an answer; it cannot be read.
            Self::Decode { .. } => true,
            Self::Connect { .. }
            | Self::ConnectTimedOut { .. }
            | Self::Handshake { .. }
            | Self::UnsupportedVersion { .. }
            | Self::Encode { .. } => false,
        }
    }

    /// The error code in the broker's answer, where that is what went wrong.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Handshake { source: HandshakeError::Refused { error_code }, .. } => Some(*error_code),
            _ => None,
        }
    }

    /// The address that the error is about.
    pub fn address(&self) -> &Address {
        match self {
            Self::Connect { address, .. }
            | Self::ConnectTimedOut { address, .. }
            | Self::Handshake { address, .. }
            | Self::UnsupportedVersion { address, .. }
            | Self::Encode { address, .. }
            | Self::Decode { address, .. }
            | Self::TimedOut { address, .. }
            | Self::Closed { address, .. } => address,
        }
    }
}

/// Why a handshake failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The broker answered ApiVersions with an error.
    #[error("the broker refused ApiVersions: {error_code}")]
    Refused {
        /// The error.
        error_code: ErrorCode,
    },
    /// The broker's answer cannot be read.
    #[error("the answer to ApiVersions version {version} cannot be decoded")]
    Decode {
        /// The version asked in.
        version: i16,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// The request cannot be written down: the client's id or software name is too long.
    #[error("ApiVersions cannot be encoded")]
    Encode(#[source] EncodeError),
    /// The connection closed, in every version that was tried.
    #[error("the connection closed during ApiVersions")]
    Closed(#[source] CloseCause),
    /// There was no answer in time.
    #[error("ApiVersions was not answered within {timeout:?}")]
    TimedOut {
        /// The limit (`request_timeout`).
        timeout: Duration,
    },
}

impl HandshakeError {
    /// Whether another attempt may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused { error_code } => error_code.is_retriable(),
            Self::Closed(_) | Self::TimedOut { .. } => true,
            Self::Decode { .. } | Self::Encode(_) => false,
        }
    }
}

/// Why a connection closed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// Reading or writing failed.
    #[error("the transport failed")]
    Transport(#[source] Arc<io::Error>),
    /// The broker closed it.
    #[error("the broker closed the connection")]
    EndOfStream,
    /// A request was not answered in time; those after it cannot be answered before it.
    #[error("{api} was not answered within {timeout:?}")]
    Overdue {
        /// The API of that request.
        api: ApiKey,
        /// Its limit.
        timeout: Duration,
    },
    /// The broker announced a frame over the limit.
    #[error("the broker's answer is too large")]
    FrameTooLarge(#[source] FrameTooLarge),
    /// The broker's answer has no readable header.
    #[error("the header of the broker's answer cannot be decoded")]
    MalformedHeader(#[source] DecodeError),
    /// The broker answered a request that is not the next to be answered.
    #[error("the broker answered request {received}, {}", .expected.map_or("but none was in flight".to_owned(), |expected| format!("but {expected} was next")))]
    CorrelationMismatch {
        /// The correlation id that was next, if any request was in flight.
        expected: Option<i32>,
        /// The one that came.
        received: i32,
    },
    /// Nothing was asked for longer than `connections_max_idle`.
    #[error("the connection was idle")]
    Idle,
    /// It was closed in an orderly way from this side.
    #[error("it was closed by the client")]
    Closed,
    /// It was closed at once from this side.
    #[error("it was aborted by the client")]
    Aborted,
    /// The runtime that served it has ended.
    #[error("the runtime that served it has ended")]
    RuntimeEnded,
}
