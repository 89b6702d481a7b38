//! The command line.

use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ottla::Compression;
use ottla_benches::Setting;

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
    /// Is a broker that answers from memory, until it is killed. Says `bootstrap HOST:PORT` when it serves.
    Serve(Serve),
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
    /// A setting of the consumer by Kafka's name or Ottla's: `fetch.max.bytes=1048576`. May be repeated.
    #[arg(long = "property", value_name = "NAME=VALUE")]
    pub(crate) properties: Vec<Setting>,
    /// Process no more than so many messages a second, as a slow application does: the time is spent between polls.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rate: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// A topic and its partitions. May be repeated: all hold the same.
    #[arg(long = "topic", value_name = "NAME:PARTITIONS", required = true)]
    pub(crate) topics: Vec<TopicArgument>,
    /// The size of each message's value, in bytes.
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) compression: Codec,
    /// How large a batch is before it is compressed, in bytes.
    #[arg(long, default_value_t = 128 * 1024)]
    pub(crate) batch_bytes: usize,
    /// How often the 64 MiB that are prepared are repeated; without end by default.
    #[arg(long)]
    pub(crate) laps: Option<u64>,
    /// The first node's port; the others have those that follow. 0: any that are free.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// How many nodes share the partitions.
    #[arg(long, default_value_t = 1)]
    pub(crate) nodes: i32,
}

/// A topic as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicArgument {
    pub(crate) name: String,
    pub(crate) partitions: i32,
}

impl FromStr for TopicArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, partitions) = text.split_once(':').ok_or("it is not NAME:PARTITIONS")?;
        let partitions = partitions.parse().map_err(|_| "the number of partitions is no number")?;
        Ok(Self { name: name.to_owned(), partitions })
    }
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
    /// Write to these partitions only, from 0 on, in turn. Default: the producer chooses.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) partitions: Option<u32>,
    /// How many messages a partition gets in its turn.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) chunk: u64,
    /// All messages are the same, so that they compress as far as may be.
    #[arg(long)]
    pub(crate) same: bool,
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

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
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

    #[test]
    fn settings_and_topics_are_told_from_their_names() {
        let setting = Setting { name: "fetch.max.bytes".to_owned(), value: "1".to_owned() };
        assert_eq!("fetch.max.bytes=1".parse(), Ok(setting));
        assert!("fetch.max.bytes".parse::<Setting>().is_err());
        assert_eq!("t:3".parse(), Ok(TopicArgument { name: "t".to_owned(), partitions: 3 }));
        assert!("t".parse::<TopicArgument>().is_err() && "t:x".parse::<TopicArgument>().is_err());
    }
}
