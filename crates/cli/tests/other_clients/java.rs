//! Kafka's own tools, which are Java's clients.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use protocol_tests::kafka::{JavaPeer, JavaTool, Signal};
use protocol_tests::suite::eventually;
use protocol_tests::verifiable::{Program, assignment, consumed};
use serde_json::Value;

use crate::letter::{Letter, counts, in_order};
use crate::reading::TOPIC;
use crate::shared::{PARTITIONS, PATIENCE, Setting};

type Body = fn(Setting) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[(&str, Body)] = &[$((stringify!($name), |setting| Box::pin($name(setting))),)*];
    };
}

tests! {
    console_tools_write_and_read_and_go_on,
    verifiable_tools_share_a_group_and_go_on,
    performance_tools_count_every_record,
    topics_are_made_shown_changed_and_deleted,
    groups_are_shown_reset_and_deleted,
    every_api_that_is_listed_is_usable,
    reads_what_all_others_wrote,
}

/// Runs a tool to its end, which has to be a good one, and gives what it printed.
async fn tool(setting: &Setting, tool: JavaTool, arguments: &[&str], input: &[u8]) -> String {
    let toolbox = setting.java.as_ref().expect("without Java the test is ignored");
    let server = ["--bootstrap-server", &setting.bootstrap_servers];
    let output = toolbox.run(tool, server.iter().chain(arguments), input, PATIENCE).await.unwrap();
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool:?} {arguments:?}\n{printed}\n{errors}");
    assert!(!printed.contains("Error"), "{tool:?} {arguments:?}\n{printed}\n{errors}");
    printed.into_owned()
}

async fn console_tools_write_and_read_and_go_on(setting: Setting) {
    let topic = "java-console";
    setting.create_topic(topic).await;
    let lines =
        |range: std::ops::Range<i32>| -> Vec<String> { range.map(|n| format!("{}:letter {n}", n % 9)).collect() };
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let produce = async |lines: &[String], codec: &str| {
        let codec = format!("compression.type={codec}");
        let with = ["parse.key=true", "key.separator=:"].into_iter().flat_map(|option| ["--property", option]);
        let arguments: Vec<_> = ["--topic", topic, "--producer-property", &codec].into_iter().chain(with).collect();
        tool(&setting, JavaTool::ConsoleProducer, &arguments, lines.join("\n").as_bytes()).await;
    };
    let consume = async |count: usize| {
        let count = count.to_string();
        let options = ["print.key=true", "key.separator=:"].into_iter().flat_map(|option| ["--property", option]);
        let arguments = ["--topic", topic, "--group", topic, "--from-beginning", "--max-messages", &count];
        let arguments: Vec<_> = arguments.into_iter().chain(options).collect();
        let printed = tool(&setting, JavaTool::ConsoleConsumer, &arguments, b"").await;
        // Among them are warnings that options will have other names one day.
        sorted(printed.lines().filter(|line| line.contains(":letter ")).map(str::to_owned).collect())
    };
    produce(&lines(0..50), "gzip").await;
    assert_eq!(consume(50).await, sorted(lines(0..50)));
    produce(&lines(50..70), "zstd").await;
    assert_eq!(consume(20).await, sorted(lines(50..70)), "what is new, and no more");
}

async fn verifiable_tools_share_a_group_and_go_on(setting: Setting) {
    let topic = "java-verifiable";
    setting.create_topic(topic).await;
    let (one, two) = (verifiable_consumer(&setting, topic).await, verifiable_consumer(&setting, topic).await);
    eventually("each has a share of the partitions", async || {
        let shares = [&one, &two].map(|member| assignment(&member.events()));
        (shares.iter().all(|share| !share.is_empty() && share.len() < PARTITIONS as usize)
            && shares.iter().map(std::collections::BTreeSet::len).sum::<usize>() == PARTITIONS as usize)
            .then_some(())
    })
    .await;
    let written = verifiable_producer(&setting, topic, 300).await;
    let read = eventually("all has been read", async || {
        let read = read_by([&one, &two]);
        (read.values().sum::<i64>() >= 300).then_some(read)
    })
    .await;
    assert_eq!(read, written);
    leave([one, two]).await;

    let more = verifiable_producer(&setting, topic, 60).await;
    let returned = verifiable_consumer(&setting, topic).await;
    let read = eventually("what is new has been read", async || {
        let read = read_by([&returned]);
        (read.values().sum::<i64>() >= 60).then_some(read)
    })
    .await;
    assert_eq!(read, more, "what is new, and no more");
    leave([returned]).await;
}

