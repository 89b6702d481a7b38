//! What a consumer says that is alone in its group.

use protocol_tests::record::PlainRecord;
use protocol_tests::suite::{TestCluster, eventually, send_all};
use protocol_tests::verifiable::{Event, records};
use serde_json::{Value, json};

use crate::lines::{assert_alike, both, named, names, story};
use crate::pair::{Pair, SIDES, Side, Tool, assert_success, properties_file};
use crate::shared::tests;

tests![
    every_record_is_told_of_and_committed,
    each_assignor_goes_by_javas_class,
    a_poll_has_five_hundred_records_at_most,
    the_last_message_may_be_in_the_middle_of_a_poll,
    a_file_says_how_many_records_a_poll_has,
    automatic_commits_are_not_told_of,
    latest_begins_at_the_end,
    none_ends_where_nothing_is_committed,
    a_static_member_comes_back_to_its_partitions,
    told_to_end_it_gives_up_its_partitions_and_leaves,
];

/// A topic with so many records in each partition.
pub(crate) async fn filled_topic(cluster: &TestCluster, suffix: &str, partitions: i32, records: usize) -> String {
    let topic = cluster.topic(suffix, partitions).await;
    fill(cluster, &topic, partitions, records).await;
    topic
}

async fn fill(cluster: &TestCluster, topic: &str, partitions: i32, records: usize) {
    let client = cluster.client();
    let producer = client.producer().build().unwrap();
    let of_partition = |partition| {
        let record = move |i| PlainRecord::new(format!("key {i}"), format!("value \"{i}\"")).to_partition(partition);
        (0..records).map(record)
    };
    let records: Vec<_> = (0..partitions).flat_map(of_partition).collect();
    send_all(&producer, topic, &records).await;
}

/// A group for each side, as an argument.
pub(crate) fn groups(cluster: &TestCluster, suffix: &str) -> String {
    cluster.topic_name(&format!("{suffix}.{{side}}"))
}

/// What a side's group has committed, partition by partition.
async fn committed(cluster: &TestCluster, group: &str, side: Side, topic: &str, partitions: i32) -> Vec<Option<i64>> {
    let consumer = cluster.client().consumer().group_id(group.replace("{side}", side.name())).build().unwrap();
    let asked = (0..partitions).map(|partition| ottla::TopicPartition::new(topic, partition));
    let committed = consumer.committed(asked).await.unwrap();
    consumer.close().await.unwrap();
    committed.into_values().map(|committed| committed.map(|committed| committed.offset)).collect()
}

pub(crate) fn has_read(events: &[Event], count: u64) -> bool {
    records(events).values().sum::<u64>() >= count
}

/// Whether so many records have been read, and committed.
fn has_committed(events: &[Event], count: u64) -> bool {
    has_read(events, count) && events.last().is_some_and(|event| event.name() == "offsets_committed")
}

async fn every_record_is_told_of_and_committed(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "one", 1, 10).await;
    let group = groups(&cluster, "g");
    let arguments = ["--topic", &topic, "--group-id", &group, "--max-messages", "10", "--verbose"];
    let ended = Pair::run(&cluster, Tool::Consumer, &arguments).await;
    assert_success(&ended);
    let lines = assert_alike(&ended);
    assert_eq!(named(&lines, "record_data")[3]["value"], "value \"3\"");
    let expected = [
        &["startup_complete", "partitions_assigned"],
        &["record_data"; 10][..],
        &["records_consumed", "offsets_committed"],
        &["partitions_revoked", "shutdown_complete", "shutdown_requested"],
    ];
    assert_eq!(names(&lines), expected.concat());
}

async fn each_assignor_goes_by_javas_class(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "three", 3, 10).await;
    for class in ["RangeAssignor", "RoundRobinAssignor", "StickyAssignor", "CooperativeStickyAssignor"] {
        let group = groups(&cluster, class);
        let strategy = format!("org.apache.kafka.clients.consumer.{class}");
        let arguments =
            ["--topic", &topic, "--group-id", &group, "--max-messages", "30", "--assignment-strategy", &strategy];
        let ended = Pair::run(&cluster, Tool::Consumer, &arguments).await;
        assert_success(&ended);
        let [java, ours] = both(&ended).map(|lines| story(&lines));
        assert_eq!(ours, java, "{class}");
        assert_eq!(ours[2], json!({"read": 0, "count": 10, "offsets": [0, 9], "committed": 10}), "{ours:?}");
    }
}

async fn a_poll_has_five_hundred_records_at_most(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "many", 1, 1200).await;
    let group = groups(&cluster, "g");
    let arguments = ["--topic", &topic, "--group-id", &group, "--max-messages", "1200"];
    let ended = Pair::run(&cluster, Tool::Consumer, &arguments).await;
    assert_success(&ended);
    let lines = assert_alike(&ended);
    let counts: Vec<_> = named(&lines, "records_consumed").iter().map(|line| line["count"].as_i64()).collect();
    assert_eq!(counts, [Some(500), Some(500), Some(200)]);
    assert_eq!(named(&lines, "offsets_committed")[1]["offsets"][0]["offset"], 1000);
}

