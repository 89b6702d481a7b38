//! What a cluster is told when it is made.

use std::sync::Arc;
use std::time::Duration;

use ottla_connection::{Address, Connector};
use ottla_wire::DEFAULT_MAX_FRAME_BYTES;
use tokio::runtime::Handle;

/// The settings of a [`Cluster`](crate::Cluster). Names and defaults are Kafka's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// Where to ask first. All are tried, in an order drawn from the seed, until one answers. `bootstrap.servers`.
    pub bootstrap_servers: Vec<Address>,
    /// Who is asking, sent with each request. `client.id`; `None` by default.
    pub client_id: Option<Arc<str>>,
    /// The client library's name and version, told to each broker (KIP-511).
    pub client_software: (Arc<str>, Arc<str>),
    /// Metadata older than this is asked for anew. `metadata.max.age.ms`; 5 minutes by default.
    pub metadata_max_age: Duration,
    /// A topic that nobody has asked about for this long is no longer kept fresh, and forgotten.
    /// `metadata.max.idle.ms`; 5 minutes by default.
    pub metadata_max_idle: Duration,
    /// When to bootstrap again. `metadata.recovery.strategy`; rebootstrap by default.
    pub metadata_recovery_strategy: MetadataRecoveryStrategy,
    /// How long metadata may fail to come before the known brokers are given up and the bootstrap servers asked again
    /// (KIP-1102). `metadata.recovery.rebootstrap.trigger.ms`; 5 minutes by default.
    pub metadata_recovery_rebootstrap_trigger: Duration,
    /// Whether asking about a topic that does not exist may make it, where the broker allows that.
    /// `allow.auto.create.topics`; false by default.
    pub allow_auto_create_topics: bool,
    /// The delay after a first failure. `retry.backoff.ms`; 100 ms by default.
    pub retry_backoff: Duration,
    /// The longest delay between attempts. `retry.backoff.max.ms`; 1 s by default.
    pub retry_backoff_max: Duration,
    /// The delay before connecting again to a node that could not be connected to. `reconnect.backoff.ms`; 50 ms by
    /// default.
    pub reconnect_backoff: Duration,
    /// The longest such delay. `reconnect.backoff.max.ms`; 1 s by default.
    pub reconnect_backoff_max: Duration,
    /// How long a request waits for its answer. `request.timeout.ms`; 30 s by default.
    pub request_timeout: Duration,
    /// How long an operation that retries may take as a whole. `default.api.timeout.ms`; 60 s by default.
    pub default_api_timeout: Duration,
    /// How long connecting to one address may take. `socket.connection.setup.timeout.ms`; 10 s by default. A connector
    /// of one's own has its own limits.
    pub socket_connection_setup_timeout: Duration,
    /// How long connecting may take, over all addresses of a name. `socket.connection.setup.timeout.max.ms`; 30 s by
    /// default.
    pub socket_connection_setup_timeout_max: Duration,
    /// Connections without requests for this long are closed. `connections.max.idle.ms`; 9 minutes by default.
    pub connections_max_idle: Duration,
    /// How many requests may be in flight on a connection. `max.in.flight.requests.per.connection`; 5 by default.
    pub max_in_flight_requests: usize,
    /// The longest frame accepted from a broker, in bytes. 100 MiB by default.
    pub max_frame_bytes: usize,
    /// How connections are made. `None`, the default: over TCP.
    pub connector: Option<Arc<dyn Connector>>,
    /// Where all randomness (jitter, choice of broker) comes from. `None`, the default: from the system.
    pub seed: Option<u64>,
    /// The runtime that the tasks run on. `None`, the default: the one that is current when the cluster is first used.
    pub runtime: Option<Handle>,
}

/// What to do when no known broker answers (KIP-899).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataRecoveryStrategy {
    /// Go on asking the brokers that are known.
    None,
    /// Forget them and start from the bootstrap servers.
    #[default]
    Rebootstrap,
}

impl ClusterConfig {
    /// Kafka's defaults, for the cluster behind `bootstrap_servers`.
    pub fn new(bootstrap_servers: impl IntoIterator<Item = Address>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into_iter().collect(),
            client_id: None,
            client_software: ("ottla".into(), env!("CARGO_PKG_VERSION").into()),
            metadata_max_age: Duration::from_mins(5),
            metadata_max_idle: Duration::from_mins(5),
            metadata_recovery_strategy: MetadataRecoveryStrategy::default(),
            metadata_recovery_rebootstrap_trigger: Duration::from_mins(5),
            allow_auto_create_topics: false,
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            request_timeout: Duration::from_secs(30),
            default_api_timeout: Duration::from_mins(1),
            socket_connection_setup_timeout: Duration::from_secs(10),
            socket_connection_setup_timeout_max: Duration::from_secs(30),
            connections_max_idle: Duration::from_mins(9),
            max_in_flight_requests: 5,
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            connector: None,
            seed: None,
            runtime: None,
        }
    }
}

macro_rules! setters {
    ($($name:ident: $type:ty,)*) => {
        impl ClusterConfig {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }
    };
}

setters! {
    client_software: (Arc<str>, Arc<str>),
    metadata_max_age: Duration,
    metadata_max_idle: Duration,
    metadata_recovery_strategy: MetadataRecoveryStrategy,
    metadata_recovery_rebootstrap_trigger: Duration,
    allow_auto_create_topics: bool,
    retry_backoff: Duration,
    retry_backoff_max: Duration,
    reconnect_backoff: Duration,
    reconnect_backoff_max: Duration,
    request_timeout: Duration,
    default_api_timeout: Duration,
    socket_connection_setup_timeout: Duration,
    socket_connection_setup_timeout_max: Duration,
    connections_max_idle: Duration,
    max_in_flight_requests: usize,
    max_frame_bytes: usize,
}

impl ClusterConfig {
    /// Sets [`client_id`](Self#structfield.client_id).
    pub fn client_id(mut self, client_id: impl Into<Arc<str>>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Sets [`connector`](Self#structfield.connector).
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = Some(connector);
        self
    }

    /// Sets [`seed`](Self#structfield.seed).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets [`runtime`](Self#structfield.runtime).
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }
}
