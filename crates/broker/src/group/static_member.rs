//! Static members (KIP-345): one that comes back without its id gets a new one, and whoever had the old one is fenced.

use std::time::{Duration, Instant};

use ottla_wire::ErrorCode;
use ottla_wire::messages::JoinGroupRequestProtocol;

use super::{Group, Join, Phase};

/// A static member's return into a stable group, until the log has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rejoin {
    member_id: String,
    /// The leader before, for clients that do not understand that they need not assign: they are not told that they lead.
    former_leader: Option<String>,
    can_skip_assignment: bool,
    /// What it was before, should the log not take it.
    former_id: String,
    former_protocols: Vec<JoinGroupRequestProtocol>,
    former_rebalance_timeout: Duration,
    former_session_timeout: Duration,
}

impl Group {
    /// A static member joins whose instance id is known: it takes the place of the member `former_id`.
    pub(super) fn rejoin_static(&mut self, now: Instant, former_id: &str, join: Join) {
        let member_id = join.new_member_id.clone();
        let former_leader = self.leader.clone();
        let can_skip_assignment = join.can_skip_assignment;
        self.refuse_waiting(former_id, ErrorCode::FencedInstanceId);
        self.rename(former_id, &member_id);
        let Some(member) = self.members.get_mut(&member_id) else { return };
        member.renew_session(now);
        let rejoin = Rejoin {
            member_id: member_id.clone(),
            former_leader,
            can_skip_assignment,
            former_id: former_id.to_owned(),
            former_protocols: member.protocols.clone(),
            former_rebalance_timeout: member.rebalance_timeout,
            former_session_timeout: member.session_timeout,
        };
        self.update(&member_id, join);
        match self.phase {
            Phase::Stable(_) if self.select_protocol() == self.protocol_name => self.write_rejoin(rejoin),
            // The leader may be assigning to the old id just now: the new one would get nothing.
            Phase::Stable(_) | Phase::CompletingRebalance(_) => self.prepare_rebalance(now),
            Phase::PreparingRebalance(_) => self.complete_join_if_possible(now),
            Phase::Empty | Phase::Dead => {}
        }
    }

    /// The log has a static member's return: it goes on in the current generation, unless the next is being made.
    pub(super) fn let_in(&mut self, rejoin: &Rejoin) {
        if !matches!(self.phase, Phase::Stable(_)) {
            return;
        }
        let mut response = self.joined(&rejoin.member_id);
        if rejoin.can_skip_assignment {
            response.skip_assignment = self.is_leader(&rejoin.member_id);
        } else {
            response.leader = rejoin.former_leader.clone().unwrap_or_default();
            response.members = Vec::new();
        }
        self.answer_joining(&rejoin.member_id, &response);
    }

    /// The log does not have a static member's return: it has not happened.
    pub(super) fn take_back(&mut self, now: Instant, rejoin: Rejoin, code: ErrorCode) {
        let Some(member) = self.members.get_mut(&rejoin.member_id) else { return };
        let joining = std::mem::take(&mut member.joining);
        member.protocols = rejoin.former_protocols;
        member.rebalance_timeout = rejoin.former_rebalance_timeout;
        member.session_timeout = rejoin.former_session_timeout;
        member.renew_session(now);
        self.rename(&rejoin.member_id, &rejoin.former_id);
        for reply in joining {
            self.refuse_join(reply, "", code);
        }
        self.rebalance_if_preparing(now);
    }

    /// Gives a member another id, everywhere.
    fn rename(&mut self, from: &str, to: &str) {
        let Some(mut member) = self.members.remove(from) else { return };
        to.clone_into(&mut member.id);
        member.is_new = false;
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), to.to_owned());
        }
        if self.is_leader(from) {
            self.leader = Some(to.to_owned());
        }
        if let Phase::CompletingRebalance(sync) | Phase::Stable(sync) = &mut self.phase
            && sync.outstanding.remove(from)
        {
            sync.outstanding.insert(to.to_owned());
        }
        self.members.insert(to.to_owned(), member);
    }

    fn rebalance_if_preparing(&mut self, now: Instant) {
        if matches!(self.phase, Phase::PreparingRebalance(_)) {
            self.complete_join_if_possible(now);
        }
    }
}
