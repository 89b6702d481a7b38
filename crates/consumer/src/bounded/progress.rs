//! How far a bounded read has come. No I/O.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use ottla_fetcher::{Batch, StartAt};
use ottla_wire::TopicPartition;

use crate::Error;

/// How far a [`BoundedRead`](crate::BoundedRead) has come, as a whole and by partition. Cloning it gives another look at the
/// same read, which another task may have: numbers change as the read goes on.
#[derive(Clone, Debug)]
pub struct ReadProgress {
    shared: Arc<Shared>,
}

/// Written by the read alone, and so no number is ever in doubt; they may be read between two that belong together.
#[derive(Debug)]
struct Shared {
    partitions: BTreeMap<TopicPartition, Cells>,
    records: AtomicU64,
    bytes: AtomicU64,
    offsets: u64,
    offsets_read: AtomicU64,
    unfinished: AtomicUsize,
}

#[derive(Debug)]
struct Cells {
    start: i64,
    end: i64,
    next: AtomicI64,
    records: AtomicU64,
    bytes: AtomicU64,
}

/// How far it has come with one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionProgress {
    /// Where reading began.
    pub start: i64,
    /// The offset that it ends before.
    pub end: i64,
    /// The offset that comes next: all before it has been handed out, or is not there.
    pub next: i64,
    /// How many records were handed out.
    pub records: u64,
    /// How many bytes those take in memory, decompressed. A batch that is cut at either end counts whole.
    pub bytes: u64,
}

impl PartitionProgress {
    /// Whether there is nothing left to read.
    pub fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// How much of it is done, from 0 to 1, by offsets.
    pub fn share_done(&self) -> f64 {
        share(self.next.abs_diff(self.start), self.end.abs_diff(self.start))
    }
}

