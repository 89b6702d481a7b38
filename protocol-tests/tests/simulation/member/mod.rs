//! A member of the group: a client of its own, a consumer, and an application that reads as its plan says and writes down
//! what it sees.
//!
//! The application is well behaved: it is done with a record before it says so, and does as its listener is told. What it is
//! told to do by the conductor comes as [`Command`]s. Every call has a limit, and passing it is written down, too.
//!
//! A [`Sabotage`] makes it break one promise, so that the checker can be seen to notice.

mod listener;
mod partitions;
mod polls;
mod stream;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use ottla::consumer::{Error, assignor};
use ottla::{AutoOffsetReset, Batch, Client, Connector, Consumer, ConsumerHandle, ErrorCode};
use protocol_tests::simulation::chain;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::listener::Listener;
use crate::history::{Event, History, Name};
use crate::sabotage::{Forgetful, Sabotage};
use crate::scenario::{Application, GROUP, MemberPlan, Timing};
use crate::tap::{Tap, TopicNames};
use crate::workload::sequence_of;

/// What the conductor tells a member to do.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// `calm`: nothing is wrong with the cluster, so that closing has to succeed.
    Close {
        calm: bool,
    },
    Slow {
        lasting: Duration,
    },
    /// A reader that was to be slow and has not begun to be is not to be any more.
    Quick,
    Subscribe {
        topics: BTreeSet<&'static str>,
    },
    Resubscribe {
        topics: BTreeSet<&'static str>,
    },
    SeekBack,
    EnforceRebalance,
}

/// A member that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) name: Name,
    pub(crate) consumer: ConsumerHandle,
    commands: mpsc::UnboundedSender<Command>,
    orders: Arc<Orders>,
    task: JoinHandle<()>,
}

/// What a member was told and has not done yet.
#[derive(Debug, Default)]
struct Orders {
    open: AtomicU32,
    /// For how long the next reader of a partition is to do nothing.
    slow: Mutex<Option<Duration>>,
}

/// Where a member is at home.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) bootstrap_servers: String,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) topic_names: TopicNames,
    pub(crate) timing: Timing,
    pub(crate) history: History,
    pub(crate) sabotage: Option<Sabotage>,
}

/// What the parts of an application share.
#[derive(Debug)]
struct Member {
    name: Name,
    plan: MemberPlan,
    timing: Timing,
    history: History,
    sabotage: Option<Sabotage>,
    random: Mutex<Rng>,
    orders: Arc<Orders>,
    /// Counts revocations that have ended.
    revocations: AtomicU32,
}

impl Running {
    /// Starts a life of a member.
    pub(crate) fn start(home: &Home, name: Name, plan: &MemberPlan) -> Self {
        let member = Arc::new(Member::new(home, name, plan));
        let client = member.client(home);
        let consumer = member.consumer(&client);
        let handle = consumer.handle();
        member.subscribe(&handle, &plan.topics);
        let (commands, told) = mpsc::unbounded_channel();
        let orders = Arc::clone(&member.orders);
        let task = tokio::spawn(async move {
            member.run(consumer, told).await;
            client.close().await;
        });
        Self { name, consumer: handle, commands, orders, task }
    }

    /// Told to a member that has ended, it is not heard.
    pub(crate) fn tell(&self, command: Command) {
        self.orders.open.fetch_add(1, Ordering::Relaxed);
        let _ = self.commands.send(command);
    }

    /// Whether it has done all that it was told to.
    pub(crate) fn has_obeyed(&self) -> bool {
        self.orders.open.load(Ordering::Relaxed) == 0
    }

    /// Whether its task has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until its task has ended.
    pub(crate) async fn ended(self) {
        // A panic has been seen by the hook that all panics go through.
        let _ = self.task.await;
    }

    /// Its task and its sockets go.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

impl Orders {
    fn done(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// An order that nobody has taken up is replaced, and done with.
    fn replace_slow(&self, slow: Option<Duration>) {
        if std::mem::replace(&mut *self.slow.lock().unwrap_or_else(PoisonError::into_inner), slow).is_some() {
            self.done();
        }
    }

    /// Does nothing for as long as was ordered, if it was.
    async fn be_slow(&self) {
        let slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lasting) = slow {
            tokio::time::sleep(lasting).await;
            self.done();
        }
    }
}

impl Member {
    fn new(home: &Home, name: Name, plan: &MemberPlan) -> Self {
        Self {
            name,
            plan: plan.clone(),
            timing: home.timing,
            history: home.history.clone(),
            sabotage: home.sabotage,
            random: Mutex::new(Rng::with_seed(plan.seed.wrapping_add(u64::from(name.life)))),
            orders: Arc::default(),
            revocations: AtomicU32::new(0),
        }
    }

