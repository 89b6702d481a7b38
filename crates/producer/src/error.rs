//! What can go wrong with a record, and with the producer.
//!
//! A record that was never enqueued comes back with its error ([`SendError`]). Once a record is in a batch, its handle
//! ends with an [`Error`], and [`may_have_been_written`](Error::may_have_been_written) says whether sending it again
//! could write it twice.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::{ErrorCode, NodeId, TopicPartition};

use crate::ProducerRecord;

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be: out of its range, or at odds with another.
    #[error("{setting} {reason}")]
    InvalidSetting {
        /// Kafka's name of the setting.
        setting: &'static str,
        /// Why it cannot be.
        reason: String,
    },

    /// There is no setting of that name.
    #[error("the producer has no setting {name:?}")]
    UnknownSetting {
        /// The name.
        name: String,
    },

    /// The record cannot be written as it is.
    #[error("the record's {field} {reason}")]
    InvalidRecord {
        /// Which part of the record.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The record is larger than a setting of the producer allows. Nothing was sent.
    #[error("a record of {size_bytes} bytes for topic {topic} is over {setting}, which is {limit_bytes}")]
    RecordTooLarge {
        /// The topic.
        topic: Arc<str>,
        /// The most that the record can take up in a request, in bytes.
        size_bytes: usize,
        /// Kafka's name of the setting.
        setting: &'static str,
        /// Its value in bytes.
        limit_bytes: usize,
    },

    /// No room became free in `buffer.memory` within `max.block.ms`, or, for `try_enqueue`, at once.
    #[error("no room for {size_bytes} bytes within {waited:?}: all of buffer.memory, {limit_bytes} bytes, is in use")]
    BufferExhausted {
        /// How much was asked for.
        size_bytes: usize,
        /// Kafka's `buffer.memory`.
        limit_bytes: usize,
        /// How long was waited.
        waited: Duration,
    },

    /// The topic's partitions did not become known within `max.block.ms`, or, for `try_enqueue`, at once.
    #[error("the partitions of topic {topic} are not known after {waited:?}")]
    TopicUnknown {
        /// The topic.
        topic: Arc<str>,
        /// How long was waited.
        waited: Duration,
        /// The last failure to learn of them, where there was one.
        #[source]
        source: Option<Arc<ottla_cluster::Error>>,
    },

    /// The cluster refused to tell of the topic: its name is invalid, or the client may not see it.
    #[error("the metadata of topic {topic} is not to be had")]
    Topic {
        /// The topic.
        topic: Arc<str>,
        /// Why not.
        #[source]
        source: Arc<ottla_cluster::Error>,
    },

    /// The topic has no such partition, and got none within `max.block.ms`.
    #[error("topic {topic} has no partition {partition}: it has {partition_count}")]
    NoSuchPartition {
        /// The topic.
        topic: Arc<str>,
        /// What the record or the partitioner named.
        partition: i32,
        /// How many the topic has.
        partition_count: i32,
    },

    /// The producer is closed, was dropped, or its runtime has ended.
    #[error("the producer is closed{}", written(*.may_have_been_written))]
    Closed {
        /// Whether the record was on its way to a broker then.
        may_have_been_written: bool,
    },

    /// There is no runtime for the producer's task: none was configured, and none is current.
    #[error("there is no tokio runtime: none is configured and none is current")]
    NoRuntime,

    /// `delivery.timeout.ms` passed before the record was acknowledged.
    #[error(
        "a record for {topic_partition} was not acknowledged within {timeout:?}, attempts: {attempts}{}",
        written(*.may_have_been_written)
    )]
    DeliveryTimedOut {
        /// Where it was to go.
        topic_partition: TopicPartition,
        /// Kafka's `delivery.timeout.ms`.
        timeout: Duration,
        /// How often its batch was sent.
        attempts: u32,
        /// Whether one of the attempts may have succeeded unseen.
        may_have_been_written: bool,
        /// Why the last attempt failed, where one did.
        #[source]
        source: Option<Box<Error>>,
    },

    /// The partition's leader refused the record.
    #[error(
        "a record for {topic_partition} was refused by node {node}: {code}{}{}",
        in_words(.message.as_deref()), written(*.may_have_been_written)
    )]
    Refused {
        /// Where it was to go.
        topic_partition: TopicPartition,
        /// Who refused it.
        node: NodeId,
        /// Why.
        code: ErrorCode,
        /// The same in the broker's words, where it has any: about this very record, if it named it (KIP-467).
        message: Option<Arc<str>>,
        /// Whether an earlier attempt, or this one in spite of its error, may have written it.
        may_have_been_written: bool,
    },

    /// The record itself is sound, but others in its batch were refused, and the batch with them (KIP-467).
    #[error(
        "a record for {topic_partition} was refused by node {node} with its batch, for {refused} others of it: {code}{}",
        written(*.may_have_been_written)
    )]
    RefusedWithBatch {
        /// Where it was to go.
        topic_partition: TopicPartition,
        /// Who refused it.
        node: NodeId,
        /// Why the others were refused.
        code: ErrorCode,
        /// How many the others are.
        refused: usize,
        /// Whether an earlier attempt may have written it.
        may_have_been_written: bool,
    },

    /// The request did not get to the leader, or no usable answer came back.
    #[error("a record for {topic_partition} got no answer from node {node}{}", written(*.may_have_been_written))]
    NoAnswer {
        /// Where it was to go.
        topic_partition: TopicPartition,
        /// Who was asked.
        node: NodeId,
        /// Whether the request may have arrived.
        may_have_been_written: bool,
        /// What happened.
        #[source]
        source: SendFailure,
    },

    /// The leader answered, but not for this partition.
    #[error("the answer of node {node} leaves out {topic_partition}{}", written(*.may_have_been_written))]
    LeftOut {
        /// Where it was to go.
        topic_partition: TopicPartition,
        /// Who answered.
        node: NodeId,
        /// Always, since the request arrived.
        may_have_been_written: bool,
    },

    /// The record's batch could not be encoded.
    #[error("a batch for {topic_partition} could not be encoded")]
    Encode {
        /// Where it was to go.
        topic_partition: TopicPartition,
        /// Why not.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },

    /// Of the records that [`flush`](crate::Producer::flush) waited for, some were not delivered.
    #[error("{undelivered} of the records flushed were not delivered")]
    Undelivered {
        /// How many.
        undelivered: u64,
        /// What became of the first of them.
        #[source]
        first: Box<Error>,
    },
}

