//! How much the next Fetch may ask for.
//!
//! The most that is asked for at once is what is [worth it](crate::fetch_size), and `fetch_max_bytes`. What there is of memory has two
//! halves for each broker: one share in flight, one buffered, so that the next answer is on its way
//! while the last one is used. What the application holds of earlier answers is not there to be shared: the rest has two
//! halves then. So whoever holds one record of a large answer makes the next ones smaller, and does not stop them. The
//! memory for what a Fetch asks for is set aside until its answer has come; an idle broker's share does not lessen
//! another's. Memory itself is counted by the [pool](crate::buffer_pool), which is what keeps the
//! bound when a broker sends more than it was asked for.
//!
//! Invariant: an answer as large as was asked for gets its buffer at once. So a grant is reckoned in memory, as the
//! pool will take it: what surrounds the records of an answer, and what its buffer is rounded up by, are part of it. If
//! they came on top, an answer could have to wait for memory of which there is plenty, and, where the application
//! holds some, for ever.

use crate::buffer_pool::{longest_within, rounded};

/// Decides on sizes. All in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// `fetch_buffer_max_bytes`.
    capacity: usize,
    /// `fetch_max_bytes`.
    fetch_max: usize,
    /// Memory that unanswered fetches have been promised.
    promised: usize,
    /// The largest that a poll's batches have decompressed to lately: as much is kept free for the next.
    decompressed: usize,
    /// What is kept free for that in any case.
    least_decompressed: usize,
}

/// What the memory holds when a Fetch is to be sent, and what its answer will have beside records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occasion {
    /// All that is in use, but for what answers are being read into: that is promised still.
    pub(crate) used: usize,
    /// What answers are being read into.
    pub(crate) reading: usize,
    /// Of what is in use, what was handed out.
    pub(crate) held: usize,
    /// How many brokers share the bound.
    pub(crate) brokers: usize,
    /// What the answer has beside records.
    pub(crate) header_bytes: usize,
    /// More records than that are not worth asking this broker for at once.
    pub(crate) worthwhile_bytes: usize,
}

/// What a Fetch may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Of records: its `max_bytes`.
    pub(crate) max_bytes: usize,
    /// The memory that is set aside for its answer.
    memory: usize,
}

impl Budget {
    pub(crate) fn new(capacity: usize, fetch_max: usize) -> Self {
        Self { capacity, fetch_max, promised: 0, decompressed: 0, least_decompressed: 0 }
    }

    /// Keeps room for polls of about `max_poll_bytes` from the start, before it is known what batches decompress to.
    pub(crate) fn for_polls_of(self, max_poll_bytes: usize) -> Self {
        Self { least_decompressed: max_poll_bytes.saturating_mul(2).min(self.capacity / 16), ..self }
    }

    /// How much a Fetch may ask for; `None`: wait until memory is given back. What is granted is promised until
    /// [`answered`](Self::answered).
    pub(crate) fn grant(&mut self, on: Occasion) -> Option<Grant> {
        let share = self.share(on);
        // An answer may be larger than it was to be.
        let promised = self.promised.max(on.reading);
        let free = self.for_fetches().saturating_sub(on.used).saturating_sub(promised);
        let mut memory = share.min(free);
        if memory < self.least().min(share) {
            if on.used > 0 || promised > 0 {
                return None;
            }
            memory = share;
        }
        Some(self.promise(memory, on))
    }

    /// How much the Fetch for partitions that cannot wait may ask for. It goes beyond what is promised to fetches that
    /// are parked at their broker, because they mostly come back empty; the pool keeps the bound if they do not.
    pub(crate) fn grant_aside(&mut self, on: Occasion) -> Option<Grant> {
        let in_use = on.used.saturating_add(on.reading);
        let free = self.for_fetches().saturating_sub(in_use);
        let memory = self.share(on).min(self.least());
        if free < memory && in_use > 0 {
            return None;
        }
        Some(self.promise(memory, on))
    }

    fn promise(&mut self, memory: usize, on: Occasion) -> Grant {
        self.promised += memory;
        // Less than the smallest buffer is no buffer's.
        let length = Some(longest_within(memory)).filter(|length| *length > 0).unwrap_or(memory);
        // Where there is little memory for many partitions, half of it is for records all the same.
        let records = length.saturating_sub(on.header_bytes).max(length / 2);
        Grant { max_bytes: records.clamp(1, self.most_records(on)), memory }
    }

