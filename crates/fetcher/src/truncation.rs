//! Where a log parted from what was read of it (KIP-101, KIP-279, KIP-320). No I/O.
//!
//! A new leader's log may lack records that were read: after an unclean election, or when a leader's disk forgot them. What tells
//! is the *leader epoch* that stands in each batch: one leader writes in an epoch, so two logs that have records of the same epoch are equal up to where
//! the shorter one of the two ends in it. OffsetForLeaderEpoch asks for that end.
//!
//! [`ReadEpochs`] remembers which epochs were read, and [`judges`](ReadEpochs::judge) an answer:
//!
//! | the leader's newest epoch that is not above the one asked for | the logs |
//! |---|---|
//! | the same, and ends at the position or behind | agree |
//! | the same, and ends before | part at that end |
//! | an older one | part where the epoch asked for began, or before: what was read before that is asked for, down to an epoch that both have |
//! | none | cannot be compared |
//!
//! Java looks at the end alone. Where the leader's older epoch reaches beyond the position, it goes on there and leaves out
//! what that epoch wrote before.
//!
//! The epoch that a position was *given with* (a committed offset's, or that of ListOffsets) is hearsay: it may have written
//! nothing, and then no log knows it. Its end counts as in Java.

use ottla_wire::LeaderEpoch;

use crate::StartAt;

/// The end of what the log still has of what was read: an offset, and the leader epoch of the batch before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DivergingOffset {
    /// The first offset from which on the log is another one.
    pub offset: i64,
    /// The epoch of the leader that wrote what is before it.
    pub leader_epoch: LeaderEpoch,
}

impl DivergingOffset {
    /// A place where logs parted.
    pub fn new(offset: i64, leader_epoch: LeaderEpoch) -> Self {
        Self { offset, leader_epoch }
    }
}

impl From<DivergingOffset> for StartAt {
    /// Reads on where the logs parted.
    fn from(DivergingOffset { offset, leader_epoch }: DivergingOffset) -> Self {
        Self::OffsetAndEpoch { offset, leader_epoch }
    }
}

/// The leader epochs of what has been read of a partition on its present course.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadEpochs {
    /// The epoch of the last batch before the fetch offset.
    latest: Option<EpochStart>,
    /// Those before it, oldest first. Mostly none, which takes no memory.
    older: Vec<EpochStart>,
    /// There was a batch without an epoch: nothing is known of what was before it.
    has_gap: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EpochStart {
    epoch: LeaderEpoch,
    /// The first offset that was read of it.
    offset: i64,
    /// It came with the position, and was not read in a batch.
    is_hearsay: bool,
}

/// What a leader is asked: where does this epoch end?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) epoch: LeaderEpoch,
    /// The offset behind what was read of it.
    pub(crate) end: i64,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The log has all that was read.
    Agrees,
    /// It does not know that epoch; an older one was read, too.
    AskAgain(Question),
    /// It has what was read up to here.
    Parted(DivergingOffset),
    /// It cannot say.
    Unknown,
}

impl ReadEpochs {
    /// A course begins at `offset`, in front of which a batch of `epoch` is said to stand.
    pub(crate) fn starting_at(offset: i64, epoch: Option<LeaderEpoch>) -> Self {
        let latest = epoch.map(|epoch| EpochStart { epoch, offset, is_hearsay: true });
        Self { latest, ..Self::default() }
    }