    fn client(&self, home: &Home) -> Client {
        let tap = Tap {
            inner: Arc::clone(&home.connector),
            member: self.name,
            history: home.history.clone(),
            names: Arc::clone(&home.topic_names),
        };
        let builder = Client::builder()
            .bootstrap_servers(home.bootstrap_servers.as_str())
            .connector(Arc::new(tap))
            .client_id(format!("m{}", self.name.member))
            .seed(self.fork_random().u64(..))
            .request_timeout(self.timing.request_timeout)
            .default_api_timeout(self.timing.default_api_timeout)
            .metadata_max_age(self.timing.metadata_max_age);
        builder.build().unwrap()
    }

    fn consumer(self: &Arc<Self>, client: &Client) -> Consumer {
        let (plan, timing) = (&self.plan, &self.timing);
        let mut assignors: Vec<_> = plan.assignors.iter().map(|name| assignor::built_in(name).unwrap()).collect();
        if self.sabotage == Some(Sabotage::ForgetPartition) {
            assignors = assignors.into_iter().map(|inner| Arc::new(Forgetful(inner)) as _).collect();
        }
        let mut builder = client
            .consumer()
            .group_id(GROUP)
            .partition_assignment_strategy(assignors)
            .session_timeout(timing.session_timeout)
            .heartbeat_interval(timing.heartbeat_interval)
            .max_poll_interval(timing.max_poll_interval)
            .partition_drain_timeout(timing.partition_drain_timeout)
            .fetch_max_wait(timing.fetch_max_wait)
            .max_poll_bytes(plan.max_poll_bytes)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .enable_auto_commit(plan.application.is_automatic())
            .auto_commit_interval(plan.auto_commit_interval)
            .rebalance_listener(Listener(Arc::clone(self)));
        if plan.is_static {
            builder = builder.group_instance_id(format!("static-{}", self.name.member));
        }
        builder.build().unwrap()
    }

    async fn run(self: Arc<Self>, consumer: Consumer, orders: mpsc::UnboundedReceiver<Command>) {
        if self.sabotage == Some(Sabotage::LeakTask) {
            tokio::spawn(std::future::pending::<()>());
        }
        let how = match self.plan.application {
            Application::Polls(commits) => polls::run(&self, consumer, orders, commits).await,
            Application::Stream { automatic } => stream::run(&self, consumer, orders, automatic).await,
            Application::Partitions { automatic } => partitions::run(&self, consumer, orders, automatic).await,
        };
        self.history.record(Event::Ended { member: self.name, how });
    }