/// Why a request got no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendFailure {
    /// There was no connection to send it on: it was not sent.
    #[error("no connection")]
    NotConnected(#[source] Arc<ottla_cluster::Error>),

    /// The connection failed, or the request passed its deadline.
    #[error("the connection failed")]
    Connection(#[source] ottla_connection::Error),

    /// Another node leads the partition by now: this one, which had not answered, was not waited for any longer.
    #[error("another node leads the partition by now")]
    LeaderMoved {
        /// Whether the request may have arrived.
        was_sent: bool,
    },
}

impl SendFailure {
    /// Whether the request may have arrived all the same.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::NotConnected(_) => false,
            Self::Connection(error) => error.may_have_taken_effect(),
            Self::LeaderMoved { was_sent } => *was_sent,
        }
    }

    /// Whether sending the same again, later or to another node, may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::NotConnected(error) => error.is_retriable(),
            Self::Connection(error) => error.is_retriable(),
            Self::LeaderMoved { .. } => true,
        }
    }
}

impl Error {
    /// Whether sending the record again may succeed. It may also write it twice:
    /// see [`may_have_been_written`](Self::may_have_been_written).
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::BufferExhausted { .. }
            | Self::TopicUnknown { .. }
            | Self::DeliveryTimedOut { .. }
            | Self::RefusedWithBatch { .. }
            | Self::LeftOut { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            Self::Topic { source, .. } => source.is_retriable(),
            Self::NoAnswer { source, .. } => source.is_retriable(),
            Self::Undelivered { first, .. } => first.is_retriable(),
            Self::InvalidSetting { .. }
            | Self::UnknownSetting { .. }
            | Self::InvalidRecord { .. }
            | Self::RecordTooLarge { .. }
            | Self::NoSuchPartition { .. }
            | Self::Closed { .. }
            | Self::NoRuntime
            | Self::Encode { .. } => false,
        }
    }

    /// Whether the record may stand in its partition in spite of the error, so that sending it again could write it
    /// twice.
    pub fn may_have_been_written(&self) -> bool {
        match self {
            Self::Closed { may_have_been_written }
            | Self::DeliveryTimedOut { may_have_been_written, .. }
            | Self::Refused { may_have_been_written, .. }
            | Self::RefusedWithBatch { may_have_been_written, .. }
            | Self::NoAnswer { may_have_been_written, .. }
            | Self::LeftOut { may_have_been_written, .. } => *may_have_been_written,
            Self::Undelivered { first, .. } => first.may_have_been_written(),
            Self::InvalidSetting { .. }
            | Self::UnknownSetting { .. }
            | Self::InvalidRecord { .. }
            | Self::RecordTooLarge { .. }
            | Self::BufferExhausted { .. }
            | Self::TopicUnknown { .. }
            | Self::Topic { .. }
            | Self::NoSuchPartition { .. }
            | Self::NoRuntime
            | Self::Encode { .. } => false,
        }
    }

    /// The same error, of a record that an earlier attempt may have written.
    pub(crate) fn with_possible_write(mut self) -> Self {
        if let Self::Closed { may_have_been_written }
        | Self::DeliveryTimedOut { may_have_been_written, .. }
        | Self::Refused { may_have_been_written, .. }
        | Self::RefusedWithBatch { may_have_been_written, .. }
        | Self::NoAnswer { may_have_been_written, .. }
        | Self::LeftOut { may_have_been_written, .. } = &mut self
        {
            *may_have_been_written = true;
        }
        self
    }

    /// The broker's error code, where a broker answered with one.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } | Self::RefusedWithBatch { code, .. } => Some(*code),
            Self::DeliveryTimedOut { source, .. } => source.as_deref().and_then(Self::error_code),
            Self::Undelivered { first, .. } => first.error_code(),
            Self::Topic { source, .. } => source.error_code(),
            Self::TopicUnknown { source, .. } => source.as_ref().and_then(|source| source.error_code()),
            _ => None,
        }
    }
}

fn written(may_have_been_written: bool) -> &'static str {
    if may_have_been_written { "; it may have been written" } else { "" }
}

fn in_words(message: Option<&str>) -> String {
    message.map_or(String::new(), |message| format!(", {message}"))
}

/// A record that was not delivered, with the reason, and the record to do something else with.
///
/// From `enqueue` and `try_enqueue`: the record was not enqueued. From `send`: see
/// [`Error::may_have_been_written`].
#[derive(Debug)]
pub struct SendError(Box<Undelivered>);

#[derive(Debug)]
struct Undelivered {
    error: Error,
    record: ProducerRecord<'static>,
}

impl SendError {
    pub(crate) fn new(error: Error, record: ProducerRecord<'_>) -> Self {
        Self(Box::new(Undelivered { error, record: record.into_owned() }))
    }

    /// Why the record was not delivered.
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// The record.
    pub fn record(&self) -> &ProducerRecord<'static> {
        &self.0.record
    }

    /// The reason and the record.
    pub fn into_parts(self) -> (Error, ProducerRecord<'static>) {
        (self.0.error, self.0.record)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(formatter)
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The error stands in for this one, so its cause is this one's.
        self.0.error.source()
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        error.0.error
    }
}
