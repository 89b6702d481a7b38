//! What can go wrong while fetching, always with the partition or broker that it is about.

use std::fmt;
use std::time::Duration;

use ottla_cluster::InvalidSetting;
use ottla_wire::records::{BatchFault, RecordFault};
use ottla_wire::{ErrorCode, LeaderEpoch, NodeId, TopicId, TopicPartition};

use crate::position::{Recreation, Refusal, Truncation};
use crate::{DivergingOffset, Lookup};

/// Why something could not be fetched or looked up.
///
/// An error of one partition concerns that one only: the others go on, and it is tried again with back-off and told
/// again, until it succeeds or the application decides otherwise (a seek past it, a pause, another assignment).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be.
    #[error(transparent)]
    Config(#[from] InvalidSetting),
    /// There is no position, and `auto.offset.reset` is none.
    #[error("{partition} has no position to start at, and auto.offset.reset is none")]
    NoPosition {
        /// The partition.
        partition: TopicPartition,
    },
    /// The log does not have the position, and `auto.offset.reset` is none.
    #[error("the log of {partition} does not have offset {offset}, and auto.offset.reset is none")]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
    },
    /// The log was truncated before the position (KIP-320): records that the application has read are gone from it, and others may
    /// stand in their places. A seek to [`diverging`](Self::LogTruncated::diverging) reads those.
    #[error("the log of {partition} was truncated before offset {position}{}", Diverging(diverging))]
    LogTruncated {
        /// The partition.
        partition: TopicPartition,
        /// The position of the application.
        position: i64,
        /// The leader epoch of the last record before it, where that is known.
        leader_epoch: Option<LeaderEpoch>,
        /// Where the log parted from what was read; `None` if the leader cannot tell.
        diverging: Option<DivergingOffset>,
    },
    /// The topic was deleted and made anew under the same name (KIP-516): the position was one of the topic that is gone. Offsets that
    /// were committed for that mean nothing any more, either.
    #[error("the topic of {partition} was made anew: its id was {old_id} and is {new_id}")]
    TopicRecreated {
        /// The partition.
        partition: TopicPartition,
        /// The id of the topic that was read.
        old_id: TopicId,
        /// The id of the topic that has its name now.
        new_id: TopicId,
    },
    /// A batch cannot be read. The position stays at it; [`next_offset`](Self::CorruptBatch::next_offset) is where to
    /// seek to skip it.
    #[error("{partition} has a corrupt batch at offset {offset}")]
    CorruptBatch {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
        /// The offset behind the batch, where that can be told.
        next_offset: Option<i64>,
        /// What is wrong with it.
        #[source]
        source: BatchFault,
    },
    /// The broker answered with bytes that hold no whole batch from the position on.
    #[error("the answer of node {node} for {partition} has {bytes} bytes, and no whole batch from offset {offset} on")]
    NoWholeBatch {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
        /// Which broker answered.
        node: NodeId,
        /// How many bytes it sent.
        bytes: usize,
    },
    /// The broker refused, for a reason that does not go away by itself.
    #[error("{attempted} of {partition} was refused by node {node}: {error_code}")]
    Refused {
        /// What was attempted.
        attempted: &'static str,
        /// The partition.
        partition: TopicPartition,
        /// Which broker refused.
        node: NodeId,
        /// Why.
        error_code: ErrorCode,
    },
    /// The broker has no record for a lookup.
    #[error("{partition} has no answer to {lookup}: the broker returned no offset")]
    NoOffset {
        /// The partition.
        partition: TopicPartition,
        /// What was looked up.
        lookup: Lookup,
    },
    /// A broker's answer to Fetch cannot be decoded.
    #[error("the answer of node {node} to Fetch version {version} cannot be decoded")]
    Decode {
        /// The broker.
        node: NodeId,
        /// The version.
        version: i16,
        /// What is wrong with it.
        #[source]
        source: ottla_wire::DecodeError,
    },
    /// Fetching from a broker failed in a way that does not go away by itself.
    #[error("fetching from node {node} failed")]
    Broker {
        /// The broker.
        node: NodeId,
        /// What happened.
        #[source]
        source: ottla_connection::Error,
    },
    /// The cluster could not be asked.
    #[error("the cluster could not be asked")]
    Cluster(#[from] ottla_cluster::Error),
    /// The application holds so many records that nothing can be fetched.
    #[error("records that are still held take {held_bytes} of the {bound_bytes} bytes of fetch.buffer.max.bytes")]
    BufferHeld {
        /// What is held.
        held_bytes: usize,
        /// The bound.
        bound_bytes: usize,
    },
    /// The partition is not among those assigned.
    #[error("{partition} is not assigned")]
    NotAssigned {
        /// The partition.
        partition: TopicPartition,
    },
    /// A partition's index below 0.
    #[error("{} has no partition {}", partition.topic, partition.partition)]
    InvalidPartition {
        /// The partition.
        partition: TopicPartition,
    },
    /// An offset below 0.
    #[error("{partition} cannot be read from offset {offset}")]
    InvalidOffset {
        /// The partition.
        partition: TopicPartition,
        /// The offset.
        offset: i64,
    },
    /// Something did not come about in time.
    #[error("{attempted} took longer than {timeout:?}")]
    TimedOut {
        /// What was attempted.
        attempted: &'static str,
        /// The limit.
        timeout: Duration,
        /// What the last attempt failed with, if any has.
        #[source]
        source: Option<Box<Error>>,
    },
    /// There is no runtime to run on: none was given, and none is current.
    #[error("there is no tokio runtime: none is configured and none is current")]
    NoRuntime,
    /// It is closed.
    #[error("the fetcher is closed")]
    Closed,
}

