//! The producer's task: takes what is ready from the accumulator, has it sent, and answers it.
//!
//! One task owns the [`Sender`]; the accumulator is shared with the callers of `enqueue` under a lock that is held for
//! an append or a look, never over an await. Each request is a task of its own that waits for its connection and its
//! answer, so that a broker which is slow to connect holds up no other; there are at most
//! `max.in.flight.requests.per.connection` of them a broker.
//!
//! When the task ends, however it ends (closed, dropped, its runtime shut down), [`Undone`] answers all that is left:
//! no handle waits for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::clock::{now, sleep_until};
use ottla_cluster::{Cluster, ConnectionRole, Metadata, watch};
use ottla_connection::Error as ConnectionError;
use ottla_wire::messages::{ProduceRequest, ProduceResponse};
use ottla_wire::{ApiKey, NodeId, TopicPartition, throttle_duration};
use tokio::task::JoinSet;

use crate::accumulator::PartitionKey;
use crate::completion::Outcome;
use crate::config::{Acks, ProducerConfig};
use crate::request::{Asked, answers, produce_request};
use crate::sender::{Action, Leaders, Outgoing, RequestId, Sender};
use crate::shared::Shared;
use crate::{Error, SendFailure};

/// The task, which runs until the producer is stopped.
///
/// What it has to answer is its own from the call on, so that a runtime which never polls it answers by dropping it.
pub(crate) fn run(
    shared: Arc<Shared>,
    cluster: Cluster,
    config: Arc<ProducerConfig>,
) -> impl Future<Output = ()> + Send + 'static {
    let undone = Undone { shared, sender: Sender::new(&config, cluster.backoff()) };
    let (changes, metadata) = (cluster.metadata_changes(), cluster.metadata());
    let mut driver = Driver { undone, cluster, config, changes, metadata, requests: JoinSet::new() };
    async move { driver.run().await }
}

struct Driver {
    undone: Undone,
    cluster: Cluster,
    config: Arc<ProducerConfig>,
    changes: watch::Receiver<Arc<Metadata>>,
    metadata: Arc<Metadata>,
    requests: JoinSet<Answered>,
}

/// How a request ended.
struct Answered {
    id: RequestId,
    asked: Asked,
    result: Result<Option<Response>, SendFailure>,
}

/// An answer, and how long the broker is to be left alone after it (KIP-219).
struct Response {
    response: ProduceResponse,
    throttle_time: Duration,
}

impl Response {
    fn new(response: ProduceResponse, version: i16) -> Self {
        let is_ours = ApiKey::Produce.is_throttled_by_client(version);
        let throttle_time = if is_ours { throttle_duration(response.throttle_time_ms) } else { Duration::ZERO };
        Self { response, throttle_time }
    }
}

