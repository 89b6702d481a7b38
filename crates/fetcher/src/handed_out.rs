//! How far the application has come with what it was handed.
//!
//! Each batch has a cell that its iterator writes: the offset behind the record handed last, that it has come to its
//! end, or that a record could not be read. The next poll reads them and settles the account. Nothing is locked,
//! counted or allocated for a record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ottla_wire::LeaderEpoch;

/// An offset of a partition up to which the application has come back from what it was handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completed {
    /// The offset of the next record.
    pub offset: i64,
    /// The leader epoch of the last batch before it, where one was read (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Completed {
    /// An offset, and the leader epoch of the batch before it.
    pub fn new(offset: i64, leader_epoch: Option<LeaderEpoch>) -> Self {
        Self { offset, leader_epoch }
    }
}

/// The cells of one poll's batches.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    cells: Box<[AtomicI64]>,
}

/// How far one batch has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The next record to be handed has this offset or a later one.
    Offset(i64),
    /// The iterator has returned `None`.
    End,
    /// The record at this offset could not be read.
    Corrupt(i64),
}

impl Progress {
    pub(crate) fn new(starts: impl Iterator<Item = i64>) -> Self {
        Self { cells: starts.map(AtomicI64::new).collect() }
    }

    /// The cell of a batch, for its iterator.
    pub(crate) fn cell(&self, index: usize) -> Option<&AtomicI64> {
        self.cells.get(index)
    }

    pub(crate) fn reached(&self, index: usize) -> Reached {
        // The cells order nothing but themselves: what is read here was written by the same task, or by one that the
        // application has synchronised with.
        match self.cells.get(index).map_or(END, |cell| cell.load(Ordering::Relaxed)) {
            END => Reached::End,
            offset if offset < 0 => Reached::Corrupt(!offset),
            offset => Reached::Offset(offset),
        }
    }
}

/// Stands in a cell for the end of the batch. Offsets are below it, and a corrupt record's stands as its complement.
pub(crate) const END: i64 = i64::MAX;

/// A stretch of one partition: a batch that was handed out, or what was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) place: usize,
    pub(crate) generation: u64,
    pub(crate) start: i64,
    /// The offset behind it.
    pub(crate) end: i64,
    /// The leader epoch of its batch.
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    /// Its batch, by its cell; `None`: there is nothing in it to hand out.
    pub(crate) cell: Option<usize>,
}

/// What the last poll handed out.
#[derive(Debug, Default)]
pub(crate) struct HandedOut {
    progress: Arc<Progress>,
    /// Those of one partition stand in the order of their offsets.
    stretches: Vec<Stretch>,
}

/// What has become of a partition's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) place: usize,
    pub(crate) generation: u64,
    pub(crate) position: i64,
    /// The leader epoch of the last batch that was gone through, if one was.
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    /// Whether the record there could not be read.
    pub(crate) is_corrupt: bool,
}

/// How far one partition has been come back from.
#[derive(Debug, Default)]
struct Account {
    completed: Option<Completed>,
    /// A stretch has not been: what follows does not count.
    is_over: bool,
}

impl Account {
    /// The partition's next stretch.
    fn add(&mut self, stretch: &Stretch, progress: &Progress) {
        if self.is_over {
            return;
        }
        match stretch.cell.map_or(Reached::End, |cell| progress.reached(cell)) {
            Reached::End => self.completed = Some(Completed::new(stretch.end, stretch.leader_epoch)),
            Reached::Offset(_) | Reached::Corrupt(_) => {
                self.completed.get_or_insert(Completed::new(stretch.start, None));
                self.is_over = true;
            }
        }
    }
}

impl HandedOut {
    /// A poll hands out. The last one's must have been settled.
    pub(crate) fn begin(&mut self, progress: Arc<Progress>, stretches: Vec<Stretch>) {
        self.progress = progress;
        self.stretches = stretches;
    }

    /// The next poll begins: all has been come back from, up to a record that could not be read.
    pub(crate) fn settle(&mut self) -> Vec<Settled> {
        let mut settled: Vec<Settled> = Vec::new();
        let mut corrupt: Vec<usize> = Vec::new();
        for Stretch { place, generation, end, cell, leader_epoch, .. } in self.stretches.drain(..) {
            if corrupt.contains(&place) {
                continue; // what comes behind a record that could not be read will be handed out again
            }
            let reached = cell.map_or(Reached::End, |cell| self.progress.reached(cell));
            let (position, is_corrupt) = match reached {
                Reached::Corrupt(offset) => (offset, true),
                Reached::End | Reached::Offset(_) => (end, false),
            };
            if is_corrupt {
                corrupt.push(place);
            }
            let leader_epoch = leader_epoch.filter(|_| !is_corrupt);
            match settled.last_mut().filter(|last| last.place == place && last.generation == generation) {
                Some(last) => {
                    (last.position, last.is_corrupt) = (position, is_corrupt);
                    last.leader_epoch = leader_epoch.or(last.leader_epoch);
                }
                None => settled.push(Settled { place, generation, position, leader_epoch, is_corrupt }),
            }
        }
        self.progress = Arc::default();
        settled
    }

    /// The offset of the next record that the application will see, where it has been handed some of the partition.
    pub(crate) fn position(&self, place: usize, generation: u64) -> Option<i64> {
        let mut position = None;
        for stretch in self.of(place, generation) {
            match stretch.cell.map_or(Reached::End, |cell| self.progress.reached(cell)) {
                Reached::End => position = Some(stretch.end),
                Reached::Offset(offset) | Reached::Corrupt(offset) => return Some(offset),
            }
        }
        position
    }

