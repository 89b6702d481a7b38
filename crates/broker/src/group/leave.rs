//! LeaveGroup: members go, by themselves or because an administrator takes them out.

use std::time::Instant;

use ottla_wire::ErrorCode;

use super::{Group, Phase};

/// A member that leaves.
#[derive(Clone, Debug)]
pub(crate) struct Leave {
    /// Empty: whoever has the instance id.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
}

impl Group {
    /// Members leave. Says of each what became of it.
    pub(crate) fn handle_leave(&mut self, now: Instant, leaving: &[Leave]) -> Result<Vec<ErrorCode>, ErrorCode> {
        if matches!(self.phase, Phase::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let codes = leaving.iter().map(|leave| self.leave(leave).err().unwrap_or(ErrorCode::None));
        let codes = codes.collect::<Vec<_>>();
        if codes.contains(&ErrorCode::None) {
            match self.phase {
                Phase::Stable(_) | Phase::CompletingRebalance(_) => self.rebalance(now),
                Phase::PreparingRebalance(_) => self.complete_join_if_possible(now),
                Phase::Empty | Phase::Dead => {}
            }
        }
        Ok(codes)
    }

    fn leave(&mut self, leave: &Leave) -> Result<(), ErrorCode> {
        let instance_id = leave.instance_id.as_deref();
        let member_id = if leave.member_id.is_empty() {
            let known = instance_id.and_then(|instance_id| self.static_members.get(instance_id));
            known.cloned().ok_or(ErrorCode::UnknownMemberId)?
        } else {
            leave.member_id.clone()
        };
        if !self.pending.contains_key(&member_id) {
            self.check_member(&member_id, instance_id)?;
        }
        self.remove(&member_id);
        Ok(())
    }
}
