//! The `ottla` command.
//!
//! A file a subcommand; this one only chooses.
#![forbid(unsafe_code)]

mod broker;
mod ending;
mod java_settings;
mod json_lines;
mod properties_file;
mod settings;
mod verifiable_consumer;
mod verifiable_producer;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// Ottla, Kafka's favourite sister.
#[derive(Debug, Parser)]
#[command(name = "ottla", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Broker(broker::Arguments),
    VerifiableConsumer(verifiable_consumer::Arguments),
    VerifiableProducer(verifiable_producer::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => return tell(&told),
    };
    let outcome = match arguments.command {
        Command::Broker(arguments) => broker::run(arguments).await,
        Command::VerifiableConsumer(arguments) => verifiable_consumer::run(arguments).await,
        Command::VerifiableProducer(arguments) => verifiable_producer::run(arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Help is no failure, also where nothing at all was said; a wrong argument is one like any other.
fn tell(told: &clap::Error) -> ExitCode {
    if told.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = write!(std::io::stdout(), "{}", told.render());
        return ExitCode::SUCCESS;
    }
    // What cannot be printed cannot be told either.
    let _ = told.print();
    if told.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Says what went wrong, to people. Standard error that takes no more changes nothing.
fn complain(what: &str) {
    let _ = writeln!(std::io::stderr(), "ottla: {what}");
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
