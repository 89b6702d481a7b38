//! What a change of the group means for what is read: the steps between a group's event and the next record.
//!
//! ```text
//! RebalanceNeeded ─▶ rejoin ──▶ JoinGroup leaves        Assigned ─▶ take over        Lost ─▶ lose
//!                      │                                   │
//!                      └──────────── revoke ───────────────┘ (cooperative)
//! ```
//!
//! A revocation has an order that never changes: streams of the partitions end and are drained; what the application has
//! come back from is committed, if commits are automatic; the listener is called; every commit so far has its result; the
//! partitions are given up. Only then does the group hear of it.
//!
//! Each step is a future that owns what it needs. The consumer keeps it and drives it from within its polls, so that a
//! poll that is dropped suspends it.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::assignor::RebalanceProtocol;
use ottla_coordinator::{Assigned, CoordinatorHandle};
use ottla_fetcher::StartAt;
use ottla_wire::TopicPartition;

use crate::listener::{AssignmentChange, Method};
use crate::shared::Shared;
use crate::subscription::Subscription;
use crate::{ConsumerHandle, Error};

/// A step under way. What it returns is told by the poll; it is done all the same.
pub(crate) type Step = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// How a revocation went. Its failures do not stop it.
#[derive(Debug)]
pub(crate) struct Revoked {
    /// Whether all readers ended in time.
    pub(crate) is_drained: bool,
    /// The automatic commit.
    pub(crate) commit: Result<(), Error>,
    /// The listener, and the fetcher.
    pub(crate) told: Result<(), Error>,
}

/// Gives up what has to be, then joins.
pub(crate) async fn rejoin(shared: Arc<Shared>, group: CoordinatorHandle) -> Result<(), Error> {
    let owned = shared.fetcher.assignment();
    let revoked = match group.rebalance_protocol() {
        RebalanceProtocol::Eager => owned,
        RebalanceProtocol::Cooperative => {
            // A copy: a pattern is the application's code, which is not called under the lock.
            let subscription = shared.state().subscription.clone();
            owned.iter().filter(|partition| !subscription.wants(&partition.topic)).cloned().collect()
        }
    };
    let revoked = revoke(&shared, revoked, shared.timeouts.drain).await;
    if let Err(error) = revoked.commit {
        shared.errors.push(error);
    }
    // A subscription may have come while the group was being left, which forgot it.
    let topics = shared.state().subscription.topics().cloned();
    if let Some(topics) = topics {
        group.subscribe(topics);
    }
    group.join(shared.fetcher.assignment().into_iter().collect());
    revoked.told
}

/// Takes over what was assigned; first gives up what others are to have.
pub(crate) async fn take_over(
    shared: Arc<Shared>,
    group: CoordinatorHandle,
    assigned: Arc<Assigned>,
) -> Result<(), Error> {
    shared.state().assigned = Some(Arc::clone(&assigned));
    let owned = shared.fetcher.assignment();
    let gone: BTreeSet<_> = owned.difference(&assigned.partitions).cloned().collect();
    let mut told = Ok(());
    if !gone.is_empty() {
        let revoked = revoke(&shared, gone.clone(), shared.timeouts.drain).await;
        if let Err(error) = revoked.commit {
            shared.errors.push(error);
        }
        told = revoked.told;
    }
    let start = |partition: &TopicPartition| (!owned.contains(partition)).then_some(StartAt::Committed);
    let assignment = assigned.partitions.iter().map(|partition| (partition.clone(), start(partition)));
    let assign = shared.fetcher.assign(assignment).map_err(Error::from);
    shared.state().courses += 1;
    let added = assigned.partitions.difference(&owned).cloned().collect();
    let change = AssignmentChange { partitions: added, assignment: assigned.partitions.clone() };
    let listened = tell(&shared, Method::Assigned, change).await;
    shared.channels.tell_change();
    if !gone.is_empty() {
        group.rejoin("gave up partitions that others are to have");
    }
    told.and(assign).and(listened)
}

/// The membership has ended: others may be reading what was assigned.
pub(crate) async fn lose(shared: Arc<Shared>) -> Result<(), Error> {
    let lost = shared.fetcher.assignment();
    // Their readers end, but nobody waits for them: there is nothing left to commit.
    shared.channels.end(&lost);
    let mut told = Ok(());
    if !lost.is_empty() {
        let change = AssignmentChange { partitions: lost, assignment: BTreeSet::new() };
        told = tell(&shared, Method::Lost, change).await;
    }
    told.and(give_up(&shared, &BTreeSet::new()))
}

/// Gives up all partitions, unless they are lost already, and leaves the group.
pub(crate) async fn unsubscribe(shared: Arc<Shared>, is_lost: bool) -> Result<(), Error> {
    let lost = if is_lost { lose(Arc::clone(&shared)).await } else { Ok(()) };
    let assignment = shared.fetcher.assignment();
    let revoked = revoke(&shared, assignment, shared.timeouts.drain).await;
    if let Err(error) = revoked.commit {
        shared.errors.push(error);
    }
    {
        let mut state = shared.state();
        (state.subscription, state.fatal) = (Subscription::None, None);
    }
    if let Some(group) = &shared.group {
        group.leave("the consumer unsubscribed from all topics", LEAVE_TIMEOUT).await;
    }
    lost.and(revoked.told)
}

/// Gives partitions up, in the order that the [module](self) tells. Readers have `patience` to end.
pub(crate) async fn revoke(shared: &Arc<Shared>, revoked: BTreeSet<TopicPartition>, patience: Duration) -> Revoked {
    let is_drained = shared.channels.drain(&revoked, patience).await;
    let commit = shared.commit_moved().await;
    if revoked.is_empty() {
        return Revoked { is_drained, commit, told: Ok(()) };
    }
    let assignment: BTreeSet<_> = shared.fetcher.assignment().difference(&revoked).cloned().collect();
    let change = AssignmentChange { partitions: revoked, assignment: assignment.clone() };
    let is_by_group = shared.state().subscription.is_by_group();
    let listened = if is_by_group { tell(shared, Method::Revoked, change).await } else { Ok(()) };
    if let Some(group) = &shared.group {
        group.commits_done().await;
    }
    Revoked { is_drained, commit, told: listened.and(give_up(shared, &assignment)) }
}

/// From here on nothing of the partitions that are not kept is handed out.
fn give_up(shared: &Shared, kept: &BTreeSet<TopicPartition>) -> Result<(), Error> {
    let assigned = shared.fetcher.assign(kept.iter().map(|partition| (partition.clone(), None)));
    shared.keep_only(kept, kept);
    shared.channels.release_all_but(kept);
    Ok(assigned?)
}

async fn tell(shared: &Arc<Shared>, method: Method, change: AssignmentChange) -> Result<(), Error> {
    let Some(listener) = &shared.listener else { return Ok(()) };
    let consumer = ConsumerHandle::new(Arc::clone(shared));
    let told = listener.call(method, change, consumer).await;
    told.map_err(|source| Error::Listener { method: method.name(), source: Arc::from(source) })
}

/// How long the group's answer to a leave is waited for.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
