//! One connection per node and role, made when it is first asked for.
//!
//! Whoever asks while a connection is being made waits for that one; making it is a task of its own, so that a caller
//! who goes away takes nothing along. A connection that has closed is replaced when it is next asked for. After a
//! failed connect, asking waits for the node's back-off before it tries again.
//!
//! Connections that are somebody's own are made here, too, for the sake of the back-off, but not kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ottla_connection::clock::now;
use ottla_connection::{Connection, ConnectionConfig, Connector, ResponseBuffers, watch};
use ottla_wire::NodeId;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::first_answer::{LATE, Way};
use crate::reachability::{Candidate, Reachability};
use crate::{Address, Broker, ConnectionRole, Error, Metadata};

/// The connections of a cluster.
#[derive(Debug)]
pub(crate) struct Pool {
    connector: Arc<dyn Connector>,
    config: ConnectionConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    slots: BTreeMap<Key, Slot>,
    reachability: Reachability,
    is_closed: bool,
}

/// What a connection is to, and for.
type Key = (NodeId, ConnectionRole);

#[derive(Debug)]
struct Slot {
    address: Address,
    made_at: Instant,
    state: SlotState,
}

#[derive(Debug)]
enum SlotState {
    Connecting(watch::Receiver<Outcome>),
    Open(Connection),
}

/// The newest metadata, which says where nodes listen.
type Known = watch::Sender<Arc<Metadata>>;

/// How a connect ended, once it has.
type Outcome = Option<Result<Connection, ottla_connection::Error>>;

/// What to do about a connection that is asked for.
enum Step {
    Use(Connection),
    Await(watch::Receiver<Outcome>),
    BackOff(Instant),
}

const CONNECT: &str = "connecting";

impl Pool {
    pub(crate) fn new(connector: Arc<dyn Connector>, config: ConnectionConfig, reachability: Reachability) -> Self {
        let state = State { slots: BTreeMap::new(), reachability, is_closed: false };
        Self { connector, config, state: Mutex::new(state) }
    }

