//! How many bytes a Fetch asks for of a partition, so that what comes is whole batches.
//!
//! A broker fills a partition's part up to `partition_max_bytes` and the answer up to `max_bytes`, and cuts the last batch
//! wherever that is. What was cut is fetched again: with batches of 128 KiB and Kafka's 1 MiB, an eighth of all. So:
//!
//! - Batches of one partition are mostly of one size, that of full ones. Then a multiple of it is asked for.
//! - Where they are not, about half of one is lost an answer, whatever is asked for. So more is asked for, until what is
//!   lost is a two-hundredth of it ([`LOSS_DIVISOR`]): fewer partitions have more of an answer each, in turn.
//! - A cut batch tells its size by its first bytes, and is what the next answer begins with: no less is asked for.
//! - Where the answer's bound is reached before all is there, it ends with a whole batch, too ([`whole_batches`]).
//!
//! What is asked for changes only when a partition brings records. So it costs nothing in a fetch session (KIP-227), where
//! such a partition is named in any case.

/// What was learnt of a partition's batches. All in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchSizes {
    /// What each takes about, and none more; 0 while they differ.
    each: u32,
    /// The one that comes next, where that is known; otherwise 0.
    next: u32,
    /// What an answer has lately lost at its end, smoothed.
    lost: u32,
}

/// What an answer brought of a partition. All in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Brought {
    /// Whole batches.
    pub(crate) whole: usize,
    /// How many those are.
    pub(crate) batches: usize,
    /// The largest of them.
    pub(crate) largest: usize,
    /// What came of the batch that was cut.
    pub(crate) cut: usize,
    /// How large that is, where it can be told.
    pub(crate) next: Option<usize>,
}

/// The limits of what may be asked for of one partition, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// What is asked for where nothing is lost.
    pub(crate) usual: usize,
    /// The most.
    pub(crate) most: usize,
}

impl BatchSizes {
    /// Takes in what an answer brought.
    pub(crate) fn learn(&mut self, brought: Brought) {
        let Brought { whole, batches, largest, cut, next } = brought;
        let clamp = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let largest = largest.max(next.unwrap_or(0));
        let mean = whole.checked_div(batches).unwrap_or(largest);
        let are_alike = mean.min(next.unwrap_or(mean)) >= largest - largest / 4;
        // What was lost before their size was known will not be any more.
        let is_cured = are_alike && self.each == 0;
        // Slowly forgets one that was a little larger than the others.
        self.each = if are_alike { clamp(largest).max(self.each - self.each / 64) } else { 0 };
        self.next = clamp(next.unwrap_or(0));
        if !is_cured {
            let (before, cut) = (i64::from(self.lost), i64::from(clamp(cut)));
            self.lost = u32::try_from(before + (cut - before) / 4).unwrap_or(0);
        }
    }

    /// How many bytes to ask for.
    pub(crate) fn ask(self, limits: Limits) -> usize {
        let wanted = (self.lost as usize).saturating_mul(LOSS_DIVISOR).clamp(limits.usual, limits.most);
        // A batch that is larger than it may be comes all the same, as the first of an answer.
        let next = (self.next as usize).min(limits.most);
        self.whole_number(wanted).unwrap_or(wanted).max(next)
    }

    /// The most that is no more than `bytes` and a whole number of batches; `None` where that is none, or they differ.
    fn whole_number(self, bytes: usize) -> Option<usize> {
        let number = bytes.checked_div(self.each as usize)?;
        (number > 0).then_some(number * self.each as usize)
    }
}

/// Where an answer of at most `max_bytes` is to end, if a broker fills it from the front with partitions of which so much is
/// asked for each.
pub(crate) fn whole_batches(max_bytes: usize, asked: impl IntoIterator<Item = (BatchSizes, usize)>) -> usize {
    let mut before = 0;
    for (sizes, bytes) in asked {
        let left = max_bytes - before;
        if bytes > left {
            let end = if sizes.each == 0 { max_bytes } else { before + sizes.whole_number(left).unwrap_or(0) };
            // Where it is not worth while, some is lost rather than less asked for.
            return if end > max_bytes / 2 { end } else { max_bytes };
        }
        before += bytes;
    }
    max_bytes
}

