//! What was handed out piece by piece, and which of it the application has said to be done with.
//!
//! A poll proves that the application has come back from the last one. A stream proves nothing by being asked for more:
//! its reader may work on many records at once. So what a stream hands out (records, or batches of a partition's stream)
//! are [`Piece`]s, which are marked in any order; what may be committed of their partition is what lies before the first
//! that is not.
//!
//! A piece begins where the one before it ended, gaps that compaction left included. So the pieces themselves need not be kept:
//! it is enough to know how far they were handed out, and, merged, which stretches are done behind the first that is not. Whoever
//! never marks anything costs nothing.
//!
//! A partition is *tracked* from its first piece on. It stays so until it is forgotten (a seek, a revocation), or,
//! once all is done, until the next poll. What is handed out at an earlier offset than before begins a new course:
//! marks of the old one count no more.

use std::collections::BTreeMap;

use ottla_fetcher::Completed;
use ottla_wire::{LeaderEpoch, TopicPartition};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Marks {
    tracked: BTreeMap<TopicPartition, Tracked>,
    courses: u64,
}

/// A part of what was handed out, to be marked as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    start: i64,
    end: i64,
    leader_epoch: Option<LeaderEpoch>,
    course: u64,
}

#[derive(Debug)]
struct Tracked {
    course: u64,
    /// Up to here everything is done.
    completed: Completed,
    /// Up to here pieces were handed out.
    handed_out: i64,
    /// There is nothing to hand out between the last piece and this offset.
    passed_over: Option<Completed>,
    /// What is done behind the first that is not: where each stretch starts, and where it ends.
    done: BTreeMap<i64, Completed>,
}

impl Marks {
    /// Pieces from `start` on are going to be handed out.
    pub(crate) fn track(&mut self, partition: &TopicPartition, start: i64) {
        let is_on_course = self.tracked.get(partition).is_some_and(|tracked| tracked.handed_out <= start);
        if !is_on_course {
            self.courses += 1;
            let tracked = Tracked {
                course: self.courses,
                completed: Completed::new(start, None),
                handed_out: start,
                passed_over: None,
                done: BTreeMap::new(),
            };
            self.tracked.insert(partition.clone(), tracked);
        }
    }

    /// Hands out the offsets from `start` up to before `end`, and with them what lies between the last piece and `start`.
    pub(crate) fn hand_out(
        &mut self,
        partition: &TopicPartition,
        start: i64,
        end: i64,
        leader_epoch: Option<LeaderEpoch>,
    ) -> Piece {
        self.track(partition, start);
        let Some(tracked) = self.tracked.get_mut(partition) else {
            return Piece { start, end, leader_epoch, course: 0 };
        };
        // A gap is done with what is before it, if that is done already; otherwise with what is after it.
        if let Some(gap) = tracked.passed_over.take()
            && tracked.is_done()
        {
            (tracked.completed, tracked.handed_out) = (gap, gap.offset);
        }
        let start = tracked.handed_out;
        tracked.handed_out = end;
        Piece { start, end, leader_epoch, course: tracked.course }
    }

    /// There is nothing to hand out up to before `end`: it is done as soon as all before it is.
    pub(crate) fn pass_over(&mut self, partition: &TopicPartition, end: i64, leader_epoch: Option<LeaderEpoch>) {
        let Some(tracked) = self.tracked.get_mut(partition) else { return };
        if tracked.handed_out < end {
            tracked.passed_over = Some(Completed::new(end, leader_epoch));
        }
    }

    /// The piece is done. False if that does not count: it is of another course, or was done before.
    pub(crate) fn done(&mut self, partition: &TopicPartition, piece: &Piece) -> bool {
        let tracked = self.tracked.get_mut(partition).filter(|tracked| tracked.course == piece.course);
        tracked.is_some_and(|tracked| tracked.done(piece))
    }

    /// Whether the partition is still read on the course that the piece was handed out on.
    pub(crate) fn is_on_course(&self, partition: &TopicPartition, piece: &Piece) -> bool {
        self.tracked.get(partition).is_some_and(|tracked| tracked.course == piece.course)
    }

    /// Up to where everything is done, of a partition that is tracked.
    pub(crate) fn completed(&self, partition: &TopicPartition) -> Option<Completed> {
        self.tracked.get(partition).map(Tracked::completed)
    }

    /// The application polls: whatever is done needs no tracking any more.
    pub(crate) fn release_done(&mut self) {
        self.tracked.retain(|_, tracked| !tracked.is_done());
    }

    /// What was handed out of the partition no longer counts.
    pub(crate) fn forget(&mut self, partition: &TopicPartition) {
        self.tracked.remove(partition);
    }

    /// The same of all partitions but those.
    pub(crate) fn retain(&mut self, keep: impl Fn(&TopicPartition) -> bool) {
        self.tracked.retain(|partition, _| keep(partition));
    }
}

impl Tracked {
    fn is_done(&self) -> bool {
        self.completed.offset >= self.handed_out
    }

    fn completed(&self) -> Completed {
        self.passed_over.filter(|_| self.is_done()).unwrap_or(self.completed)
    }

    fn done(&mut self, piece: &Piece) -> bool {
        let before = self.done.range(..=piece.start).next_back();
        let was_done = piece.start < self.completed.offset || before.is_some_and(|(_, end)| end.offset > piece.start);
        if was_done {
            return false;
        }
        self.insert(piece.start, Completed::new(piece.end, piece.leader_epoch));
        // The first stretch may now begin where everything before it is done.
        while let Some((start, end)) = self.done.first_key_value().map(|(start, end)| (*start, *end))
            && start <= self.completed.offset
        {
            self.done.remove(&start);
            self.completed = end;
        }
        true
    }

