//! The tests: many seeds, one seed twice, and seeds in which something is broken on purpose.

use std::collections::BTreeSet;
use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::checker::Rule;
use crate::history::{self, Entry, digest};
use crate::run::run;
use crate::sabotage::Sabotage;

/// How many seeds run where nothing is said: about a minute's worth.
const SEEDS: u64 = 150;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number")))
}

/// Hands numbers out to two threads, each of which has a core.
fn on_two_threads(numbers: std::ops::Range<u64>, work: impl Fn(u64) + Sync) {
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

#[test]
fn whatever_happens_a_group_keeps_its_promises() {
    let seeds = if let Some(seed) = number("OTTLA_SIMULATION_SEED") {
        seed..seed + 1
    } else {
        let first = number("OTTLA_SIMULATION_FIRST").unwrap_or(0);
        first..first + number("OTTLA_SIMULATION_SEEDS").unwrap_or(SEEDS)
    };
    let failed = Mutex::new(BTreeSet::new());
    on_two_threads(seeds.clone(), |seed| {
        let run = run(seed, None);
        if !run.violations.is_empty() {
            eprintln!("{}\n", run.report());
            failed.lock().unwrap().insert(seed);
        } else if seeds.end == seeds.start + 1 {
            eprintln!("seed {seed} keeps all promises; {}", run.leave_history());
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "of the seeds {seeds:?} these fail: {failed:?}");
}

#[test]
fn a_seed_replays_exactly() {
    let seeds = number("OTTLA_SIMULATION_SEED").map_or(0..REPLAYED_SEEDS, |seed| seed..seed + 1);
    let digests = Mutex::new(BTreeSet::new());
    on_two_threads(seeds.clone(), |seed| {
        let (first, second) = (run(seed, None).entries, run(seed, None).entries);
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        if let Some(index) = differs {
            let around = index.saturating_sub(5);
            let shown = |entries: &[Entry]| history::text(&entries[around..(index + 3).min(entries.len())]);
            panic!("seed {seed}: event {index} differs:\n{}\nand then\n{}", shown(&first), shown(&second));
        }
        assert_eq!(digest(&first), digest(&second), "seed {seed}: one goes on where the other has ended");
        digests.lock().unwrap().insert(digest(&first));
    });
    assert_eq!(digests.into_inner().unwrap().len() as u64, seeds.end - seeds.start, "each seed is another run");
}

/// How many seeds run twice.
const REPLAYED_SEEDS: u64 = 12;

/// Seeds in which something is broken on purpose: some seed shows that a rule does not hold.
fn is_noticed(sabotage: Sabotage, rule: Rule) {
    let noticed = (0..PLANTED_SEEDS).any(|seed| {
        let run = run(seed, Some(sabotage));
        run.violations.iter().any(|violation| violation.rule == rule)
    });
    assert!(noticed, "{sabotage:?} was not noticed as a breach of {rule:?} in {PLANTED_SEEDS} seeds");
}

/// In how many seeds a planted defect has to be noticed.
const PLANTED_SEEDS: u64 = 10;

#[test]
fn a_commit_before_processing_is_noticed() {
    is_noticed(Sabotage::CommitBeforeProcessing, Rule::CommittedWasProcessed);
}

#[test]
fn a_record_handed_out_after_a_revocation_is_noticed() {
    is_noticed(Sabotage::HandOutAfterRevocation, Rule::NothingAfterRevocation);
}

#[test]
fn a_record_handed_out_twice_is_noticed() {
    is_noticed(Sabotage::HandOutTwice, Rule::Order);
}

#[test]
fn records_that_are_passed_over_are_noticed() {
    is_noticed(Sabotage::SkipRecords, Rule::EveryRecord);
}

#[test]
fn a_partition_without_an_owner_is_noticed() {
    is_noticed(Sabotage::ForgetPartition, Rule::Settles);
}

#[test]
fn a_revocation_that_never_ends_is_noticed() {
    is_noticed(Sabotage::NeverGiveUp, Rule::Settles);
}

#[test]
fn a_task_that_is_left_behind_is_noticed() {
    is_noticed(Sabotage::LeakTask, Rule::Ends);
}
