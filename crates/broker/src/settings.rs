//! What an embedded cluster is told before it starts, and what a node loses when it is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::{ApiKey, NodeId, VersionRange};

/// What a node that is killed no longer has when it comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Nothing: the process died, its disk did not.
    #[default]
    Nothing,
    /// What stands beyond the high watermark: records that had not reached every in-sync replica.
    Unreplicated,
    /// So many of the last batches of every partition, replicated or not: what had not reached the disk.
    LastBatches(usize),
    /// Everything: it comes back with an empty disk.
    Everything,
}

/// The settings of a cluster, as its builder collects them.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "settings that are on or off, each by its name")]
pub(crate) struct Settings {
    pub(crate) nodes: i32,
    pub(crate) racks: Vec<String>,
    pub(crate) auto_create_topics: bool,
    pub(crate) default_partitions: i32,
    pub(crate) default_replication_factor: i16,
    /// Topic configurations that differ from Kafka's defaults for topics that do not set them.
    pub(crate) topic_defaults: BTreeMap<String, String>,
    pub(crate) replication_delay: Duration,
    pub(crate) replica_lag_time_max: Duration,
    pub(crate) broker_session_timeout: Duration,
    pub(crate) fetch_from_closest_replica: bool,
    pub(crate) leader_hints: bool,
    pub(crate) fetch_session_slots: usize,
    pub(crate) group_initial_rebalance_delay: Duration,
    pub(crate) group_min_session_timeout: Duration,
    pub(crate) group_max_session_timeout: Duration,
    pub(crate) group_max_size: usize,
    pub(crate) offset_metadata_max_bytes: usize,
    pub(crate) coordinator_load_time: Duration,
    pub(crate) only_controller_changes_topics: bool,
    /// Versions other than all that are implemented; an empty range is an API that the brokers do not have.
    pub(crate) api_versions: BTreeMap<ApiKey, VersionRange>,
    /// What single nodes speak instead.
    pub(crate) node_api_versions: BTreeMap<(NodeId, ApiKey), VersionRange>,
    pub(crate) leaders_take_turns: bool,
    pub(crate) max_frame_bytes: usize,
    pub(crate) seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: 1,
            racks: Vec::new(),
            auto_create_topics: true,
            default_partitions: 1,
            default_replication_factor: 1,
            topic_defaults: BTreeMap::new(),
            replication_delay: Duration::ZERO,
            replica_lag_time_max: Duration::from_secs(30),
            broker_session_timeout: Duration::ZERO,
            fetch_from_closest_replica: false,
            leader_hints: true,
            fetch_session_slots: 1000,
            group_initial_rebalance_delay: Duration::ZERO,
            group_min_session_timeout: Duration::from_secs(6),
            group_max_session_timeout: Duration::from_mins(30),
            group_max_size: i32::MAX as usize,
            offset_metadata_max_bytes: 4096,
            coordinator_load_time: Duration::ZERO,
            only_controller_changes_topics: false,
            api_versions: BTreeMap::new(),
            node_api_versions: BTreeMap::new(),
            leaders_take_turns: false,
            max_frame_bytes: ottla_wire::DEFAULT_MAX_FRAME_BYTES,
            seed: 0,
        }
    }
}
