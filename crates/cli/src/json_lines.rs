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
        // The time is taken under the lock, so that it goes up from line to line.
        self.put(|| {
            let line = Line { timestamp: milliseconds_since_1970(), name: E::NAME, event };
            Ok(serde_json::to_string(&line)?)
        });
    }

    /// Writes a line that is no event.
    pub(crate) fn write_text(&self, text: &str) {
        self.put(|| Ok(text.to_owned()));
    }

    fn put(&self, line: impl FnOnce() -> io::Result<String>) {
        let mut output = self.output();
        if output.failure.is_some() {
            return;
        }
        let written = line().and_then(|line| {
            output.to.write_all(format!("{line}\n").as_bytes())?;
            output.to.flush()
        });
        if let Err(failure) = written {
            output.failure = Some(failure);
            self.is_broken.send_replace(true);
        }
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

/// The wall clock, which is what the events' timestamps are.
#[allow(clippy::disallowed_methods, reason = "people and harnesses compare these with other clocks")]
fn milliseconds_since_1970() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Happened {
        value: &'static str,
        key: Option<&'static str>,
    }

    impl Event for Happened {
        const NAME: &'static str = "happened";
    }

    /// Takes so many bytes.
    struct Limited {
        left: usize,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.left < bytes.len() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.left -= bytes.len();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(limit: usize) -> (JsonLines, Arc<Mutex<Vec<u8>>>) {
        let written = Arc::new(Mutex::new(Vec::new()));
        (JsonLines::new(Limited { left: limit, written: Arc::clone(&written) }), written)
    }

    #[test]
    fn fields_stand_in_the_order_in_which_they_are_declared() {
        let (lines, written) = lines(1000);
        lines.write(&Happened { value: "a \"b\"", key: None });
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let (timestamp, rest) = written.split_once(',').unwrap();
        assert!(timestamp.strip_prefix("{\"timestamp\":").is_some_and(|ms| ms.parse::<i64>().is_ok()), "{written}");
        assert_eq!(rest, "\"name\":\"happened\",\"value\":\"a \\\"b\\\"\",\"key\":null}\n");
        assert!(lines.finish().is_ok());
    }

    #[tokio::test]
    async fn an_output_that_takes_no_more_is_told_and_left_alone() {
        let (lines, written) = lines(80);
        lines.write(&Happened { value: "first", key: None });
        assert!(!lines.is_broken());
        for _ in 0..2 {
            lines.write(&Happened { value: "second", key: None });
            lines.broken().await;
        }
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert_eq!(lines.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
