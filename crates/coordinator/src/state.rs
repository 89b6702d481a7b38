//! All that one coordinator client knows, and what is to be done next. Does no I/O and reads no clock.
//!
//! It holds the membership, the topics that its leader looks for, the commits, the lookups and the leaves together with the
//! one thing that they share: which broker coordinates the group. One [`State`] stands behind a lock that is never held over an await. The application's calls
//! change it directly; the [driver](crate::driver) asks it what to do, and hands it what came back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::{Backoff, Metadata};
use ottla_wire::messages::OffsetCommitResponse;
use ottla_wire::{ErrorCode, NodeId, TopicPartition};

use crate::classic::{self, AssignJob, ClassicGroup, JoinJob, LeaderAssignment, MembershipView, topics_of};
use crate::find::{CoordinatorCache, Found};
use crate::leaving::Leaves;
use crate::offsets::{CommitId, CommitQueue, Lookups, NextCommit, Stamp};
use crate::request::{Incoming, Outgoing};
use crate::silence::Silence;
use crate::unknown_topics::UnknownTopics;
use crate::{Error, GroupConfig, OffsetAndMetadata};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) group: ClassicGroup,
    pub(crate) commits: CommitQueue,
    pub(crate) lookups: Lookups,
    pub(crate) leaves: Leaves,
    group_id: Arc<str>,
    group_instance_id: Option<Arc<str>>,
    coordinator: CoordinatorCache,
    silence: Silence,
    unknown_topics: UnknownTopics,
    /// Topics about which the cluster is to be asked.
    stale_topics: BTreeSet<Arc<str>>,
    /// Whether connections to a coordinator that is none are to be cut.
    is_to_disconnect: bool,
    timeouts: Timeouts,
}

/// How long things may take, by the cluster's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// `request.timeout.ms`
    pub(crate) request: Duration,
    /// `default.api.timeout.ms`
    pub(crate) api: Duration,
}

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Ask the cluster who coordinates the group.
    FindCoordinator,
    /// Ask the coordinator.
    Send { to: Found, timeout: Duration, request: Outgoing },
    /// Run the job, and send what comes of it.
    Join { to: Found, timeout: Duration, attempt: u64, job: Box<JoinJob> },
    /// Ask about the topics of the job, and run it.
    Assign { attempt: u64, job: Box<AssignJob> },
    /// Cut the connection on which JoinGroup and SyncGroup are parked.
    AbandonJoin,
    /// Cut all connections to the coordinator.
    Disconnect,
    /// Ask about topics.
    Refresh(Vec<Arc<str>>),
}

impl State {
    pub(crate) fn new(
        config: GroupConfig,
        timeouts: Timeouts,
        mut backoff: impl FnMut() -> Backoff,
        pace: Backoff,
        now: Instant,
    ) -> Self {
        let group_id: Arc<str> = config.group_id.as_str().into();
        Self {
            group_instance_id: config.group_instance_id.as_deref().map(Into::into),
            commits: CommitQueue::new(Arc::clone(&group_id), backoff()),
            lookups: Lookups::new(Arc::clone(&group_id), config.require_stable, backoff()),
            coordinator: CoordinatorCache::new(pace),
            silence: Silence::new(config.heartbeat_interval, now),
            group: ClassicGroup::new(config, timeouts.request, backoff(), now),
            stale_topics: BTreeSet::new(),
            unknown_topics: UnknownTopics::new(backoff()),
            leaves: Leaves::new(Arc::clone(&group_id), backoff()),
            group_id,
            is_to_disconnect: false,
            timeouts,
        }
    }

    // What the application asks for.

    /// Queues a commit, or says at once why it cannot be made.
    pub(crate) fn commit(
        &mut self,
        now: Instant,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        metadata: &Metadata,
    ) -> Result<CommitId, Error> {
        if let Some((partition, offset)) = offsets.iter().find(|(_, offset)| offset.offset < 0) {
            return Err(Error::InvalidOffset { partition: partition.clone(), offset: offset.offset });
        }
        let stamp = self.stamp()?;
        let topics: BTreeSet<&Arc<str>> = offsets.keys().map(|partition| &partition.topic).collect();
        let ids = topics.into_iter().filter_map(|name| Some((Arc::clone(name), metadata.topic(name)?.id?)));
        let ids = ids.collect();
        Ok(self.commits.enqueue(now, stamp, offsets, ids, self.timeouts.api))
    }

