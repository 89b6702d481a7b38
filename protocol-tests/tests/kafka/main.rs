//! Against a real Kafka, which is started here and ends with this process, and against the embedded broker with Java's clients.
//!
//! Without `java`, `javac` or the jars every case is listed as ignored and the reason is printed; with
//! `OTTLA_REQUIRE_KAFKA=1` each is a failure. `OTTLA_KAFKA_VERSION` names the version. `OTTLA_KAFKA_BROKERS=1` is for a cluster of a
//! single broker, which leaves out what needs several.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]
#![allow(clippy::format_collect, reason = "texts of a few hundred lines, for reading rather than for speed")]

mod groups;
mod interop;
mod processes;
mod shared;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use protocol_tests::kafka::{self, Toolbox};
use protocol_tests::suite;
use shared::Shared;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let version = kafka::version();
    let toolbox = if arguments.list { Err("only listing".to_owned()) } else { Toolbox::find(&version) };
    let reason = toolbox.as_ref().err().map(|reason| format!("no Kafka {version} can be run here: {reason}"));
    if let (Some(reason), false) = (&reason, arguments.list) {
        eprintln!(
            "\n{reason}\nEvery test against a real Kafka is {}.\n",
            if kafka::is_required() { "a failure" } else { "ignored" }
        );
    }
    let shared = toolbox.ok().map(|toolbox| Arc::new(Shared::new(toolbox)));
    let mut trials = Vec::new();
    let is_single = kafka::brokers() == 1;
    for case in suite::cases() {
        let name = format!("suite::{}", case.name);
        trials.push(if case.several_nodes && is_single {
            needs_several(&name)
        } else {
            trial(&name, shared.as_ref(), reason.as_deref(), move |shared| shared.run_case(case))
        });
    }
    for (name, body) in groups::TESTS {
        trials.push(trial(&format!("groups::{name}"), shared.as_ref(), reason.as_deref(), move |shared| {
            shared.run(|kafka| Box::pin(body(kafka)));
        }));
    }
    for (name, body) in interop::TESTS {
        trials.push(trial(&format!("interop::{name}"), shared.as_ref(), reason.as_deref(), move |shared| {
            shared.run(|kafka| Box::pin(body(kafka)));
        }));
    }
    for (name, body) in interop::TESTS_OF_SEVERAL {
        let name = format!("interop::{name}");
        trials.push(if is_single {
            needs_several(&name)
        } else {
            trial(&name, shared.as_ref(), reason.as_deref(), move |shared| shared.run(|kafka| Box::pin(body(kafka))))
        });
    }
    for (name, body) in processes::TESTS {
        trials.push(Trial::test(format!("processes::{name}"), move || {
            body();
            Ok(())
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(shared) = shared {
        shared.end();
    }
    if let Some(reason) = reason.filter(|_| conclusion.num_ignored > 0) {
        eprintln!("{} tests were skipped: {reason}", conclusion.num_ignored);
    }
    conclusion.exit_code()
}

/// What a cluster of one broker cannot show.
fn needs_several(name: &str) -> Trial {
    Trial::ignorable_test(name, || Ok(Completion::ignored_with("needs several brokers, OTTLA_KAFKA_BROKERS=3")))
}

fn trial(
    name: &str,
    shared: Option<&Arc<Shared>>,
    missing: Option<&str>,
    run: impl FnOnce(&Shared) + Send + 'static,
) -> Trial {
    let shared = shared.cloned();
    let reason = missing.map(str::to_owned);
    let is_skipped = missing.is_some() && !kafka::is_required();
    let body = move || match shared {
        Some(shared) => {
            run(&shared);
            Ok(())
        }
        None => Err(Failed::from(reason.unwrap_or_default())),
    };
    Trial::test(name, body).with_ignored_flag(is_skipped)
}
