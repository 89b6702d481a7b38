//! When the leader asks again about topics that the cluster did not know when it assigned. Does no I/O and reads no
//! clock.
//!
//! A topic may be on its way to the broker that was asked, or be made any moment; until somebody asks again its partitions
//! are nobody's. So it is asked for with back-off, up to `retry.backoff.max.ms`, as Java's client does, for as long as the
//! member leads and the topic is not known.

use std::time::Instant;

use ottla_cluster::Backoff;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct UnknownTopics {
    backoff: Backoff,
    asks: u32,
    due_at: Option<Instant>,
}

impl UnknownTopics {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, asks: 0, due_at: None }
    }

    /// Whether they are to be asked about now. `are_there`: whether there are any.
    pub(crate) fn take_due(&mut self, now: Instant, are_there: bool) -> bool {
        if !are_there {
            (self.asks, self.due_at) = (0, None);
            return false;
        }
        let is_due = self.due_at.is_some_and(|due_at| due_at <= now);
        if is_due || self.due_at.is_none() {
            self.asks = self.asks.saturating_add(1);
            self.due_at = Some(now + self.backoff.next_delay(self.asks));
        }
        is_due
    }

    /// When they are to be asked about next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due_at
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "any origin will do: the machine reads no clock")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn they_are_asked_about_with_back_off_until_there_are_none() {
        let (initial, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut unknown = UnknownTopics::new(Backoff::new(initial, max, fastrand::Rng::with_seed(1)));
        let start = Instant::now();
        let mut now = start;
        assert!(!unknown.take_due(now, false) && unknown.next_deadline().is_none());
        assert!(!unknown.take_due(now, true), "they were asked about just now");
        for _ in 0..10 {
            let due = unknown.next_deadline().unwrap();
            assert!(due > now && due <= now + max.mul_f64(1.2));
            assert!(!unknown.take_due(now + (due - now) / 2, true));
            now = due;
            assert!(unknown.take_due(now, true) && !unknown.take_due(now, true), "once each time");
        }
        assert!(now > start + Duration::from_secs(4), "about once a second in the end");
        assert!(!unknown.take_due(now, false) && unknown.next_deadline().is_none());
    }
}