/// Writes so many records, and gives how many to each partition.
async fn verifiable_producer(setting: &Setting, topic: &str, count: usize) -> BTreeMap<i32, i64> {
    let count = count.to_string();
    let arguments = ["--topic", topic, "--max-messages", &count, "--repeating-keys", "9"];
    let printed = tool(setting, JavaTool::VerifiableProducer, &arguments, b"").await;
    let mut written = BTreeMap::new();
    for line in printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if line["name"] == "producer_send_success" {
            *written.entry(line["partition"].as_i64().unwrap() as i32).or_default() += 1;
        }
    }
    written
}

async fn verifiable_consumer(setting: &Setting, topic: &str) -> Program {
    let toolbox = setting.java.as_ref().expect("without Java the test is ignored");
    let mut command = toolbox.command(JavaTool::VerifiableConsumer);
    command.args(["--bootstrap-server", &setting.bootstrap_servers, "--topic", topic, "--group-id", topic]);
    Program::start("VerifiableConsumer", &command).await.expect("it starts")
}

/// How many records of each partition have been read; each once.
fn read_by<'p>(members: impl IntoIterator<Item = &'p Program>) -> BTreeMap<i32, i64> {
    let mut read = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for (partition, offsets) in
        members.into_iter().flat_map(Program::events).collect::<Vec<_>>().iter().flat_map(consumed)
    {
        *read.entry(partition.partition).or_default() += offsets.end - offsets.start;
        assert!(offsets.into_iter().all(|offset| seen.insert((partition.partition, offset))), "twice");
    }
    read
}

async fn leave(members: impl IntoIterator<Item = Program>) {
    for member in members {
        member.signal(Signal::Terminate).unwrap();
        let ended = member.ended(PATIENCE).await.unwrap();
        // A JVM that was told to end says so by its status.
        assert_eq!(ended.status.code(), Some(128 + 15), "{ended:?}");
    }
}

async fn performance_tools_count_every_record(setting: Setting) {
    let topic = "java-performance";
    setting.create_topic(topic).await;
    let toolbox = setting.java.as_ref().expect("without Java the test is ignored");
    // The one tool without `--bootstrap-server` in all versions.
    let server = format!("bootstrap.servers={}", setting.bootstrap_servers);
    let arguments = ["--topic", topic, "--num-records", "20000", "--record-size", "100", "--throughput", "-1"];
    let arguments = arguments.into_iter().chain(["--producer-props", &server, "compression.type=lz4"]);
    let output = toolbox.run(JavaTool::ProducerPerformance, arguments, b"", PATIENCE).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.lines().last().unwrap_or_default().starts_with("20000 records sent"), "{printed}");
    let offsets = tool(&setting, JavaTool::GetOffsets, &["--topic", topic], b"").await;
    let ends = offsets.lines().filter_map(|line| line.rsplit(':').next()?.parse::<i64>().ok());
    assert_eq!(ends.sum::<i64>(), 20_000, "{offsets}");
    let arguments = ["--topic", topic, "--messages", "20000", "--group", topic];
    let printed = tool(&setting, JavaTool::ConsumerPerformance, &arguments, b"").await;
    let last: Vec<_> = printed.lines().last().unwrap_or_default().split(", ").collect();
    assert_eq!(last.get(4), Some(&"20000"), "{printed}");
}

