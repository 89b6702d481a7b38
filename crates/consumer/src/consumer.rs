//! The consumer: the one who polls.

use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_cluster::{Metadata, watch};
use ottla_coordinator::{Coordinator, CoordinatorHandle, GroupEvent};
use ottla_fetcher::{Batches, Fetcher};
use tokio::time::Instant;

use crate::rebalance::{self, Step};
use crate::shared::Shared;
use crate::{ConsumerHandle, Error};

/// Reads the partitions that its group assigns to it, or that it is told to read.
///
/// Everything but [`poll`](Self::poll), [`unsubscribe`](Self::unsubscribe) and [`close`](Self::close) is also in its
/// [`handle`](Self::handle), to which it dereferences.
///
/// Dropping it ends its tasks and connections without waiting for them, commits nothing, and leaves it to the session
/// timeout to give its partitions to others. [`close`](Self::close) is the orderly way.
#[derive(Debug)]
pub struct Consumer {
    handle: ConsumerHandle,
    fetcher: Fetcher,
    group: Option<Coordinator>,
    /// What a change of the group has begun. A mutex, because a future alone would keep the consumer from being shared;
    /// it is never locked.
    step: Mutex<Option<Pending>>,
    /// A lookup of committed offsets.
    lookup: Mutex<Option<Pending>>,
    is_unsubscribing: bool,
    /// For a subscription by pattern.
    metadata: watch::Receiver<Arc<Metadata>>,
}

/// A future that outlives the poll which began it.
struct Pending(Step);

impl std::fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pending(..)")
    }
}

impl Consumer {
    pub(crate) fn new(shared: Arc<Shared>, fetcher: Fetcher, group: Option<Coordinator>) -> Self {
        let metadata = shared.cluster.metadata_changes();
        let handle = ConsumerHandle::new(shared);
        let (step, lookup) = (Mutex::new(None), Mutex::new(None));
        Self { handle, fetcher, group, step, lookup, is_unsubscribing: false, metadata }
    }