    /// The epoch of the last batch.
    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.latest.map(|latest| latest.epoch)
    }

    /// A batch was read. One without an epoch ends what can be told.
    pub(crate) fn read(&mut self, epoch: Option<LeaderEpoch>, first_offset: i64) {
        let Some(epoch) = epoch else {
            *self = Self { has_gap: true, ..Self::default() };
            return;
        };
        match self.latest {
            Some(latest) if latest.epoch == epoch && !latest.is_hearsay => return,
            // What was said is confirmed, or out of date.
            Some(latest) if latest.epoch < epoch => {
                if self.older.len() == MOST_KEPT {
                    self.older.remove(0);
                }
                self.older.push(latest);
            }
            Some(_) => self.older.clear(),
            None => {}
        }
        self.latest = Some(EpochStart { epoch, offset: first_offset, is_hearsay: false });
    }

    /// What `other` has read follows.
    pub(crate) fn extend(&mut self, other: Self) {
        if other.has_gap {
            *self = other;
            return;
        }
        for read in other.older.into_iter().chain(other.latest) {
            self.read(Some(read.epoch), read.offset);
        }
    }

    /// It will be read again from `offset` on.
    pub(crate) fn rewind(&mut self, offset: i64) {
        let is_gone = |latest: EpochStart| !latest.is_hearsay && latest.offset >= offset;
        while self.latest.is_some_and(is_gone) {
            self.latest = self.older.pop();
        }
    }

    /// What to ask of a leader before more is read from `fetch_offset` on.
    pub(crate) fn question(&self, fetch_offset: i64) -> Option<Question> {
        Some(Question { epoch: self.latest()?, end: fetch_offset })
    }

    /// What it means that the newest epoch of the leader's log that is not above the one asked for is this one, and ends there.
    pub(crate) fn judge(&self, asked: Question, answer: Option<DivergingOffset>) -> Verdict {
        let Some(answer) = answer else { return Verdict::Unknown };
        let parted = |offset| Verdict::Parted(DivergingOffset { offset, leader_epoch: answer.leader_epoch });
        let newest_first = || self.latest.iter().chain(self.older.iter().rev());
        let is_first = self.latest() == Some(asked.epoch);
        let Some(start) = newest_first().find(|start| start.epoch == asked.epoch) else { return Verdict::Unknown };
        if start.is_hearsay || answer.leader_epoch >= asked.epoch {
            let has_all = answer.offset >= asked.end;
            return if has_all && is_first { Verdict::Agrees } else { parted(answer.offset.min(asked.end)) };
        }
        // Nothing is left of what was read in that epoch.
        let mut end = start.offset.min(asked.end);
        for older in newest_first().filter(|older| older.epoch < asked.epoch) {
            if older.epoch < answer.leader_epoch {
                return Verdict::AskAgain(Question { epoch: older.epoch, end });
            }
            if older.epoch == answer.leader_epoch {
                break;
            }
            if !older.is_hearsay {
                end = older.offset;
            }
        }
        parted(answer.offset.min(end))
    }
}

