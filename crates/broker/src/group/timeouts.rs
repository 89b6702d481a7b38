//! What happens when nobody does anything: sessions end, and the time to join or to ask for an assignment.

use std::time::Instant;

use super::{Group, Phase};

/// What is due. What is due at the same time happens in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Join,
    Sync,
    Pending(String),
    Session(String),
}

impl Group {
    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.members.values().filter_map(|member| member.session_deadline);
        let pending = self.pending.values().copied();
        sessions.chain(pending).chain(self.phase_deadline().map(|(at, _)| at)).min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, due)) = self.next_due().filter(|(at, _)| *at <= now) {
            match due {
                Due::Join => self.join_time_is_up(now),
                Due::Sync => self.sync_time_is_up(now),
                Due::Pending(member_id) => {
                    self.remove(&member_id);
                    self.complete_join_without(now);
                }
                Due::Session(member_id) => self.session_has_ended(now, &member_id),
            }
        }
    }

    fn next_due(&self) -> Option<(Instant, Due)> {
        let sessions = self.members.values().filter_map(|member| Some((member.session_deadline?, member)));
        let session = sessions.min_by_key(|(at, _)| *at);
        let pending = self.pending.iter().min_by_key(|(_, at)| **at);
        let session = session.map(|(at, member)| (at, Due::Session(member.id.clone())));
        let pending = pending.map(|(member_id, at)| (*at, Due::Pending(member_id.clone())));
        session.into_iter().chain(pending).chain(self.phase_deadline()).min()
    }

    fn phase_deadline(&self) -> Option<(Instant, Due)> {
        match &self.phase {
            Phase::PreparingRebalance(preparation) => Some((preparation.deadline, Due::Join)),
            Phase::CompletingRebalance(sync) | Phase::Stable(sync) => sync.deadline.map(|at| (at, Due::Sync)),
            Phase::Empty | Phase::Dead => None,
        }
    }

    fn join_time_is_up(&mut self, now: Instant) {
        let delay = self.limits.initial_rebalance_delay;
        if let Phase::PreparingRebalance(preparation) = &mut self.phase
            && preparation.initial
            && preparation.member_added
            && !preparation.remaining.is_zero()
        {
            // Others may be on their way, too.
            preparation.member_added = false;
            preparation.deadline = now + delay.min(preparation.remaining);
            preparation.remaining = preparation.remaining.saturating_sub(delay);
            return;
        }
        self.complete_join(now);
    }

    fn sync_time_is_up(&mut self, now: Instant) {
        let (Phase::CompletingRebalance(sync) | Phase::Stable(sync)) = &mut self.phase else { return };
        sync.deadline = None;
        let outstanding = std::mem::take(&mut sync.outstanding);
        if outstanding.is_empty() {
            return;
        }
        for member_id in outstanding {
            self.remove(&member_id);
        }
        self.prepare_rebalance(now);
    }

    fn session_has_ended(&mut self, now: Instant, member_id: &str) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        member.session_deadline = None;
        if member.may_be_silent() {
            return;
        }
        self.remove(member_id);
        match self.phase {
            Phase::Stable(_) | Phase::CompletingRebalance(_) => self.rebalance(now),
            Phase::PreparingRebalance(_) => self.complete_join_without(now),
            Phase::Empty | Phase::Dead => {}
        }
    }

    /// Goes on, if those who went were all that was waited for. Does not keep to the initial delay: as in Kafka.
    fn complete_join_without(&mut self, now: Instant) {
        if matches!(self.phase, Phase::PreparingRebalance(_)) && self.all_have_joined() {
            self.complete_join(now);
        }
    }
}
