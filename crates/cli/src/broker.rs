//! `ottla broker`: an embedded cluster on its own, over TCP on loopback.
//!
//! When every node listens and the topics are there, one line goes to standard output, which is what a script waits
//! for: `bootstrap 127.0.0.1:9092,127.0.0.1:9093`. It runs until SIGINT or SIGTERM, and keeps nothing.

use std::error::Error;
use std::io::Write;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_broker::{EmbeddedCluster, Transport};

use crate::ending::Ending;

/// Runs a Kafka cluster in memory, on 127.0.0.1.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The first node's port; the others have those that follow. 0: any that are free.
    #[arg(long, default_value_t = 9092)]
    port: u16,
    /// How many nodes.
    #[arg(long, default_value_t = 1)]
    nodes: i32,
    /// A topic to begin with: its name, its partitions, and its replicas (1 where nothing is said).
    #[arg(long = "topic", value_name = "NAME:PARTITIONS[:REPLICATION]")]
    topics: Vec<Topic>,
    /// Answer that a topic is unknown instead of making it when a client asks for it.
    #[arg(long)]
    no_auto_create: bool,
    /// A configuration for topics that do not set it themselves: max.message.bytes=2000000.
    #[arg(long = "topic-default", value_name = "NAME=VALUE")]
    topic_defaults: Vec<TopicDefault>,
    /// What ids are drawn from; the same number draws the same. By default they differ from run to run, as topics do
    /// that are made anew.
    #[arg(long)]
    seed: Option<u64>,
}

/// A topic as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Topic {
    name: String,
    partitions: i32,
    replication_factor: i16,
}

impl FromStr for Topic {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let name = parts.next().filter(|name| !name.is_empty()).ok_or("the name is missing")?.to_owned();
        let partitions = parts.next().ok_or("the number of partitions is missing")?;
        let partitions = partitions.parse().map_err(|_| "the number of partitions is no number")?;
        let replication_factor = parts.next().unwrap_or("1").parse().map_err(|_| "the replication is no number")?;
        match parts.next() {
            None => Ok(Self { name, partitions, replication_factor }),
            Some(_) => Err("there is more than NAME:PARTITIONS:REPLICATION"),
        }
    }
}

#[derive(Clone, Debug)]
struct TopicDefault {
    name: String,
    value: String,
}

impl FromStr for TopicDefault {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("it is not NAME=VALUE")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Runs until told to end.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    // Before anything listens: whoever sees the bootstrap line may end this at once.
    let mut end = Ending::new()?;
    let mut builder = EmbeddedCluster::builder()
        .nodes(arguments.nodes)
        .transport(Transport::Tcp { port: arguments.port })
        .auto_create_topics(!arguments.no_auto_create)
        .seed(arguments.seed.unwrap_or_else(any_seed));
    for TopicDefault { name, value } in arguments.topic_defaults {
        builder = builder.topic_default(name, value);
    }
    let cluster = builder.start().await?;
    for Topic { name, partitions, replication_factor } in &arguments.topics {
        cluster.create_topic(name, *partitions, *replication_factor).await?;
    }
    let mut output = std::io::stdout();
    writeln!(output, "bootstrap {}", cluster.bootstrap_servers())?;
    output.flush()?;
    end.told().await;
    cluster.shutdown().await;
    Ok(())
}

/// A number that differs from run to run.
#[allow(clippy::disallowed_methods, reason = "what is wanted is a number that does not repeat")]
fn any_seed() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |since| since.as_nanos() as u64) ^ u64::from(std::process::id()) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_a_name_its_partitions_and_perhaps_its_replicas() {
        let topic = |partitions, replication_factor| Topic { name: "t".to_owned(), partitions, replication_factor };
        assert_eq!("t:3".parse(), Ok(topic(3, 1)));
        assert_eq!("t:3:2".parse(), Ok(topic(3, 2)));
        for bad in ["", "t", ":3", "t:x", "t:3:2:1"] {
            assert!(bad.parse::<Topic>().is_err(), "{bad:?}");
        }
    }
}
