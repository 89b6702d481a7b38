//! How long `close` takes while every broker is silent: paused in its tracks, with all connections open.

use std::time::Duration;

use ottla::admin::NewTopic;
use ottla::{AutoOffsetReset, Client, ProducerRecord};
use protocol_tests::kafka::{self, KafkaCluster, Toolbox};
use serde_json::json;
use tokio::time::Instant;

use ottla_benches::Failure;

const TOPIC: &str = "close";

/// Closes consumers of which no broker hears, and tells how long that takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often, each with and without a group.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How long closing may take, in seconds.
    #[arg(long, default_value_t = 5)]
    within_s: u64,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let toolbox = Toolbox::find(&kafka::version())?;
    let cluster = KafkaCluster::builder(toolbox).nodes(3).start().await?;
    let client = Client::builder().bootstrap_servers(cluster.bootstrap_servers()).client_id("ottla-cases").build()?;
    client.admin().create_topics([NewTopic::new(TOPIC, 6, 3)]).await?.all()?;
    let producer = client.producer().build()?;
    for partition in 0..6 {
        let record = ProducerRecord::new(TOPIC).partition(partition).value(&b"value"[..]);
        producer.enqueue(record).await?.await?;
    }
    producer.close(Duration::from_secs(10)).await;

    let within = Duration::from_secs(arguments.within_s);
    for round in 1..=arguments.rounds {
        for in_group in [false, true] {
            let group = format!("close-{round}");
            let closed = close_in_silence(&cluster, in_group.then_some(&*group), within).await?;
            let mode = if in_group { "group" } else { "assign" };
            let result = json!({ "mode": mode, "within_s": arguments.within_s, "close_s": closed.as_secs_f64() });
            println!("{}", json!({ "scenario": "case-h", "name": "ottla", "round": round, "rc": 0, "result": result }));
        }
    }
    client.close().await;
    cluster.end()?;
    Ok(())
}

/// What closing takes, of a consumer that has read what there is, and has offsets to commit if it is in a group.
async fn close_in_silence(cluster: &KafkaCluster, group: Option<&str>, within: Duration) -> Result<Duration, Failure> {
    let client = Client::builder().bootstrap_servers(cluster.bootstrap_servers()).client_id("ottla-cases").build()?;
    let builder = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = match group {
        Some(group) => builder.group_id(group).build()?,
        None => builder.build()?,
    };
    match group {
        Some(_) => consumer.subscribe([TOPIC])?,
        None => consumer.assign_topic(TOPIC).await?,
    }
    let mut records = 0;
    while records < 6 {
        let batches = consumer.poll(Duration::from_secs(30)).await?;
        if batches.is_empty() {
            return Err("nothing arrived for 30 s".into());
        }
        records += batches.iter().map(|batch| batch.records().count()).sum::<usize>();
    }
    for node in 0..cluster.nodes() {
        cluster.pause_node(node)?;
    }
    let start = Instant::now();
    // That it could not tell the brokers is what is to be expected.
    let _ = consumer.close_within(within).await;
    let closed = start.elapsed();
    cluster.heal().await?;
    client.close().await;
    Ok(closed)
}
