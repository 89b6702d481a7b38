//! Ottla: a pure-Rust Kafka client. Consumer, producer and administration, with no C in the build.
//!
//! Everything begins with a [`Client`], which knows where the cluster is. Building one connects to nothing; producers,
//! consumers and administration made from it share its connections and what it learns of the cluster.
//!
//! ```
//! use std::time::Duration;
//! use ottla::admin::NewTopic;
//! use ottla::{AutoOffsetReset, Client, Compression, ProducerRecord};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = ottla_broker::EmbeddedCluster::builder().start().await?;
//! # let bootstrap_servers = cluster.bootstrap_servers();
//! let client = Client::builder().bootstrap_servers(bootstrap_servers).client_id("greeter").build()?;
//! client.admin().create_topics([NewTopic::new("greetings", 3, 1)]).await?.all()?;
//!
//! let producer = client.producer().compression(Compression::Lz4).build()?;
//! let written = producer.send(ProducerRecord::new("greetings").key("en").value("hello").header("to", "world")).await?;
//! println!("written to {} at offset {:?}", written.topic_partition, written.offset);
//! producer.close(Duration::from_secs(10)).await;
//!
//! let earliest = AutoOffsetReset::Earliest;
//! let mut consumer = client.consumer().group_id("readers").auto_offset_reset(earliest).build()?;
//! consumer.subscribe(["greetings"])?;
//! let mut greeting = None;
//! while greeting.is_none() {
//!     for batch in &consumer.poll(Duration::from_secs(1)).await? {
//!         for record in batch.records() {
//!             greeting = record?.value().map(<[u8]>::to_vec); // borrowed from the batch, copied here
//!         }
//!     }
//! }
//! assert_eq!(greeting.as_deref(), Some(&b"hello"[..]));
//! consumer.close().await?;
//! client.close().await;
//! # cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! | for | look at |
//! |---|---|
//! | writing records | [`Producer`], [`ProducerBuilder`], [`ProducerRecord`] |
//! | reading records, alone or in a group | [`Consumer`], [`ConsumerBuilder`], [`Batches`] |
//! | all that a topic has now, or of a time | [`ConsumerBuilder::read_bounded`], [`ReadRange`] |
//! | a task for each partition | [`Consumer::run`], [`PartitionStream`] |
//! | memory in use, and what was fetched for what was delivered | [`ConsumerHandle::fetch_metrics`] |
//! | committing offsets | [`ConsumerHandle::commit_sync`] and those beside it, [`OffsetAndMetadata`] |
//! | being told of rebalances | [`RebalanceListener`] |
//! | assignors | [`consumer::assignor`] |
//! | topics and partitions | [`Admin`], [`admin`] |
//! | Kafka's textual settings | [`Client::from_properties`] |
//!
//! Settings bear Kafka's names and defaults: `linger.ms` is [`linger`](ProducerBuilder::linger). Drivers are tokio tasks; on
//! a current-thread runtime an application that blocks its thread blocks them, heartbeats included, unless they have a
//! [runtime](ClientBuilder::runtime) of their own.
#![forbid(unsafe_code)]

mod client;
mod error;
mod properties;

pub use client::{BootstrapServers, Client, ClientBuilder};
pub use error::BuildError;

/// Administration: topics and partitions.
pub use ottla_admin as admin;
/// Reading records.
pub use ottla_consumer as consumer;
/// Writing records.
pub use ottla_producer as producer;

pub use ottla_admin::Admin;
pub use ottla_cluster::{Address, Cluster, Connector, MetadataRecoveryStrategy};
pub use ottla_consumer::{
    AssignmentChange, AutoOffsetReset, Batch, Batches, BoundedRead, BoundedStream, Consumer, ConsumerBuilder,
    ConsumerHandle, ConsumerRecord, CorruptRecord, DivergingOffset, FetchMemory, FetchMetrics, FetchTotals,
    GroupMetadata, IsolationLevel, ListenerResult, Lookup, OffsetAndMetadata, OffsetAndTimestamp, OnTruncation,
    OwnedRecord, PartitionProgress, PartitionStream, ReadProgress, ReadRange, RebalanceListener, Record, Records,
    StartAt, TimestampType, WallClock,
};
pub use ottla_producer::{
    Acks, CloseReport, Delivery, Partitioner, Producer, ProducerBuilder, ProducerRecord, RecordMetadata, SendError,
};
pub use ottla_wire::compression::{Compression, CompressionLevel};
pub use ottla_wire::{ErrorCode, GenerationId, LeaderEpoch, NodeId, Offset, TopicId, TopicPartition};
