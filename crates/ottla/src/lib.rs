//! A pure-Rust Kafka client: consumer, producer and admin, with no C in the build.
#![forbid(unsafe_code)]

mod client;
mod error;
mod properties;

pub use client::{BootstrapServers, Client, ClientBuilder};
pub use error::BuildError;

pub use ottla_admin as admin;
pub use ottla_admin::Admin;
pub use ottla_cluster::{Address, Cluster, Connector, MetadataRecoveryStrategy};
pub use ottla_consumer as consumer;
pub use ottla_consumer::{
    AutoOffsetReset, Batch, Batches, Consumer, ConsumerBuilder, ConsumerHandle, CorruptRecord, IsolationLevel, Lookup,
    OffsetAndTimestamp, OwnedRecord, Record, Records, StartAt, TimestampType,
};
pub use ottla_producer as producer;
pub use ottla_producer::{
    Acks, CloseReport, Delivery, Partitioner, Producer, ProducerBuilder, ProducerRecord, RecordMetadata, SendError,
};
pub use ottla_wire::compression::{Compression, CompressionLevel};
pub use ottla_wire::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicId, TopicPartition};
