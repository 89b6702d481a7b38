//! A cluster in memory, a client of it, and a group whose life is followed record by record.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::{Acks, AutoOffsetReset, Client, ClientBuilder, Consumer, ConsumerBuilder, NodeId, ProducerRecord};
use ottla_broker::{EmbeddedCluster, EmbeddedClusterBuilder, Transport};
use ottla_connection::MemoryNetwork;
use ottla_wire::ApiKey;
use tokio::time::Instant;

pub(crate) const TOPIC: &str = "letters";
pub(crate) const GROUP: &str = "readers";
pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const NODES: i32 = 3;
/// Longer than anything takes that does not hang.
pub(crate) const LONG: Duration = Duration::from_mins(10);

/// A cluster of three nodes, and a client.
pub(crate) struct Setup {
    pub(crate) cluster: EmbeddedCluster,
    pub(crate) network: MemoryNetwork,
    pub(crate) client: Client,
}

impl Setup {
    pub(crate) async fn start() -> Self {
        Self::start_with(|cluster| cluster, |client| client).await
    }

    pub(crate) async fn start_with(
        of_cluster: impl FnOnce(EmbeddedClusterBuilder) -> EmbeddedClusterBuilder,
        of_client: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Self {
        let network = MemoryNetwork::new();
        let builder = EmbeddedCluster::builder()
            .nodes(NODES)
            .seed(1)
            .start_time_ms(1_000_000)
            .default_replication_factor(NODES as i16)
            .transport(Transport::Memory(network.clone()));
        let cluster = of_cluster(builder).start().await.unwrap();
        cluster.create_topic(TOPIC, PARTITIONS, NODES as i16).await.unwrap();
        let client = of_client(client_builder(&cluster)).build().unwrap();
        Self { cluster, network, client }
    }

    /// Sends so many records to each partition of the topic, and waits for the answers.
    pub(crate) async fn produce(&self, records: i64) {
        self.produce_to(TOPIC, records).await;
    }

    pub(crate) async fn produce_to(&self, topic: &str, records: i64) {
        produce_by(&self.client, topic, records).await;
    }

    /// A member of the group that reads from the start, and commits when it is told to.
    pub(crate) fn consumer(&self) -> ConsumerBuilder {
        let consumer = self.client.consumer().group_id(GROUP).auto_offset_reset(AutoOffsetReset::Earliest);
        consumer.enable_auto_commit(false)
    }

    pub(crate) fn member(&self) -> Consumer {
        let member = self.consumer().build().unwrap();
        member.subscribe([TOPIC]).unwrap();
        member
    }

    /// What the group has committed of each partition of the topic.
    pub(crate) async fn committed(&self) -> BTreeMap<i32, i64> {
        let committed = self.cluster.committed_offsets(GROUP).await.unwrap();
        let of_topic = committed.into_iter().filter(|(partition, _)| &*partition.topic == TOPIC);
        of_topic.map(|(partition, committed)| (partition.partition, committed.offset)).collect()
    }

    /// How many requests of an API all nodes have read.
    pub(crate) fn requests(&self, api: ApiKey) -> u64 {
        self.nodes().map(|node| self.cluster.faults().requests(node, api)).sum()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        self.cluster.nodes()
    }

    /// How many connections there are to all nodes.
    pub(crate) fn connections(&self) -> usize {
        let open = |node| self.network.open_connections(self.cluster.address(node).unwrap());
        self.nodes().map(open).sum()
    }

    /// Moves the group's coordinator and every partition's leader to that node.
    pub(crate) async fn move_all_to(&self, node: NodeId) {
        self.cluster.move_coordinator(GROUP, node).await.unwrap();
        for partition in 0..PARTITIONS {
            self.cluster.move_leader(TOPIC, partition, node).await.unwrap();
        }
    }
}

/// A client with connections of its own.
pub(crate) fn client_builder(cluster: &EmbeddedCluster) -> ClientBuilder {
    let builder = Client::builder().bootstrap_servers(cluster.bootstrap_servers());
    builder.connector(cluster.connector()).seed(1)
}

/// Sends so many records to each partition of a topic, one after the other.
pub(crate) async fn produce_by(client: &Client, topic: &str, records: i64) {
    let producer = client.producer().acks(Acks::All).build().unwrap();
    for number in 0..records {
        for partition in 0..PARTITIONS {
            let record = ProducerRecord::new(topic).partition(partition).value(number.to_string());
            in_time("producing", producer.send(record)).await.unwrap();
        }
    }
    producer.close(LONG).await;
}

/// The offset that is to come next of each partition: none is left out, none comes twice.
#[derive(Debug, Default)]
pub(crate) struct Seen(pub(crate) BTreeMap<(String, i32), i64>);

impl Seen {
    /// Polls until each partition of the topic has been read up to `end`, and no further.
    pub(crate) async fn read_to(&mut self, consumer: &mut Consumer, end: i64) {
        self.read_topics_to(consumer, &[TOPIC], end).await;
    }

    pub(crate) async fn read_topics_to(&mut self, consumer: &mut Consumer, topics: &[&str], end: i64) {
        let partitions = topics.iter().flat_map(|topic| (0..PARTITIONS).map(|index| (topic.to_string(), index)));
        let partitions: Vec<_> = partitions.collect();
        let deadline = Instant::now() + LONG;
        while partitions.iter().any(|partition| self.next(partition) < end) {
            assert!(Instant::now() < deadline, "{end} are not reached: {self:?}");
            self.poll(consumer, Duration::from_secs(1)).await;
        }
        assert!(partitions.iter().all(|partition| self.next(partition) == end), "more than {end}: {self:?}");
    }

    /// Polls for so long; says how many records came.
    pub(crate) async fn poll_for(&mut self, consumer: &mut Consumer, time: Duration) -> i64 {
        let (deadline, before) = (Instant::now() + time, self.count());
        while Instant::now() < deadline {
            self.poll(consumer, (deadline - Instant::now()).min(Duration::from_secs(1))).await;
        }
        self.count() - before
    }

    async fn poll(&mut self, consumer: &mut Consumer, time: Duration) {
        for batch in &consumer.poll(time).await.unwrap() {
            let next = self.0.entry((batch.topic().to_owned(), batch.partition())).or_default();
            for record in batch.records() {
                assert_eq!(record.unwrap().offset(), *next, "of partition {}", batch.partition());
                *next += 1;
            }
        }
    }

    fn next(&self, partition: &(String, i32)) -> i64 {
        self.0.get(partition).copied().unwrap_or(0)
    }

    fn count(&self) -> i64 {
        self.0.values().sum()
    }
}

/// What does not end is a failure that says so.
pub(crate) async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// The whole life of a group: records are written, read and committed by one member, and those that follow by the next.
pub(crate) async fn live_through(setup: &Setup) {
    setup.produce(2).await;
    let (mut first, mut seen) = (setup.member(), Seen::default());
    seen.read_to(&mut first, 2).await;
    in_time("committing", first.commit_sync()).await.unwrap();
    assert_eq!(setup.committed().await, all_at(2));
    in_time("closing", first.close()).await.unwrap();
    assert!(setup.cluster.describe_group(GROUP).await.unwrap().members.is_empty(), "it has left");
    setup.produce(3).await;
    let mut second = setup.member();
    seen.read_to(&mut second, 5).await;
    in_time("committing", second.commit_sync()).await.unwrap();
    assert_eq!(setup.committed().await, all_at(5));
    in_time("closing", second.close()).await.unwrap();
}

pub(crate) fn all_at(offset: i64) -> BTreeMap<i32, i64> {
    (0..PARTITIONS).map(|partition| (partition, offset)).collect()
}
