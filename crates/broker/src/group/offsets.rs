//! Committed offsets: what is kept of one, and who may commit.

use std::time::Instant;

use ottla_wire::{ErrorCode, LeaderEpoch, TopicId};

use super::{Group, Phase};

/// An offset that a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedOffset {
    /// The offset to read from next.
    pub offset: i64,
    /// The epoch of the last record read, if the client said it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What the application had kept with it.
    pub metadata: String,
    /// When it was committed, in milliseconds since 1970.
    pub commit_timestamp_ms: i64,
    /// The topic that it was committed for: one made anew under the same name does not inherit it.
    pub topic_id: TopicId,
}

/// Who commits.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_field_names, reason = "Kafka's names")]
pub(crate) struct Committer<'c> {
    /// Empty: no member.
    pub(crate) member_id: &'c str,
    pub(crate) instance_id: Option<&'c str>,
    /// Negative: no member, but an administrator or a consumer that assigns to itself.
    pub(crate) generation_id: i32,
}

impl Group {
    /// Whether offsets may be committed, which shows that the member is alive.
    pub(crate) fn handle_commit(&mut self, now: Instant, committer: Committer<'_>) -> Result<(), ErrorCode> {
        let Committer { member_id, instance_id, generation_id } = committer;
        match self.phase {
            Phase::Dead => return Err(ErrorCode::CoordinatorNotAvailable),
            Phase::Empty if generation_id < 0 => return Ok(()),
            _ => {}
        }
        if generation_id < 0 && member_id.is_empty() && instance_id.is_none() {
            // Members are at work: nobody else may commit for them.
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member_id, instance_id)?;
        if generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.phase {
            // The member has joined, so what it had before is not its own any more.
            Phase::CompletingRebalance(_) => Err(ErrorCode::RebalanceInProgress),
            Phase::PreparingRebalance(_) | Phase::Stable(_) => {
                self.renew_session(now, member_id);
                Ok(())
            }
            Phase::Empty | Phase::Dead => Ok(()),
        }
    }
}
