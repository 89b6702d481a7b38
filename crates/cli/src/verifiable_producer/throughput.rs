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
