//! Members of a group as the cases use them: each with a client of its own in a task of its own, as if it were a process of
//! its own, and what all of them were handed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla::consumer::assignor::built_in;
use ottla::{
    AutoOffsetReset, Batches, Client, ConsumerBuilder, ConsumerHandle, GenerationId, Producer, TopicPartition,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::io::send_all;
use super::{TestCluster, eventually};
use crate::record::PlainRecord;

/// The shortest that brokers allow by default.
pub(super) const SESSION: Duration = Duration::from_secs(6);

/// A group that reads a topic of numbered records.
pub(super) struct Group {
    pub(super) cluster: TestCluster,
    pub(super) name: String,
    pub(super) topic: String,
    partitions: i32,
    assignor: &'static str,
    tally: Arc<Mutex<Tally>>,
}

/// Who was handed what, in the order in which it was: members by name, by partition and offset.
#[derive(Debug, Default)]
pub(super) struct Tally {
    readers: BTreeMap<(i32, i64), Vec<&'static str>>,
    numbers: BTreeMap<i64, u32>,
}

/// A member that is polled all the time.
pub(super) struct Member {
    pub(super) handle: ConsumerHandle,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Who is in a group and has what: a generation, and its members' shares.
pub(super) type Shares = (GenerationId, Vec<Vec<i32>>);

impl Group {
    /// A group of that name in a topic's stead, whose members go by that assignor.
    pub(super) fn new(cluster: &TestCluster, topic: &str, partitions: i32, assignor: &'static str) -> Self {
        Self {
            name: cluster.topic_name(assignor),
            cluster: cluster.clone(),
            topic: topic.to_owned(),
            partitions,
            assignor,
            tally: Arc::default(),
        }
    }

    /// The settings of a member, or of somebody who looks at the group's offsets.
    pub(super) fn consumer(&self, client: &Client) -> ConsumerBuilder {
        client
            .consumer()
            .group_id(&self.name)
            .partition_assignment_strategy(built_in(self.assignor))
            .session_timeout(SESSION)
            .heartbeat_interval(Duration::from_millis(500))
            .auto_commit_interval(Duration::from_secs(1))
            .auto_offset_reset(AutoOffsetReset::Earliest)
    }

    pub(super) fn member(&self, name: &'static str) -> Member {
        self.start(name, |consumer| consumer)
    }

    pub(super) fn static_member(&self, name: &'static str) -> Member {
        self.start(name, |consumer| consumer.group_instance_id(name))
    }

    fn start(&self, name: &'static str, settings: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder) -> Member {
        let client = self.cluster.client_builder().client_id(name).build().expect("the settings are valid");
        let mut consumer = settings(self.consumer(&client)).build().expect("the settings are valid");
        consumer.subscribe([&*self.topic]).expect("it has a group");
        let (handle, tally) = (consumer.handle(), Arc::clone(&self.tally));
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            while !*stopped.borrow_and_update() {
                let batches = tokio::select! {
                    biased;
                    _ = stopped.changed() => continue,
                    batches = consumer.poll(Duration::from_secs(1)) => batches,
                };
                lock(&tally).take(name, &batches.expect("nothing fails for good while reading"));
            }
            consumer.close().await.expect("the member leaves");
            client.close().await;
        });
        Member { handle, stop, task }
    }

    /// Waits until these are all the members of one generation, each has some partitions, and together they have all.
    pub(super) async fn shared_by(&self, members: &[&Member]) -> Shares {
        let what = format!("{} members share the partitions of {}", members.len(), self.name);
        eventually(&what, async || {
            let assigned: Option<Vec<_>> = members.iter().map(|member| member.handle.last_assigned()).collect();
            let assigned = assigned?;
            let is_settled = members.iter().zip(&assigned).all(|(member, assigned)| {
                let is_current =
                    member.handle.group_metadata().is_some_and(|now| now.generation_id == assigned.generation_id);
                is_current && !member.handle.rebalance_pending() && member.handle.assignment() == assigned.partitions
            });
            let generation = assigned.first()?.generation_id;
            let shares: Vec<Vec<i32>> = assigned
                .iter()
                .map(|assigned| assigned.partitions.iter().map(|partition| partition.partition).collect())
                .collect();
            let mut all: Vec<i32> = shares.iter().flatten().copied().collect();
            all.sort_unstable();
            let is_complete = all.into_iter().eq(0..self.partitions) && !shares.iter().any(Vec::is_empty);
            let is_one = assigned.iter().all(|assigned| assigned.generation_id == generation);
            (is_settled && is_complete && is_one).then_some((generation, shares))
        })
        .await
    }

    /// Waits until the members have been handed every number below.
    pub(super) async fn has_read(&self, numbers: i64) {
        let what = format!("{} has read all of {numbers} records", self.name);
        eventually(&what, async || lock(&self.tally).numbers.keys().copied().eq(0..numbers).then_some(())).await;
    }

    /// How many records were handed out more than once, to whom whatever was.
    pub(super) fn read_again(&self) -> Vec<((i32, i64), Vec<&'static str>)> {
        let tally = lock(&self.tally);
        let again = tally.readers.iter().filter(|(_, readers)| readers.len() > 1);
        again.map(|(place, readers)| (*place, readers.clone())).collect()
    }

    /// Waits until the group has committed the ends of all partitions, which are those of records that were handed out.
    pub(super) async fn has_committed_all(&self) {
        let client = self.cluster.client();
        let reader = self.consumer(&client).build().expect("the settings are valid");
        let partitions = || (0..self.partitions).map(|index| TopicPartition::new(&*self.topic, index));
        let what = format!("{} has committed all that it has read", self.name);
        eventually(&what, async || {
            let ends = reader.end_offsets(partitions()).await.ok()?;
            let committed = reader.committed(partitions()).await.ok()?;
            let is_committed = |(partition, end): (&TopicPartition, &i64)| {
                committed.get(partition).and_then(Option::as_ref).map_or(0, |committed| committed.offset) == *end
            };
            ends.iter().all(is_committed).then_some(())
        })
        .await;
        reader.close().await.expect("it closes");
    }
}

