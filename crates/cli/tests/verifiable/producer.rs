//! What the producers say.

use std::collections::BTreeMap;

use protocol_tests::suite::{TestCluster, read_from_start};
use protocol_tests::verifiable::Event;
use serde_json::{Value, json};

use crate::lines::{assert_alike, both, named, names};
use crate::pair::{Pair, SIDES, Tool, assert_success, properties_file};
use crate::shared::tests;

tests![
    numbers_are_sent_and_told_of,
    keys_repeat_and_values_have_their_prefix,
    acks_are_as_told,
    throughput_is_held,
    creation_times_begin_where_they_are_told_to,
    a_topic_that_is_not_there_fails,
    a_broker_that_refuses_fails,
    settings_of_a_file_go_before_options,
    told_to_end_it_tells_of_all_that_it_sent,
];

/// A topic for each side, `<case>.<suffix>.<side>`, and its name as an argument.
async fn topics(cluster: &TestCluster, suffix: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
    for side in SIDES {
        cluster.topic_with(&format!("{suffix}.{}", side.name()), partitions, configs).await;
    }
    cluster.topic_name(&format!("{suffix}.{{side}}"))
}

async fn numbers_are_sent_and_told_of(cluster: TestCluster) {
    let topic = topics(&cluster, "numbers", 1, &[]).await;
    let ended = Pair::run(&cluster, Tool::Producer, &["--topic", &topic, "--max-messages", "20"]).await;
    assert_success(&ended);
    let lines = assert_alike(&ended);
    assert_eq!(lines.len(), 1 + 20 + 2);
    let last = named(&lines, "producer_send_success")[19];
    assert_eq!((&last["value"], &last["offset"], &last["key"]), (&json!("19"), &json!(19), &Value::Null));
}

async fn keys_repeat_and_values_have_their_prefix(cluster: TestCluster) {
    let topic = topics(&cluster, "keys", 3, &[]).await;
    let arguments = ["--topic", &topic, "--max-messages", "30", "--repeating-keys", "7", "--value-prefix", "5"];
    let ended = Pair::run(&cluster, Tool::Producer, &arguments).await;
    assert_success(&ended);
    let [java, ours] = both(&ended);
    // Which partition is told of first is a matter of chance.
    let partitions = |lines: &[Value]| {
        let mut partitions: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        for line in named(lines, "producer_send_success") {
            partitions.entry(line["partition"].as_i64()).or_default().push(line.clone());
        }
        partitions
    };
    assert_eq!(partitions(&ours), partitions(&java));
    assert!(partitions(&ours).len() > 1, "{ours:?}");
    assert_eq!((&ours[0], &ours[31..]), (&java[0], &java[31..]));
    let values: Vec<_> = named(&ours, "producer_send_success").iter().map(|line| &line["value"]).collect();
    assert!(values.contains(&&json!("5.29")), "{values:?}");
}

async fn acks_are_as_told(cluster: TestCluster) {
    for acks in ["0", "1", "-1"] {
        let topic = topics(&cluster, &format!("acks{acks}"), 1, &[]).await;
        let arguments = ["--topic", &topic, "--max-messages", "5", "--acks", acks];
        let ended = Pair::run(&cluster, Tool::Producer, &arguments).await;
        assert_success(&ended);
        let lines = assert_alike(&ended);
        let offset = if acks == "0" { -1 } else { 4 };
        assert_eq!(named(&lines, "producer_send_success")[4]["offset"], offset);
    }
}

/// When each message was told of, in milliseconds.
fn times(events: &[Event]) -> Vec<i64> {
    let told = events.iter().filter(|event| event.name() == "producer_send_success");
    told.map(|event| event.json["timestamp"].as_i64().unwrap()).collect()
}

async fn throughput_is_held(cluster: TestCluster) {
    let topic = topics(&cluster, "slow", 1, &[]).await;
    let arguments = ["--topic", &topic, "--max-messages", "60", "--throughput", "30"];
    let ended = Pair::run(&cluster, Tool::Producer, &arguments).await;
    assert_success(&ended);
    let lines = assert_alike(&ended);
    assert_eq!(lines.last().unwrap()["target_throughput"], 30);
    // No more than is allowed from the start on: the first may be told of late, which makes the others seem fast.
    for (side, ended) in SIDES.iter().zip(&ended) {
        let started = ended.events[0].json["timestamp"].as_i64().unwrap();
        let last = *times(&ended.events).last().unwrap();
        assert!(last - started >= 1800, "{side:?}: 60 messages at 30 a second took {} ms", last - started);
    }
}