async fn topics_are_made_shown_changed_and_deleted(setting: Setting) {
    let topic = "java-topics";
    let topics = async |arguments: &[&str]| tool(&setting, JavaTool::Topics, arguments, b"").await;
    topics(&["--create", "--topic", topic, "--partitions", "2", "--replication-factor", "2"]).await;
    topics(&["--alter", "--topic", topic, "--partitions", "3"]).await;
    let listed = topics(&["--list"]).await;
    assert!(listed.lines().any(|line| line == topic), "{listed}");
    let described = topics(&["--describe", "--topic", topic]).await;
    assert!(described.contains("PartitionCount: 3") && described.contains("ReplicationFactor: 2"), "{described}");

    let configs = async |arguments: &[&str]| {
        let of_topic = ["--entity-type", "topics", "--entity-name", topic];
        tool(&setting, JavaTool::Configs, &[arguments, &of_topic].concat(), b"").await
    };
    configs(&["--alter", "--add-config", "retention.ms=5000"]).await;
    let described = configs(&["--describe"]).await;
    assert!(described.contains("retention.ms=5000"), "{described}");
    configs(&["--alter", "--delete-config", "retention.ms"]).await;
    let described = configs(&["--describe"]).await;
    assert!(!described.contains("retention.ms"), "{described}");

    tool(&setting, JavaTool::ConsoleProducer, &["--topic", topic], b"one\ntwo\nthree\n").await;
    let ends = tool(&setting, JavaTool::GetOffsets, &["--topic", topic], b"").await;
    let (partition, end) = ends
        .lines()
        .filter_map(|line| line.strip_prefix("java-topics:")?.split_once(':'))
        .find(|(_, end)| *end != "0")
        .expect("a partition has records");
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("java-topics.json");
    let partitions = serde_json::json!([{"topic": topic, "partition": partition.parse::<i32>().unwrap(), "offset": 1}]);
    std::fs::write(&file, serde_json::json!({"partitions": partitions, "version": 1}).to_string()).unwrap();
    let arguments = ["--offset-json-file", file.to_str().unwrap()];
    let deleted = tool(&setting, JavaTool::DeleteRecords, &arguments, b"").await;
    assert!(deleted.contains("low_watermark: 1"), "{deleted}");
    let starts = tool(&setting, JavaTool::GetOffsets, &["--topic", topic, "--time", "earliest"], b"").await;
    assert!(starts.contains(&format!("{topic}:{partition}:1")), "{starts}, of {end}");

    topics(&["--delete", "--topic", topic]).await;
    let listed = topics(&["--list"]).await;
    assert!(!listed.lines().any(|line| line == topic), "{listed}");
}

async fn groups_are_shown_reset_and_deleted(setting: Setting) {
    let topic = "java-groups";
    setting.create_topic(topic).await;
    verifiable_producer(&setting, topic, 90).await;
    let member = verifiable_consumer(&setting, topic).await;
    eventually("all has been read", async || (read_by([&member]).values().sum::<i64>() >= 90).then_some(())).await;
    let groups = async |arguments: &[&str]| tool(&setting, JavaTool::ConsumerGroups, arguments, b"").await;
    let of_group = |printed: &str| -> Vec<Vec<String>> {
        let rows = printed.lines().filter(|line| line.split_whitespace().next() == Some(topic));
        rows.map(|row| row.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let listed = groups(&["--list", "--state"]).await;
    assert_eq!(of_group(&listed)[0].last().unwrap(), "Stable", "{listed}");
    let state = groups(&["--describe", "--group", topic, "--state"]).await;
    assert!(state.contains("range") && state.contains("Stable"), "{state}");
    let members = groups(&["--describe", "--group", topic, "--members", "--verbose"]).await;
    assert_eq!(of_group(&members).len(), 1, "{members}");
    leave([member]).await;

    let offsets = groups(&["--describe", "--group", topic]).await;
    let rows = of_group(&offsets);
    assert_eq!(rows.len(), PARTITIONS as usize, "{offsets}");
    assert!(rows.iter().all(|row| row[3] == row[4] && row[5] == "0"), "{offsets}");
    groups(&["--reset-offsets", "--group", topic, "--topic", topic, "--to-earliest", "--execute"]).await;
    let offsets = groups(&["--describe", "--group", topic]).await;
    assert!(of_group(&offsets).iter().all(|row| row[3] == "0" && row[4] == row[5]), "{offsets}");
    groups(&["--delete-offsets", "--group", topic, "--topic", topic]).await;
    groups(&["--delete", "--group", topic]).await;
    let listed = groups(&["--list"]).await;
    assert!(of_group(&listed).is_empty(), "{listed}");
}

async fn every_api_that_is_listed_is_usable(setting: Setting) {
    let printed = tool(&setting, JavaTool::BrokerApiVersions, &[], b"").await;
    let nodes = setting.bootstrap_servers.split(',').filter(|node| printed.contains(*node)).count();
    assert_eq!(nodes, 3, "{printed}");
    let listed = printed.lines().filter(|line| line.contains("[usable: ")).count();
    assert_eq!(listed % nodes, 0, "{printed}");
    assert!(listed / nodes > 25 && !printed.contains("[usable: -1]"), "{printed}");
}

async fn reads_what_all_others_wrote(setting: Setting) {
    let written = setting.letters().await;
    let mut peer = JavaPeer::start(setting.java.as_ref().expect("without Java the test is ignored")).unwrap();
    let mut read = Vec::new();
    for (partition, count) in counts(written) {
        let records = peer.consume(&setting.bootstrap_servers, TOPIC, partition, 0, count).await.unwrap();
        read.extend(records.iter().map(Letter::from_record));
    }
    tokio::time::timeout(Duration::from_secs(30), peer.end()).await.unwrap().unwrap();
    assert_eq!(in_order(read), written);
}
