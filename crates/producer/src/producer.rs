//! The producer as an application sees it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::clock::now;
use ottla_cluster::{Cluster, Topics};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::accumulator::{Accumulator, NotAppended};
use crate::batch::Batch;
use crate::completion::{Delivery, Tally};
use crate::config::ProducerConfig;
use crate::partitioner::Target;
use crate::partitioner::murmur2::key_hash;
use crate::shared::{Shared, learn_topic};
use crate::{Error, ProducerRecord, RecordMetadata, SendError, driver};

/// Writes records to topics. Cloning it gives another handle to the same producer, for other tasks.
///
/// Records are gathered into batches by partition and sent by a task of the producer's own. There are four ways to hand
/// one over:
///
/// - [`send`](Self::send) waits until it is written;
/// - [`enqueue`](Self::enqueue) waits for memory only, and gives a handle that may be awaited later;
/// - dropping that handle is fire and forget: [`flush`](Self::flush) and [`close`](Self::close) still tell of failures;
/// - [`try_enqueue`](Self::try_enqueue) waits for nothing.
///
/// Records that one task enqueues one after the other for the same partition are written in that order, also when some
/// of them have to be sent again.
///
/// [`close`](Self::close) is the orderly end. When the last handle is dropped without it, what is not yet acknowledged
/// is given up: handles that still wait get [`Error::Closed`], and the number of records is logged as a warning.
#[derive(Clone)]
pub struct Producer {
    owner: Arc<Owner>,
}

/// Ends the driver when the last handle goes.
struct Owner {
    shared: Arc<Shared>,
    cluster: Cluster,
    config: Arc<ProducerConfig>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Producer").field("config", &self.owner.config).finish_non_exhaustive()
    }
}

impl Producer {
    pub(crate) fn start(cluster: Cluster, config: ProducerConfig) -> Result<Self, Error> {
        let runtime =
            cluster.config().runtime.clone().or_else(|| Handle::try_current().ok()).ok_or(Error::NoRuntime)?;
        let accumulator = Accumulator::new(&config, cluster.random());
        let shared = Arc::new(Shared::new(accumulator, config.buffer_memory));
        let config = Arc::new(config);
        runtime.spawn(driver::run(Arc::clone(&shared), cluster.clone(), Arc::clone(&config)));
        Ok(Self { owner: Arc::new(Owner { shared, cluster, config }) })
    }

    /// Writes a record, and waits until it is acknowledged as [`acks`](crate::ProducerBuilder::acks) says.
    ///
    /// On failure the record comes back; whether it may stand in its partition nevertheless,
    /// [`Error::may_have_been_written`] says.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the record is enqueued leaves nothing behind; dropping it later leaves the record to be
    /// delivered, once, without anybody being told. Which of the two it was cannot be seen: where that matters, await
    /// [`enqueue`](Self::enqueue) first.
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<RecordMetadata, SendError> {
        let delivery = match self.enqueue_ref(&record).await {
            Ok(delivery) => delivery,
            Err(error) => return Err(SendError::new(error, record)),
        };
        delivery.await.map_err(|error| SendError::new(error, record))
    }

    /// Hands a record over, and gives a handle that tells what becomes of it.
    ///
    /// Waits, up to [`max_block`](crate::ProducerBuilder::max_block), while the memory for records is used up or the
    /// topic is not known yet. Those who wait for memory are served in the order in which they came. On failure the
    /// record comes back, and was not enqueued.
    ///
    /// # Cancel safety
    ///
    /// Until the future has resolved, the record is not enqueued; dropping the future leaves nothing behind, and gives
    /// up its place in the queue for memory.
    pub async fn enqueue(&self, record: ProducerRecord<'_>) -> Result<Delivery, SendError> {
        match self.enqueue_ref(&record).await {
            Ok(delivery) => Ok(delivery),
            Err(error) => Err(SendError::new(error, record)),
        }
    }

    /// Hands a record over where that needs no waiting.
    ///
    /// A topic that is not known yet is asked for in the background, and is [`Error::TopicUnknown`] meanwhile.
    pub fn try_enqueue(&self, record: ProducerRecord<'_>) -> Result<Delivery, SendError> {
        match self.try_enqueue_ref(&record) {
            Ok(delivery) => Ok(delivery),
            Err(error) => Err(SendError::new(error, record)),
        }
    }

