//! Leaving: because the application says so, or because it has not polled for too long.
//!
//! The member is none from that moment on, whatever becomes of LeaveGroup: its answer changes nothing here. A static member does not send it (KIP-345): its partitions are kept for it until its session ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::messages::{LeaveGroupRequest, MemberIdentity};

use super::state::{Action, ClassicGroup, State};
use crate::{GroupEvent, LostReason};

/// A LeaveGroup to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leave {
    pub(crate) group_id: Arc<str>,
    pub(crate) member_id: Arc<str>,
    pub(crate) reason: String,
}

impl Leave {
    /// In the versions that name several members and a reason, or in those before.
    pub(crate) fn request(&self, is_batched: bool) -> LeaveGroupRequest {
        let (group_id, member_id) = (self.group_id.as_ref().to_owned(), self.member_id.as_ref().to_owned());
        if !is_batched {
            return LeaveGroupRequest { group_id, member_id, members: Vec::new() };
        }
        let reason = Some(self.reason.clone());
        let members = vec![MemberIdentity { member_id, group_instance_id: None, reason }];
        LeaveGroupRequest { group_id, member_id: String::new(), members }
    }
}

/// When the application was last here: a poll began, went on, or ended. That a poll has begun and not ended proves
/// nothing later on: its future may live, and nobody drive it any more.
#[derive(Debug)]
pub(super) struct PollLiveness {
    max_interval: Duration,
    last_seen: Instant,
}

impl PollLiveness {
    pub(super) fn new(max_interval: Duration, now: Instant) -> Self {
        Self { max_interval, last_seen: now }
    }

    pub(super) fn seen(&mut self, now: Instant) {
        self.last_seen = now;
    }

    /// When it will have been away for too long. It never moves closer.
    pub(super) fn deadline(&self) -> Instant {
        self.last_seen + self.max_interval
    }
}

impl ClassicGroup {
    /// The application polls: it has begun to, still does, or has just done.
    pub(crate) fn polled(&mut self, now: Instant) {
        self.liveness.seen(now);
    }

    /// Leaves, and forgets the subscription and all that has not been told. Gives what is to be sent, if anything is.
    pub(crate) fn leave(&mut self, reason: &str) -> Option<Leave> {
        let leave = self.leave_group(reason);
        self.subscription = None;
        self.events.clear();
        leave
    }

    /// The application is late, whatever the clock says.
    pub(crate) fn poll_interval_exceeded(&mut self) {
        if self.has_heartbeats() {
            self.leave_for_poll_interval();
        }
    }

    /// The application has been away for too long.
    pub(super) fn leave_for_poll_interval(&mut self) {
        tracing::warn!(group = %self.group_id, "not polled for max.poll.interval.ms, leaving the group");
        let leave = self.leave_group("not polled for max.poll.interval.ms");
        self.lose(LostReason::MaxPollIntervalExceeded);
        if let Some(leave) = leave {
            self.push(Action::LeaveGroup(leave));
        }
    }

    fn leave_group(&mut self, reason: &str) -> Option<Leave> {
        let is_joining = matches!(self.state, State::PreparingRebalance(_) | State::CompletingRebalance(_));
        if is_joining {
            // What is parked at the coordinator must not hold up the next join.
            self.push(Action::AbandonJoin);
        }
        let member_id = Arc::clone(&self.identity.member_id);
        self.state = State::Unjoined;
        self.watch = None;
        self.reset_identity(true);
        let is_dynamic = self.config.group_instance_id.is_none();
        (is_dynamic && !member_id.is_empty()).then(|| Leave {
            group_id: Arc::clone(&self.group_id),
            member_id,
            reason: truncate_reason(reason),
        })
    }

    pub(super) fn lose(&mut self, reason: LostReason) {
        // What the application has not seen of the membership it need not see any more.
        self.events.retain(|event| matches!(event, GroupEvent::Lost { .. } | GroupEvent::Failed(_)));
        if !self.events.iter().any(|event| matches!(event, GroupEvent::Lost { .. })) {
            self.events.push_back(GroupEvent::Lost { reason });
        }
    }
}

/// What brokers take of a reason (KIP-800).
pub(super) fn truncate_reason(reason: &str) -> String {
    reason.chars().take(MAX_REASON_CHARS).collect()
}

const MAX_REASON_CHARS: usize = 255;
