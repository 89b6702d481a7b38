//! The settings of an embedded cluster, and its start.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::{ApiKey, NodeId, VersionRange};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cluster::EmbeddedCluster;
use crate::driver::{Driver, WallClock};
use crate::error::Error;
use crate::fault::Faults;
use crate::machine::Machine;
use crate::network::Transport;
use crate::settings::Settings;
use crate::state::{ClusterState, TopicConfig};

/// How many commands of handles may wait for the cluster.
const COMMAND_QUEUE: usize = 64;

/// The most nodes: each has a port.
const MAX_NODES: i32 = 100;

/// The longest that any setting of a group may last: what Kafka's milliseconds in 32 bits hold.
const MAX_DURATION: Duration = Duration::from_hours(24 * 24);

/// Settings of an embedded cluster. Names and defaults are Kafka's where Kafka has them.
#[derive(Clone, Debug)]
#[must_use = "a cluster runs only once it is started"]
pub struct EmbeddedClusterBuilder {
    settings: Settings,
    transport: Transport,
    start_time_ms: Option<i64>,
}

impl Default for EmbeddedClusterBuilder {
    fn default() -> Self {
        Self { settings: Settings::default(), transport: Transport::Tcp { port: 0 }, start_time_ms: None }
    }
}

impl EmbeddedClusterBuilder {
    /// How many nodes; they are numbered from 0. Default: 1.
    pub fn nodes(mut self, nodes: i32) -> Self {
        self.settings.nodes = nodes;
        self
    }

    /// How clients reach the nodes. Default: TCP on free ports.
    pub fn transport(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// The racks of the nodes, one after the other, from the first again where there are fewer (`broker.rack`).
    /// Default: none.
    pub fn racks<R: Into<String>>(mut self, racks: impl IntoIterator<Item = R>) -> Self {
        self.settings.racks = racks.into_iter().map(Into::into).collect();
        self
    }

    /// Whether consumers that name their rack are sent to an in-sync replica there (KIP-392, what
    /// `replica.selector.class=RackAwareReplicaSelector` does). Default: false.
    pub fn fetch_from_closest_replica(mut self, closest: bool) -> Self {
        self.settings.fetch_from_closest_replica = closest;
        self
    }

    /// Whether a topic is made when a client asks for it that allows that (`auto.create.topics.enable`). Default: true.
    pub fn auto_create_topics(mut self, create: bool) -> Self {
        self.settings.auto_create_topics = create;
        self
    }

    /// The partitions of topics that do not say how many (`num.partitions`). Default: 1.
    pub fn default_partitions(mut self, partitions: i32) -> Self {
        self.settings.default_partitions = partitions;
        self
    }

    /// The replicas of topics that do not say how many (`default.replication.factor`). Default: 1.
    pub fn default_replication_factor(mut self, replicas: i16) -> Self {
        self.settings.default_replication_factor = replicas;
        self
    }

    /// Sets a configuration for all topics that do not set it themselves, by its topic-level name:
    /// `.topic_default("min.insync.replicas", "2")`. Default: Kafka's.
    pub fn topic_default(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.topic_defaults.insert(name.into(), value.into());
        self
    }

    /// Whether a replica that is out of sync may lead where no other is up, which loses records
    /// (`unclean.leader.election.enable`). Default: false.
    pub fn unclean_leader_election(self, unclean: bool) -> Self {
        self.topic_default("unclean.leader.election.enable", unclean.to_string())
    }

    /// How long after the leader followers have a record. Default: none, they have it at once.
    pub fn replication_delay(mut self, delay: Duration) -> Self {
        self.settings.replication_delay = delay;
        self
    }

    /// How long a follower may be behind before it leaves the in-sync replicas (`replica.lag.time.max.ms`).
    /// Default: 30 s.
    pub fn replica_lag_time_max(mut self, limit: Duration) -> Self {
        self.settings.replica_lag_time_max = limit;
        self
    }

    /// How long it takes until the death of a node is noticed and its leaders move (`broker.session.timeout.ms`).
    /// Default: none, it is noticed at once; Kafka's is 9 s.
    pub fn broker_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.broker_session_timeout = timeout;
        self
    }

    /// Whether answers to requests that went to a former leader name the new one (KIP-951). Default: true.
    pub fn leader_hints(mut self, hints: bool) -> Self {
        self.settings.leader_hints = hints;
        self
    }

    /// How many fetch sessions each node keeps (`max.incremental.fetch.session.cache.slots`); clients that get none send full
    /// requests. Default: 1000.
    pub fn fetch_session_slots(mut self, slots: usize) -> Self {
        self.settings.fetch_session_slots = slots;
        self
    }

