//! Members of one group: how they are made, polled until something is so, and what the broker knows of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_broker::GroupDescription;
use ottla_consumer::assignor::built_in;
use ottla_consumer::{Batches, Consumer, ConsumerBuilder, ConsumerHandle};
use ottla_wire::ApiKey;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::setup::{LONG, Seen, Setup, TOPIC, partition, read};

/// In every test the one group.
pub(crate) const GROUP: &str = "group";
/// The shortest that brokers allow.
pub(crate) const SESSION: Duration = Duration::from_secs(6);
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(500);

impl Setup {
    /// A consumer that will be a member, by the range assignor unless something else is said.
    pub(crate) fn member(&self) -> ConsumerBuilder {
        self.consumer()
            .group_id(GROUP)
            .session_timeout(SESSION)
            .heartbeat_interval(HEARTBEAT)
            .partition_assignment_strategy([built_in("range").unwrap()])
    }

    /// A member that keeps what it can while the group rebalances.
    pub(crate) fn cooperative_member(&self) -> ConsumerBuilder {
        self.member().partition_assignment_strategy([built_in("cooperative-sticky").unwrap()])
    }

    /// What the group has committed for a partition, as the broker has it.
    pub(crate) async fn committed(&self, index: i32) -> Option<i64> {
        let committed = self.embedded.committed_offsets(GROUP).await.unwrap();
        committed.get(&partition(index)).map(|committed| committed.offset)
    }

    /// Waits until the group has committed this offset for a partition.
    pub(crate) async fn until_committed(&self, index: i32, offset: i64) {
        eventually(async || self.committed(index).await == Some(offset)).await;
    }

    pub(crate) async fn group(&self) -> GroupDescription {
        self.embedded.describe_group(GROUP).await.unwrap()
    }

    /// How many requests of an API all nodes have read.
    pub(crate) fn requests(&self, api: ApiKey) -> u64 {
        self.embedded.nodes().map(|node| self.embedded.faults().requests(node, api)).sum()
    }

    /// How many OffsetCommit requests all nodes have read.
    pub(crate) fn commits(&self) -> u64 {
        self.requests(ApiKey::OffsetCommit)
    }
}

/// A member that is subscribed, in a task that polls it.
pub(crate) fn polled(builder: ConsumerBuilder) -> Polled {
    let consumer = builder.build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    Polled::start(consumer)
}

/// Two members that share the partitions.
pub(crate) async fn pair(
    setup: &Setup,
    first: ConsumerBuilder,
    second: ConsumerBuilder,
    partitions: usize,
) -> [Consumer; 2] {
    let mut pair = [first.build().unwrap(), second.build().unwrap()];
    for member in &pair {
        member.subscribe([TOPIC]).unwrap();
    }
    let [first, second] = &mut pair;
    poll_until(&mut [first, second], &mut Seen::default(), |members| is_shared(members, partitions)).await;
    assert_eq!(setup.group().await.members.len(), 2);
    pair
}

/// Subscribes to the topic, and polls until it is alone in the group and has so many partitions.
pub(crate) async fn join_alone(consumer: &mut Consumer, partitions: usize) -> Seen {
    consumer.subscribe([TOPIC]).unwrap();
    let mut seen = Seen::default();
    poll_until(&mut [consumer], &mut seen, |members| owned(members[0]).len() == partitions).await;
    seen
}

/// Subscribes to the topic, and reads so many records.
pub(crate) async fn subscribe_and_read(consumer: &mut Consumer, count: usize) -> Seen {
    consumer.subscribe([TOPIC]).unwrap();
    read(consumer, count).await
}

/// The partitions that a member has.
pub(crate) fn owned(consumer: &ConsumerHandle) -> Vec<i32> {
    consumer.assignment().into_iter().map(|partition| partition.partition).collect()
}

/// Whether all are members of one generation and have all partitions between them, each some.
pub(crate) fn is_shared(members: &[&mut Consumer], partitions: usize) -> bool {
    let mut all: Vec<i32> = members.iter().flat_map(|member| owned(member)).collect();
    all.sort_unstable();
    let generations: Option<Vec<_>> =
        members.iter().map(|member| Some(member.group_metadata()?.generation_id)).collect();
    all.iter().copied().eq(0..partitions as i32)
        && members.iter().all(|member| !owned(member).is_empty() && !member.rebalance_pending())
        && generations.is_some_and(|generations| generations.windows(2).all(|pair| pair[0] == pair[1]))
}

/// Polls the members in turn until something is so. What they are handed is looked at, and adds to what was seen.
pub(crate) async fn poll_until(
    members: &mut [&mut Consumer],
    seen: &mut Seen,
    is_so: impl Fn(&[&mut Consumer]) -> bool,
) {
    let deadline = Instant::now() + LONG;
    while !is_so(members) {
        assert!(Instant::now() < deadline, "not within an hour");
        for member in &mut *members {
            seen.take(&member.poll(Duration::from_millis(20)).await.unwrap());
        }
    }
}

/// Polls until there are batches.
pub(crate) async fn next(consumer: &mut Consumer) -> Batches {
    let batches = consumer.poll(LONG).await.unwrap();
    assert!(!batches.is_empty(), "an hour without records");
    batches
}

/// Goes through the first `records` of the batches, and no further.
pub(crate) fn leave_early(batches: &Batches, records: usize) {
    let all = batches.iter().flat_map(|batch| batch.records());
    assert_eq!(all.take(records).flatten().count(), records);
}

/// Waits until something is so; an hour without it is a failure.
pub(crate) async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within an hour");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A member that is polled all the time, in a task of its own.
pub(crate) struct Polled {
    pub(crate) handle: ConsumerHandle,
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Consumer>,
}

impl Polled {
    pub(crate) fn start(mut consumer: Consumer) -> Self {
        let (handle, seen) = (consumer.handle(), Arc::<Mutex<Seen>>::default());
        let (stop, mut stopped) = watch::channel(false);
        let seeing = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let batches = tokio::select! {
                    biased;
                    _ = stopped.changed() => return consumer,
                    batches = consumer.poll(LONG) => batches.unwrap(),
                };
                seeing.lock().unwrap().take(&batches);
            }
        });
        Self { handle, seen, stop, task }
    }

    /// How many records it was handed.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().count()
    }

    /// Polls no more; gives the consumer, and what it was handed.
    pub(crate) async fn stop(self) -> (Consumer, Seen) {
        self.stop.send_replace(true);
        let consumer = self.task.await.unwrap();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        (consumer, seen)
    }

    /// As a crash does: the task and the consumer in it are gone.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}