impl Driver {
    async fn run(&mut self) {
        self.learn();
        loop {
            self.send_what_is_ready();
            if self.undone.shared.is_stopped() {
                return;
            }
            let wake_at = self.next_deadline();
            tokio::select! {
                biased; // A stop must not wait behind answers; answers free what new requests need.
                () = self.undone.shared.stopped() => return,
                Some(answered) = self.requests.join_next() => self.take_in(answered),
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.learn(),
                    Err(_) => return, // The cluster is gone, and nothing can be sent any more.
                },
                () = self.undone.shared.woken() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Sends all that may be sent now, and does what follows, until nothing more follows.
    fn send_what_is_ready(&mut self) {
        loop {
            let now = now();
            let Undone { shared, sender } = &mut self.undone;
            sender.handle_timeout(now, &*self.metadata);
            let (ready, expired) = shared.collect(now);
            for (key, topic_partition) in ready {
                sender.add(now, key, topic_partition, &*self.metadata);
            }
            for batch in expired {
                shared.expire(&batch, self.config.delivery_timeout);
                sender.handle_expired(batch.completion().topic_partition());
            }
            while let Some(outgoing) = self.undone.next_request(now) {
                self.spawn(outgoing);
            }
            if !self.act(now) {
                return;
            }
        }
    }

    /// Does what the sender asks for. Tells whether a partition has become free, which may have more to send.
    fn act(&mut self, now: Instant) -> bool {
        let mut freed = false;
        while let Some(action) = self.undone.sender.next_action() {
            match action {
                Action::Refresh { topic } => {
                    self.cluster.request_refresh(ottla_cluster::Topics::named([topic]));
                }
                action => freed |= self.undone.shared.settle(Some(now), action),
            }
        }
        freed
    }

    fn spawn(&mut self, Outgoing { id, node, batches }: Outgoing) {
        let timeout_ms = i32::try_from(self.config.request_timeout.as_millis()).unwrap_or(i32::MAX);
        let acks = self.config.acks;
        let (request, asked) = produce_request(&batches, &self.metadata, acks.number(), timeout_ms);
        let (cluster, timeout) = (self.cluster.clone(), self.config.request_timeout);
        let partitions = batches.into_iter().map(|batch| batch.topic_partition).collect();
        let moved = leader_moved(self.changes.clone(), node, partitions);
        self.requests.spawn(async move {
            let result = produce(&cluster, node, &request, acks, timeout, moved).await;
            Answered { id, asked, result }
        });
    }

    fn take_in(&mut self, answered: Result<Answered, tokio::task::JoinError>) {
        let Answered { id, asked, result } = match answered {
            Ok(answered) => answered,
            // Nothing cancels these tasks but their runtime, and a panic there is a mistake not to be hidden.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        };
        let (now, sender) = (now(), &mut self.undone.sender);
        match result {
            Ok(None) => sender.handle_sent(now, id, &*self.metadata),
            Ok(Some(Response { response, throttle_time })) => {
                let answers = answers(&asked, response);
                for node in answers.nodes {
                    self.cluster.observe_node(node);
                }
                for (partition, leader) in &answers.leaders {
                    self.cluster.observe_leader(partition, *leader);
                }
                sender.handle_response(now, id, throttle_time, answers.by_partition, &*self.metadata);
            }
            Err(failure) => {
                tracing::debug!(request = id, error = &failure as &dyn std::error::Error, "produce request failed");
                sender.handle_failure(now, id, &failure, &*self.metadata);
            }
        }
    }

    /// Takes in the newest metadata.
    fn learn(&mut self) {
        self.metadata = Arc::clone(&self.changes.borrow_and_update());
        self.undone.shared.learn(&self.metadata);
        self.undone.sender.handle_metadata(now(), &*self.metadata);
    }

    fn next_deadline(&self) -> Option<Instant> {
        [self.undone.sender.next_deadline(), self.undone.shared.next_deadline()].into_iter().flatten().min()
    }
}

/// What the task has to answer before it ends.
struct Undone {
    shared: Arc<Shared>,
    sender: Sender,
}

impl Undone {
    fn next_request(&mut self, now: Instant) -> Option<Outgoing> {
        let shared = &self.shared;
        self.sender.next_request(now, &mut |key: PartitionKey| shared.take(key))
    }
}

impl Drop for Undone {
    fn drop(&mut self) {
        let failed_before = self.shared.failed_records();
        self.sender.abandon();
        while let Some(action) = self.sender.next_action() {
            self.shared.settle(None, action);
        }
        self.shared.end();
        let records = self.shared.failed_records() - failed_before;
        if records > 0 {
            tracing::warn!(records, "the producer has ended with records undelivered");
        }
    }
}

/// Sends a request to a node and waits for the answer; `None` where none is asked for. Before it is sent, `moved` ends the wait for
/// a connection.
async fn produce(
    cluster: &Cluster,
    node: NodeId,
    request: &ProduceRequest,
    acks: Acks,
    timeout: Duration,
    moved: impl Future<Output = ()>,
) -> Result<Option<Response>, SendFailure> {
    let connection = tokio::select! {
        biased; // whoever is connected tells by itself that it does not lead any more
        connection = cluster.connection(node, ConnectionRole::Produce) => connection,
        () = moved => return Err(SendFailure::LeaderMoved { was_sent: false }),
    };
    let connection = connection.map_err(|error| SendFailure::NotConnected(Arc::new(error)))?;
    let answer: Result<_, ConnectionError> = match acks {
        Acks::None => connection.send_unanswered(request).await.map(|()| None),
        Acks::Leader | Acks::All => {
            // Of a version that is not spoken, the answer is an error.
            let version = connection.versions().choose(request).unwrap_or_default();
            connection.send(request, timeout).await.map(|response| Some(Response::new(response, version)))
        }
    };
    answer.map_err(SendFailure::Connection)
}

/// Waits until another node than this one leads one of the partitions.
async fn leader_moved(mut changes: watch::Receiver<Arc<Metadata>>, node: NodeId, partitions: Vec<TopicPartition>) {
    let leads_elsewhere = |metadata: &Arc<Metadata>| {
        let mut leaders = partitions.iter().filter_map(|partition| Leaders::leader(&**metadata, partition));
        leaders.any(|leader| leader != node)
    };
    if changes.wait_for(leads_elsewhere).await.is_err() {
        std::future::pending::<()>().await; // the cluster is gone, and the connection will tell
    }
}

impl Shared {
    /// Does what the sender says became of records; tells whether a partition is free again.
    ///
    /// `now` is `None` once the driver ends, where the runtime, and its clock, may be gone.
    fn settle(&self, now: Option<Instant>, action: Action) -> bool {
        match action {
            Action::Answer { completion, records, outcome } => {
                self.answer(&completion, records, outcome);
                false
            }
            Action::TurnEnded { partition, batch } => {
                self.turn_ended(now, partition, batch);
                now.is_some()
            }
            Action::Refresh { .. } => false,
        }
    }

    /// Answers a batch that ran out of time before it was taken.
    fn expire(&self, batch: &crate::batch::Batch, timeout: Duration) {
        let completion = batch.completion();
        let records = 0..batch.record_count();
        completion.seal(records.end);
        let error = Error::DeliveryTimedOut {
            topic_partition: completion.topic_partition().clone(),
            timeout,
            attempts: 0,
            may_have_been_written: false,
            source: None,
        };
        self.answer(completion, records, Outcome::Failed(error));
        self.forget(batch.id());
    }
}
