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
//! What it is: brokers that answer as Kafka's do, in every version of an API that they list, wherever a client can see
//! it; elections, in-sync replicas, leader epochs, high watermarks and what a crash loses, by Kafka's rules; classic
//! consumer groups, whose coordinators lead the partitions of `__consumer_offsets` and write there what Kafka's do. What
//! it is not: durable (everything is in memory, and nothing expires), secured, or reachable from another machine (it
//! listens on loopback only). It has no transactions yet.
//!
//! Inside: `machine` decides without I/O on the `state`, `api` has an API a file, `group` is one consumer group, `log`
//! holds a partition's bytes, `fault` says what goes wrong and `alteration` what is answered otherwise; `driver`, `node` and `network` do the I/O.
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
pub use network::Transport;
pub use settings::Loss;