async fn the_last_message_may_be_in_the_middle_of_a_poll(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "ten", 1, 10).await;
    let group = groups(&cluster, "g");
    let arguments = ["--topic", &topic, "--group-id", &group, "--max-messages", "7", "--verbose"];
    let ended = Pair::run(&cluster, Tool::Consumer, &arguments).await;
    assert_success(&ended);
    let lines = assert_alike(&ended);
    let consumed = named(&lines, "records_consumed")[0];
    assert_eq!((&consumed["count"], &consumed["partitions"][0]["count"]), (&json!(10), &json!(7)));
    for side in SIDES {
        assert_eq!(committed(&cluster, &group, side, &topic, 1).await, [Some(7)], "{side:?}");
    }
}

async fn a_file_says_how_many_records_a_poll_has(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "ten", 1, 10).await;
    let text = "max.poll.records: 3\nsecurity.protocol=PLAINTEXT\nauto.offset.reset=none\nacks=1\n";
    let file = properties_file(&cluster, "consumer", text);
    for option in ["--command-config", "--consumer.config"] {
        let group = groups(&cluster, option);
        let arguments = ["--topic", &topic, "--group-id", &group, "--max-messages", "10", option, &file];
        let ended = Pair::run(&cluster, Tool::Consumer, &arguments).await;
        assert_success(&ended);
        // Options go before the file: the default of --reset-policy does.
        let lines = assert_alike(&ended);
        assert_eq!(lines[0] == "text", option == "--consumer.config");
        let counts: Vec<_> = named(&lines, "records_consumed").iter().map(|line| line["count"].as_i64()).collect();
        assert_eq!(counts, [Some(3), Some(3), Some(3), Some(1)]);
        let ours = &ended[1];
        assert!(ours.errors.contains("acks has no effect on a consumer"), "{}", ours.errors);
    }
}

async fn automatic_commits_are_not_told_of(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "ten", 1, 10).await;
    let group = groups(&cluster, "g");
    let arguments = ["--topic", &topic, "--group-id", &group, "--max-messages", "10", "--enable-autocommit"];
    let ended = Pair::run(&cluster, Tool::Consumer, &arguments).await;
    assert_success(&ended);
    assert!(named(&assert_alike(&ended), "offsets_committed").is_empty());
    for side in SIDES {
        assert_eq!(committed(&cluster, &group, side, &topic, 1).await, [Some(10)], "{side:?}");
    }
}

async fn latest_begins_at_the_end(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "ten", 1, 10).await;
    let group = groups(&cluster, "g");
    let arguments = ["--topic", &topic, "--group-id", &group, "--reset-policy", "latest"];
    let pair = Pair::start(&cluster, Tool::Consumer, &arguments).await;
    let is_assigned = |events: &[Event]| events.iter().any(|event| event.name() == "partitions_assigned");
    pair.wait_for("it has its partition", is_assigned).await;
    // Where the end is, is found out some time later.
    eventually("both have read what came later", async || {
        fill(&cluster, &topic, 1, 1).await;
        pair.has(|events| has_read(events, 1)).then_some(())
    })
    .await;
    for lines in both(&pair.terminate().await) {
        let first = &named(&lines, "records_consumed")[0]["partitions"][0];
        assert!(first["minOffset"].as_i64() >= Some(10), "{first}");
    }
}

async fn none_ends_where_nothing_is_committed(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "ten", 1, 10).await;
    let group = groups(&cluster, "g");
    let ended =
        Pair::run(&cluster, Tool::Consumer, &["--topic", &topic, "--group-id", &group, "--reset-policy", "none"]).await;
    // Java's program fails with success.
    assert_success(&ended);
    let lines = assert_alike(&ended);
    assert!(named(&lines, "records_consumed").is_empty());
    assert!(ended[1].errors.contains("auto.offset.reset is none"), "{}", ended[1].errors);
}

async fn a_static_member_comes_back_to_its_partitions(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "three", 3, 10).await;
    let group = groups(&cluster, "g");
    let arguments = ["--topic", &topic, "--group-id", &group, "--group-instance-id", "member-1"];
    let pair = Pair::start(&cluster, Tool::Consumer, &arguments).await;
    pair.wait_for("it has read and committed all", |events| has_committed(events, 30)).await;
    let [java, ours] = both(&pair.terminate().await).map(|lines| story(&lines));
    assert_eq!(ours, java);
    // It is still a member, and need not wait until the group has missed it.
    fill(&cluster, &topic, 3, 1).await;
    let ended = Pair::run(&cluster, Tool::Consumer, &[&arguments[..], &["--max-messages", "3"]].concat()).await;
    assert_success(&ended);
    let [java, ours] = both(&ended).map(|lines| story(&lines));
    assert_eq!(ours, java);
    assert_eq!(ours[2], json!({"read": 0, "count": 1, "offsets": [10, 10], "committed": 11}), "{ours:?}");
}

async fn told_to_end_it_gives_up_its_partitions_and_leaves(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "three", 3, 10).await;
    let group = groups(&cluster, "g");
    let pair = Pair::start(&cluster, Tool::Consumer, &["--topic", &topic, "--group-id", &group]).await;
    pair.wait_for("it has read and committed all", |events| has_committed(events, 30)).await;
    let [java, ours] = both(&pair.terminate().await).map(|lines| story(&lines));
    assert_eq!(ours, java);
    let last: Vec<Value> = ours[5..].to_vec();
    assert_eq!(names(&last), ["shutdown_requested", "partitions_revoked", "shutdown_complete"]);
}
