//! The states of a membership, what the application asks for, and what is to be done next.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::Backoff;
use ottla_wire::messages::{HeartbeatRequest, SyncGroupRequest};
use ottla_wire::{ErrorCode, GenerationId, NodeId, TopicPartition};

use super::heartbeat::Heartbeats;
use super::join::JoinJob;
use super::leader::AssignJob;
use super::leave::{Leave, PollLiveness};
use super::watch::Watch;
use crate::assignor::{LastAssignment, RebalanceProtocol};
use crate::event::AssignedMember;
use crate::{Error, EventOrStanding, GroupConfig, GroupEvent, GroupMetadata, LostReason, RebalanceReason};

/// See the [module](super).
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    pub(super) config: GroupConfig,
    pub(super) group_id: Arc<str>,
    pub(super) protocol: RebalanceProtocol,
    /// How long the answer to JoinGroup is waited for.
    pub(crate) join_timeout: Duration,
    pub(super) state: State,
    pub(super) identity: Identity,
    /// What the member wants; `None`: it wants to be none.
    pub(super) subscription: Option<BTreeSet<Arc<str>>>,
    pub(super) last_assignment: LastAssignment,
    pub(super) heartbeats: Heartbeats,
    pub(super) liveness: PollLiveness,
    /// What the leader looks at.
    pub(super) watch: Option<Watch>,
    /// The coordinator, while it is known.
    pub(super) coordinator: Option<NodeId>,
    /// The one that was known last, for errors.
    pub(super) last_coordinator: NodeId,
    /// Whether the coordinator is to be looked for again.
    pub(super) is_coordinator_doubted: bool,
    /// Numbers the attempts to join: what belongs to an older one changes nothing.
    pub(super) attempts: u64,
    /// How many have failed in a row.
    pub(super) failures: u32,
    /// No JoinGroup leaves before.
    pub(super) not_before: Option<Instant>,
    pub(super) backoff: Backoff,
    pub(super) events: VecDeque<GroupEvent>,
    actions: VecDeque<Action>,
}

/// Where the membership stands.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing is under way.
    Unjoined,
    /// JoinGroup is in flight, or about to be.
    PreparingRebalance(Preparing),
    /// The generation has begun, and its assignment is not known yet.
    CompletingRebalance(Completing),
    /// The member has its assignment.
    Stable(Stable),
}

/// What the application joins with.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    pub(super) owned: Vec<TopicPartition>,
    pub(super) reason: RebalanceReason,
}

#[derive(Debug)]
pub(super) struct Preparing {
    pub(super) joining: Joining,
    /// The attempt in flight, and the topics that it joins with.
    pub(super) in_flight: Option<(u64, BTreeSet<Arc<str>>)>,
}

#[derive(Debug)]
pub(super) struct Completing {
    pub(super) joining: Joining,
    pub(super) attempt: u64,
    pub(super) joined: Joined,
    pub(super) group: Option<Arc<[AssignedMember]>>,
}

/// What the answer to JoinGroup said.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub(super) leader_id: Arc<str>,
    pub(super) assignor: Arc<str>,
    /// The topics that the member joined with.
    pub(super) topics: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct Stable {
    pub(super) joined: Joined,
    /// Why it has to rejoin, if it has.
    pub(super) rejoin: Option<RebalanceReason>,
}

/// Who the member is for the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Empty: it has not been given one.
    pub(crate) member_id: Arc<str>,
    pub(crate) generation_id: GenerationId,
}

impl Default for Identity {
    fn default() -> Self {
        Self { member_id: "".into(), generation_id: GenerationId::NONE }
    }
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    JoinGroup {
        attempt: u64,
        job: Box<JoinJob>,
        timeout: Duration,
    },
    /// The group's partitions are to be assigned, for which its topics have to be asked about.
    Assign {
        attempt: u64,
        job: Box<AssignJob>,
    },
    SyncGroup {
        attempt: u64,
        request: SyncGroupRequest,
    },
    Heartbeat {
        number: u64,
        request: HeartbeatRequest,
    },
    LeaveGroup(Leave),
    /// What is in flight to join is waited for no longer.
    AbandonJoin,
}