    fn stamp(&self) -> Result<Stamp, Error> {
        if !self.group.is_subscribed() {
            return Ok(Stamp::default());
        }
        match self.group.membership() {
            Some(member) => Ok(Stamp {
                identity: classic::Identity { member_id: member.member_id, generation_id: member.generation_id },
                group_instance_id: self.group_instance_id.clone(),
            }),
            None if self.group.is_joining() => Err(Error::RebalanceInProgress { group: Arc::clone(&self.group_id) }),
            None => Err(Error::CommitFailed { group: Arc::clone(&self.group_id), error_code: None }),
        }
    }

    /// Leaves the group; `for_commits` of `timeout` is for those that are queued. The number goes with the
    /// result; `None`: there is nothing to send.
    pub(crate) fn leave(
        &mut self,
        now: Instant,
        reason: &str,
        timeout: Duration,
        for_commits: Duration,
    ) -> Option<u64> {
        let leave = self.group.leave(reason)?;
        Some(self.leaves.begin(now, leave, self.commits.last_id(), timeout, for_commits))
    }

    // What has happened.

    pub(crate) fn handle_metadata(&mut self, metadata: &Metadata) {
        if let Some(topics) = self.group.watched_topics() {
            let known = topics_of(metadata, topics);
            self.group.handle_topics(&known);
        }
    }

    /// The cluster has said who coordinates; `Err`: that it will not, or has not.
    pub(crate) fn handle_coordinator(&mut self, now: Instant, found: Result<NodeId, Error>) {
        match found {
            Ok(node) => {
                let before = self.coordinator.known().map(|known| known.node);
                if self.coordinator.handle_found(now, node).is_none() {
                    return; // as it was
                }
                tracing::debug!(group = %self.group_id, %node, "found the coordinator");
                if before.is_some() {
                    self.lose_coordinator(now);
                }
                self.group.handle_coordinator_found(now, node);
                if let Some(failed) = before.or(self.coordinator.failed()) {
                    self.spare_another_than(failed, now);
                }
            }
            Err(error) => {
                tracing::debug!(group = %self.group_id, error = &error as &dyn std::error::Error, "no coordinator");
                self.coordinator.handle_not_found(now);
                if self.coordinator.known().is_none() && !error.is_retriable() {
                    self.commits.fail_all(&error);
                    self.lookups.fail_all(&error);
                    self.leaves.fail_unsent(&error);
                    self.group.handle_coordinator_refused(error);
                }
            }
        }
    }

    /// The leader's job is done, and what it watches is as `metadata` says.
    pub(crate) fn handle_assigned(
        &mut self,
        now: Instant,
        attempt: u64,
        outcome: Result<LeaderAssignment, Error>,
        metadata: &Metadata,
    ) {
        self.group.handle_assigned(now, attempt, outcome);
        self.handle_metadata(metadata);
    }

    /// Takes in what has become of a request to a coordinator.
    pub(crate) fn handle(&mut self, now: Instant, from: Found, incoming: Incoming) {
        self.silence.handle_ended(now, from, incoming.is_parked(), incoming.error().is_none());
        self.silence.handle_throttled(now + incoming.throttle_time());
        let has_failed = incoming.error().is_some();
        match incoming.error() {
            None => self.coordinator.handle_answered(),
            Some(error) if error.says_unreachable() => {
                if self.coordinator.handle_unreachable(now, from.epoch) {
                    self.lose_coordinator(now);
                }
            }
            // It does not understand, or is not understood; or nobody wants the answer any more.
            Some(_) => {}
        }
        match incoming {
            Incoming::JoinGroup { attempt, answer } => self.group.handle_join_group(now, attempt, answer),
            Incoming::SyncGroup { attempt, answer } => self.group.handle_sync_group(now, attempt, answer),
            Incoming::Heartbeat { number, answer } => self.group.handle_heartbeat(now, number, answer),
            Incoming::LeaveGroup { number, answer } => {
                let is_doubted = self.leaves.handle_answer(now, number, from.node, answer);
                self.doubt_coordinator(now, from, is_doubted);
            }
            Incoming::OffsetCommit { number, answer } => self.handle_committed(now, from, number, answer),
            Incoming::OffsetFetch { asked, answer } => {
                let consequences = self.lookups.handle_answer(now, &asked, from.node, answer);
                self.stale_topics.extend(consequences.stale_topics);
                self.doubt_coordinator(now, from, consequences.is_coordinator_unknown);
            }
        }
        let is_doubted = self.group.take_coordinator_doubt();
        self.doubt_coordinator(now, from, is_doubted);
        if has_failed {
            self.spare_another_than(from.node, now);
        }
    }

