//! A classic consumer group, as its coordinator sees it, without I/O (KIP-62, KIP-345, KIP-394, KIP-814).
//!
//! ```text
//!                 the first member joins                 all have joined, or the time for it is up
//! Empty ────────────────────────▶ PreparingRebalance ──────────────────────────▶ CompletingRebalance
//!   ▲                              │   ▲         ▲                                   │           │
//!   └── nobody is left ────────────┘   │         └── members come, change or go ─────┘           │
//!                                      │                                                         │
//!                                      └── members come, change or go ────── Stable ◀────────────┘
//!                                                                                the leader has assigned
//! ```
//!
//! Requests and the time come in; answers, and what is to be written to the log before something goes on, come out of
//! [`Group::take_actions`]. A request that waits is known by its [`ReplyId`]. The time of the next thing to happen is
//! [`Group::next_deadline`].
//!
//! Where Kafka forgets a request that its client has sent again, here both are answered alike: every request has an
//! answer.
//!
//! Invariants: the leader is a member; a static member's instance id leads to a member and back; `joining` is empty
//! unless a generation is being made or a static member's return is being written; `syncing` is empty unless the
//! leader's assignment is awaited.

mod deletion;
mod description;
mod heartbeat;
mod join;
mod leave;
mod member;
mod offsets;
mod record;
mod static_member;
mod sync;
mod timeouts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::messages::{JoinGroupResponse, SyncGroupResponse};
use ottla_wire::{ErrorCode, GenerationId};

pub use self::description::{GroupDescription, MemberDescription};
pub(crate) use self::join::Join;
pub(crate) use self::leave::Leave;
pub(crate) use self::member::Member;
pub use self::offsets::CommittedOffset;
pub(crate) use self::offsets::Committer;
pub(crate) use self::record::{GroupMetadata, MemberMetadata, Record, duration};
pub(crate) use self::static_member::Rejoin;
pub(crate) use self::sync::Sync;

/// Names a request that a group will answer later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReplyId(pub(crate) u64);

/// The answer to a request that waited.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
}

/// What a group wants done.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// To be answered.
    Reply(ReplyId, Reply),
    /// To be written to the log. [`Group::handle_written`] or [`Group::handle_write_failed`] is to follow.
    Write(GroupMetadata, Written),
}

/// What goes on once something has been written.
#[derive(Debug, PartialEq)]
pub(crate) enum Written {
    /// Nothing.
    Nothing,
    /// The leader's assignment, for the generation that it was made for, is given to the members.
    Assignment { generation_id: i32, assignments: BTreeMap<String, Bytes> },
    /// A static member that came back is let in.
    Rejoin(Box<Rejoin>),
}

/// What all groups are subject to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    /// How long an empty group waits for more members (`group.initial.rebalance.delay.ms`).
    pub(crate) initial_rebalance_delay: Duration,
    /// The most members (`group.max.size`).
    pub(crate) max_size: usize,
}

/// The state of a classic group, by Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupState {
    /// It has no members, but may have committed offsets.
    Empty,
    /// Its members are (re)joining.
    PreparingRebalance,
    /// The members are complete; the leader's assignment is awaited.
    CompletingRebalance,
    /// Its members have been told their assignments.
    Stable,
    /// It does not exist.
    Dead,
}

impl fmt::Display for GroupState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names of the variants are Kafka's.
        fmt::Debug::fmt(self, formatter)
    }
}

/// A classic group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Arc<str>,
    limits: GroupLimits,
    phase: Phase,
    protocol_type: Option<String>,
    protocol_name: Option<String>,
    generation_id: i32,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// The members of instance ids.
    static_members: BTreeMap<String, String>,
    /// What the members of the last generation read; `None` where that is not known.
    subscribed_topics: Option<BTreeSet<Arc<str>>>,
    /// Ids that were given out and not yet come back with (KIP-394), each with the end of its time.
    pending: BTreeMap<String, Instant>,
    actions: Vec<Action>,
}

/// The state, with what only it has.
#[derive(Debug)]
enum Phase {
    Empty,
    PreparingRebalance(Preparation),
    CompletingRebalance(Synchronization),
    Stable(Synchronization),
    Dead,
}

/// A generation being made.
#[derive(Debug)]
struct Preparation {
    /// When it goes on without those who have not joined.
    deadline: Instant,
    /// The group was empty before, and gives others time to come, however many have joined.
    initial: bool,
    /// For an initial rebalance: how often the delay can still be extended.
    remaining: Duration,
    /// For an initial rebalance: somebody has come during the delay, which extends it.
    member_added: bool,
}

/// Who has not asked for its assignment yet.
#[derive(Debug)]
struct Synchronization {
    outstanding: BTreeSet<String>,
    /// When those are removed. `None`: there are none, or all have asked once.
    deadline: Option<Instant>,
}

/// The shortest time in which a step that failed is tried again, whatever timeout a client has asked for.
const SHORTEST_RETRY: Duration = Duration::from_millis(1);

impl Group {
    /// A group without members.
    pub(crate) fn new(id: Arc<str>, limits: GroupLimits) -> Self {
        Self {
            id,
            limits,
            phase: Phase::Empty,
            protocol_type: None,
            protocol_name: None,
            generation_id: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            subscribed_topics: None,
            pending: BTreeMap::new(),
            actions: Vec::new(),
        }
    }

