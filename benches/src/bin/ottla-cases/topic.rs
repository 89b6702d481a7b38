//! Topics for the scripts.

use std::time::Duration;

use ottla::admin::NewTopic;
use ottla::{Client, NodeId, TopicPartition};

use ottla_benches::{Failure, Setting};

/// How long the brokers may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Makes a topic without followers, whose partitions the brokers lead in turn, and waits until all can be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The brokers to start from.
    #[arg(long)]
    brokers: String,
    /// Its name.
    #[arg(long)]
    topic: String,
    /// How many partitions.
    #[arg(long)]
    partitions: i32,
    /// How many brokers lead them, numbered from 0: partition by partition, from the first again behind the last.
    #[arg(long, default_value_t = 1)]
    nodes: i32,
    /// A setting of the topic. May be repeated.
    #[arg(long = "config", value_name = "NAME=VALUE")]
    configs: Vec<Setting>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = Client::builder().bootstrap_servers(&arguments.brokers).client_id("ottla-cases").build()?;
    let leader = |partition: i32| [NodeId(partition % arguments.nodes)];
    let mut topic = NewTopic::with_assignments(&arguments.topic, (0..arguments.partitions).map(leader));
    for Setting { name, value } in &arguments.configs {
        topic = topic.config(name, value);
    }
    client.admin().create_topics([topic]).timeout(PATIENCE).await?.all()?;
    // Brokers make the logs of thousands of partitions one after the other, long after they have said yes.
    let consumer = client.consumer().default_api_timeout(PATIENCE).build()?;
    let all = (0..arguments.partitions).map(|partition| TopicPartition::new(arguments.topic.as_str(), partition));
    consumer.end_offsets(all).await?;
    consumer.close().await?;
    client.close().await;
    Ok(())
}
