//! Against a real Kafka, which is started here and ends with this process.

mod processes;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let trials = processes::TESTS.iter().map(|&(name, body)| {
        Trial::test(format!("processes::{name}"), move || {
            body();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