/// So many changes of leader are remembered; where the logs part before all of them, reading goes on at the oldest.
const MOST_KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Epoch 2 from offset 10 on, 4 from 20 on, 7 from 30 on.
    fn read() -> ReadEpochs {
        let mut read = ReadEpochs::starting_at(10, None);
        for (epoch, offset) in [(2, 10), (2, 15), (4, 20), (7, 30)] {
            read.read(Some(LeaderEpoch(epoch)), offset);
        }
        read
    }

    fn at(epoch: i32, offset: i64) -> DivergingOffset {
        DivergingOffset { offset, leader_epoch: LeaderEpoch(epoch) }
    }

    fn question(epoch: i32, end: i64) -> Question {
        Question { epoch: LeaderEpoch(epoch), end }
    }

    #[test]
    fn the_last_batchs_epoch_is_asked_for() {
        assert_eq!(read().question(40), Some(question(7, 40)));
        assert_eq!(ReadEpochs::starting_at(10, None).question(10), None);
        assert_eq!(ReadEpochs::starting_at(10, Some(LeaderEpoch(1))).question(10), Some(question(1, 10)));
    }

    #[test]
    fn an_epoch_that_ends_at_the_position_or_behind_it_agrees() {
        assert_eq!(read().judge(question(7, 40), Some(at(7, 40))), Verdict::Agrees);
        assert_eq!(read().judge(question(7, 40), Some(at(7, 99))), Verdict::Agrees);
    }

    #[test]
    fn an_epoch_that_ends_before_the_position_parts_there() {
        assert_eq!(read().judge(question(7, 40), Some(at(7, 35))), Verdict::Parted(at(7, 35)));
    }

    #[test]
    fn an_epoch_that_the_leader_does_not_know_is_gone_as_a_whole() {
        // The leader of epoch 4 wrote up to offset 25 there, or 20 to 33 were written by others.
        assert_eq!(read().judge(question(7, 40), Some(at(4, 25))), Verdict::Parted(at(4, 25)));
        assert_eq!(read().judge(question(7, 40), Some(at(4, 99))), Verdict::Parted(at(4, 30)));
    }

    #[test]
    fn an_older_epoch_that_reaches_beyond_the_position_does_not_hide_the_truncation() {
        let first = read().judge(question(7, 40), Some(at(6, 99)));
        assert_eq!(first, Verdict::AskAgain(question(4, 30)), "who wrote in 6 need not have had all of 4");
        assert_eq!(read().judge(question(4, 30), Some(at(4, 22))), Verdict::Parted(at(4, 22)));
        assert_eq!(read().judge(question(4, 30), Some(at(4, 30))), Verdict::Parted(at(4, 30)));
        assert_eq!(read().judge(question(4, 30), Some(at(3, 28))), Verdict::AskAgain(question(2, 20)));
    }

    #[test]
    fn epochs_that_both_lack_are_passed_over() {
        assert_eq!(read().judge(question(7, 40), Some(at(2, 99))), Verdict::Parted(at(2, 20)));
        assert_eq!(read().judge(question(7, 40), Some(at(1, 99))), Verdict::Parted(at(1, 10)));
        assert_eq!(read().judge(question(7, 40), Some(at(1, 5))), Verdict::Parted(at(1, 5)));
    }

    #[test]
    fn an_epoch_that_was_only_told_may_have_written_nothing() {
        let told = ReadEpochs::starting_at(10, Some(LeaderEpoch(5)));
        assert_eq!(told.judge(question(5, 10), Some(at(4, 10))), Verdict::Agrees);
        assert_eq!(told.judge(question(5, 10), Some(at(4, 9))), Verdict::Parted(at(4, 9)));
        let mut read_on = told;
        read_on.read(Some(LeaderEpoch(6)), 10);
        assert_eq!(read_on.judge(question(6, 20), Some(at(4, 15))), Verdict::Parted(at(4, 10)));
    }

    #[test]
    fn a_leader_that_knows_no_such_epoch_cannot_say() {
        assert_eq!(read().judge(question(7, 40), None), Verdict::Unknown);
    }

    #[test]
    fn reading_again_forgets_what_was_read_from_there_on() {
        let mut again = read();
        again.rewind(30);
        assert_eq!(again.question(30), Some(question(4, 30)));
        again.rewind(21);
        assert_eq!(again.latest(), Some(LeaderEpoch(4)));
        again.rewind(10);
        assert_eq!(again.latest(), None);
        let mut told = ReadEpochs::starting_at(10, Some(LeaderEpoch(1)));
        told.read(Some(LeaderEpoch(2)), 10);
        told.rewind(10);
        assert_eq!(told.latest(), Some(LeaderEpoch(1)), "what came with the position stays");
    }

    #[test]
    fn a_batch_without_an_epoch_ends_what_can_be_told() {
        let mut old = read();
        old.read(None, 40);
        assert_eq!(old.latest(), None);
        let mut all = read();
        all.extend(old);
        assert_eq!(all.latest(), None);
    }

    #[test]
    fn an_answers_epochs_follow_those_before_it() {
        let (mut all, mut first, mut second) = (ReadEpochs::default(), ReadEpochs::default(), ReadEpochs::default());
        for (epoch, offset) in [(1, 0), (3, 5)] {
            first.read(Some(LeaderEpoch(epoch)), offset);
        }
        for (epoch, offset) in [(3, 8), (9, 10)] {
            second.read(Some(LeaderEpoch(epoch)), offset);
        }
        all.extend(first);
        all.extend(second);
        assert_eq!(all.judge(question(9, 20), Some(at(3, 50))), Verdict::Parted(at(3, 10)));
        all.rewind(10);
        assert_eq!(all.judge(question(3, 10), Some(at(1, 50))), Verdict::Parted(at(1, 5)));
    }
}
