//! The task that keeps the metadata fresh.
//!
//! It owns [`Refresh`], which decides when to ask and for what, and the callers who wait for answers; asking is one
//! future at a time. What comes back is merged and published. Connections are the pool's business, not this task's.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ottla_connection::clock::{now, sleep_until};
use ottla_connection::{ConnectionConfig, Connector, watch};
use ottla_wire::messages::{MetadataRequest, MetadataResponse};
use ottla_wire::{ErrorCode, NodeId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::bootstrap::ask_bootstrap_servers;
use crate::first_answer::{Way, first_answer};
use crate::metadata::merge::{Merged, forget_topics, merge};
use crate::pool::Pool;
use crate::refresh::{Ask, Refresh};
use crate::{Backoff, ClusterConfig, ConnectionRole, Error, Metadata, MetadataRecoveryStrategy, Topics};

/// What handles and driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: ClusterConfig,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) connection_config: ConnectionConfig,
    pub(crate) pool: Arc<Pool>,
    pub(crate) metadata: watch::Sender<Arc<Metadata>>,
    /// What the last request for metadata failed with, until one succeeds; for those who ran out of time.
    pub(crate) last_failure: Mutex<Option<Arc<Error>>>,
    pub(crate) random: Mutex<fastrand::Rng>,
}

/// What a handle sends to the driver. The queue is unbounded, but the driver empties it without waiting for anything,
/// and what it keeps of an entry is a topic's name, once, or a caller's reply.
#[derive(Debug)]
pub(crate) enum Command {
    /// Ask about these topics.
    Refresh { topics: Topics, reply: Option<Reply> },
    /// The topics are in use until [`Release`](Self::Release).
    Keep(Vec<Arc<str>>),
    /// One of those who keep these topics no longer does.
    Release(Vec<Arc<str>>),
    /// End.
    Close,
}

pub(crate) type Reply = oneshot::Sender<Result<Arc<Metadata>, Error>>;

/// A metadata request under way.
type Attempt = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// What was answered, and by whom; `None`: by a bootstrap server.
struct Answer {
    node: Option<NodeId>,
    response: MetadataResponse,
}