    /// Adds a stretch, as one with those that it touches.
    fn insert(&mut self, mut start: i64, mut end: Completed) {
        if let Some(behind) = self.done.remove(&end.offset) {
            end = behind;
        }
        let before = self.done.range(..start).next_back().map(|(start, end)| (*start, end.offset));
        if let Some((earlier, its_end)) = before
            && its_end == start
        {
            self.done.remove(&earlier);
            start = earlier;
        }
        self.done.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Option<LeaderEpoch> = Some(LeaderEpoch(3));

    fn partition() -> TopicPartition {
        TopicPartition::new("topic", 0)
    }

    fn hand_out(marks: &mut Marks, offsets: &[i64]) -> Vec<Piece> {
        offsets.iter().map(|offset| marks.hand_out(&partition(), *offset, offset + 1, EPOCH)).collect()
    }

    fn completed(marks: &Marks) -> Option<i64> {
        marks.completed(&partition()).map(|completed| completed.offset)
    }

    #[test]
    fn what_may_be_committed_ends_before_the_first_that_is_not_done() {
        let mut marks = Marks::default();
        let pieces = hand_out(&mut marks, &[5, 6, 7, 8]);
        assert_eq!(completed(&marks), Some(5));
        assert!(marks.done(&partition(), &pieces[1]) && marks.done(&partition(), &pieces[2]));
        assert_eq!(completed(&marks), Some(5), "5 is not done yet");
        assert!(marks.done(&partition(), &pieces[0]));
        assert_eq!(marks.completed(&partition()), Some(Completed::new(8, EPOCH)));
    }

    #[test]
    fn a_mark_counts_once_and_only_for_what_was_handed_out() {
        let mut marks = Marks::default();
        let pieces = hand_out(&mut marks, &[5, 6]);
        assert!(!marks.done(&TopicPartition::new("other", 0), &pieces[0]));
        assert!(marks.done(&partition(), &pieces[1]));
        assert!(!marks.done(&partition(), &pieces[1]));
        assert!(marks.done(&partition(), &pieces[0]));
        assert!(!marks.done(&partition(), &pieces[0]));
        assert_eq!(completed(&marks), Some(7));
    }

    #[test]
    fn gaps_are_done_with_what_is_after_them_and_at_the_end_with_what_is_before() {
        let mut marks = Marks::default();
        marks.track(&partition(), 3);
        let pieces = hand_out(&mut marks, &[5, 9]);
        marks.pass_over(&partition(), 20, EPOCH);
        assert_eq!(completed(&marks), Some(3));
        assert!(marks.done(&partition(), &pieces[0]));
        assert_eq!(completed(&marks), Some(6));
        assert!(marks.done(&partition(), &pieces[1]));
        assert_eq!(completed(&marks), Some(20));
        let next = hand_out(&mut marks, &[22]);
        assert_eq!(completed(&marks), Some(20), "it never goes back");
        assert!(marks.done(&partition(), &next[0]));
        assert_eq!(completed(&marks), Some(23));
    }

    #[test]
    fn a_partition_is_tracked_while_something_is_not_done() {
        let mut marks = Marks::default();
        let pieces = hand_out(&mut marks, &[5]);
        marks.release_done();
        assert_eq!(completed(&marks), Some(5));
        assert!(marks.done(&partition(), &pieces[0]));
        assert_eq!(completed(&marks), Some(6), "until the next poll");
        marks.release_done();
        assert_eq!(completed(&marks), None);
    }

    #[test]
    fn after_a_seek_the_old_records_marks_change_nothing() {
        let mut marks = Marks::default();
        let old = hand_out(&mut marks, &[5, 6]);
        marks.forget(&partition());
        assert!(!marks.done(&partition(), &old[0]));
        assert_eq!(completed(&marks), None);
        let new = hand_out(&mut marks, &[5]);
        assert!(!marks.done(&partition(), &old[0]) && marks.done(&partition(), &new[0]));
    }

    #[test]
    fn what_is_handed_out_again_from_before_begins_anew() {
        let mut marks = Marks::default();
        let old = hand_out(&mut marks, &[5, 6, 7]);
        assert!(marks.done(&partition(), &old[2]));
        let new = hand_out(&mut marks, &[2, 3]);
        assert_eq!(completed(&marks), Some(2));
        assert!(!marks.done(&partition(), &old[0]));
        assert!(marks.done(&partition(), &new[0]) && marks.done(&partition(), &new[1]));
        assert_eq!(completed(&marks), Some(4));
    }

    /// Against the plain list of pieces, in a random order of marks, with gaps.
    #[test]
    fn any_order_of_marks_comes_to_the_same() {
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut marks = Marks::default();
            let mut offset = 0;
            let mut pieces: Vec<(i64, Piece, bool)> = Vec::new();
            for _ in 0..random.usize(1..40) {
                offset += random.i64(1..4);
                pieces.push((offset, marks.hand_out(&partition(), offset, offset + 1, EPOCH), false));
            }
            let start = pieces[0].0;
            let mut order: Vec<usize> = (0..pieces.len()).collect();
            random.shuffle(&mut order);
            for index in order {
                assert!(marks.done(&partition(), &pieces[index].1));
                pieces[index].2 = true;
                let done = pieces.iter().take_while(|(.., is_done)| *is_done).last();
                assert_eq!(completed(&marks), Some(done.map_or(start, |(offset, ..)| offset + 1)), "seed {seed}");
                let stretches = pieces.windows(2).filter(|pair| pair[0].2 != pair[1].2).count();
                assert!(marks.tracked[&partition()].done.len() <= stretches, "stretches that touch are one");
            }
            assert!(marks.tracked[&partition()].done.is_empty());
        }
    }
}
