//! Which seeds are run, and the three tests that every simulation has: whatever happens its promises are kept, a seed replays
//! exactly, and a promise that is broken on purpose is noticed.
//!
//! - `OTTLA_SIMULATION_SEED=17` runs that seed only.
//! - `OTTLA_SIMULATION_SEEDS=500` runs so many, `OTTLA_SIMULATION_FIRST=1000` beginning with that one.

use std::collections::BTreeSet;
use std::env;
use std::fmt::{Debug, Display};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Entry, Run, digest, text};

/// Runs the seeds that the environment names, or so many, and panics with those that break a promise. `test` is the name of
/// the test target.
pub fn keep_all_promises<S: Debug, E: Display, R: Debug>(
    test: &str,
    default_count: u64,
    run: impl Fn(u64) -> Run<S, E, R> + Sync,
) {
    let seeds = if let Some(seed) = number("OTTLA_SIMULATION_SEED") {
        seed..seed + 1
    } else {
        let first = number("OTTLA_SIMULATION_FIRST").unwrap_or(0);
        first..first + number("OTTLA_SIMULATION_SEEDS").unwrap_or(default_count)
    };
    let failed = Mutex::new(BTreeSet::new());
    on_two_threads(seeds.clone(), |seed| {
        let run = run(seed);
        if !run.violations.is_empty() {
            eprintln!("{}\n", run.report(test));
            failed.lock().unwrap().insert(seed);
        } else if seeds.end == seeds.start + 1 {
            eprintln!("seed {seed} keeps all promises; {}", run.leave_history(test));
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "of the seeds {seeds:?} these fail: {failed:?}");
}

/// Runs some seeds, or the one that the environment names, twice, and panics where the second run differs from the first.
pub fn replay_exactly<S, E: Display + PartialEq, R>(count: u64, run: impl Fn(u64) -> Run<S, E, R> + Sync) {
    let seeds = number("OTTLA_SIMULATION_SEED").map_or(0..count, |seed| seed..seed + 1);
    let digests = Mutex::new(BTreeSet::new());
    on_two_threads(seeds.clone(), |seed| {
        let (first, second) = (run(seed).entries, run(seed).entries);
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        if let Some(index) = differs {
            let around = index.saturating_sub(5);
            let shown = |entries: &[Entry<E>]| text(&entries[around..(index + 3).min(entries.len())]);
            panic!("seed {seed}: event {index} differs:\n{}\nand then\n{}", shown(&first), shown(&second));
        }
        assert_eq!(digest(&first), digest(&second), "seed {seed}: one goes on where the other has ended");
        digests.lock().unwrap().insert(digest(&first));
    });
    assert_eq!(digests.into_inner().unwrap().len() as u64, seeds.end - seeds.start, "each seed is another run");
}

/// Runs seeds in which something is broken on purpose, until one shows that `rule` does not hold; panics where none does.
pub fn is_noticed<S, E, R: Debug + PartialEq>(
    sabotage: impl Debug,
    rule: &R,
    seeds: Range<u64>,
    run: impl Fn(u64) -> Run<S, E, R>,
) {
    let noticed = seeds.clone().any(|seed| run(seed).violations.iter().any(|violation| violation.rule == *rule));
    assert!(noticed, "{sabotage:?} was not noticed as a breach of {rule:?} in the seeds {seeds:?}");
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number")))
}

/// Hands numbers out to two threads, each of which has a core.
fn on_two_threads(numbers: Range<u64>, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(numbers.start);
    let worker = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return;
            }
            work(number);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        worker();
    });
}
