//! The client: one cluster, from which producers, consumers and administration are made.

use std::sync::Arc;
use std::time::Duration;

use ottla_admin::Admin;
use ottla_cluster::{Address, Cluster, ClusterConfig, Connector, MetadataRecoveryStrategy};
use ottla_consumer::ConsumerBuilder;
use ottla_producer::ProducerBuilder;
use tokio::runtime::Handle;

use crate::{BuildError, properties};

/// A Kafka cluster, and how it is talked to. Cloning it gives another handle to the same one.
///
/// Producers, consumers and administration made from one client share its connections and its metadata.
#[derive(Clone, Debug)]
pub struct Client {
    cluster: Cluster,
    properties: Arc<[(String, String)]>,
}

impl Client {
    /// Begins with Kafka's defaults; [`bootstrap_servers`](ClientBuilder::bootstrap_servers) must be set.
    pub fn builder() -> ClientBuilder {
        ClientBuilder { config: ClusterConfig::new([]), bootstrap: Ok(()), properties: Vec::new() }
    }

    /// A client by the textual names of Kafka's settings, as in a properties file: of the client, of producers and of
    /// consumers. A name that none of them has is an error, also if Kafka has it: nothing is ignored.
    ///
    /// ```
    /// let client = ottla::Client::from_properties([("bootstrap.servers", "localhost:9092"), ("linger.ms", "20")])?;
    /// let error = ottla::Client::from_properties([("linger", "20")]).unwrap_err();
    /// assert_eq!(error.to_string(), "there is no setting \"linger\"");
    /// # Ok::<(), ottla::BuildError>(())
    /// ```
    pub fn from_properties<N, V>(properties: impl IntoIterator<Item = (N, V)>) -> Result<Self, BuildError>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut builder = Self::builder();
        for (name, value) in properties {
            builder = builder.property(name.as_ref(), value.as_ref())?;
        }
        builder.build()
    }

    /// Begins a producer.
    pub fn producer(&self) -> ProducerBuilder {
        properties::apply_to_producer(ProducerBuilder::new(self.cluster.clone()), &self.properties)
    }

    /// Begins a consumer.
    pub fn consumer(&self) -> ConsumerBuilder {
        properties::apply_to_consumer(ConsumerBuilder::new(self.cluster.clone()), &self.properties)
    }

    /// Administration: topics and partitions.
    pub fn admin(&self) -> Admin {
        Admin::new(self.cluster.clone())
    }

    /// What the client knows of the cluster, and its connections, for what the parts above do not cover.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Closes all connections in an orderly way. Producers and consumers are closed first, each by its own `close`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the closing to go on in the background.
    pub async fn close(&self) {
        self.cluster.close().await;
    }
}

/// Makes a [`Client`]. Names and defaults are Kafka's.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    config: ClusterConfig,
    bootstrap: Result<(), BuildError>,
    properties: Vec<(String, String)>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        impl ClientBuilder {
            $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self {
                self.config = self.config.$name($name);
                self
            })*
        }
    };
}

setters! {
    /// Whether asking about a topic that does not exist may make it, where the broker allows that.
    /// `allow.auto.create.topics`; false by default.
    allow_auto_create_topics: bool,
    /// Connections without requests for this long are closed. `connections.max.idle.ms`; 9 minutes by default.
    connections_max_idle: Duration,
    /// How connections are made: over TCP by default.
    connector: Arc<dyn Connector>,
    /// How long an operation that retries may take as a whole. `default.api.timeout.ms`; 1 minute by default.
    default_api_timeout: Duration,
    /// The longest frame accepted from a broker, in bytes. 100 MiB by default.
    max_frame_bytes: usize,
    /// Metadata older than this is asked for anew. `metadata.max.age.ms`; 5 minutes by default.
    metadata_max_age: Duration,
    /// A topic that nobody has asked about for this long is forgotten. `metadata.max.idle.ms`; 5 minutes by default.
    metadata_max_idle: Duration,
    /// How long metadata may fail to come before the bootstrap servers are asked again (KIP-1102).
    /// `metadata.recovery.rebootstrap.trigger.ms`; 5 minutes by default.
    metadata_recovery_rebootstrap_trigger: Duration,
    /// What to do when no known broker answers (KIP-899). `metadata.recovery.strategy`; bootstrap again by default.
    metadata_recovery_strategy: MetadataRecoveryStrategy,
    /// The delay before connecting again to a node that could not be connected to. `reconnect.backoff.ms`; 50 ms by
    /// default.
    reconnect_backoff: Duration,
    /// The longest such delay. `reconnect.backoff.max.ms`; 1 s by default.
    reconnect_backoff_max: Duration,
    /// How long a request waits for its answer. `request.timeout.ms`; 30 s by default.
    request_timeout: Duration,
    /// The delay after a first failure. `retry.backoff.ms`; 100 ms by default.
    retry_backoff: Duration,
    /// The longest delay between attempts. `retry.backoff.max.ms`; 1 s by default.
    retry_backoff_max: Duration,
    /// The runtime that the client's tasks run on. The one that is current when it is first used, by default. One of its
    /// own keeps them going while the application blocks its threads.
    runtime: Handle,
    /// Where all randomness comes from, so that a test replays. From the system by default.
    seed: u64,
    /// How long connecting to one address may take. `socket.connection.setup.timeout.ms`; 10 s by default.
    socket_connection_setup_timeout: Duration,
    /// How long connecting may take, over all addresses of a name. `socket.connection.setup.timeout.max.ms`; 30 s by
    /// default.
    socket_connection_setup_timeout_max: Duration,
}

