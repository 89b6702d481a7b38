//! From a broker's SIGKILL until the first record from the partition's next leader is there.
//!
//! A producer writes a record every few milliseconds to the one partition of a topic on three brokers, and a consumer reads
//! them; the leader is killed, and the first batch counts that bears a later leader epoch. Beside it stands when the
//! cluster first names another leader, asked all the time, before which nobody can know where to go; and when the producer
//! first has an answer, before which there is nothing to read.

use std::collections::VecDeque;
use std::time::Duration;

use ottla::admin::NewTopic;
use ottla::{AutoOffsetReset, Client, Consumer, NodeId, ProducerRecord};
use protocol_tests::kafka::{self, KafkaCluster, Toolbox};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use ottla_benches::Failure;

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
    let cluster = KafkaCluster::builder(toolbox)
        .nodes(3)
        .setting("min.insync.replicas", 2)
        // Else the new leader's follower may wait a second before it fetches, and no record is readable meanwhile.
        .setting("replica.fetch.backoff.ms", 50)
        .start()
        .await?;
    let client = Client::builder().bootstrap_servers(cluster.bootstrap_servers()).client_id("observer");
    let observer = client.request_timeout(Duration::from_secs(2)).build()?;
    observer.admin().create_topics([NewTopic::new(TOPIC, 1, 3)]).await?.all()?;

    let reader = Client::builder().bootstrap_servers(cluster.bootstrap_servers()).client_id("reader").build()?;
    let mut consumer = reader.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build()?;
    consumer.assign_topic(TOPIC).await?;
    let (acknowledged, mut acknowledgements) = watch::channel(Instant::now());
    let mut writer = JoinSet::new();
    writer.spawn(write(cluster.bootstrap_servers(), acknowledged));
    for round in 1..=arguments.rounds {
        let leader = whole(&observer).await?;
        let epoch = epoch_of_next_batch(&mut consumer).await?;
        cluster.kill_node(leader.0 as usize).await?;
        let killed = Instant::now();
        let (named, written, read) = tokio::join!(
            tokio::time::timeout(PATIENCE, another_leader(&observer, leader)),
            tokio::time::timeout(PATIENCE, acknowledgement_of(&mut acknowledgements, killed)),
            tokio::time::timeout(PATIENCE, batch_after(&mut consumer, epoch)),
        );
        let result = json!({
            "leader_named_s": (named? - killed).as_secs_f64(),
            "first_written_s": (written?? - killed).as_secs_f64(),
            "first_record_s": (read?? - killed).as_secs_f64(),
        });
        println!("{}", json!({ "scenario": "case-g", "name": "ottla", "round": round, "rc": 0, "result": result }));
        cluster.start_node(leader.0 as usize).await?;
    }
    writer.shutdown().await;
    consumer.close().await?;
    cluster.end()?;
    Ok(())
}

/// Writes until it is dropped, and tells when the newest record that is acknowledged was handed over and no earlier one is
/// waited for.
async fn write(brokers: String, acknowledged: watch::Sender<Instant>) -> Result<(), Failure> {
    let client = Client::builder().bootstrap_servers(brokers).client_id("writer").build()?;
    let producer = client.producer().linger(Duration::ZERO).build()?;
    let mut answers = VecDeque::new();
    loop {
        let record = ProducerRecord::new(TOPIC).partition(0).value(&b"value"[..]);
        answers.push_back((Instant::now(), producer.enqueue(record).await?));
        tokio::time::sleep(GAP).await;
        // In their order, which is that of the log.
        while let Some((_, answer)) = answers.front_mut()
            && let Ok(answered) = tokio::time::timeout(Duration::ZERO, answer).await
        {
            if let Some((since, _)) = answers.pop_front()
                && answered.is_ok()
            {
                acknowledged.send_replace(since);
            }
        }
    }
}

/// When the first record is acknowledged that was handed over after `since`.
async fn acknowledgement_of(
    acknowledgements: &mut watch::Receiver<Instant>,
    since: Instant,
) -> Result<Instant, watch::error::RecvError> {
    acknowledgements.wait_for(|handed_over| *handed_over > since).await?;
    Ok(Instant::now())
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
