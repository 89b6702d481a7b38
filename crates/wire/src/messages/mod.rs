//! The messages written by hand, an API a file: fields in the schema's order, the versions that carry each visible.
//!
//! Field names are Kafka's, in Rust's case. Values stand as they do on the wire (-1 for "none"), so that every message
//! reads back byte for byte; the crates above turn them into `Option`s. The files are tables: see `macros` for how
//! to read one.

pub(crate) mod macros;

mod alter_configs;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_configs;
mod describe_groups;
mod fetch;
mod fetch_partition;
mod fetch_view;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod metadata_partition;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod produce_partition;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;
mod topics;

pub use alter_configs::*;
pub use api_versions::*;
pub use create_partitions::*;
pub use create_topics::*;
pub use delete_groups::*;
pub use delete_records::*;
pub use delete_topics::*;
pub use describe_configs::*;
pub use describe_groups::*;
pub use fetch::*;
pub use fetch_partition::{FetchPartition, FollowerPartition};
pub use fetch_view::{AbortedTransactions, FetchResponseView, FetchedPartition, FetchedPartitions, FetchedTopic};
pub use find_coordinator::*;
pub use heartbeat::*;
pub use incremental_alter_configs::*;
pub use init_producer_id::*;
pub use join_group::*;
pub use leave_group::*;
pub use list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
pub use list_offsets::*;
pub use metadata::*;
pub use metadata_partition::{MetadataPartition, PartitionReplicas};
pub use offset_commit::*;
pub use offset_delete::*;
pub use offset_fetch::*;
pub use offset_for_leader_epoch::*;
pub use produce::*;
pub use produce_partition::{BatchIndexAndErrorMessage, ProducePartitionResponse, Refusal};
pub use sasl_authenticate::*;
pub use sasl_handshake::*;
pub use sync_group::*;
pub use topics::{LeaderIdAndEpoch, NodeEndpoint};
