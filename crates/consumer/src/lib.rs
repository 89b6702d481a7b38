//! The Kafka consumer of the Ottla client.
//!
//! A [`Consumer`] subscribes to topics, whose partitions its group shares out, or is told which partitions to read, and
//! polls batches of records; its [`ConsumerHandle`] does everything else from any task. What comes, and how, is the
//! `fetcher` crate's: whole batches, owned, whose records borrow from them. Who gets what, and what is committed, is the
//! `coordinator` crate's. This crate joins the two, and they know nothing of each other: assignments go from the one to the
//! other, and how far the application has come goes back.
//!
//! # Reading the code
//!
//! [`ConsumerBuilder`], [`Consumer`] (and `closing`), [`ConsumerHandle`]; then `rebalance`, the steps from an event of the group to the next
//! record. Without I/O: [`subscription`] (topics or partitions), [`topic_pattern`] (which topics match), [`marks`] (what is done with of what was handed out
//! piece by piece), [`auto_commit`] (when, and what has moved). Ways to read beside polls: [`RecordStream`],
//! [`PartitionStreams`], [`Consumer::run`], and, up to an end, [`BoundedRead`].
#![forbid(unsafe_code)]

mod auto_commit;
mod background;
mod bounded;
mod builder;
mod closing;
mod commit;
mod consumer;
mod error;
mod handle;
mod iso_duration;
mod listener;
mod marks;
mod partition_stream;
mod properties;
mod rebalance;
mod run;
mod shared;
mod stream;
mod subscription;
mod topic_pattern;

pub use background::BackgroundError;
pub use bounded::{BoundedRead, BoundedStream, PartitionProgress, ReadProgress, ReadRange};
pub use builder::ConsumerBuilder;
pub use commit::Commit;
pub use consumer::Consumer;
pub use error::Error;
pub use handle::ConsumerHandle;
pub use listener::{AssignmentChange, ListenerResult, RebalanceListener};
pub use ottla_cluster::InvalidSetting;
pub use ottla_coordinator::assignor;
pub use ottla_coordinator::{
    Assigned, AssignedMember, Error as GroupError, GroupMetadata, LostReason, OffsetAndMetadata, RebalanceReason,
};
pub use ottla_fetcher::{
    AutoOffsetReset, Batch, Batches, CorruptRecord, DivergingOffset, Error as FetchError, FetchMemory, FetchMetrics,
    FetchTotals, Header, Headers, IsolationLevel, Lookup, OffsetAndTimestamp, OnTruncation, OwnedRecord, Record,
    Records, StartAt, TimestampType, WallClock,
};
pub use ottla_wire::TopicPartition;
pub use partition_stream::{PartitionStream, PartitionStreams};
pub use run::HandlerResult;
pub use stream::{ConsumerRecord, RecordStream};