impl ClientBuilder {
    /// The names of the client's own settings. [`property`](Self::property) also takes those of
    /// [producers](ProducerBuilder::PROPERTIES) and [consumers](ConsumerBuilder::PROPERTIES).
    pub const PROPERTIES: &'static [&'static str] = properties::OF_CLIENT;

    /// Where to ask first: `host:port`, several in one text with commas between them or as a list.
    /// `bootstrap.servers`; must be set.
    pub fn bootstrap_servers(mut self, servers: impl Into<BootstrapServers>) -> Self {
        let addresses: Result<Vec<Address>, BuildError> = servers.into().addresses();
        self.bootstrap = addresses.map(|addresses| self.config.bootstrap_servers = addresses);
        self
    }

    /// Who is asking, as it stands in the brokers' logs and quotas. `client.id`; none by default.
    pub fn client_id(mut self, client_id: impl Into<Arc<str>>) -> Self {
        self.config = self.config.client_id(client_id);
        self
    }

    /// Sets what Kafka calls `name`: a setting of the client, or one that its producers and consumers begin with.
    pub fn property(mut self, name: &str, value: &str) -> Result<Self, BuildError> {
        match name {
            "bootstrap.servers" => {
                self = self.bootstrap_servers(value);
                self.bootstrap.clone()?;
            }
            "client.id" => self = self.client_id(value),
            _ => {
                let of_client = properties::apply_to_cluster(&mut self.config, name, value)?;
                // Tried here, so that a value that cannot be is refused here.
                let of_producer = properties::check_for_producer(name, value)?;
                let of_consumer = properties::check_for_consumer(name, value)?;
                if of_producer || of_consumer {
                    self.properties.push((name.to_owned(), value.to_owned()));
                } else if !of_client {
                    return Err(properties::refused(name));
                }
            }
        }
        Ok(self)
    }

    /// Checks the settings. Does no I/O: the first use connects.
    pub fn build(self) -> Result<Client, BuildError> {
        self.bootstrap?;
        Ok(Client { cluster: Cluster::new(self.config)?, properties: self.properties.into() })
    }
}

/// Addresses, or texts to be read as such.
#[derive(Clone, Debug)]
pub struct BootstrapServers(Vec<Server>);

#[derive(Clone, Debug)]
enum Server {
    Address(Address),
    Text(String),
}

impl BootstrapServers {
    fn addresses(self) -> Result<Vec<Address>, BuildError> {
        let mut addresses = Vec::new();
        for server in self.0 {
            match server {
                Server::Address(address) => addresses.push(address),
                Server::Text(text) => {
                    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                        addresses.push(part.parse()?);
                    }
                }
            }
        }
        Ok(addresses)
    }
}

impl From<&str> for BootstrapServers {
    fn from(text: &str) -> Self {
        Self(vec![Server::Text(text.to_owned())])
    }
}

impl From<String> for BootstrapServers {
    fn from(text: String) -> Self {
        Self(vec![Server::Text(text)])
    }
}

impl From<&String> for BootstrapServers {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Address> for BootstrapServers {
    fn from(address: Address) -> Self {
        Self(vec![Server::Address(address)])
    }
}

impl<T: Into<Self>> From<Vec<T>> for BootstrapServers {
    fn from(servers: Vec<T>) -> Self {
        Self(servers.into_iter().flat_map(|server| server.into().0).collect())
    }
}

impl<T: Into<Self>, const N: usize> From<[T; N]> for BootstrapServers {
    fn from(servers: [T; N]) -> Self {
        Self(servers.into_iter().flat_map(|server| server.into().0).collect())
    }
}
