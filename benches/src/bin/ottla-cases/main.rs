//! `ottla-cases`: what the scripts of these benchmarks need besides clients, and what only a look from inside can measure.
//!
//! ```text
//! ottla-cases kafka [--nodes 3] [--setting NAME=VALUE]... [--round-trip-ms 20]    real brokers, until standard input ends
//! ottla-cases topic --brokers B --topic T --partitions P [--config NAME=VALUE]...  makes a topic
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

use std::error::Error;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Parser, Subcommand};

/// What went wrong, whichever crate it came from.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

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

/// A setting by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Setting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("it is not NAME=VALUE")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
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
            let mut text = failure.to_string();
            let mut cause = failure.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            eprintln!("ottla-cases: {text}");
            ExitCode::FAILURE
        }
    }
}
