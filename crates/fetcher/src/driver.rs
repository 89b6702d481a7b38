//! The tasks that fetch: the only place here with I/O, timers and tasks.
//!
//! ```text
//!   supervisor ── starts ──▶ lane (node 1, main)   ──▶ connection of its own
//!       │                    lane (node 1, aside)  ──▶ connection of its own, opened when first needed
//!       │                    lane (node 2, main) ..
//!       └── ListOffsets, OffsetForLeaderEpoch, metadata
//! ```
//!
//! Each lane is a loop: ask the [`State`](crate::state::State) what to send, send it, read the answer, hand it in. The next Fetch is queued
//! before the application is told of the answer, so that on a current-thread runtime, too, it leaves before the records
//! are used. Brokers have nothing in common but the state's lock, which is held for moments.
//!
//! The supervisor owns all tasks, and ends with the fetcher.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::clock::{now, sleep_until};
use ottla_cluster::{Connection, Destination, Supervision, Topics, Woken};
use ottla_connection::{RawResponse, ResponseBuffers};
use ottla_wire::NodeId;
use ottla_wire::messages::{ListOffsetsResponse, OffsetForLeaderEpochResponse};
use tokio::sync::oneshot;

use crate::Error;
use crate::answer;
use crate::buffer_pool::LaneBuffers;
use crate::fetch_size::Arrival;
use crate::fetcher::Shared;
use crate::lookup::StartLookup;
use crate::plan::{Fetch, Lane, NextFetch};
use crate::validation::ValidationRequest;

/// What a task of the supervisor's ends with.
enum Ended {
    Lane(NodeId, Lane),
    Lookup(StartLookup, Result<ListOffsetsResponse, ottla_cluster::Error>),
    Validation(ValidationRequest, Result<OffsetForLeaderEpochResponse, ottla_cluster::Error>),
}

/// Runs until the fetcher is dropped or closed.
pub(crate) async fn supervise(shared: Arc<Shared>, closed: oneshot::Receiver<()>) {
    let mut tasks: Supervision<Ended> = Supervision::new(&shared.cluster, closed);
    let mut lanes: BTreeSet<(NodeId, bool)> = BTreeSet::new();
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let due = act(&shared, &mut tasks, &mut lanes);
        match tasks.woken(changed, due).await {
            Woken::Over => return,
            Woken::Metadata(known) => {
                shared.state().update_metadata(&known);
                shared.changed.notify_waiters();
            }
            Woken::Ended(Ended::Lane(node, lane)) => {
                lanes.remove(&(node, lane == Lane::Main));
            }
            Woken::Ended(Ended::Lookup(start, answer)) => {
                shared.state().handle_lookup(&start, answer, now());
                shared.changed.notify_waiters();
            }
            Woken::Ended(Ended::Validation(asked, answer)) => {
                shared.state().handle_validation(&asked, answer, now());
                shared.changed.notify_waiters();
            }
            Woken::Due => {}
        }
    }
}

/// Does what is to be done now, and says when the next thing is.
fn act(shared: &Arc<Shared>, tasks: &mut Supervision<Ended>, lanes: &mut BTreeSet<(NodeId, bool)>) -> Option<Instant> {
    let work = Work::next(shared, now());
    if !work.stale_topics.is_empty() {
        shared.cluster.request_refresh(Topics::Named(work.stale_topics));
    }
    for start in work.lookups {
        let cluster = shared.cluster.clone();
        tasks.spawn(async move {
            let answer = cluster.request(Destination::Node(start.lookup.node), &start.lookup.request).await;
            Ended::Lookup(start, answer)
        });
    }
    for asked in work.validations {
        let cluster = shared.cluster.clone();
        tasks.spawn(async move {
            let answer = cluster.request(Destination::Node(asked.node), &asked.request).await;
            Ended::Validation(asked, answer)
        });
    }
    for node in work.nodes {
        for lane in [Lane::Main, Lane::Aside] {
            if lanes.insert((node, lane == Lane::Main)) {
                tasks.spawn(run_lane(Arc::clone(shared), node, lane));
            }
        }
    }
    work.deadline
}

