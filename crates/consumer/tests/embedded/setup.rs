//! A cluster in memory, a client of it, and records whose values say where they are.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::{EmbeddedCluster, EmbeddedClusterBuilder, Transport};
use ottla_cluster::{Cluster, ClusterConfig};
use ottla_connection::MemoryNetwork;
use ottla_consumer::{AutoOffsetReset, Batches, Consumer, ConsumerBuilder, TopicPartition};
use ottla_wire::compression::{Compression, Compressor};
use ottla_wire::records::{BatchBuilder, ProducerState};

/// Longer than any test takes, in paused time.
pub(crate) const LONG: Duration = Duration::from_hours(1);
/// In every test the one topic that is read.
pub(crate) const TOPIC: &str = "topic";

/// A cluster and a client of it.
pub(crate) struct Setup {
    pub(crate) embedded: EmbeddedCluster,
    pub(crate) network: MemoryNetwork,
    pub(crate) client: Cluster,
}

impl Setup {
    /// So many nodes, and the topic with so many partitions.
    pub(crate) async fn start(nodes: i32, partitions: i32) -> Self {
        Self::start_with(nodes, partitions, |builder| builder).await
    }

    pub(crate) async fn start_with(
        nodes: i32,
        partitions: i32,
        settings: impl FnOnce(EmbeddedClusterBuilder) -> EmbeddedClusterBuilder,
    ) -> Self {
        let network = MemoryNetwork::new();
        let builder = EmbeddedCluster::builder().nodes(nodes).seed(1).transport(Transport::Memory(network.clone()));
        let embedded = settings(builder).start().await.unwrap();
        embedded.create_topic(TOPIC, partitions, nodes.min(3) as i16).await.unwrap();
        let addresses = embedded.bootstrap_servers().split(',').map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let config = ClusterConfig::new(addresses).connector(embedded.connector()).seed(7);
        Self { embedded, network, client: Cluster::new(config).unwrap() }
    }

    /// A consumer that starts at the beginning.
    pub(crate) fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.client.clone()).auto_offset_reset(AutoOffsetReset::Earliest)
    }

    /// Appends a batch of so many records to a partition.
    pub(crate) async fn append(&self, partition: i32, records: u32) -> i64 {
        self.append_compressed(partition, records, Compression::None).await
    }

    pub(crate) async fn append_compressed(&self, partition: i32, records: u32, compression: Compression) -> i64 {
        let first = self.end(partition).await;
        let bytes = batch(partition, first, records, compression);
        let appended = self.append_bytes(partition, bytes, records).await;
        assert_eq!(appended, first);
        appended
    }

    pub(crate) async fn append_bytes(&self, partition: i32, bytes: Bytes, records: u32) -> i64 {
        self.embedded.append_unchecked(TOPIC, partition, bytes, records).await.unwrap()
    }

    /// The offset behind the last record of a partition.
    pub(crate) async fn end(&self, partition: i32) -> i64 {
        self.embedded.describe_partition(TOPIC, partition).await.unwrap().log_end_offset
    }
}

/// One of the topic's partitions.
pub(crate) fn partition(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// A batch whose records say where they are, the first at offset `first`, with the offset as their timestamp.
pub(crate) fn batch(partition: i32, first: i64, records: u32, compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new();
    for offset in first..first + i64::from(records) {
        let value = value(partition, offset);
        builder.append(offset, Some(b"key"), Some(value.as_bytes()), []).unwrap();
    }
    builder.build(&mut Compressor::new(compression), ProducerState::default()).unwrap()
}

pub(crate) fn value(partition: i32, offset: i64) -> String {
    format!("{partition} at {offset}")
}

/// The offsets that were handed out, by partition, in the order in which they were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(pub(crate) BTreeMap<i32, Vec<i64>>);

impl Seen {
    /// Goes through the batches, and checks that each record is where it says.
    pub(crate) fn take(&mut self, batches: &Batches) {
        for batch in batches {
            for record in batch.records() {
                let record = record.unwrap();
                let expected = value(batch.partition(), record.offset());
                assert_eq!(record.value(), Some(expected.as_bytes()));
                self.0.entry(batch.partition()).or_default().push(record.offset());
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Every offset from 0 to before `end`, once and in order, of each of the partitions.
    pub(crate) fn assert_complete(&self, partitions: i32, end: i64) {
        for partition in 0..partitions {
            let offsets = self.0.get(&partition).map(Vec::as_slice).unwrap_or_default();
            assert!(offsets.iter().copied().eq(0..end), "partition {partition}: {offsets:?}");
        }
    }
}

/// Polls until so many records have been seen.
pub(crate) async fn read(consumer: &mut Consumer, count: usize) -> Seen {
    let mut seen = Seen::default();
    while seen.count() < count {
        let batches = consumer.poll(LONG).await.unwrap();
        assert!(!batches.is_empty(), "an hour without records, after {seen:?}");
        seen.take(&batches);
    }
    seen
}
