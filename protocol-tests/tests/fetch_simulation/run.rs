//! One seed, from its number to what is to be said about it.

use std::time::Duration;

use protocol_tests::simulation::{self, run_alone};

use crate::checker::{self, Rule};
use crate::conductor::{RUN_BOUND, conduct};
use crate::history::Event;
use crate::sabotage::Sabotage;
use crate::scenario::Scenario;

/// What came of a seed.
pub(crate) type Run = simulation::Run<Scenario, Event, Rule>;

/// Runs a seed on this thread.
pub(crate) fn run(seed: u64, sabotage: Option<Sabotage>) -> Run {
    let scenario = Scenario::new(seed);
    // A connection that is dropped waits for the answers to what has been sent.
    let longest_request = scenario.timing.request_timeout + Duration::from_secs(1);
    let (entries, _) = run_alone(RUN_BOUND, longest_request, |history| conduct(scenario.clone(), sabotage, history));
    let violations = checker::check(&entries, &scenario);
    Run { seed, scenario, entries, violations }
}