    /// The Fetch that had been granted `grant` was answered, or failed.
    pub(crate) fn answered(&mut self, grant: Grant) {
        self.promised = self.promised.saturating_sub(grant.memory);
    }

    /// A poll's batches took `bytes` of memory beyond the answer that they came in.
    pub(crate) fn decompressed(&mut self, bytes: usize) {
        // Falls slowly, so that one large batch is not remembered for ever, and is not a surprise again after some small ones.
        self.decompressed = bytes.max(self.decompressed - self.decompressed / 32);
    }

    /// Whether `held` bytes, which no fetch will give back, leave nothing to ask for.
    pub(crate) fn is_exhausted(&self, held: usize) -> bool {
        held > 0 && self.for_fetches().saturating_sub(held) < self.least()
    }

    /// Whether `used` bytes and what is promised leave nothing to ask for.
    pub(crate) fn refuses(&self, used: usize) -> bool {
        self.is_exhausted(used.saturating_add(self.promised))
    }

    /// The memory for a broker's answers, each.
    fn share(&self, on: Occasion) -> usize {
        let half = |bytes: usize| bytes / on.brokers.max(1) / 2;
        let (whole, rest) = (self.for_fetches(), self.for_fetches().saturating_sub(on.held));
        let most = rounded(self.most_records(on).saturating_add(on.header_bytes));
        half(rest).max(half(whole).min(self.least())).clamp(1, most)
    }

    fn most_records(&self, on: Occasion) -> usize {
        self.fetch_max.min(on.worthwhile_bytes).max(1)
    }

    fn for_fetches(&self) -> usize {
        self.capacity - self.decompressed.max(self.least_decompressed).min(self.capacity / 2)
    }

    /// Asking for less is not worth a request.
    fn least(&self) -> usize {
        LEAST_WORTHWHILE_BYTES.min(self.capacity / 16).max(1)
    }
}

