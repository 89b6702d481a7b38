//! How much the next Fetch may ask for.
//!
//! The bound has two halves for each broker: one share in flight, one buffered, so that the next answer is on its way
//! while the last one is used. What a Fetch asks for is set aside until its answer has come; an idle broker's share
//! does not lessen another's. Memory itself is counted by the [pool](crate::buffer_pool), which is what keeps the bound
//! when a broker sends more than it was asked for.

/// Decides on sizes. All in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// `fetch_buffer_max_bytes`.
    capacity: usize,
    /// `fetch_max_bytes`.
    fetch_max: usize,
    /// What unanswered fetches have been promised.
    promised: usize,
    /// The largest that a poll's batches have decompressed to lately: as much is kept free for the next.
    decompressed: usize,
}

impl Budget {
    pub(crate) fn new(capacity: usize, fetch_max: usize) -> Self {
        Self { capacity, fetch_max, promised: 0, decompressed: 0 }
    }

    /// How much a Fetch may ask for, while `used` bytes are in memory and `brokers` share the bound; `None`: wait until
    /// memory is given back. What is granted is promised until [`answered`](Self::answered).
    pub(crate) fn grant(&mut self, used: usize, brokers: usize) -> Option<usize> {
        let share = self.share(brokers);
        let free = self.for_fetches().saturating_sub(used).saturating_sub(self.promised);
        let mut grant = share.min(free);
        if grant < self.least().min(share) {
            if used > 0 || self.promised > 0 {
                return None;
            }
            grant = share;
        }
        self.promised += grant;
        Some(grant)
    }

    /// How much the Fetch for partitions that cannot wait may ask for. It goes beyond what is promised to fetches that
    /// are parked at their broker, because they mostly come back empty; the pool keeps the bound if they do not.
    pub(crate) fn grant_aside(&mut self, used: usize, brokers: usize) -> Option<usize> {
        let free = self.for_fetches().saturating_sub(used);
        let grant = self.share(brokers).min(self.least());
        if free < grant && used > 0 {
            return None;
        }
        self.promised += grant;
        Some(grant)
    }

    /// The Fetch that had been granted `grant` was answered, or failed.
    pub(crate) fn answered(&mut self, grant: usize) {
        self.promised = self.promised.saturating_sub(grant);
    }

    /// A poll's batches took `bytes` of memory beyond the answer that they came in.
    pub(crate) fn decompressed(&mut self, bytes: usize) {
        // Falls by an eighth a poll, so that one large batch is not remembered for ever.
        self.decompressed = bytes.max(self.decompressed - self.decompressed / 8);
    }

    /// Whether `held` bytes, which no fetch will give back, leave nothing to ask for.
    pub(crate) fn is_exhausted(&self, held: usize) -> bool {
        held > 0 && self.for_fetches().saturating_sub(held) < self.least()
    }

    fn share(&self, brokers: usize) -> usize {
        (self.for_fetches() / brokers.max(1) / 2).clamp(1, self.fetch_max)
    }

    fn for_fetches(&self) -> usize {
        self.capacity - self.decompressed.min(self.capacity / 2)
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

    #[test]
    fn one_broker_has_half_the_bound_in_flight_and_half_buffered() {
        let mut budget = Budget::new(32 * MIB, 50 * MIB);
        assert_eq!(budget.grant(0, 1), Some(16 * MIB));
        budget.answered(16 * MIB);
        assert_eq!(budget.grant(12 * MIB, 1), Some(16 * MIB));
        budget.answered(16 * MIB);
        assert_eq!(budget.grant(28 * MIB, 1), Some(4 * MIB));
        budget.answered(4 * MIB);
        assert_eq!(budget.grant(31 * MIB + 1, 1), None);
    }

    #[test]
    fn idle_brokers_do_not_lessen_the_share_of_a_busy_one() {
        let mut budget = Budget::new(30 * MIB, 50 * MIB);
        assert_eq!([(); 3].map(|()| budget.grant(0, 3)), [Some(5 * MIB); 3]);
        budget.answered(5 * MIB); // the busy one's; the others stay parked
        assert_eq!(budget.grant(5 * MIB, 3), Some(5 * MIB));
        budget.answered(5 * MIB);
        assert_eq!(budget.grant(10 * MIB, 3), Some(5 * MIB));
    }

    #[test]
    fn something_is_always_asked_for_when_nothing_is_held() {
        let mut budget = Budget::new(64 * 1024, 1);
        assert_eq!(budget.grant(0, 1000), Some(1));
    }

    #[test]
    fn what_batches_decompress_to_is_kept_free() {
        let mut budget = Budget::new(32 * MIB, 50 * MIB);
        budget.decompressed(8 * MIB);
        assert_eq!(budget.grant(0, 1), Some(12 * MIB));
        budget.answered(12 * MIB);
        budget.decompressed(400 * MIB); // never more than half
        assert_eq!(budget.grant(0, 1), Some(8 * MIB));
    }

    #[test]
    fn a_partition_that_cannot_wait_gets_its_grant_beside_parked_fetches() {
        let mut budget = Budget::new(32 * MIB, 50 * MIB);
        while budget.grant(0, 1).is_some() {}
        assert_eq!(budget.grant_aside(0, 1), Some(MIB));
        assert_eq!(budget.grant_aside(32 * MIB, 1), None);
    }
}
