//! JoinGroup: who is let in, when a generation is made, and what its members are told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember};

use super::{Action, Group, Member, Phase, Preparation, Reply, ReplyId, SHORTEST_RETRY, Synchronization, Written};

/// How long a new member stays that is never answered: it does not know its id, and cannot send heartbeats. Kafka has it
/// as `group.new.member.join.timeout.ms`, and lets nobody set it.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_mins(5);

/// A request to join.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) reply: ReplyId,
    /// Empty: it has none yet.
    pub(crate) member_id: String,
    /// The id that it gets, if it is to have a new one.
    pub(crate) new_member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<JoinGroupRequestProtocol>,
    /// A new dynamic member is to come back with its id before it is let in (KIP-394).
    pub(crate) requires_known_member_id: bool,
    /// The client understands that it leads and need not assign (KIP-814).
    pub(crate) can_skip_assignment: bool,
}

impl Group {
    /// Someone wants to join.
    pub(crate) fn handle_join(&mut self, now: Instant, join: Join) {
        let Join { reply, member_id, .. } = &join;
        let refused = if self.is_full_for(member_id) {
            self.remove(member_id);
            Some(("", ErrorCode::GroupMaxSizeReached))
        } else if matches!(self.phase, Phase::Dead) {
            Some((member_id.as_str(), ErrorCode::CoordinatorNotAvailable))
        } else if !self.fits(&join) {
            Some((member_id.as_str(), ErrorCode::InconsistentGroupProtocol))
        } else {
            None
        };
        match refused {
            Some((member_id, code)) => self.refuse_join(*reply, member_id, code),
            None if member_id.is_empty() => self.join_new(now, join),
            None => self.join_existing(now, join),
        }
    }

    fn join_new(&mut self, now: Instant, join: Join) {
        let known = join.instance_id.as_ref().and_then(|instance_id| self.static_members.get(instance_id)).cloned();
        match known {
            Some(known) => self.rejoin_static(now, &known, join),
            None if join.instance_id.is_none() && join.requires_known_member_id => {
                self.refuse_join(join.reply, &join.new_member_id, ErrorCode::MemberIdRequired);
                self.pending.insert(join.new_member_id, now + join.session_timeout);
            }
            None => {
                let member_id = join.new_member_id.clone();
                self.add(now, member_id, join);
            }
        }
    }

    fn join_existing(&mut self, now: Instant, join: Join) {
        let member_id = join.member_id.clone();
        if self.pending.contains_key(&member_id) {
            // An id was given out to a member that was dynamic then. Kafka fails on this, too.
            if join.instance_id.is_some() {
                return self.refuse_join(join.reply, "", ErrorCode::UnknownServerError);
            }
            return self.add(now, member_id, join);
        }
        if let Err(code) = self.check_member(&member_id, join.instance_id.as_deref()) {
            return self.refuse_join(join.reply, &member_id, code);
        }
        let changed = self.members.get(&member_id).is_some_and(|member| member.protocols != join.protocols);
        let rebalances = match self.phase {
            Phase::PreparingRebalance(_) => true,
            // Otherwise its answer was lost: it gets it again.
            Phase::CompletingRebalance(_) => changed,
            // The leader joins to have everything assigned anew, as when topics have grown.
            Phase::Stable(_) => changed || self.is_leader(&member_id),
            Phase::Empty | Phase::Dead => return self.refuse_join(join.reply, &member_id, ErrorCode::UnknownMemberId),
        };
        if rebalances {
            self.update(&member_id, join);
            self.rebalance(now);
        } else {
            let response = self.joined(&member_id);
            self.actions.push(Action::Reply(join.reply, Reply::Join(response)));
        }
    }

    fn add(&mut self, now: Instant, member_id: String, join: Join) {
        if let Phase::PreparingRebalance(preparation) = &mut self.phase {
            preparation.member_added |= preparation.initial;
        }
        self.pending.remove(&member_id);
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        if let Some(instance_id) = &join.instance_id {
            self.static_members.insert(instance_id.clone(), member_id.clone());
        }
        self.leader.get_or_insert_with(|| member_id.clone());
        let member = Member {
            id: member_id.clone(),
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout: join.rebalance_timeout,
            session_timeout: join.session_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            is_new: true,
            joining: vec![join.reply],
            syncing: Vec::new(),
            session_deadline: Some(now + NEW_MEMBER_JOIN_TIMEOUT),
        };
        self.members.insert(member_id, member);
        self.rebalance(now);
    }

