//! SyncGroup: how the assignment comes from the leader to each member, and what each answer does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use ottla_wire::consumer_protocol::Assignment;
use ottla_wire::messages::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use ottla_wire::{ErrorCode, TopicPartition};

use super::join::PROTOCOL_TYPE;
use super::leader::LeaderAssignment;
use super::state::{Action, ClassicGroup, Completing, Stable, State};
use crate::assignor::LastAssignment;
use crate::{Assigned, Error, GroupEvent};

impl ClassicGroup {
    /// The leader has assigned; `Err`: it could not.
    pub(crate) fn handle_assigned(&mut self, now: Instant, attempt: u64, outcome: Result<LeaderAssignment, Error>) {
        let State::CompletingRebalance(completing) = &mut self.state else { return };
        if completing.attempt != attempt {
            return;
        }
        match outcome {
            Ok(LeaderAssignment { group, assignments, watch }) => {
                completing.group = group;
                self.watch = Some(watch);
                self.send_sync(assignments);
            }
            Err(error) => self.retry_or_fail_join(now, error),
        }
    }

    pub(super) fn send_sync(&mut self, assignments: Vec<SyncGroupRequestAssignment>) {
        let State::CompletingRebalance(Completing { attempt, joined, .. }) = &self.state else { return };
        let request = SyncGroupRequest {
            group_id: self.group_id.as_ref().to_owned(),
            generation_id: self.identity.generation_id,
            member_id: self.identity.member_id.as_ref().to_owned(),
            group_instance_id: self.instance_id(),
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: Some(joined.assignor.as_ref().to_owned()),
            assignments,
        };
        self.push(Action::SyncGroup { attempt: *attempt, request });
    }

    /// Takes in the answer to SyncGroup; `Err`: there is none.
    pub(crate) fn handle_sync_group(&mut self, now: Instant, attempt: u64, answer: Result<SyncGroupResponse, Error>) {
        let State::CompletingRebalance(completing) = &self.state else { return };
        if completing.attempt != attempt {
            return;
        }
        let response = match answer {
            Ok(response) => response,
            Err(error) => return self.retry_or_fail_join(now, error),
        };
        match response.error_code {
            ErrorCode::None => {
                let is_other = |said: &Option<String>, joined: &str| said.as_deref().is_some_and(|said| said != joined);
                let other = match response {
                    SyncGroupResponse { protocol_type, .. } if is_other(&protocol_type, PROTOCOL_TYPE) => protocol_type,
                    SyncGroupResponse { protocol_name, .. }
                        if is_other(&protocol_name, &completing.joined.assignor) =>
                    {
                        protocol_name
                    }
                    SyncGroupResponse { assignment, .. } => return self.synced(now, assignment),
                };
                let (group, protocol) = (Arc::clone(&self.group_id), other.unwrap_or_default());
                self.fail_and_back_off(now, Error::UnknownProtocol { group, protocol });
            }
            // However often: the coordinator sets the pace, as it holds JoinGroup back until all members have joined.
            ErrorCode::RebalanceInProgress => self.prepare_again(),
            error_code @ (ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.rejoin_at_once(now);
                self.membership_refused("SyncGroup", error_code);
            }
            ErrorCode::FencedInstanceId => self.membership_refused("SyncGroup", ErrorCode::FencedInstanceId),
            error_code => self.retry_or_fail_join(now, self.refused("SyncGroup", error_code)),
        }
    }

    fn synced(&mut self, now: Instant, assignment: bytes::Bytes) {
        let assignment = match Assignment::decode(assignment) {
            Ok(assignment) => assignment,
            Err(source) => {
                let (group, member_id) = (Arc::clone(&self.group_id), Arc::clone(&self.identity.member_id));
                return self.fail_and_back_off(now, Error::Assignment { group, member_id, source });
            }
        };
        let State::CompletingRebalance(Completing { joining, joined, group, .. }) =
            std::mem::replace(&mut self.state, State::Unjoined)
        else {
            return;
        };
        (self.failures, self.not_before) = (0, None);
        let partitions = self.assigned_partitions(&assignment);
        let all = assignment.partitions.partitions();
        let all = all.map(|(topic, partition)| TopicPartition::new(topic, partition)).collect();
        self.last_assignment = LastAssignment::new(all, self.identity.generation_id);
        tracing::info!(
            group = %self.group_id, generation = %self.identity.generation_id, member = %self.identity.member_id,
            partitions = partitions.len(), "assigned"
        );
        self.events.push_back(GroupEvent::Assigned(Assigned {
            generation_id: self.identity.generation_id,
            member_id: Arc::clone(&self.identity.member_id),
            leader_id: Arc::clone(&joined.leader_id),
            assignor: Arc::clone(&joined.assignor),
            protocol: self.protocol,
            partitions,
            reason: joining.reason,
            group,
        }));
        self.state = State::Stable(Stable { joined, rejoin: None });
        // What has changed since JoinGroup left.
        self.check_subscription();
        self.check_watch();
    }

    /// The partitions that the member was given and, still, wants.
    fn assigned_partitions(&self, assignment: &Assignment) -> BTreeSet<TopicPartition> {
        let mut partitions = BTreeSet::new();
        for (topic, indexes) in assignment.partitions.topics() {
            if let Some(topic) = self.subscription.as_ref().and_then(|topics| topics.get(topic)) {
                partitions.extend(indexes.map(|index| TopicPartition::new(Arc::clone(topic), index)));
            } else {
                tracing::warn!(group = %self.group_id, topic, "assigned a topic that is not subscribed to");
            }
        }
        partitions
    }
}