    /// Back-offs spare the node that failed, not the one that coordinates instead of it.
    fn spare_another_than(&mut self, failed: NodeId, now: Instant) {
        if self.coordinator.known().is_some_and(|known| known.node != failed) {
            self.group.end_back_off(now);
            self.commits.end_back_off();
            self.lookups.end_back_off();
        }
    }

    fn handle_committed(
        &mut self,
        now: Instant,
        from: Found,
        number: u64,
        answer: Result<OffsetCommitResponse, Error>,
    ) {
        let group = &self.group;
        // One made without a membership says nothing about one.
        let is_nobodys = |stamp: &Stamp| stamp.identity == classic::Identity::default();
        let view = |stamp: &Stamp| if is_nobodys(stamp) { MembershipView::Over } else { group.view(&stamp.identity) };
        let consequences = self.commits.handle_answer(now, number, from.node, answer, view);
        if let Some(error_code) = consequences.membership_refused {
            self.group.handle_commit_refused(error_code);
        }
        if consequences.is_rebalance_needed {
            self.group.handle_rebalance_in_progress();
        }
        self.stale_topics.extend(consequences.stale_topics);
        self.doubt_coordinator(now, from, consequences.is_coordinator_unknown);
    }

    fn doubt_coordinator(&mut self, now: Instant, from: Found, is_doubted: bool) {
        if is_doubted && self.coordinator.mark_unknown(from.epoch) {
            self.lose_coordinator(now);
        }
    }