/// How the membership stands to one that a commit was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MembershipView {
    /// It is the same.
    Current,
    /// It is another, and the group is rebalancing.
    Rebalancing,
    /// It is another, or none.
    Over,
}

impl ClassicGroup {
    pub(crate) fn new(config: GroupConfig, request_timeout: Duration, backoff: Backoff, now: Instant) -> Self {
        let rebalance = config.max_poll_interval.saturating_add(JOIN_GROUP_TIMEOUT_LAPSE);
        Self {
            group_id: config.group_id.as_str().into(),
            protocol: config.rebalance_protocol(),
            join_timeout: rebalance.max(request_timeout),
            state: State::Unjoined,
            identity: Identity::default(),
            subscription: None,
            last_assignment: LastAssignment::default(),
            heartbeats: Heartbeats::new(config.heartbeat_interval, config.session_timeout, now),
            liveness: PollLiveness::new(config.max_poll_interval, now),
            watch: None,
            coordinator: None,
            last_coordinator: NodeId::NONE,
            is_coordinator_doubted: false,
            attempts: 0,
            failures: 0,
            not_before: None,
            backoff,
            events: VecDeque::new(),
            actions: VecDeque::new(),
            config,
        }
    }

    // What the application asks for.

    pub(crate) fn subscribe(&mut self, topics: BTreeSet<Arc<str>>) {
        self.subscription = Some(topics);
        self.check_subscription();
    }

    pub(crate) fn join(&mut self, owned: Vec<TopicPartition>) {
        if self.subscription.is_none() || self.is_joining() || self.is_lost_untold() {
            return;
        }
        if self.config.assignors.is_empty() {
            self.events.push_back(GroupEvent::Failed(Error::NoAssignor { group: Arc::clone(&self.group_id) }));
            return;
        }
        let reason = match std::mem::replace(&mut self.state, State::Unjoined) {
            State::Stable(Stable { rejoin: Some(reason), .. }) => reason,
            State::Stable(Stable { rejoin: None, .. }) => {
                RebalanceReason::Requested { reason: "the application joins again".into() }
            }
            State::Unjoined | State::PreparingRebalance(_) | State::CompletingRebalance(_) => {
                RebalanceReason::NotMember
            }
        };
        // Taken or not, it has been answered.
        self.events.retain(|event| !matches!(event, GroupEvent::RebalanceNeeded { .. }));
        self.watch = None;
        let joining = Joining { owned, reason };
        self.state = State::PreparingRebalance(Preparing { joining, in_flight: None });
    }

    pub(crate) fn rejoin(&mut self, reason: &str) {
        self.need_rebalance(RebalanceReason::Requested { reason: reason.into() });
    }

    // What the application may know.

    pub(crate) fn next_event(&mut self) -> Option<GroupEvent> {
        self.events.pop_front()
    }

