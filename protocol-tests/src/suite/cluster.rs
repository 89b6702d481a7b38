//! The cluster that a case runs over: the embedded broker or a real Kafka, with the same handles for breaking it.

use std::sync::Arc;
use std::time::Duration;

use ottla::NodeId;
use ottla::admin::TopicDescription;
use ottla::{Client, ClientBuilder};
use ottla_broker::{EmbeddedCluster, Fault, Loss, Transport};
use ottla_connection::MemoryNetwork;
use tokio::sync::Mutex;

use crate::kafka::{JavaPeer, KafkaCluster, Toolbox};

/// How many brokers an embedded cluster of the suite has.
const EMBEDDED_NODES: i32 = 3;

/// Where groups keep their offsets.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A real Kafka and the Java process that administers it, shared by the cases of one binary.
#[derive(Debug)]
pub struct RealKafka {
    cluster: KafkaCluster,
    peer: Mutex<JavaPeer>,
}

impl RealKafka {
    /// Starts so many brokers, and the Java process.
    pub async fn start(toolbox: Toolbox, brokers: usize) -> std::io::Result<Self> {
        let peer = Mutex::new(JavaPeer::start(&toolbox)?);
        let cluster = KafkaCluster::builder(toolbox)
            .nodes(brokers)
            // Above the client's own limit of a batch, so that the broker's limit is met only where a topic sets it.
            .setting("message.max.bytes", 20 << 20)
            // Compaction is awaited by one case.
            .setting("log.cleaner.backoff.ms", 500)
            .start()
            .await?;
        Ok(Self { cluster, peer })
    }

    /// The brokers.
    pub fn cluster(&self) -> &KafkaCluster {
        &self.cluster
    }

    /// The Java client, one question at a time.
    pub async fn peer(&self) -> tokio::sync::MutexGuard<'_, JavaPeer> {
        self.peer.lock().await
    }

    /// Brings every broker back.
    pub async fn heal(&self) -> std::io::Result<()> {
        self.cluster.heal().await
    }

    /// Ends the brokers and the Java process.
    pub async fn end(self) -> std::io::Result<()> {
        self.cluster.end()?;
        self.peer.into_inner().end().await
    }
}

/// The cluster of a case.
#[derive(Debug, Clone)]
pub struct TestCluster {
    backend: Backend,
    /// Names of topics begin with it: the cases on a real Kafka share one cluster.
    case: &'static str,
}

#[derive(Debug, Clone)]
enum Backend {
    Embedded(Arc<EmbeddedCluster>),
    Kafka(Arc<RealKafka>),
}

impl TestCluster {
    /// A new embedded cluster for this case alone, over TCP on loopback.
    pub async fn embedded_over_tcp(case: &'static str) -> Self {
        Self::embedded(case, Transport::Tcp { port: 0 }).await
    }

    /// A new embedded cluster for this case alone, over the in-memory transport.
    pub async fn embedded_in_memory(case: &'static str) -> Self {
        Self::embedded(case, Transport::Memory(MemoryNetwork::new())).await
    }

    async fn embedded(case: &'static str, transport: Transport) -> Self {
        let builder = EmbeddedCluster::builder().nodes(EMBEDDED_NODES).transport(transport);
        // As the real one has it.
        let racks = (0..EMBEDDED_NODES).map(rack);
        let cluster = builder.racks(racks).fetch_from_closest_replica(true).start().await;
        Self { backend: Backend::Embedded(Arc::new(cluster.expect("the embedded cluster starts"))), case }
    }

    /// The shared real Kafka.
    pub fn kafka(case: &'static str, kafka: Arc<RealKafka>) -> Self {
        Self { backend: Backend::Kafka(kafka), case }
    }

    /// Whether this is a real Kafka.
    pub fn is_kafka(&self) -> bool {
        matches!(self.backend, Backend::Kafka(_))
    }

    /// How many nodes it has, whether they run or not. They are numbered from 0.
    pub fn nodes(&self) -> i32 {
        match &self.backend {
            Backend::Embedded(_) => EMBEDDED_NODES,
            Backend::Kafka(kafka) => kafka.cluster.nodes() as i32,
        }
    }

    /// Where clients begin.
    pub fn bootstrap_servers(&self) -> String {
        match &self.backend {
            Backend::Embedded(cluster) => cluster.bootstrap_servers(),
            Backend::Kafka(kafka) => kafka.cluster.bootstrap_servers(),
        }
    }

