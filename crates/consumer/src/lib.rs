//! The Kafka consumer of the Ottla client.
//!
//! A [`Consumer`] is told which partitions to read and from where, and polls batches of records; its
//! [`ConsumerHandle`] does everything else from any task. What comes, and how, is the `fetcher` crate's: whole batches,
//! owned, whose records borrow from them.
//!
//! Read in this order: [`ConsumerBuilder`], [`Consumer`], [`ConsumerHandle`].
#![forbid(unsafe_code)]

mod builder;
mod consumer;
mod error;
mod handle;

pub use builder::ConsumerBuilder;
pub use consumer::Consumer;
pub use error::Error;
pub use handle::ConsumerHandle;
pub use ottla_fetcher::{
    AutoOffsetReset, Batch, Batches, CorruptRecord, Error as FetchError, Header, Headers, InvalidSetting,
    IsolationLevel, Lookup, OffsetAndTimestamp, OwnedRecord, Record, Records, StartAt, TimestampType,
};
pub use ottla_wire::TopicPartition;
