//! What can go wrong with an administrative request.

use std::sync::Arc;
use std::time::Duration;

use ottla_wire::ErrorCode;

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cluster refused, for one topic or for the request as a whole.
    #[error("{attempted} was refused{}: {code}{}", about(.topic.as_deref()), in_words(.message.as_deref()))]
    Refused {
        /// What was asked for.
        attempted: &'static str,
        /// For which topic, where it was for one.
        topic: Option<Arc<str>>,
        /// Why.
        code: ErrorCode,
        /// The same in the broker's words.
        message: Option<Arc<str>>,
    },

    /// The answer says nothing about a topic that was asked for.
    #[error("the answer to {attempted} leaves out topic {topic}")]
    LeftOut {
        /// What was asked for.
        attempted: &'static str,
        /// The topic.
        topic: Arc<str>,
    },

    /// The broker is older than what was asked for.
    #[error("{attempted} needs a broker of Kafka {needs} or later")]
    Unsupported {
        /// What was asked for.
        attempted: &'static str,
        /// The first Kafka version that has it.
        needs: &'static str,
        /// What the broker speaks.
        #[source]
        source: Arc<ottla_cluster::Error>,
    },

    /// No answer came, however often it was asked.
    #[error("{attempted} got no answer within {timeout:?}")]
    TimedOut {
        /// What was asked for.
        attempted: &'static str,
        /// How long was waited.
        timeout: Duration,
        /// What the last attempt failed with.
        #[source]
        source: Option<Box<Error>>,
    },

    /// The cluster could not be asked.
    #[error("{attempted} failed")]
    Cluster {
        /// What was asked for.
        attempted: &'static str,
        /// What happened.
        #[source]
        source: Arc<ottla_cluster::Error>,
    },
}

impl Error {
    /// Whether asking again may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.is_retriable(),
            Self::TimedOut { .. } | Self::LeftOut { .. } => true,
            Self::Cluster { source, .. } => source.is_retriable(),
            Self::Unsupported { .. } => false,
        }
    }

    /// Whether the cluster may have done what was asked in spite of the error.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Refused { code, .. } => matches!(code, ErrorCode::RequestTimedOut | ErrorCode::UnknownServerError),
            Self::TimedOut { .. } | Self::LeftOut { .. } => true,
            Self::Cluster { source, .. } => source.may_have_taken_effect(),
            Self::Unsupported { .. } => false,
        }
    }

    /// The broker's error code, where a broker answered with one.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::TimedOut { source, .. } => source.as_deref().and_then(Self::error_code),
            Self::Cluster { source, .. } => source.error_code(),
            Self::LeftOut { .. } | Self::Unsupported { .. } => None,
        }
    }
}

fn about(topic: Option<&str>) -> String {
    topic.map_or(String::new(), |topic| format!(" for topic {topic}"))
}

fn in_words(message: Option<&str>) -> String {
    message.map_or(String::new(), |message| format!(", {message}"))
}
