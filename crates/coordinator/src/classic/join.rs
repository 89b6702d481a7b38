//! JoinGroup: what a member joins with, and what each answer does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use ottla_wire::ErrorCode;
use ottla_wire::consumer_protocol::{HIGHEST_VERSION, Subscription};
use ottla_wire::messages::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};

use super::leader::AssignJob;
use super::leave::truncate_reason;
use super::state::{Action, ClassicGroup, Completing, Identity, Joined, Joining, Preparing, State};
use crate::assignor::{self, Assignor, LastAssignment};
use crate::{Error, GroupEvent, RebalanceReason};

/// A JoinGroup that is to be made: the assignors, which are the application's, have yet to say what goes with it.
#[derive(Debug)]
pub(crate) struct JoinJob {
    group: Arc<str>,
    assignors: Vec<Arc<dyn Assignor>>,
    last_assignment: LastAssignment,
    subscription: Subscription,
    /// Without protocols.
    request: JoinGroupRequest,
}

impl JoinJob {
    /// Asks the assignors. Not to be called with the state locked: they may ask about the member.
    pub(crate) fn run(self) -> Result<JoinGroupRequest, Error> {
        let Self { group, assignors, last_assignment, mut subscription, mut request } = self;
        for assignor in assignors {
            let user_data = assignor::call(|| Ok(assignor.user_data(&last_assignment)));
            subscription.user_data = user_data.map_err(|source| Error::Assignor {
                group: Arc::clone(&group),
                assignor: assignor.name().into(),
                source: source.into(),
            })?;
            let metadata = subscription.encode(HIGHEST_VERSION).map_err(|source| Error::Encode {
                group: Arc::clone(&group),
                member_id: request.member_id.as_str().into(),
                source,
            })?;
            request.protocols.push(JoinGroupRequestProtocol { name: assignor.name().to_owned(), metadata });
        }
        Ok(request)
    }
}

impl ClassicGroup {
    /// JoinGroup, if one is to be sent now.
    pub(super) fn next_join(&mut self, now: Instant) -> Option<Action> {
        let is_due = self.coordinator.is_some() && self.not_before.is_none_or(|due| due <= now);
        let State::PreparingRebalance(Preparing { joining, in_flight: None }) = &self.state else { return None };
        if !is_due {
            return None;
        }
        let topics = self.subscription.clone().unwrap_or_default();
        let job = Box::new(self.join_job(joining, &topics));
        self.attempts += 1;
        let attempt = self.attempts;
        if let State::PreparingRebalance(preparing) = &mut self.state {
            preparing.in_flight = Some((attempt, topics));
        }
        Some(Action::JoinGroup { attempt, job, timeout: self.join_timeout })
    }

