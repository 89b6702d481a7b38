//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// One run of one operation, told in one line of JSON.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) operation: Operation,
    /// Which runtime of tokio's the client and the application share.
    #[arg(long, global = true, value_enum, default_value = "current-thread")]
    pub(crate) runtime: RuntimeKind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RuntimeKind {
    CurrentThread,
    MultiThread,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// Reads a topic from its beginning.
    Consume(Consume),
    /// Writes messages of one size.
    Produce(Produce),
    /// Writes at a rate, reads back, and tells how long each message took.
    Latency(Latency),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// The brokers to start from, as `host:port,host:port`.
    #[arg(long)]
    pub(crate) brokers: String,
    /// The topic, which exists.
    #[arg(long)]
    pub(crate) topic: String,
    /// How many messages.
    #[arg(long)]
    pub(crate) messages: u64,
}

#[derive(Args, Debug)]
pub(crate) struct Consume {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Read as a member of this consumer group instead of by manual assignment.
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Accepted for the sake of the common command line: reading always starts at the beginning.
    #[arg(long)]
    pub(crate) from_beginning: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Produce {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The size of each message's value, in bytes.
    #[arg(long)]
    pub(crate) size: usize,
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) compression: Codec,
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) acks: Acknowledgements,
    /// How long a batch waits for more records, in milliseconds.
    #[arg(long, default_value_t = 5)]
    pub(crate) linger_ms: u64,
    /// How large a batch may grow, in bytes.
    #[arg(long, default_value_t = 1024 * 1024)]
    pub(crate) batch_bytes: usize,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Latency {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Messages a second.
    #[arg(long)]
    pub(crate) rate: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Acknowledgements {
    All,
    #[value(name = "1")]
    Leader,
    #[value(name = "0")]
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_the_comparison_is_understood() {
        let line = "ottla-bench produce --brokers 127.0.0.1:9092 --topic t --messages 10 --size 100 --compression zstd \
                    --acks 1 --linger-ms 7 --batch-bytes 1000";
        let arguments = Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let Operation::Produce(produce) = arguments.operation else { panic!("{arguments:?}") };
        assert_eq!((produce.target.messages, produce.size, produce.linger_ms), (10, 100, 7));
        assert_eq!((produce.compression, produce.acks), (Codec::Zstd, Acknowledgements::Leader));

        let line = "ottla-bench consume --brokers 127.0.0.1:9092 --topic t --messages 10 --from-beginning --group g";
        let arguments = Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let Operation::Consume(consume) = arguments.operation else { panic!("{arguments:?}") };
        assert!(consume.from_beginning);
        assert_eq!(consume.group.as_deref(), Some("g"));
    }
}