/// The part of what is asked for that may be lost.
const LOSS_DIVISOR: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    const KIB: usize = 1024;
    const LIMITS: Limits = Limits { usual: 1024 * KIB, most: 16 * 1024 * KIB };

    /// Fetches a partition's batches as a broker cuts them, and gives the bytes fetched for each that is delivered, once it
    /// has been learnt how.
    fn fetched_per_delivered(limits: Limits, mut size: impl FnMut() -> usize) -> f64 {
        let (mut learnt, mut first) = (BatchSizes::default(), size());
        let (mut fetched, mut delivered) = (0, 0);
        for round in 0..400 {
            let asked = learnt.ask(limits).max(first);
            let mut brought = Brought::default();
            while brought.whole + first <= asked {
                brought.whole += first;
                brought.batches += 1;
                brought.largest = brought.largest.max(first);
                first = size();
            }
            brought.cut = asked - brought.whole;
            brought.next = (brought.cut >= 12).then_some(first);
            learnt.learn(brought);
            if round >= 20 {
                (fetched, delivered) = (fetched + asked, delivered + brought.whole);
            }
        }
        fetched as f64 / delivered as f64
    }

    #[test]
    fn batches_of_one_size_or_nearly_are_fetched_once() {
        for size in [100, 16 * KIB - 7, 128 * KIB + 61, 400 * KIB, 700 * KIB, 3000 * KIB] {
            let ratio = fetched_per_delivered(LIMITS, || size);
            assert!(ratio < 1.000_01, "{size}: {ratio}");
            let mut random = Rng::with_seed(size as u64);
            let ratio = fetched_per_delivered(LIMITS, || size - random.usize(0..=size / 50));
            assert!(ratio < 1.01, "about {size}: {ratio}");
        }
    }

    #[test]
    fn of_batches_of_any_size_less_than_a_hundredth_is_fetched_twice() {
        for seed in 0..20 {
            let mut random = Rng::with_seed(seed);
            let most = KIB << random.usize(1..9);
            let ratio = fetched_per_delivered(LIMITS, || random.usize(70..most));
            assert!(ratio < 1.01, "up to {most}: {ratio}");
        }
    }

    #[test]
    fn a_limit_of_the_applications_own_is_kept_but_for_a_larger_batch() {
        let limits = Limits { usual: 1024 * KIB, most: 1024 * KIB };
        let mut sizes = BatchSizes::default();
        assert_eq!(sizes.ask(limits), 1024 * KIB);
        sizes.learn(Brought { whole: 900 * KIB, batches: 9, largest: 300 * KIB, cut: 124 * KIB, next: None });
        assert_eq!(sizes.ask(limits), 1024 * KIB, "they differ");
        sizes.learn(Brought {
            whole: 900 * KIB,
            batches: 3,
            largest: 300 * KIB,
            cut: 124 * KIB,
            next: Some(300 * KIB),
        });
        assert_eq!(sizes.ask(limits), 900 * KIB);
        let limits = Limits { usual: 100 * KIB, most: 100 * KIB };
        assert_eq!(sizes.ask(limits), 100 * KIB);
    }

    #[test]
    fn a_size_that_a_broker_claims_is_not_believed_beyond_the_limit() {
        let mut sizes = BatchSizes::default();
        sizes.learn(Brought { cut: 100, next: Some(usize::MAX), ..Brought::default() });
        assert_eq!(sizes.ask(LIMITS), LIMITS.most);
    }

    #[test]
    fn an_answer_ends_with_a_whole_batch_of_the_partition_that_it_ends_with() {
        let alike = |each| BatchSizes { each, ..BatchSizes::default() };
        let all = [(alike(30), 90), (alike(40), 80), (alike(7), 70)];
        assert_eq!(whole_batches(1000, all), 1000, "all fits");
        assert_eq!(whole_batches(200, all), 90 + 80 + 28);
        assert_eq!(whole_batches(135, all), 90 + 40);
        assert_eq!(whole_batches(120, all), 90, "there is no room for one of the second");
        assert_eq!(whole_batches(29, all), 29, "for none at all");
        assert_eq!(whole_batches(1, all), 1, "who asks for nothing is answered at once, again and again");
        assert_eq!(whole_batches(150, [(alike(30), 60), (alike(100), 100)]), 150, "it would be less than half");
        assert_eq!(whole_batches(150, [(alike(30), 90), (alike(0), 100)]), 150, "they are not alike");
    }
}
