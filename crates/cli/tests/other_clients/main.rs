//! `ottla broker` as a service for other clients: Java's tools, librdkafka, franz-go, sarama, and Python's own.
//!
//! One broker process of three nodes serves all tests, which run side by side with topics and groups of their own. Every client
//! does the same: it writes with each codec and its own defaults ([`writing`]), shares a group and goes on where it was
//! committed ([`groups`]), administers topics ([`topics`]), and reads what all others wrote, Ottla included ([`reading`]). Of
//! Java it is Kafka's own tools ([`java`]).
//!
//! Without Java, or without the other clients, tests are listed as ignored; `OTTLA_REQUIRE_KAFKA=1` and
//! `OTTLA_REQUIRE_CLIENTS=1` turn that into failures.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]

mod administration;
mod client;
mod groups;
mod java;
mod letter;
mod reading;
mod shared;
mod topics;
mod writing;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use protocol_tests::clients::{self, OtherClients};
use protocol_tests::kafka::{self, Toolbox};

use client::CLIENTS;
use shared::{Shared, Test};

/// Programs wait for one another most of the time: for heartbeats, and for the broker.
const TESTS_AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TESTS_AT_ONCE);
    let (others, java) = if arguments.list {
        (Err("only listing".to_owned()), Err("only listing".to_owned()))
    } else {
        (OtherClients::find(), Toolbox::find(&kafka::version()))
    };
    let missing_others = others.as_ref().err().map(|reason| Missing::new(reason, clients::is_required()));
    let missing_java = java.as_ref().err().map(|reason| Missing::new(reason, kafka::is_required()));
    let shared = Arc::new(Shared::new(others.ok(), java.ok()));
    let mut trials = Vec::new();
    for client in CLIENTS {
        for (check, body) in [
            ("writes_with_every_codec", writing::writes_with_every_codec as fn(_) -> _),
            ("shares_a_group_and_goes_on_where_it_was_committed", groups::shares_a_group),
            ("administers_topics", topics::administers),
            ("reads_what_all_others_wrote", reading::reads_what_all_others_wrote),
        ] {
            let test: Test = Box::new(move |setting| body((setting, *client)));
            trials.push(trial(format!("{}::{check}", client.name), test, &shared, missing_others.as_ref()));
        }
    }
    for (name, body) in java::TESTS {
        trials.push(trial(format!("java::{name}"), Box::new(body), &shared, missing_java.as_ref()));
    }
    let ottla: Test = Box::new(reading::ottla_reads_what_all_others_wrote);
    trials.push(trial("ottla::reads_what_all_others_wrote".to_owned(), ottla, &shared, missing_others.as_ref()));
    let conclusion = libtest_mimic::run(&arguments, trials);
    shared.end();
    conclusion.exit_code()
}

/// What this machine lacks.
#[derive(Debug, Clone)]
struct Missing {
    reason: String,
    is_failure: bool,
}

impl Missing {
    fn new(reason: &str, is_failure: bool) -> Self {
        Self { reason: reason.to_owned(), is_failure }
    }
}

fn trial(name: String, test: Test, shared: &Arc<Shared>, missing: Option<&Missing>) -> Trial {
    let (shared, missing) = (shared.clone(), missing.cloned());
    Trial::ignorable_test(name, move || match missing {
        Some(missing) if missing.is_failure => Err(Failed::from(missing.reason)),
        Some(missing) => Ok(Completion::ignored_with(missing.reason)),
        None => {
            shared.run(test);
            Ok(Completion::Completed)
        }
    })
}
