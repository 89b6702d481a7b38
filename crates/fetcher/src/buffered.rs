//! What has come and has not been handed out: records as they were received, and failures in their place among them.
//!
//! One queue in the order of arrival, so that the oldest answer's memory is the first to be free again; what belongs to
//! a paused partition stands aside, in its own order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::Error;
use crate::aborted::AbortedTransactions;
use crate::buffer_pool::WaitingAnswer;

/// See the [module](self). Bounded by the memory of the answers: each entry but a failure holds some, and a partition
/// or broker has at most one failure.
#[derive(Debug, Default)]
pub(crate) struct Buffered {
    queue: VecDeque<Entry>,
    paused: BTreeMap<usize, VecDeque<Entry>>,
    dropped: Dropped,
}

/// Bytes of records that were dropped instead of being handed out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dropped {
    /// After a seek or a revocation.
    pub(crate) unwanted: u64,
    /// To be fetched again.
    pub(crate) given_up: u64,
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
    /// Of the answer that it came in.
    pub(crate) waiting: Option<Arc<WaitingAnswer>>,
}

impl Answered {
    /// Tells answers apart that have a buffer of the pool.
    fn buffer(&self) -> Option<*const WaitingAnswer> {
        self.waiting.as_ref().filter(|waiting| waiting.has_buffer()).map(Arc::as_ptr)
    }
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

    fn record_bytes(&self) -> usize {
        match self {
            Self::Answered(answered) => answered.records.len(),
            Self::Failed { .. } | Self::BrokerFailed { .. } => 0,
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

    /// What has been dropped since the beginning.
    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// What was taken from the queue, and is dropped instead of being handed out or put back.
    pub(crate) fn drop_unwanted(&mut self, bytes: usize) {
        self.dropped.unwanted += bytes as u64;
    }

    /// The same of what is fetched again.
    pub(crate) fn drop_given_up(&mut self, bytes: usize) {
        self.dropped.given_up += bytes as u64;
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

    /// Drops what belongs to a partition: it is not wanted any more.
    pub(crate) fn discard(&mut self, place: usize) {
        self.discard_all(&BTreeSet::from([place]));
    }

    fn discard_all(&mut self, places: &BTreeSet<usize>) {
        let bytes = self.remove(places);
        self.drop_unwanted(bytes);
    }

    /// The same of what is fetched again.
    pub(crate) fn give_up(&mut self, place: usize) {
        let bytes = self.remove(&BTreeSet::from([place]));
        self.drop_given_up(bytes);
    }

    fn remove(&mut self, places: &BTreeSet<usize>) -> usize {
        let mut bytes = 0;
        self.queue.retain(|entry| {
            let stays = entry.place().is_none_or(|place| !places.contains(&place));
            if !stays {
                bytes += entry.record_bytes();
            }
            stays
        });
        for place in places {
            let aside = self.paused.get_mut(place).map(|aside| aside.drain(..));
            bytes += aside.into_iter().flatten().map(|entry| entry.record_bytes()).sum::<usize>();
        }
        bytes
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
                let bytes = aside.drain(..).map(|entry| entry.record_bytes()).sum::<usize>();
                self.dropped.given_up += bytes as u64;
            }
        }
        given_up
    }

    /// Drops all records but those of the answer that the first entry came in, and of each partition what has come behind what
    /// was dropped. Gives the place, the generation and the first offset of each that had some.
    pub(crate) fn give_up_all_but_first(&mut self) -> Vec<(usize, u64, i64)> {
        let mut given_up: BTreeMap<usize, (u64, i64)> = BTreeMap::new();
        for (place, generation, position) in self.give_up_paused() {
            given_up.insert(place, (generation, position));
        }
        let first = match self.queue.front() {
            Some(Entry::Answered(answered)) => answered.buffer(),
            _ => None,
        };
        let (mut bytes, mut is_first) = (0, true);
        self.queue.retain(|entry| {
            let is_of_first = std::mem::replace(&mut is_first, false);
            match entry {
                Entry::Answered(answered) => {
                    // Little is gained by dropping what has no buffer of the pool, and it would come again at once.
                    let buffer = answered.buffer();
                    let shares = buffer.is_none() || buffer == first;
                    let stays = (is_of_first || shares) && !given_up.contains_key(&answered.place);
                    if !stays {
                        given_up.entry(answered.place).or_insert((answered.generation, answered.position));
                        bytes += answered.records.len();
                    }
                    stays
                }
                Entry::Failed { place, .. } => !given_up.contains_key(place),
                Entry::BrokerFailed { .. } => true,
            }
        });
        self.drop_given_up(bytes);
        given_up.into_iter().map(|(place, (generation, position))| (place, generation, position)).collect()
    }

    /// Partitions are no longer assigned.
    pub(crate) fn forget(&mut self, places: &BTreeSet<usize>) {
        self.discard_all(places);
        self.paused.retain(|place, _| !places.contains(place));
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
            waiting: None,
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
