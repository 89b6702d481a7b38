//! `ottla-bench`: one run of one operation, told in one line of JSON.
//!
//! The command line and the line are those that benchmark programs for other Kafka clients share, so that a script
//! can run them side by side over the same topics:
//!
//! ```text
//! ottla-bench consume --brokers B --topic T --messages N [--group G] [--from-beginning] [--property NAME=VALUE]...
//! ottla-bench produce --brokers B --topic T --messages N --size S [--compression none|lz4|snappy|gzip|zstd]
//!                     [--acks all|1|0] [--linger-ms 5] [--batch-bytes 1048576]
//! ottla-bench latency --brokers B --topic T --messages N --rate R
//! ```
//!
//! And it is a broker that answers from memory, so that it is the client that is measured, whichever that is:
//!
//! ```text
//! ottla-bench serve --topic NAME:PARTITIONS... [--size 100] [--compression none] [--batch-bytes 131072] [--port 0]
//! ```
//!
//! The client is used as an application would use it, by its public interface only and with its default settings where
//! the command line names none.
#![forbid(unsafe_code)]

mod arguments;
mod consume;
mod latency;
mod produce;
mod report;
mod serve;

use std::process::ExitCode;

use arguments::{Arguments, Operation, RuntimeKind};
use clap::Parser;
use ottla_benches::{Failure, with_causes};
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("ottla-bench: {}", with_causes(&*failure));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<String, Failure> {
    let runtime = runtime(arguments.runtime)?;
    match arguments.operation {
        Operation::Consume(consume) => runtime.block_on(consume::run(&consume)),
        Operation::Produce(produce) => runtime.block_on(produce::run(&produce)),
        Operation::Latency(latency) => runtime.block_on(latency::run(latency)),
        Operation::Serve(serve) => serve::run(&serve),
    }
}

fn runtime(kind: RuntimeKind) -> Result<Runtime, std::io::Error> {
    match kind {
        RuntimeKind::CurrentThread => Builder::new_current_thread().enable_all().build(),
        RuntimeKind::MultiThread => Builder::new_multi_thread().enable_all().build(),
    }
}
