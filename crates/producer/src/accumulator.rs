//! The records that wait to be sent, gathered into batches, without I/O.
//!
//! Each partition has a queue of batches; the last takes further records until it is full. A partition is in one of
//! four [`Stage`]s:
//!
//! ```text
//!   Idle ──first record──▶ Lingering ──linger, full, flush, memory──▶ Ready ──collect_ready──▶ Taken
//!    ▲                         ▲                                        ▲                        │
//!    └──── nothing waits ──────┴───────── a batch that may wait ────────┴── one that may not ────┘ release
//! ```
//!
//! The sender that collects a ready partition takes its batches one by one, oldest first ([`Accumulator::take`]), and
//! releases it when the batch it took is settled: so at most one batch of a partition is under way, and its records
//! stay in order whatever fails. A ready partition's last batch goes on filling until it is taken.
//!
//! Invariants: a batch is in its queue until it is taken or expires; `incomplete` names each batch from its first record
//! until [`Accumulator::settled`]; a partition stands in `lingering` exactly while it is [`Stage::Lingering`].
//!
//! Everything here costs per record: finding the partition, one size check, and the copy of the record's bytes. All
//! else is per batch. KIP-91 (delivery timeout from the first record on), KIP-480, KIP-794.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ottla_wire::TopicPartition;

use crate::ProducerRecord;
use crate::batch::{Batch, BatchId};
use crate::completion::Completion;
use crate::config::ProducerConfig;
use crate::partitioner::Target;
use crate::partitioner::murmur2::partition_for_hash;
use crate::partitioner::sticky::StickyPartition;

/// A partition, by its topic's place in the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionKey {
    pub(crate) topic: usize,
    pub(crate) partition: i32,
}

/// The batches of a producer.
#[derive(Debug)]
pub(crate) struct Accumulator {
    batch_size: usize,
    linger: Duration,
    delivery_timeout: Duration,
    rng: Rng,
    topics: Vec<Topic>,
    by_name: BTreeMap<Arc<str>, usize>,
    lingering: BTreeSet<(Instant, PartitionKey)>,
    ready: Vec<PartitionKey>,
    incomplete: BTreeMap<BatchId, Incomplete>,
    next_batch: BatchId,
    next_expiry: Option<Instant>,
    memory_waiters: usize,
    /// The sender is to be woken by the next append, for what became ready on the way.
    wake_sender: bool,
    closed: bool,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    partitions: Vec<Partition>,
    /// Those that have a leader, unless all do or none does.
    available: Option<Vec<i32>>,
    sticky: StickyPartition,
}

#[derive(Debug, Default)]
struct Partition {
    stage: Stage,
    batches: VecDeque<Batch>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing waits.
    #[default]
    Idle,
    /// A batch waits for more records until then.
    Lingering { until: Instant },
    /// Announced to the sender.
    Ready,
    /// The sender has it.
    Taken,
}

#[derive(Debug)]
struct Incomplete {
    completion: Arc<Completion>,
    reserved_bytes: usize,
}

/// A record's place.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) completion: Arc<Completion>,
    pub(crate) index: u32,
    /// Whether the sender has something to do that it does not know of.
    pub(crate) wake_sender: bool,
}

/// Why a record was not appended.
#[derive(Debug)]
pub(crate) enum NotAppended {
    /// The producer is closed.
    Closed,
    /// The topic's partitions are not known.
    UnknownTopic,
    /// The topic has only so many partitions.
    NoSuchPartition { partition: i32, partition_count: i32 },
    /// A new batch is needed, and memory to be reserved for it.
    NeedsMemory { bytes: usize },
    /// The record does not fit a batch at all.
    Unencodable,
}

impl Accumulator {
    pub(crate) fn new(config: &ProducerConfig, rng: Rng) -> Self {
        Self {
            batch_size: config.batch_size.min(config.max_request_size),
            linger: config.linger,
            delivery_timeout: config.delivery_timeout,
            rng,
            topics: Vec::new(),
            by_name: BTreeMap::new(),
            lingering: BTreeSet::new(),
            ready: Vec::new(),
            incomplete: BTreeMap::new(),
            next_batch: BatchId::default(),
            next_expiry: None,
            memory_waiters: 0,
            wake_sender: false,
            closed: false,
        }
    }

