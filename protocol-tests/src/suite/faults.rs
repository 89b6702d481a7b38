//! Nodes that stop, die, hang and lose their leadership, while records are written and read.
//!
//! What holds throughout: an acknowledged record (acks=all) is read, and records of one partition are first read in the
//! order in which they were sent. Until producers are idempotent, a retry may write a record twice.

use std::time::Duration;

use ottla::{AutoOffsetReset, Client, Consumer, Producer, TopicPartition};

use super::io::{read, send_all, to_send};
use super::{TestCluster, case_table, eventually, fault_time};
use crate::record::PlainRecord;

case_table![sharing:
    #[several_nodes] a_moved_leader_is_followed_by_producer_and_consumer;
    breaking:
    #[several_nodes] a_node_that_stops_and_returns_loses_nothing,
    #[several_nodes] a_node_that_is_killed_loses_nothing_acknowledged,
    #[several_nodes] rounds_of_kills_lose_nothing_acknowledged,
    #[several_nodes] a_node_that_hangs_delays_only_what_it_leads,
    clients_made_while_the_cluster_is_down_work_once_it_is_up,
];

const PARTITIONS: i32 = 6;

/// A producer of numbered records and a consumer of all of them, on a topic whose partitions have leaders on every node.
struct Traffic {
    topic: String,
    producer: Producer,
    consumer: Consumer,
    acknowledged: i64,
    read: Vec<PlainRecord>,
}

impl Traffic {
    async fn start(cluster: &TestCluster, client: &Client, suffix: &str) -> Self {
        let topic = cluster.topic(suffix, PARTITIONS).await;
        let producer = client.producer().delivery_timeout(Duration::from_mins(2)).build().unwrap();
        let consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
        consumer.assign((0..PARTITIONS).map(|partition| TopicPartition::new(&*topic, partition))).unwrap();
        Self { topic, producer, consumer, acknowledged: 0, read: Vec::new() }
    }

    /// Sends `count` more records over all partitions and waits until every one is acknowledged.
    async fn send(&mut self, count: i64) {
        let numbers = self.acknowledged..self.acknowledged + count;
        let records = numbers.map(|i| PlainRecord::new("k", i.to_string()).to_partition(i as i32 % PARTITIONS));
        send_all(&self.producer, &self.topic, &records.collect::<Vec<_>>()).await;
        self.acknowledged += count;
    }

    /// Reads until everything acknowledged has come, and checks the order.
    async fn check(&mut self) {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        loop {
            let seen = self.numbers().into_iter().flatten().collect::<std::collections::BTreeSet<_>>();
            if seen.len() as i64 == self.acknowledged {
                break;
            }
            let missing = (0..self.acknowledged).find(|i| !seen.contains(i));
            assert!(tokio::time::Instant::now() < deadline, "record {missing:?} was acknowledged and does not come");
            // What one partition suffers is told and passes; reading goes on.
            if let Ok(batches) = self.consumer.poll(Duration::from_millis(500)).await {
                super::io::take(&batches, &mut self.read);
            }
        }
        for (partition, numbers) in self.numbers().into_iter().enumerate() {
            let mut firsts = Vec::new();
            for number in numbers {
                if !firsts.contains(&number) {
                    firsts.push(number);
                }
            }
            assert!(firsts.is_sorted(), "partition {partition} was written in another order: {firsts:?}");
        }
    }

    /// Per partition the numbers as they were read; a retried batch shows twice.
    fn numbers(&self) -> Vec<Vec<i64>> {
        let mut numbers = vec![Vec::new(); PARTITIONS as usize];
        for record in &self.read {
            let number = std::str::from_utf8(record.value.as_deref().unwrap()).unwrap().parse().unwrap();
            numbers[record.partition.unwrap() as usize].push(number);
        }
        numbers
    }
}

async fn a_moved_leader_is_followed_by_producer_and_consumer(cluster: TestCluster) {
    let client = cluster.client();
    let mut traffic = Traffic::start(&cluster, &client, "moves").await;
    traffic.send(60).await;
    for round in 0..cluster.nodes() {
        for partition in 0..2 {
            let leader = cluster.leader(&traffic.topic, partition).await;
            cluster.move_leader(&traffic.topic, partition, (leader + 1 + round % 2) % cluster.nodes()).await;
        }
        traffic.send(60).await;
        traffic.check().await;
    }
}

