//! Exponential back-off with jitter (KIP-580).
//!
//! The n-th delay is `initial × 2^n`, at most `max`, times a factor from 0.8 to 1.2 drawn from a seeded generator, so
//! that clients which failed together do not come back together, and a test with a seed replays.

use std::time::Duration;

use fastrand::Rng;

/// Gives the delays between attempts. Kafka's `retry.backoff.ms` and `retry.backoff.max.ms`.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    random: Rng,
}

impl Backoff {
    /// From `initial` up to `max`, with jitter from `random`.
    pub fn new(initial: Duration, max: Duration, random: Rng) -> Self {
        // Delays are added to clocks: no sum may overflow.
        let longest = Duration::from_hours(24);
        let initial = initial.min(longest);
        Self { initial, max: max.min(longest).max(initial), random }
    }

    /// How long to wait before the attempt after `failures` failed ones, of which there has been at least one: 1 gives
    /// the first delay. With jitter, at most 1.2 times the maximum.
    pub fn next_delay(&mut self, failures: u32) -> Duration {
        // Past 2^20 any sensible maximum has been reached, and the multiplication cannot overflow.
        let doublings = failures.saturating_sub(1).min(20);
        let delay = self.initial.saturating_mul(1 << doublings).min(self.max);
        delay.mul_f64(0.8 + 0.4 * self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(1);

    fn within_jitter(delay: Duration, of: Duration) -> bool {
        of.mul_f64(0.8) <= delay && delay <= of.mul_f64(1.2)
    }

    #[test]
    fn delays_double_up_to_the_maximum_give_or_take_a_fifth() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(INITIAL, MAX, Rng::with_seed(seed));
            for (failures, expected) in [(0, 100), (1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (u32::MAX, 1000)]
            {
                let delay = backoff.next_delay(failures);
                assert!(within_jitter(delay, Duration::from_millis(expected)), "{failures} failures: {delay:?}");
            }
        }
    }

    #[test]
    fn a_seed_replays_and_jitter_differs_between_seeds() {
        let delays = |seed| {
            let mut backoff = Backoff::new(INITIAL, MAX, Rng::with_seed(seed));
            [1, 2, 3].map(|failures| backoff.next_delay(failures))
        };
        assert_eq!(delays(7), delays(7));
        assert_ne!(delays(7), delays(8));
    }

    #[test]
    fn a_maximum_below_the_first_delay_is_the_first_delay() {
        let mut backoff = Backoff::new(MAX, INITIAL, Rng::with_seed(1));
        assert!(within_jitter(backoff.next_delay(9), MAX));
    }

    #[test]
    fn the_longest_durations_do_not_overflow() {
        let century = Duration::from_hours(100 * 365 * 24);
        let mut backoff = Backoff::new(century, century, Rng::with_seed(1));
        assert!(within_jitter(backoff.next_delay(u32::MAX), Duration::from_hours(24)), "at most a day");
    }
}
