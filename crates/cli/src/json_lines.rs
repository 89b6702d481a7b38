//! Events on standard output, a line of JSON each, as the programs of Kafka's system tests write them.
//!
//! A line is out when `write` returns: whoever reads them acts on each as it comes. Standard output that takes no more (its
//! reader is gone) is no error of the one who writes: nothing more is written, [`JsonLines::broken`] tells whoever
//! should end, and [`JsonLines::finish`] what happened.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::watch;

/// What happened, as the fields behind `timestamp` and `name`.
pub(crate) trait Event: Serialize {
    /// What Kafka's programs call it.
    const NAME: &'static str;
}

/// Where events go. Clones write to the same.
#[derive(Clone)]
pub(crate) struct JsonLines {
    output: Arc<Mutex<Output>>,
    is_broken: watch::Sender<bool>,
}

struct Output {
    to: Box<dyn Write + Send>,
    failure: Option<io::Error>,
}

#[derive(Serialize)]
struct Line<'e, E> {
    timestamp: i64,
    name: &'static str,
    #[serde(flatten)]
    event: &'e E,
}

impl JsonLines {
    pub(crate) fn to_stdout() -> Self {
        Self::new(io::stdout())
    }

    fn new(to: impl Write + Send + 'static) -> Self {
        let output = Output { to: Box::new(to), failure: None };
        Self { output: Arc::new(Mutex::new(output)), is_broken: watch::Sender::new(false) }
    }

    /// Writes an event that happens now.
    pub(crate) fn write<E: Event>(&self, event: &E) {
        let mut output = self.output();
        // Under the lock, so that timestamps go up from line to line.
        let line = Line { timestamp: milliseconds_since_1970(), name: E::NAME, event };
        let line = serde_json::to_vec(&line).map_err(io::Error::from);
        output.write(line.map(|mut line| {
            line.push(b'\n');
            line
        }));
        if output.failure.is_some() {
            self.is_broken.send_replace(true);
        }
    }

    /// Writes a line that is no event.
    pub(crate) fn write_text(&self, text: &str) {
        self.output().write(Ok(format!("{text}\n").into_bytes()));
    }

    /// Whether something could not be written.
    pub(crate) fn is_broken(&self) -> bool {
        *self.is_broken.borrow()
    }

    /// Waits until something could not be written.
    pub(crate) async fn broken(&self) {
        // This holds a sender: there is always one.
        let _ = self.is_broken.subscribe().wait_for(|is_broken| *is_broken).await;
    }

    /// What could not be written, if anything.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self.output().failure.take() {
            Some(failure) => Err(io::Error::new(failure.kind(), format!("standard output takes no more: {failure}"))),
            None => Ok(()),
        }
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    fn write(&mut self, line: io::Result<Vec<u8>>) {
        if self.failure.is_none() {
            let written = line.and_then(|line| self.to.write_all(&line)).and_then(|()| self.to.flush());
            self.failure = written.err();
        }
    }
}

/// The wall clock, which is what the events' timestamps are.
#[allow(clippy::disallowed_methods, reason = "people and harnesses compare these with other clocks")]
fn milliseconds_since_1970() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
