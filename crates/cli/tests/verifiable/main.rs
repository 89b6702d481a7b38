//! Java's `VerifiableProducer` and `VerifiableConsumer` beside ours: the same arguments, over one real broker, and the same
//! lines ([`lines`] says what may differ).
//!
//! - [`pair`]: both programs, started with the same arguments.
//! - [`lines`]: what they said, with what rightly differs left out.
//! - [`producer`], [`consumer`], [`members`] (several of a group), [`arguments`] (those that are refused): the tests.
//!
//! Without Java they are listed as ignored; with `OTTLA_REQUIRE_KAFKA=1` that is a failure. They speak of Java's programs as
//! 4.3 has them, and are ignored for another version.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]

mod arguments;
mod consumer;
mod lines;
mod members;
mod pair;
mod producer;
mod shared;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use protocol_tests::kafka::{self, DEFAULT_VERSION, Toolbox};

use shared::{Shared, Test};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let version = kafka::version();
    let toolbox = match (arguments.list, &*version) {
        (true, _) => Err("only listing".to_owned()),
        (false, DEFAULT_VERSION) => Toolbox::find(&version),
        (false, _) => Err(format!("it has other lines than {DEFAULT_VERSION}")),
    };
    let missing = toolbox.as_ref().err().map(|reason| format!("Kafka {version} is not compared: {reason}"));
    if let (Some(reason), false) = (&missing, arguments.list) {
        eprintln!("\n{reason}\n");
    }
    let shared = toolbox.ok().map(|toolbox| Arc::new(Shared::new(toolbox)));
    let mut trials = Vec::new();
    for (module, tests) in [
        ("arguments", arguments::TESTS),
        ("consumer", consumer::TESTS),
        ("members", members::TESTS),
        ("producer", producer::TESTS),
    ] {
        for test in tests {
            trials.push(trial(module, test, shared.as_ref(), missing.as_deref(), version == DEFAULT_VERSION));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(shared) = shared {
        shared.end();
    }
    conclusion.exit_code()
}

fn trial(
    module: &str,
    test: &'static Test,
    shared: Option<&Arc<Shared>>,
    missing: Option<&str>,
    is_comparable: bool,
) -> Trial {
    let shared = shared.cloned();
    let reason = missing.map(str::to_owned);
    let is_skipped = missing.is_some() && !(kafka::is_required() && is_comparable);
    let body = move || match shared {
        Some(shared) => {
            shared.run(test);
            Ok(())
        }
        None => Err(Failed::from(reason.unwrap_or_default())),
    };
    Trial::test(format!("{module}::{}", test.name), body).with_ignored_flag(is_skipped)
}
