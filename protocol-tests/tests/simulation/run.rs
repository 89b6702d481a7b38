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
    // A connection that is dropped waits for the answers to what has been sent, for as long as a request may take: the
    // longest is a JoinGroup.
    let longest_request = scenario.timing.max_poll_interval + Duration::from_secs(6);
    let (entries, logs) = run_alone(RUN_BOUND, longest_request, |history| conduct(scenario.clone(), sabotage, history));
    let members = &scenario.members;
    let automatic = |name: crate::history::Name| members[name.member].application.is_automatic();
    let violations = checker::check(&entries, &logs.unwrap_or_default(), automatic);
    Run { seed, scenario, entries, violations }
}
