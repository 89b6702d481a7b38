//! What happened, in order, each event with its virtual time: what a checker judges, what a failure is told by, and what two
//! runs of one seed are compared by.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// An event, and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<E> {
    /// Virtual time since the start.
    pub at: Duration,
    /// What happened.
    pub event: E,
}

impl<E: fmt::Display> fmt::Display for Entry<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>11.6} {}", self.at.as_secs_f64(), self.event)
    }
}

/// Where events are written down. A clone is the same book.
#[derive(Debug)]
pub struct History<E> {
    started: Instant,
    entries: Arc<Mutex<Vec<Entry<E>>>>,
}

impl<E> Clone for History<E> {
    fn clone(&self) -> Self {
        Self { started: self.started, entries: Arc::clone(&self.entries) }
    }
}

impl<E: Clone> History<E> {
    /// Begins now. Needs a runtime, whose clock it goes by.
    pub fn begin() -> Self {
        Self { started: Instant::now(), entries: Arc::default() }
    }

    /// Writes an event down.
    pub fn record(&self, event: E) {
        let at = self.started.elapsed();
        self.entries().push(Entry { at, event });
    }

    /// Has what happens now added to the last event, if it is of this moment and `add` says that it could.
    pub fn add_to_last(&self, add: impl FnOnce(&mut E) -> bool) -> bool {
        let now = self.started.elapsed();
        self.entries().last_mut().is_some_and(|last| last.at == now && add(&mut last.event))
    }

    /// Writes down what is found out once the runtime has stopped.
    pub fn record_at_end(&self, event: E) {
        let at = self.entries().last().map_or(Duration::ZERO, |last| last.at);
        self.entries().push(Entry { at, event });
    }

    /// All of it so far.
    pub fn snapshot(&self) -> Vec<Entry<E>> {
        self.entries().clone()
    }

    /// Looks at it without copying.
    pub fn with<R>(&self, look: impl FnOnce(&[Entry<E>]) -> R) -> R {
        look(&self.entries())
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry<E>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The history as text, a line an event.
pub fn text<E: fmt::Display>(entries: &[Entry<E>]) -> String {
    entries.iter().fold(String::new(), |mut text, entry| {
        writeln!(text, "{entry}").unwrap();
        text
    })
}

/// A number that is the same for the same history, and hardly ever for another.
pub fn digest<E: fmt::Display>(entries: &[Entry<E>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text(entries).as_bytes());
    hasher.finish()
}

/// An error with its causes, as an event tells it.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
