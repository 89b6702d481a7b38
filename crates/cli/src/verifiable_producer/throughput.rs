//! About so many messages a second, no more.

use std::time::{Duration, Instant};

/// Sleeps that are shorter than this are put together.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);

/// Decides when to pause, and for how long.
pub(super) struct Throttle {
    /// Negative: no limit. 0: nothing beyond the first messages.
    per_second: i32,
    started: Instant,
    owed: Duration,
}

impl Throttle {
    pub(super) fn new(per_second: i32, started: Instant) -> Self {
        Self { per_second, started, owed: Duration::ZERO }
    }

    /// The pause behind the message with this number, which was sent at `sent_at`.
    pub(super) fn after(&mut self, number: u64, sent_at: Instant) -> Option<Duration> {
        let per_second = u32::try_from(self.per_second).ok()?;
        // As Java's, whole milliseconds: nothing is too fast in the first one.
        let elapsed_ms = sent_at.saturating_duration_since(self.started).as_millis();
        if elapsed_ms == 0 || u128::from(number) * 1000 <= u128::from(per_second) * elapsed_ms {
            return None;
        }
        if per_second == 0 {
            return Some(Duration::MAX);
        }
        self.owed += Duration::from_secs(1) / per_second;
        (self.owed >= SHORTEST_PAUSE).then(|| std::mem::take(&mut self.owed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "any origin will do: the machine reads no clock")]

    use super::*;

    fn throttle(per_second: i32) -> (Throttle, Instant) {
        let started = Instant::now();
        (Throttle::new(per_second, started), started)
    }

    #[test]
    fn without_a_limit_there_is_no_pause() {
        let (mut throttle, started) = throttle(-1);
        assert_eq!(throttle.after(u64::MAX, started + Duration::from_millis(1)), None);
    }

    #[test]
    fn who_is_ahead_pauses_and_who_is_behind_does_not() {
        let (mut throttle, started) = throttle(10);
        assert_eq!(throttle.after(0, started + Duration::from_millis(50)), None);
        assert_eq!(throttle.after(1, started + Duration::from_millis(50)), Some(Duration::from_millis(100)));
        assert_eq!(throttle.after(2, started + Duration::from_millis(200)), None);
    }

    #[test]
    fn nothing_is_too_fast_in_the_first_millisecond() {
        let (mut throttle, started) = throttle(10);
        assert_eq!(throttle.after(5, started + Duration::from_micros(999)), None);
    }

    #[test]
    fn short_pauses_are_put_together() {
        let (mut throttle, started) = throttle(1000);
        let at = started + Duration::from_millis(1);
        assert_eq!(throttle.after(2, at), None);
        assert_eq!(throttle.after(3, at), Some(Duration::from_millis(2)));
        assert_eq!(throttle.after(4, at), None);
    }

    #[test]
    fn a_limit_of_nothing_stops_for_good() {
        let (mut throttle, started) = throttle(0);
        let at = started + Duration::from_millis(5);
        assert_eq!((throttle.after(0, at), throttle.after(1, at)), (None, Some(Duration::MAX)));
    }
}
