//! What the callers of `enqueue` and the driver share: the accumulator, the memory bound, and the signals between them.
//!
//! The memory bound is a semaphore of bytes, which is fair: who waits longest is served first, and nobody overtakes.
//! What a batch reserves comes back when all its records are answered.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ottla_cluster::{Metadata, TopicMetadata};
use ottla_wire::TopicPartition;
use tokio::sync::{Notify, Semaphore};

use crate::Error;
use crate::accumulator::{Accumulator, PartitionKey};
use crate::batch::{Batch, BatchId};
use crate::completion::{Completion, Outcome};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Shared {
    accumulator: Mutex<Accumulator>,
    pub(crate) memory: Semaphore,
    wake: Notify,
    stop: Notify,
    is_stopped: AtomicBool,
    ended: Notify,
    has_ended: AtomicBool,
    failed_records: AtomicU64,
}

impl Shared {
    pub(crate) fn new(accumulator: Accumulator, buffer_memory: usize) -> Self {
        Self {
            accumulator: Mutex::new(accumulator),
            memory: Semaphore::new(buffer_memory.min(Semaphore::MAX_PERMITS)),
            wake: Notify::new(),
            stop: Notify::new(),
            is_stopped: AtomicBool::new(false),
            ended: Notify::new(),
            has_ended: AtomicBool::new(false),
            failed_records: AtomicU64::new(0),
        }
    }

    /// A poisoned lock is taken all the same: a panic in an append leaves the batch as it was, or with the record.
    pub(crate) fn accumulator(&self) -> MutexGuard<'_, Accumulator> {
        self.accumulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the driver look for something to do.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Has the driver give up what it has, and end.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.stop.notify_one();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    pub(crate) async fn stopped(&self) {
        self.stop.notified().await;
    }

    /// Resolves when the driver has ended, and everything has been answered.
    pub(crate) async fn ended(&self) {
        let ended = self.ended.notified();
        if !self.has_ended.load(Ordering::Acquire) {
            ended.await;
        }
    }

    /// Takes no more records, answers those that still wait, and says so.
    pub(crate) fn end(&self) {
        let batches = {
            let mut accumulator = self.accumulator();
            accumulator.close();
            accumulator.take_all()
        };
        self.memory.close();
        for batch in batches {
            let records = 0..batch.record_count();
            batch.completion().seal(records.end);
            self.answer(batch.completion(), records, Outcome::Failed(Error::Closed { may_have_been_written: false }));
            self.forget(batch.id());
        }
        self.has_ended.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }

    /// Answers records.
    pub(crate) fn answer(&self, completion: &Completion, records: Range<u32>, outcome: Outcome) {
        if let Outcome::Failed(error) = &outcome {
            self.failed_records.fetch_add(u64::from(records.end - records.start), Ordering::Relaxed);
            tracing::debug!(
                partition = %completion.topic_partition(),
                records = records.end - records.start,
                error = error as &dyn std::error::Error,
                "records were not delivered"
            );
        }
        completion.answer(records, outcome);
    }

    /// How many records have failed so far.
    pub(crate) fn failed_records(&self) -> u64 {
        self.failed_records.load(Ordering::Relaxed)
    }

    /// A partition's turn has ended; its batch, if there was one, is answered.
    pub(crate) fn turn_ended(&self, now: Option<Instant>, partition: PartitionKey, batch: Option<BatchId>) {
        let bytes = {
            let mut accumulator = self.accumulator();
            let bytes = batch.map_or(0, |batch| accumulator.settled(batch));
            if let Some(now) = now {
                accumulator.release(now, partition);
            }
            bytes
        };
        self.memory.add_permits(bytes);
    }

    /// Forgets a batch that is answered.
    pub(crate) fn forget(&self, batch: BatchId) {
        let bytes = self.accumulator().settled(batch);
        self.memory.add_permits(bytes);
    }

    /// The partitions that are ready, and the batches that have expired.
    pub(crate) fn collect(&self, now: Instant) -> (Vec<(PartitionKey, TopicPartition)>, Vec<Batch>) {
        let mut accumulator = self.accumulator();
        let ready = accumulator.collect_ready(now);
        let name = |key| accumulator.topic_partition(key).map(|topic_partition| (key, topic_partition));
        let ready = ready.into_iter().filter_map(name).collect();
        (ready, accumulator.take_expired(now))
    }

    pub(crate) fn take(&self, key: PartitionKey) -> Option<Batch> {
        self.accumulator().take(key)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.accumulator().next_deadline()
    }

    /// Takes in what is known of the topics that are in use.
    pub(crate) fn learn(&self, metadata: &Metadata) {
        let mut accumulator = self.accumulator();
        // Not looked up by name: that would count as use, and keep topics fresh that nothing is sent to any more.
        for topic in metadata.topics() {
            if accumulator.partition_count(&topic.name).is_some() {
                learn_topic(&mut accumulator, topic);
            }
        }
    }
}

/// Takes in a topic; tells whether it has partitions. Where their numbers have a gap, those behind it are not used.
pub(crate) fn learn_topic(accumulator: &mut Accumulator, topic: &TopicMetadata) -> bool {
    if topic.error.is_some() || topic.partitions.is_empty() {
        return false;
    }
    let in_order = (0..).zip(&topic.partitions).take_while(|(number, partition)| *number == partition.partition);
    let led: Vec<bool> = in_order.map(|(_, partition)| partition.leader.is_some()).collect();
    accumulator.learn_topic(&topic.name, &led);
    !led.is_empty()
}
