//! Records one by one, as a stream.
//!
//! Asking a stream for more proves nothing: whoever buffers it, or works on many records at once, is ahead of what is done.
//! So nothing of a stream is committed automatically before it is marked; see [`marks`](crate::marks).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use futures_core::Stream;
use ottla_fetcher::{Batch, Batches, CorruptRecord, OwnedRecord, TimestampType};
use ottla_wire::{LeaderEpoch, TopicPartition};

use crate::consumer::LONGEST_WAIT;
use crate::marks::Piece;
use crate::shared::Shared;
use crate::{Consumer, Error};

/// A record on its own: it keeps its batch's buffer in memory, and borrows nothing.
#[derive(Clone, Debug)]
pub struct ConsumerRecord {
    partition: TopicPartition,
    leader_epoch: Option<LeaderEpoch>,
    timestamp_type: TimestampType,
    record: OwnedRecord,
    piece: Option<Piece>,
}

impl ConsumerRecord {
    /// The record in memory of its own: key, value and headers are copied once, and its share in its batch's buffer is given
    /// up. For records that are kept for long: what they keep in memory counts against `fetch.buffer.max.bytes`.
    #[must_use = "the record that is returned is the one that keeps no buffer"]
    pub fn detach(self) -> Self {
        Self { record: self.record.detach(), ..self }
    }

    /// What it is to be marked as, once it has been yielded and where marks count.
    pub(crate) fn piece(&self) -> Option<&Piece> {
        self.piece.as_ref()
    }

    /// The partition that it was read from.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The topic that it was read from.
    pub fn topic(&self) -> &str {
        &self.partition.topic
    }

    /// The partition's index in the topic.
    pub fn partition(&self) -> i32 {
        self.partition.partition
    }

    /// The epoch of the leader that appended it, where the log says so.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }

    /// What its timestamp means.
    pub fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type
    }
}

/// Offset, timestamp, key, value, headers.
impl Deref for ConsumerRecord {
    type Target = OwnedRecord;

    fn deref(&self) -> &OwnedRecord {
        &self.record
    }
}

/// The records of a consumer, in the order of each partition's offsets. Made by [`Consumer::stream`]; never ends.
///
/// Dropping it loses nothing: what it has not yielded is handed out again. Of a partition that is paused, what has been
/// taken in of a batch is yielded still.
pub struct RecordStream<'c> {
    shared: Arc<Shared>,
    state: State<'c>,
    /// The batch that is being yielded, and what is left of it.
    batch: Option<Batch>,
    records: vec::IntoIter<Result<ConsumerRecord, CorruptRecord>>,
    batches: VecDeque<Batch>,
    /// What the courses were counted to when it was last seen that all this is wanted.
    courses: u64,
}

enum State<'c> {
    Idle(&'c mut Consumer),
    Polling(Polling<'c>),
    /// Only while it changes from one to the other.
    Changing,
}

type Polled<'c> = (&'c mut Consumer, Result<Batches, Error>);
type Polling<'c> = Pin<Box<dyn Future<Output = Polled<'c>> + Send + 'c>>;

impl Consumer {
    /// The records one by one. While it lives, the consumer's [`handle`](Self::handle) does all else.
    ///
    /// Asking for the next record proves nothing about the last: automatic commits, and
    /// [`commit_sync`](crate::ConsumerHandle::commit_sync), cover what was
    /// [marked](crate::ConsumerHandle::mark_processed), up to the first record of a partition that was not.
    ///
    /// ```
    /// # async fn read(mut consumer: ottla_consumer::Consumer) -> Result<(), ottla_consumer::Error> {
    /// let handle = consumer.handle();
    /// let mut records = consumer.stream();
    /// while let Some(record) = records.next().await {
    ///     let record = record?;
    ///     println!("{:?}", record.value());
    ///     handle.mark_processed(&record);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&mut self) -> RecordStream<'_> {
        let shared = Arc::clone(self.handle().shared());
        let courses = shared.state().courses;
        let (records, batches) = (Vec::new().into_iter(), VecDeque::new());
        RecordStream { shared, state: State::Idle(self), batch: None, records, batches, courses }
    }
}

