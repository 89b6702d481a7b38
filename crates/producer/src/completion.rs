//! What became of the records of a batch, told to whoever waits.
//!
//! One cell serves a whole batch: a [`Delivery`] is a share of it and the record's index. Answers come in ranges of
//! indexes, usually one for the whole batch, more where the batch was split or single records were refused. The
//! lock is held for a few instructions on either side, and wakers run outside it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ottla_wire::TopicPartition;

use crate::{Error, RecordMetadata};

/// What became of a range of records.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// They were written, the first of the range at this offset, where the broker said so.
    Written {
        /// `None` with acks 0.
        base_offset: Option<i64>,
        /// The broker's timestamp for all of them, where the topic has it set one.
        log_append_time_ms: Option<i64>,
    },
    /// They were not, as far as is known.
    Failed(Error),
}

/// The answer to a batch, shared by its records' handles.
#[derive(Debug)]
pub(crate) struct Completion {
    topic_partition: TopicPartition,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the range's first index.
    answers: BTreeMap<u32, (u32, Outcome)>,
    answered: u32,
    /// How many records the batch has, once it takes no more.
    total: Option<u32>,
    /// Who waits, and for which record; `None` for the whole batch. A slot is its waiter's until it goes.
    waiting: Vec<Option<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    index: Option<u32>,
    waker: Waker,
}

impl Completion {
    pub(crate) fn new(topic_partition: TopicPartition) -> Self {
        Self { topic_partition, state: Mutex::default() }
    }

    pub(crate) fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Fixes the number of records. Needed before the batch as a whole can be done.
    pub(crate) fn seal(&self, total: u32) {
        self.state().total = Some(total);
    }

    /// Answers the records of a range, which must not have been answered before.
    pub(crate) fn answer(&self, records: Range<u32>, outcome: Outcome) {
        if records.is_empty() {
            return;
        }
        let mut state = self.state();
        debug_assert!(state.answer_to(records.start).is_none(), "records {records:?} were answered before");
        state.answered += records.end - records.start;
        state.answers.insert(records.start, (records.end, outcome));
        let done = state.is_done();
        let mut woken = Vec::new();
        for slot in &mut state.waiting {
            let answered = slot.as_ref().is_some_and(|waiting| match waiting.index {
                Some(index) => records.contains(&index),
                None => done,
            });
            if answered {
                woken.extend(slot.take());
            }
        }
        drop(state);
        for waiting in woken {
            waiting.waker.wake();
        }
    }

    /// Resolves when every record has an answer.
    pub(crate) fn whole(self: Arc<Self>) -> Whole {
        Whole { completion: self, slot: None }
    }

    /// A poisoned lock is taken all the same: nothing in here panics between two related changes.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back a waiter's slot.
    fn forget(&self, slot: Option<usize>) {
        if let Some(slot) = slot {
            let waiting = self.state().waiting.get_mut(slot).and_then(Option::take);
            drop(waiting); // outside the lock: dropping a waker may run its owner's code
        }
    }
}

impl State {
    fn is_done(&self) -> bool {
        self.total == Some(self.answered)
    }

    /// The answer to a record, and its place in the range that was answered with it.
    fn answer_to(&self, index: u32) -> Option<(u32, &Outcome)> {
        let (first, (end, outcome)) = self.answers.range(..=index).next_back()?;
        (index < *end).then_some((index - first, outcome))
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (first, (end, outcome)) in &self.answers {
            let records = u64::from(end - first);
            match outcome {
                Outcome::Written { .. } => tally.delivered += records,
                Outcome::Failed(error) => {
                    tally.failed += records;
                    tally.first_failure.get_or_insert_with(|| error.clone());
                }
            }
        }
        tally
    }

    fn wait(&mut self, slot: &mut Option<usize>, index: Option<u32>, context: &Context<'_>) {
        match slot.and_then(|slot| self.waiting.get_mut(slot)) {
            Some(Some(waiting)) => waiting.waker.clone_from(context.waker()),
            Some(empty) => *empty = Some(Waiting { index, waker: context.waker().clone() }),
            None => {
                *slot = Some(self.waiting.len());
                self.waiting.push(Some(Waiting { index, waker: context.waker().clone() }));
            }
        }
    }
}

/// The handle of a record that was enqueued: a future of what becomes of it.
///
/// Dropping it changes nothing about the record, which is delivered all the same ("fire and forget");
/// [`flush`](crate::Producer::flush) and [`close`](crate::Producer::close) still tell of its failure.
///
/// # Cancel safety
///
/// Polling a reference (`(&mut delivery).await`) and dropping that future leaves the handle as it was.
#[must_use = "dropping the handle is fire and forget; say so with `drop`"]
pub struct Delivery {
    completion: Arc<Completion>,
    index: u32,
    timestamp_ms: i64,
    slot: Option<usize>,
}

impl Delivery {
    pub(crate) fn new(completion: Arc<Completion>, index: u32, timestamp_ms: i64) -> Self {
        Self { completion, index, timestamp_ms, slot: None }
    }

