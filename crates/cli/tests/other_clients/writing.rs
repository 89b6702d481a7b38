//! Writing: with each codec, over all partitions, with the client's own defaults, and as an idempotent producer.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use ottla_connection::{Address, Connection, ConnectionConfig, TcpConnector};
use ottla_wire::compression::Compression;
use ottla_wire::messages::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::records::RecordBatches;

use crate::client::{CODECS, Client};
use crate::letter::{Letter, in_order, read_by_ottla};
use crate::shared::{PARTITIONS, Setting};

/// How many records are written with each codec.
const RECORDS: usize = 200;

pub(crate) fn writes_with_every_codec((setting, client): (Setting, Client)) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let topic = format!("{}-codecs", client.name);
        setting.create_topic(&topic).await;
        let by_default = client.produce(&setting, &topic, RECORDS, &CODECS).await;
        let idempotent = client.produce(&setting, &topic, RECORDS, &["--idempotent", "none"]).await;
        assert_eq!(by_default.len(), CODECS.len() * RECORDS);
        assert_eq!(idempotent.len(), RECORDS);
        assert_spread_by_key(&by_default);

        let written = in_order(by_default.into_iter().chain(idempotent));
        assert_eq!(read_by_ottla(&setting.client(), &topic, &written).await, written);
        let used: BTreeSet<_> = compressions(&setting, &topic).await;
        assert_eq!(used.len(), CODECS.len(), "{used:?}");
    })
}

/// Each key has a partition, and no partition has none.
fn assert_spread_by_key(letters: &[Letter]) {
    let mut partitions = BTreeMap::<&str, BTreeSet<i32>>::new();
    for letter in letters {
        partitions.entry(&letter.key).or_default().insert(letter.partition);
    }
    assert!(partitions.values().all(|partitions| partitions.len() == 1), "{partitions:?}");
    let all: BTreeSet<_> = partitions.into_values().flatten().collect();
    assert_eq!(all, (0..PARTITIONS).collect());
}

/// How the batches of a topic are compressed, as they stand in the broker.
async fn compressions(setting: &Setting, topic: &str) -> BTreeSet<String> {
    let described = setting.client().admin().describe_topics([topic]).await.unwrap().all().unwrap();
    let nodes: Vec<Address> = setting.bootstrap_servers.split(',').map(|node| node.parse().unwrap()).collect();
    let mut found = BTreeSet::new();
    for partition in &described[0].partitions {
        let node = &nodes[partition.leader.unwrap().0 as usize];
        let connection = Connection::open(&TcpConnector::default(), node, ConnectionConfig::default()).await.unwrap();
        let asked = FetchPartition {
            partition: partition.partition,
            partition_max_bytes: 1 << 24,
            ..FetchPartition::default()
        };
        let topics = vec![FetchTopic { topic: topic.to_owned(), partitions: vec![asked], ..FetchTopic::default() }];
        let request = FetchRequest { max_bytes: 1 << 24, topics, ..FetchRequest::default() };
        let mut response = connection.request(&request).await.unwrap();
        let records = response.responses[0].partitions.remove(0).records.unwrap();
        let compressions = RecordBatches::new(records).map(|batch| batch.unwrap().compression());
        found.extend(compressions.map(|compression: Compression| format!("{compression:?}")));
    }
    found
}
