//! One seed, from its number to what is to be said about it.

use std::cell::RefCell;
use std::fmt::{self, Debug, Display, Write as _};
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::Duration;

use tokio::runtime;

use super::{Entry, History, text};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation<R> {
    /// What had to hold.
    pub rule: R,
    /// The index of the event that shows it; the history's length where it is known at the end only.
    pub at: usize,
    /// What happened instead.
    pub what: String,
}

impl<R: Debug> Display for Violation<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}, event {}: {}", self.rule, self.at, self.what)
    }
}

/// What came of a seed.
#[derive(Debug)]
pub struct Run<S, E, R> {
    /// The seed.
    pub seed: u64,
    /// What it decided.
    pub scenario: S,
    /// What happened.
    pub entries: Vec<Entry<E>>,
    /// Which promises that breaks.
    pub violations: Vec<Violation<R>>,
}

impl<S: Debug, E: Display, R: Debug> Run<S, E, R> {
    /// Leaves the scenario and the history in the temporary folder, and says where. `test` is the name of the test target.
    pub fn leave_history(&self, test: &str) -> String {
        let file = std::env::temp_dir().join(format!("ottla-{test}-{}.txt", self.seed));
        let all = format!("{:#?}\n\n{}", self.scenario, text(&self.entries));
        match std::fs::write(&file, all) {
            Ok(()) => format!("its history is in {}", file.display()),
            Err(error) => format!("its history could not be written to {}: {error}", file.display()),
        }
    }

    /// What a person needs who is to find out why.
    pub fn report(&self, test: &str) -> String {
        let (seed, left) = (self.seed, self.leave_history(test));
        let mut report = format!("seed {seed} breaks {} promises; {left}\n", self.violations.len());
        for violation in self.violations.iter().take(SHOWN_VIOLATIONS) {
            writeln!(report, "  {violation}").unwrap();
        }
        let until = self.violations.first().map_or(self.entries.len(), |first| first.at + 1).min(self.entries.len());
        let from = until.saturating_sub(SHOWN_EVENTS);
        report.push_str("the last events before the first of them:\n");
        report.push_str(&text(&self.entries[from..until]));
        write!(report, "replay: OTTLA_SIMULATION_SEED={seed} cargo test -p protocol-tests --test {test}").unwrap();
        report
    }
}

/// What may befall a run, whatever it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "each simulation says what each of them is to it")]
pub enum Mishap {
    /// It took more virtual time than any run takes.
    Overran {
        /// The limit.
        bound: Duration,
    },
    /// So many tasks run on after everything was closed.
    Leaked {
        /// How many.
        tasks: usize,
    },
    /// Something panicked.
    Panicked {
        /// What the panic said.
        message: String,
    },
}

/// Conducts a run on this thread, on a paused runtime of its own. Returns its history, mishaps included, and what
/// `conduct` returned, unless it panicked or passed `bound`. `longest_request` is how long a connection that is dropped may wait
/// for its answers: so much later no task may be left.
pub fn run_alone<E, L, F>(
    bound: Duration,
    longest_request: Duration,
    conduct: impl FnOnce(History<E>) -> F,
) -> (Vec<Entry<E>>, Option<L>)
where
    E: Clone + From<Mishap>,
    F: Future<Output = L>,
{
    listen_for_panics();
    PANICS.take();
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let history = runtime.block_on(async { History::begin() });
    let conducting = || {
        let conducting = conduct(history.clone());
        runtime.block_on(async { tokio::time::timeout(bound, conducting).await })
    };
    // A panic is in the list already.
    let outcome = match panic::catch_unwind(AssertUnwindSafe(conducting)) {
        Ok(Ok(outcome)) => Some(outcome),
        Ok(Err(_)) => {
            history.record_at_end(Mishap::Overran { bound }.into());
            None
        }
        Err(_) => None,
    };
    runtime.block_on(async { tokio::time::sleep(longest_request).await });
    let tasks = runtime.metrics().num_alive_tasks();
    if tasks > 0 {
        history.record_at_end(Mishap::Leaked { tasks }.into());
    }
    for message in PANICS.take() {
        history.record_at_end(Mishap::Panicked { message }.into());
    }
    (history.snapshot(), outcome)
}

thread_local! {
    /// What has panicked on this thread, in whichever task.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Tasks of the library that panic are not heard of otherwise.
fn listen_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            before(panic);
        }));
    });
}

const SHOWN_VIOLATIONS: usize = 10;
const SHOWN_EVENTS: usize = 40;
