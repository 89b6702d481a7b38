//! The Kafka producer of the Ottla client.
//!
//! A [`ProducerRecord`] that is handed to [`Producer::send`] or [`Producer::enqueue`] is copied once, by the caller's own
//! task and under one short lock, into the batch that fills for its partition. One task of the producer takes
//! batches that are full or have lingered long enough, packs those for the same broker into one request, and answers all
//! records of a batch at once. Nothing per record crosses a channel or allocates.
//!
//! Read in this order: [`Producer`], the machines (`accumulator`: what waits; `sender`: what goes where, and what an
//! answer means), `partitioner`, then `driver`, which does their I/O.
//!
//! A partition has one batch under way, so that its records stay in order when one is sent again. Until producers
//! are idempotent, a retry whose first attempt was written unseen writes its records twice.
#![forbid(unsafe_code)]

mod accumulator;
mod batch;
mod builder;
mod completion;
mod config;
mod driver;
mod error;
mod partitioner;
mod producer;
mod properties;
mod record;
mod request;
mod sender;
mod shared;

pub use builder::ProducerBuilder;
pub use completion::Delivery;
pub use config::Acks;
pub use error::{Error, SendError, SendFailure};
pub use ottla_cluster::WallClock;
pub use partitioner::Partitioner;
pub use producer::{CloseReport, Producer};
pub use record::{Payload, ProducerRecord, RecordMetadata};
