//! A poll, step by step: settle the account of the last one, take from the queue, and, when that has been
//! [opened](crate::opener) outside the lock, hand it out.

use std::sync::Arc;
use std::time::Instant;

use ottla_wire::TopicPartition;

use crate::buffered::{Answered, Entry, Failure};
use crate::handed_out::{Progress, Settled};
use crate::opener::{Fault, Opened};
use crate::state::State;
use crate::{Batches, Error};

/// What there is to hand out.
#[derive(Debug)]
pub(crate) enum Taken {
    Nothing,
    /// To be opened, and then given to [`State::hand_out`].
    Entries(Vec<(TopicPartition, Answered)>),
    Failure(Error),
}

impl State {
    /// The application asks for more, and so has come back from what it was handed last.
    pub(crate) fn begin_poll(&mut self, now: Instant) {
        for settled in self.handed_out.settle() {
            if !self.settle(&settled) || !settled.is_corrupt {
                continue;
            }
            if let Some(partition) = self.current(settled.place, settled.generation) {
                // Its iterator has told the application, and will tell it again.
                partition.rewind(settled.position);
                self.is_news = true;
                self.buffered.give_up(settled.place);
                self.retry_later(settled.place, settled.generation, now);
            }
        }
    }

    /// The application has come so far with a partition. That changes nothing of what is fetched: it is not touched.
    fn settle(&mut self, settled: &Settled) -> bool {
        let Some(Some(partition)) = self.partitions.get_mut(settled.place) else { return false };
        if partition.generation != settled.generation {
            return false;
        }
        partition.position = Some(settled.position);
        partition.position_epoch = settled.leader_epoch.or(partition.position_epoch);
        true
    }

    /// Takes about `max_bytes` from the queue; what went wrong in its turn.
    pub(crate) fn take(&mut self, max_bytes: usize) -> Taken {
        self.act_on_truncations();
        self.act_on_recreations();
        let mut entries = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes {
            // A failure is told by itself, when all before it has been handed out.
            if !entries.is_empty() && !matches!(self.buffered.front(), Some(Entry::Answered(_))) {
                break;
            }
            match self.buffered.pop() {
                None => break,
                Some(Entry::Answered(answered)) => {
                    let partition = self.partition(answered.place);
                    if let Some(partition) = partition.filter(|partition| partition.generation == answered.generation) {
                        bytes += answered.records.len();
                        entries.push((partition.name.clone(), answered));
                    } else {
                        self.buffered.drop_unwanted(answered.records.len());
                    }
                }
                Some(Entry::BrokerFailed { node, error }) => {
                    if let Some(broker) = self.brokers.get_mut(&node) {
                        broker.untold = false;
                    }
                    return Taken::Failure(error);
                }
                Some(Entry::Failed { place, generation, failure }) => {
                    if let Some(error) = self.act_on(place, generation, failure) {
                        return Taken::Failure(error);
                    }
                }
            }
        }
        if entries.is_empty() { Taken::Nothing } else { Taken::Entries(entries) }
    }

    /// Returns what the application is to be told.
    fn act_on(&mut self, place: usize, generation: u64, failure: Failure) -> Option<Error> {
        let (policy, new_generation) = (self.config.auto_offset_reset, self.new_generation());
        let partition = self.current(place, generation)?;
        partition.untold = false;
        self.is_news = true;
        let partition = self.current(place, generation)?;
        match failure {
            Failure::Tell(error) => Some(error),
            // Of the former topic's log nothing more is to be had.
            Failure::OutOfRange if partition.recreation().is_some() => None,
            Failure::OutOfRange => {
                partition.out_of_range(new_generation, policy);
                // Where the policy refuses, the partition is one to be told of.
                None
            }
        }
    }

    /// Hands out what was opened, but for what is no longer wanted.
    pub(crate) fn hand_out(&mut self, mut opened: Opened, now: Instant) -> Batches {
        for entry in std::mem::take(&mut opened.rest).into_iter().rev() {
            let Entry::Answered(answered) = &entry else { continue };
            if self.is_stale(answered.place, answered.generation) {
                self.buffered.drop_unwanted(answered.records.len());
            } else {
                self.buffered.put_back(entry);
            }
        }
        // Partitions may have been sought while their batches were opened. Rare, so the cells may stay as they are.
        let stale: Vec<bool> = opened.stretches.iter().map(|of| self.is_stale(of.place, of.generation)).collect();
        if stale.contains(&true) {
            let all = received_bytes(&opened.batches);
            (opened.batches, opened.stretches) = without(opened.batches, opened.stretches, &stale);
            self.buffered.drop_unwanted(all - received_bytes(&opened.batches));
        }
        self.count(&opened);
        for fault in opened.faults {
            self.handle_fault(fault, now);
        }
        self.budget.decompressed(opened.decompressed_bytes);
        let progress = Arc::new(Progress::new(opened.batches.iter().map(|batch| batch.from)));
        self.handed_out.begin(Arc::clone(&progress), opened.stretches);
        Batches::new(opened.batches, &progress)
    }

    fn count(&mut self, opened: &Opened) {
        let totals = &mut self.totals;
        totals.delivered_bytes += received_bytes(&opened.batches) as u64;
        totals.delivered_batches += opened.batches.len() as u64;
        totals.delivered_records +=
            opened.batches.iter().map(|batch| u64::from(batch.open.record_count())).sum::<u64>();
        totals.passed_over_bytes += opened.passed_over_bytes as u64;
        self.buffered.drop_given_up(opened.given_up_bytes);
    }

    /// Whether what was opened is not wanted any more: the partition was sought, or its log was found truncated.
    fn is_stale(&self, place: usize, generation: u64) -> bool {
        self.is_truncated(place) || !self.is_current(place, generation)
    }

    /// What is before the batch is handed out; then the application is told.
    fn handle_fault(&mut self, fault: Fault, now: Instant) {
        let Fault { place, generation, offset, next_offset, cause } = fault;
        if self.is_stale(place, generation) {
            return;
        }
        let Some(partition) = self.current(place, generation) else { return };
        partition.rewind(offset);
        let partition = partition.name.clone();
        self.is_news = true;
        self.buffered.give_up(place);
        self.fail(place, generation, Error::CorruptBatch { partition, offset, next_offset, source: cause }, now);
    }
}

fn received_bytes(batches: &[crate::opener::OpenedBatch]) -> usize {
    batches.iter().map(|batch| batch.received_bytes).sum()
}

type Kept = (Vec<crate::opener::OpenedBatch>, Vec<crate::handed_out::Stretch>);

/// Leaves out the stretches that are stale, and their batches.
fn without(
    batches: Vec<crate::opener::OpenedBatch>,
    stretches: Vec<crate::handed_out::Stretch>,
    stale: &[bool],
) -> Kept {
    let mut batches: Vec<_> = batches.into_iter().map(Some).collect();
    let mut kept: Kept = (Vec::new(), Vec::new());
    for (mut stretch, stale) in stretches.into_iter().zip(stale) {
        let batch = stretch.cell.and_then(|cell| batches.get_mut(cell)).and_then(Option::take);
        if *stale {
            continue;
        }
        stretch.cell = batch.map(|batch| {
            kept.0.push(batch);
            kept.0.len() - 1
        });
        kept.1.push(stretch);
    }
    kept
}
