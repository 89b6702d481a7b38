//! How much is worth asking a broker for at once.
//!
//! A small answer is used while it is still in a CPU's cache, and its memory serves the next one at once: reading in
//! answers of a few MiB costs a fifth less, in all, than in answers of 16 MiB (`benches/README.md`). But each answer costs
//! the way to the broker and back, and should come for longer than that took. So from a broker near by 2 MiB
//! are asked for, and from one far away as much as memory allows.
//!
//! The way takes no longer than the broker took to answer when the connection was opened, nor than any answer is waited for. How fast
//! answers come is seen on those that are about as large as was asked for, as others may have waited at the broker for records. Of the
//! last few of these the shortest way and the greatest rate count: whatever else a task or a broker has to do worsens
//! either, and nothing betters them.

use std::time::Duration;

/// What is known of the way to one broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct FetchSize {
    recent: [Option<Arrival>; RECENT],
    next: usize,
}

/// How one answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// No less than what the way to the broker and back takes.
    pub(crate) way: Duration,
    /// From its first bytes to its last.
    pub(crate) transfer: Duration,
    pub(crate) bytes: usize,
}

impl FetchSize {
    /// An answer has come to a request for `max_bytes`.
    pub(crate) fn observe(&mut self, arrival: Arrival, max_bytes: usize) {
        if arrival.bytes < max_bytes / 2 {
            return;
        }
        if let Some(oldest) = self.recent.get_mut(self.next) {
            *oldest = Some(arrival);
        }
        self.next = (self.next + 1) % RECENT;
    }

    /// How many bytes are worth asking for, if there is memory for them.
    pub(crate) fn worthwhile_bytes(&self) -> usize {
        let recent = || self.recent.iter().flatten();
        let way = recent().map(|arrival| arrival.way).min().unwrap_or_default().saturating_sub(BROKERS_OWN);
        let rates = recent().map(Arrival::bytes_per_second);
        let bytes = WAYS_WORTH * way.as_secs_f64() * rates.fold(0.0, f64::max);
        // A float that is too large becomes the largest integer.
        (bytes as usize).max(LEAST_BYTES)
    }
}

impl Arrival {
    fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.transfer.max(Duration::from_nanos(1)).as_secs_f64()
    }
}

/// How many answers are remembered.
const RECENT: usize = 8;
/// For how many times as long as the way takes an answer should come.
const WAYS_WORTH: f64 = 4.0;
/// What a broker takes itself to answer anything, about.
const BROKERS_OWN: Duration = Duration::from_millis(1);
/// Below this, what a request costs in itself begins to show.
const LEAST_BYTES: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn arrival(way_us: u64, transfer_us: u64, bytes: usize) -> Arrival {
        Arrival { way: Duration::from_micros(way_us), transfer: Duration::from_micros(transfer_us), bytes }
    }

    fn after(arrivals: &[Arrival]) -> usize {
        let mut size = FetchSize::default();
        for arrival in arrivals {
            size.observe(*arrival, arrival.bytes);
        }
        size.worthwhile_bytes()
    }

    #[test]
    fn a_few_mib_are_asked_for_before_anything_is_known_and_of_a_broker_near_by() {
        assert_eq!(after(&[]), 2 * MIB);
        assert_eq!(after(&[arrival(100, 1000, 2 * MIB)]), 2 * MIB);
        assert_eq!(after(&[arrival(1000, 500, 2 * MIB)]), 2 * MIB, "as long as a broker takes itself");
    }

    #[test]
    fn an_answer_should_come_for_four_times_as_long_as_the_way_takes() {
        let expected = 4 * 20 * MIB; // 20 ms at 1 MiB a millisecond
        assert!(after(&[arrival(21_000, 2_000, 2 * MIB)]).abs_diff(expected) <= 1);
    }

    #[test]
    fn a_task_that_was_busy_once_is_not_taken_for_a_long_way() {
        let near = arrival(100, 1000, 2 * MIB);
        assert_eq!(after(&[near, arrival(50_000, 1000, 2 * MIB), near]), 2 * MIB);
        assert_eq!(after(&[near, arrival(100, 50_000, 2 * MIB)]), 2 * MIB);
    }

    #[test]
    fn a_way_that_has_become_longer_is_learnt_after_a_few_answers() {
        let mut arrivals = vec![arrival(100, 1000, 2 * MIB); 20];
        arrivals.extend([arrival(20_000, 1000, 2 * MIB); RECENT - 1]);
        assert_eq!(after(&arrivals), 2 * MIB);
        arrivals.push(arrival(20_000, 1000, 2 * MIB));
        assert!(after(&arrivals) > 100 * MIB);
    }

    #[test]
    fn an_answer_that_may_have_waited_for_records_tells_nothing() {
        let mut size = FetchSize::default();
        size.observe(arrival(400_000, 10, MIB - 1), 2 * MIB);
        assert_eq!(size.worthwhile_bytes(), 2 * MIB);
    }

    #[test]
    fn no_time_at_all_is_no_trouble() {
        assert_eq!(after(&[arrival(0, 0, MIB)]), 2 * MIB);
        assert!(after(&[arrival(u64::MAX, 0, usize::MAX)]) >= 2 * MIB);
    }
}