impl Error {
    /// Whether the same may succeed later without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused { error_code, .. } => error_code.is_retriable(),
            Self::Broker { source, .. } => source.is_retriable(),
            Self::Cluster(source) => source.is_retriable(),
            Self::BufferHeld { .. } | Self::TimedOut { .. } => true,
            Self::Config(_)
            | Self::NoPosition { .. }
            | Self::OffsetOutOfRange { .. }
            | Self::LogTruncated { .. }
            | Self::TopicRecreated { .. }
            | Self::CorruptBatch { .. }
            | Self::NoWholeBatch { .. }
            | Self::NoOffset { .. }
            | Self::Decode { .. }
            | Self::NotAssigned { .. }
            | Self::InvalidPartition { .. }
            | Self::InvalidOffset { .. }
            | Self::NoRuntime
            | Self::Closed => false,
        }
    }

    /// The error code in a broker's answer, where that is what went wrong.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::OffsetOutOfRange { .. } => Some(ErrorCode::OffsetOutOfRange),
            Self::Refused { error_code, .. } => Some(*error_code),
            Self::Broker { source, .. } => source.error_code(),
            Self::Cluster(source) => source.error_code(),
            Self::TimedOut { source, .. } => source.as_ref().and_then(|source| source.error_code()),
            _ => None,
        }
    }

    /// The partition that it is about, where it is about one.
    pub fn partition(&self) -> Option<&TopicPartition> {
        match self {
            Self::NoPosition { partition }
            | Self::OffsetOutOfRange { partition, .. }
            | Self::LogTruncated { partition, .. }
            | Self::TopicRecreated { partition, .. }
            | Self::CorruptBatch { partition, .. }
            | Self::NoWholeBatch { partition, .. }
            | Self::Refused { partition, .. }
            | Self::NoOffset { partition, .. }
            | Self::NotAssigned { partition }
            | Self::InvalidPartition { partition }
            | Self::InvalidOffset { partition, .. } => Some(partition),
            _ => None,
        }
    }

    /// Where to seek to skip what cannot be read, where that is known.
    pub fn next_offset(&self) -> Option<i64> {
        match self {
            Self::CorruptBatch { next_offset, .. } => *next_offset,
            _ => None,
        }
    }
}

impl Error {
    /// What the application is told of a partition that it has to seek.
    pub(crate) fn of_refusal(partition: TopicPartition, refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoPosition => Self::NoPosition { partition },
            Refusal::OutOfRange(offset) => Self::OffsetOutOfRange { partition, offset },
            Refusal::Truncated(Truncation { position, leader_epoch, diverging }) => {
                Self::LogTruncated { partition, position, leader_epoch, diverging }
            }
            Refusal::Recreated(Recreation { old_id, new_id }) => Self::TopicRecreated { partition, old_id, new_id },
        }
    }
}

struct Diverging<'a>(&'a Option<DivergingOffset>);

impl fmt::Display for Diverging<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(diverging) => write!(formatter, ": it parted from what was read at offset {}", diverging.offset),
            None => Ok(()),
        }
    }
}

/// A record that cannot be read: the ones before it in its batch are good, and those after it cannot be found.
///
/// The partition's position stays at it. The next poll hands out the batch again from there; seeking to
/// [`next_offset`](Self::next_offset) skips what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{partition} has a corrupt record at offset {offset}")]
#[non_exhaustive]
pub struct CorruptRecord {
    /// The partition.
    pub partition: TopicPartition,
    /// The record's offset.
    pub offset: i64,
    /// The offset behind its batch.
    pub next_offset: i64,
    /// What is wrong.
    #[source]
    pub source: RecordFault,
}
