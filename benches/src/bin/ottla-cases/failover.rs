//! From a broker's SIGKILL until the first record from the partition's next leader is there.
//!
//! A producer writes a record every few milliseconds to the one partition of a topic on three brokers, and a consumer reads
//! them; the leader is killed, and the first batch counts that bears a later leader epoch. Beside it stands when the
//! cluster first names another leader, asked all the time: before that, nobody can know where to go.

use std::time::Duration;

use ottla::admin::NewTopic;
use ottla::{AutoOffsetReset, Client, Consumer, NodeId, ProducerRecord};
use protocol_tests::kafka::{self, KafkaCluster, Toolbox};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Failure;

const TOPIC: &str = "failover";
/// A record is written each time that so long has passed.
const GAP: Duration = Duration::from_millis(5);
/// How often the cluster is asked who leads.
const OBSERVATION: Duration = Duration::from_millis(20);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Kills the leader of a partition that is read, again and again, and tells how long the reader stood still.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let toolbox = Toolbox::find(&kafka::version())?;
    let cluster = KafkaCluster::builder(toolbox).nodes(3).setting("min.insync.replicas", 2).start().await?;
    let client = Client::builder().bootstrap_servers(cluster.bootstrap_servers()).client_id("observer");
    let observer = client.request_timeout(Duration::from_secs(2)).build()?;
    observer.admin().create_topics([NewTopic::new(TOPIC, 1, 3)]).await?.all()?;

    let reader = Client::builder().bootstrap_servers(cluster.bootstrap_servers()).client_id("reader").build()?;
    let mut consumer = reader.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build()?;
    consumer.assign_topic(TOPIC).await?;
    let mut writer = JoinSet::new();
    writer.spawn(write(cluster.bootstrap_servers()));
    for round in 1..=arguments.rounds {
        let leader = whole(&observer).await?;
        let epoch = epoch_of_next_batch(&mut consumer).await?;
        cluster.kill_node(leader.0 as usize).await?;
        let killed = Instant::now();
        let (named, read) = tokio::join!(
            tokio::time::timeout(PATIENCE, another_leader(&observer, leader)),
            tokio::time::timeout(PATIENCE, batch_after(&mut consumer, epoch)),
        );
        let (named, read) = (named? - killed, read?? - killed);
        let result = json!({ "leader_named_s": named.as_secs_f64(), "first_record_s": read.as_secs_f64() });
        println!("{}", json!({ "scenario": "case-g", "name": "ottla", "round": round, "rc": 0, "result": result }));
        cluster.start_node(leader.0 as usize).await?;
    }
    writer.shutdown().await;
    consumer.close().await?;
    cluster.end()?;
    Ok(())
}

/// Writes until it is dropped.
async fn write(brokers: String) -> Result<(), Failure> {
    let client = Client::builder().bootstrap_servers(brokers).client_id("writer").build()?;
    let producer = client.producer().linger(Duration::ZERO).build()?;
    loop {
        drop(producer.enqueue(ProducerRecord::new(TOPIC).partition(0).value(&b"value"[..])).await?);
        tokio::time::sleep(GAP).await;
    }
}

/// Waits until all replicas are in sync, and says who leads.
async fn whole(observer: &Client) -> Result<NodeId, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some((Some(leader), 3)) = described(observer).await {
            return Ok(leader);
        }
        if Instant::now() > deadline {
            return Err(format!("the replicas are not in sync after {PATIENCE:?}").into());
        }
        tokio::time::sleep(OBSERVATION).await;
    }
}

/// When another than `former` leads.
async fn another_leader(observer: &Client, former: NodeId) -> Instant {
    loop {
        match described(observer).await {
            Some((Some(leader), _)) if leader != former => return Instant::now(),
            _ => tokio::time::sleep(OBSERVATION).await,
        }
    }
}

/// The leader, and how many replicas are in sync.
async fn described(observer: &Client) -> Option<(Option<NodeId>, usize)> {
    let topics = observer.admin().describe_topics([TOPIC]).timeout(Duration::from_secs(2)).await.ok()?.all().ok()?;
    let partition = topics.first()?.partitions.first()?;
    Some((partition.leader, partition.in_sync_replicas.len()))
}

async fn epoch_of_next_batch(consumer: &mut Consumer) -> Result<i32, Failure> {
    loop {
        // What was written in earlier rounds and is read only now says nothing.
        let batches = consumer.poll(PATIENCE).await?;
        if let Some(batch) = batches.iter().last()
            && batch.next_offset() >= batch.high_watermark()
        {
            return Ok(batch.leader_epoch().map_or(-1, |epoch| epoch.0));
        }
    }
}

/// When a batch is there that a later leader has written.
async fn batch_after(consumer: &mut Consumer, epoch: i32) -> Result<Instant, ottla::consumer::Error> {
    loop {
        let batches = consumer.poll(PATIENCE).await?;
        if batches.iter().any(|batch| batch.leader_epoch().is_some_and(|later| later.0 > epoch)) {
            return Ok(Instant::now());
        }
    }
}