/// What the supervisor is to do.
struct Work {
    stale_topics: Vec<Arc<str>>,
    lookups: Vec<StartLookup>,
    validations: Vec<ValidationRequest>,
    nodes: Vec<NodeId>,
    deadline: Option<Instant>,
}

impl Work {
    fn next(shared: &Shared, now: Instant) -> Self {
        let mut state = shared.state();
        state.expire_replicas(now);
        shared.tell_news(&mut state);
        state.tell_refused(now);
        state.doubt_late_lookups(now);
        state.ask_for_leaders(now);
        let lookups = state.next_lookups(now);
        let validations = state.next_validations(now);
        let stale_topics = std::mem::take(&mut state.stale_topics).into_iter().collect();
        let (nodes, deadline) = (state.nodes(), state.next_lookup_deadline());
        let deadline = [deadline, state.replicas_expire_at].into_iter().flatten().min();
        let work = Self { stale_topics, lookups, validations, nodes, deadline };
        let is_tellable = !state.buffered.is_empty() || !state.truncated.is_empty() || !state.recreated.is_empty();
        drop(state);
        if is_tellable {
            shared.ready.notify_one();
        }
        work
    }
}

/// Fetches from a broker by one lane until it leads no assigned partition.
async fn run_lane(shared: Arc<Shared>, node: NodeId, lane: Lane) -> Ended {
    let mut link = Link {
        shared: Arc::clone(&shared),
        node,
        lane,
        connection: None,
        buffers: Arc::new(LaneBuffers::new(shared.pool.clone())),
    };
    let mut has_answered = false;
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let released = shared.pool.released();
        tokio::pin!(released);
        released.as_mut().enable();
        link.check();
        let next = shared.state().next_fetch(node, lane, now(), shared.pool.usage());
        let NextFetch::Send(fetch) = next else {
            if std::mem::take(&mut has_answered) {
                shared.ready.notify_one();
            }
            match next {
                NextFetch::End => return Ended::Lane(node, lane),
                NextFetch::Wait(until) => tokio::select! {
                    biased; // both lead to the same question
                    () = &mut changed => {}
                    () = sleep_until(until) => {}
                },
                NextFetch::WaitForMemory => {
                    tokio::select! {
                        biased; // both lead to the same question
                        () = &mut changed => {}
                        () = &mut released => {}
                    }
                }
                NextFetch::Send(_) => {}
            }
            continue;
        };
        let sent = Sent { shared: &shared, fetch: Some(fetch) };
        let buffers = Arc::clone(&link.buffers);
        tokio::select! {
            biased; // an answer is an answer, however late
            answer = ask(&shared, &mut link, &sent, &mut has_answered) => sent.finish(answer, &link),
            () = overtaken(&shared, &sent, &buffers) => {
                sent.overtaken();
                if let Some(connection) = link.connection.take() {
                    connection.abort();
                }
            }
        }
        has_answered = true;
    }
}

/// A lane's connection, and where its answers go.
struct Link {
    shared: Arc<Shared>,
    node: NodeId,
    lane: Lane,
    connection: Option<Connection>,
    buffers: Arc<LaneBuffers>,
}

impl Link {
    /// A broker that is connected to anew may have become another one, so that nothing of before is built upon.
    fn check(&mut self) {
        if self.connection.take_if(|connection| connection.is_closed()).is_some() && self.lane == Lane::Main {
            self.shared.state().handle_disconnected(self.node);
        }
    }
}

impl Drop for Link {
    /// The broker is told that its session is over, so that it need not keep it until another needs the room. Nobody waits
    /// for that: the connection lives until the answer is there.
    fn drop(&mut self) {
        if self.lane == Lane::Aside {
            return;
        }
        let end = self.shared.state().end_session(self.node);
        let (Some(request), Some(connection)) = (end, self.connection.take()) else { return };
        if let Ok(runtime) = self.shared.cluster.runtime() {
            let answer = connection.send_raw(&request, END_OF_SESSION_TIMEOUT);
            runtime.spawn(async move { drop(answer.await) });
        }
    }
}

