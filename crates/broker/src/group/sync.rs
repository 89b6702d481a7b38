//! SyncGroup: the leader brings the assignment, and all get theirs once the log has it.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::SyncGroupResponse;

use super::{Action, Group, Phase, Reply, ReplyId, Written};

/// A request for an assignment.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) reply: ReplyId,
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation_id: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol_name: Option<String>,
    /// What the leader assigns.
    pub(crate) assignments: BTreeMap<String, Bytes>,
}

impl Group {
    /// A member asks for its assignment, or the leader brings all of them.
    pub(crate) fn handle_sync(&mut self, sync: Sync) {
        if let Err(code) = self.check_sync(&sync) {
            return self.refuse_sync(sync.reply, code);
        }
        match &mut self.phase {
            Phase::Empty | Phase::Dead => self.refuse_sync(sync.reply, ErrorCode::UnknownMemberId),
            Phase::PreparingRebalance(_) => self.refuse_sync(sync.reply, ErrorCode::RebalanceInProgress),
            Phase::CompletingRebalance(_) => {
                self.has_asked(&sync.member_id);
                if let Some(member) = self.members.get_mut(&sync.member_id) {
                    member.syncing.push(sync.reply);
                }
                if self.is_leader(&sync.member_id) {
                    self.write_assignment(sync.assignments);
                }
            }
            Phase::Stable(_) => {
                self.has_asked(&sync.member_id);
                if let Some(member) = self.members.get_mut(&sync.member_id) {
                    member.syncing.push(sync.reply);
                }
                self.answer_syncing(&sync.member_id);
            }
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        if matches!(self.phase, Phase::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(&sync.member_id, sync.instance_id.as_deref())?;
        if sync.generation_id != self.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        // Older versions do not say by what they go.
        let differs = |said: &Option<String>, is: &Option<String>| said.is_some() && is.is_some() && said != is;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol_name, &self.protocol_name) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn has_asked(&mut self, member_id: &str) {
        if let Phase::CompletingRebalance(sync) | Phase::Stable(sync) = &mut self.phase {
            sync.outstanding.remove(member_id);
            if sync.outstanding.is_empty() {
                sync.deadline = None;
            }
        }
    }

    fn write_assignment(&mut self, mut assignments: BTreeMap<String, Bytes>) {
        // Whoever the leader forgets has nothing, and not what it had before.
        assignments.retain(|member_id, _| self.members.contains_key(member_id));
        for member_id in self.members.keys() {
            assignments.entry(member_id.clone()).or_default();
        }
        let metadata = self.metadata(&assignments);
        let written = Written::Assignment { generation_id: self.generation_id, assignments };
        self.actions.push(Action::Write(metadata, written));
    }

    /// The log has the leader's assignment.
    pub(super) fn assign(&mut self, now: Instant, generation_id: i32, assignments: &BTreeMap<String, Bytes>) {
        // Somebody may have come or gone meanwhile.
        if generation_id != self.generation_id || !matches!(self.phase, Phase::CompletingRebalance(_)) {
            return;
        }
        for member in self.members.values_mut() {
            member.assignment = assignments.get(&member.id).cloned().unwrap_or_default();
        }
        self.answer_all_syncing(now);
        self.phase = match std::mem::replace(&mut self.phase, Phase::Dead) {
            Phase::CompletingRebalance(sync) => Phase::Stable(sync),
            other => other,
        };
    }

    /// The log does not have the leader's assignment: a new one is to be made.
    pub(super) fn unassign(&mut self, now: Instant, generation_id: i32, code: ErrorCode) {
        if generation_id == self.generation_id && matches!(self.phase, Phase::CompletingRebalance(_)) {
            self.withdraw_assignment(now, code);
            self.rebalance(now);
        }
    }

    /// Tells those who wait for their assignment that there will be none.
    pub(super) fn withdraw_assignment(&mut self, now: Instant, code: ErrorCode) {
        let mut refused = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if !member.syncing.is_empty() {
                member.renew_session(now);
                refused.append(&mut member.syncing);
            }
        }
        for reply in refused {
            self.refuse_sync(reply, code);
        }
    }

    fn answer_all_syncing(&mut self, now: Instant) {
        let waiting = self.members.values_mut().filter(|member| !member.syncing.is_empty());
        let waiting = waiting.map(|member| {
            member.renew_session(now);
            member.id.clone()
        });
        for member_id in waiting.collect::<Vec<_>>() {
            self.answer_syncing(&member_id);
        }
    }

    fn answer_syncing(&mut self, member_id: &str) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let response = SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: member.assignment.clone(),
            ..Default::default()
        };
        let answers = std::mem::take(&mut member.syncing).into_iter();
        self.actions.extend(answers.map(|reply| Action::Reply(reply, Reply::Sync(response.clone()))));
    }
}
