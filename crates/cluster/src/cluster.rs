//! The handle of a cluster.

use std::sync::Arc;

use ottla_connection::{Connection, ResponseBuffers};
use ottla_wire::{NodeId, Request, TopicPartition};
use tokio::sync::watch;

use crate::{Backoff, ClusterConfig, Error, Leader, Metadata, TopicMetadata, Topics};

/// A cluster. Cloning it gives another handle to the same one.
#[derive(Clone, Debug)]
pub struct Cluster {
    config: Arc<ClusterConfig>,
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

#[allow(clippy::todo, clippy::missing_panics_doc, unused_variables, clippy::unused_async)]
impl Cluster {
    /// Checks the settings. Does no I/O.
    pub fn new(config: ClusterConfig) -> Result<Self, Error> {
        Ok(Self { config: Arc::new(config) })
    }

    /// Its settings.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// What is known now. Never waits; empty before the first answer.
    pub fn metadata(&self) -> Arc<Metadata> {
        todo!()
    }

    /// Tells of every change of what is known.
    pub fn metadata_changes(&self) -> watch::Receiver<Arc<Metadata>> {
        todo!()
    }

    /// The topic, as known now or as the cluster answers.
    pub async fn topic(&self, name: &str) -> Result<Arc<TopicMetadata>, Error> {
        todo!()
    }

    /// Asks the cluster now.
    pub async fn refresh(&self, topics: Topics) -> Result<Arc<Metadata>, Error> {
        todo!()
    }

    /// Asks in the background.
    pub fn request_refresh(&self, topics: Topics) {
        todo!()
    }

    /// Takes in who leads a partition, as a Produce or Fetch response said (KIP-951).
    pub fn observe_leader(&self, partition: &TopicPartition, leader: Leader) {
        todo!()
    }

    /// Takes in where nodes listen, as a Produce or Fetch response said (KIP-951).
    pub fn observe_node(&self, broker: crate::Broker) {
        todo!()
    }

    /// The connection to a node.
    pub async fn connection(&self, node: NodeId, role: ConnectionRole) -> Result<Connection, Error> {
        todo!()
    }

    /// As [`connection`](Self::connection), with large responses going to `response_buffers`.
    pub async fn connection_with(
        &self,
        node: NodeId,
        role: ConnectionRole,
        response_buffers: Option<Arc<dyn ResponseBuffers>>,
    ) -> Result<Connection, Error> {
        todo!()
    }

    /// A connection to a node that is the caller's own: not pooled, not shared, closed with its last handle. A fetcher
    /// has one for each lane to a broker: a parked Fetch of another consumer must not delay its own, and the memory
    /// that answers are read into is its own, too. Backed off after a failed connect as the pooled ones are.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    pub async fn connect(
        &self,
        node: NodeId,
        response_buffers: Option<Arc<dyn ResponseBuffers>>,
    ) -> Result<Connection, Error> {
        todo!()
    }

    /// Asks one broker, once.
    pub async fn request<R: Request>(&self, to: Destination, request: &R) -> Result<R::Response, Error> {
        todo!()
    }

    /// Forgets who the controller is, and asks for it in the background.
    pub fn invalidate_controller(&self) {
        todo!()
    }

    /// A back-off with the cluster's settings (`retry.backoff.ms`), and a generator of its own drawn from the seed.
    pub fn backoff(&self) -> Backoff {
        todo!()
    }

    /// A generator drawn from the seed.
    pub fn random(&self) -> fastrand::Rng {
        todo!()
    }

    /// Closes all connections in an orderly way, and ends the tasks.
    pub async fn close(&self) {
        todo!()
    }
}
