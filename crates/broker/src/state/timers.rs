//! What is to happen later, in the order of its time; what is due at the same time, in the order of its setting.

use std::collections::BTreeMap;
use std::time::Instant;

/// Names a timer: when it is due, and the how many-th it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerId(Instant, u64);

/// Timers, each with what it is for.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    set: u64,
    due: BTreeMap<TimerId, T>,
}

impl<T> Timers<T> {
    /// Sets a timer, and names it.
    pub(crate) fn set(&mut self, at: Instant, timer: T) -> TimerId {
        let id = TimerId(at, self.set);
        self.due.insert(id, timer);
        self.set += 1;
        id
    }

    /// Takes a timer back, if it is still set.
    pub(crate) fn cancel(&mut self, id: TimerId) {
        self.due.remove(&id);
    }

    /// When the next one is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due.first_key_value().map(|(id, _)| id.0)
    }

    /// Takes the next one, if it is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<T> {
        let entry = self.due.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { set: 0, due: BTreeMap::new() }
    }
}