    /// A member joins again, perhaps with other protocols.
    pub(super) fn update(&mut self, member_id: &str, join: Join) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        member.protocols = join.protocols;
        member.rebalance_timeout = join.rebalance_timeout;
        member.session_timeout = join.session_timeout;
        member.joining.push(join.reply);
    }

    /// Starts to make a generation, or goes on with it.
    pub(super) fn rebalance(&mut self, now: Instant) {
        match self.phase {
            Phase::Empty | Phase::CompletingRebalance(_) | Phase::Stable(_) => self.prepare_rebalance(now),
            Phase::PreparingRebalance(_) => self.complete_join_if_possible(now),
            Phase::Dead => {}
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now: Instant) {
        if matches!(self.phase, Phase::CompletingRebalance(_)) {
            self.withdraw_assignment(now, ErrorCode::RebalanceInProgress);
        }
        let initial = matches!(self.phase, Phase::Empty);
        let (delay, timeout) = (self.limits.initial_rebalance_delay, self.rebalance_timeout());
        self.phase = Phase::PreparingRebalance(Preparation {
            deadline: now + if initial { delay } else { timeout },
            initial,
            remaining: timeout.saturating_sub(delay),
            member_added: false,
        });
        self.complete_join_if_possible(now);
    }

    /// Goes on, if nobody has to be waited for any more.
    pub(super) fn complete_join_if_possible(&mut self, now: Instant) {
        if matches!(&self.phase, Phase::PreparingRebalance(preparation) if !preparation.initial)
            && self.all_have_joined()
        {
            self.complete_join(now);
        }
    }

    pub(super) fn all_have_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(Member::has_joined)
    }

    /// The time to join is up: whoever has is in the next generation. Static members are, too, until their sessions end.
    pub(super) fn complete_join(&mut self, now: Instant) {
        let late = self.members.values().filter(|member| member.instance_id.is_none() && !member.has_joined());
        for member_id in late.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.remove(&member_id);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Nobody could assign. Sessions go on, and remove those who stay away.
            let again = now + self.rebalance_timeout().max(SHORTEST_RETRY);
            if let Phase::PreparingRebalance(preparation) = &mut self.phase {
                preparation.deadline = again;
            }
            return;
        }
        self.generation_id = self.generation_id.wrapping_add(1);
        if self.members.is_empty() {
            self.protocol_name = None;
            self.subscribed_topics = self.topics_of_members();
            self.phase = Phase::Empty;
            return self.write();
        }
        self.protocol_name = self.select_protocol();
        self.subscribed_topics = self.topics_of_members();
        let outstanding = self.members.keys().cloned().collect();
        let deadline = Some(now + self.rebalance_timeout());
        self.phase = Phase::CompletingRebalance(Synchronization { outstanding, deadline });
        let member_ids = self.members.keys().cloned().collect::<Vec<_>>();
        for member_id in member_ids {
            let response = self.joined(&member_id);
            self.answer_joining(&member_id, &response);
            if let Some(member) = self.members.get_mut(&member_id) {
                member.renew_session(now);
                member.is_new = false;
            }
        }
    }

    /// Answers the JoinGroup requests of a member that wait.
    pub(super) fn answer_joining(&mut self, member_id: &str, response: &JoinGroupResponse) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let answers = std::mem::take(&mut member.joining).into_iter();
        self.actions.extend(answers.map(|reply| Action::Reply(reply, Reply::Join(response.clone()))));
    }

    /// The members, as the leader is told of them.
    pub(super) fn current_members(&self) -> Vec<JoinGroupResponseMember> {
        let member = |member: &Member| JoinGroupResponseMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(self.protocol_name.as_deref()),
        };
        self.members.values().map(member).collect()
    }

    /// Sees to it that the leader has joined. False where nobody has.
    fn elect_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        if leader.is_some_and(Member::has_joined) {
            return true;
        }
        let joined = self.members.values().find(|member| member.has_joined()).map(|member| member.id.clone());
        let found = joined.is_some();
        if found {
            self.leader = joined;
        }
        found
    }

    /// The protocol that most members would take first, of those that all can go by; of several, the first by name.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let by_all = |name: &str| self.members.values().all(|member| member.supports(name));
        let mut votes = BTreeMap::<&str, usize>::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|protocol| protocol.name.as_str()).find(|name| by_all(name));
            if let Some(vote) = vote {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.values().copied().max();
        votes.into_iter().find(|(_, count)| Some(*count) == most).map(|(name, _)| name.to_owned())
    }

    /// Whether a member could go by a protocol that all others can go by.
    fn fits(&self, join: &Join) -> bool {
        if matches!(self.phase, Phase::Empty) {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        let by_all = |name: &str| self.members.values().all(|member| member.supports(name));
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && join.protocols.iter().any(|protocol| by_all(&protocol.name))
    }

    /// Whether there is no room for a member.
    fn is_full_for(&self, member_id: &str) -> bool {
        let known = self.members.get(member_id);
        match self.phase {
            Phase::Empty | Phase::Dead => false,
            // Whoever comes too late to join again makes room.
            Phase::PreparingRebalance(_) => {
                let joined = self.members.values().filter(|member| member.has_joined()).count();
                !known.is_some_and(Member::has_joined) && joined >= self.limits.max_size
            }
            Phase::CompletingRebalance(_) | Phase::Stable(_) => {
                known.is_none() && self.members.len() >= self.limits.max_size
            }
        }
    }

    /// Has the return of a static member written.
    pub(super) fn write_rejoin(&mut self, rejoin: super::Rejoin) {
        let metadata = self.metadata(&BTreeMap::new());
        self.actions.push(Action::Write(metadata, Written::Rejoin(Box::new(rejoin))));
    }
}