    pub(crate) fn next_event_or_standing(&mut self) -> EventOrStanding {
        match (self.next_event(), &self.state) {
            (Some(event), _) => EventOrStanding::Event(event),
            (None, State::Stable(_)) => EventOrStanding::Member,
            (None, State::PreparingRebalance(_) | State::CompletingRebalance(_)) => EventOrStanding::Joining,
            (None, State::Unjoined) => EventOrStanding::NotMember,
        }
    }

    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscription.is_some()
    }

    pub(crate) fn is_joining(&self) -> bool {
        matches!(self.state, State::PreparingRebalance(_) | State::CompletingRebalance(_))
    }

    pub(crate) fn is_rebalance_pending(&self) -> bool {
        matches!(self.state, State::Stable(Stable { rejoin: Some(_), .. }))
    }

    pub(crate) fn membership(&self) -> Option<GroupMetadata> {
        let State::Stable(Stable { joined, .. }) = &self.state else { return None };
        Some(GroupMetadata {
            group_id: Arc::clone(&self.group_id),
            generation_id: self.identity.generation_id,
            member_id: Arc::clone(&self.identity.member_id),
            group_instance_id: self.config.group_instance_id.as_deref().map(Into::into),
            leader_id: Arc::clone(&joined.leader_id),
            assignor: Arc::clone(&joined.assignor),
        })
    }

    /// How the membership stands to the one that is called `identity`.
    pub(crate) fn view(&self, identity: &Identity) -> MembershipView {
        match &self.state {
            State::Stable(_) if self.identity == *identity => MembershipView::Current,
            _ if self.is_joining() => MembershipView::Rebalancing,
            _ => MembershipView::Over,
        }
    }

    #[cfg(test)]
    pub(crate) fn describe(&self) -> &'static str {
        match self.state {
            State::Unjoined => "Unjoined",
            State::PreparingRebalance(_) => "PreparingRebalance",
            State::CompletingRebalance(_) => "CompletingRebalance",
            State::Stable(_) => "Stable",
        }
    }

    #[cfg(test)]
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    // What has happened beside answers.

    pub(crate) fn handle_coordinator_found(&mut self, now: Instant, node: NodeId) {
        self.coordinator = Some(node);
        self.last_coordinator = node;
        self.heartbeats.heard(now);
    }

    pub(crate) fn handle_coordinator_unknown(&mut self, now: Instant) {
        self.coordinator = None;
        if self.has_heartbeats() {
            self.heartbeat_failed(now);
        }
    }

    /// What failed is sent again at once: there is somebody else to send it to.
    pub(crate) fn end_back_off(&mut self, now: Instant) {
        (self.failures, self.not_before) = (0, None);
        self.heartbeats.end_back_off(now);
    }

    /// Whether something said since that the coordinator is none.
    pub(crate) fn take_coordinator_doubt(&mut self) -> bool {
        std::mem::take(&mut self.is_coordinator_doubted)
    }

    /// The answer to a commit said that the membership, which is the one that the commit was made for, is over.
    pub(crate) fn handle_commit_refused(&mut self, error_code: ErrorCode) {
        self.membership_refused("OffsetCommit", error_code);
    }

    /// The answer to a commit said that the group rebalances.
    pub(crate) fn handle_rebalance_in_progress(&mut self) {
        self.need_rebalance(RebalanceReason::GroupRebalances);
    }

    /// The cluster refuses to say who coordinates the group.
    pub(crate) fn handle_coordinator_refused(&mut self, error: Error) {
        match &self.state {
            State::PreparingRebalance(_) => self.join_failed(error),
            // The membership may well last: it is the application's to decide.
            State::CompletingRebalance(_) | State::Stable(_) => self.tell_failure(error),
            State::Unjoined => {}
        }
    }

    /// Something is told, or is about to be, unless a failure is waiting to be taken already.
    pub(crate) fn tell_failure(&mut self, error: Error) {
        if !self.events.iter().any(|event| matches!(event, GroupEvent::Failed(_))) {
            self.events.push_back(GroupEvent::Failed(error));
        }
    }

    /// Nobody acts for the member any more, and nothing is told after this.
    pub(crate) fn handle_task_ended(&mut self, error: Error) {
        self.state = State::Unjoined;
        self.watch = None;
        self.events.retain(|event| matches!(event, GroupEvent::Lost { .. } | GroupEvent::Failed(_)));
        self.events.push_back(GroupEvent::Failed(error));
    }

    /// The time has come for something. Calling it earlier or more often does no harm.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if !self.has_heartbeats() {
            return;
        }
        if self.coordinator.is_some() && self.heartbeats.has_fallen_silent(now) {
            tracing::info!(group = %self.group_id, "no heartbeat was answered for two thirds of the session timeout");
            self.heartbeats.heard(now);
            self.is_coordinator_doubted = true;
        }
        if self.liveness.deadline() <= now {
            self.leave_for_poll_interval();
        }
    }

    // What is to be done.

    /// Whether somebody has to be known to talk to.
    pub(crate) fn wants_coordinator(&self) -> bool {
        !matches!(self.state, State::Unjoined)
    }

    pub(crate) fn next_action(&mut self, now: Instant) -> Option<Action> {
        self.actions.pop_front().or_else(|| self.next_join(now)).or_else(|| self.next_heartbeat(now))
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`next_action`](Self::next_action) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let join = match &self.state {
            State::PreparingRebalance(Preparing { in_flight: None, .. }) if self.coordinator.is_some() => {
                self.not_before
            }
            _ => None,
        };
        let has_heartbeats = self.has_heartbeats();
        let heartbeat = (has_heartbeats && self.coordinator.is_some()).then(|| self.heartbeats.next_deadline());
        let poll = has_heartbeats.then(|| self.liveness.deadline());
        [join, heartbeat, poll].into_iter().flatten().min()
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    // What the parts have in common.

    /// The member has to rejoin. Nothing new, where it knows that already, or is none.
    pub(super) fn need_rebalance(&mut self, reason: RebalanceReason) {
        if let State::Stable(stable) = &mut self.state
            && stable.rejoin.is_none()
        {
            tracing::info!(group = %self.group_id, %reason, "a rebalance is needed");
            stable.rejoin = Some(reason.clone());
            self.events.push_back(GroupEvent::RebalanceNeeded { reason });
        }
    }

    pub(super) fn check_subscription(&mut self) {
        if let State::Stable(stable) = &self.state
            && self.subscription.as_ref().is_some_and(|topics| *topics != stable.joined.topics)
        {
            self.need_rebalance(RebalanceReason::SubscriptionChanged);
        }
    }

    /// The coordinator does not take the member for one, as it is called now.
    pub(super) fn membership_refused(&mut self, attempted: &'static str, error_code: ErrorCode) {
        tracing::info!(group = %self.group_id, attempted, %error_code, "the membership is over");
        self.reset_identity(error_code != ErrorCode::IllegalGeneration);
        self.watch = None;
        let is_fenced = error_code == ErrorCode::FencedInstanceId;
        match std::mem::replace(&mut self.state, State::Unjoined) {
            // There is nothing to lose: the join goes on.
            State::PreparingRebalance(Preparing { joining, .. })
            | State::CompletingRebalance(Completing { joining, .. })
                if joining.owned.is_empty() && !is_fenced =>
            {
                self.state = State::PreparingRebalance(Preparing { joining, in_flight: None });
            }
            State::PreparingRebalance(Preparing { joining, .. })
            | State::CompletingRebalance(Completing { joining, .. })
                if joining.owned.is_empty() => {}
            _ => self.lose(LostReason::Refused { attempted, error_code }),
        }
        if is_fenced {
            let group_instance_id = self.config.group_instance_id.as_deref().unwrap_or_default().into();
            self.tell_failure(Error::FencedInstanceId { group: Arc::clone(&self.group_id), group_instance_id });
        }
    }

    pub(super) fn reset_identity(&mut self, with_member_id: bool) {
        self.identity.generation_id = GenerationId::NONE;
        if with_member_id {
            self.identity.member_id = "".into();
        }
    }

    pub(super) fn instance_id(&self) -> Option<String> {
        self.config.group_instance_id.clone()
    }

    fn is_lost_untold(&self) -> bool {
        self.events.iter().any(|event| matches!(event, GroupEvent::Lost { .. }))
    }
}

/// How much longer than the rebalance timeout an answer to JoinGroup may take.
const JOIN_GROUP_TIMEOUT_LAPSE: Duration = Duration::from_secs(5);