    /// The connection to a node that is in `known`, made on `runtime` if there is none; or anew, where the one that there is
    /// was not made just now. That one is let go of: what is in flight on it finishes.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        runtime: &Handle,
        known: &Known,
        (node, role): Key,
        way: Way,
    ) -> Result<Connection, Error> {
        loop {
            // Looked up each time: a node may move while its back-off is waited for, and whoever went on to where it
            // was would put its new connection out of place.
            let broker = known.borrow().broker(node).cloned().ok_or(Error::UnknownNode { node })?;
            let mut outcome = match self.next_step(runtime, &broker, role, way)? {
                Step::Use(connection) => return Ok(connection),
                Step::BackOff(until) => {
                    tokio::time::sleep_until(until.into()).await;
                    continue;
                }
                Step::Await(outcome) => outcome,
            };
            let Ok(outcome) = outcome.wait_for(Option::is_some).await else {
                // The task has gone with its runtime.
                return Err(Error::Closed);
            };
            match &outcome {
                Some(Ok(connection)) => return Ok(connection.clone()),
                Some(Err(source)) => {
                    return Err(Error::Connection { attempted: CONNECT, node, source: source.clone() });
                }
                None => {}
            }
        }
    }

    /// A connection to a node that is in `known`, not kept here, made on `runtime`.
    pub(crate) async fn connect_alone(
        self: &Arc<Self>,
        runtime: &Handle,
        known: &Known,
        node: NodeId,
        response_buffers: Option<Arc<dyn ResponseBuffers>>,
    ) -> Result<Connection, Error> {
        loop {
            let connect_at = {
                let state = self.state();
                if state.is_closed {
                    return Err(Error::Closed);
                }
                state.reachability.connect_at(now(), node)
            };
            let Some(connect_at) = connect_at else { break };
            tokio::time::sleep_until(connect_at.into()).await;
        }
        let broker = known.borrow().broker(node).cloned().ok_or(Error::UnknownNode { node })?;
        // A set, because dropping it ends the task.
        let mut opening = JoinSet::new();
        let (pool, address) = (Arc::clone(self), broker.address);
        opening.spawn_on(async move { pool.open(node, &address, response_buffers).await }, runtime);
        match opening.join_next().await {
            Some(Ok(opened)) => opened.map_err(|source| Error::Connection { attempted: CONNECT, node, source }),
            // The runtime has ended.
            Some(Err(_)) | None => Err(Error::Closed),
        }
    }

    /// The nodes that may be asked now, the best first.
    pub(crate) fn nodes_in_order(&self, metadata: &Metadata) -> Vec<NodeId> {
        let mut state = self.state();
        let candidates = state.candidates(metadata);
        state.reachability.in_order(now(), &candidates)
    }

    /// The node to be asked where all are backing off.
    pub(crate) fn first_to_wait_for(&self, metadata: &Metadata) -> Option<NodeId> {
        let state = self.state();
        state.reachability.first_to_wait_for(&state.candidates(metadata))
    }

    /// The node has answered.
    pub(crate) fn handle_answered(&self, node: NodeId) {
        self.state().reachability.handle_reached(node);
    }

    /// The node did not answer, or not in time.
    pub(crate) fn handle_unanswered(&self, node: NodeId) {
        self.state().reachability.handle_failed(now(), node);
    }

    /// Lets go of connections to nodes that have left the cluster or moved. What is in flight on them finishes.
    pub(crate) fn retain(&self, metadata: &Metadata) {
        let mut state = self.state();
        let address = |node| metadata.broker(node).map(|broker| &broker.address);
        state.slots.retain(|key, slot| slot.is_alive() && address(key.0) == Some(&slot.address));
        state.reachability.retain(|node| address(node).is_some());
    }

    /// Makes no more connections, and lets go of those that there are: what is in flight on them finishes.
    pub(crate) fn shut(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.slots.clear();
    }

    /// Closes all connections in an orderly way; no more are made.
    pub(crate) async fn close(&self) {
        let slots = {
            let mut state = self.state();
            state.is_closed = true;
            std::mem::take(&mut state.slots)
        };
        let mut closing = JoinSet::new();
        for slot in slots.into_values() {
            // One that is being made is aborted by its task, which finds the pool closed.
            if let SlotState::Open(connection) = slot.state {
                closing.spawn(async move { connection.close().await });
            }
        }
        closing.join_all().await;
    }

    fn next_step(
        self: &Arc<Self>,
        runtime: &Handle,
        broker: &Broker,
        role: ConnectionRole,
        way: Way,
    ) -> Result<Step, Error> {
        let mut state = self.state();
        if state.is_closed {
            return Err(Error::Closed);
        }
        let key = (broker.node, role);
        let will_do = |slot: &&Slot| {
            slot.address == broker.address && slot.is_alive() && (way == Way::Kept || slot.is_new(now()))
        };
        if let Some(slot) = state.slots.get(&key).filter(will_do) {
            return Ok(match &slot.state {
                SlotState::Open(connection) => Step::Use(connection.clone()),
                SlotState::Connecting(outcome) => Step::Await(outcome.clone()),
            });
        }
        if let Some(connect_at) = state.reachability.connect_at(now(), broker.node) {
            return Ok(Step::BackOff(connect_at));
        }
        let (sender, outcome) = watch::channel(None);
        let (address, state_of_slot) = (broker.address.clone(), SlotState::Connecting(outcome.clone()));
        state.slots.insert(key, Slot { address: address.clone(), made_at: now(), state: state_of_slot });
        drop(state);
        runtime.spawn(Arc::clone(self).connect(key, address, sender));
        Ok(Step::Await(outcome))
    }

    async fn connect(self: Arc<Self>, key: Key, address: Address, done: watch::Sender<Outcome>) {
        let opened = self.open(key.0, &address, None).await;
        let mut state = self.state();
        let is_ours = state.slots.get(&key).is_some_and(|slot| slot.awaits(&done));
        match &opened {
            Ok(connection) if state.is_closed => connection.abort(),
            Ok(connection) => {
                if let Some(slot) = state.slots.get_mut(&key).filter(|_| is_ours) {
                    slot.state = SlotState::Open(connection.clone());
                }
            }
            Err(_) if is_ours => {
                state.slots.remove(&key);
            }
            Err(_) => {}
        }
        drop(state);
        done.send_replace(Some(opened));
    }

    /// Connects, and remembers how that went.
    async fn open(
        &self,
        node: NodeId,
        address: &Address,
        response_buffers: Option<Arc<dyn ResponseBuffers>>,
    ) -> Result<Connection, ottla_connection::Error> {
        let mut config = self.config.clone();
        config.response_buffers = response_buffers;
        let opened = Connection::open(&*self.connector, address, config).await;
        match &opened {
            Ok(_) => {
                tracing::debug!(%node, %address, "connected");
                self.state().reachability.handle_reached(node);
            }
            Err(error) => {
                tracing::debug!(%node, %address, error = error as &dyn std::error::Error, "cannot connect");
                self.state().reachability.handle_failed(now(), node);
            }
        }
        opened
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn candidates(&self, metadata: &Metadata) -> Vec<Candidate> {
        let load = |node| match self.slots.get(&(node, ConnectionRole::General)) {
            Some(Slot { state: SlotState::Open(connection), .. }) if !connection.is_closed() => Some(connection.load()),
            _ => None,
        };
        metadata.brokers().map(|broker| Candidate { node: broker.node, load: load(broker.node) }).collect()
    }
}

impl Slot {
    /// Whether it is being connected by the task that tells of it through `done`.
    fn awaits(&self, done: &watch::Sender<Outcome>) -> bool {
        matches!(&self.state, SlotState::Connecting(outcome) if outcome.same_channel(&done.subscribe()))
    }

    /// Whether it was made so lately that nobody can have found out that it leads nowhere.
    fn is_new(&self, now: Instant) -> bool {
        matches!(self.state, SlotState::Connecting(_)) || now < self.made_at + LATE
    }

    fn is_alive(&self) -> bool {
        match &self.state {
            SlotState::Open(connection) => !connection.is_closed(),
            // An outcome that is there already is about to be put in place, or was a failure.
            SlotState::Connecting(outcome) => outcome.has_changed().is_ok(),
        }
    }
}
