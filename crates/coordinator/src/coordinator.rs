//! The group as its user sees it: one owner, and any number of handles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::Cluster;
use ottla_cluster::clock::now;
use ottla_wire::TopicPartition;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::assignor::RebalanceProtocol;
use crate::shared::{LONGEST_TIMEOUT, Shared, Tasks};
use crate::state::State;
use crate::{Commit, Error, EventOrStanding, GroupConfig, GroupEvent, GroupMetadata, OffsetAndMetadata};

/// A member of a group, or somebody who commits and looks up its offsets.
///
/// Dropping it ends its tasks, without telling the group: its membership ends with the session timeout.
/// [`close`](Self::close) is the orderly way.
#[derive(Debug)]
pub struct Coordinator {
    handle: CoordinatorHandle,
}

/// Everything but closing. Cloning it gives another handle to the same member.
#[derive(Clone, Debug)]
pub struct CoordinatorHandle {
    shared: Arc<Shared>,
    protocol: RebalanceProtocol,
}

impl Coordinator {
    /// No member yet. Does no I/O; its task starts with the first join, commit or lookup.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] names the setting that cannot be.
    pub fn new(cluster: Cluster, config: GroupConfig) -> Result<Self, Error> {
        config.check()?;
        let protocol = config.rebalance_protocol();
        let shared = Arc::new(Shared::new(cluster, config));
        Ok(Self { handle: CoordinatorHandle { shared, protocol } })
    }

    /// A handle for everything but closing.
    pub fn handle(&self) -> &CoordinatorHandle {
        &self.handle
    }

    /// Waits for the commits that are queued, leaves the group if there is a reason to (static members stay: they are
    /// to find their partitions again), and ends the tasks. All within `timeout`, whatever the brokers do: where
    /// commits take longer than half of it, the member leaves before they are done.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] where commits or the leave did not come about in time; what else kept the coordinator from
    /// saying that the member has left, such as an [`Error::Refused`] that does not go away. It is closed all the same,
    /// and the group goes on without it when its session is over. What a commit failed with, its own future tells.
    /// [`Error::TaskEnded`] where there was no task any more to do it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is dropping the coordinator: what has been sent takes its course, the rest is not sent.
    pub async fn close(self, leave: Option<&str>, timeout: Duration) -> Result<(), Error> {
        let shared = &self.handle.shared;
        let timeout = timeout.min(LONGEST_TIMEOUT);
        let deadline = Instant::now() + timeout;
        let mut left = Ok(());
        if let Some(reason) = leave {
            // Heartbeats go on meanwhile, so they are waited for here.
            let _: Result<_, _> = tokio::time::timeout(timeout / 2, self.handle.commits_done()).await;
            let remaining = deadline.saturating_duration_since(Instant::now());
            left = self.handle.leave_with(reason, remaining, Duration::ZERO).await;
        }
        // A static member's may still be taken.
        let in_time = tokio::time::timeout_at(deadline, self.handle.commits_done()).await;
        let tasks = std::mem::replace(&mut *shared.tasks(), Tasks::Closed);
        let has_failed = match tasks {
            Tasks::Running(alive, ended) => {
                drop(alive);
                ended.await.is_err()
            }
            Tasks::Failed => true,
            Tasks::NotStarted | Tasks::Closed => false,
        };
        if has_failed {
            return Err(shared.task_ended());
        }
        if in_time.is_ok() {
            return left;
        }
        let source = left.err().map(Box::new);
        Err(Error::TimedOut { attempted: "closing", group: Arc::clone(&shared.group), timeout, source })
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        // The supervisor, told by the drop of its sender, ends the other tasks.
        *self.handle.shared.tasks() = Tasks::Closed;
    }
}

impl CoordinatorHandle {
    /// What the member joins with. Makes the consumer one that needs a membership to commit; where it is a member
    /// already and the topics differ from those it joined with, a rebalance is needed. Does not join.
    pub fn subscribe(&self, topics: BTreeSet<Arc<str>>) {
        self.change(|state| state.group.subscribe(topics));
    }

    /// How this member rebalances: what it has to give up before it joins.
    pub fn rebalance_protocol(&self) -> RebalanceProtocol {
        self.protocol
    }

    /// The application is here: a poll begins, or goes on. From each call on it may be away for
    /// `max.poll.interval.ms`; a poll that waits for longer calls this again from time to time, from within the future
    /// that is being polled, such as each half of that interval. So one that nobody drives any more is found out.
    pub fn poll_begins(&self) {
        // It only moves a deadline away: the supervisor need not be woken, and finds out when the old one comes.
        self.shared.state().group.polled(now());
    }

    /// The application is on its own, for at most `max.poll.interval.ms`.
    pub fn poll_ends(&self) {
        // Likewise.
        self.shared.state().group.polled(now());
    }

    /// The application is late, as if it had not polled for `max.poll.interval.ms`: a member leaves, and is told
    /// [`GroupEvent::Lost`]. For those who poll in the name of several readers, and see one of them hang.
    pub fn poll_interval_exceeded(&self) {
        self.change(|state| state.group.poll_interval_exceeded());
    }

    /// What has happened, once each and in order.
    pub fn next_event(&self) -> Option<GroupEvent> {
        self.shared.state().group.next_event()
    }

    /// What has happened next, or else how the member stands, which no event can change that was not told yet.
    pub fn next_event_or_standing(&self) -> EventOrStanding {
        self.shared.state().group.next_event_or_standing()
    }

