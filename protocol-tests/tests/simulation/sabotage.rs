//! Ways to break a promise, each of which the checker has to notice.

use std::sync::Arc;

use ottla::consumer::assignor::{
    Assignor, AssignorError, GroupMember, LastAssignment, MemberAssignment, RebalanceProtocol, Topics,
};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// What a poll hands out is committed before it is processed.
    CommitBeforeProcessing,
    /// What was handed out before a revocation is handed out again after it.
    HandOutAfterRevocation,
    /// A batch is handed out twice.
    HandOutTwice,
    /// Some batches are passed over, as if they had been processed.
    SkipRecords,
    /// A partition is assigned to nobody.
    ForgetPartition,
    /// A revocation never ends.
    NeverGiveUp,
    /// A task outlives the consumer.
    LeakTask,
}

/// An assignor that leaves out what another gives to the first member first.
#[derive(Debug)]
pub(crate) struct Forgetful(pub(crate) Arc<dyn Assignor>);

impl Assignor for Forgetful {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn rebalance_protocol(&self) -> RebalanceProtocol {
        self.0.rebalance_protocol()
    }

    fn user_data(&self, last: &LastAssignment) -> Option<bytes::Bytes> {
        self.0.user_data(last)
    }

    fn assign(&self, topics: &Topics, members: &[GroupMember]) -> Result<Vec<MemberAssignment>, AssignorError> {
        let mut assignments = self.0.assign(topics, members)?;
        if let Some(first) = assignments.iter_mut().find(|assignment| !assignment.partitions.is_empty()) {
            first.partitions.remove(0);
        }
        Ok(assignments)
    }
}
