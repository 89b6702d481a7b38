//! The task that talks to the coordinator: the only place here with I/O, timers and tasks.
//!
//! ```text
//!   application ── calls ──▶ State ◀── asks, tells ── supervisor ──▶ lane "parked": JoinGroup, SyncGroup
//!                                                         │      └─▶ lane "direct": Heartbeat, OffsetCommit, ..
//!                                                         └── FindCoordinator, metadata, the leader's assignment
//! ```
//!
//! A broker answers one request of a connection at a time, and holds JoinGroup and SyncGroup back until other members
//! have done their part. So these two have a connection of their own, and nothing waits behind them: heartbeats go on
//! while SyncGroup is parked, commits and lookups while JoinGroup is. The other one carries requests that are answered
//! at once. Both are this member's alone, because those of a cluster are shared by all who hold a clone of it, and both
//! are opened when they are first needed.
//!
//! The supervisor owns all tasks, and ends with the [`Coordinator`](crate::Coordinator).

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::clock::now;
use ottla_cluster::{Address, Broker, Cluster, Connection, Destination, KeptTopics, Supervision, Topics, Woken};
use ottla_wire::{ApiKey, ErrorCode, NodeId};
use tokio::sync::oneshot;

use crate::Error;
use crate::classic::{AssignJob, LeaderAssignment, topics_of};
use crate::find::{self, Found, Located};
use crate::request::{Incoming, Outgoing};
use crate::shared::{Ending, Shared};
use crate::state::Action;

/// What a task of the supervisor's ends with.
enum Ended {
    Coordinator(Result<NodeId, Error>),
    Connected { is_parked: bool, to: Found, connection: Result<Connection, ottla_cluster::Error> },
    Answered { from: Found, incoming: Incoming },
    Assigned { attempt: u64, outcome: Result<(LeaderAssignment, KeptTopics), Error> },
}

/// Runs until the coordinator is dropped or closed.
pub(crate) async fn supervise(ending: Ending, closed: oneshot::Receiver<()>) {
    run(Arc::clone(&ending.shared), closed).await;
    ending.in_order();
}

async fn run(shared: Arc<Shared>, closed: oneshot::Receiver<()>) {
    let mut supervisor = Supervisor::new(Arc::clone(&shared), closed);
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let due = supervisor.act();
        // A task that panics ends this one, too, and so the application is told. (An assignor's panic is caught where it
        // is called.)
        match supervisor.tasks.woken(changed, due).await {
            Woken::Over => return,
            Woken::Metadata(known) => shared.state().handle_metadata(&known),
            Woken::Ended(task) => supervisor.handle(task),
            Woken::Due => {}
        }
    }
}

struct Supervisor {
    shared: Arc<Shared>,
    tasks: Supervision<Ended>,
    parked: Lane,
    direct: Lane,
    /// Has the cluster keep the topics fresh that the leader watches.
    kept: Option<KeptTopics>,
}

/// A connection to the coordinator, and what waits for it.
enum Lane {
    Closed,
    Connecting { to: Found, waiting: Vec<(Outgoing, Duration)> },
    Open { to: Found, connection: Connection },
}

impl Supervisor {
    fn new(shared: Arc<Shared>, closed: oneshot::Receiver<()>) -> Self {
        let tasks = Supervision::new(&shared.cluster, closed);
        Self { shared, tasks, parked: Lane::Closed, direct: Lane::Closed, kept: None }
    }