impl RecordStream<'_> {
    /// The next record. The same as the stream's, for those who have no crate for streams at hand.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<ConsumerRecord, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The next of the records that were taken in.
    fn next_taken_in(&mut self) -> Option<Result<ConsumerRecord, Error>> {
        loop {
            self.drop_unwanted();
            let shared = Arc::clone(&self.shared);
            let mut state = shared.state();
            if state.courses != self.courses {
                continue;
            }
            match self.records.next() {
                Some(Ok(mut record)) => {
                    let (start, end) = (record.offset(), record.offset().saturating_add(1));
                    record.piece = Some(state.marks.hand_out(&record.partition, start, end, record.leader_epoch));
                    return Some(Ok(record));
                }
                Some(Err(corrupt)) => {
                    // What is behind it will come again, after it.
                    self.batch = None;
                    self.batches.retain(|batch| *batch.topic_partition() != corrupt.partition);
                    return Some(Err(corrupt.into()));
                }
                None => {
                    if let Some(batch) = self.batch.take() {
                        // Compaction may have left a gap at its end.
                        let (end, leader_epoch) = (batch.next_offset(), batch.leader_epoch());
                        state.marks.pass_over(batch.topic_partition(), end, leader_epoch);
                    }
                    let batch = self.batches.pop_front()?;
                    // Its iterator will have ended before the first of its records is yielded: that is not to count.
                    state.marks.track(batch.topic_partition(), batch.start_offset());
                    drop(state);
                    self.take_in(batch);
                }
            }
        }
    }

    fn take_in(&mut self, batch: Batch) {
        let records = batch.records().map(|record| {
            Ok(ConsumerRecord {
                partition: batch.topic_partition().clone(),
                leader_epoch: batch.leader_epoch(),
                timestamp_type: batch.timestamp_type(),
                record: batch.to_owned_record(&record?),
                piece: None,
            })
        });
        self.records = records.collect::<Vec<_>>().into_iter();
        self.batch = Some(batch);
    }

    /// Drops what was taken in of partitions that were sought or given up since.
    fn drop_unwanted(&mut self) {
        let courses = self.shared.state().courses;
        if courses == self.courses {
            return;
        }
        self.courses = courses;
        let fetcher = &self.shared.fetcher;
        self.batches.retain(|batch| fetcher.is_current(batch));
        if self.batch.as_ref().is_some_and(|batch| !fetcher.is_current(batch)) {
            self.batch = None;
            self.records = Vec::new().into_iter();
        }
    }
}

impl Drop for RecordStream<'_> {
    /// What was taken in and not yielded is fetched again.
    fn drop(&mut self) {
        self.drop_unwanted();
        let mut back: BTreeMap<&TopicPartition, i64> = BTreeMap::new();
        if let (Some(batch), Some(next)) = (&self.batch, self.records.next()) {
            let offset = next.map_or_else(|corrupt| corrupt.offset, |record| record.offset());
            back.insert(batch.topic_partition(), offset);
        }
        for batch in &self.batches {
            back.entry(batch.topic_partition()).or_insert(batch.start_offset());
        }
        for (partition, offset) in back {
            // Only what is not assigned any more cannot be gone back to.
            let _: Result<_, _> = self.shared.fetcher.go_back(partition, offset);
        }
    }
}

impl Stream for RecordStream<'_> {
    type Item = Result<ConsumerRecord, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(record) = self.next_taken_in() {
                return Poll::Ready(Some(record));
            }
            if let State::Idle(_) = self.state
                && let State::Idle(consumer) = std::mem::replace(&mut self.state, State::Changing)
            {
                self.state = State::Polling(Box::pin(async move {
                    let polled = consumer.poll(LONGEST_WAIT).await;
                    (consumer, polled)
                }));
            }
            let State::Polling(polling) = &mut self.state else { return Poll::Ready(None) };
            let Poll::Ready((consumer, polled)) = polling.as_mut().poll(context) else { return Poll::Pending };
            self.state = State::Idle(consumer);
            match polled {
                Ok(batches) => {
                    let courses = self.shared.state().courses;
                    self.courses = courses;
                    self.batches = batches.into_iter().collect();
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl fmt::Debug for RecordStream<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = (self.records.len(), self.batches.len());
        formatter.debug_struct("RecordStream").field("waiting", &waiting).finish_non_exhaustive()
    }
}
