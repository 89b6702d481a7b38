//! Our group beside Java's: Java's own tools show both alike. In one group they stand in `crates/cli/tests/mixed_groups`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla::{AutoOffsetReset, Client, TopicPartition};
use protocol_tests::kafka::{JavaTool, Toolbox};
use protocol_tests::record::PlainRecord;
use protocol_tests::suite::{RealKafka, TestCluster, eventually, read, send_all};
use tokio::task::JoinHandle;

use crate::interop::{Test, tool};

pub(crate) const TESTS: &[(&str, Test)] = &[("kafka_consumer_groups_shows_our_group_as_it_shows_javas", |kafka| {
    Box::pin(kafka_consumer_groups_shows_our_group_as_it_shows_javas(kafka))
})];

const PARTITIONS: i32 = 3;
const RECORDS: usize = 30;

/// What rightly differs between two groups, and two clients.
const NAMES: [&str; 6] = ["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "COORDINATOR", "(ID)"];

/// A line of a table, by column.
type Row = BTreeMap<String, String>;

async fn kafka_consumer_groups_shows_our_group_as_it_shows_javas(kafka: Arc<RealKafka>) {
    let cluster = TestCluster::kafka("shown_alike", kafka.clone());
    let topic = cluster.topic("letters", PARTITIONS).await;
    let (client, toolbox) = (cluster.client(), kafka.cluster().toolbox().clone());
    let records = (0..RECORDS as i32).map(|i| PlainRecord::new("k", "v").to_partition(i % PARTITIONS));
    send_all(&client.producer().build().unwrap(), &topic, &records.collect::<Vec<_>>()).await;

    let (javas, ours) = (cluster.topic_name("javas"), cluster.topic_name("ours"));
    let java = java_member(&cluster, &toolbox, &topic, &javas);
    let consumer = client.consumer().group_id(&ours).auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = consumer.build().unwrap();
    consumer.subscribe([&*topic]).unwrap();
    read(&mut consumer, RECORDS).await;
    // What Java's consumer does while there is nothing to read, until the test is over.
    let polling = tokio::spawn(async move {
        loop {
            assert!(consumer.poll(Duration::from_secs(1)).await.unwrap().is_empty());
        }
    });
    for group in [&javas, &ours] {
        committed(&client, group, &topic, RECORDS).await;
    }

    let describe = async |kind: &[&str]| {
        let bootstrap = cluster.bootstrap_servers();
        let arguments = ["--bootstrap-server", &bootstrap, "--describe", "--group", &javas, "--group", &ours];
        tool(&toolbox, JavaTool::ConsumerGroups, &[&arguments, kind].concat(), b"").await
    };
    let offsets = alike(&describe(&["--offsets"]).await, &javas, &ours);
    assert_eq!(offsets.len(), PARTITIONS as usize);
    for (index, row) in offsets.iter().enumerate() {
        let columns = ["TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG"].map(|column| &*row[column]);
        assert_eq!(columns, [&*topic, &index.to_string(), "10", "10", "0"]);
    }
    let members = alike(&describe(&["--members", "--verbose"]).await, &javas, &ours);
    assert_eq!((members.len(), &*members[0]["#PARTITIONS"]), (1, "3"));
    let state = alike(&describe(&["--state"]).await, &javas, &ours);
    let columns = ["STATE", "ASSIGNMENT-STRATEGY", "#MEMBERS"].map(|column| &*state[0][column]);
    assert_eq!(columns, ["Stable", "range", "1"]);

    assert!(!java.is_finished() && !polling.is_finished(), "both were there to the end");
    java.abort();
    polling.abort();
}

/// Java's console consumer as the member of a group. Aborting the task kills it.
fn java_member(cluster: &TestCluster, toolbox: &Toolbox, topic: &str, group: &str) -> JoinHandle<()> {
    let (toolbox, bootstrap) = (toolbox.clone(), cluster.bootstrap_servers());
    let arguments = ["--bootstrap-server", &bootstrap, "--topic", topic, "--group", group, "--from-beginning"];
    let arguments = arguments.map(str::to_owned);
    tokio::spawn(async move {
        let ended = toolbox.run(JavaTool::ConsoleConsumer, arguments, b"", Duration::from_mins(5)).await;
        panic!("the console consumer ended: {ended:?}");
    })
}

/// Waits until a group has committed so many records.
async fn committed(client: &Client, group: &str, topic: &str, records: usize) {
    let reader = client.consumer().group_id(group).build().unwrap();
    let partitions = || (0..PARTITIONS).map(|index| TopicPartition::new(topic, index));
    eventually(&format!("group {group} has committed {records} records"), async || {
        let committed = reader.committed(partitions()).await.ok()?;
        let offsets = committed.into_values().flatten().map(|committed| committed.offset);
        (offsets.sum::<i64>() == records as i64).then_some(())
    })
    .await;
    reader.close().await.unwrap();
}

/// The rows of the first group, which are those of the second but for names.
fn alike(output: &str, first: &str, second: &str) -> Vec<Row> {
    let rows = table(output);
    let of = |group: &str| {
        let rows = rows.iter().filter(|row| row["GROUP"] == group);
        let nameless = |row: &Row| -> Row {
            row.iter().filter(|(column, _)| !NAMES.contains(&&***column)).map(|(c, v)| (c.clone(), v.clone())).collect()
        };
        let mut rows: Vec<Row> = rows.map(nameless).collect();
        rows.sort();
        rows
    };
    let (first, second) = (of(first), of(second));
    assert!(!first.is_empty(), "{output}");
    assert_eq!(first, second, "{output}");
    first
}

/// Reads a table with a header above each group.
fn table(output: &str) -> Vec<Row> {
    let (mut header, mut rows) = (Vec::new(), Vec::new());
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        if words[0] == "GROUP" {
            header = words;
        } else {
            assert_eq!(words.len(), header.len(), "{output}");
            rows.push(header.iter().cloned().zip(words).collect());
        }
    }
    rows
}
