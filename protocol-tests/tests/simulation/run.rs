//! One seed, from its number to what is to be said about it.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::Duration;

use tokio::runtime;

use crate::checker::{self, Logs, Violation};
use crate::conductor::{RUN_BOUND, conduct};
use crate::history::{self, Entry, Event, History};
use crate::sabotage::Sabotage;
use crate::scenario::Scenario;

/// What came of a seed.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) scenario: Scenario,
    pub(crate) entries: Vec<Entry>,
    pub(crate) violations: Vec<Violation>,
}

/// Runs a seed on this thread.
pub(crate) fn run(seed: u64, sabotage: Option<Sabotage>) -> Run {
    listen_for_panics();
    PANICS.take();
    let scenario = Scenario::new(seed);
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let history = runtime.block_on(async { History::begin() });
    let conducting = || {
        let conducting = conduct(scenario.clone(), sabotage, history.clone());
        runtime.block_on(async { tokio::time::timeout(RUN_BOUND, conducting).await })
    };
    // A panic is in the list already.
    let logs = match panic::catch_unwind(AssertUnwindSafe(conducting)) {
        Ok(Ok(logs)) => logs,
        Ok(Err(_)) => {
            history.record_at_end(Event::Unsettled { state: format!("it ran for more than {RUN_BOUND:?}") });
            Logs::new()
        }
        Err(_) => Logs::new(),
    };
    // A connection that is dropped waits for the answers to what has been sent, for as long as a request may take: the
    // longest is a JoinGroup.
    let longest_request = scenario.timing.max_poll_interval + Duration::from_secs(6);
    runtime.block_on(async { tokio::time::sleep(longest_request).await });
    let tasks = runtime.metrics().num_alive_tasks();
    if tasks > 0 {
        history.record_at_end(Event::Leaked { tasks });
    }
    for message in PANICS.take() {
        history.record_at_end(Event::Panicked { message });
    }
    let entries = history.snapshot();
    let members = &scenario.members;
    let violations = checker::check(&entries, &logs, |name| members[name.member].application.is_automatic());
    Run { scenario, entries, violations }
}

impl Run {
    /// Leaves the scenario and the history in the temporary folder, and says where.
    pub(crate) fn leave_history(&self) -> String {
        let file = std::env::temp_dir().join(format!("ottla-simulation-{}.txt", self.scenario.seed));
        let all = format!("{:#?}\n\n{}", self.scenario, history::text(&self.entries));
        match std::fs::write(&file, all) {
            Ok(()) => format!("its history is in {}", file.display()),
            Err(error) => format!("its history could not be written to {}: {error}", file.display()),
        }
    }

    /// What a person needs who is to find out why.
    pub(crate) fn report(&self) -> String {
        let (seed, left) = (self.scenario.seed, self.leave_history());
        let mut report = format!("seed {seed} breaks {} promises; {left}\n", self.violations.len());
        for violation in self.violations.iter().take(SHOWN_VIOLATIONS) {
            writeln!(report, "  {violation}").unwrap();
        }
        let until = self.violations.first().map_or(self.entries.len(), |first| first.at + 1).min(self.entries.len());
        let from = until.saturating_sub(SHOWN_EVENTS);
        report.push_str("the last events before the first of them:\n");
        report.push_str(&history::text(&self.entries[from..until]));
        write!(report, "replay: OTTLA_SIMULATION_SEED={seed} cargo test -p protocol-tests --test simulation").unwrap();
        report
    }
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
