//! Whether the coordinator owes an answer, and since when. Does no I/O and reads no clock.
//!
//! A broker that hangs keeps its connections and answers nothing, and the group may have another coordinator long before a
//! request to this one times out, or the session does. So where nothing has been heard for [`LATE`], or for a heartbeat's
//! interval where all that is in flight is what a coordinator holds back (JoinGroup, SyncGroup), the cluster is asked
//! whether it is still the one; and again as long as nothing is heard. Only another one's name changes anything.

use std::time::{Duration, Instant};

use ottla_cluster::LATE;

use crate::find::Found;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Silence {
    heartbeat_interval: Duration,
    /// The coordinator that this is about.
    epoch: u64,
    /// How many requests are in flight that it answers at once, and how many that it may hold back.
    direct: usize,
    parked: usize,
    /// When it was last heard, or asked, or the cluster about it.
    since: Instant,
    /// Until then nothing is sent to it, because it throttles (KIP-219).
    throttled_until: Instant,
}

impl Silence {
    pub(crate) fn new(heartbeat_interval: Duration, now: Instant) -> Self {
        Self { heartbeat_interval, epoch: 0, direct: 0, parked: 0, since: now, throttled_until: now }
    }

    /// It is asked something.
    pub(crate) fn handle_sent(&mut self, now: Instant, to: Found, is_parked: bool) {
        if self.epoch != to.epoch {
            (self.epoch, self.direct, self.parked) = (to.epoch, 0, 0);
        }
        // What is answered at once is owed from now on, however long something has been held back.
        if self.direct == 0 && (!is_parked || self.parked == 0) {
            self.since = now;
        }
        *if is_parked { &mut self.parked } else { &mut self.direct } += 1;
    }

    /// It has answered something, or will not any more.
    pub(crate) fn handle_ended(&mut self, now: Instant, from: Found, is_parked: bool, is_answered: bool) {
        if self.epoch != from.epoch {
            return;
        }
        let count = if is_parked { &mut self.parked } else { &mut self.direct };
        *count = count.saturating_sub(1);
        if is_answered {
            self.since = now;
        }
    }

    /// It is left alone until then: what is asked waits on this side.
    pub(crate) fn handle_throttled(&mut self, until: Instant) {
        self.throttled_until = self.throttled_until.max(until);
    }

    /// Whether the cluster is to be asked about it now.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.next_deadline().is_some_and(|due| due <= now);
        if is_due {
            self.since = now;
        }
        is_due
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let since = self.since.max(self.throttled_until);
        match (self.direct, self.parked) {
            (0, 0) => None,
            (0, _) => Some(since + self.heartbeat_interval.max(LATE)),
            _ => Some(since + LATE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::harness::{NODE, origin};

    const INTERVAL: Duration = Duration::from_secs(3);

    fn found(epoch: u64) -> Found {
        Found { node: NODE, epoch }
    }

    #[test]
    fn nothing_is_owed_by_who_throttles() {
        let now = origin();
        let mut silence = Silence::new(INTERVAL, now);
        silence.handle_throttled(now + 10 * LATE);
        silence.handle_throttled(now);
        silence.handle_sent(now, found(1), false);
        assert_eq!(silence.next_deadline(), Some(now + 11 * LATE));
    }

    #[test]
    fn nothing_is_owed_by_who_is_not_asked_or_has_answered() {
        let now = origin();
        let mut silence = Silence::new(INTERVAL, now);
        assert_eq!(silence.next_deadline(), None);
        silence.handle_sent(now, found(1), false);
        assert_eq!(silence.next_deadline(), Some(now + LATE));
        silence.handle_ended(now, found(1), false, true);
        assert_eq!(silence.next_deadline(), None);
    }

    #[test]
    fn it_is_due_again_as_long_as_nothing_is_heard() {
        let now = origin();
        let mut silence = Silence::new(INTERVAL, now);
        silence.handle_sent(now, found(1), false);
        assert!(!silence.take_due(now + LATE / 2));
        for times in 1..4 {
            assert!(silence.take_due(now + LATE * times) && !silence.take_due(now + LATE * times));
        }
        silence.handle_sent(now + LATE * 3, found(1), false);
        let heard = now + LATE * 3 + LATE / 2;
        silence.handle_ended(heard, found(1), false, true);
        assert_eq!(silence.next_deadline(), Some(heard + LATE), "it still owes the other answer");
    }

    #[test]
    fn what_may_be_held_back_has_longer() {
        let now = origin();
        let mut silence = Silence::new(INTERVAL, now);
        silence.handle_sent(now, found(1), true);
        assert_eq!(silence.next_deadline(), Some(now + INTERVAL));
        silence.handle_sent(now + LATE, found(1), false);
        assert_eq!(silence.next_deadline(), Some(now + LATE * 2));
        silence.handle_ended(now + LATE, found(1), false, true);
        assert_eq!(silence.next_deadline(), Some(now + LATE + INTERVAL), "it is well");
        silence.handle_ended(now + LATE, found(1), true, false);
        assert_eq!(silence.next_deadline(), None);
    }

    #[test]
    fn what_an_earlier_coordinator_owed_does_not_count() {
        let now = origin();
        let mut silence = Silence::new(INTERVAL, now);
        silence.handle_sent(now, found(1), false);
        silence.handle_sent(now + LATE, found(2), false);
        silence.handle_ended(now + LATE, found(1), false, false);
        assert_eq!(silence.next_deadline(), Some(now + LATE * 2));
        silence.handle_ended(now + LATE, found(2), false, true);
        assert_eq!(silence.next_deadline(), None);
    }
}