/// Sends, tells the application of the answer before this one, and waits for the answer.
async fn ask(shared: &Shared, link: &mut Link, sent: &Sent<'_>, has_answered: &mut bool) -> Result<RawResponse, Error> {
    let Some(fetch) = &sent.fetch else { return Err(Error::Closed) };
    link.buffers.expect_answer();
    let connection = match &link.connection {
        Some(connection) if !connection.is_closed() => connection,
        _ => {
            if std::mem::take(has_answered) {
                shared.ready.notify_one();
            }
            let buffers: Arc<dyn ResponseBuffers> = link.buffers.clone();
            link.connection.insert(shared.cluster.connect(fetch.node, Some(buffers)).await?)
        }
    };
    let timeout = shared.cluster.config().request_timeout.saturating_add(fetch.max_wait).min(MAX_TIMEOUT);
    let answer = connection.send_raw(&fetch.request, timeout);
    if std::mem::take(has_answered) {
        shared.ready.notify_one();
    }
    answer.await.map_err(|source| Error::Broker { node: fetch.node, source })
}

/// Waits until an answer is late and nobody waits for it any more.
async fn overtaken(shared: &Shared, sent: &Sent<'_>, buffers: &LaneBuffers) {
    let Some(fetch) = &sent.fetch else { return };
    tokio::time::sleep_until(fetch.late_at.into()).await;
    if buffers.answer_begun_at().is_some() {
        return std::future::pending().await; // not the broker is slow, but whoever has the memory
    }
    shared.state().handle_late(fetch, now());
    shared.changed.notify_waiters();
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if shared.state().is_overtaken(fetch) {
            return;
        }
        changed.await;
    }
}

/// A Fetch that counts as in flight until it is finished, also if its task ends before.
struct Sent<'s> {
    shared: &'s Shared,
    fetch: Option<Box<Fetch>>,
}

impl Sent<'_> {
    /// Hands in what came over this link.
    fn finish(mut self, answer: Result<RawResponse, Error>, link: &Link) {
        let Some(fetch) = self.fetch.take() else { return };
        let begun_at = link.buffers.answer_begun_at(); // if it was large
        let round_trip = link.connection.as_ref().map_or(Duration::ZERO, Connection::round_trip);
        let arrival = answer.as_ref().ok().zip(begun_at).map(|(response, begun_at)| Arrival {
            way: begun_at.saturating_duration_since(fetch.sent_at).min(round_trip),
            transfer: now().saturating_duration_since(begun_at),
            bytes: response.body.len(),
        });
        let read = answer.and_then(|response| {
            let version = response.version;
            answer::read(self.shared.isolation, version, response.body).map_err(|source| Error::Decode {
                node: fetch.node,
                version,
                source,
            })
        });
        match read {
            Ok(answer) => {
                let mut state = self.shared.state();
                if let Some(arrival) = arrival {
                    state.handle_arrival(&fetch, arrival);
                }
                let hints = state.handle_answer(&fetch, answer.waiting(link.buffers.waiting_answer()), now());
                drop(state);
                // An answer that brought nothing gave its memory back before its promise.
                self.shared.pool.tell_released();
                if hints.is_for_others {
                    self.shared.changed.notify_waiters();
                }
                self.shared.pass_on(hints);
            }
            Err(error) => {
                tracing::debug!(node = %fetch.node, error = &error as &dyn std::error::Error, "fetch failed");
                self.shared.state().handle_failure(&fetch, error, now());
                self.shared.changed.notify_waiters();
            }
        }
    }

    fn overtaken(mut self) {
        if let Some(fetch) = self.fetch.take() {
            self.shared.state().handle_overtaken(&fetch);
            self.shared.changed.notify_waiters();
        }
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            self.shared.state().handle_failure(&fetch, Error::Closed, now());
        }
    }
}

/// How long the answer to the end of a session is waited for: a Fetch may still be parked before it.
const END_OF_SESSION_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest that an answer to Fetch is waited for, whatever the settings.
const MAX_TIMEOUT: Duration = Duration::from_hours(24);

/// Asks each of the futures at once, and waits for all.
pub(crate) async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        let mut is_ready = true;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match std::pin::Pin::new(future).poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready {
            std::task::Poll::Ready(std::mem::take(&mut outputs).into_iter().flatten().collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}
