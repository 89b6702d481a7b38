//! The handle of a cluster.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use ottla_connection::{Connection, ConnectionConfig, Connector, ResponseBuffers, TcpConnector, watch};
use ottla_wire::{ErrorCode, NodeId, Request, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::driver::{Command, Driver, LONGEST_TIMEOUT, Shared};
use crate::first_answer::{Way, first_answer};
use crate::metadata::merge;
use crate::pool::Pool;
use crate::reachability::Reachability;
use crate::{Backoff, Broker, ClusterConfig, Error, InvalidSetting, Leader, Metadata, TopicMetadata, Topics};

/// A cluster. Cloning it gives another handle to the same one.
///
/// One task behind it keeps the metadata; it starts with the first use, on the configured or else the then current
/// runtime, and ends with the last clone or with [`close`](Self::close). Connections to the cluster's nodes are made
/// when they are first asked for, and shared by all clones.
#[derive(Clone, Debug)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    /// Where the driver's commands come from, until it is started.
    unstarted: Mutex<Option<mpsc::UnboundedReceiver<Command>>>,
    runtime: OnceLock<Handle>,
}

/// What a connection is for. A broker answers one request of a connection at a time, so what may be parked there
/// (Fetch, JoinGroup) has a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConnectionRole {
    /// Metadata, ListOffsets, administration.
    General,
    /// Fetch only.
    Fetch,
    /// Produce only.
    Produce,
    /// What concerns a group or a transaction.
    Coordinator,
}

/// Which broker a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// That one.
    Node(NodeId),
    /// Any: the one with the least to do, failed ones last.
    AnyNode,
    /// The controller. On NOT_CONTROLLER call [`Cluster::invalidate_controller`] and ask again.
    Controller,
}

/// Keeps topics fresh and known for as long as it lives. See [`Cluster::keep_topics`].
#[derive(Debug)]
#[must_use = "dropping it lets go of the topics"]
pub struct KeptTopics {
    topics: Vec<Arc<str>>,
    commands: mpsc::WeakUnboundedSender<Command>,
}

impl Cluster {
    /// Checks the settings. Does no I/O, and needs no runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] names the setting that cannot be.
    pub fn new(config: ClusterConfig) -> Result<Self, Error> {
        config.check()?;
        let mut random = config.seed.map_or_else(Rng::new, Rng::with_seed);
        let connector = config.connector.clone().unwrap_or_else(|| {
            let timeout = config.socket_connection_setup_timeout;
            Arc::new(TcpConnector::new().connect_timeout(timeout)) as Arc<dyn Connector>
        });
        let connection_config = config.connection_config();
        let reconnect = Backoff::new(config.reconnect_backoff, config.reconnect_backoff_max, random.fork());
        let reachability = Reachability::new(reconnect, random.fork());
        let pool = Arc::new(Pool::new(Arc::clone(&connector), connection_config.clone(), reachability));
        let (commands, unstarted) = mpsc::unbounded_channel();
        let shared = Shared {
            config,
            connector,
            connection_config,
            pool,
            metadata: watch::Sender::default(),
            last_failure: Mutex::new(None),
            random: Mutex::new(random),
        };
        let unstarted = Mutex::new(Some(unstarted));
        Ok(Self { inner: Arc::new(Inner { shared: Arc::new(shared), commands, unstarted, runtime: OnceLock::new() }) })
    }

    /// Its settings.
    pub fn config(&self) -> &ClusterConfig {
        &self.inner.shared.config
    }

