//! `ottla-cases`: what the scripts of these benchmarks need besides clients, and what only a look from inside can measure.
//!
//! ```text
//! ottla-cases kafka [--nodes 3] [--round-trip-ms 20]    real brokers, until standard input ends
//! ottla-cases topic --brokers B --topic T --partitions P [--nodes 1] [--config NAME=VALUE]...  makes a topic
//! ottla-cases failover [--rounds 5]     from a broker's SIGKILL to the first record from the next leader
//! ottla-cases close [--rounds 3]        `close` while every broker is silent
//! ```
//!
//! What it measures it prints as lines of JSON, in the form of the scripts' results.
#![forbid(unsafe_code)]

mod closing;
mod delay;
mod failover;
mod kafka;
mod topic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ottla_benches::with_causes;

#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Kafka(kafka::Arguments),
    Topic(topic::Arguments),
    Failover(failover::Arguments),
    Close(closing::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Kafka(arguments) => kafka::run(arguments).await,
        Command::Topic(arguments) => topic::run(arguments).await,
        Command::Failover(arguments) => failover::run(arguments).await,
        Command::Close(arguments) => closing::run(arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ottla-cases: {}", with_causes(&*failure));
            ExitCode::FAILURE
        }
    }
}
