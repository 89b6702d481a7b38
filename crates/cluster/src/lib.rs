//! A Kafka cluster as a client sees it: bootstrap, metadata, routing, connection pool, retry and back-off.
//!
//! [`Cluster`] is a cheap clone. One task behind it owns what is known: it bootstraps, keeps the metadata fresh, and
//! keeps one connection per node and [`ConnectionRole`]. It starts with the first use and ends with the last clone or
//! with [`Cluster::close`].
//!
//! Read in this order: [`Cluster`], [`Metadata`] and `metadata::merge` (what an answer changes), `refresh` (when to
//! ask), `pool`, then `driver`.
#![forbid(unsafe_code)]

mod backoff;
mod bootstrap;
mod cluster;
mod config;
mod driver;
mod error;
mod first_answer;
mod invalid_setting;
mod metadata;
mod pool;
mod reachability;
mod refresh;
mod supervision;
mod wall_clock;

pub use backoff::Backoff;
pub use cluster::{Cluster, ConnectionRole, Destination, KeptTopics};
pub use config::{ClusterConfig, MetadataRecoveryStrategy};
pub use error::{BootstrapFailure, Error};
pub use first_answer::LATE;
pub use invalid_setting::InvalidSetting;
pub use metadata::{Broker, Leader, Metadata, PartitionMetadata, TopicMetadata, Topics};
pub use ottla_connection::{Address, Connection, Connector, clock, watch};
pub use supervision::{Supervision, Woken};
pub use wall_clock::WallClock;
