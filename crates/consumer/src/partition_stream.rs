//! A stream for each partition and assignment, so that partitions can be worked on side by side.
//!
//! [`PartitionStreams`] polls the consumer and passes each batch on to its partition's [`PartitionStream`], which has a
//! queue of its own. A partition whose reader is behind is paused until there is room: it delays no other. When a
//! partition is revoked its stream ends after the batch that its reader is at; the revocation waits until the
//! stream is dropped, or for the drain timeout, and then commits what was come back from. A stream belongs to one
//! assignment: when the partition comes back later, that is another stream, and this one commits nothing any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use ottla_fetcher::{Batch, Completed};
use ottla_wire::TopicPartition;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::consumer::LONGEST_WAIT;
use crate::shared::{Shared, to_commit};
use crate::{Commit, Consumer, ConsumerHandle, Error};

/// The partitions of one consumer, each as a stream of its own. Made by [`Consumer::into_partition_streams`].
///
/// [`next`](Self::next) is what keeps the consumer going: it has to be awaited all the time. Dropping it is dropping the
/// consumer: the streams end, and nothing can be committed through them any more.
#[derive(Debug)]
pub struct PartitionStreams {
    consumer: Consumer,
    /// Streams that were opened and not yet handed out.
    fresh: VecDeque<PartitionStream>,
    /// What the courses were counted to when it was last seen which partitions are assigned.
    courses: Option<u64>,
    end: EndOnDrop,
}

/// Ends the streams, so that no reader waits for a consumer that is gone.
#[derive(Debug)]
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.channels.end_all();
    }
}

/// The batches of one partition for as long as it is assigned.
///
/// Dropping it before it has ended stops reading the partition until it is assigned anew.
#[derive(Debug)]
pub struct PartitionStream {
    channel: Arc<Channel>,
    shared: Arc<Shared>,
}

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
    partition: TopicPartition,
    state: Mutex<ChannelState>,
    /// Tells the reader.
    readable: Notify,
    /// Tells whoever waits for the reader to be done.
    dropped: Notify,
}

#[derive(Debug, Default)]
struct ChannelState {
    queue: VecDeque<Result<Batch, Error>>,
    queued_bytes: usize,
    /// The batch that the reader is at: the offset that it starts at, and since when.
    at: Option<(i64, Instant)>,
    /// Nothing more comes.
    has_ended: bool,
    /// The partition is given up: nothing of it can be committed any more.
    is_released: bool,
    is_dropped: bool,
}

impl Consumer {
    /// A stream for each partition, instead of polls of all of them.
    pub fn into_partition_streams(self) -> PartitionStreams {
        let end = EndOnDrop(Arc::clone(self.handle().shared()));
        PartitionStreams { consumer: self, fresh: VecDeque::new(), courses: None, end }
    }
}

impl PartitionStreams {
    /// The stream of the next partition that is assigned. Waits, and keeps the consumer going while it does: fetching,
    /// rebalancing, committing. The application is considered late (`max.poll.interval.ms`) when this is not awaited, or
    /// when a stream's reader has not come back from a batch for that long.
    ///
    /// # Errors
    ///
    /// As [`Consumer::poll`]; an error of a partition goes to its stream instead.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<PartitionStream, Error> {
        let shared = Arc::clone(self.consumer.handle().shared());
        loop {
            self.open();
            if let Some(stream) = self.fresh.pop_front() {
                return Ok(stream);
            }
            let late_at = shared.channels.oldest().map(|since| since + shared.timeouts.max_poll_interval);
            if late_at.is_some_and(|late_at| late_at <= Instant::now())
                && let Some(group) = &shared.group
            {
                group.poll_interval_exceeded();
            }
            tokio::select! {
                biased; // room first: a partition that is paused for nothing is slow for nothing
                () = shared.channels.changed.notified() => shared.channels.resume_those_with_room(&shared),
                () = sleep_until(late_at.filter(|late_at| *late_at > Instant::now())) => {}
                polled = self.consumer.poll(LONGEST_WAIT) => match polled {
                    Ok(batches) => {
                        // Within one poll partitions are assigned and their first records come.
                        self.open();
                        for batch in batches {
                            shared.channels.pass_on(&shared, batch);
                        }
                    }
                    // Readers hold all the memory. They will come back.
                    Err(Error::Fetch(ottla_fetcher::Error::BufferHeld { .. })) => {}
                    Err(error) => {
                        self.open();
                        shared.channels.tell(error)?;
                    }
                },
            }
        }
    }

    /// The consumer's handle.
    pub fn handle(&self) -> ConsumerHandle {
        self.consumer.handle()
    }

    /// Ends the streams, waits until they are dropped, and closes the consumer, all within `timeout`; see
    /// [`Consumer::close_within`].
    ///
    /// # Errors
    ///
    /// As [`Consumer::close_within`].
    ///
    /// # Cancel safety
    ///
    /// As [`Consumer::close_within`].
    pub async fn close_within(self, timeout: Duration) -> Result<(), Error> {
        let Self { consumer, fresh, end, .. } = self;
        drop(fresh);
        let closed = consumer.close_within(timeout).await;
        drop(end);
        closed
    }

    /// Opens streams for partitions that are assigned and have none.
    fn open(&mut self) {
        let shared = self.consumer.handle().shared().clone();
        let courses = Some(shared.state().courses);
        if self.courses == courses {
            return;
        }
        self.courses = courses;
        let assignment = shared.fetcher.assignment();
        let mut open = shared.channels.open();
        // Those that the application has unassigned itself.
        open.retain(|partition, channel| {
            let is_assigned = assignment.contains(partition);
            if !is_assigned {
                channel.end();
                channel.release();
            }
            is_assigned
        });
        for partition in assignment {
            if open.contains_key(&partition) {
                continue;
            }
            let channel = Arc::new(Channel::new(partition.clone()));
            open.insert(partition, Arc::clone(&channel));
            self.fresh.push_back(PartitionStream { channel, shared: Arc::clone(&shared) });
        }
    }
}

