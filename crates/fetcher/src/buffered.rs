//! What has come and has not been handed out: records as they were received, and failures in their place among them.
//!
//! One queue in the order of arrival, so that the oldest answer's memory is the first to be free again; what belongs to
//! a paused partition stands aside, in its own order.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::Error;
use crate::aborted::AbortedTransactions;

/// See the [module](self). Bounded by the memory of the answers: each entry but a failure holds some, and a partition
/// or broker has at most one failure.
#[derive(Debug, Default)]
pub(crate) struct Buffered {
    queue: VecDeque<Entry>,
    paused: BTreeMap<usize, VecDeque<Entry>>,
}

/// One partition's part of an answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) place: usize,
    pub(crate) generation: u64,
    /// The first offset that is wanted: the batches may begin before it.
    pub(crate) position: i64,
    pub(crate) records: Bytes,
    pub(crate) high_watermark: i64,
    pub(crate) aborted: AbortedTransactions,
}

/// What went wrong, to be acted on when the application has got so far.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The application is told.
    Tell(Error),
    /// The log does not have the fetch offset: what `auto.offset.reset` says is done.
    OutOfRange,
}

/// One entry of the queue.
#[derive(Debug)]
pub(crate) enum Entry {
    Answered(Answered),
    Failed {
        place: usize,
        generation: u64,
        failure: Failure,
    },
    /// Fetching from a broker failed.
    BrokerFailed {
        node: ottla_wire::NodeId,
        error: Error,
    },
}

impl Entry {
    fn place(&self) -> Option<usize> {
        match self {
            Self::Answered(answered) => Some(answered.place),
            Self::Failed { place, .. } => Some(*place),
            Self::BrokerFailed { .. } => None,
        }
    }
}

impl Buffered {
    /// Whether there is nothing to hand out or tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether there is anything of a partition, be it aside.
    pub(crate) fn has_any_of(&self, place: usize) -> bool {
        let is_its = |entry: &Entry| entry.place() == Some(place);
        self.queue.iter().any(is_its) || self.paused.get(&place).is_some_and(|aside| !aside.is_empty())
    }

    /// Bytes of the records that wait, those of paused partitions included.
    pub(crate) fn bytes(&self) -> usize {
        let entries = self.queue.iter().chain(self.paused.values().flatten());
        let bytes = entries.map(|entry| match entry {
            Entry::Answered(answered) => answered.records.len(),
            Entry::Failed { .. } | Entry::BrokerFailed { .. } => 0,
        });
        bytes.sum()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        let aside = entry.place().and_then(|place| self.paused.get_mut(&place));
        aside.unwrap_or(&mut self.queue).push_back(entry);
    }

    pub(crate) fn push_failure(&mut self, place: usize, generation: u64, failure: Failure) {
        self.push(Entry::Failed { place, generation, failure });
    }

    /// Puts back what was taken and not used, to be the first again.
    pub(crate) fn put_back(&mut self, entry: Entry) {
        let aside = entry.place().and_then(|place| self.paused.get_mut(&place));
        aside.unwrap_or(&mut self.queue).push_front(entry);
    }

    pub(crate) fn front(&self) -> Option<&Entry> {
        self.queue.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Entry> {
        self.queue.pop_front()
    }

    /// Drops what belongs to a partition.
    pub(crate) fn discard(&mut self, place: usize) {
        self.queue.retain(|entry| entry.place() != Some(place));
        if let Some(aside) = self.paused.get_mut(&place) {
            aside.clear();
        }
    }

    /// Puts aside what belongs to a partition, and what will come.
    pub(crate) fn pause(&mut self, place: usize) {
        if self.paused.contains_key(&place) {
            return;
        }
        let (aside, rest) = self.queue.drain(..).partition(|entry| entry.place() == Some(place));
        self.queue = rest;
        self.paused.insert(place, aside);
    }

    /// Puts it in the queue again.
    pub(crate) fn resume(&mut self, place: usize) {
        if let Some(aside) = self.paused.remove(&place) {
            self.queue.extend(aside);
        }
    }

    /// Drops the records of paused partitions, and what has come behind them. Gives the place, the generation and the
    /// first offset of each that had some.
    pub(crate) fn give_up_paused(&mut self) -> Vec<(usize, u64, i64)> {
        let mut given_up = Vec::new();
        for (place, aside) in &mut self.paused {
            let first = aside.iter().find_map(|entry| match entry {
                Entry::Answered(answered) => Some((answered.generation, answered.position)),
                Entry::Failed { .. } | Entry::BrokerFailed { .. } => None,
            });
            if let Some((generation, position)) = first {
                given_up.push((*place, generation, position));
                aside.clear();
            }
        }
        given_up
    }

    /// A partition is no longer assigned.
    pub(crate) fn forget(&mut self, place: usize) {
        self.paused.remove(&place);
        self.discard(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(place: usize, position: i64) -> Entry {
        Entry::Answered(Answered {
            place,
            generation: 1,
            position,
            records: Bytes::new(),
            high_watermark: 0,
            aborted: AbortedTransactions::default(),
        })
    }

    fn drain(buffered: &mut Buffered) -> Vec<(usize, i64)> {
        let mut positions = Vec::new();
        while let Some(entry) = buffered.pop() {
            if let Entry::Answered(answered) = entry {
                positions.push((answered.place, answered.position));
            }
        }
        positions
    }

    #[test]
    fn what_comes_during_a_pause_stands_behind_what_was_there() {
        let mut buffered = Buffered::default();
        buffered.push(answered(0, 1));
        buffered.push(answered(1, 1));
        buffered.pause(0);
        buffered.push(answered(0, 2));
        buffered.push(answered(1, 2));
        let taken = buffered.pop().unwrap();
        buffered.put_back(taken);
        assert_eq!(drain(&mut buffered), [(1, 1), (1, 2)]);
        buffered.resume(0);
        assert_eq!(drain(&mut buffered), [(0, 1), (0, 2)]);
    }

    #[test]
    fn what_is_put_back_of_a_partition_paused_meanwhile_is_its_first() {
        let mut buffered = Buffered::default();
        buffered.push(answered(0, 1));
        buffered.push(answered(0, 2));
        let taken = buffered.pop().unwrap();
        buffered.pause(0);
        buffered.put_back(taken);
        assert!(buffered.is_empty());
        buffered.resume(0);
        assert_eq!(drain(&mut buffered), [(0, 1), (0, 2)]);
    }

    #[test]
    fn discarding_leaves_the_others_and_the_pause() {
        let mut buffered = Buffered::default();
        buffered.push(answered(0, 1));
        buffered.pause(0);
        buffered.push(answered(1, 1));
        buffered.discard(0);
        buffered.push(answered(0, 9));
        assert_eq!(drain(&mut buffered), [(1, 1)]);
        buffered.resume(0);
        assert_eq!(drain(&mut buffered), [(0, 9)]);
    }
}
