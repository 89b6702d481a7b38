//! Heartbeats: when they are due, and what their answers change.
//!
//! They are due from the answer to JoinGroup until the next JoinGroup leaves, one every `heartbeat.interval.ms`; a
//! rebalance that is pending does not stop them. Without a successful one for two thirds of `session.timeout.ms` the
//! coordinator counts as unknown: it is looked for again while there is a third of the session left to find it, but the
//! membership is gone only when a coordinator says so.
//!
//! An answer counts for the membership that it was sent for. They go over a connection of their own, so that one can
//! come after the JoinGroup that was sent behind it: then JoinGroup's own answer says what has become of the membership.

use std::time::{Duration, Instant};

use ottla_wire::ErrorCode;
use ottla_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::state::{Action, ClassicGroup, State};
use crate::{Error, RebalanceReason};

/// When heartbeats are due.
#[derive(Debug)]
pub(super) struct Heartbeats {
    interval: Duration,
    /// For how long the coordinator may say nothing.
    patience: Duration,
    due: Instant,
    /// When the coordinator is given up.
    patience_ends: Instant,
    /// The number of the one in flight.
    in_flight: Option<u64>,
    sent: u64,
    /// How many have failed in a row.
    failures: u32,
}

impl Heartbeats {
    pub(super) fn new(interval: Duration, session_timeout: Duration, now: Instant) -> Self {
        let patience = session_timeout * 2 / 3;
        let (due, patience_ends) = (now + interval, now + patience);
        Self { interval, patience, due, patience_ends, in_flight: None, sent: 0, failures: 0 }
    }

    /// Begins anew; the answer to one in flight is for another membership.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.due, self.patience_ends) = (now + self.interval, now + self.patience);
        (self.in_flight, self.failures) = (None, 0);
    }

    /// What follows from a coordinator having been found, or a heartbeat having been answered.
    pub(super) fn heard(&mut self, now: Instant) {
        self.patience_ends = now + self.patience;
    }

    pub(super) fn has_fallen_silent(&self, now: Instant) -> bool {
        self.patience_ends <= now
    }

    /// The next one's number, if one is to be sent now. The next after it is due an interval from now.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<u64> {
        if self.in_flight.is_some() || self.due > now {
            return None;
        }
        self.sent += 1;
        self.due = now + self.interval;
        self.in_flight = Some(self.sent);
        self.in_flight
    }

    /// When something is to be done: a heartbeat be sent, or the coordinator be given up.
    pub(super) fn next_deadline(&self) -> Instant {
        match self.in_flight {
            Some(_) => self.patience_ends,
            None => self.due.min(self.patience_ends),
        }
    }

    /// One that failed is sent again at once.
    pub(super) fn end_back_off(&mut self, now: Instant) {
        if std::mem::take(&mut self.failures) > 0 {
            self.due = self.due.min(now);
        }
    }

    /// Forgets the one in flight, if it is that one.
    fn take(&mut self, number: u64) -> bool {
        let is_current = self.in_flight == Some(number);
        if is_current {
            self.in_flight = None;
        }
        is_current
    }
}

impl ClassicGroup {
    pub(super) fn next_heartbeat(&mut self, now: Instant) -> Option<Action> {
        if !self.has_heartbeats() || self.coordinator.is_none() {
            return None;
        }
        let number = self.heartbeats.next_due(now)?;
        let request = HeartbeatRequest {
            group_id: self.group_id.as_ref().to_owned(),
            generation_id: self.identity.generation_id,
            member_id: self.identity.member_id.as_ref().to_owned(),
            group_instance_id: self.instance_id(),
        };
        Some(Action::Heartbeat { number, request })
    }

    /// Takes in the answer to a heartbeat; `Err`: there is none.
    pub(crate) fn handle_heartbeat(&mut self, now: Instant, number: u64, answer: Result<HeartbeatResponse, Error>) {
        if !self.heartbeats.take(number) || !self.has_heartbeats() {
            return; // of a membership, or a coordinator, that is over
        }
        match answer.map(|response| response.error_code) {
            Ok(ErrorCode::None) => self.heartbeat_succeeded(now),
            Ok(ErrorCode::RebalanceInProgress) => {
                // The group waits for this member as long as it sends heartbeats, up to the rebalance timeout.
                self.heartbeat_succeeded(now);
                self.need_rebalance(RebalanceReason::GroupRebalances);
            }
            Ok(
                error_code @ (ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId),
            ) => {
                // SyncGroup may be parked, and must not hold up the next JoinGroup.
                self.push(Action::AbandonJoin);
                self.membership_refused("Heartbeat", error_code);
            }
            Ok(ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator) => {
                self.heartbeat_failed(now);
                self.is_coordinator_doubted = true;
            }
            // Tried again until patience ends: then the coordinator is looked for, and what is wrong shows there.
            Ok(_) | Err(_) => self.heartbeat_failed(now),
        }
    }

    fn heartbeat_succeeded(&mut self, now: Instant) {
        self.heartbeats.failures = 0;
        self.heartbeats.heard(now);
    }

    pub(super) fn heartbeat_failed(&mut self, now: Instant) {
        self.heartbeats.in_flight = None;
        self.heartbeats.failures = self.heartbeats.failures.saturating_add(1);
        self.heartbeats.due = now + self.backoff.next_delay(self.heartbeats.failures);
    }

    /// Whether the member is to show that it is alive.
    pub(super) fn has_heartbeats(&self) -> bool {
        match self.state {
            State::CompletingRebalance(_) | State::Stable(_) => true,
            State::Unjoined | State::PreparingRebalance(_) => false,
        }
    }
}