async fn a_node_that_stops_and_returns_loses_nothing(cluster: TestCluster) {
    let client = cluster.client();
    let mut traffic = Traffic::start(&cluster, &client, "stops").await;
    for node in 0..cluster.nodes() {
        traffic.send(60).await;
        let ((), ()) = tokio::join!(cluster.stop_node(node), traffic.send(600));
        traffic.check().await;
        let ((), ()) = tokio::join!(cluster.start_node(node), traffic.send(600));
        traffic.check().await;
        cluster.all_in_sync(&traffic.topic).await;
    }
}

async fn a_node_that_is_killed_loses_nothing_acknowledged(cluster: TestCluster) {
    let client = cluster.client();
    let mut traffic = Traffic::start(&cluster, &client, "killed").await;
    traffic.send(60).await;
    let node = cluster.leader(&traffic.topic, 0).await;
    let ((), ()) = tokio::join!(cluster.kill_node(node), traffic.send(600));
    traffic.check().await;
    let ((), ()) = tokio::join!(cluster.start_node(node), traffic.send(600));
    traffic.check().await;
}

async fn rounds_of_kills_lose_nothing_acknowledged(cluster: TestCluster) {
    let client = cluster.client();
    let mut traffic = Traffic::start(&cluster, &client, "rounds").await;
    let mut random = fastrand::Rng::with_seed(17);
    let until = tokio::time::Instant::now() + fault_time();
    let mut rounds = 0;
    while rounds == 0
        || (cluster.is_kafka() && tokio::time::Instant::now() < until)
        || (!cluster.is_kafka() && rounds < 10)
    {
        let node = random.i32(0..cluster.nodes());
        let ((), ()) = tokio::join!(cluster.kill_node(node), traffic.send(300));
        let ((), ()) = tokio::join!(cluster.start_node(node), traffic.send(300));
        traffic.check().await;
        // Killed once more before it has caught up, it would take acknowledged records with it: that is no client's matter.
        cluster.all_in_sync(&traffic.topic).await;
        rounds += 1;
    }
    println!("{rounds} rounds, {} records acknowledged", traffic.acknowledged);
}

async fn a_node_that_hangs_delays_only_what_it_leads(cluster: TestCluster) {
    let client = cluster.client_builder().request_timeout(Duration::from_secs(3)).build().unwrap();
    let mut traffic = Traffic::start(&cluster, &client, "hangs").await;
    traffic.send(60).await;
    traffic.check().await;
    let node = cluster.leader(&traffic.topic, 0).await;
    let mut led_elsewhere = None;
    for partition in 1..PARTITIONS {
        if cluster.leader(&traffic.topic, partition).await != node {
            led_elsewhere = Some(partition);
            break;
        }
    }
    let led_elsewhere = led_elsewhere.expect("the leaders are spread over the nodes");
    cluster.pause_node(node);
    // acks=all waits until the hanging replica has left the in-sync replicas; reading waits for nobody.
    let elsewhere = PlainRecord::new("k", "elsewhere").to_partition(led_elsewhere);
    let producer = client.producer().acks(ottla::Acks::Leader).build().unwrap();
    let begun = tokio::time::Instant::now();
    producer.send(to_send(&traffic.topic, &elsewhere)).await.expect("another node leads this partition");
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    let records = eventually("the record of the partition that is led elsewhere", async || {
        let batches = traffic.consumer.poll(Duration::from_millis(500)).await.ok()?;
        let mut records = Vec::new();
        super::io::take(&batches, &mut records);
        (!records.is_empty()).then_some(records)
    })
    .await;
    assert!(records.iter().all(|record| record.value == elsewhere.value), "{records:?}");
    cluster.resume_node(node);
    traffic.send(60).await;
    traffic.check().await;
}

async fn clients_made_while_the_cluster_is_down_work_once_it_is_up(cluster: TestCluster) {
    let topic = cluster.topic("down", 1).await;
    for node in 0..cluster.nodes() {
        cluster.kill_node(node).await;
    }
    let client = cluster.client();
    let producer = client.producer().build().unwrap();
    let record = PlainRecord::new("k", "v").to_partition(0);
    let (sent, ()) = tokio::join!(producer.send(to_send(&topic, &record)), cluster.start_all());
    assert_eq!(sent.expect("the record is written once there is a cluster").topic_partition.partition, 0);
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    consumer.assign([TopicPartition::new(&*topic, 0)]).unwrap();
    assert_eq!(read(&mut consumer, 1).await[0].value, record.value);
}