    fn join_job(&self, joining: &Joining, topics: &BTreeSet<Arc<str>>) -> JoinJob {
        let owned = joining.owned.iter().map(|owned| (Arc::clone(&owned.topic), owned.partition));
        let subscription = Subscription {
            topics: topics.iter().collect(),
            user_data: None,
            owned_partitions: owned.collect(),
            generation_id: self.identity.generation_id,
            rack_id: self.config.client_rack.clone(),
        };
        let reason = match &joining.reason {
            RebalanceReason::NotMember => None,
            reason => Some(truncate_reason(&reason.to_string())),
        };
        let request = JoinGroupRequest {
            group_id: self.group_id.as_ref().to_owned(),
            session_timeout_ms: milliseconds(self.config.session_timeout),
            rebalance_timeout_ms: milliseconds(self.config.max_poll_interval),
            member_id: self.identity.member_id.as_ref().to_owned(),
            group_instance_id: self.instance_id(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: Vec::new(),
            reason,
        };
        let (assignors, last_assignment) = (self.config.assignors.clone(), self.last_assignment.clone());
        JoinJob { group: Arc::clone(&self.group_id), assignors, last_assignment, subscription, request }
    }

    /// Takes in the answer to JoinGroup; `Err`: there is none.
    pub(crate) fn handle_join_group(&mut self, now: Instant, attempt: u64, answer: Result<JoinGroupResponse, Error>) {
        let is_current = matches!(&self.state, State::PreparingRebalance(Preparing { in_flight: Some((current, _)), .. })
            if *current == attempt);
        if !is_current {
            return;
        }
        let response = match answer {
            Ok(response) => response,
            Err(error) => return self.retry_or_fail_join(now, error),
        };
        match response.error_code {
            ErrorCode::None => self.joined(now, attempt, response),
            ErrorCode::MemberIdRequired => {
                // KIP-394: so that a member which never saw an answer is not waited for. Once is no failure.
                let had_one = !self.identity.member_id.is_empty();
                self.identity = Identity { member_id: response.member_id.into(), ..Identity::default() };
                if had_one { self.rejoin_at_once(now) } else { self.prepare_again() }
            }
            ErrorCode::UnknownMemberId => {
                self.rejoin_at_once(now);
                self.membership_refused("JoinGroup", ErrorCode::UnknownMemberId);
            }
            ErrorCode::FencedInstanceId => self.membership_refused("JoinGroup", ErrorCode::FencedInstanceId),
            ErrorCode::RebalanceInProgress => self.rejoin_at_once(now),
            error_code => self.retry_or_fail_join(now, self.refused("JoinGroup", error_code)),
        }
    }

    fn joined(&mut self, now: Instant, attempt: u64, response: JoinGroupResponse) {
        let unknown = |protocol: Option<String>| Error::UnknownProtocol {
            group: Arc::clone(&self.group_id),
            protocol: protocol.unwrap_or_default(),
        };
        if response.protocol_type.as_deref().is_some_and(|protocol_type| protocol_type != PROTOCOL_TYPE) {
            return self.join_failed(unknown(response.protocol_type));
        }
        let name = response.protocol_name.as_deref();
        let assignor = self.config.assignors.iter().find(|assignor| Some(assignor.name()) == name).cloned();
        let Some(assignor) = assignor else { return self.join_failed(unknown(response.protocol_name)) };
        let State::PreparingRebalance(Preparing { joining, in_flight }) =
            std::mem::replace(&mut self.state, State::Unjoined)
        else {
            return;
        };
        let topics = in_flight.map(|(_, topics)| topics).unwrap_or_default();
        let is_leader = response.leader == response.member_id;
        self.identity = Identity { member_id: response.member_id.into(), generation_id: response.generation_id };
        self.heartbeats.restart(now);
        self.liveness.seen(now);
        let joined = Joined { leader_id: response.leader.into(), assignor: assignor.name().into(), topics };
        tracing::debug!(group = %self.group_id, generation = %self.identity.generation_id, is_leader, "joined");
        self.state = State::CompletingRebalance(Completing { joining, attempt, joined, group: None });
        if !is_leader {
            return self.send_sync(Vec::new());
        }
        let group = Arc::clone(&self.group_id);
        let job = AssignJob::new(group, assignor, self.protocol, response.members, response.skip_assignment);
        match job {
            Ok(job) => self.push(Action::Assign { attempt, job: Box::new(job) }),
            Err(error) => self.fail_and_back_off(now, error),
        }
    }

    pub(super) fn refused(&self, attempted: &'static str, error_code: ErrorCode) -> Error {
        Error::Refused { attempted, group: Arc::clone(&self.group_id), node: self.last_coordinator, error_code }
    }

    /// JoinGroup is sent again: at once the first time, later when that does not help.
    pub(super) fn rejoin_at_once(&mut self, now: Instant) {
        let is_first = self.failures == 0;
        self.back_off(now);
        if is_first {
            self.not_before = None;
        }
        self.prepare_again();
    }

    /// JoinGroup is sent again after a while, unless that would not help.
    pub(super) fn retry_or_fail_join(&mut self, now: Instant, error: Error) {
        if error.error_code().is_some_and(ErrorCode::invalidates_coordinator) {
            self.is_coordinator_doubted = true;
        }
        if error.is_retriable() {
            tracing::debug!(group = %self.group_id, error = &error as &dyn std::error::Error, "joining again");
            self.back_off(now);
            self.prepare_again();
        } else {
            self.fail_and_back_off(now, error);
        }
    }

    /// JoinGroup is sent again with what the application joined with.
    pub(super) fn prepare_again(&mut self) {
        self.watch = None;
        self.state = match std::mem::replace(&mut self.state, State::Unjoined) {
            State::PreparingRebalance(Preparing { joining, .. })
            | State::CompletingRebalance(Completing { joining, .. }) => {
                State::PreparingRebalance(Preparing { joining, in_flight: None })
            }
            state @ (State::Unjoined | State::Stable(_)) => state,
        };
    }

    pub(super) fn back_off(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + self.backoff.next_delay(self.failures));
    }

    /// The join ends, and the next one begins after a while.
    pub(super) fn fail_and_back_off(&mut self, now: Instant, error: Error) {
        self.back_off(now);
        self.join_failed(error);
    }

    /// The join ends. Who the member is for the coordinator stays: the next attempt goes on from there.
    pub(super) fn join_failed(&mut self, error: Error) {
        self.state = State::Unjoined;
        self.watch = None;
        self.events.push_back(GroupEvent::Failed(error));
    }
}

fn milliseconds(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// The type of groups that assign partitions to consumers.
pub(super) const PROTOCOL_TYPE: &str = "consumer";
