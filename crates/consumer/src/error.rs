//! What can go wrong for a consumer.

use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::InvalidSetting;
use ottla_fetcher::CorruptRecord;
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
    /// The group refused, or could not be asked.
    #[error(transparent)]
    Group(ottla_coordinator::Error),
    /// The membership in the group was lost; the consumer joins again by itself. Told by
    /// [`next_error`](crate::ConsumerHandle::next_error), beside the listener's `on_lost`.
    #[error("the membership in the group was lost: {reason}")]
    MembershipLost {
        /// Why.
        reason: ottla_coordinator::LostReason,
    },
    /// A record of a stream cannot be read. The stream goes on when the partition is sought past it.
    #[error(transparent)]
    Corrupt(#[from] CorruptRecord),
    /// Something that only a member of a group can do.
    #[error("{attempted} needs a group: set group.id")]
    NoGroup {
        /// What was attempted.
        attempted: &'static str,
    },
    /// Subscribing to no topic at all.
    #[error("there is no topic to subscribe to: unsubscribe instead")]
    NoTopics,
    /// Topics are subscribed to, or partitions assigned; not both.
    #[error("{attempted} is not possible while {present}")]
    MixedSubscription {
        /// What was attempted.
        attempted: &'static str,
        /// What stands in the way.
        present: &'static str,
    },
    /// The rebalance listener failed.
    #[error("the rebalance listener's {method} failed")]
    Listener {
        /// Its method.
        method: &'static str,
        /// What it returned.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A partition's handler failed; the consumer has been closed.
    #[error("the handler of {partition} failed")]
    Handler {
        /// The partition.
        partition: TopicPartition,
        /// What it returned.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The partition was given up, and may be another's: nothing can be committed for it by this stream.
    #[error("{partition} is no longer assigned to this stream")]
    StreamEnded {
        /// The partition.
        partition: TopicPartition,
    },
    /// A bounded read cannot come to its end: the log has become shorter than that, or never was as long.
    #[error("the log of {partition} ends at offset {log_end}, and is to be read up to {end}")]
    EndGone {
        /// The partition.
        partition: TopicPartition,
        /// The offset that it is to be read up to.
        end: i64,
        /// Where its log ends.
        log_end: i64,
    },
    /// Closing was not done in time. The consumer is closed all the same.
    #[error("closing the consumer took longer than {timeout:?}")]
    CloseTimedOut {
        /// The limit.
        timeout: Duration,
    },
}

impl From<ottla_coordinator::Error> for Error {
    fn from(error: ottla_coordinator::Error) -> Self {
        match error {
            ottla_coordinator::Error::Config(setting) => Self::Config(setting),
            error => Self::Group(error),
        }
    }
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
            Self::Group(error) => error.is_retriable(),
            Self::MembershipLost { .. } => true,
            Self::UnknownSetting { .. }
            | Self::Config(_)
            | Self::UnreadableSetting { .. }
            | Self::Corrupt(_)
            | Self::NoGroup { .. }
            | Self::NoTopics
            | Self::MixedSubscription { .. }
            | Self::Listener { .. }
            | Self::Handler { .. }
            | Self::StreamEnded { .. }
            | Self::EndGone { .. }
            | Self::CloseTimedOut { .. } => false,
        }
    }

    /// Whether polling again makes no sense: the consumer is closed, has no runtime, or cannot be a member of its group.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Fetch(error) => matches!(error, ottla_fetcher::Error::Closed | ottla_fetcher::Error::NoRuntime),
            Self::Cluster(error) => matches!(error, ottla_cluster::Error::Closed | ottla_cluster::Error::NoRuntime),
            Self::Group(error) => error.is_fatal(),
            _ => false,
        }
    }

    /// The error code in a broker's answer, where that is what went wrong.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Fetch(error) => error.error_code(),
            Self::Cluster(error) => error.error_code(),
            Self::Group(error) => error.error_code(),
            _ => None,
        }
    }

    /// The partition that it is about, where it is about one.
    pub fn partition(&self) -> Option<&TopicPartition> {
        match self {
            Self::Fetch(error) => error.partition(),
            Self::Group(error) => error.partition(),
            Self::Corrupt(CorruptRecord { partition, .. })
            | Self::Handler { partition, .. }
            | Self::EndGone { partition, .. }
            | Self::StreamEnded { partition } => Some(partition),
            _ => None,
        }
    }

    /// Where to seek to skip what cannot be read, where that is known.
    pub fn next_offset(&self) -> Option<i64> {
        match self {
            Self::Fetch(error) => error.next_offset(),
            Self::Corrupt(corrupt) => Some(corrupt.next_offset),
            _ => None,
        }
    }
}
