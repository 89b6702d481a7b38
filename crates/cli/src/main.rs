//! The `ottla` command.
//!
//! A file a subcommand; this one only chooses.
#![forbid(unsafe_code)]

mod broker;

use std::process::ExitCode;

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
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Broker(arguments) => broker::run(arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
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