    fn lose_coordinator(&mut self, now: Instant) {
        self.is_to_disconnect = true;
        self.group.handle_coordinator_unknown(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.group.handle_timeout(now);
        if let (true, Some(known)) = (self.group.take_coordinator_doubt(), self.coordinator.known()) {
            self.doubt_coordinator(now, known, true);
        }
        self.commits.handle_timeout(now);
        self.lookups.handle_timeout(now);
        self.leaves.handle_timeout(now);
    }

    // What is to be done.

    /// All that is to be done now, in the order in which it is to be done.
    pub(crate) fn next_actions(&mut self, now: Instant, metadata: &Metadata) -> Vec<Action> {
        self.handle_timeout(now);
        let mut actions = Vec::new();
        self.next_of_group(now, &mut actions);
        if let Some(to) = self.coordinator.known() {
            self.next_of_offsets(now, to, metadata, &mut actions);
        }
        if std::mem::take(&mut self.is_to_disconnect) {
            actions.insert(0, Action::Disconnect);
        }
        self.watch_for_silence(now, &actions);
        if self.wants_coordinator() {
            let is_silent = self.silence.take_due(now);
            let is_check_due = self.coordinator.next_check(now, is_silent);
            if is_check_due || self.coordinator.next_ask(now) {
                actions.push(Action::FindCoordinator);
            }
        }
        let unknown = self.group.unknown_topics();
        if self.unknown_topics.take_due(now, !unknown.is_empty()) {
            self.stale_topics.extend(unknown);
        }
        let stale_topics = std::mem::take(&mut self.stale_topics);
        if !stale_topics.is_empty() {
            actions.push(Action::Refresh(stale_topics.into_iter().collect()));
        }
        actions
    }

    fn watch_for_silence(&mut self, now: Instant, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Send { to, request, .. } => self.silence.handle_sent(now, *to, request.is_parked()),
                Action::Join { to, .. } => self.silence.handle_sent(now, *to, true),
                Action::FindCoordinator
                | Action::Assign { .. }
                | Action::AbandonJoin
                | Action::Disconnect
                | Action::Refresh(_) => {}
            }
        }
    }

    fn next_of_group(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some(action) = self.group.next_action(now) {
            let (timeout, request) = match action {
                classic::Action::JoinGroup { attempt, job, timeout } => {
                    match self.coordinator.known() {
                        Some(to) => actions.push(Action::Join { to, timeout, attempt, job }),
                        None => self.lost_before(now, |error| Incoming::JoinGroup { attempt, answer: Err(error) }),
                    }
                    continue;
                }
                classic::Action::SyncGroup { attempt, request } => {
                    (self.timeouts.request, Outgoing::SyncGroup { attempt, request })
                }
                classic::Action::Heartbeat { number, request } => {
                    (self.timeouts.request, Outgoing::Heartbeat { number, request })
                }
                classic::Action::Assign { attempt, job } => {
                    actions.push(Action::Assign { attempt, job });
                    continue;
                }
                classic::Action::LeaveGroup(leave) => {
                    let timeout = self.timeouts.request;
                    self.leaves.begin(now, leave, self.commits.last_id(), timeout, timeout / 2);
                    continue;
                }
                classic::Action::AbandonJoin => {
                    actions.push(Action::AbandonJoin);
                    continue;
                }
            };
            self.send_to_coordinator(now, timeout, request, actions);
        }
    }

    fn send_to_coordinator(&mut self, now: Instant, timeout: Duration, request: Outgoing, actions: &mut Vec<Action>) {
        match self.coordinator.known() {
            Some(to) => actions.push(Action::Send { to, timeout, request }),
            // As between JoinGroup and SyncGroup.
            None => self.lost_before(now, |error| request.fail(error)),
        }
    }

    /// The coordinator was lost before something could be sent.
    fn lost_before(&mut self, now: Instant, fail: impl FnOnce(Error) -> Incoming) {
        let (group, error_code) = (Arc::clone(&self.group_id), ErrorCode::CoordinatorNotAvailable);
        let nobody = Found { node: NodeId::NONE, epoch: 0 };
        self.handle(now, nobody, fail(Error::FindCoordinator { group, error_code }));
    }

    fn next_of_offsets(&mut self, now: Instant, to: Found, metadata: &Metadata, actions: &mut Vec<Action>) {
        let timeout = self.timeouts.request;
        let mut send = |request| actions.push(Action::Send { to, timeout, request });
        if let Some(NextCommit { number, request }) = self.commits.next_request(now) {
            send(Outgoing::OffsetCommit { number, request });
        }
        while let Some(lookup) = self.lookups.next_request(now, |topic| metadata.topic(topic)?.id) {
            send(Outgoing::OffsetFetch(lookup));
        }
        while let Some((number, leave)) = self.leaves.next_request(now, |commit| self.commits.is_done(commit)) {
            send(Outgoing::LeaveGroup { number, leave });
        }
    }

    fn wants_coordinator(&self) -> bool {
        self.group.wants_coordinator()
            || !self.commits.is_empty()
            || !self.lookups.is_empty()
            || self.leaves.has_unsent()
    }

    /// When [`next_actions`](Self::next_actions) has something to do that it has not now.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let is_sendable = self.coordinator.known().is_some();
        let coordinator = [self.coordinator.next_deadline(), self.silence.next_deadline()].into_iter().flatten().min();
        let coordinator = coordinator.filter(|_| self.wants_coordinator());
        let leaves = self.leaves.next_deadline(is_sendable);
        let group = self.group.next_deadline();
        let (commits, lookups) = (self.commits.next_deadline(is_sendable), self.lookups.next_deadline(is_sendable));
        let unknown_topics = self.unknown_topics.next_deadline();
        [coordinator, leaves, group, commits, lookups, unknown_topics].into_iter().flatten().min()
    }
}

#[cfg(test)]
pub(crate) mod harness;
#[cfg(test)]
mod tests;
