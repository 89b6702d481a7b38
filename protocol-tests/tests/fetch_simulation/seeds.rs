//! The tests: many seeds, one seed twice, and seeds in which something is broken on purpose.

use protocol_tests::simulation::seeds;

use crate::checker::Rule;
use crate::run::run;
use crate::sabotage::Sabotage;

/// How many seeds run where nothing is said: about half a minute's worth.
const SEEDS: u64 = 40;
/// How many seeds run twice.
const REPLAYED_SEEDS: u64 = 8;
/// In how many seeds a planted defect has to be noticed.
const PLANTED_SEEDS: u64 = 20;

#[test]
fn whatever_happens_a_reader_reads_every_record_once_and_in_order() {
    seeds::keep_all_promises("fetch_simulation", SEEDS, |seed| run(seed, None));
}

#[test]
fn a_seed_replays_exactly() {
    seeds::replay_exactly(REPLAYED_SEEDS, |seed| run(seed, None));
}

fn is_noticed(sabotage: Sabotage, rule: Rule) {
    seeds::is_noticed(sabotage, &rule, 0..PLANTED_SEEDS, |seed| run(seed, Some(sabotage)));
}

#[test]
fn a_batch_that_comes_twice_is_noticed() {
    is_noticed(Sabotage::HandOutTwice, Rule::Order);
}

#[test]
fn a_batch_that_is_left_out_is_noticed() {
    is_noticed(Sabotage::SkipBatch, Rule::Order);
}

#[test]
fn a_batch_of_before_a_seek_that_comes_after_it_is_noticed() {
    is_noticed(Sabotage::HandOutAfterSeek, Rule::Order);
}

#[test]
fn a_batch_of_a_paused_partition_is_noticed() {
    is_noticed(Sabotage::HandOutWhilePaused, Rule::Wanted);
}

#[test]
fn a_damaged_record_is_noticed() {
    is_noticed(Sabotage::DamageRecord, Rule::Content);
}

#[test]
fn a_reader_that_stands_still_is_noticed() {
    is_noticed(Sabotage::Stall, Rule::EveryRecord);
}

#[test]
fn memory_beyond_the_bound_is_noticed() {
    is_noticed(Sabotage::HoldTooMuch, Rule::Memory);
}

#[test]
fn a_log_that_was_cut_and_read_on_as_if_nothing_had_happened_is_noticed() {
    is_noticed(Sabotage::HideLeaderEpochs, Rule::Order);
}

#[test]
fn a_task_that_is_left_behind_is_noticed() {
    is_noticed(Sabotage::LeakTask, Rule::Ends);
}