    /// A client with short back-offs and time-outs, so that faults are seen within a test's patience, for more settings.
    pub fn client_builder(&self) -> ClientBuilder {
        let builder = Client::builder()
            .bootstrap_servers(self.bootstrap_servers())
            .client_id(self.case)
            .seed(self.case.bytes().map(u64::from).sum())
            .request_timeout(Duration::from_secs(10));
        match &self.backend {
            Backend::Embedded(cluster) => builder.connector(cluster.connector()),
            Backend::Kafka(_) => builder,
        }
    }

    /// A client as the cases use it.
    pub fn client(&self) -> Client {
        self.client_builder().build().expect("the settings are valid")
    }

    /// A name that no other case uses.
    pub fn topic_name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.case)
    }

    /// Creates a topic with a replica on every node, without the client under test, and returns its name once every partition has
    /// a leader.
    pub async fn topic(&self, suffix: &str, partitions: i32) -> String {
        self.topic_with(suffix, partitions, &[]).await
    }

    /// As [`topic`](Self::topic), with settings of its own.
    pub async fn topic_with(&self, suffix: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
        self.create_topic(suffix, partitions, self.nodes() as i16, configs).await
    }

    /// A topic of one partition with so many replicas, and with settings of its own.
    pub async fn topic_of_replicas(&self, suffix: &str, replicas: i16, configs: &[(&str, &str)]) -> String {
        self.create_topic(suffix, 1, replicas, configs).await
    }

    async fn create_topic(&self, suffix: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) -> String {
        let name = self.topic_name(suffix);
        // What acks=all acknowledges survives the loss of any one node. As a topic's setting: before Kafka 4, a cluster
        // that has it as its default refuses writes to topics of one replica.
        let in_sync = self.nodes().min(2).to_string();
        let configs = [&[("min.insync.replicas", &*in_sync)], configs].concat();
        match &self.backend {
            Backend::Embedded(cluster) => {
                let created = cluster.create_topic_with(&name, partitions, replicas, configs.iter().copied()).await;
                created.expect("the topic is created");
            }
            Backend::Kafka(kafka) => {
                let (mut peer, bootstrap) = (kafka.peer().await, self.bootstrap_servers());
                let created = peer.create_topic(&bootstrap, &name, partitions, replicas, &configs).await;
                created.expect("Java creates the topic");
            }
        }
        let client = self.client();
        self.wait_for_leaders(&client, &name, partitions).await;
        name
    }

    async fn wait_for_leaders(&self, client: &Client, topic: &str, partitions: i32) {
        eventually("every partition has a leader", async || {
            let description = describe(client, topic).await?;
            let partitions_led = description.partitions.iter().filter(|partition| partition.leader.is_some()).count();
            (partitions_led == partitions as usize).then_some(())
        })
        .await;
    }

    /// The node that leads a partition, once it has one.
    pub async fn leader(&self, topic: &str, partition: i32) -> i32 {
        let client = self.client();
        eventually("the partition has a leader", async || {
            let description = describe(&client, topic).await?;
            description.partitions.iter().find(|known| known.partition == partition)?.leader.map(|node| node.0)
        })
        .await
    }

    /// The node that coordinates a group: the leader of its partition of `__consumer_offsets`, which is there once somebody
    /// has asked for a coordinator.
    pub async fn coordinator(&self, group: &str) -> i32 {
        let client = self.client();
        let partitions = eventually("there is a topic for offsets", async || {
            i32::try_from(describe(&client, OFFSETS_TOPIC).await?.partitions.len()).ok().filter(|count| *count > 0)
        })
        .await;
        // Java's String.hashCode, without its sign.
        let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
        self.leader(OFFSETS_TOPIC, (hash & i32::MAX) % partitions).await
    }

    /// Makes `node` lead the partition.
    pub async fn move_leader(&self, topic: &str, partition: i32, node: i32) {
        match &self.backend {
            Backend::Embedded(cluster) => {
                cluster.move_leader(topic, partition, NodeId(node)).await.expect("the node can lead the partition");
            }
            Backend::Kafka(kafka) => {
                let bootstrap = self.bootstrap_servers();
                kafka
                    .peer()
                    .await
                    .move_leader(&bootstrap, topic, partition, node)
                    .await
                    .expect("Java moves the leader");
            }
        }
    }

    /// The rack that a node stands in.
    pub fn rack(&self, node: i32) -> String {
        rack(node)
    }

    /// Makes a partition begin at `offset`.
    pub async fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        match &self.backend {
            Backend::Embedded(cluster) => {
                cluster.delete_records(topic, partition, offset).await.expect("the records are deleted");
            }
            Backend::Kafka(kafka) => {
                let (mut peer, bootstrap) = (kafka.peer().await, self.bootstrap_servers());
                peer.delete_records(&bootstrap, topic, partition, offset).await.expect("Java deletes the records");
            }
        }
    }

    /// Has any replica of a partition that is up lead it, in sync or not, unless the cluster has done so by itself: Kafka before
    /// 3.9 does not, whatever the topic's settings.
    pub async fn elect_uncleanly(&self, topic: &str, partition: i32) {
        if let Backend::Kafka(kafka) = &self.backend {
            // Refused where there is a leader, or none is up yet. Whoever calls waits for the leader.
            let bootstrap = self.bootstrap_servers();
            let _: std::io::Result<()> = kafka.peer().await.elect_uncleanly(&bootstrap, topic, partition).await;
        }
    }

    /// Stops a node in an orderly way.
    pub async fn stop_node(&self, node: i32) {
        match &self.backend {
            Backend::Embedded(cluster) => cluster.stop_node(NodeId(node)).await.expect("the node stops"),
            Backend::Kafka(kafka) => kafka.cluster.stop_node(node as usize).await.expect("the broker stops"),
        }
    }

    /// Kills a node; what only it had in memory is lost, acknowledged records (acks=all) are not.
    pub async fn kill_node(&self, node: i32) {
        match &self.backend {
            Backend::Embedded(cluster) => {
                cluster.kill_node(NodeId(node), Loss::Unreplicated).await.expect("the node dies");
            }
            Backend::Kafka(kafka) => kafka.cluster.kill_node(node as usize).await.expect("the broker dies"),
        }
    }

    /// Starts a stopped or killed node.
    pub async fn start_node(&self, node: i32) {
        match &self.backend {
            Backend::Embedded(cluster) => cluster.start_node(NodeId(node)).await.expect("the node starts"),
            Backend::Kafka(kafka) => kafka.cluster.start_node(node as usize).await.expect("the broker starts"),
        }
    }

    /// Starts every node, together: the brokers of a real Kafka wait for a majority of controllers.
    pub async fn start_all(&self) {
        match &self.backend {
            Backend::Embedded(_) => {
                for node in 0..EMBEDDED_NODES {
                    self.start_node(node).await;
                }
            }
            Backend::Kafka(kafka) => kafka.cluster.heal().await.expect("the brokers start"),
        }
    }

    /// The node keeps its connections and answers nothing (SIGSTOP, or its like).
    pub fn pause_node(&self, node: i32) {
        match &self.backend {
            Backend::Embedded(cluster) => {
                cluster.faults().inject(Fault::black_hole().on_node(NodeId(node)).always());
            }
            Backend::Kafka(kafka) => kafka.cluster.pause_node(node as usize).expect("the broker pauses"),
        }
    }

    /// A paused node goes on.
    pub fn resume_node(&self, node: i32) {
        match &self.backend {
            Backend::Embedded(cluster) => cluster.faults().clear(),
            Backend::Kafka(kafka) => kafka.cluster.resume_node(node as usize).expect("the broker goes on"),
        }
    }

    /// Waits until every replica of the topic is in sync.
    pub async fn all_in_sync(&self, topic: &str) {
        self.all_in_sync_of(topic, self.nodes() as usize).await;
    }

    /// Waits until so many replicas of each partition are in sync, neither more nor fewer.
    pub async fn all_in_sync_of(&self, topic: &str, replicas: usize) {
        let client = self.client();
        eventually("so many replicas are in sync", async || {
            let description = describe(&client, topic).await?;
            description.partitions.iter().all(|partition| partition.in_sync_replicas.len() == replicas).then_some(())
        })
        .await;
    }

    /// The real Kafka, where this is one.
    pub fn real_kafka(&self) -> Option<&Arc<RealKafka>> {
        match &self.backend {
            Backend::Embedded(_) => None,
            Backend::Kafka(kafka) => Some(kafka),
        }
    }
}

fn rack(node: i32) -> String {
    format!("rack-{node}")
}

/// The topic as the cluster has it now; `None` while it cannot say.
pub(super) async fn describe(client: &Client, topic: &str) -> Option<TopicDescription> {
    client.admin().describe_topics([topic]).await.ok()?.all().ok()?.pop()
}

/// Asks until there is an answer. The wait is for the condition; a minute without it is a failure that says what was awaited.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