const LEAST_WORTHWHILE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// About what 16 partitions take.
    const HEADERS: usize = 1600;
    /// What the pool takes beside an answer.
    const PAGE: usize = 4096;

    fn on(used: usize, held: usize, brokers: usize) -> Occasion {
        Occasion { used, reading: 0, held, brokers, header_bytes: HEADERS, worthwhile_bytes: usize::MAX }
    }

    /// The memory that the pool takes for the largest answer to what is granted.
    fn granted(budget: &mut Budget, on: Occasion) -> Option<(Grant, usize)> {
        let grant = budget.grant(on)?;
        Some((grant, rounded(grant.max_bytes + HEADERS)))
    }

    fn buffer(budget: &mut Budget, on: Occasion) -> Option<usize> {
        granted(budget, on).map(|(_, memory)| memory)
    }

    #[test]
    fn one_broker_has_half_the_bound_in_flight_and_half_buffered() {
        let mut budget = Budget::new(32 * MIB, 50 * MIB);
        for (used, expected) in [(0, 16 * MIB), (12 * MIB, 16 * MIB), (28 * MIB, 4 * MIB)] {
            let (grant, memory) = granted(&mut budget, on(used, 0, 1)).unwrap();
            assert_eq!((memory, grant.max_bytes), (expected, expected - HEADERS - PAGE));
            budget.answered(grant);
        }
        assert_eq!(buffer(&mut budget, on(31 * MIB + 1, 0, 1)), None);
    }

    #[test]
    fn what_is_asked_for_fits_into_what_is_free_whatever_is_held() {
        for brokers in 1..=7 {
            for held in (0..32 * MIB).step_by(MIB / 5) {
                let mut budget = Budget::new(32 * MIB, 50 * MIB);
                let mut used = held;
                // All brokers answer in full, one after the other, while nothing is given back.
                let buffers: Vec<_> =
                    std::iter::from_fn(|| buffer(&mut budget, on(used, held, brokers))).take(brokers).collect();
                used += buffers.iter().sum::<usize>();
                assert!(used <= 32 * MIB, "{brokers} brokers, {held} bytes held, {buffers:?}");
                let free = 32 * MIB - held;
                assert!(buffers.len() == brokers || free - buffers.iter().sum::<usize>() < free / 4 + MIB);
            }
        }
    }

    #[test]
    fn what_is_held_makes_the_next_answers_smaller_so_that_many_can_be_held() {
        let mut budget = Budget::new(32 * MIB, 50 * MIB);
        let (mut held, mut answers) = (0, Vec::new());
        while let Some((grant, memory)) = granted(&mut budget, on(held, held, 1)) {
            budget.answered(grant);
            // While this one is read there is memory for the next.
            let next = buffer(&mut budget.clone(), on(held + memory, held, 1));
            assert!(next.is_some() || answers.len() == 5, "{answers:?}");
            held += memory;
            answers.push(memory / MIB);
        }
        assert_eq!(answers, [16, 8, 4, 2, 1, 1]);
        assert!(budget.is_exhausted(held));
    }

    #[test]
    fn what_is_being_read_is_promised_and_not_counted_twice() {
        let mut budget = Budget::new(32 * MIB, 50 * MIB);
        let (_, memory) = granted(&mut budget, on(0, 0, 1)).unwrap();
        let reading = |bytes| Occasion { reading: bytes, ..on(0, 0, 1) };
        assert_eq!(buffer(&mut budget.clone(), reading(memory)), Some(16 * MIB));
        assert_eq!(buffer(&mut budget.clone(), reading(28 * MIB)), Some(4 * MIB), "it is larger than it was to be");
        assert_eq!(budget.grant_aside(reading(32 * MIB)), None);
    }

    #[test]
    fn headers_that_would_take_all_leave_half_for_records() {
        let mut budget = Budget::new(64 * 1024, 50 * MIB);
        let grant = budget.grant(Occasion { header_bytes: MIB, ..on(0, 0, 1) }).unwrap();
        assert_eq!((grant.max_bytes, grant.memory), ((32 * 1024 - PAGE) / 2, 32 * 1024));
    }

    #[test]
    fn no_more_memory_is_set_aside_than_the_largest_fetch_needs() {
        let mut budget = Budget::new(32 * MIB, MIB);
        let grant = budget.grant(on(0, 0, 1)).unwrap();
        assert_eq!((grant.max_bytes, grant.memory), (MIB, MIB + MIB / 8));
    }

    #[test]
    fn idle_brokers_do_not_lessen_the_share_of_a_busy_one() {
        let mut budget = Budget::new(30 * MIB, 50 * MIB);
        let grants = [(); 3].map(|()| granted(&mut budget, on(0, 0, 3)).unwrap());
        assert_eq!(grants.map(|(_, memory)| memory), [5 * MIB; 3]);
        budget.answered(grants[0].0); // the busy one's; the others stay parked
        let (grant, memory) = granted(&mut budget, on(5 * MIB, 0, 3)).unwrap();
        assert_eq!(memory, 5 * MIB);
        budget.answered(grant);
        assert_eq!(buffer(&mut budget, on(10 * MIB, 0, 3)), Some(5 * MIB));
    }

    #[test]
    fn something_is_always_asked_for_when_nothing_is_held() {
        let mut budget = Budget::new(64 * 1024, 1);
        assert_eq!(budget.grant(on(0, 0, 1000)).unwrap().max_bytes, 1);
    }

    #[test]
    fn what_batches_decompress_to_is_kept_free() {
        let mut budget = Budget::new(32 * MIB, 50 * MIB);
        budget.decompressed(8 * MIB);
        let (grant, memory) = granted(&mut budget, on(0, 0, 1)).unwrap();
        assert_eq!(memory, 12 * MIB);
        budget.answered(grant);
        budget.decompressed(400 * MIB); // never more than half
        assert_eq!(buffer(&mut budget, on(0, 0, 1)), Some(8 * MIB));
    }

    #[test]
    fn a_partition_that_cannot_wait_gets_its_grant_beside_parked_fetches() {
        let mut budget = Budget::new(32 * MIB, 50 * MIB);
        while budget.grant(on(0, 0, 1)).is_some() {}
        assert_eq!(budget.grant_aside(on(0, 0, 1)).unwrap().max_bytes, MIB - HEADERS - PAGE);
        assert_eq!(budget.grant_aside(on(32 * MIB, 0, 1)), None);
    }
}
