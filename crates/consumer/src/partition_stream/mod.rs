//! A stream for each partition and assignment, so that partitions can be worked on side by side.
//!
//! [`PartitionStreams`] polls the consumer and passes each batch on to its partition's [`PartitionStream`], which has a
//! queue of its own. A partition whose reader is behind is paused until there is room: it delays no other. When a
//! partition is revoked its stream ends after the batch that its reader is at; the revocation waits until the
//! stream is dropped, or for the drain timeout, and then commits what was come back from. A stream belongs to one
//! assignment: when the partition comes back later, that is another stream, and this one commits nothing any more.

mod channels;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ottla_cluster::Backoff;
use ottla_cluster::clock::sleep_until;
use ottla_fetcher::{Batch, Batches, Completed};
use ottla_wire::TopicPartition;
use tokio::time::Instant;

pub(crate) use self::channels::Channels;
use self::channels::{At, Channel};

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
    /// How many batches in a row had a record that cannot be read, and when the next is tried.
    corrupt: u32,
    not_before: Option<Instant>,
    backoff: Backoff,
}

impl Consumer {
    /// A stream for each partition, instead of polls of all of them.
    pub fn into_partition_streams(self) -> PartitionStreams {
        let end = EndOnDrop(Arc::clone(self.shared()));
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
        let shared = Arc::clone(self.consumer.shared());
        loop {
            self.open();
            if let Some(stream) = self.fresh.pop_front() {
                return Ok(stream);
            }
            let late_at = self.late_at();
            if late_at.is_some_and(|late_at| late_at <= Instant::now())
                && let Some(group) = &shared.group
            {
                group.poll_interval_exceeded();
            }
            tokio::select! {
                biased; // room first: a partition that is paused for nothing is slow for nothing
                () = shared.channels.changed() => shared.channels.resume_those_with_room(&shared),
                () = sleep_until(self.look_at(late_at)) => {}
                polled = self.consumer.poll(LONGEST_WAIT) => match polled {
                    Ok(batches) => {
                        // Within one poll partitions are assigned and their first records come.
                        self.open();
                        self.pass_on(batches);
                    }
                    // Readers hold all the memory. They will come back.
                    Err(error @ Error::Fetch(ottla_fetcher::Error::BufferHeld { .. })) => shared.errors.push(error),
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

    /// When the slowest reader is late, where there is a group to which that matters.
    fn late_at(&self) -> Option<Instant> {
        let shared = self.consumer.shared();
        let since = shared.group.as_ref().and_then(|_| shared.channels.oldest())?;
        since.checked_add(shared.timeouts.max_poll_interval)
    }

    /// When to look for late readers: whoever takes a batch from now on is late no earlier than a whole interval from now.
    fn look_at(&self, late_at: Option<Instant>) -> Option<Instant> {
        let now = Instant::now();
        let shared = self.consumer.shared();
        let earliest = shared.group.as_ref().and_then(|_| now.checked_add(shared.timeouts.max_poll_interval));
        late_at.filter(|late_at| *late_at > now).or(earliest)
    }

    /// Gives each batch to its partition's stream.
    fn pass_on(&mut self, batches: Batches) {
        let shared = Arc::clone(self.consumer.shared());
        for batch in batches {
            let Some(batch) = shared.channels.pass_on(&shared, batch) else { continue };
            // Assigned by a call that is not through yet: its first records have overtaken the news of it.
            self.courses = None;
            self.open();
            if let Some(batch) = shared.channels.pass_on(&shared, batch) {
                tracing::debug!(partition = %batch.topic_partition(), "a batch of a partition that is not assigned");
            }
        }
    }

    /// Opens streams for partitions that are assigned and have none.
    fn open(&mut self) {
        let shared = Arc::clone(self.consumer.shared());
        let courses = Some(shared.state().courses);
        if self.courses == courses {
            return;
        }
        self.courses = courses;
        for channel in shared.channels.open_all(shared.fetcher.assignment()) {
            let (shared, backoff) = (Arc::clone(&shared), shared.cluster.backoff());
            self.fresh.push_back(PartitionStream { channel, shared, corrupt: 0, not_before: None, backoff });
        }
    }
}

impl PartitionStream {
    /// The partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.channel.partition
    }

    /// The next batch; `None` when the partition is revoked, lost, or unassigned, or the consumer is closed. With each
    /// call the reader says that it has come back from the last batch: that is what automatic commits cover. Whoever
    /// wants to stop in the middle of a batch drops the stream instead.
    ///
    /// Batches that are queued keep coming while the partition is paused.
    ///
    /// # Errors
    ///
    /// Those of the partition; it is tried again with back-off, and the error told again, until it is gone or the
    /// partition is sought past it. So is a record that a batch's iterator could not read: the next batch begins at it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Batch, Error>> {
        self.come_back();
        if let Some(not_before) = self.not_before {
            tokio::time::sleep_until(not_before).await;
            self.not_before = None;
        }
        loop {
            let readable = self.channel.readable.notified();
            match self.channel.take() {
                Poll::Ready(next) => return next,
                Poll::Pending => readable.await,
            }
        }
    }

    /// Says that the batch that [`next`](Self::next) returned last is done with, without waiting for another.
    pub fn come_back(&mut self) {
        let Some(At { piece, progress, .. }) = self.channel.come_back() else { return };
        let partition = &self.channel.partition;
        if let Some(offset) = progress.corrupt_offset() {
            // It is to be read again from there, as after a poll; what is queued comes after it.
            self.corrupt = self.corrupt.saturating_add(1);
            self.not_before = Some(Instant::now() + self.backoff.next_delay(self.corrupt));
            self.shared.go_back(partition, &piece, offset);
        } else {
            self.corrupt = 0;
            self.shared.state().marks.done(partition, &piece);
        }
        if self.channel.wants_room() {
            self.shared.channels.tell_change();
        }
    }

    /// Whether the partition is about to be given up, or has been: a reader that takes long over a batch can stop early, by
    /// dropping the stream.
    pub fn has_ended(&self) -> bool {
        self.channel.state().has_ended()
    }

    /// The offset up to which this stream's batches have been come back from; `None` while its start is looked up, and
    /// once the partition has been given up.
    pub fn completed(&self) -> Option<i64> {
        self.done().map(|completed| completed.offset)
    }

    fn done(&self) -> Option<Completed> {
        let partition = &self.channel.partition;
        if self.channel.state().is_released {
            return None;
        }
        self.shared.completed_of(partition).ok().flatten()
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
        let done = self.shared.completed_of(partition).ok().flatten();
        let done = done.map(|completed| (partition.clone(), completed)).into_iter().collect();
        // Under the lock, so that the partition cannot be given up in between.
        Ok(ConsumerHandle::new(Arc::clone(&self.shared)).commit_async_offsets(to_commit(&done)))
    }
}

impl Drop for PartitionStream {
    fn drop(&mut self) {
        self.channel.leave();
        self.shared.channels.tell_change();
    }
}