    /// Batches that have come: at once if there are some, else as soon as there are; none when `timeout` is over.
    ///
    /// The batches are owned: they may be held over an await and sent to other tasks, and the consumer may be told to
    /// seek, pause or commit while they are read. With each call the application says that it has come back from all that the
    /// last one handed out. That is what automatic commits cover.
    ///
    /// What the group wants is done here and nowhere else: giving up partitions, calling the
    /// [listener](crate::RebalanceListener), joining. So an application that does not come back for
    /// `max.poll.interval.ms` loses its membership; [`rebalance_pending`](ConsumerHandle::rebalance_pending) tells a
    /// slow one that the others are waiting.
    ///
    /// What may come right by itself is no error: while the brokers cannot be reached, a topic does not exist (yet), or
    /// nothing is assigned, there are no batches. [`assign_topic`](ConsumerHandle::assign_topic) tells what is wrong when its
    /// time is over, and [`next_error`](ConsumerHandle::next_error) whatever fails and is tried again.
    ///
    /// # Errors
    ///
    /// An error of a partition stands in its place after the records before it. The others go on, and so may the
    /// application: it need only poll again. The partition is tried again with back-off and the error told again,
    /// until it is gone or the partition is sought elsewhere, paused or no longer assigned. An error of the group is told
    /// once, unless it is [fatal](Error::is_fatal).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what it would have returned, the next call does, and a listener's method that was
    /// running goes on there.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Batches, Error> {
        self.fetcher.settle();
        self.handle.shared().state().marks.release_done();
        let group = self.handle.shared().group.clone();
        let _in_poll = group.as_ref().map(InPoll::begin);
        self.next_batches(timeout).await
    }

    /// A handle for other tasks.
    pub fn handle(&self) -> ConsumerHandle {
        self.handle.clone()
    }

    /// Gives up all partitions, as for a rebalance, and leaves the group; or, where partitions were assigned by the
    /// application, forgets them. The consumer can then be told to read something else.
    ///
    /// # Errors
    ///
    /// Those of the listener. The consumer has unsubscribed all the same.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after it was first polled, the next [`poll`](Self::poll) goes on with it.
    pub async fn unsubscribe(&mut self) -> Result<(), Error> {
        self.fetcher.settle();
        self.is_unsubscribing = true;
        loop {
            self.begin_step()?;
            let Some(step) = pending(&mut self.step) else { return Ok(()) };
            let ended = step.await;
            *slot(&mut self.step) = None;
            ended?;
        }
    }

    /// As [`close_within`](Self::close_within) 30 seconds.
    pub async fn close(self) -> Result<(), Error> {
        self.close_within(Duration::from_secs(30)).await
    }

    /// Finishes what a rebalance has begun, commits (where commits are automatic) what the application has come back from,
    /// tells the listener that the partitions are revoked, leaves the group, and ends the consumer's tasks. All that
    /// within `timeout`, whatever the brokers do. What was handed out stays valid.
    ///
    /// What was handed out last counts as come back from as far as its batches' iterators have ended: whoever leaves a
    /// loop early finds the rest again.
    ///
    /// # Errors
    ///
    /// The first thing that went wrong; the consumer is closed all the same. [`Error::CloseTimedOut`] where the time was
    /// not enough.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is dropping the consumer: what has been sent takes its course, the rest is not sent.
    pub async fn close_within(mut self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout.min(LONGEST_WAIT);
        let timed_out = |_| Err(Error::CloseTimedOut { timeout });
        let wound_up = tokio::time::timeout_at(deadline, self.wind_up()).await.unwrap_or_else(timed_out);
        let Self { fetcher, group, handle, .. } = self;
        let left = match group {
            Some(group) => {
                let left = group.close(Some("the consumer is being closed"), deadline - Instant::now()).await;
                left.map_err(Error::from)
            }
            None => Ok(()),
        };
        handle.shared().channels.end_all();
        let fetched = tokio::time::timeout_at(deadline.max(Instant::now() + FETCHER_END), fetcher.close()).await;
        wound_up.and(left).and(fetched.map_err(|_| Error::CloseTimedOut { timeout }))
    }

    /// Where tasks on behalf of this consumer run.
    pub(crate) fn runtime(&self) -> Result<tokio::runtime::Handle, Error> {
        Ok(self.handle.shared().cluster.runtime()?)
    }

    async fn wind_up(&mut self) -> Result<(), Error> {
        let mut first = Ok(());
        if let Some(step) = pending(&mut self.step) {
            first = step.await;
            *slot(&mut self.step) = None;
        }
        let shared = Arc::clone(self.handle.shared());
        let mut is_lost = false;
        while let Some(event) = shared.group.as_ref().and_then(CoordinatorHandle::next_event) {
            is_lost |= matches!(event, GroupEvent::Lost { .. });
        }
        if is_lost {
            return first.and(rebalance::lose(shared).await);
        }
        let assignment = shared.fetcher.assignment();
        let revoked = rebalance::revoke(&shared, assignment).await;
        first.and(revoked.commit).and(revoked.told)
    }

    /// Goes on with whatever the group wants, until there are batches or the time is up.
    pub(crate) async fn next_batches(&mut self, timeout: Duration) -> Result<Batches, Error> {
        let shared = Arc::clone(self.handle.shared());
        let mut deadline: Option<Instant> = None;
        loop {
            self.begin_step()?;
            if let Some(step) = pending(&mut self.step) {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + timeout.min(LONGEST_WAIT));
                tokio::select! {
                    biased; // a step that can end does so even where there is no time at all
                    ended = step => {
                        *slot(&mut self.step) = None;
                        ended?;
                        continue;
                    }
                    () = tokio::time::sleep_until(deadline) => {
                        // What the step waits for may need a turn, and polls without a wait give none.
                        tokio::task::yield_now().await;
                        return Ok(Batches::default());
                    }
                }
            }
            self.begin_lookup(&shared);
            let now = Instant::now();
            shared.commit_if_due(now.into_std());
            let deadline = *deadline.get_or_insert_with(|| now + timeout.min(LONGEST_WAIT));
            let commit_at = shared.state().auto_commit.next_deadline();
            let ask_at = shared.ask_for_topics(now.into_std());
            tokio::select! {
                biased; // a rebalance goes before records, and records before the end of the wait
                () = group_event(shared.group.as_ref()) => {}
                Some(ended) = or_never(pending(&mut self.lookup)) => {
                    *slot(&mut self.lookup) = None;
                    tell_lookup(&shared, ended)?;
                }
                Ok(()) = self.metadata.changed(), if ask_at.is_some() => shared.matched(),
                batches = self.fetcher.poll(deadline - now) => return Ok(batches?),
                () = sleep_until(commit_at) => {}
                () = sleep_until(ask_at) => {}
            }
        }
    }

    /// Begins the next step that the group, or the application, asks for, unless one is under way.
    fn begin_step(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(self.handle.shared());
        if slot(&mut self.step).is_some() {
            return Ok(());
        }
        if std::mem::take(&mut self.is_unsubscribing) {
            self.begin(rebalance::unsubscribe(shared));
            return Ok(());
        }
        let Some(group) = shared.group.clone() else { return Ok(()) };
        match group.next_event() {
            Some(GroupEvent::RebalanceNeeded { reason }) => {
                tracing::debug!(%reason, "rebalancing");
                self.begin(rebalance::rejoin(shared, group));
            }
            Some(GroupEvent::Assigned(assigned)) => {
                self.begin(rebalance::take_over(shared, group, Arc::new(assigned)));
            }
            Some(GroupEvent::Lost { reason }) => {
                tracing::warn!(%reason, "the membership in the group was lost");
                self.begin(rebalance::lose(shared));
            }
            Some(GroupEvent::Failed(error)) => {
                let error = Error::from(error);
                if error.is_fatal() {
                    shared.state().fatal = Some(error.clone());
                    self.begin(rebalance::lose(shared));
                }
                return Err(error);
            }
            Some(_) => {}
            None => {
                if let Some(error) = shared.state().fatal.clone() {
                    return Err(error);
                }
                let is_member = group.is_joining() || group.membership().is_some();
                if !is_member && shared.state().subscription.topics().is_some() {
                    self.begin(rebalance::rejoin(shared, group));
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, step: impl Future<Output = Result<(), Error>> + Send + 'static) {
        *slot(&mut self.step) = Some(Pending(Box::pin(step)));
    }

    /// Looks committed offsets up, where partitions wait for them.
    fn begin_lookup(&mut self, shared: &Arc<Shared>) {
        let lookup = slot(&mut self.lookup);
        if lookup.is_none() && !shared.fetcher.awaiting().is_empty() {
            let shared = Arc::clone(shared);
            *lookup = Some(Pending(Box::pin(async move { shared.start_at_committed().await })));
        }
    }
}

/// What may come right by itself is tried again by the next lookup.
fn tell_lookup(shared: &Shared, ended: Result<(), Error>) -> Result<(), Error> {
    match ended {
        Err(error) if error.is_retriable() => {
            shared.errors.push(error);
            Ok(())
        }
        ended => ended,
    }
}

impl Deref for Consumer {
    type Target = ConsumerHandle;

    fn deref(&self) -> &ConsumerHandle {
        &self.handle
    }
}

/// While it lives the application is not late. Dropped with the poll, however that ends.
struct InPoll<'g>(&'g CoordinatorHandle);

impl<'g> InPoll<'g> {
    fn begin(group: &'g CoordinatorHandle) -> Self {
        group.poll_begins();
        Self(group)
    }
}

impl Drop for InPoll<'_> {
    fn drop(&mut self) {
        self.0.poll_ends();
    }
}

fn slot(pending: &mut Mutex<Option<Pending>>) -> &mut Option<Pending> {
    pending.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// What is pending, to be polled in place.
fn pending(of: &mut Mutex<Option<Pending>>) -> Option<&mut Step> {
    slot(of).as_mut().map(|pending| &mut pending.0)
}

async fn or_never<F: Future>(future: Option<F>) -> Option<F::Output> {
    match future {
        Some(future) => Some(future.await),
        None => std::future::pending().await,
    }
}

async fn group_event(group: Option<&CoordinatorHandle>) {
    match group {
        Some(group) => group.event_ready().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Longer than any program runs, and short enough to be added to any clock.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_hours(30 * 365 * 24);
/// How long the fetcher's tasks have to end, which need no broker for it.
const FETCHER_END: Duration = Duration::from_secs(1);