    /// Sends what has been enqueued so far without lingering, and waits until all of it is acknowledged or has failed.
    ///
    /// What is enqueued after the call is not waited for. Fails with [`Error::Undelivered`] where records that were waited
    /// for were not delivered, whether or not somebody holds their handles.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting only; what has been enqueued goes on its way.
    pub async fn flush(&self) -> Result<(), Error> {
        let tally = self.flush_and_tally().await;
        match tally.first_failure {
            Some(first) => Err(Error::Undelivered { undelivered: tally.failed, first: Box::new(first) }),
            None => Ok(()),
        }
    }

    /// Takes no more records, from this handle or its clones; sends what has been enqueued, for at most `timeout`; gives
    /// up the rest, and ends the producer's task.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a producer that takes no more records and goes on sending what it has; `close` may be
    /// called again.
    pub async fn close(&self, timeout: Duration) -> CloseReport {
        let shared = &self.owner.shared;
        shared.accumulator().close();
        let mut batches = self.begin_flush();
        let mut tally = Tally::default();
        let deadline = Instant::now() + timeout.min(LONGEST_CLOSE);
        let in_time = async {
            while let Some(batch) = batches.first_mut() {
                tally.add(batch.await);
                batches.remove(0);
            }
        };
        // Whether time was left is seen from what remains.
        let _ = tokio::time::timeout_at(deadline, in_time).await;
        let mut report = CloseReport { delivered: tally.delivered, failed: tally.failed, abandoned: 0 };
        shared.stop();
        shared.ended().await;
        for batch in batches {
            let tally = batch.await; // Answered by now: the driver leaves nothing unanswered.
            report.delivered += tally.delivered;
            report.abandoned += tally.failed;
        }
        report
    }

    async fn flush_and_tally(&self) -> Tally {
        let mut tally = Tally::default();
        for batch in self.begin_flush() {
            tally.add(batch.await);
        }
        tally
    }

    fn begin_flush(&self) -> Vec<crate::completion::Whole> {
        let batches = self.owner.shared.accumulator().flush();
        self.owner.shared.wake();
        batches.into_iter().map(crate::completion::Completion::whole).collect()
    }

    async fn enqueue_ref(&self, record: &ProducerRecord<'_>) -> Result<Delivery, Error> {
        let size_bytes = self.check(record)?;
        let mut reserved = Reserved::default();
        // Read only where there is something to wait for.
        let mut started = None;
        loop {
            let refused = match self.append(record, &mut reserved)? {
                Ok(delivery) => return Ok(delivery),
                Err(refused) => refused,
            };
            if let NotAppended::NeedsMemory { bytes } = refused
                && reserved.try_reserve(&self.owner.shared, bytes)?
            {
                continue;
            }
            let started = *started.get_or_insert_with(Instant::now);
            let deadline = started + self.owner.config.max_block;
            match refused {
                NotAppended::NeedsMemory { bytes } => {
                    let waiting = reserved.reserve(&self.owner.shared, bytes);
                    tokio::time::timeout_at(deadline, waiting)
                        .await
                        .map_err(|_| self.buffer_exhausted(size_bytes, started.elapsed()))??;
                }
                NotAppended::UnknownTopic => self.wait_for_topic(record.topic(), started, deadline).await?,
                NotAppended::NoSuchPartition { partition, partition_count } => {
                    self.wait_for_partition(record.topic(), partition, partition_count, deadline).await?;
                }
                NotAppended::Closed | NotAppended::Unencodable => return Err(refused.into()),
            }
        }
    }

    fn try_enqueue_ref(&self, record: &ProducerRecord<'_>) -> Result<Delivery, Error> {
        let size_bytes = self.check(record)?;
        let mut reserved = Reserved::default();
        loop {
            let refused = match self.append(record, &mut reserved)? {
                Ok(delivery) => return Ok(delivery),
                Err(refused) => refused,
            };
            match refused {
                NotAppended::NeedsMemory { bytes } => {
                    if !reserved.try_reserve(&self.owner.shared, bytes)? {
                        return Err(self.buffer_exhausted(size_bytes, Duration::ZERO));
                    }
                }
                NotAppended::UnknownTopic => {
                    if !self.learn_from_cache(record.topic()) {
                        self.owner.cluster.request_refresh(Topics::named([record.topic()]));
                        let topic = record.topic().into();
                        return Err(Error::TopicUnknown { topic, waited: Duration::ZERO, source: None });
                    }
                }
                NotAppended::NoSuchPartition { partition, partition_count } => {
                    self.owner.cluster.request_refresh(Topics::named([record.topic()]));
                    let topic = record.topic().into();
                    return Err(Error::NoSuchPartition { topic, partition, partition_count });
                }
                NotAppended::Closed | NotAppended::Unencodable => return Err(refused.into()),
            }
        }
    }