impl PartitionStream {
    /// The partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.channel.partition
    }

    /// The next batch; `None` when the partition is revoked, lost, or unassigned, or the consumer is closed. With each
    /// call the reader says that it has come back from the last batch: that is what automatic commits cover.
    ///
    /// # Errors
    ///
    /// Those of the partition; it is tried again with back-off, and the error told again, until it is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Batch, Error>> {
        self.come_back();
        loop {
            let readable = self.channel.readable.notified();
            match self.take() {
                Poll::Ready(next) => return next,
                Poll::Pending => readable.await,
            }
        }
    }

    /// Says that the batch that [`next`](Self::next) returned last is done with, without waiting for another.
    pub fn come_back(&mut self) {
        let at = self.channel.state().at.take();
        if let Some((start, _)) = at {
            self.shared.state().marks.done(&self.channel.partition, start);
            self.shared.channels.changed.notify_one();
        }
    }

    fn take(&self) -> Poll<Option<Result<Batch, Error>>> {
        let mut state = self.channel.state();
        if state.has_ended {
            return Poll::Ready(None);
        }
        let Some(next) = state.queue.pop_front() else { return Poll::Pending };
        if let Ok(batch) = &next {
            state.queued_bytes = state.queued_bytes.saturating_sub(batch.size_bytes());
            state.at = Some((batch.start_offset(), Instant::now()));
        }
        Poll::Ready(Some(next))
    }

    /// Whether the partition is about to be given up, or has been: a reader that takes long over a batch can stop early.
    pub fn has_ended(&self) -> bool {
        self.channel.state().has_ended
    }

    /// The offset up to which this stream's batches have been come back from; `None` while its start is looked up, and
    /// once the partition has been given up.
    pub fn completed(&self) -> Option<i64> {
        self.done().map(|completed| completed.offset)
    }

    fn done(&self) -> Option<Completed> {
        let partition = &self.channel.partition;
        let marked = self.shared.state().marks.completed(partition);
        // Without marks, all that was passed on to this stream is done.
        marked.or_else(|| self.shared.fetcher.completed(partition).ok().flatten())
    }

    /// Commits up to where this stream's batches have been come back from, and waits for the result.
    ///
    /// # Errors
    ///
    /// [`Error::StreamEnded`] once the partition has been given up; otherwise as [`ConsumerHandle::commit_sync`].
    ///
    /// # Cancel safety
    ///
    /// The commit goes its way also if the future is dropped.
    pub async fn commit_sync(&self) -> Result<(), Error> {
        self.commit_async()?.await
    }

    /// As [`commit_sync`](Self::commit_sync), without waiting: the result is the returned future's.
    ///
    /// # Errors
    ///
    /// [`Error::StreamEnded`] once the partition has been given up.
    pub fn commit_async(&self) -> Result<Commit, Error> {
        let partition = &self.channel.partition;
        let state = self.channel.state();
        if state.is_released {
            return Err(Error::StreamEnded { partition: partition.clone() });
        }
        let done = self.done().map(|completed| (partition.clone(), completed)).into_iter().collect();
        // Under the lock, so that the partition cannot be given up in between.
        Ok(ConsumerHandle::new(Arc::clone(&self.shared)).commit_async_offsets(to_commit(&done)))
    }
}

impl Drop for PartitionStream {
    fn drop(&mut self) {
        let mut state = self.channel.state();
        state.is_dropped = true;
        state.at = None;
        state.queue.clear();
        drop(state);
        self.channel.dropped.notify_waiters();
        self.shared.channels.changed.notify_one();
    }
}

