//! An embedded Kafka broker of several nodes, for tests, examples and fault simulation.
//!
//! ```
//! use ottla_broker::{EmbeddedCluster, Fault, Loss};
//! use ottla_wire::{ApiKey, NodeId};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = EmbeddedCluster::builder().nodes(3).start().await?;
//! cluster.create_topic("orders", 12, 3).await?;
//!
//! // Any Kafka client can use it now, over TCP: Java's, librdkafka, or Ottla with `cluster.connector()`.
//! println!("bootstrap.servers={}", cluster.bootstrap_servers());
//!
//! // And this is how its bad days are made.
//! cluster.faults().inject(Fault::close_connection().on_api(ApiKey::Produce).after_handling());
//! let leader = cluster.describe_partition("orders", 0).await?.leader.expect("all nodes are up");
//! cluster.kill_node(leader, Loss::Unreplicated).await?;
//! assert_ne!(cluster.describe_partition("orders", 0).await?.leader, Some(leader));
//! cluster.start_node(leader).await?;
//!
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! With [`Transport::Memory`] nothing leaves the process: under `#[tokio::test(start_paused = true)]` time jumps, and a
//! run with the same seed and start time repeats exactly.
//!
//! A topic that is [replayed](Replay) is answered from batches that were prepared once, over and over, so that whatever reads
//! it is measured, and not the brokers.
//!
//! What it is: brokers that answer as Kafka's do, in every version of an API that they list, wherever a client can see
//! it; elections, in-sync replicas, leader epochs, high watermarks and what a crash loses, by Kafka's rules; classic
//! consumer groups, whose coordinators lead the partitions of `__consumer_offsets` and write there what Kafka's do;
//! incremental fetch sessions. What it is not: durable (everything is in memory, and nothing expires), secured, or
//! reachable from another machine (it listens on loopback only). It has no transactions yet.
//!
//! # What it serves
//!
//! Every version that Kafka 4.3 has of these, those without compact fields included:
//!
//! | API | versions | |
//! |---|---|---|
//! | Produce | 3 to 13 | idempotent producers; 0 to 2 are listed, as by Kafka, and refused |
//! | Fetch | 4 to 18 | sessions, the closest replica, leader hints |
//! | ListOffsets | 1 to 11 | |
//! | Metadata | 0 to 13 | |
//! | OffsetCommit | 2 to 10 | |
//! | OffsetFetch | 1 to 10 | |
//! | FindCoordinator | 0 to 6 | |
//! | JoinGroup | 0 to 9 | static members |
//! | Heartbeat | 0 to 4 | |
//! | LeaveGroup | 0 to 5 | |
//! | SyncGroup | 0 to 5 | |
//! | DescribeGroups | 0 to 6 | |
//! | ListGroups | 0 to 5 | filters of states and types |
//! | ApiVersions | 0 to 4 | |
//! | CreateTopics | 2 to 7 | |
//! | DeleteTopics | 1 to 6 | |
//! | DeleteRecords | 0 to 2 | |
//! | InitProducerId | 0 to 5 | without transactions |
//! | OffsetForLeaderEpoch | 2 to 4 | |
//! | DescribeConfigs | 1 to 4 | of topics; brokers and groups have none |
//! | AlterConfigs | 0 to 2 | of topics |
//! | CreatePartitions | 0 to 3 | |
//! | DeleteGroups | 0 to 2 | |
//! | IncrementalAlterConfigs | 0 to 1 | of topics |
//! | OffsetDelete | 0 to 0 | |
//! | DescribeCluster | 0 to 2 | |
//!
//! # Who has been seen at work with it
//!
//! Over TCP, beside Ottla (`crates/cli/tests/other_clients`): they write with every codec and by their own defaults, share
//! groups, commit and go on, administer topics and groups, and read what all others wrote.
//!
//! | client | |
//! |---|---|
//! | Java 4.3.0, 3.9.1 and 3.3.2 | by Kafka's tools: console, verifiable and performance, topics, configs, consumer groups, offsets, records, API versions |
//! | librdkafka 2.16 | by confluent-kafka |
//! | franz-go 1.22, sarama 1.61, kafka-python 3.0, aiokafka 0.14 | |
//!
//! # Inside
//!
//! `machine` decides without I/O on the `state`, `api` has an API a file, `group` is one consumer group, `fetch_session` what
//! a client reads, `log` holds a partition's bytes, `fault` says what goes wrong and `alteration` what is answered
//! otherwise; `driver`, `node`, `frames` and `network` do the I/O.
#![forbid(unsafe_code)]

mod alteration;
mod api;
mod builder;
mod cluster;
mod driver;
mod error;
mod fault;
mod fetch_session;
mod frames;
mod group;
mod groups;
mod log;
mod machine;
mod network;
mod node;
mod records;
mod settings;
mod state;
#[cfg(test)]
mod test_cluster;

pub use builder::EmbeddedClusterBuilder;
pub use cluster::{EmbeddedCluster, PartitionDescription};
pub use error::Error;
pub use fault::{Fault, FaultId, Faults};
pub use group::{CommittedOffset, GroupDescription, GroupState, MemberDescription};
pub use log::Replay;
pub use network::Transport;
pub use settings::Loss;