    /// The offset up to which all batches have been come back from, where the application has been handed some.
    pub(crate) fn completed(&self, place: usize, generation: u64) -> Option<Completed> {
        let mut account = Account::default();
        for stretch in self.of(place, generation) {
            account.add(stretch, &self.progress);
        }
        account.completed
    }

    /// The same of all partitions, by place and generation, in one go through what was handed out.
    pub(crate) fn all_completed(&self) -> BTreeMap<(usize, u64), Completed> {
        let mut accounts: BTreeMap<(usize, u64), Account> = BTreeMap::new();
        for stretch in &self.stretches {
            accounts.entry((stretch.place, stretch.generation)).or_default().add(stretch, &self.progress);
        }
        accounts.into_iter().filter_map(|(course, account)| Some((course, account.completed?))).collect()
    }

    fn of(&self, place: usize, generation: u64) -> impl Iterator<Item = &Stretch> {
        let mine = move |stretch: &&Stretch| stretch.place == place && stretch.generation == generation;
        self.stretches.iter().filter(mine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(start: i64, end: i64, cell: Option<usize>) -> Stretch {
        Stretch { place: 3, generation: 1, start, end, leader_epoch: Some(LeaderEpoch(7)), cell }
    }

    fn completed(handed_out: &HandedOut) -> Option<i64> {
        handed_out.completed(3, 1).map(|completed| completed.offset)
    }

    fn handed_out() -> (HandedOut, Arc<Progress>) {
        let progress = Arc::new(Progress::new([10, 30].into_iter()));
        let mut handed_out = HandedOut::default();
        let stretches = vec![stretch(10, 20, Some(0)), stretch(20, 30, None), stretch(30, 40, Some(1))];
        handed_out.begin(Arc::clone(&progress), stretches);
        (handed_out, progress)
    }

    #[test]
    fn leaving_a_batch_early_keeps_the_position_behind_the_last_record() {
        let (mut handed_out, progress) = handed_out();
        assert_eq!((handed_out.position(3, 1), completed(&handed_out)), (Some(10), Some(10)));
        progress.cell(0).unwrap().store(14, Ordering::Relaxed);
        assert_eq!((handed_out.position(3, 1), completed(&handed_out)), (Some(14), Some(10)));
        progress.cell(0).unwrap().store(END, Ordering::Relaxed);
        assert_eq!((handed_out.position(3, 1), completed(&handed_out)), (Some(30), Some(30)));
        let leader_epoch = Some(LeaderEpoch(7));
        assert_eq!(handed_out.completed(3, 1), Some(Completed { offset: 30, leader_epoch }));
        let settled = Settled { place: 3, generation: 1, position: 40, leader_epoch, is_corrupt: false };
        assert_eq!(handed_out.settle(), [settled]);
        assert_eq!(handed_out.position(3, 1), None);
    }

    #[test]
    fn a_batch_that_is_read_out_of_turn_counts_when_those_before_it_have_been() {
        let (handed_out, progress) = handed_out();
        progress.cell(1).unwrap().store(END, Ordering::Relaxed);
        assert_eq!((handed_out.position(3, 1), completed(&handed_out)), (Some(10), Some(10)));
        progress.cell(0).unwrap().store(END, Ordering::Relaxed);
        assert_eq!((handed_out.position(3, 1), completed(&handed_out)), (Some(40), Some(40)));
    }

    #[test]
    fn all_partitions_are_accounted_for_as_each_is() {
        let progress = Arc::new(Progress::new([10, 30, 0, 7].into_iter()));
        let mut handed_out = HandedOut::default();
        let of = |place, generation, start, end, cell| Stretch { place, generation, ..stretch(start, end, cell) };
        handed_out.begin(
            Arc::clone(&progress),
            vec![
                of(3, 1, 10, 20, Some(0)),
                of(4, 9, 0, 5, Some(2)),
                of(3, 1, 30, 40, Some(1)),
                of(5, 2, 0, 7, None),
                of(5, 2, 7, 9, Some(3)),
            ],
        );
        for cell in [None, Some(1), Some(2), Some(0), Some(3)] {
            if let Some(cell) = cell.and_then(|cell| progress.cell(cell)) {
                cell.store(END, Ordering::Relaxed);
            }
            let all = handed_out.all_completed();
            for (place, generation) in [(3, 1), (4, 9), (5, 2), (5, 1)] {
                assert_eq!(all.get(&(place, generation)).copied(), handed_out.completed(place, generation));
            }
        }
    }

    #[test]
    fn the_position_stays_at_a_record_that_cannot_be_read() {
        let (mut handed_out, progress) = handed_out();
        progress.cell(0).unwrap().store(!12, Ordering::Relaxed);
        progress.cell(1).unwrap().store(END, Ordering::Relaxed);
        assert_eq!((handed_out.position(3, 1), completed(&handed_out)), (Some(12), Some(10)));
        let settled = Settled { place: 3, generation: 1, position: 12, leader_epoch: None, is_corrupt: true };
        assert_eq!(handed_out.settle(), [settled]);
    }

    #[test]
    fn another_generation_has_no_part_in_it() {
        let (handed_out, _) = handed_out();
        assert_eq!(handed_out.position(3, 2), None);
        assert_eq!(handed_out.position(4, 1), None);
    }
}
