//! What is to happen later, in the order of its time; what is due at the same time, in the order of its setting.

use std::collections::BTreeMap;
use std::time::Instant;

/// Timers, each with what it is for.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    set: u64,
    due: BTreeMap<(Instant, u64), T>,
}

impl<T> Timers<T> {
    /// Sets a timer.
    pub(crate) fn set(&mut self, at: Instant, timer: T) {
        self.due.insert((at, self.set), timer);
        self.set += 1;
    }

    /// When the next one is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
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
