//! The suite over the embedded broker: over TCP on loopback with the clock of the machine, and in memory with a paused one.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use protocol_tests::suite::{Case, TestCluster, cases};

fn main() -> ExitCode {
    let trials = cases().into_iter().flat_map(|case| {
        [
            Trial::test(format!("tcp::{}", case.name), move || {
                over_tcp(case);
                Ok(())
            }),
            Trial::test(format!("memory::{}", case.name), move || {
                in_memory(case);
                Ok(())
            }),
        ]
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn over_tcp(case: Case) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { case.run(TestCluster::embedded_over_tcp(case.name).await).await });
}

/// Time jumps to the next timer when nothing else is to be done: a minute's time-out costs nothing.
fn in_memory(case: Case) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async { case.run(TestCluster::embedded_in_memory(case.name).await).await });
}