    /// A group as a new coordinator finds it in the log: with the members of the last generation that was written, whose
    /// sessions begin anew.
    pub(crate) fn load(id: Arc<str>, limits: GroupLimits, metadata: GroupMetadata, now: Instant) -> Self {
        let mut group = Self::new(id, limits);
        let GroupMetadata { protocol_type, generation_id, protocol_name, leader, members } = metadata;
        for member in members {
            let mut member = member.into_member(protocol_name.as_deref());
            member.renew_session(now);
            if let Some(instance_id) = &member.instance_id {
                group.static_members.insert(instance_id.clone(), member.id.clone());
            }
            group.members.insert(member.id.clone(), member);
        }
        group.protocol_type = Some(protocol_type).filter(|kind| !kind.is_empty());
        group.protocol_name = protocol_name;
        group.generation_id = generation_id;
        group.leader = leader.filter(|leader| group.members.contains_key(leader));
        group.subscribed_topics = group.topics_of_members();
        if !group.members.is_empty() {
            group.phase = Phase::Stable(Synchronization { outstanding: BTreeSet::new(), deadline: None });
        }
        group
    }

    pub(crate) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::PreparingRebalance(_) => GroupState::PreparingRebalance,
            Phase::CompletingRebalance(_) => GroupState::CompletingRebalance,
            Phase::Stable(_) => GroupState::Stable,
            Phase::Dead => GroupState::Dead,
        }
    }

    /// What kind of group it is, if it ever had members.
    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// What is to be done.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The group ends here: it moves to another coordinator, or is deleted. Whoever waits is answered with `code`.
    pub(crate) fn end(&mut self, code: ErrorCode) {
        self.phase = Phase::Dead;
        let ids = self.members.keys().cloned().collect::<Vec<_>>();
        for id in ids {
            self.refuse_waiting(&id, code);
        }
    }

    /// What was to be written is in the log, and safe there.
    pub(crate) fn handle_written(&mut self, now: Instant, written: Written) {
        match written {
            Written::Nothing => {}
            Written::Assignment { generation_id, assignments } => self.assign(now, generation_id, &assignments),
            Written::Rejoin(rejoin) => self.let_in(&rejoin),
        }
    }

    /// What was to be written could not be, or not in time.
    pub(crate) fn handle_write_failed(&mut self, now: Instant, written: Written, code: ErrorCode) {
        match written {
            Written::Nothing => {}
            Written::Assignment { generation_id, .. } => self.unassign(now, generation_id, code),
            Written::Rejoin(rejoin) => self.take_back(now, *rejoin, code),
        }
    }

    /// Checks who a request says that it is from.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if known != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// The longest that any member wants to be given to rejoin.
    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Takes a member out, and answers what waits of it.
    fn remove(&mut self, member_id: &str) {
        self.pending.remove(member_id);
        self.refuse_waiting(member_id, ErrorCode::UnknownMemberId);
        if let Phase::CompletingRebalance(sync) | Phase::Stable(sync) = &mut self.phase {
            sync.outstanding.remove(member_id);
        }
        let Some(member) = self.members.remove(member_id) else { return };
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Answers what waits of a member with an error.
    fn refuse_waiting(&mut self, member_id: &str, code: ErrorCode) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let (joining, syncing) = (std::mem::take(&mut member.joining), std::mem::take(&mut member.syncing));
        // Whoever is not known joins anew, without the id that is of no use to it.
        let named = if code == ErrorCode::UnknownMemberId { "" } else { member_id };
        for reply in joining {
            self.refuse_join(reply, named, code);
        }
        for reply in syncing {
            self.refuse_sync(reply, code);
        }
    }

    fn refuse_join(&mut self, reply: ReplyId, member_id: &str, error_code: ErrorCode) {
        let response = JoinGroupResponse { error_code, member_id: member_id.to_owned(), ..Default::default() };
        self.actions.push(Action::Reply(reply, Reply::Join(response)));
    }

    fn refuse_sync(&mut self, reply: ReplyId, error_code: ErrorCode) {
        let response = SyncGroupResponse { error_code, ..Default::default() };
        self.actions.push(Action::Reply(reply, Reply::Sync(response)));
    }

    /// The answer to a member that is in the current generation. The leader is told who the others are.
    fn joined(&self, member_id: &str) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: GenerationId(self.generation_id),
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.to_owned(),
            members: if self.is_leader(member_id) { self.current_members() } else { Vec::new() },
            ..Default::default()
        }
    }

    /// The group as the log is to have it. Those who are not in `assignments` keep what they have.
    fn metadata(&self, assignments: &BTreeMap<String, Bytes>) -> GroupMetadata {
        let member = |member: &Member| MemberMetadata {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout,
            session_timeout: member.session_timeout,
            subscription: member.metadata(self.protocol_name.as_deref()),
            assignment: assignments.get(&member.id).unwrap_or(&member.assignment).clone(),
        };
        GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation_id: self.generation_id,
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone(),
            members: self.members.values().map(member).collect(),
        }
    }

    /// Has the group written to the log without anything that waits for it.
    pub(crate) fn write(&mut self) {
        let metadata = self.metadata(&BTreeMap::new());
        self.actions.push(Action::Write(metadata, Written::Nothing));
    }
}

#[cfg(test)]
mod tests;
