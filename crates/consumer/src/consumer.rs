//! The consumer: the one who polls.

use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_cluster::clock::sleep_until;
use ottla_cluster::{Backoff, Metadata, watch};
use ottla_coordinator::{Coordinator, CoordinatorHandle, EventOrStanding, GroupEvent};
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
    pub(crate) handle: ConsumerHandle,
    pub(crate) fetcher: Fetcher,
    pub(crate) group: Option<Coordinator>,
    /// What a change of the group has begun. A mutex, because a future alone would keep the consumer from being shared;
    /// it is never locked.
    pub(crate) step: Mutex<Option<Pending>>,
    /// A lookup of committed offsets.
    lookup: Mutex<Option<Pending>>,
    /// When the next may begin, after so many have failed in a row.
    lookup_backoff: LookupBackoff,
    is_unsubscribing: bool,
    /// For a subscription by pattern.
    metadata: watch::Receiver<Arc<Metadata>>,
    _end: EndOnDrop,
}

/// A lookup of committed offsets that is refused is tried again after a while.
#[derive(Debug)]
struct LookupBackoff {
    backoff: Backoff,
    failures: u32,
    not_before: Option<Instant>,
}

/// Tells whoever waits for failures that there will be none any more.
#[derive(Debug)]
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.errors.end();
    }
}

/// A future that outlives the poll which began it.
pub(crate) struct Pending(Step);

impl std::fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pending(..)")
    }
}

impl Consumer {
    pub(crate) fn new(shared: Arc<Shared>, fetcher: Fetcher, group: Option<Coordinator>) -> Self {
        let metadata = shared.cluster.metadata_changes();
        let lookup_backoff = LookupBackoff { backoff: shared.cluster.backoff(), failures: 0, not_before: None };
        let (handle, end) = (ConsumerHandle::new(Arc::clone(&shared)), EndOnDrop(shared));
        let (step, lookup) = (Mutex::new(None), Mutex::new(None));
        let is_unsubscribing = false;
        Self { handle, fetcher, group, step, lookup, lookup_backoff, is_unsubscribing, metadata, _end: end }
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
    /// Records that were read may be gone from their log, which is [told](crate::ConsumerBuilder::on_truncation) here or beside polls.
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
        self.shared().state().marks.release_done();
        self.next_batches(timeout).await
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.handle.shared()
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
        let mut first = Ok(());
        loop {
            if let Some(step) = pending(&mut self.step) {
                let ended = step.await;
                *slot(&mut self.step) = None;
                first = first.and(ended);
            } else if std::mem::take(&mut self.is_unsubscribing) {
                self.begin_unsubscribing();
            } else {
                return first;
            }
        }
    }

    /// Where tasks on behalf of this consumer run.
    pub(crate) fn runtime(&self) -> Result<tokio::runtime::Handle, Error> {
        Ok(self.shared().cluster.runtime()?)
    }

