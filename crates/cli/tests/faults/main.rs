//! Three real brokers that die and hang, members that die and hang, and two groups that live through it side by side: Java's
//! programs and the `ottla` command, each with a topic of its own, with the same settings, over the same brokers.
//!
//! - [`settings`]: what both sides are told.
//! - [`side`]: a producer and three members, Java's or ours.
//! - [`cluster`]: the brokers and the topics, and when they are whole.
//! - [`schedule`]: what goes wrong, and when the next thing may.
//!
//! What each side tells is judged (`protocol_tests::verdict`): every acknowledged record is read, in order, and again only
//! where a rebalance or a retry explains it. How long each stood still is compared (`protocol_tests::recovery`): we may
//! stand still no longer than Java.
//!
//! `OTTLA_FAULT_SECONDS` says how long it goes on. Without Java it is listed as ignored; with `OTTLA_REQUIRE_KAFKA=1`
//! that is a failure.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]

mod cluster;
mod schedule;
mod settings;
mod side;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};
use protocol_tests::history::History;
use protocol_tests::kafka::{self, Toolbox};
use protocol_tests::recovery::{Comparison, recovery};
use protocol_tests::suite::{eventually, fault_time};
use protocol_tests::verdict::judge;
use serde_json::json;

use cluster::Brokers;
use schedule::{Fault, Schedule};
use side::{Kind, Side};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let version = kafka::version();
    let toolbox = if arguments.list { Err("only listing".to_owned()) } else { Toolbox::find(&version) };
    let missing = toolbox.as_ref().err().map(|reason| format!("no Kafka {version} can be run here: {reason}"));
    if let (Some(reason), false) = (&missing, arguments.list) {
        eprintln!("\n{reason}\n");
    }
    let body = move || {
        let toolbox =
            toolbox.map_err(|reason| Failed::from(format!("no Kafka {version} can be run here: {reason}")))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(both_groups_live_through_what_brokers_and_members_suffer(toolbox));
        Ok(())
    };
    let is_skipped = missing.is_some() && !kafka::is_required();
    let trial = Trial::test("both_groups_live_through_what_brokers_and_members_suffer", body);
    libtest_mimic::run(&arguments, vec![trial.with_ignored_flag(is_skipped)]).exit_code()
}

async fn both_groups_live_through_what_brokers_and_members_suffer(toolbox: Toolbox) {
    let brokers = Brokers::start(toolbox.clone()).await;
    let mut sides = [Side::start(Kind::Java(toolbox), &brokers).await, Side::start(Kind::Ottla, &brokers).await];
    let mut schedule = Schedule::new(fault_time());
    schedule.run(&brokers, &mut sides).await;

    let mut histories = Vec::new();
    for side in &mut sides {
        histories.push(end(side).await);
    }
    let [java, ottla] = &histories[..] else { panic!("there are two sides") };
    let faults = schedule.faults();
    let cut_off: Vec<_> = faults.iter().filter(|fault| fault.kind.cuts_brokers_off()).map(Fault::window).collect();
    for (name, history) in [("Java", java), ("Ottla", ottla)] {
        let verdict = judge(history, &cut_off);
        println!("{name}: {verdict}");
        verdict.assert(name);
        assert!(history.failed_sends.is_empty(), "{name} gave records up: {:?}", history.failed_sends);
    }
    let comparison = compare(faults, java, ottla);
    println!("\n{comparison}");
    let slower = comparison.slower_than_java(NOISE);
    assert!(slower.is_empty(), "slower than Java:\n{}\n{comparison}", slower.join("\n"));
}

/// Lets the producer finish, waits until all that it wrote is read, and ends the members.
async fn end(side: &mut Side) -> History {
    side.finish_producing().await;
    eventually("all that was acknowledged is read", async || side.has_read_everything().then_some(())).await;
    side.finish_reading().await
}

/// Each fault on a line, also of the file that `OTTLA_FAULT_RESULTS` names.
fn compare(faults: &[Fault], java: &History, ottla: &History) -> Comparison {
    let mut comparison = Comparison::default();
    let mut lines = String::new();
    let (javas, ours) = (java.first_reads(), ottla.first_reads());
    for fault in faults {
        let (java, ours) = (recovery(&javas, &fault.window()), recovery(&ours, &fault.window()));
        println!("{fault}: Ottla {ours}, Java {java}");
        let [java_seconds, our_seconds] = [java, ours]
            .map(|side| json!({"anything": side.anything.as_secs_f64(), "everything": side.everything.as_secs_f64()}));
        let line = json!({"fault": fault.kind.name(), "java": java_seconds, "ottla": our_seconds});
        writeln!(lines, "{line}").unwrap();
        comparison.add(fault.kind.name(), java, ours);
    }
    if let Some(file) = env::var_os("OTTLA_FAULT_RESULTS") {
        fs::write(file, lines).expect("the results can be written");
    }
    comparison
}

/// By how much two clients that do the same may differ in one fault: the producer and a member wait for the next leader,
/// each for up to a longest back-off (`retry.backoff.max.ms`, and a fifth for jitter) from when it is there; and members
/// learn of a rebalance within a heartbeat's interval, as the coordinator does of their end.
const NOISE: Duration = Duration::from_millis(2400);

/// How often a condition is looked at while something is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