    /// How many partitions a topic has, where that is known.
    pub(crate) fn partition_count(&self, topic: &str) -> Option<i32> {
        self.by_name.get(topic).and_then(|&place| self.topics.get(place)).map(Topic::partition_count)
    }

    /// The name and number of a partition.
    pub(crate) fn topic_partition(&self, key: PartitionKey) -> Option<TopicPartition> {
        self.topics.get(key.topic).map(|topic| TopicPartition::new(Arc::clone(&topic.name), key.partition))
    }

    /// Learns of a topic, or of its partitions' leaders: `led[p]` tells whether partition `p` has one. Partitions are
    /// only ever added: what waits for one that is gone fails by its delivery timeout.
    pub(crate) fn learn_topic(&mut self, name: &Arc<str>, led: &[bool]) {
        let place = *self.by_name.entry(Arc::clone(name)).or_insert_with(|| {
            let (partitions, sticky) = (Vec::new(), StickyPartition::default());
            self.topics.push(Topic { name: Arc::clone(name), partitions, available: None, sticky });
            self.topics.len() - 1
        });
        let Some(topic) = self.topics.get_mut(place) else { return };
        let available = match led.iter().filter(|led| **led).count() {
            0 => None,
            all if all == led.len() => None,
            _ => Some((0..).zip(led).filter_map(|(partition, led)| led.then_some(partition)).collect()),
        };
        if led.len() > topic.partitions.len() || available != topic.available {
            topic.sticky.redraw();
        }
        topic.available = available;
        if led.len() > topic.partitions.len() {
            topic.partitions.resize_with(led.len(), Partition::default);
        }
    }

    /// Appends a record whose creation time is `timestamp_ms`.
    ///
    /// `reserved_bytes` is memory that the caller has reserved; it is used for a new batch, where one is needed. `None`
    /// asks only whether the record fits what is there. `now` is read only for a new batch. The memory was used if the
    /// accumulator says so by [`Appended`] and `opened`.
    pub(crate) fn append(
        &mut self,
        now: impl FnOnce() -> Instant,
        target: Target,
        record: &ProducerRecord<'_>,
        timestamp_ms: i64,
        reserved_bytes: &mut Option<usize>,
    ) -> Result<Appended, NotAppended> {
        if self.closed {
            return Err(NotAppended::Closed);
        }
        let place = *self.by_name.get(record.topic()).ok_or(NotAppended::UnknownTopic)?;
        let topic = self.topics.get_mut(place).ok_or(NotAppended::UnknownTopic)?;
        let record_bytes = Batch::record_bytes_bound(record);
        let (partition_number, served) = topic.choose(target, &mut self.rng, record_bytes, self.batch_size)?;
        if let Some(partition) = served {
            self.served(PartitionKey { topic: place, partition });
        }

        let topic = self.topics.get_mut(place).ok_or(NotAppended::UnknownTopic)?;
        let partition_count = topic.partition_count();
        let no_such = NotAppended::NoSuchPartition { partition: partition_number, partition_count };
        let partition =
            usize::try_from(partition_number).ok().and_then(|p| topic.partitions.get_mut(p)).ok_or(no_such)?;
        let key = PartitionKey { topic: place, partition: partition_number };
        let fits = partition.batches.back().is_some_and(|batch| batch.has_room(record_bytes));
        if !fits {
            let needed = self.batch_size.max(Batch::OVERHEAD_BYTES + record_bytes);
            let Some(bytes) = reserved_bytes.take_if(|reserved| *reserved >= needed) else {
                return Err(NotAppended::NeedsMemory { bytes: needed });
            };
            let topic_partition = TopicPartition::new(Arc::clone(&topic.name), partition_number);
            let completion = Arc::new(Completion::new(topic_partition));
            let (id, now) = (self.next_batch.take_next(), now());
            self.incomplete.insert(id, Incomplete { completion: Arc::clone(&completion), reserved_bytes: bytes });
            let expires = now + self.delivery_timeout;
            self.next_expiry.get_or_insert(expires);
            partition.batches.push_back(Batch::open(id, completion, now, expires, needed));
        }
        let Some(batch) = partition.batches.back_mut() else { return Err(NotAppended::UnknownTopic) };
        let index = batch.append(record, timestamp_ms).map_err(|_| NotAppended::Unencodable)?;
        let completion = Arc::clone(batch.completion());
        let (full, created) = (batch.is_full(), batch.created());
        if target == Target::Sticky {
            topic.sticky.appended(record_bytes, full, self.batch_size);
        }
        let wake_sender = self.advance(key, created, full) | std::mem::take(&mut self.wake_sender);
        Ok(Appended { completion, index, wake_sender })
    }