    /// Goes on with whatever the group wants, until there are batches or the time is up.
    pub(crate) async fn next_batches(&mut self, timeout: Duration) -> Result<Batches, Error> {
        let shared = Arc::clone(self.shared());
        let mut deadline: Option<Instant> = None;
        let mut in_poll = None;
        loop {
            self.begin_step()?;
            if let Some(step) = pending(&mut self.step) {
                // A step that does not end keeps nobody in the group: a listener may hang.
                in_poll = None;
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
            // A sign of life, again from time to time: a poll whose future is kept and not driven is late in the end.
            in_poll = match in_poll.take() {
                Some(in_poll) => Some(InPoll::go_on(in_poll)),
                None => shared.group.as_ref().map(InPoll::begin),
            };
            let now = Instant::now();
            let alive_at = in_poll.is_some().then(|| now + shared.timeouts.max_poll_interval / 2);
            let lookup_at = self.begin_lookup(now);
            shared.commit_if_due(now.into_std());
            let deadline = *deadline.get_or_insert_with(|| now + timeout.min(LONGEST_WAIT));
            let commit_at = shared.state().auto_commit.next_deadline().map(Instant::from_std);
            let ask_at = shared.ask_for_topics(now.into_std()).map(Instant::from_std);
            tokio::select! {
                biased; // a rebalance goes before records, and records before the end of the wait
                () = group_event(shared.group.as_ref()) => {}
                Some(ended) = or_never(pending(&mut self.lookup)) => {
                    *slot(&mut self.lookup) = None;
                    self.end_lookup(ended)?;
                }
                () = shared.woken.notified() => {}
                Ok(()) = self.metadata.changed(), if ask_at.is_some() => shared.matched(),
                batches = self.fetcher.poll(deadline - now) => {
                    shared.tell_resets();
                    return Ok(batches?);
                }
                () = sleep_until(commit_at) => {}
                () = sleep_until(ask_at) => {}
                () = sleep_until(lookup_at) => {}
                () = sleep_until(alive_at) => {}
            }
        }
    }

    /// Begins the next step that the group, or the application, asks for, unless one is under way.
    fn begin_step(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(self.shared());
        if slot(&mut self.step).is_some() {
            return Ok(());
        }
        if std::mem::take(&mut self.is_unsubscribing) {
            self.begin_unsubscribing();
            return Ok(());
        }
        let Some(group) = shared.group.clone() else { return Ok(()) };
        let event = match group.next_event_or_standing() {
            EventOrStanding::Event(event) => event,
            standing => return self.stand(shared, group, &standing),
        };
        match event {
            GroupEvent::RebalanceNeeded { reason } => {
                tracing::debug!(%reason, "rebalancing");
                self.begin(rebalance::rejoin(shared, group));
            }
            GroupEvent::Assigned(assigned) => {
                self.begin(rebalance::take_over(shared, group, Arc::new(assigned)));
            }
            GroupEvent::Lost { reason } => {
                shared.errors.push(Error::MembershipLost { reason });
                self.begin(rebalance::lose(shared));
            }
            GroupEvent::Failed(error) => {
                let error = Error::from(error);
                if error.is_fatal() {
                    shared.state().fatal = Some(error.clone());
                    self.begin(rebalance::lose(shared));
                }
                return Err(error);
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing has happened: whoever is no member, and wants to be one, joins.
    fn stand(
        &mut self,
        shared: Arc<Shared>,
        group: CoordinatorHandle,
        standing: &EventOrStanding,
    ) -> Result<(), Error> {
        if let Some(error) = shared.state().fatal.clone() {
            return Err(error);
        }
        if matches!(standing, EventOrStanding::NotMember) && shared.state().subscription.topics().is_some() {
            self.begin(rebalance::rejoin(shared, group));
        }
        Ok(())
    }

    fn begin_unsubscribing(&mut self) {
        let (shared, is_lost) = (Arc::clone(self.shared()), self.take_loss());
        self.begin(rebalance::unsubscribe(shared, is_lost));
    }

    /// Whether the membership was lost, which nothing has been done about yet. What else has happened is of no
    /// consequence to one who leaves.
    pub(crate) fn take_loss(&self) -> bool {
        let mut is_lost = false;
        while let Some(event) = self.shared().group.as_ref().and_then(CoordinatorHandle::next_event) {
            if let GroupEvent::Lost { reason } = event {
                self.shared().errors.push(Error::MembershipLost { reason });
                is_lost = true;
            }
        }
        is_lost
    }

    fn begin(&mut self, step: impl Future<Output = Result<(), Error>> + Send + 'static) {
        // The application is here. How long the step may take is counted from now on.
        if let Some(group) = &self.shared().group {
            group.poll_begins();
        }
        *slot(&mut self.step) = Some(Pending(Box::pin(step)));
    }

    /// Looks committed offsets up, where partitions wait for them. Says when it may, if that is not now.
    fn begin_lookup(&mut self, now: Instant) -> Option<Instant> {
        let shared = Arc::clone(self.handle.shared());
        let lookup = slot(&mut self.lookup);
        if lookup.is_some() || shared.fetcher.awaiting().is_empty() {
            return None;
        }
        let not_before = self.lookup_backoff.not_before.filter(|not_before| *not_before > now);
        if not_before.is_none() {
            *lookup = Some(Pending(Box::pin(async move { shared.start_at_committed().await })));
        }
        not_before
    }

    /// What may come right by itself is told beside polls.
    fn end_lookup(&mut self, ended: Result<(), Error>) -> Result<(), Error> {
        let LookupBackoff { backoff, failures, not_before } = &mut self.lookup_backoff;
        let Err(error) = ended else {
            (*failures, *not_before) = (0, None);
            return Ok(());
        };
        *failures = failures.saturating_add(1);
        *not_before = Some(Instant::now() + backoff.next_delay(*failures));
        if error.is_retriable() {
            self.shared().errors.push(error);
            return Ok(());
        }
        Err(error)
    }
}

impl Deref for Consumer {
    type Target = ConsumerHandle;

    fn deref(&self) -> &ConsumerHandle {
        &self.handle
    }
}

/// Shows that the application polls. Dropped with the poll, however that ends.
struct InPoll<'g>(&'g CoordinatorHandle);

impl<'g> InPoll<'g> {
    fn begin(group: &'g CoordinatorHandle) -> Self {
        group.poll_begins();
        Self(group)
    }

    fn go_on(self) -> Self {
        self.0.poll_begins();
        self
    }
}

impl Drop for InPoll<'_> {
    fn drop(&mut self) {
        self.0.poll_ends();
    }
}

pub(crate) fn slot(pending: &mut Mutex<Option<Pending>>) -> &mut Option<Pending> {
    pending.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// What is pending, to be polled in place.
pub(crate) fn pending(of: &mut Mutex<Option<Pending>>) -> Option<&mut Step> {
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

/// Longer than any program runs, and short enough to be added to any clock.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_hours(30 * 365 * 24);
