//! Heartbeat: a member is alive, and learns whether it is to rejoin.

use std::time::Instant;

use ottla_wire::ErrorCode;

use super::{Group, Phase};

impl Group {
    /// A member says that it is alive.
    pub(crate) fn handle_heartbeat(
        &mut self,
        now: Instant,
        member_id: &str,
        instance_id: Option<&str>,
        generation_id: i32,
    ) -> Result<(), ErrorCode> {
        if matches!(self.phase, Phase::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(member_id, instance_id)?;
        if generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.renew_session(now, member_id);
        match self.phase {
            Phase::PreparingRebalance(_) => Err(ErrorCode::RebalanceInProgress),
            // Members send heartbeats as soon as they have joined, while they wait for their assignment.
            Phase::CompletingRebalance(_) | Phase::Stable(_) => Ok(()),
            Phase::Empty | Phase::Dead => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// A member has been heard of.
    pub(super) fn renew_session(&mut self, now: Instant, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.renew_session(now);
        }
    }
}