    /// Refuses what could not be sent whatever happens; gives the most that the record takes up.
    fn check(&self, record: &ProducerRecord<'_>) -> Result<usize, Error> {
        let config = &self.owner.config;
        if record.topic().is_empty() {
            return Err(Error::InvalidRecord { field: "topic", reason: "is empty" });
        }
        if record.given_timestamp_ms().is_some_and(|timestamp| timestamp < 0) {
            return Err(Error::InvalidRecord { field: "timestamp", reason: "is negative" });
        }
        if record.named_partition().is_some_and(|partition| partition < 0) {
            return Err(Error::InvalidRecord { field: "partition", reason: "is negative" });
        }
        let size_bytes = Batch::OVERHEAD_BYTES + Batch::record_bytes_bound(record);
        for (setting, limit_bytes) in
            [("max.request.size", config.max_request_size), ("buffer.memory", config.buffer_memory)]
        {
            if size_bytes > limit_bytes {
                return Err(Error::RecordTooLarge { topic: record.topic().into(), size_bytes, setting, limit_bytes });
            }
        }
        Ok(size_bytes)
    }

    /// Appends a record where that can be done now.
    fn append(
        &self,
        record: &ProducerRecord<'_>,
        reserved: &mut Reserved<'_>,
    ) -> Result<Result<Delivery, NotAppended>, Error> {
        let Owner { shared, config, .. } = &*self.owner;
        let Some(target) = self.target(record)? else { return Ok(Err(NotAppended::UnknownTopic)) };
        let timestamp_ms = record.given_timestamp_ms().unwrap_or_else(|| config.clock.now_ms());
        let mut bytes = reserved.bytes();
        let appended = shared.accumulator().append(now, target, record, timestamp_ms, &mut bytes);
        if bytes.is_none() {
            reserved.used();
        }
        Ok(appended.map(|appended| {
            if appended.wake_sender {
                shared.wake();
            }
            Delivery::new(appended.completion, appended.index, timestamp_ms)
        }))
    }

    /// Where a record goes, as far as it says so itself or the application's partitioner does. `None` where that needs
    /// the number of partitions, which is not known.
    fn target(&self, record: &ProducerRecord<'_>) -> Result<Option<Target>, Error> {
        let Owner { shared, config, .. } = &*self.owner;
        if let Some(partition) = record.named_partition() {
            return Ok(Some(Target::Named(partition)));
        }
        if let Some(partitioner) = &config.partitioner {
            let Some(partition_count) = shared.accumulator().partition_count(record.topic()) else { return Ok(None) };
            let (topic, key, value) = (record.topic(), record.key_bytes(), record.value_bytes());
            if let Some(partition) = partitioner.partition(topic, key, value, partition_count) {
                if !(0..partition_count).contains(&partition) {
                    return Err(Error::NoSuchPartition { topic: topic.into(), partition, partition_count });
                }
                return Ok(Some(Target::Named(partition)));
            }
        }
        let key = record.key_bytes().filter(|_| !config.partitioner_ignore_keys);
        Ok(Some(key.map_or(Target::Sticky, |key| Target::KeyHash(key_hash(key)))))
    }

    /// Waits until the topic's partitions are known.
    async fn wait_for_topic(&self, name: &str, started: Instant, deadline: Instant) -> Result<(), Error> {
        if self.learn_from_cache(name) {
            return Ok(());
        }
        let (mut last, mut failures) = (None, 0);
        let mut backoff = self.owner.cluster.backoff();
        let asking = async {
            loop {
                // No longer than this waits, so that an answer such as that there is no such topic is not lost.
                let left = deadline.saturating_duration_since(Instant::now());
                match self.owner.cluster.topic_within(name, left).await {
                    Ok(topic) if learn_topic(&mut self.owner.shared.accumulator(), &topic) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.is_retriable() => last = Some(Arc::new(error)),
                    Err(error) => return Err(Error::Topic { topic: name.into(), source: Arc::new(error) }),
                }
                failures += 1;
                tokio::time::sleep(backoff.next_delay(failures)).await;
            }
        };
        match tokio::time::timeout_at(deadline, asking).await {
            Ok(known) => known,
            Err(_) => Err(Error::TopicUnknown { topic: name.into(), waited: started.elapsed(), source: last }),
        }
    }