    /// Waits until [`next_event`](Self::next_event) has something; returns at once where it has.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub async fn event_ready(&self) {
        self.shared.wait_until(|shared| shared.state().group.has_events()).await;
    }

    /// Whether the member is to rejoin: [`GroupEvent::RebalanceNeeded`] was told or is about to be, and
    /// [`join`](Self::join) has not been called since.
    pub fn is_rebalance_pending(&self) -> bool {
        self.shared.state().group.is_rebalance_pending()
    }

    /// Whether a join is under way: [`join`](Self::join) was called, and none of [`GroupEvent::Assigned`],
    /// [`GroupEvent::Lost`] and [`GroupEvent::Failed`] has come of it yet.
    pub fn is_joining(&self) -> bool {
        self.shared.state().group.is_joining()
    }

    /// Joins, or joins again. The application says with it that it has given up what it had to, and still owns
    /// `owned` (nothing, where the protocol is eager). From here on the coordinator goes on by itself, through whatever
    /// can be retried, until it tells of [`GroupEvent::Assigned`], [`GroupEvent::Lost`] or [`GroupEvent::Failed`].
    /// Does nothing while a join is under way, or before [`subscribe`](Self::subscribe).
    pub fn join(&self, owned: Vec<TopicPartition>) {
        match self.shared.start() {
            Ok(()) => self.change(|state| state.group.join(owned)),
            Err(error) => self.change(|state| state.group.tell_failure(error)),
        }
    }

    /// Asks for a rebalance (KIP-568); the group is told `reason`. Comes back as [`GroupEvent::RebalanceNeeded`]. Does
    /// nothing where the member is none.
    pub fn rejoin(&self, reason: &str) {
        self.change(|state| state.group.rejoin(reason));
    }

    /// Who the member is. `None` unless it has an assignment of the current generation: before the first join, from
    /// [`join`](Self::join) until [`GroupEvent::Assigned`], and after the membership was lost.
    pub fn membership(&self) -> Option<GroupMetadata> {
        self.shared.state().group.membership()
    }

    /// Leaves the group, and forgets the subscription; a join that is under way ends without an event. The coordinator
    /// stays usable: for another subscription, or for offsets without a membership. A static member only forgets that
    /// it is one. Waits for the coordinator's answer for at most `timeout`; whatever it is, the member has left as far
    /// as this client is concerned. Commits that are queued go first, for half of `timeout` at most. Says whether
    /// there was nothing to send, or the coordinator has confirmed it: if not, the group may wait until the session is
    /// over.
    ///
    /// # Cancel safety
    ///
    /// The member leaves also if the future is dropped, once that has been polled.
    pub async fn leave(&self, reason: &str, timeout: Duration) -> bool {
        let timeout = timeout.min(LONGEST_TIMEOUT);
        self.leave_with(reason, timeout, timeout / 2).await.is_ok()
    }

    /// Leaves; for so much of the time, commits go first.
    async fn leave_with(&self, reason: &str, timeout: Duration, for_commits: Duration) -> Result<(), Error> {
        let answer = self.shared.leave(reason, timeout, for_commits);
        self.shared.changed.notify_waiters();
        let Some(answer) = answer? else { return Ok(()) };
        // It comes by the timeout, or when the task ends that would give it.
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Commits offsets: as the member of the generation that is current at the time of this call, or, where nothing is
    /// subscribed to, as nobody in particular. Commits are written in the order of the calls, one after the other;
    /// those that can be retried are, for `default.api.timeout.ms`.
    ///
    /// # Errors
    ///
    /// The future's: [`Error::RebalanceInProgress`], [`Error::CommitFailed`], [`Error::FencedInstanceId`],
    /// [`Error::PartitionRefused`] for the first partition that was refused (the others may have been committed),
    /// [`Error::TimedOut`] with the last failure as its source.
    pub fn commit(&self, offsets: BTreeMap<TopicPartition, OffsetAndMetadata>) -> Commit {
        let (result, answer) = oneshot::channel();
        self.shared.commit(offsets, result);
        self.shared.changed.notify_waiters();
        Commit::new(answer)
    }

    /// Waits until all commits so far have their result.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub async fn commits_done(&self) {
        let last = self.shared.state().commits.last_id();
        self.shared.wait_until(|shared| shared.waiting().commits.keys().next().is_none_or(|id| *id > last)).await;
    }

    /// Looks up what the group has committed: `None` for a partition of which the coordinator says that nothing is. No
    /// error ever passes for that; what goes away by itself is tried again until `timeout` is over.
    ///
    /// # Errors
    ///
    /// What the coordinator refused, of the group or of a partition; [`Error::TimedOut`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the lookup; it changes nothing.
    pub async fn committed(
        &self,
        partitions: BTreeSet<TopicPartition>,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, Error> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.shared.start()?;
        let (result, answer) = oneshot::channel();
        let lookup = self.shared.look_up(partitions, timeout.min(LONGEST_TIMEOUT), result)?;
        let _abandoned = AbandonedOnDrop { shared: &self.shared, lookup };
        self.shared.changed.notify_waiters();
        answer.await.unwrap_or(Err(Error::Closed))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state());
        self.shared.publish();
        self.shared.changed.notify_waiters();
    }
}

/// A lookup that ends with the future that waits for it.
struct AbandonedOnDrop<'s> {
    shared: &'s Shared,
    lookup: u64,
}

impl Drop for AbandonedOnDrop<'_> {
    fn drop(&mut self) {
        self.shared.state().lookups.abandon(self.lookup);
        self.shared.waiting().lookups.remove(&self.lookup);
    }
}