    /// The topic sticks to another partition now: this one's last batch is as full as it will get.
    fn served(&mut self, key: PartitionKey) {
        let Some(partition) = self.partition_mut(key) else { return };
        if let Some(batch) = partition.batches.back_mut() {
            batch.flush();
        }
        if matches!(partition.stage, Stage::Lingering { .. }) && self.announce(key) {
            self.wake_sender = true;
        }
    }

    /// Moves a partition on after an append; tells whether the sender needs to know.
    fn advance(&mut self, key: PartitionKey, created: Instant, full: bool) -> bool {
        let hurry = self.memory_waiters > 0 || self.linger.is_zero();
        let Some(partition) = self.partition_mut(key) else { return false };
        let is_ready = full || hurry || partition.batches.len() > 1;
        match partition.stage {
            Stage::Idle | Stage::Lingering { .. } if is_ready => self.announce(key),
            Stage::Idle => {
                let until = created + self.linger;
                // An earlier deadline is already being waited for: linger is the same for all.
                let first = self.lingering.is_empty();
                self.linger_until(key, until);
                first
            }
            Stage::Lingering { .. } | Stage::Ready | Stage::Taken => false,
        }
    }

    fn linger_until(&mut self, key: PartitionKey, until: Instant) {
        if let Some(partition) = self.partition_mut(key) {
            partition.stage = Stage::Lingering { until };
            self.lingering.insert((until, key));
        }
    }

    /// Makes a partition ready; tells whether it is the first to be since the sender last looked.
    fn announce(&mut self, key: PartitionKey) -> bool {
        let Some(partition) = self.partition_mut(key) else { return false };
        if let Stage::Lingering { until } = std::mem::replace(&mut partition.stage, Stage::Ready) {
            self.lingering.remove(&(until, key));
        }
        self.ready.push(key);
        self.ready.len() == 1
    }

    /// The partitions that have a batch to be sent now. Each is the sender's until [`release`](Self::release).
    pub(crate) fn collect_ready(&mut self, now: Instant) -> Vec<PartitionKey> {
        while let Some(&(until, key)) = self.lingering.first() {
            if until > now && self.memory_waiters == 0 {
                break;
            }
            self.announce(key);
        }
        let ready = std::mem::take(&mut self.ready);
        for &key in &ready {
            if let Some(partition) = self.partition_mut(key) {
                partition.stage = Stage::Taken;
            }
        }
        ready
    }

    /// The oldest batch of a partition that was collected. `None` where all have expired meanwhile.
    pub(crate) fn take(&mut self, key: PartitionKey) -> Option<Batch> {
        let partition = self.partition_mut(key)?;
        debug_assert_eq!(partition.stage, Stage::Taken);
        partition.batches.pop_front()
    }

    /// Gives a collected partition back, once the batch taken from it is settled.
    pub(crate) fn release(&mut self, now: Instant, key: PartitionKey) {
        let hurry = self.memory_waiters > 0 || self.closed;
        let linger = self.linger;
        let Some(partition) = self.partition_mut(key) else { return };
        debug_assert_eq!(partition.stage, Stage::Taken);
        partition.stage = Stage::Idle;
        let Some(oldest) = partition.batches.front() else { return };
        let until = oldest.created() + linger;
        let is_ready = hurry || until <= now || oldest.is_flushed() || oldest.is_full() || partition.batches.len() > 1;
        if is_ready {
            self.announce(key);
        } else {
            self.linger_until(key, until);
        }
    }

