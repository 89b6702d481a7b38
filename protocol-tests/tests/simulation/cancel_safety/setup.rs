//! A small cluster, some records, consumers of one group, and what they have seen of the records.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::{
    AssignmentChange, AutoOffsetReset, Batch, Client, Consumer, ConsumerBuilder, ConsumerHandle, ListenerResult,
    ProducerRecord, RebalanceListener, TopicPartition,
};
use ottla_broker::{EmbeddedCluster, Transport};
use ottla_connection::MemoryNetwork;

pub(super) const TOPIC: &str = "letters";
pub(super) const GROUP: &str = "readers";
pub(super) const PARTITIONS: i32 = 4;
/// The records of each partition.
pub(super) const RECORDS: i64 = 10;
/// Longer than anything takes that does not hang.
pub(super) const LONG: Duration = Duration::from_mins(10);
/// More polls than any future needs here.
const MOST_POLLS: u32 = 400;

/// A cluster with records, and a client of it.
pub(super) struct Setup {
    pub(super) cluster: EmbeddedCluster,
    pub(super) client: Client,
}

impl Setup {
    pub(super) async fn start() -> Self {
        let network = Transport::Memory(MemoryNetwork::new());
        let builder = EmbeddedCluster::builder().nodes(3).seed(1).start_time_ms(0).transport(network);
        let cluster = builder.default_replication_factor(3).start().await.unwrap();
        cluster.create_topic(TOPIC, PARTITIONS, 3).await.unwrap();
        let setup = Self { client: client(&cluster, 1), cluster };
        let producer = setup.client.producer().build().unwrap();
        for index in 0..RECORDS {
            for partition in 0..PARTITIONS {
                // Each awaited, so that each is a batch.
                let record = ProducerRecord::new(TOPIC).partition(partition).value(index.to_string());
                producer.send(record.timestamp_ms(0)).await.unwrap();
            }
        }
        producer.close(LONG).await;
        setup
    }

    /// A member of the group, of a client of its own, that is handed one batch a poll.
    pub(super) fn member(&self, seed: u64) -> ConsumerBuilder {
        client(&self.cluster, seed)
            .consumer()
            .group_id(GROUP)
            .session_timeout(Duration::from_secs(6))
            .heartbeat_interval(Duration::from_secs(1))
            .max_poll_bytes(1)
            .auto_offset_reset(AutoOffsetReset::Earliest)
    }

    /// What the group has committed of each partition.
    pub(super) async fn committed(&self) -> BTreeMap<i32, i64> {
        let committed = self.cluster.committed_offsets(GROUP).await.unwrap();
        committed.into_iter().map(|(partition, committed)| (partition.partition, committed.offset)).collect()
    }

    /// All has been read and committed.
    pub(super) async fn assert_all_is_committed(&self) {
        let all = (0..PARTITIONS).map(|partition| (partition, RECORDS)).collect();
        assert_eq!(self.committed().await, all);
    }
}

fn client(cluster: &EmbeddedCluster, seed: u64) -> Client {
    let builder = Client::builder().bootstrap_servers(cluster.bootstrap_servers());
    builder.connector(cluster.connector()).seed(seed).build().unwrap()
}

/// The offset that is to come next of each partition. A clone is the same account.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<BTreeMap<i32, i64>>>);

impl Seen {
    /// A record that follows the last one: none is lost, and none comes twice.
    pub(super) fn record(&self, partition: i32, offset: i64) {
        let mut next = self.0.lock().unwrap();
        let next = next.entry(partition).or_default();
        assert_eq!(offset, *next, "of partition {partition}");
        *next += 1;
    }

    /// A record that may have been read before, by one who did not commit it: none is lost.
    pub(super) fn record_again(&self, partition: i32, offset: i64) {
        let mut next = self.0.lock().unwrap();
        let next = next.entry(partition).or_default();
        assert!(offset <= *next, "of partition {partition} {next} was to come, and {offset} has");
        *next = (*next).max(offset + 1);
    }

    pub(super) fn batch(&self, batch: &Batch) {
        for record in batch.records() {
            self.record(batch.partition(), record.unwrap().offset());
        }
    }

    pub(super) fn count(&self) -> i64 {
        self.0.lock().unwrap().values().sum()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.count() == i64::from(PARTITIONS) * RECORDS
    }

    pub(super) fn next(&self, partition: i32) -> i64 {
        self.0.lock().unwrap().get(&partition).copied().unwrap_or(0)
    }
}

/// Polls until so many records have been seen.
pub(super) async fn read(consumer: &mut Consumer, seen: &Seen, count: i64) {
    let reading = async {
        while seen.count() < count {
            consumer.poll(LONG).await.unwrap().iter().for_each(|batch| seen.batch(batch));
        }
    };
    in_time("reading", reading).await;
}

/// Reads all partitions to their ends. Others may have read some of it.
pub(super) async fn read_again(consumer: &mut Consumer, seen: &Seen) {
    let is_at_end = |consumer: &Consumer, partition: &TopicPartition| {
        consumer.position_now(partition).is_ok_and(|position| position == Some(RECORDS))
    };
    let reading = async {
        while !all_partitions().iter().all(|partition| is_at_end(consumer, partition)) {
            for batch in &consumer.poll(LONG).await.unwrap() {
                for record in batch.records() {
                    seen.record_again(batch.partition(), record.unwrap().offset());
                }
            }
        }
    };
    in_time("reading", reading).await;
    assert!(seen.is_complete(), "{seen:?}");
}

/// What does not end is a failure that says so.
pub(super) async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// Runs a test once for each number of polls after which a future is dropped, from none on, until it ends by itself within
/// so many: that is what the test returns. It has to be one that waits at least so often.
pub(super) async fn at_each_poll(waits: u32, test: impl AsyncFn(u32) -> bool) {
    for polls in 0..MOST_POLLS {
        if test(polls).await {
            assert!(polls > waits, "the future ends within {polls} polls: nothing was tested");
            return;
        }
    }
    panic!("the future does not end within {MOST_POLLS} polls");
}

/// A listener that takes its time and commits, and checks that each of its methods ends before the next begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Careful {
    begun: Arc<AtomicU32>,
    ended: Arc<AtomicU32>,
    pub(super) revoked: Arc<AtomicU32>,
}

impl Careful {
    async fn work(&self, consumer: &ConsumerHandle) -> ListenerResult {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        assert_eq!(begun, self.ended.load(Ordering::Relaxed), "the last method has not ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
        consumer.commit_sync().await?;
        self.ended.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Every method that was begun has ended.
    pub(super) fn assert_whole(&self) {
        assert_eq!(self.begun.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed));
    }
}

impl RebalanceListener for Careful {
    async fn on_assigned(&self, _: AssignmentChange, consumer: ConsumerHandle) -> ListenerResult {
        self.work(&consumer).await
    }

    async fn on_revoked(&self, _: AssignmentChange, consumer: ConsumerHandle) -> ListenerResult {
        self.revoked.fetch_add(1, Ordering::Relaxed);
        self.work(&consumer).await
    }

    async fn on_lost(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        panic!("nobody is to lose {change:?}");
    }
}

pub(super) fn all_partitions() -> Vec<TopicPartition> {
    (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition)).collect()
}