impl Member {
    /// Has it commit, leave and close, and waits for that.
    pub(super) async fn leave(self) {
        self.stop.send_replace(true);
        self.task.await.expect("the member has read without a failure");
    }

    /// As a crash does: its tasks and its connections are gone, and nobody tells the group.
    pub(super) async fn crash(self) {
        self.task.abort();
        let ended = self.task.await;
        assert!(ended.is_err_and(|ended| ended.is_cancelled()), "the member had ended by itself");
    }
}

impl Tally {
    fn take(&mut self, reader: &'static str, batches: &Batches) {
        for batch in batches {
            for record in batch.records() {
                let record = record.expect("the record is whole");
                self.readers.entry((batch.partition(), record.offset())).or_default().push(reader);
                let number = std::str::from_utf8(record.value().expect("it has a value")).expect("it is text");
                *self.numbers.entry(number.parse().expect("it is a number")).or_default() += 1;
            }
        }
    }
}

/// Numbered records, sent one after the other over all partitions of a topic.
pub(super) struct Numbers {
    producer: Producer,
    topic: String,
    partitions: i32,
    pub(super) sent: i64,
}

impl Numbers {
    pub(super) fn new(client: &Client, topic: &str, partitions: i32) -> Self {
        let producer = client.producer().delivery_timeout(Duration::from_mins(3)).build();
        Self { producer: producer.expect("the settings are valid"), topic: topic.to_owned(), partitions, sent: 0 }
    }

    /// Sends so many more, and waits until they are acknowledged.
    pub(super) async fn send(&mut self, count: i64) {
        let numbers = self.sent..self.sent + count;
        let records = numbers.map(|number| {
            let partition = i32::try_from(number % i64::from(self.partitions)).unwrap_or_default();
            PlainRecord::new("k", number.to_string()).to_partition(partition)
        });
        send_all(&self.producer, &self.topic, &records.collect::<Vec<_>>()).await;
        self.sent += count;
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