    /// Has everything sent without lingering, and gives the batches that are not settled yet, oldest first.
    pub(crate) fn flush(&mut self) -> Vec<Arc<Completion>> {
        while let Some(&(_, key)) = self.lingering.first() {
            self.announce(key);
        }
        for partition in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            // What is behind a batch under way must not linger when its turn comes.
            partition.batches.iter_mut().for_each(Batch::flush);
        }
        self.incomplete.values().map(|batch| Arc::clone(&batch.completion)).collect()
    }

    /// Takes no more records.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Forgets a batch whose records have all been answered; gives the memory that was reserved for it.
    pub(crate) fn settled(&mut self, id: BatchId) -> usize {
        self.incomplete.remove(&id).map_or(0, |batch| batch.reserved_bytes)
    }

    /// Takes out the batches whose delivery timeout has passed while they waited here.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<Batch> {
        if self.next_expiry.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        self.next_expiry = None;
        let partitions = self.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for partition in partitions {
            while partition.batches.front().is_some_and(|batch| batch.expires() <= now) {
                expired.extend(partition.batches.pop_front());
            }
            let next = partition.batches.front().map(Batch::expires);
            self.next_expiry = [self.next_expiry, next].into_iter().flatten().min();
        }
        expired
    }

    /// Takes out everything, in the order of the batches' creation.
    pub(crate) fn take_all(&mut self) -> Vec<Batch> {
        let partitions = self.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        let mut batches: Vec<Batch> = partitions.flat_map(|partition| partition.batches.drain(..)).collect();
        batches.sort_by_key(Batch::id);
        batches
    }

    /// When [`collect_ready`](Self::collect_ready) or [`take_expired`](Self::take_expired) next has something to give.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let lingering = self.lingering.first().map(|(until, _)| *until);
        [lingering, self.next_expiry].into_iter().flatten().min()
    }

    /// One more waits for memory: nothing lingers meanwhile.
    pub(crate) fn memory_wanted(&mut self) {
        self.memory_waiters += 1;
    }

    /// One fewer does.
    pub(crate) fn memory_no_longer_wanted(&mut self) {
        self.memory_waiters = self.memory_waiters.saturating_sub(1);
    }

    fn partition_mut(&mut self, key: PartitionKey) -> Option<&mut Partition> {
        let partition = usize::try_from(key.partition).ok()?;
        self.topics.get_mut(key.topic)?.partitions.get_mut(partition)
    }
}

impl Topic {
    fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The partition for a record of at most so many bytes, and the one that the topic stuck to until now, where that
    /// has had its share.
    fn choose(
        &mut self,
        target: Target,
        rng: &mut Rng,
        record_bytes: usize,
        batch_size: usize,
    ) -> Result<(i32, Option<i32>), NotAppended> {
        let count = self.partition_count();
        let alone = |partition: Option<i32>| partition.map(|it| (it, None)).ok_or(NotAppended::UnknownTopic);
        match target {
            Target::Named(partition) => Ok((partition, None)),
            Target::KeyHash(hash) => alone(partition_for_hash(hash, count)),
            Target::Sticky => {
                let partition = self.stick(rng).ok_or(NotAppended::UnknownTopic)?;
                let closes = self.last_batch(partition).is_some_and(|batch| !batch.has_room(record_bytes));
                if closes && self.sticky.is_served(record_bytes, batch_size) {
                    self.sticky.redraw();
                    let next = self.stick(rng).ok_or(NotAppended::UnknownTopic)?;
                    return Ok((next, Some(partition)));
                }
                Ok((partition, None))
            }
        }
    }

    fn last_batch(&self, partition: i32) -> Option<&Batch> {
        self.partitions.get(usize::try_from(partition).ok()?)?.batches.back()
    }

    fn stick(&mut self, rng: &mut Rng) -> Option<i32> {
        let partitions = &self.partitions;
        let waiting = |partition: i32| {
            let queue = usize::try_from(partition).ok().and_then(|place| partitions.get(place));
            (partition, queue.map_or(0, |partition| partition.batches.len()))
        };
        match &self.available {
            Some(available) => self.sticky.partition(rng, || available.iter().map(|partition| waiting(*partition))),
            None => self.sticky.partition(rng, || (0..).zip(partitions).map(|(p, queue)| (p, queue.batches.len()))),
        }
    }
}

#[cfg(test)]
mod tests;
