//! What can go wrong for a consumer.

use ottla_fetcher::InvalidSetting;
use ottla_wire::{ErrorCode, TopicPartition};

/// Why a consumer could not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that does not exist.
    #[error("there is no consumer setting {setting}")]
    UnknownSetting {
        /// The name that was given.
        setting: String,
    },
    /// A setting that cannot be.
    #[error(transparent)]
    Config(#[from] InvalidSetting),
    /// A setting's text that cannot be read.
    #[error("{setting} is {value:?}, which is not {expected}")]
    UnreadableSetting {
        /// The setting.
        setting: &'static str,
        /// The text.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Fetching failed.
    #[error(transparent)]
    Fetch(ottla_fetcher::Error),
    /// The cluster could not be asked, or refused.
    #[error(transparent)]
    Cluster(#[from] ottla_cluster::Error),
}

impl From<ottla_fetcher::Error> for Error {
    fn from(error: ottla_fetcher::Error) -> Self {
        match error {
            ottla_fetcher::Error::Config(setting) => Self::Config(setting),
            ottla_fetcher::Error::Cluster(error) => Self::Cluster(error),
            error => Self::Fetch(error),
        }
    }
}

impl Error {
    /// Whether the same may succeed later without anybody changing anything. After an error from poll that is about a
    /// partition the consumer tries that partition again by itself in any case.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_retriable(),
            Self::Cluster(error) => error.is_retriable(),
            Self::UnknownSetting { .. } | Self::Config(_) | Self::UnreadableSetting { .. } => false,
        }
    }

    /// Whether polling again makes no sense: the consumer is closed, or has no runtime.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Fetch(ottla_fetcher::Error::Closed | ottla_fetcher::Error::NoRuntime)
                | Self::Cluster(ottla_cluster::Error::Closed | ottla_cluster::Error::NoRuntime)
        )
    }

    /// The error code in a broker's answer, where that is what went wrong.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Fetch(error) => error.error_code(),
            Self::Cluster(error) => error.error_code(),
            Self::UnknownSetting { .. } | Self::Config(_) | Self::UnreadableSetting { .. } => None,
        }
    }

    /// The partition that it is about, where it is about one.
    pub fn partition(&self) -> Option<&TopicPartition> {
        match self {
            Self::Fetch(error) => error.partition(),
            _ => None,
        }
    }

    /// Where to seek to skip what cannot be read, where that is known.
    pub fn next_offset(&self) -> Option<i64> {
        match self {
            Self::Fetch(error) => error.next_offset(),
            _ => None,
        }
    }
}