impl Channels {
    fn open(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Arc<Channel>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the streams of these partitions, and waits until their readers have dropped them or `patience` is over.
    pub(crate) async fn drain(&self, partitions: &BTreeSet<TopicPartition>, patience: Duration) {
        let ended = self.end(partitions);
        if ended.is_empty() {
            return;
        }
        let deadline = Instant::now() + patience;
        for channel in ended {
            if tokio::time::timeout_at(deadline, channel.is_dropped()).await.is_err() {
                tracing::warn!(partition = %channel.partition, "the partition's reader did not end in time");
            }
        }
    }

    /// Ends the streams of these partitions; gives those that there are.
    pub(crate) fn end(&self, partitions: &BTreeSet<TopicPartition>) -> Vec<Arc<Channel>> {
        let open = self.open();
        let ended: Vec<_> = partitions.iter().filter_map(|partition| open.get(partition).cloned()).collect();
        for channel in &ended {
            channel.end();
        }
        ended
    }

    /// The partitions but these are given up.
    pub(crate) fn release_all_but(&self, kept: &BTreeSet<TopicPartition>) {
        self.open().retain(|partition, channel| {
            let is_kept = kept.contains(partition);
            if !is_kept {
                channel.end();
                channel.release();
            }
            is_kept
        });
    }

    /// Whoever opens streams is to look.
    pub(crate) fn tell_change(&self) {
        self.changed.notify_one();
    }

    /// The consumer is closed.
    pub(crate) fn end_all(&self) {
        self.release_all_but(&BTreeSet::new());
    }

    /// Whether the partition's stream has enough to read for now.
    pub(crate) fn is_full(&self, partition: &TopicPartition) -> bool {
        self.open().get(partition).is_some_and(|channel| channel.state().is_full())
    }

    /// Queues a batch for its reader; a partition that has enough then is paused.
    fn pass_on(&self, shared: &Shared, batch: Batch) {
        let partition = batch.topic_partition().clone();
        let Some(channel) = self.open().get(&partition).cloned() else { return };
        let mut state = channel.state();
        if state.has_ended {
            return;
        }
        let (start, end) = (batch.start_offset(), batch.next_offset());
        shared.state().marks.hand_out(&partition, start, end, batch.leader_epoch());
        if !state.is_dropped {
            state.queued_bytes += batch.size_bytes();
            state.queue.push_back(Ok(batch));
        }
        let is_full = state.is_full();
        drop(state);
        channel.readable.notify_one();
        if is_full {
            // What is not assigned any more needs no pause.
            let _: Result<_, _> = shared.fetcher.pause([&partition]);
        }
    }

    /// Passes an error on to the stream of its partition; gives back what belongs to none.
    fn tell(&self, error: Error) -> Result<(), Error> {
        let channel = error.partition().and_then(|partition| self.open().get(partition).cloned());
        let Some(channel) = channel else { return Err(error) };
        let mut state = channel.state();
        // One at a time is told: the partition is tried again whether or not it is read.
        if !matches!(state.queue.back(), Some(Err(_))) {
            state.queue.push_back(Err(error));
        }
        drop(state);
        channel.readable.notify_one();
        Ok(())
    }

    fn resume_those_with_room(&self, shared: &Shared) {
        let paused = shared.fetcher.paused();
        if paused.is_empty() {
            return;
        }
        let wanted = &shared.state().paused;
        let open = self.open();
        for partition in paused.difference(wanted) {
            if open.get(partition).is_some_and(|channel| channel.state().has_room()) {
                let _: Result<_, _> = shared.fetcher.resume([partition]);
            }
        }
    }

    /// Since when the slowest reader is at its batch.
    fn oldest(&self) -> Option<Instant> {
        self.open().values().filter_map(|channel| channel.state().at.map(|(_, since)| since)).min()
    }
}

impl Channel {
    fn new(partition: TopicPartition) -> Self {
        Self { partition, state: Mutex::default(), readable: Notify::new(), dropped: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let mut state = self.state();
        state.has_ended = true;
        state.queue.clear();
        drop(state);
        self.readable.notify_one();
    }

    fn release(&self) {
        self.state().is_released = true;
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
    fn is_full(&self) -> bool {
        self.is_dropped || self.queued_bytes >= FULL_BYTES || self.queue.len() >= FULL_BATCHES
    }

    fn has_room(&self) -> bool {
        !self.is_dropped && self.queued_bytes < FULL_BYTES / 2 && self.queue.len() < FULL_BATCHES / 2
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// From here on a partition is paused: as much as one poll hands out.
const FULL_BYTES: usize = 512 * 1024;
/// The same where batches are tiny.
const FULL_BATCHES: usize = 64;