impl Cells {
    fn new(offsets: &Range<i64>) -> Self {
        let (start, end) = (offsets.start, offsets.end.max(offsets.start));
        Self { start, end, next: AtomicI64::new(start), records: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    fn next(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }

    fn is_done(&self) -> bool {
        self.next() >= self.end
    }

    fn now(&self) -> PartitionProgress {
        let [records, bytes] = [&self.records, &self.bytes].map(|of| of.load(Ordering::Relaxed));
        PartitionProgress { start: self.start, end: self.end, next: self.next(), records, bytes }
    }
}

impl ReadProgress {
    pub(super) fn new(offsets: BTreeMap<TopicPartition, Range<i64>>) -> Self {
        let partitions: BTreeMap<_, _> =
            offsets.into_iter().map(|(partition, offsets)| (partition, Cells::new(&offsets))).collect();
        let offsets = partitions.values().map(|cells| cells.end.abs_diff(cells.start)).sum();
        let unfinished = AtomicUsize::new(partitions.values().filter(|cells| !cells.is_done()).count());
        let [records, bytes, offsets_read] = [(); 3].map(|()| AtomicU64::new(0));
        Self { shared: Arc::new(Shared { partitions, records, bytes, offsets, offsets_read, unfinished }) }
    }

    /// How many records were handed out.
    pub fn records(&self) -> u64 {
        self.shared.records.load(Ordering::Relaxed)
    }

    /// How many bytes those take in memory, decompressed. A batch that is cut at either end counts whole.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// How much of all is done, from 0 to 1, by offsets: where compaction has left gaps, these count, too.
    pub fn share_done(&self) -> f64 {
        share(self.offsets_read(), self.shared.offsets)
    }

    /// Whether there is nothing left to read.
    pub fn is_done(&self) -> bool {
        self.unfinished() == 0
    }

    /// The partitions, those that are done included.
    pub fn partitions(&self) -> impl Iterator<Item = (&TopicPartition, PartitionProgress)> {
        self.shared.partitions.iter().map(|(partition, cells)| (partition, cells.now()))
    }

    /// One of them.
    pub fn partition(&self, partition: &TopicPartition) -> Option<PartitionProgress> {
        self.shared.partitions.get(partition).map(Cells::now)
    }

    pub(super) fn starts(&self) -> impl Iterator<Item = (TopicPartition, StartAt)> {
        let unfinished = self.shared.partitions.iter().filter(|(_, cells)| !cells.is_done());
        unfinished.map(|(partition, cells)| (partition.clone(), StartAt::Offset(cells.next())))
    }

    /// The partitions that are not done.
    pub(super) fn to_be_read(&self) -> impl Iterator<Item = TopicPartition> {
        self.starts().map(|(partition, _)| partition)
    }

    pub(super) fn unfinished(&self) -> usize {
        self.shared.unfinished.load(Ordering::Relaxed)
    }

    pub(super) fn offsets_read(&self) -> u64 {
        self.shared.offsets_read.load(Ordering::Relaxed)
    }

    /// Counts what is wanted of the batch, and gives that, if there is any.
    pub(super) fn take(&self, batch: Batch) -> Option<Batch> {
        let cells = self.shared.partitions.get(batch.topic_partition()).filter(|cells| !cells.is_done())?;
        let batch = batch.ending_before(cells.end);
        self.advance(cells, batch.next_offset());
        let (records, bytes) = (batch.record_count() as u64, batch.size_bytes() as u64);
        if records == 0 {
            return None;
        }
        for (counter, more) in [(&cells.records, records), (&self.shared.records, records)] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
        for (counter, more) in [(&cells.bytes, bytes), (&self.shared.bytes, bytes)] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
        Some(batch)
    }

    /// Of each partition there is nothing before the offset that is said of it.
    pub(super) fn pass_over(&self, nothing_before: impl Fn(&TopicPartition) -> Option<i64>) {
        for (partition, cells) in self.shared.partitions.iter().filter(|(_, cells)| !cells.is_done()) {
            if let Some(offset) = nothing_before(partition) {
                self.advance(cells, offset);
            }
        }
    }

    fn advance(&self, cells: &Cells, to: i64) {
        let from = cells.next();
        let to = to.clamp(from, cells.end);
        cells.next.store(to, Ordering::Relaxed);
        self.shared.offsets_read.fetch_add(to.abs_diff(from), Ordering::Relaxed);
        if from < cells.end && to >= cells.end {
            self.shared.unfinished.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// An error if the log, which ends at `log_end`, no longer reaches up to the end of what is to be read.
    pub(super) fn check_end(&self, partition: &TopicPartition, log_end: i64) -> Result<(), Error> {
        match self.shared.partitions.get(partition) {
            Some(cells) if log_end < cells.end => {
                Err(Error::EndGone { partition: partition.clone(), end: cells.end, log_end })
            }
            _ => Ok(()),
        }
    }
}

fn share(done: u64, all: u64) -> f64 {
    if all == 0 { 1.0 } else { done as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(partition: i32) -> TopicPartition {
        TopicPartition::new("topic", partition)
    }

    #[test]
    fn what_is_empty_is_done_at_once_and_the_rest_when_its_end_is_reached() {
        let backwards = Range { start: 9, end: 3 };
        let ranges = [(partition(0), 5..5), (partition(1), 10..20), (partition(2), backwards)];
        let progress = ReadProgress::new(ranges.into());
        assert_eq!(progress.to_be_read().collect::<Vec<_>>(), [partition(1)]);
        progress.pass_over(|_| Some(4));
        assert_eq!((progress.share_done(), progress.is_done()), (0.0, false));
        progress.pass_over(|_| Some(15));
        assert!((progress.share_done() - 0.5).abs() < 1e-9);
        progress.pass_over(|_| Some(400));
        assert_eq!((progress.share_done(), progress.is_done()), (1.0, true));
        assert_eq!(progress.partition(&partition(1)).unwrap().next, 20);
    }

    #[test]
    fn nothing_at_all_is_done() {
        let progress = ReadProgress::new(BTreeMap::new());
        assert_eq!((progress.share_done(), progress.is_done()), (1.0, true));
    }

    #[test]
    fn a_log_that_ends_before_the_end_is_an_error() {
        let progress = ReadProgress::new([(partition(1), 10..20)].into());
        assert!(progress.check_end(&partition(1), 20).is_ok());
        let error = progress.check_end(&partition(1), 19).unwrap_err();
        assert_eq!(error.to_string(), "the log of topic-1 ends at offset 19, and is to be read up to 20");
    }
}