    fn learn_from_cache(&self, name: &str) -> bool {
        let metadata = self.owner.cluster.metadata();
        metadata.topic(name).is_some_and(|topic| learn_topic(&mut self.owner.shared.accumulator(), topic))
    }

    /// Waits until the topic has that partition.
    async fn wait_for_partition(
        &self,
        name: &str,
        partition: i32,
        partition_count: i32,
        deadline: Instant,
    ) -> Result<(), Error> {
        let (mut count, mut failures) = (partition_count, 0);
        let mut backoff = self.owner.cluster.backoff();
        let asking = async {
            loop {
                // A failure to ask is no other than having no such partition: it is asked again until the deadline.
                let metadata = self.owner.cluster.refresh(Topics::named([name])).await;
                if let Some(topic) = metadata.ok().and_then(|metadata| metadata.topic(name).cloned()) {
                    let mut accumulator = self.owner.shared.accumulator();
                    learn_topic(&mut accumulator, &topic);
                    count = accumulator.partition_count(name).unwrap_or(count);
                }
                if partition < count {
                    return;
                }
                failures += 1;
                tokio::time::sleep(backoff.next_delay(failures)).await;
            }
        };
        let known = tokio::time::timeout_at(deadline, asking).await;
        known.map_err(|_| Error::NoSuchPartition { topic: name.into(), partition, partition_count: count })
    }

    fn buffer_exhausted(&self, size_bytes: usize, waited: Duration) -> Error {
        Error::BufferExhausted { size_bytes, limit_bytes: self.owner.config.buffer_memory, waited }
    }
}

/// How closing went, in records that were not acknowledged when it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Written.
    pub delivered: u64,
    /// Refused, or out of time.
    pub failed: u64,
    /// Given up when the time for closing was over. Some of them may have been written.
    pub abandoned: u64,
}

/// Memory that a caller has reserved and not yet used; it goes back when this is dropped.
#[derive(Default)]
struct Reserved<'s> {
    permit: Option<tokio::sync::SemaphorePermit<'s>>,
}

impl<'s> Reserved<'s> {
    fn bytes(&self) -> Option<usize> {
        self.permit.as_ref().map(tokio::sync::SemaphorePermit::num_permits)
    }

    /// The memory is a batch's now, and comes back with it.
    fn used(&mut self) {
        if let Some(permit) = self.permit.take() {
            permit.forget();
        }
    }

    /// Reserves memory where that needs no waiting, and nobody waits who came earlier.
    fn try_reserve(&mut self, shared: &'s Shared, bytes: usize) -> Result<bool, Error> {
        self.permit = None;
        match shared.memory.try_acquire_many(permits(bytes)) {
            Ok(permit) => {
                self.permit = Some(permit);
                Ok(true)
            }
            Err(tokio::sync::TryAcquireError::NoPermits) => Ok(false),
            Err(tokio::sync::TryAcquireError::Closed) => Err(Error::Closed { may_have_been_written: false }),
        }
    }

    /// Waits for memory. Meanwhile nothing lingers.
    async fn reserve(&mut self, shared: &'s Shared, bytes: usize) -> Result<(), Error> {
        let _wanted = MemoryWanted::new(shared);
        let permit = shared.memory.acquire_many(permits(bytes)).await;
        self.permit = Some(permit.map_err(|_| Error::Closed { may_have_been_written: false })?);
        Ok(())
    }
}

/// Tells the accumulator that somebody waits for memory, until this is dropped.
struct MemoryWanted<'s>(&'s Shared);

impl<'s> MemoryWanted<'s> {
    fn new(shared: &'s Shared) -> Self {
        shared.accumulator().memory_wanted();
        shared.wake();
        Self(shared)
    }
}

impl Drop for MemoryWanted<'_> {
    fn drop(&mut self) {
        self.0.accumulator().memory_no_longer_wanted();
    }
}

impl From<NotAppended> for Error {
    fn from(refused: NotAppended) -> Self {
        match refused {
            NotAppended::Unencodable => {
                Self::InvalidRecord { field: "size", reason: "is beyond what a batch can hold" }
            }
            _ => Self::Closed { may_have_been_written: false },
        }
    }
}

/// A batch's size; the settings are checked to fit.
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// A year; keeps the deadline from overflowing.
const LONGEST_CLOSE: Duration = Duration::from_hours(365 * 24);