    /// How long a group that was empty waits for more members before its first generation, again from each that comes,
    /// up to its rebalance timeout (`group.initial.rebalance.delay.ms`). Default: none; Kafka's is 3 s.
    pub fn group_initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.settings.group_initial_rebalance_delay = delay;
        self
    }

    /// The shortest session timeout that a member may ask for (`group.min.session.timeout.ms`). Default: 6 s.
    pub fn group_min_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.group_min_session_timeout = timeout;
        self
    }

    /// The longest session timeout that a member may ask for (`group.max.session.timeout.ms`). Default: 30 min.
    pub fn group_max_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.group_max_session_timeout = timeout;
        self
    }

    /// The most members of a group (`group.max.size`). Default: 2147483647, as in Kafka.
    pub fn group_max_size(mut self, members: usize) -> Self {
        self.settings.group_max_size = members;
        self
    }

    /// The most that a client may have kept with a committed offset, in UTF-16 units (`offset.metadata.max.bytes`).
    /// Default: 4096.
    pub fn offset_metadata_max_bytes(mut self, length: usize) -> Self {
        self.settings.offset_metadata_max_bytes = length;
        self
    }

    /// How long a new coordinator reads its log, and answers COORDINATOR_LOAD_IN_PROGRESS. Default: none.
    pub fn coordinator_load_time(mut self, time: Duration) -> Self {
        self.settings.coordinator_load_time = time;
        self
    }

    /// Whether nodes other than the controller refuse to create, grow and delete topics with NOT_CONTROLLER, as
    /// ZooKeeper's did. Default: false, they do it, as KRaft's do.
    pub fn only_controller_changes_topics(mut self, only: bool) -> Self {
        self.settings.only_controller_changes_topics = only;
        self
    }

    /// Has the nodes speak an API in those versions only, as older brokers do. Default: all that are implemented.
    pub fn api_versions(mut self, api: ApiKey, min: i16, max: i16) -> Self {
        self.settings.api_versions.insert(api, VersionRange::new(min, max));
        self
    }

    /// Has one node speak an API in those versions only, whatever the others do, as while a cluster is being upgraded.
    pub fn node_api_versions(mut self, node: NodeId, api: ApiKey, min: i16, max: i16) -> Self {
        self.settings.node_api_versions.insert((node, api), VersionRange::new(min, max));
        self
    }

    /// Whether every node serves every partition, and each answer to Metadata names another as its leader, as those of
    /// WarpStream's agents may. Default: false.
    pub fn leaders_take_turns(mut self, turns: bool) -> Self {
        self.settings.leaders_take_turns = turns;
        self
    }

    /// Has the nodes not know an API.
    pub fn without_api(self, api: ApiKey) -> Self {
        self.api_versions(api, 0, -1)
    }

    /// The largest request (`socket.request.max.bytes`). Default: 100 MiB.
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_frame_bytes = bytes;
        self
    }

    /// What the cluster's and the topics' ids are drawn from. Default: 0, so that every run draws the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// What the wall clock says at the start, in milliseconds since 1970; from then on it goes with tokio's clock.
    /// Default: what the system's clock says.
    pub fn start_time_ms(self, milliseconds: i64) -> Self {
        Self { start_time_ms: Some(milliseconds), ..self }
    }

    /// Starts the cluster on the current tokio runtime. When this returns, every node listens.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops whatever was started.
    #[allow(clippy::unused_async, reason = "needs a runtime, and may come to wait for its nodes")]
    pub async fn start(self) -> Result<EmbeddedCluster, Error> {
        self.check()?;
        let mut endpoints = BTreeMap::new();
        for node in (0..self.settings.nodes).map(NodeId) {
            let failed = |(address, source)| Error::Listen { node, address, source };
            endpoints.insert(node, self.transport.endpoint(node).map_err(failed)?);
        }
        let addresses: BTreeMap<_, _> = endpoints.iter().map(|(node, endpoint)| (*node, endpoint.address())).collect();
        let state = ClusterState::new(self.settings, addresses.clone());
        let clock = WallClock::starting_at(self.start_time_ms.unwrap_or_else(system_time_ms));
        let faults = Faults::default();
        let (sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let mut driver = Driver::new(Machine::new(state), clock, endpoints, faults.clone(), commands);
        driver.listen()?;
        let mut task = JoinSet::new();
        task.spawn(driver.run());
        Ok(EmbeddedCluster::new(addresses, self.transport.connector(), faults, sender, task))
    }

    fn check(&self) -> Result<(), Error> {
        let settings = &self.settings;
        if !(1..=MAX_NODES).contains(&settings.nodes) {
            return Err(refused("nodes", settings.nodes, "there are 1 to 100 nodes"));
        }
        if settings.default_partitions < 1 {
            return Err(refused("default_partitions", settings.default_partitions, "a topic has at least one"));
        }
        let factor = settings.default_replication_factor;
        if factor < 1 || i32::from(factor) > settings.nodes {
            return Err(refused(
                "default_replication_factor",
                factor,
                "there is one replica to as many as there are nodes",
            ));
        }
        let longest = [
            ("group_initial_rebalance_delay", settings.group_initial_rebalance_delay),
            ("group_max_session_timeout", settings.group_max_session_timeout),
            ("coordinator_load_time", settings.coordinator_load_time),
        ];
        for (setting, duration) in longest {
            if duration > MAX_DURATION {
                return Err(refused(setting, format!("{duration:?}"), "nothing takes longer than 24 days"));
            }
        }
        TopicConfig::new(settings.topic_defaults.clone(), &BTreeMap::new()).map_err(|_| {
            refused(
                "topic_default",
                format!("{:?}", settings.topic_defaults),
                "Kafka has no such topic configuration, or no such value for it",
            )
        })?;
        Ok(())
    }
}

fn refused(setting: &'static str, value: impl std::fmt::Display, reason: &'static str) -> Error {
    Error::Setting { setting, value: value.to_string(), reason }
}

/// The one look at the system's clock, for those who do not say what time it is.
#[allow(clippy::disallowed_methods, reason = "only where the builder was not told the time")]
fn system_time_ms() -> i64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
