//! What was handed out piece by piece, and which of it the application has said to be done with.
//!
//! A poll proves that the application has come back from the last one. A stream proves nothing by being asked for more:
//! its reader may work on many records at once. So the pieces that a stream hands out (records, or batches of a
//! partition's stream) stand here until they are marked, in any order, and what may be committed of their partition is what
//! lies before the first that is not.
//!
//! A partition is *tracked* from its first piece on. It stays so until it is forgotten (a seek, a revocation), or,
//! once all its pieces are done, until the next poll.

use std::collections::{BTreeMap, VecDeque};

use ottla_fetcher::Completed;
use ottla_wire::{LeaderEpoch, TopicPartition};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Marks {
    tracked: BTreeMap<TopicPartition, Tracked>,
}

#[derive(Debug)]
struct Tracked {
    /// Up to here everything is done.
    completed: Completed,
    /// What is not, and what is done behind it, in the order of offsets.
    pieces: VecDeque<Piece>,
}

#[derive(Debug)]
struct Piece {
    start: i64,
    end: i64,
    leader_epoch: Option<LeaderEpoch>,
    is_done: bool,
}

impl Marks {
    /// Pieces from `start` on are going to be handed out.
    pub(crate) fn track(&mut self, partition: &TopicPartition, start: i64) {
        if !self.tracked.contains_key(partition) {
            let tracked = Tracked { completed: Completed::new(start, None), pieces: VecDeque::new() };
            self.tracked.insert(partition.clone(), tracked);
        }
    }

    /// A piece is handed out: the offsets from `start` up to before `end`.
    pub(crate) fn hand_out(
        &mut self,
        partition: &TopicPartition,
        start: i64,
        end: i64,
        leader_epoch: Option<LeaderEpoch>,
    ) {
        self.push(partition, Piece { start, end, leader_epoch, is_done: false });
    }

    /// There is nothing to hand out up to before `end`: it is done as soon as all before it is.
    pub(crate) fn pass_over(&mut self, partition: &TopicPartition, end: i64, leader_epoch: Option<LeaderEpoch>) {
        let Some(tracked) = self.tracked.get(partition) else { return };
        let start = tracked.pieces.back().map_or(tracked.completed.offset, |last| last.end);
        if start < end {
            self.push(partition, Piece { start, end, leader_epoch, is_done: true });
        }
    }

    fn push(&mut self, partition: &TopicPartition, piece: Piece) {
        self.track(partition, piece.start);
        let Some(tracked) = self.tracked.get_mut(partition) else { return };
        tracked.pieces.push_back(piece);
        tracked.advance();
    }

    /// The piece that starts there is done. False if there is none, or it was done before.
    pub(crate) fn done(&mut self, partition: &TopicPartition, start: i64) -> bool {
        let Some(tracked) = self.tracked.get_mut(partition) else { return false };
        let Ok(index) = tracked.pieces.binary_search_by_key(&start, |piece| piece.start) else { return false };
        let Some(piece) = tracked.pieces.get_mut(index).filter(|piece| !piece.is_done) else { return false };
        piece.is_done = true;
        tracked.advance();
        true
    }

    /// Up to where everything is done, of a partition that is tracked.
    pub(crate) fn completed(&self, partition: &TopicPartition) -> Option<Completed> {
        self.tracked.get(partition).map(|tracked| tracked.completed)
    }

    /// The application polls: whatever is done needs no tracking any more.
    pub(crate) fn release_done(&mut self) {
        self.tracked.retain(|_, tracked| !tracked.pieces.is_empty());
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
    fn advance(&mut self) {
        while let Some(piece) = self.pieces.front().filter(|piece| piece.is_done) {
            self.completed = Completed::new(piece.end, piece.leader_epoch);
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Option<LeaderEpoch> = Some(LeaderEpoch(3));

    fn partition() -> TopicPartition {
        TopicPartition::new("topic", 0)
    }

    fn marks(offsets: &[i64]) -> Marks {
        let mut marks = Marks::default();
        for offset in offsets {
            marks.hand_out(&partition(), *offset, offset + 1, EPOCH);
        }
        marks
    }

    fn completed(marks: &Marks) -> Option<i64> {
        marks.completed(&partition()).map(|completed| completed.offset)
    }

    #[test]
    fn what_may_be_committed_ends_before_the_first_that_is_not_done() {
        let mut marks = marks(&[5, 6, 7, 8]);
        assert_eq!(completed(&marks), Some(5));
        assert!(marks.done(&partition(), 6) && marks.done(&partition(), 7));
        assert_eq!(completed(&marks), Some(5), "5 is not done yet");
        assert!(marks.done(&partition(), 5));
        assert_eq!(marks.completed(&partition()), Some(Completed::new(8, EPOCH)));
    }

    #[test]
    fn a_mark_counts_once_and_only_for_what_was_handed_out() {
        let mut marks = marks(&[5, 6]);
        assert!(!marks.done(&partition(), 9));
        assert!(!marks.done(&TopicPartition::new("other", 0), 5));
        assert!(marks.done(&partition(), 6));
        assert!(!marks.done(&partition(), 6));
        assert_eq!(completed(&marks), Some(5));
    }

    #[test]
    fn gaps_are_done_with_what_is_before_them() {
        let mut marks = marks(&[5, 9]);
        marks.pass_over(&partition(), 20, EPOCH);
        assert!(marks.done(&partition(), 5));
        assert_eq!(completed(&marks), Some(6));
        assert!(marks.done(&partition(), 9));
        assert_eq!(completed(&marks), Some(20));
    }

    #[test]
    fn a_partition_is_tracked_while_something_is_not_done() {
        let mut marks = marks(&[5]);
        marks.release_done();
        assert_eq!(completed(&marks), Some(5));
        assert!(marks.done(&partition(), 5));
        assert_eq!(completed(&marks), Some(6), "until the next poll");
        marks.release_done();
        assert_eq!(completed(&marks), None);
    }

    #[test]
    fn after_a_seek_the_old_records_marks_change_nothing() {
        let mut marks = marks(&[5, 6]);
        marks.forget(&partition());
        assert!(!marks.done(&partition(), 5));
        assert_eq!(completed(&marks), None);
    }
}