    /// Where the record goes.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.completion.topic_partition
    }

    fn result(&self, state: &State) -> Option<Result<RecordMetadata, Error>> {
        let (place, outcome) = state.answer_to(self.index)?;
        Some(match outcome {
            Outcome::Written { base_offset, log_append_time_ms } => Ok(RecordMetadata {
                topic_partition: self.completion.topic_partition.clone(),
                offset: base_offset.map(|base| base.saturating_add(i64::from(place))),
                timestamp_ms: log_append_time_ms.unwrap_or(self.timestamp_ms),
            }),
            Outcome::Failed(error) => Err(error.clone()),
        })
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut state = this.completion.state();
        if let Some(result) = this.result(&state) {
            return Poll::Ready(result);
        }
        state.wait(&mut this.slot, Some(this.index), context);
        Poll::Pending
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.completion.forget(self.slot);
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Delivery")
            .field("topic_partition", self.topic_partition())
            .field("timestamp_ms", &self.timestamp_ms)
            .finish_non_exhaustive()
    }
}

/// What became of records, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<Error>,
}

impl Tally {
    /// Counts in what became of further records.
    pub(crate) fn add(&mut self, further: Self) {
        self.delivered += further.delivered;
        self.failed += further.failed;
        self.first_failure = self.first_failure.take().or(further.first_failure);
    }
}

/// Waits for all of a batch.
#[derive(Debug)]
pub(crate) struct Whole {
    completion: Arc<Completion>,
    slot: Option<usize>,
}

impl Future for Whole {
    type Output = Tally;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut state = this.completion.state();
        if state.is_done() {
            return Poll::Ready(state.tally());
        }
        state.wait(&mut this.slot, None, context);
        Poll::Pending
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.completion.forget(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Woken {
        fn poll<F: Future + Unpin>(self: &Arc<Self>, future: &mut F) -> Poll<F::Output> {
            Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
        }

        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn completion() -> Arc<Completion> {
        Arc::new(Completion::new(TopicPartition::new("t", 3)))
    }

    fn written(base_offset: i64) -> Outcome {
        Outcome::Written { base_offset: Some(base_offset), log_append_time_ms: None }
    }

    #[test]
    fn a_record_s_offset_is_the_batch_s_plus_its_index() {
        let completion = completion();
        let (woken, mut delivery) = (Arc::default(), Delivery::new(Arc::clone(&completion), 2, 77));
        assert!(Woken::poll(&woken, &mut delivery).is_pending());
        completion.answer(0..3, written(100));
        assert_eq!(woken.count(), 1);
        let Poll::Ready(Ok(metadata)) = woken.poll(&mut delivery) else { panic!("not written") };
        assert_eq!((metadata.offset, metadata.timestamp_ms, metadata.partition()), (Some(102), 77, 3));
    }

    #[test]
    fn the_broker_s_timestamp_wins_where_it_set_one() {
        let completion = completion();
        completion.answer(0..1, Outcome::Written { base_offset: None, log_append_time_ms: Some(9) });
        let Poll::Ready(Ok(metadata)) =
            Arc::<Woken>::default().poll(&mut Delivery::new(Arc::clone(&completion), 0, 77))
        else {
            panic!("not written")
        };
        assert_eq!((metadata.offset, metadata.timestamp_ms), (None, 9));
    }

    #[test]
    fn a_range_wakes_those_it_answers_and_no_others() {
        let completion = completion();
        let (first, second) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let mut deliveries = [0, 5].map(|index| Delivery::new(Arc::clone(&completion), index, 0));
        assert!(first.poll(&mut deliveries[0]).is_pending() && second.poll(&mut deliveries[1]).is_pending());
        completion.answer(0..5, written(0));
        assert_eq!((first.count(), second.count()), (1, 0));
        completion.answer(5..6, Outcome::Failed(Error::Closed { may_have_been_written: true }));
        assert_eq!((first.count(), second.count()), (1, 1));
        assert!(matches!(second.poll(&mut deliveries[1]), Poll::Ready(Err(Error::Closed { .. }))));
    }

    #[test]
    fn the_whole_is_done_when_sealed_and_every_record_answered() {
        let completion = completion();
        let (woken, mut whole) = (Arc::default(), Arc::clone(&completion).whole());
        completion.answer(0..2, written(0));
        assert!(Woken::poll(&woken, &mut whole).is_pending());
        completion.seal(3);
        completion.answer(2..3, Outcome::Failed(Error::Closed { may_have_been_written: false }));
        assert_eq!(woken.count(), 1);
        assert!(matches!(
            woken.poll(&mut whole),
            Poll::Ready(Tally { delivered: 2, failed: 1, first_failure: Some(Error::Closed { .. }) })
        ));
    }

    #[test]
    fn a_dropped_handle_leaves_nothing_to_wake() {
        let completion = completion();
        let (woken, mut delivery) = (Arc::default(), Delivery::new(Arc::clone(&completion), 0, 0));
        assert!(Woken::poll(&woken, &mut delivery).is_pending());
        drop(delivery);
        assert_eq!(Arc::strong_count(&woken), 1, "the cell keeps the waker of a handle that is gone");
        completion.answer(0..1, written(0));
        assert_eq!(woken.count(), 0);
    }

    #[test]
    fn polling_again_from_another_task_moves_the_waker() {
        let completion = completion();
        let (first, second) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let mut delivery = Delivery::new(Arc::clone(&completion), 0, 0);
        assert!(first.poll(&mut delivery).is_pending() && second.poll(&mut delivery).is_pending());
        completion.answer(0..1, written(0));
        assert_eq!((first.count(), second.count()), (0, 1));
    }
}