async fn creation_times_begin_where_they_are_told_to(cluster: TestCluster) {
    const FIRST_MS: i64 = 1_500_000_000_000;
    let topic = topics(&cluster, "times", 1, &[("retention.ms", "-1")]).await;
    let first = FIRST_MS.to_string();
    let arguments = ["--topic", &topic, "--max-messages", "10", "--message-create-time", &first, "--throughput", "50"];
    let ended = Pair::run(&cluster, Tool::Producer, &arguments).await;
    assert_success(&ended);
    assert_alike(&ended);
    for side in SIDES {
        let records = read_from_start(&cluster.client(), &topic.replace("{side}", side.name()), 0, 10).await;
        let times: Vec<_> = records.iter().map(|record| record.timestamp_ms.unwrap()).collect();
        assert_eq!(times[0], FIRST_MS, "{side:?}");
        // It grows by the time since the start with every message.
        assert!(times.is_sorted() && (FIRST_MS + 100..FIRST_MS + 600_000).contains(&times[9]), "{side:?}: {times:?}");
    }
}

async fn a_topic_that_is_not_there_fails(cluster: TestCluster) {
    let topic = cluster.topic_name("nowhere");
    let file = properties_file(&cluster, "patience", "max.block.ms=500\n");
    let arguments = ["--topic", &topic, "--max-messages", "2", "--command-config", &file];
    let ended = Pair::run(&cluster, Tool::Producer, &arguments).await;
    assert_success(&ended);
    let lines = assert_alike(&ended);
    let failed = named(&lines, "producer_send_error");
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[0]["exception"], "class org.apache.kafka.common.errors.TimeoutException");
    assert_eq!((&lines[4]["sent"], &lines[4]["acked"]), (&json!(2), &json!(0)));
}

async fn a_broker_that_refuses_fails(cluster: TestCluster) {
    for (suffix, config, messages, exception) in [
        ("narrow", ("max.message.bytes", "60"), "1", "errors.RecordTooLargeException"),
        // Of one record alone: of several, Java tells nothing finer than of the next.
        ("recent", ("message.timestamp.before.max.ms", "1000"), "1", "errors.InvalidTimestampException"),
        ("keyed", ("cleanup.policy", "compact"), "3", "InvalidRecordException"),
    ] {
        let topic = topics(&cluster, suffix, 1, &[config]).await;
        let arguments = ["--topic", &topic, "--max-messages", messages, "--message-create-time", "5000"];
        let ended = Pair::run(&cluster, Tool::Producer, &arguments).await;
        assert_success(&ended);
        let lines = assert_alike(&ended);
        let failed = named(&lines, "producer_send_error");
        assert_eq!(failed.len().to_string(), messages);
        assert_eq!(failed[0]["exception"], format!("class org.apache.kafka.common.{exception}"));
    }
    let ended = Pair::run(&cluster, Tool::Producer, &["--topic", "no/name", "--max-messages", "1"]).await;
    assert_success(&ended);
    let lines = assert_alike(&ended);
    let failed = named(&lines, "producer_send_error");
    assert_eq!(failed[0]["exception"], "class org.apache.kafka.common.errors.InvalidTopicException");
}

async fn settings_of_a_file_go_before_options(cluster: TestCluster) {
    let text = "# Java's format\n\n  acks : 0 \nlinger.ms\t1\ncompression\\\n    .type = \\u006cz4\n\
        key.serializer=org.apache.kafka.common.serialization.StringSerializer\nsession.timeout.ms=6000\n";
    let file = properties_file(&cluster, "producer", text);
    for option in ["--command-config", "--producer.config"] {
        let topic = topics(&cluster, option, 1, &[]).await;
        let arguments = ["--topic", &topic, "--max-messages", "3", "--acks", "1", option, &file];
        let ended = Pair::run(&cluster, Tool::Producer, &arguments).await;
        assert_success(&ended);
        let lines = assert_alike(&ended);
        let is_told_to_change = lines[0] == "text";
        assert_eq!(is_told_to_change, option == "--producer.config");
        assert_eq!(named(&lines, "producer_send_success")[2]["offset"], -1, "acks is 0");
        let ours = &ended[1];
        assert!(ours.errors.contains("session.timeout.ms has no effect on a producer"), "{}", ours.errors);
    }
}

async fn told_to_end_it_tells_of_all_that_it_sent(cluster: TestCluster) {
    let topic = topics(&cluster, "endless", 1, &[]).await;
    let pair = Pair::start(&cluster, Tool::Producer, &["--topic", &topic, "--throughput", "50"]).await;
    pair.wait_for("it has sent some", |events| times(events).len() >= 20).await;
    let ended = pair.terminate().await;
    let [java, ours] = both(&ended);
    for (side, lines) in SIDES.iter().zip([java, ours]) {
        let sent = named(&lines, "producer_send_success").len();
        let told = names(&lines);
        assert_eq!((told[0], &told[sent + 1..]), ("startup_complete", ["shutdown_complete", "tool_data"].as_slice()));
        let summary = lines.last().unwrap();
        assert_eq!((&summary["sent"], &summary["acked"]), (&json!(sent), &json!(sent)), "{side:?}");
        assert_eq!(lines[sent]["value"], (sent - 1).to_string(), "{side:?}");
    }
}
