//! The tests: many seeds, one seed twice, and seeds in which something is broken on purpose.

use protocol_tests::simulation::seeds;

use crate::checker::Rule;
use crate::run::run;
use crate::sabotage::Sabotage;

/// How many seeds run where nothing is said: about a minute's worth.
const SEEDS: u64 = 150;
/// How many seeds run twice.
const REPLAYED_SEEDS: u64 = 12;
/// In how many seeds a planted defect has to be noticed.
const PLANTED_SEEDS: u64 = 10;

#[test]
fn whatever_happens_a_group_keeps_its_promises() {
    seeds::keep_all_promises("simulation", SEEDS, |seed| run(seed, None));
}

#[test]
fn a_seed_replays_exactly() {
    seeds::replay_exactly(REPLAYED_SEEDS, |seed| run(seed, None));
}

fn is_noticed(sabotage: Sabotage, rule: Rule) {
    seeds::is_noticed(sabotage, &rule, 0..PLANTED_SEEDS, |seed| run(seed, Some(sabotage)));
}

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