/// The task's state.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    runtime: Handle,
    commands: mpsc::UnboundedReceiver<Command>,
    refresh: Refresh,
    kept: BTreeMap<Arc<str>, usize>,
    waiting: Vec<(Topics, Reply)>,
    under_way: Option<(Ask, Attempt)>,
    /// The node that answered last.
    answered_by: Option<NodeId>,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        runtime: Handle,
        commands: mpsc::UnboundedReceiver<Command>,
        backoff: Backoff,
        pace: Backoff,
    ) -> Self {
        let refresh = Refresh::new(&shared.config, backoff, pace);
        Self {
            shared,
            runtime,
            commands,
            refresh,
            kept: BTreeMap::new(),
            waiting: Vec::new(),
            under_way: None,
            answered_by: None,
        }
    }

    /// Runs until the last handle is gone, or one closes the cluster.
    pub(crate) async fn run(mut self) {
        loop {
            self.start_asking();
            let due = self.refresh.next_deadline();
            let Self { commands, under_way, .. } = &mut self;
            tokio::select! {
                biased; // Commands first: a request that is about to be made should cover all that is wanted.
                command = commands.recv() => match command {
                    Some(Command::Close) | None => break,
                    Some(command) => self.handle_command(command),
                },
                outcome = finished(under_way) => self.handle_outcome(outcome),
                () = sleep_until(due) => {}
            }
        }
        self.shared.pool.shut();
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Refresh { topics: Topics::None, reply: None } => self.refresh.demand_nodes(now()),
            Command::Refresh { topics, reply } => {
                self.refresh.demand(now(), &topics);
                self.waiting.retain(|(_, reply)| !reply.is_closed());
                self.waiting.extend(reply.map(|reply| (topics, reply)));
            }
            Command::Keep(topics) => {
                for topic in topics {
                    self.refresh.handle_used(now(), &topic);
                    *self.kept.entry(topic).or_default() += 1;
                }
            }
            Command::Release(topics) => {
                for topic in topics {
                    if let Some(count) = self.kept.get_mut(&topic) {
                        *count -= 1;
                        if *count == 0 {
                            self.kept.remove(&topic);
                        }
                    }
                }
            }
            // The loop has seen to it.
            Command::Close => {}
        }
    }

    fn start_asking(&mut self) {
        let now = now();
        if self.refresh.next_deadline().is_none_or(|due| due > now) {
            return;
        }
        self.forget_what_nobody_uses(now);
        if let Some(ask) = self.refresh.next_ask(now) {
            tracing::debug!(topics = ?ask.topics, rebootstrap = ask.rebootstrap, "asking for metadata");
            let last = self.answered_by.filter(|_| ask.elsewhere);
            let attempt = attempt(Arc::clone(&self.shared), self.runtime.clone(), ask.clone(), last);
            self.under_way = Some((ask, Box::pin(attempt)));
        }
    }

    fn forget_what_nobody_uses(&mut self, now: Instant) {
        let metadata = Arc::clone(&self.shared.metadata.borrow());
        for topic in metadata.topics.values().filter(|topic| topic.used.take()) {
            self.refresh.handle_used(now, &topic.name);
        }
        for topic in self.kept.keys() {
            self.refresh.handle_used(now, topic);
        }
        if self.refresh.expire(now) || metadata.topics.len() > self.refresh.used_count() {
            let refresh = &self.refresh;
            self.shared.metadata.send_if_modified(|metadata| {
                let mut changed = Metadata::clone(metadata);
                let is_changed = forget_topics(&mut changed, |topic| refresh.is_used(topic));
                if is_changed {
                    *metadata = Arc::new(changed);
                }
                is_changed
            });
        }
    }

    fn handle_outcome(&mut self, (ask, outcome): (Ask, Result<Answer, Error>)) {
        let failure = match outcome {
            Ok(Answer { node, response }) => {
                self.answered_by = node;
                match response.error_code.into_result() {
                    Ok(()) => match self.take_in(&ask, response) {
                        Ok(()) => return,
                        Err(failure) => failure,
                    },
                    Err(error_code) => Error::Metadata { error_code },
                }
            }
            Err(failure) => failure,
        };
        tracing::debug!(error = &failure as &dyn std::error::Error, "no metadata");
        if failure.error_code() == Some(ErrorCode::RebootstrapRequired) {
            self.refresh.handle_rebootstrap_required(now());
        } else {
            self.refresh.handle_failed(now());
        }
        *self.shared.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(failure.clone()));
        if !failure.is_retriable() {
            self.answer(&ask, &Err(failure));
        }
    }

    /// Merges and publishes an answer.
    fn take_in(&mut self, ask: &Ask, response: MetadataResponse) -> Result<(), Error> {
        let mut outcome = None;
        self.shared.metadata.send_if_modified(|metadata| {
            let Some(merged) = merge(metadata, response, ask.topics == Topics::All) else { return false };
            let Merged { metadata: merged, unsettled, is_another_cluster } = merged;
            let is_changed = merged.says_more_than(metadata);
            *metadata = Arc::new(merged);
            outcome = Some((Arc::clone(metadata), is_changed, unsettled, is_another_cluster));
            true
        });
        let (metadata, is_changed, unsettled, is_another_cluster) =
            outcome.ok_or(Error::Metadata { error_code: ErrorCode::None })?;
        self.shared.last_failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.shared.pool.retain(&metadata);
        self.refresh.handle_answer(now(), is_changed, &unsettled);
        if is_another_cluster {
            self.refresh.demand_used(now());
        }
        self.answer(ask, &Ok(metadata));
        Ok(())
    }

    fn answer(&mut self, ask: &Ask, outcome: &Result<Arc<Metadata>, Error>) {
        for (topics, reply) in std::mem::take(&mut self.waiting) {
            if ask.covers(&topics) {
                // Whoever asked may have gone.
                let _: Result<_, _> = reply.send(outcome.clone());
            } else {
                self.waiting.push((topics, reply));
            }
        }
    }
}

