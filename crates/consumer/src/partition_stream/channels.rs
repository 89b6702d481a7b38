//! What lies between the consumer and the readers of its partitions: a queue for each, and word in both directions.
//!
//! Locks are taken in one order: the table of channels, a channel, the consumer's state. None is held over an await.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use ottla_fetcher::{Batch, BatchProgress};
use ottla_wire::TopicPartition;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Error;
use crate::consumer::LONGEST_WAIT;
use crate::marks::Piece;
use crate::shared::Shared;

/// The streams that are open.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    open: Mutex<BTreeMap<TopicPartition, Arc<Channel>>>,
    /// A reader has come back, so that there may be room, or other partitions are read than before.
    changed: Notify,
}

/// What a stream and those who fill and end it share.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(super) partition: TopicPartition,
    state: Mutex<ChannelState>,
    /// Tells the reader.
    pub(super) readable: Notify,
    /// Tells whoever waits for the reader to be done.
    dropped: Notify,
}

#[derive(Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "the reader may be gone before the end and after it, and so may the partition"
)]
pub(super) struct ChannelState {
    queue: VecDeque<Result<Queued, Error>>,
    queued_bytes: usize,
    at: Option<At>,
    /// The partition is paused until there is room.
    wants_room: bool,
    /// Nothing more comes.
    has_ended: bool,
    /// The partition is given up: nothing of it can be committed any more.
    pub(super) is_released: bool,
    is_dropped: bool,
}

#[derive(Debug)]
struct Queued {
    batch: Batch,
    piece: Piece,
}

/// The batch that a reader is at.
#[derive(Debug)]
pub(super) struct At {
    pub(super) piece: Piece,
    pub(super) progress: BatchProgress,
    since: Instant,
}

impl Channels {
    fn table(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<Channel>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, partition: &TopicPartition) -> Option<Arc<Channel>> {
        self.table().get(partition).cloned()
    }

    /// Opens the channels of partitions that have none, and gives them; closes those of partitions that are assigned no
    /// more, by the application itself.
    pub(super) fn open_all(&self, assignment: BTreeSet<TopicPartition>) -> Vec<Arc<Channel>> {
        let mut table = self.table();
        retain(&mut table, &assignment);
        let mut opened = Vec::new();
        for partition in assignment {
            table.entry(partition).or_insert_with_key(|partition| {
                let channel = Arc::new(Channel::new(partition.clone()));
                opened.push(Arc::clone(&channel));
                channel
            });
        }
        opened
    }

    /// Ends the streams of these partitions, and waits until their readers have dropped them or `patience` is over. Says
    /// whether all have.
    pub(crate) async fn drain(&self, partitions: &BTreeSet<TopicPartition>, patience: Duration) -> bool {
        let deadline = Instant::now() + patience.min(LONGEST_WAIT);
        let mut is_drained = true;
        for channel in self.end(partitions) {
            if tokio::time::timeout_at(deadline, channel.is_dropped()).await.is_err() {
                tracing::warn!(partition = %channel.partition, "the partition's reader did not end in time");
                is_drained = false;
            }
        }
        is_drained
    }

    /// Ends the streams of these partitions; gives those that there are.
    pub(crate) fn end(&self, partitions: &BTreeSet<TopicPartition>) -> Vec<Arc<Channel>> {
        let ended: Vec<_> = partitions.iter().filter_map(|partition| self.get(partition)).collect();
        for channel in &ended {
            channel.end();
        }
        ended
    }

    /// The partitions but these are given up.
    pub(crate) fn release_all_but(&self, kept: &BTreeSet<TopicPartition>) {
        retain(&mut self.table(), kept);
    }

    /// The consumer is closed.
    pub(crate) fn end_all(&self) {
        self.release_all_but(&BTreeSet::new());
    }

    /// What is queued of the partition is not wanted: it is read from elsewhere.
    pub(crate) fn discard(&self, partition: &TopicPartition) {
        if let Some(channel) = self.get(partition) {
            channel.discard();
            self.tell_change();
        }
    }

    /// Whoever opens and fills the streams is to look.
    pub(crate) fn tell_change(&self) {
        self.changed.notify_one();
    }

    /// Waits until it is.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the partition's stream has enough to read for now.
    pub(crate) fn is_full(&self, partition: &TopicPartition) -> bool {
        self.get(partition).is_some_and(|channel| channel.state().is_full())
    }

