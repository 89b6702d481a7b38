//! The brokers and the topics of both sides, and when they are whole again.

use std::time::Duration;

use ottla::admin::NewTopic;
use ottla::{Client, NodeId};
use protocol_tests::kafka::{KafkaCluster, Toolbox};
use protocol_tests::suite::eventually;

/// How many brokers there are.
pub(crate) const BROKERS: usize = 3;
/// How many partitions each side's topic has: two for each member and for each broker to lead.
pub(crate) const PARTITIONS: i32 = 6;
/// Where groups keep their offsets.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Three brokers.
#[derive(Debug)]
pub(crate) struct Brokers {
    cluster: KafkaCluster,
    client: Client,
}

impl Brokers {
    pub(crate) async fn start(toolbox: Toolbox) -> Self {
        let cluster = KafkaCluster::builder(toolbox)
            .nodes(BROKERS)
            .setting("min.insync.replicas", 2)
            // Both groups have the same coordinator, and meet with its loss together.
            .setting("offsets.topic.num.partitions", 1)
            // A broker that is back leads what it led before.
            .setting("leader.imbalance.check.interval.seconds", 1)
            .setting("leader.imbalance.per.broker.percentage", 0)
            .start()
            .await
            .expect("the brokers start");
        let client = Client::builder()
            .bootstrap_servers(cluster.bootstrap_servers())
            .client_id("observer")
            .request_timeout(Duration::from_secs(3))
            .default_api_timeout(Duration::from_secs(10))
            .build()
            .expect("the settings are valid");
        Self { cluster, client }
    }

    /// The brokers' processes.
    pub(crate) fn processes(&self) -> &KafkaCluster {
        &self.cluster
    }

    pub(crate) fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Creates a side's topic. Replicas are placed by hand, so that a fault does the same to both.
    pub(crate) async fn create_topic(&self, topic: &str) {
        let replicas = |partition: i32| {
            let step = if partition < BROKERS as i32 { 1 } else { 2 };
            (0..BROKERS as i32).map(move |replica| NodeId((partition + replica * step) % BROKERS as i32))
        };
        let topic = NewTopic::with_assignments(topic, (0..PARTITIONS).map(replicas)).config("min.insync.replicas", "2");
        eventually("the topic is created", async || {
            self.client.admin().create_topics([topic.clone()]).await.ok()?.all().ok()
        })
        .await;
    }

    /// Waits until every replica of `topics`, and of the groups' offsets, is in sync and every preferred leader leads.
    pub(crate) async fn whole(&self, topics: &[&str]) {
        eventually("every replica is in sync and every preferred leader leads", async || {
            let topics = topics.iter().copied().chain([OFFSETS_TOPIC]);
            let topics = self.client.admin().describe_topics(topics).await.ok()?.all().ok()?;
            let mut partitions = topics.iter().flat_map(|topic| &topic.partitions);
            partitions
                .all(|partition| {
                    partition.in_sync_replicas.len() == BROKERS
                        && partition.leader.as_ref() == partition.replicas.first()
                })
                .then_some(())
        })
        .await;
    }
}
