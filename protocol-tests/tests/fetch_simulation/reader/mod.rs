//! A reader: a client of its own, a consumer, and an application that reads as its plan says and writes down what it sees, at
//! the moment when it sees it. What it reads from where the conductor tells the consumer's handle, beside it, at any moment.
//!
//! A [`Sabotage`] makes it break one promise, so that the checker can be seen to notice.

mod memory;
mod partitions;
mod polls;
mod sight;
mod stream;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use ottla::consumer::{Error, FetchError};
use ottla::{Batch, Client, Connector, Consumer, ConsumerHandle, StartAt, TopicPartition};
use protocol_tests::simulation::chain;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::memory::Memory;
use crate::history::{Event, History, Name, Start};
use crate::sabotage::Sabotage;
use crate::scenario::{Application, ReaderPlan, Timing};

/// Where readers are at home.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) bootstrap_servers: String,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) timing: Timing,
    pub(crate) history: History,
    pub(crate) largest_batch_bytes: usize,
    pub(crate) sabotage: Option<Sabotage>,
}

/// A reader that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) name: Name,
    pub(crate) handle: ConsumerHandle,
    pub(crate) reader: Arc<Reader>,
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What the parts of an application share.
#[derive(Debug)]
pub(crate) struct Reader {
    name: Name,
    plan: ReaderPlan,
    history: History,
    sabotage: Option<Sabotage>,
    handle: ConsumerHandle,
    random: Mutex<Rng>,
    memory: Mutex<Memory>,
    /// The number of the last record that was seen of each partition.
    last: Mutex<BTreeMap<TopicPartition, u64>>,
    slow_until: Mutex<Option<Instant>>,
    is_quick: AtomicBool,
    /// For those that hand out what they should not.
    kept: Mutex<Option<Batch>>,
}

impl Running {
    /// Starts a life of a reader, with nothing to read yet.
    pub(crate) fn start(home: &Home, name: Name, plan: &ReaderPlan) -> Self {
        let mut random = Rng::with_seed(plan.seed.wrapping_add(u64::from(name.life)));
        let client = client(home, name, random.u64(..));
        let consumer = consumer(&client, home, plan);
        let handle = consumer.handle();
        let reader = Arc::new(Reader {
            name,
            plan: plan.clone(),
            history: home.history.clone(),
            sabotage: home.sabotage,
            handle: handle.clone(),
            random: Mutex::new(random),
            memory: Mutex::new(Memory::new(plan, home.largest_batch_bytes)),
            last: Mutex::default(),
            slow_until: Mutex::default(),
            is_quick: AtomicBool::new(false),
            kept: Mutex::default(),
        });
        let (close, told) = oneshot::channel();
        let task = tokio::spawn(Arc::clone(&reader).run(client, consumer, told));
        Self { name, handle, reader, close, task }
    }

    pub(crate) fn be_slow(&self, lasting: Duration) {
        *lock(&self.reader.slow_until) = Some(Instant::now() + lasting);
    }

    /// From now on it takes no time over anything.
    pub(crate) fn be_quick(&self) {
        self.reader.is_quick.store(true, Ordering::Relaxed);
    }

    /// Closes it, and waits until it has ended.
    pub(crate) async fn close(self) {
        let _ = self.close.send(());
        // A panic has been seen by the hook that all panics go through.
        let _ = self.task.await;
    }

    /// Its task and its sockets go.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
        self.reader.note_end();
    }
}

fn client(home: &Home, name: Name, seed: u64) -> Client {
    Client::builder()
        .bootstrap_servers(home.bootstrap_servers.as_str())
        .connector(Arc::clone(&home.connector))
        .client_id(name.to_string())
        .seed(seed)
        .request_timeout(home.timing.request_timeout)
        .metadata_max_age(home.timing.metadata_max_age)
        .build()
        .unwrap()
}

fn consumer(client: &Client, home: &Home, plan: &ReaderPlan) -> Consumer {
    let mut builder = client
        .consumer()
        .auto_offset_reset(plan.policy)
        .on_truncation(plan.on_truncation)
        .fetch_max_wait(home.timing.fetch_max_wait)
        .fetch_min_bytes(plan.fetch_min_bytes.min(plan.fetch_max_bytes))
        .fetch_max_bytes(plan.fetch_max_bytes)
        .max_partition_fetch_bytes(plan.max_partition_fetch_bytes)
        .fetch_buffer_max_bytes(plan.fetch_buffer_max_bytes)
        .max_poll_bytes(plan.max_poll_bytes);
    if let Some(rack) = plan.rack {
        builder = builder.client_rack(rack);
    }
    builder.build().unwrap()
}