    /// Queues a batch for its reader; a partition that has enough then is paused. Gives it back where there is no stream.
    pub(super) fn pass_on(&self, shared: &Shared, batch: Batch) -> Option<Batch> {
        let partition = batch.topic_partition().clone();
        let Some(channel) = self.get(&partition) else { return Some(batch) };
        let mut state = channel.state();
        if state.has_ended {
            return None;
        }
        let piece = {
            // Under one lock, so that no seek comes in between: its forgetting would be forgotten.
            let mut consumer = shared.state();
            if !shared.fetcher.is_current(&batch) {
                return None;
            }
            let (start, end) = (batch.start_offset(), batch.next_offset());
            consumer.marks.hand_out(&partition, start, end, batch.leader_epoch())
        };
        if !state.is_dropped {
            state.queued_bytes += batch.size_bytes();
            state.queue.push_back(Ok(Queued { batch, piece }));
        }
        state.wants_room |= state.is_full();
        if state.wants_room {
            // What is not assigned any more needs no pause.
            let _: Result<_, _> = shared.fetcher.pause([&partition]);
        }
        drop(state);
        channel.readable.notify_one();
        None
    }

    /// Passes an error on to the stream of its partition; gives back what belongs to none.
    pub(super) fn tell(&self, error: Error) -> Result<(), Error> {
        let Some(channel) = error.partition().and_then(|partition| self.get(partition)) else { return Err(error) };
        let mut state = channel.state();
        // One at a time is told: the partition is tried again whether or not it is read.
        if !matches!(state.queue.back(), Some(Err(_))) {
            state.queue.push_back(Err(error));
        }
        drop(state);
        channel.readable.notify_one();
        Ok(())
    }

    /// Goes on with partitions whose readers have caught up, unless the application has paused them.
    pub(super) fn resume_those_with_room(&self, shared: &Shared) {
        let waiting: Vec<_> = self.table().values().filter(|channel| channel.wants_room()).cloned().collect();
        for channel in waiting {
            let mut state = channel.state();
            if !state.has_room() {
                continue;
            }
            state.wants_room = false;
            // Under the lock of the state: a pause by the application comes before or after both.
            let consumer = shared.state();
            if !consumer.paused.contains(&channel.partition) {
                // What is not assigned any more is not paused either.
                let _: Result<_, _> = shared.fetcher.resume([&channel.partition]);
            }
        }
    }

    /// Since when the slowest reader is at its batch.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.table().values().filter_map(|channel| channel.state().at.as_ref().map(|at| at.since)).min()
    }
}

fn retain(table: &mut BTreeMap<TopicPartition, Arc<Channel>>, kept: &BTreeSet<TopicPartition>) {
    table.retain(|partition, channel| {
        let is_kept = kept.contains(partition);
        if !is_kept {
            channel.end();
            channel.state().is_released = true;
        }
        is_kept
    });
}

impl Channel {
    fn new(partition: TopicPartition) -> Self {
        Self { partition, state: Mutex::default(), readable: Notify::new(), dropped: Notify::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is for the reader, who is at it from now on; `None` at the end.
    pub(super) fn take(&self) -> Poll<Option<Result<Batch, Error>>> {
        let mut state = self.state();
        if state.has_ended {
            return Poll::Ready(None);
        }
        let Some(next) = state.queue.pop_front() else { return Poll::Pending };
        Poll::Ready(Some(next.map(|Queued { batch, piece }| {
            state.queued_bytes = state.queued_bytes.saturating_sub(batch.size_bytes());
            state.at = Some(At { piece, progress: batch.progress(), since: Instant::now() });
            batch
        })))
    }

    /// The reader is done with what it is at, which this gives.
    pub(super) fn come_back(&self) -> Option<At> {
        self.state().at.take()
    }

    /// Whether the partition is paused, and need not be any more.
    pub(super) fn wants_room(&self) -> bool {
        let state = self.state();
        state.wants_room && state.has_room()
    }

    /// The reader is gone.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.is_dropped = true;
        state.at = None;
        state.queue.clear();
        drop(state);
        self.dropped.notify_waiters();
    }

    fn discard(&self) {
        let mut state = self.state();
        state.queue.clear();
        state.queued_bytes = 0;
    }

    fn end(&self) {
        let mut state = self.state();
        state.has_ended = true;
        state.queue.clear();
        drop(state);
        self.readable.notify_one();
    }

    async fn is_dropped(&self) {
        loop {
            let dropped = self.dropped.notified();
            tokio::pin!(dropped);
            dropped.as_mut().enable();
            if self.state().is_dropped {
                return;
            }
            dropped.await;
        }
    }
}

impl ChannelState {
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn is_full(&self) -> bool {
        self.is_dropped || self.queued_bytes >= FULL_BYTES || self.queue.len() >= FULL_BATCHES
    }

    fn has_room(&self) -> bool {
        !self.is_dropped && self.queued_bytes < FULL_BYTES / 2 && self.queue.len() < FULL_BATCHES / 2
    }
}

/// From here on a partition is paused: as much as one poll hands out.
const FULL_BYTES: usize = 512 * 1024;
/// The same where batches are tiny.
const FULL_BATCHES: usize = 64;