    /// A generator of its own for a part of the member.
    fn fork_random(&self) -> Rng {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    fn handed(&self, batch: &Batch) {
        let (first, next) = (batch.start_offset(), batch.next_offset());
        let partition = batch.topic_partition().clone();
        self.history.record(Event::Handed { member: self.name, partition, first, next });
    }

    /// Goes through a batch that was handed out.
    async fn process(&self, batch: &Batch, random: &mut Rng) {
        let mut expected = batch.start_offset();
        for record in batch.records() {
            let (member, partition) = (self.name, batch.topic_partition().clone());
            match record {
                Ok(record) => {
                    let (offset, sequence) = (record.offset(), sequence_of(record.value()));
                    if offset != expected {
                        let place = Event::OutOfPlace { member, partition: partition.clone(), expected, found: offset };
                        self.history.record(place);
                    }
                    expected = offset + 1;
                    self.pace(random).await;
                    self.history.record(Event::Processed { member, partition, offset, sequence });
                }
                Err(corrupt) => self.refused("reading a record", &corrupt.into()),
            }
        }
        if expected != batch.next_offset() {
            let (member, partition) = (self.name, batch.topic_partition().clone());
            let found = batch.next_offset();
            self.history.record(Event::OutOfPlace { member, partition, expected, found });
        }
    }

    /// The time that a record takes.
    async fn pace(&self, random: &mut Rng) {
        let longest = self.plan.pace.as_millis() as u64;
        if longest > 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(0..=longest))).await;
        }
    }

    /// Waits no longer than a call may take; `None`, and a note of it, where it does.
    async fn within<F: Future>(&self, limit: Duration, what: &'static str, call: F) -> Option<F::Output> {
        let outcome = tokio::time::timeout(limit, call).await.ok();
        if outcome.is_none() {
            self.history.record(Event::Overdue { member: self.name, what, limit });
        }
        outcome
    }

    /// The longest that a commit may take: it is tried for `default.api.timeout.ms`, as those before it are.
    fn commit_limit(&self) -> Duration {
        2 * self.timing.default_api_timeout + self.timing.request_timeout + SLACK
    }

    /// The longest that giving up partitions may take: their readers, a commit before the listener and one in it, the
    /// listener's own time, and leaving.
    fn revocation_limit(&self) -> Duration {
        let leaving = Duration::from_secs(5);
        self.timing.partition_drain_timeout + 2 * self.commit_limit() + LISTENER_TIME + leaving + SLACK
    }

    async fn commit_sync(&self, consumer: &ConsumerHandle) {
        let committing = consumer.commit_sync();
        if let Some(Err(error)) = self.within(self.commit_limit(), "commit_sync", committing).await {
            self.failed("commit_sync", &error);
        }
    }

    async fn close(&self, consumer: Consumer, calm: bool) -> &'static str {
        let closing = consumer.close_within(CLOSE_TIMEOUT);
        let closed = self.within(CLOSE_TIMEOUT + SLACK, "close", closing).await;
        self.note_closed(closed, calm)
    }

    fn note_closed(&self, closed: Option<Result<(), Error>>, calm: bool) -> &'static str {
        match closed {
            Some(Err(error)) if calm => self.refused("close", &error),
            Some(Err(error)) => self.failed("close", &error),
            Some(Ok(())) | None => {}
        }
        "closed"
    }

    fn failed(&self, what: &'static str, error: &Error) {
        self.history.record(Event::Failed { member: self.name, what, error: chain(error) });
    }

    fn refused(&self, what: &'static str, error: &Error) {
        self.history.record(Event::Refused { member: self.name, what, error: chain(error) });
    }

    /// Notes an error of a poll. How the member ends of it, if it does.
    async fn poll_failed(&self, error: &Error) -> Option<&'static str> {
        if error.is_fatal() {
            return Some(self.given_up("poll", error));
        }
        self.failed("poll", error);
        // As applications do that do not want to spin.
        tokio::time::sleep(Duration::from_millis(50)).await;
        None
    }

    /// Notes that the consumer cannot go on.
    fn given_up(&self, what: &'static str, error: &Error) -> &'static str {
        // A coordinator that moves before a generation is complete forgets the id that it gave to a static member in its
        // new life, and remembers the one before: Kafka's brokers fence the new one. It has to begin again.
        if self.plan.is_static && error.error_code() == Some(ErrorCode::FencedInstanceId) {
            self.failed(what, error);
            return "fenced";
        }
        self.refused(what, error);
        "failed"
    }

    /// By their names, or by whatever picks them.
    fn subscribe(&self, consumer: &ConsumerHandle, topics: &BTreeSet<&'static str>) {
        let subscribed = if self.fork_random().u32(0..4) == 0 {
            let topics = topics.clone();
            consumer.subscribe_matching(move |topic| topics.contains(topic))
        } else {
            consumer.subscribe(topics.iter().copied())
        };
        if let Err(error) = subscribed {
            self.refused("subscribe", &error);
        }
    }

    /// Goes back in one of the assigned partitions, if it has a position.
    fn seek_back(&self, consumer: &ConsumerHandle, random: &mut Rng) {
        let Some(partition) = random.choice(consumer.assignment()) else { return };
        let Ok(Some(position)) = consumer.position_now(&partition) else { return };
        let offset = (position - random.i64(1..30)).max(0);
        match consumer.seek(&partition, offset) {
            Ok(()) => self.history.record(Event::Sought { member: self.name, partition, offset }),
            Err(error) => self.failed("seek", &error),
        }
    }

    fn has_revoked(&self) -> u32 {
        self.revocations.load(Ordering::Relaxed)
    }
}

/// How long a close is given.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest that a listener takes for itself.
const LISTENER_TIME: Duration = Duration::from_millis(1500);
/// What a call may take beyond its limit: timers, and what is to be done without waiting for any broker.
const SLACK: Duration = Duration::from_secs(2);
