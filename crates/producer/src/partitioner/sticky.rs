//! The uniform sticky partitioner (KIP-480, KIP-794): records without a key stay with one partition until it has been
//! given a batch's worth of bytes, then another is drawn.
//!
//! Sticking fills batches; switching by bytes, whatever became of the batches meanwhile, keeps the partitions evenly
//! loaded even where one broker is slow. As in Java (`partitioner.adaptive.partitioning.enable`), partitions with
//! more batches waiting are drawn less often: each weighs the longest queue plus one, less its own. Partitions without
//! a leader are not drawn while others have one.

use fastrand::Rng;

/// The partition that a topic sticks to.
#[derive(Debug, Default)]
pub(crate) struct StickyPartition {
    current: Option<i32>,
    appended_bytes: usize,
    cumulative: Vec<u64>,
}

impl StickyPartition {
    /// The partition to append to: the current one while it is among `queue_lengths`, or one newly drawn.
    ///
    /// `queue_lengths` are the batches waiting for each partition that may be drawn.
    pub(crate) fn partition<I>(&mut self, rng: &mut Rng, queue_lengths: impl FnOnce() -> I) -> Option<i32>
    where
        I: Iterator<Item = (i32, usize)> + Clone,
    {
        if self.current.is_none() {
            self.current = self.draw(rng, queue_lengths());
            self.appended_bytes = 0;
        }
        self.current
    }

    /// Tells that `bytes` were appended to the current partition. `batch_closed`: its batch took the last record that
    /// fits, so that switching now leaves no half-full batch behind.
    pub(crate) fn appended(&mut self, bytes: usize, batch_closed: bool, batch_size: usize) {
        self.appended_bytes = self.appended_bytes.saturating_add(bytes);
        // A batch that is still filling is given until twice the size: switching away from it would cost a small batch.
        if self.appended_bytes >= batch_size.saturating_mul(2) || (batch_closed && self.appended_bytes >= batch_size) {
            self.current = None;
        }
    }

    /// Whether the current partition has had its share, counting a record that its last batch has no room for: then the
    /// record is better the first of another partition's batch than of a small one here.
    pub(crate) fn is_served(&self, record_bytes: usize, batch_size: usize) -> bool {
        self.appended_bytes.saturating_add(record_bytes) >= batch_size
    }

    /// Has another partition drawn next time: the topic's partitions, or their leaders, have changed.
    pub(crate) fn redraw(&mut self) {
        self.current = None;
    }

    /// Draws by weight: one pass sums up, a binary search finds.
    fn draw(&mut self, rng: &mut Rng, queue_lengths: impl Iterator<Item = (i32, usize)> + Clone) -> Option<i32> {
        let longest = queue_lengths.clone().map(|(_, length)| length).max()?;
        self.cumulative.clear();
        let mut total = 0u64;
        for (_, length) in queue_lengths.clone() {
            total += (longest - length) as u64 + 1;
            self.cumulative.push(total);
        }
        let drawn = rng.u64(0..total);
        let place = self.cumulative.partition_point(|&upper| upper <= drawn);
        queue_lengths.map(|(partition, _)| partition).nth(place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const BATCH: usize = 100;

    fn even(partitions: i32) -> impl Iterator<Item = (i32, usize)> + Clone {
        (0..partitions).map(|partition| (partition, 0))
    }

    #[test]
    fn sticks_to_a_partition_until_a_batch_of_bytes_has_gone_there() {
        let mut sticky = StickyPartition::default();
        let mut rng = Rng::with_seed(1);
        let first = sticky.partition(&mut rng, || even(1000));
        sticky.appended(BATCH - 1, true, BATCH);
        assert_eq!(sticky.partition(&mut rng, || even(1000)), first);
        sticky.appended(1, true, BATCH);
        assert_ne!(sticky.partition(&mut rng, || even(1000)), first);
    }

    #[test]
    fn a_batch_that_is_still_filling_is_given_up_to_twice_the_bytes() {
        let mut sticky = StickyPartition::default();
        let mut rng = Rng::with_seed(1);
        let first = sticky.partition(&mut rng, || even(1000));
        sticky.appended(2 * BATCH - 1, false, BATCH);
        assert_eq!(sticky.partition(&mut rng, || even(1000)), first);
        sticky.appended(1, false, BATCH);
        assert_ne!(sticky.partition(&mut rng, || even(1000)), first);
    }

    #[test]
    fn equal_queues_are_drawn_equally_often() {
        let mut sticky = StickyPartition::default();
        let mut rng = Rng::with_seed(7);
        let mut drawn = BTreeMap::new();
        for _ in 0..8000 {
            let partition = sticky.partition(&mut rng, || even(8)).unwrap();
            *drawn.entry(partition).or_insert(0) += 1;
            sticky.redraw();
        }
        assert_eq!(drawn.len(), 8);
        assert!(drawn.values().all(|count| (850..1150).contains(count)), "{drawn:?}");
    }

    #[test]
    fn a_longer_queue_is_drawn_less_often_by_its_weight() {
        let mut sticky = StickyPartition::default();
        let mut rng = Rng::with_seed(7);
        let queues = [(0, 0), (1, 3), (2, 1)]; // weights 4, 1 and 3
        let mut drawn = [0; 3];
        for _ in 0..8000 {
            drawn[sticky.partition(&mut rng, || queues.into_iter()).unwrap() as usize] += 1;
            sticky.redraw();
        }
        assert!((3800..4200).contains(&drawn[0]), "{drawn:?}");
        assert!((880..1120).contains(&drawn[1]), "{drawn:?}");
        assert!((2800..3200).contains(&drawn[2]), "{drawn:?}");
    }

    #[test]
    fn without_partitions_nothing_is_drawn() {
        assert_eq!(StickyPartition::default().partition(&mut Rng::with_seed(1), || even(0)), None);
    }

    #[test]
    fn the_same_seed_draws_the_same_partitions() {
        let draws = |seed| {
            let (mut sticky, mut rng) = (StickyPartition::default(), Rng::with_seed(seed));
            let mut draw = || {
                sticky.redraw();
                sticky.partition(&mut rng, || even(1000))
            };
            [draw(), draw(), draw()]
        };
        assert_eq!(draws(5), draws(5));
        assert_ne!(draws(5), draws(6));
    }
}