impl Reader {
    async fn run(self: Arc<Self>, client: Client, consumer: Consumer, mut close: oneshot::Receiver<()>) {
        if self.sabotage == Some(Sabotage::LeakTask) {
            tokio::spawn(std::future::pending::<()>());
        }
        let gauge = Arc::clone(&self);
        let reading = async {
            match self.plan.application {
                Application::Polls => polls::run(&self, consumer, &mut close).await,
                Application::Stream => stream::run(&self, consumer, &mut close).await,
                Application::Partitions => partitions::run(&self, consumer, &mut close).await,
            }
        };
        tokio::select! {
            biased;
            () = reading => {}
            () = gauge.watch_memory() => {}
        }
        self.within(CLOSE_TIMEOUT, "closing the client", client.close()).await;
        self.note_end();
    }

    /// The number of the last record that was seen of a partition.
    pub(crate) fn last_number(&self, partition: &TopicPartition) -> Option<u64> {
        lock(&self.last).get(partition).copied()
    }

    fn note_end(&self) {
        let (peak_bytes, limit_bytes) = lock(&self.memory).peak();
        self.history.record(Event::Ended { name: self.name, peak_bytes, limit_bytes });
    }

    fn fork_random(&self) -> Rng {
        lock(&self.random).fork()
    }

    /// Whether to drop what is waited for, and after how many of its polls.
    fn polls_until_dropped(&self, random: &mut Rng) -> u32 {
        let drops = !self.is_quick() && random.u32(0..100) < self.plan.drops_percent;
        if drops { random.u32(0..5) } else { u32::MAX }
    }

    fn is_quick(&self) -> bool {
        self.is_quick.load(Ordering::Relaxed)
    }

    /// What the application does with what it was handed.
    async fn dawdle(&self, random: &mut Rng) {
        if self.is_quick() {
            return;
        }
        let longest = self.plan.pace.as_millis() as u64;
        if longest > 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(0..=longest))).await;
        }
        let slow_until = *lock(&self.slow_until);
        if let Some(until) = slow_until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// The outcome of a call, unless it takes longer than it may: that is noted.
    async fn within<F: Future>(&self, limit: Duration, what: &'static str, call: F) -> Option<F::Output> {
        let outcome = tokio::time::timeout(limit, call).await.ok();
        if outcome.is_none() {
            self.history.record(Event::Overdue { name: self.name, what, limit });
        }
        outcome
    }

    /// Notes what the application is told, and does what it has to.
    fn told(&self, what: &'static str, error: &Error) {
        let name = self.name;
        match error {
            Error::Fetch(FetchError::OffsetOutOfRange { partition, offset }) => {
                let (partition, offset) = (partition.clone(), *offset);
                self.history.record(Event::OutOfRange { name, partition: partition.clone(), offset });
                self.seek(partition, StartAt::Earliest, Start::Beginning);
            }
            Error::Fetch(FetchError::LogTruncated { partition, position, diverging, .. }) => {
                let (partition, position, diverging) = (partition.clone(), *position, *diverging);
                let at = diverging.map(|diverging| diverging.offset);
                self.history.record(Event::Truncated { name, partition: partition.clone(), position, diverging: at });
                match diverging {
                    Some(diverging) => self.seek(partition, diverging.into(), Start::Offset(diverging.offset)),
                    None => self.seek(partition, StartAt::Earliest, Start::Beginning),
                }
            }
            Error::Fetch(FetchError::TopicRecreated { partition, .. }) => {
                let partition = partition.clone();
                self.history.record(Event::Recreated { name, partition: partition.clone() });
                self.seek(partition, StartAt::Earliest, Start::Beginning);
            }
            error if error.is_retriable() => {
                self.history.record(Event::Failed { name, what, error: chain(error) });
            }
            error => self.refused(what, error),
        }
    }

    /// Where the application is told, it is the application that has to decide where to go on.
    fn seek(&self, partition: TopicPartition, to: StartAt, start: Start) {
        let name = self.name;
        match self.handle.seek_to(&partition, to) {
            Ok(()) => self.history.record(Event::Sought { name, partition, start }),
            // It is not assigned any more.
            Err(error) => self.history.record(Event::Failed { name, what: "seek", error: chain(&error) }),
        }
    }

    fn refused(&self, what: &'static str, error: &Error) {
        self.history.record(Event::Refused { name: self.name, what, error: chain(error) });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a close is given.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// What a call may take beyond its limit: timers, and what is to be done without waiting for any broker.
const SLACK: Duration = Duration::from_secs(2);