    /// Does what is to be done now, and says when the next thing is.
    fn act(&mut self) -> Option<Instant> {
        let shared = Arc::clone(&self.shared);
        loop {
            let metadata = shared.cluster.metadata();
            let actions = shared.state().next_actions(now(), &metadata);
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.take(action);
            }
        }
        let (deadline, leads) = {
            let state = shared.state();
            (state.next_deadline(), state.group.is_joining() || state.group.watched_topics().is_some())
        };
        if !leads {
            self.kept = None;
        }
        shared.publish();
        deadline
    }

    fn take(&mut self, action: Action) {
        let shared = &self.shared;
        match action {
            Action::FindCoordinator => {
                let (cluster, group) = (shared.cluster.clone(), Arc::clone(&shared.group));
                self.tasks.spawn(async move { Ended::Coordinator(find_coordinator(&cluster, &group).await) });
            }
            Action::Send { to, timeout, request } => self.send(to, timeout, request),
            Action::Join { to, timeout, attempt, job } => match job.run() {
                Ok(request) => self.send(to, timeout, Outgoing::JoinGroup { attempt, request }),
                Err(error) => shared.state().handle(now(), to, Incoming::JoinGroup { attempt, answer: Err(error) }),
            },
            Action::Assign { attempt, job } => {
                let (cluster, group) = (shared.cluster.clone(), Arc::clone(&shared.group));
                self.tasks
                    .spawn(async move { Ended::Assigned { attempt, outcome: assign(&cluster, group, *job).await } });
            }
            Action::AbandonJoin => self.cut(true),
            Action::Disconnect => {
                self.cut(true);
                self.cut(false);
            }
            Action::Refresh(topics) => shared.cluster.request_refresh(Topics::Named(topics)),
        }
    }

    fn lane(&mut self, is_parked: bool) -> &mut Lane {
        if is_parked { &mut self.parked } else { &mut self.direct }
    }

    /// Sends over the lane that it belongs on, which is opened where it is not.
    fn send(&mut self, to: Found, timeout: Duration, request: Outgoing) {
        let is_parked = request.is_parked();
        match self.lane(is_parked) {
            Lane::Open { to: open, connection } if *open == to && !connection.is_closed() => {
                let connection = connection.clone();
                self.dispatch(&connection, to, timeout, request);
            }
            Lane::Connecting { to: connecting, waiting } if *connecting == to => waiting.push((request, timeout)),
            Lane::Open { .. } | Lane::Connecting { .. } | Lane::Closed => {
                self.cut(is_parked);
                *self.lane(is_parked) = Lane::Connecting { to, waiting: vec![(request, timeout)] };
                let cluster = self.shared.cluster.clone();
                self.tasks.spawn(async move {
                    Ended::Connected { is_parked, to, connection: cluster.connect(to.node, None).await }
                });
            }
        }
    }

    /// Closes a lane at once. What is in flight on it, or waits for it, fails.
    fn cut(&mut self, is_parked: bool) {
        let shared = Arc::clone(&self.shared);
        match std::mem::replace(self.lane(is_parked), Lane::Closed) {
            Lane::Closed => {}
            Lane::Open { connection, .. } => connection.abort(),
            Lane::Connecting { to, waiting } => {
                let (group, error_code) = (Arc::clone(&shared.group), ErrorCode::CoordinatorNotAvailable);
                let error = Error::FindCoordinator { group, error_code };
                for (request, _) in waiting {
                    shared.state().handle(now(), to, request.fail(error.clone()));
                }
            }
        }
    }

    /// Queues a request on a connection now, and has its answer awaited.
    fn dispatch(&mut self, connection: &Connection, from: Found, timeout: Duration, request: Outgoing) {
        let answer = submit(&self.shared, connection, from.node, timeout, request);
        self.tasks.spawn(async move { Ended::Answered { from, incoming: answer.await } });
    }

    fn handle(&mut self, ended: Ended) {
        let shared = Arc::clone(&self.shared);
        match ended {
            Ended::Coordinator(found) => shared.state().handle_coordinator(now(), found),
            Ended::Answered { from, incoming } => shared.state().handle(now(), from, incoming),
            Ended::Assigned { attempt, outcome } => {
                let outcome = outcome.map(|(assignment, kept)| {
                    self.kept = Some(kept);
                    assignment
                });
                let metadata = shared.cluster.metadata();
                shared.state().handle_assigned(now(), attempt, outcome, &metadata);
            }
            Ended::Connected { is_parked, to, connection } => self.handle_connected(is_parked, to, connection),
        }
    }

    fn handle_connected(&mut self, is_parked: bool, to: Found, opened: Result<Connection, ottla_cluster::Error>) {
        let waiting = match self.lane(is_parked) {
            Lane::Connecting { to: connecting, waiting } if *connecting == to => std::mem::take(waiting),
            // It was cut meanwhile: what was opened closes as it is dropped.
            Lane::Connecting { .. } | Lane::Open { .. } | Lane::Closed => return,
        };
        match opened {
            Ok(connection) => {
                *self.lane(is_parked) = Lane::Open { to, connection: connection.clone() };
                for (request, timeout) in waiting {
                    self.dispatch(&connection, to, timeout, request);
                }
            }
            Err(source) => {
                *self.lane(is_parked) = Lane::Closed;
                let error = Error::Cluster { group: Arc::clone(&self.shared.group), source: Arc::new(source) };
                for (request, _) in waiting {
                    self.shared.state().handle(now(), to, request.fail(error.clone()));
                }
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Nobody waits for what is parked, and the coordinator could hold it for minutes. What was sent over the other
        // lane takes its course.
        if let Lane::Open { connection, .. } = &self.parked {
            connection.abort();
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Incoming> + Send>>;

fn submit(shared: &Shared, connection: &Connection, node: NodeId, timeout: Duration, request: Outgoing) -> Answer {
    let (group, attempted) = (Arc::clone(&shared.group), request.name());
    let no_answer = move |source| Error::NoAnswer { attempted, group, node, source: Arc::new(source) };
    let reaches = |api, version| connection.versions().range(api).is_some_and(|range| range.max >= version);
    match request {
        Outgoing::JoinGroup { attempt, request } => {
            let answer = connection.send(&request, timeout);
            Box::pin(async move { Incoming::JoinGroup { attempt, answer: answer.await.map_err(no_answer) } })
        }
        Outgoing::SyncGroup { attempt, request } => {
            let answer = connection.send(&request, timeout);
            Box::pin(async move { Incoming::SyncGroup { attempt, answer: answer.await.map_err(no_answer) } })
        }
        Outgoing::Heartbeat { number, request } => {
            let answer = connection.send(&request, timeout);
            Box::pin(async move { Incoming::Heartbeat { number, answer: answer.await.map_err(no_answer) } })
        }
        Outgoing::LeaveGroup { number, leave } => {
            let answer = connection.send(&leave.request(reaches(ApiKey::LeaveGroup, 3)), timeout);
            Box::pin(async move { Incoming::LeaveGroup { number, answer: answer.await.map_err(no_answer) } })
        }
        Outgoing::OffsetCommit { number, request } => {
            let answer = connection.send(&request, timeout);
            Box::pin(async move { Incoming::OffsetCommit { number, answer: answer.await.map_err(no_answer) } })
        }
        Outgoing::OffsetFetch(asked) => {
            let api = ApiKey::OffsetFetch;
            let answer = connection.send(&asked.wanted.request(reaches(api, 8), reaches(api, 7)), timeout);
            Box::pin(async move { Incoming::OffsetFetch { asked, answer: answer.await.map_err(no_answer) } })
        }
    }
}

/// Asks any broker who coordinates the group, and has the cluster know where that one is.
async fn find_coordinator(cluster: &Cluster, group: &Arc<str>) -> Result<NodeId, Error> {
    let refused = |error_code| Error::FindCoordinator { group: Arc::clone(group), error_code };
    let no_answer = |source| Error::Cluster { group: Arc::clone(group), source: Arc::new(source) };
    let ask = async |is_batched| {
        let response = cluster.request(Destination::AnyNode, &find::request(group, is_batched)).await?;
        Ok(find::read(group, is_batched, response))
    };
    let located = match ask(true).await {
        Err(ottla_cluster::Error::Connection {
            source: ottla_connection::Error::UnsupportedVersion { .. }, ..
        }) => ask(false).await,
        located => located,
    };
    let Located { node, host, port } = located.map_err(no_answer)?.map_err(refused)?;
    let port = u16::try_from(port).map_err(|_| refused(ErrorCode::CoordinatorNotAvailable))?;
    let (address, metadata) = (Address::new(host, port), cluster.metadata());
    let known = metadata.broker(node);
    if known.is_none_or(|known| known.address != address) {
        cluster.observe_node(Broker::new(node, address, known.and_then(|known| known.rack.clone())));
    }
    Ok(node)
}

/// Asks about all topics of the group, keeps them fresh from then on, and assigns them.
async fn assign(cluster: &Cluster, group: Arc<str>, job: AssignJob) -> Result<(LeaderAssignment, KeptTopics), Error> {
    let topics = job.topics().clone();
    let kept = cluster.keep_topics(topics.iter().cloned());
    let no_answer = |source| Error::Cluster { group, source: Arc::new(source) };
    let metadata = if topics.is_empty() {
        cluster.metadata()
    } else {
        cluster.refresh(Topics::named(topics.iter().cloned())).await.map_err(no_answer)?
    };
    job.run(topics_of(&metadata, &topics)).map(|assignment| (assignment, kept))
}
