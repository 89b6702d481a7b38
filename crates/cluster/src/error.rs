//! What can go wrong between a client and its cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_connection::Address;
use ottla_wire::{ErrorCode, NodeId};

use crate::InvalidSetting;

/// Why the cluster could not be asked, or what it refused.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be.
    #[error(transparent)]
    Config(#[from] InvalidSetting),
    /// No bootstrap server answered.
    #[error("no bootstrap server answered: {}", Failures(.failures))]
    Bootstrap {
        /// What each of them said. Causes are printed in full here, because there is more than one of them.
        failures: Arc<[BootstrapFailure]>,
    },
    /// The node is not among the cluster's brokers, as far as is known.
    #[error("node {node} is not a broker of the cluster")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// The cluster has no controller that is known.
    #[error("the cluster's controller is not known")]
    NoController,
    /// A connection could not be opened, or a request on it has no answer.
    #[error("{attempted} failed on node {node}")]
    Connection {
        /// What was attempted.
        attempted: &'static str,
        /// On which node.
        node: NodeId,
        /// What happened.
        #[source]
        source: ottla_connection::Error,
    },
    /// The cluster answered with an error about a topic.
    #[error("the cluster knows no usable topic {topic}: {error_code}")]
    Topic {
        /// The topic.
        topic: Arc<str>,
        /// The error.
        error_code: ErrorCode,
    },
    /// What was asked for did not come about in time.
    #[error("{attempted} took longer than {timeout:?}")]
    TimedOut {
        /// What was attempted.
        attempted: &'static str,
        /// The limit.
        timeout: Duration,
        /// What the last attempt failed with, if any has.
        #[source]
        source: Option<Arc<Error>>,
    },
    /// The brokers answered that they are not the ones to ask (KIP-1102), or know of no brokers.
    #[error("the cluster did not describe itself: {error_code}")]
    Metadata {
        /// What they answered; NONE where they only named no brokers.
        error_code: ErrorCode,
    },
    /// The cluster is closed.
    #[error("the cluster is closed")]
    Closed,
    /// There is no runtime to run on: none was given, and none is current.
    #[error("there is no tokio runtime: none is configured and none is current")]
    NoRuntime,
}

impl Error {
    /// Whether the same may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Bootstrap { failures } => {
                failures.iter().any(|failure| failure.source.as_ref().is_none_or(ottla_connection::Error::is_retriable))
            }
            Self::UnknownNode { .. } | Self::NoController | Self::TimedOut { .. } | Self::Metadata { .. } => true,
            Self::Connection { source, .. } => source.is_retriable(),
            Self::Topic { error_code, .. } => error_code.is_retriable(),
            Self::Config(_) | Self::Closed | Self::NoRuntime => false,
        }
    }

    /// Whether a broker may have acted on the request although there is no answer.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Connection { source, .. } => source.may_have_taken_effect(),
            Self::TimedOut { source, .. } => source.as_ref().is_some_and(|source| source.may_have_taken_effect()),
            _ => false,
        }
    }

    /// The error code in a broker's answer, where that is what went wrong.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Topic { error_code, .. } | Self::Metadata { error_code } => Some(*error_code),
            Self::Connection { source, .. } => source.error_code(),
            Self::TimedOut { source, .. } => source.as_ref().and_then(|source| source.error_code()),
            _ => None,
        }
    }
}

/// What one bootstrap server said.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BootstrapFailure {
    /// The server.
    pub address: Address,
    /// What happened; `None`: it answered, but knows of no brokers, not even of itself.
    pub source: Option<ottla_connection::Error>,
}

struct Failures<'a>(&'a [BootstrapFailure]);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("; ")?;
            }
            let Some(source) = &failure.source else {
                write!(formatter, "{} knows of no brokers", failure.address)?;
                continue;
            };
            write!(formatter, "{source}")?;
            let mut cause = std::error::Error::source(source);
            while let Some(error) = cause {
                write!(formatter, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}