/// Asks the known brokers, the best first but `last` after all others, and where none of them answers the bootstrap
/// servers (KIP-899).
async fn attempt(shared: Arc<Shared>, runtime: Handle, ask: Ask, last: Option<NodeId>) -> Result<Answer, Error> {
    let request = request_for(&ask.topics, shared.config.allow_auto_create_topics);
    let metadata = Arc::clone(&shared.metadata.borrow());
    let is_fixed = shared.config.metadata_recovery_strategy == MetadataRecoveryStrategy::None;
    let may_bootstrap = !is_fixed || metadata.brokers.is_empty();
    let mut failure = None;
    if !ask.rebootstrap || !may_bootstrap {
        let mut nodes = shared.pool.nodes_in_order(&metadata);
        if nodes.is_empty() && !may_bootstrap {
            nodes.extend(shared.pool.first_to_wait_for(&metadata));
        }
        // Stable: among the others the order stays.
        nodes.sort_by_key(|node| Some(*node) == last);
        let ask = |node, way| ask_node(&shared, &runtime, node, way, &request);
        match first_answer(nodes, Way::Kept, ask, |node| shared.pool.handle_unanswered(node), ends_attempt).await {
            Ok(answer) => return Ok(answer),
            Err(Some(error)) if ends_attempt(&error) => return Err(error),
            Err(error) => failure = error,
        }
    }
    if !may_bootstrap {
        return Err(failure.unwrap_or(Error::Metadata { error_code: ErrorCode::None }));
    }
    let random = shared.random.lock().unwrap_or_else(PoisonError::into_inner).fork();
    let Shared { connector, connection_config, config, .. } = &*shared;
    let servers = &config.bootstrap_servers;
    let response = ask_bootstrap_servers(&**connector, connection_config, servers, random, &request).await?;
    Ok(Answer { node: None, response })
}

/// Whether no other broker would do better. One that cannot be understood, or does not understand, says nothing about
/// the others: it may be of another version, or no broker at all.
fn ends_attempt(error: &Error) -> bool {
    matches!(error, Error::Closed | Error::Connection { source: ottla_connection::Error::Encode { .. }, .. })
}

async fn ask_node(
    shared: &Shared,
    runtime: &Handle,
    node: NodeId,
    way: Way,
    request: &MetadataRequest,
) -> Result<Answer, Error> {
    let Shared { pool, metadata, .. } = shared;
    let connection = pool.connection(runtime, metadata, (node, ConnectionRole::General), way).await?;
    match connection.request(request).await {
        Ok(response) => {
            shared.pool.handle_answered(node);
            Ok(Answer { node: Some(node), response })
        }
        Err(source) => {
            shared.pool.handle_unanswered(node);
            Err(Error::Connection { attempted: "asking for metadata", node, source })
        }
    }
}

fn request_for(topics: &Topics, allow_auto_create_topics: bool) -> MetadataRequest {
    let request = match topics {
        Topics::All => MetadataRequest::all_topics(),
        Topics::None => MetadataRequest::of_names(std::iter::empty::<String>()),
        Topics::Named(names) => MetadataRequest::of_names(names.iter().map(ToString::to_string)),
    };
    MetadataRequest { allow_auto_topic_creation: allow_auto_create_topics, ..request }
}

/// The outcome of the attempt under way, which is over then; never, where there is none.
async fn finished(under_way: &mut Option<(Ask, Attempt)>) -> (Ask, Result<Answer, Error>) {
    let Some((_, attempt)) = under_way else { return std::future::pending().await };
    let outcome = attempt.as_mut().await;
    match under_way.take() {
        Some((ask, _)) => (ask, outcome),
        None => std::future::pending().await,
    }
}

/// The longest time limit that is honoured: longer ones are cut, so that no sum with a clock overflows.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_hours(365 * 24);