    /// What is known now. Never waits; empty before the first answer.
    pub fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.inner.shared.metadata.borrow())
    }

    /// Tells of every answer and every other change of what is known.
    pub fn metadata_changes(&self) -> watch::Receiver<Arc<Metadata>> {
        self.inner.shared.metadata.subscribe()
    }

    /// The topic, as known now or as the cluster answers. Asks again, with back-off, for a topic that the cluster does
    /// not know (it may be on its way to the broker that was asked), for at most `default.api.timeout.ms`.
    ///
    /// # Errors
    ///
    /// [`Error::Topic`] where the cluster's answer stays an error; [`Error::TimedOut`] where there is no answer.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing; what was asked for is taken in even if the future is dropped.
    pub async fn topic(&self, name: &str) -> Result<Arc<TopicMetadata>, Error> {
        self.topic_within(name, self.config().default_api_timeout).await
    }

    /// As [`topic`](Self::topic), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`topic`](Self::topic).
    ///
    /// # Cancel safety
    ///
    /// As [`topic`](Self::topic).
    pub async fn topic_within(&self, name: &str, timeout: Duration) -> Result<Arc<TopicMetadata>, Error> {
        let name: Arc<str> = name.into();
        let deadline = Instant::now() + timeout.min(LONGEST_TIMEOUT);
        let mut backoff = self.backoff();
        let mut metadata = self.metadata();
        for attempt in 0.. {
            let error_code = match metadata.topic(&name) {
                Some(topic) if topic.error.is_none() => return Ok(Arc::clone(topic)),
                Some(topic) => topic.error,
                None => None,
            };
            if let Some(error_code) = error_code.filter(|_| attempt > 0) {
                let wait = Instant::now() + backoff.next_delay(attempt);
                if !error_code.is_retriable() || wait >= deadline {
                    return Err(Error::Topic { topic: name, error_code });
                }
                tokio::time::sleep_until(wait).await;
            }
            metadata = match (self.refresh_by(Topics::named([Arc::clone(&name)]), deadline).await, error_code) {
                (Ok(metadata), _) => metadata,
                // What the cluster said of the topic tells more than that there was no time to ask again.
                (Err(Error::TimedOut { .. }), Some(error_code)) => {
                    return Err(Error::Topic { topic: name, error_code });
                }
                (Err(error), _) => return Err(error),
            };
        }
        Err(Error::Closed)
    }

    /// Asks the cluster now, or waits for the answer under way if that covers `topics`. Failures are retried, with
    /// back-off, for at most `default.api.timeout.ms`. Errors about single topics are in the answer.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], with the last failure as its source; failures that no retry can help.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing; what was asked for is taken in even if the future is dropped.
    pub async fn refresh(&self, topics: Topics) -> Result<Arc<Metadata>, Error> {
        self.refresh_by(topics, Instant::now() + self.config().default_api_timeout.min(LONGEST_TIMEOUT)).await
    }

    /// Asks in the background, together with whatever else is to be asked; repeated demands wait for a back-off. Does
    /// nothing where there is no runtime.
    pub fn request_refresh(&self, topics: Topics) {
        let topics = match topics {
            Topics::Named(names) => Topics::Named(names.into_iter().filter(can_be_written).collect()),
            topics => topics,
        };
        if self.start().is_ok() {
            // An error means that the cluster is closed.
            let _: Result<_, _> = self.inner.commands.send(Command::Refresh { topics, reply: None });
        }
    }

    /// Keeps these topics fresh, and from being forgotten after `metadata.max.idle.ms`, until the guard is dropped.
    ///
    /// Looking a topic up in [`metadata`](Self::metadata) does the same for that long; the guard is for those who
    /// may not look for longer.
    pub fn keep_topics<T: Into<Arc<str>>>(&self, topics: impl IntoIterator<Item = T>) -> KeptTopics {
        let topics: Vec<Arc<str>> = topics.into_iter().map(Into::into).filter(can_be_written).collect();
        // An error means that the cluster is closed.
        let _: Result<_, _> = self.inner.commands.send(Command::Keep(topics.clone()));
        KeptTopics { topics, commands: self.inner.commands.downgrade() }
    }

    /// Takes in who leads a partition, as a Produce or Fetch response said (KIP-951). Ignored unless its epoch is newer
    /// than the known one. Take in the response's nodes first.
    pub fn observe_leader(&self, partition: &TopicPartition, leader: Leader) {
        self.change(|metadata| merge::observe_leader(metadata, &partition.topic, partition.partition, leader));
    }

    /// Takes in where a node listens, as a Produce or Fetch response said (KIP-951).
    pub fn observe_node(&self, broker: Broker) {
        self.change(|metadata| merge::observe_node(metadata, broker));
    }

    /// The connection to a node, made if there is none. After a failed attempt, waits for the node's back-off
    /// (`reconnect.backoff.ms`) before the next.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownNode`], [`Error::Connection`]; metadata is then asked for in the background.
    ///
    /// # Cancel safety
    ///
    /// A connection that is being made is made even if the future is dropped.
    pub async fn connection(&self, node: NodeId, role: ConnectionRole) -> Result<Connection, Error> {
        self.pooled((node, role), Way::Kept).await
    }

    async fn pooled(&self, (node, role): (NodeId, ConnectionRole), way: Way) -> Result<Connection, Error> {
        let runtime = self.start()?;
        self.find_node(node).await?;
        let Shared { pool, metadata, .. } = &*self.inner.shared;
        let connection = pool.connection(&runtime, metadata, (node, role), way).await;
        self.noticing_failure(connection)
    }

    /// A connection to a node that is the caller's own: not pooled, not shared, closed with its last handle. A fetcher
    /// has one for each lane to a broker: a parked Fetch of another consumer must not delay its own, and the memory
    /// that answers are read into is its own, too. Backed off after a failed connect as the pooled ones are.
    ///
    /// # Errors
    ///
    /// Those of [`connection`](Self::connection).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    pub async fn connect(
        &self,
        node: NodeId,
        response_buffers: Option<Arc<dyn ResponseBuffers>>,
    ) -> Result<Connection, Error> {
        let runtime = self.start()?;
        self.find_node(node).await?;
        let Shared { pool, metadata, .. } = &*self.inner.shared;
        let connection = pool.connect_alone(&runtime, metadata, node, response_buffers).await;
        self.noticing_failure(connection)
    }

    /// Asks one broker, over its general connection, and waits for `request.timeout.ms`.
    ///
    /// A request that has certainly not reached a broker is made once more, on a new connection, where the pooled one
    /// had closed. With [`Destination::AnyNode`] it has to be a question: where a node fails or is late, the next is asked,
    /// over a new connection where one was late, and the first answer counts.
    ///
    /// # Errors
    ///
    /// Those of [`connection`](Self::connection) and of [`Connection::request`]; errors inside the answer are the
    /// caller's to read.
    ///
    /// # Cancel safety
    ///
    /// As [`Connection::request`].
    pub async fn request<R: Request>(&self, to: Destination, request: &R) -> Result<R::Response, Error> {
        self.request_with_timeout(to, request, self.config().request_timeout).await
    }

    /// As [`request`](Self::request), for a request that may take as long as `timeout`.
    ///
    /// # Cancel safety
    ///
    /// As [`Connection::request`].
    pub async fn request_with_timeout<R: Request>(
        &self,
        to: Destination,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, Error> {
        let nodes = self.resolve(to).await?;
        if to != Destination::AnyNode {
            let node = *nodes.first().ok_or(Error::NoController)?;
            return self.ask_node(node, Way::Kept, request, timeout).await;
        }
        let ask = |node, way| self.ask_node(node, way, request, timeout);
        let late = |node| self.inner.shared.pool.handle_unanswered(node);
        let answer = first_answer(nodes, Way::Kept, ask, late, |error: &Error| !error.is_retriable()).await;
        answer.map_err(|error| error.unwrap_or(Error::NoController))
    }

    async fn ask_node<R: Request>(
        &self,
        node: NodeId,
        way: Way,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, Error> {
        let mut has_reconnected = false;
        loop {
            let connection = self.pooled((node, ConnectionRole::General), way).await?;
            match connection.send(request, timeout).await {
                Ok(response) => return Ok(response),
                Err(ottla_connection::Error::Closed { written: false, .. }) if !has_reconnected => {
                    has_reconnected = true;
                }
                Err(source) => {
                    if source.is_retriable() {
                        self.request_refresh(Topics::None);
                    }
                    return Err(Error::Connection { attempted: R::NAME, node, source });
                }
            }
        }
    }

    /// Forgets who the controller is, and asks for it in the background.
    pub fn invalidate_controller(&self) {
        self.change(|metadata| metadata.controller.take().is_some());
        self.request_refresh(Topics::None);
    }

    /// A back-off with the cluster's settings (`retry.backoff.ms`), and a generator of its own drawn from the seed.
    pub fn backoff(&self) -> Backoff {
        Backoff::new(self.config().retry_backoff, self.config().retry_backoff_max, self.random())
    }

    /// A back-off between questions that brokers answer without telling anything new: to half of `retry.backoff.max.ms` at
    /// most. The brokers are well, and what is waited for is learned that much sooner.
    pub fn pace(&self) -> Backoff {
        Backoff::new(self.config().retry_backoff, self.config().retry_backoff_max / 2, self.random())
    }

    /// A generator drawn from the seed.
    pub fn random(&self) -> Rng {
        self.inner.shared.random.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// The runtime that the cluster's tasks run on: the configured or else the current one.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`].
    pub fn runtime(&self) -> Result<Handle, Error> {
        if let Some(runtime) = self.inner.runtime.get() {
            return Ok(runtime.clone());
        }
        let configured = self.config().runtime.clone();
        let runtime = configured.or_else(|| Handle::try_current().ok()).ok_or(Error::NoRuntime)?;
        Ok(self.inner.runtime.get_or_init(|| runtime).clone())
    }

    /// Closes all connections in an orderly way, for all clones, and ends the tasks. What is in flight finishes, for at
    /// most `request.timeout.ms`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what is left at once, without waiting for what is in flight.
    pub async fn close(&self) {
        // An error means that it is closed already.
        let _: Result<_, _> = self.inner.commands.send(Command::Close);
        self.inner.shared.pool.close().await;
    }

    /// Starts the task, unless it has been.
    fn start(&self) -> Result<Handle, Error> {
        let runtime = self.runtime()?;
        if let Some(commands) = self.inner.unstarted.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let driver =
                Driver::new(Arc::clone(&self.inner.shared), runtime.clone(), commands, self.backoff(), self.pace());
            runtime.spawn(driver.run());
        }
        Ok(runtime)
    }

    async fn refresh_by(&self, topics: Topics, deadline: Instant) -> Result<Arc<Metadata>, Error> {
        if let Topics::Named(names) = &topics
            && let Some(name) = names.iter().find(|name| !can_be_written(name))
        {
            return Err(Error::Topic { topic: Arc::clone(name), error_code: ErrorCode::InvalidTopicException });
        }
        self.start()?;
        let (reply, answer) = oneshot::channel();
        let refresh = Command::Refresh { topics, reply: Some(reply) };
        self.inner.commands.send(refresh).map_err(|_| Error::Closed)?;
        if let Ok(answer) = tokio::time::timeout_at(deadline, answer).await {
            return answer.map_err(|_| Error::Closed)?;
        }
        let source = self.inner.shared.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let timeout = self.config().default_api_timeout;
        Err(Error::TimedOut { attempted: "asking for metadata", timeout, source })
    }

    /// Asks the cluster about a node that is not known.
    async fn find_node(&self, node: NodeId) -> Result<(), Error> {
        if self.metadata().broker(node).is_some() {
            return Ok(());
        }
        self.refresh(Topics::None).await?.broker(node).map(|_| ()).ok_or(Error::UnknownNode { node })
    }

    /// A node that cannot be connected to may have left, or moved.
    fn noticing_failure(&self, connection: Result<Connection, Error>) -> Result<Connection, Error> {
        if matches!(connection, Err(Error::Connection { .. })) {
            self.request_refresh(Topics::None);
        }
        connection
    }

    /// The nodes that a request may go to, the best first. At least one, unless there is no controller.
    async fn resolve(&self, to: Destination) -> Result<Vec<NodeId>, Error> {
        let mut metadata = self.metadata();
        let is_missing = match to {
            Destination::Node(_) => false,
            Destination::AnyNode => metadata.brokers.is_empty(),
            Destination::Controller => metadata.controller.is_none(),
        };
        if is_missing {
            metadata = self.refresh(Topics::None).await?;
        }
        let pool = &self.inner.shared.pool;
        Ok(match to {
            Destination::Node(node) => vec![node],
            Destination::Controller => metadata.controller.into_iter().collect(),
            Destination::AnyNode => match pool.nodes_in_order(&metadata) {
                nodes if nodes.is_empty() => pool.first_to_wait_for(&metadata).into_iter().collect(),
                nodes => nodes,
            },
        })
    }

    fn change(&self, change: impl FnOnce(&mut Metadata) -> bool) {
        self.inner.shared.metadata.send_if_modified(|metadata| {
            let mut changed = Metadata::clone(metadata);
            let is_changed = change(&mut changed);
            if is_changed {
                *metadata = Arc::new(changed);
            }
            is_changed
        });
    }
}

/// Whether a topic's name fits into a request. One that does not would keep all others that are asked for with it from
/// being known; no topic can have it.
fn can_be_written(name: &Arc<str>) -> bool {
    i16::try_from(name.len()).is_ok()
}

impl Drop for KeptTopics {
    fn drop(&mut self) {
        if let Some(commands) = self.commands.upgrade() {
            // An error means that the cluster is closed.
            let _: Result<_, _> = commands.send(Command::Release(std::mem::take(&mut self.topics)));
        }
    }
}

impl ClusterConfig {
    fn check(&self) -> Result<(), InvalidSetting> {
        let refuse = |setting, value: &str, reason| Err(InvalidSetting::new(setting, value, reason));
        let refuse_duration = |setting, value, reason| Err(InvalidSetting::of_duration(setting, value, reason));
        match self {
            _ if self.bootstrap_servers.is_empty() => refuse("bootstrap.servers", "empty", "which is no server"),
            _ if self.retry_backoff > self.retry_backoff_max => {
                refuse_duration("retry.backoff.ms", self.retry_backoff, "which is more than retry.backoff.max.ms")
            }
            _ if self.reconnect_backoff > self.reconnect_backoff_max => {
                let reason = "which is more than reconnect.backoff.max.ms";
                refuse_duration("reconnect.backoff.ms", self.reconnect_backoff, reason)
            }
            _ if self.max_in_flight_requests == 0 => {
                refuse("max.in.flight.requests.per.connection", "0", "which is not positive")
            }
            _ if self.max_frame_bytes == 0 => refuse("max_frame_bytes", "0", "which is not positive"),
            _ if self.request_timeout.is_zero() => {
                refuse_duration("request.timeout.ms", self.request_timeout, "which is not positive")
            }
            _ if self.default_api_timeout < self.request_timeout => {
                let reason = "which is less than request.timeout.ms";
                refuse_duration("default.api.timeout.ms", self.default_api_timeout, reason)
            }
            _ => Ok(()),
        }
    }

    fn connection_config(&self) -> ConnectionConfig {
        let (name, version) = self.client_software.clone();
        let mut config = ConnectionConfig::default()
            .client_software(name, version)
            .request_timeout(self.request_timeout)
            .connection_setup_timeout(self.socket_connection_setup_timeout_max)
            .max_frame_bytes(self.max_frame_bytes)
            .max_in_flight_requests(self.max_in_flight_requests)
            .connections_max_idle(self.connections_max_idle);
        config.client_id.clone_from(&self.client_id);
        config
    }
}

#[cfg(test)]
mod tests;
