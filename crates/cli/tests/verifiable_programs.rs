//! `ottla verifiable-producer` and `ottla verifiable-consumer` over the embedded broker: their lines to the letter, and what they
//! do when brokers refuse or vanish and when nobody reads what they say.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use ottla::{Client, ErrorCode, NodeId, ProducerRecord, TopicPartition};
use ottla_broker::{EmbeddedCluster, Fault, Loss, Transport};
use ottla_wire::ApiKey;
use protocol_tests::kafka::Signal;
use protocol_tests::suite::eventually;
use protocol_tests::verifiable::{Ended, Event, Program, consumed, records};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

const PATIENCE: Duration = Duration::from_mins(1);
const TOPIC: &str = "numbers";

async fn cluster() -> EmbeddedCluster {
    let builder = EmbeddedCluster::builder().transport(Transport::Tcp { port: 0 }).auto_create_topics(false);
    let cluster = builder.start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    cluster
}

fn client(cluster: &EmbeddedCluster) -> Client {
    Client::builder().bootstrap_servers(cluster.bootstrap_servers()).build().unwrap()
}

/// Writes so many records.
async fn fill(cluster: &EmbeddedCluster, records: usize) {
    fill_partition(cluster, TOPIC, 0, records).await;
}

async fn fill_partition(cluster: &EmbeddedCluster, topic: &str, partition: i32, records: usize) {
    let producer = client(cluster).producer().build().unwrap();
    for i in 0..records {
        let record = ProducerRecord::new(topic).partition(partition).key("k").value(format!("{i}"));
        drop(producer.enqueue(record).await.unwrap());
    }
    producer.flush().await.unwrap();
    producer.close(PATIENCE).await;
}

async fn committed(cluster: &EmbeddedCluster, group: &str) -> Option<i64> {
    let consumer = client(cluster).consumer().group_id(group).build().unwrap();
    let partition = TopicPartition::new(TOPIC, 0);
    let committed = consumer.committed([partition.clone()]).await.unwrap();
    consumer.close().await.unwrap();
    committed[&partition].as_ref().map(|committed| committed.offset)
}

fn command(cluster: &EmbeddedCluster, subcommand: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args([subcommand, "--bootstrap-server", &cluster.bootstrap_servers()]).args(arguments);
    command
}

async fn start(cluster: &EmbeddedCluster, subcommand: &str, arguments: &[&str]) -> Program {
    Program::start(subcommand, &command(cluster, subcommand, arguments)).await.unwrap()
}

async fn run(cluster: &EmbeddedCluster, subcommand: &str, arguments: &[&str]) -> Ended {
    start(cluster, subcommand, arguments).await.ended(PATIENCE).await.unwrap()
}

async fn terminate(program: Program) -> Ended {
    assert!(program.signal(Signal::Terminate).unwrap());
    program.ended(PATIENCE).await.unwrap()
}

/// The lines without their times, which are asserted to go up.
fn lines(ended: &Ended) -> Vec<&str> {
    let (mut lines, mut last) = (Vec::new(), 0);
    for Event { line, json, .. } in &ended.events {
        let timestamp = json["timestamp"].as_i64().unwrap();
        assert!(timestamp >= last, "{line}");
        last = timestamp;
        lines.push(line.strip_prefix(&format!("{{\"timestamp\":{timestamp},")).unwrap());
    }
    lines
}

fn named<'e>(events: &'e [Event], name: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event.name() == name).map(|event| &event.json).collect()
}

fn properties_file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().expect("the target's folder has a name in UTF-8").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_say_to_the_letter_what_javas_say() {
    let cluster = cluster().await;
    let arguments = ["--topic", TOPIC, "--max-messages", "2", "--value-prefix", "7", "--repeating-keys", "2"];
    let produced = run(&cluster, "verifiable-producer", &arguments).await;
    assert!(produced.status.success(), "{}", produced.errors);
    let told = lines(&produced);
    assert_eq!(
        told[..4],
        [
            r#""name":"startup_complete"}"#,
            r#""name":"producer_send_success","key":"0","value":"7.0","offset":0,"topic":"numbers","partition":0}"#,
            r#""name":"producer_send_success","key":"1","value":"7.1","offset":1,"topic":"numbers","partition":0}"#,
            r#""name":"shutdown_complete"}"#,
        ]
    );
    let summary = r#""name":"tool_data","sent":2,"acked":2,"target_throughput":-1,"avg_throughput":"#;
    assert!(told[4].starts_with(summary), "{}", told[4]);

    let arguments = ["--topic", TOPIC, "--group-id", "g", "--max-messages", "2", "--verbose"];
    let consumed = run(&cluster, "verifiable-consumer", &arguments).await;
    assert!(consumed.status.success(), "{}", consumed.errors);
    let summary = r#""partitions":[{"topic":"numbers","partition":0,"count":2,"minOffset":0,"maxOffset":1}]}"#;
    assert_eq!(
        lines(&consumed),
        [
            r#""name":"startup_complete"}"#,
            r#""name":"partitions_assigned","partitions":[{"topic":"numbers","partition":0}]}"#,
            r#""name":"record_data","key":"0","value":"7.0","topic":"numbers","partition":0,"offset":0}"#,
            r#""name":"record_data","key":"1","value":"7.1","topic":"numbers","partition":0,"offset":1}"#,
            &format!(r#""name":"records_consumed","count":2,{summary}"#),
            r#""name":"offsets_committed","offsets":[{"topic":"numbers","partition":0,"offset":2}],"success":true}"#,
            r#""name":"partitions_revoked","partitions":[{"topic":"numbers","partition":0}]}"#,
            r#""name":"shutdown_complete"}"#,
            r#""name":"shutdown_requested"}"#,
        ]
    );
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_fails_is_told_to_the_letter() {
    let cluster = cluster().await;
    let refusal = Fault::error(ErrorCode::NotEnoughReplicas).on_api(ApiKey::Produce).always();
    cluster.faults().inject(refusal);
    let produced = run(&cluster, "verifiable-producer", &["--topic", TOPIC, "--max-messages", "1"]).await;
    assert!(produced.status.success(), "{}", produced.errors);
    let told = lines(&produced);
    let failed = r#""name":"producer_send_error","topic":"numbers","key":null,"value":"0","exception":"class org.apache.kafka.common.errors.NotEnoughReplicasException","message":"#;
    assert!(told[1].starts_with(failed), "{}", told[1]);
    assert_eq!(told[3], r#""name":"tool_data","sent":1,"acked":0,"target_throughput":-1,"avg_throughput":0.0}"#);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_refused_is_told_and_the_next_covers_it() {
    let cluster = cluster().await;
    fill(&cluster, 5).await;
    let refusal = Fault::error(ErrorCode::InvalidCommitOffsetSize).on_api(ApiKey::OffsetCommit);
    cluster.faults().inject(refusal.times(1));
    let consumer = start(&cluster, "verifiable-consumer", &["--topic", TOPIC, "--group-id", "g"]).await;
    let commits = |events: &[Event], count| (named(events, "offsets_committed").len() == count).then_some(());
    consumer.wait_for("a commit", PATIENCE, |events| commits(events, 1)).await;
    fill(&cluster, 1).await;
    consumer.wait_for("another commit", PATIENCE, |events| commits(events, 2)).await;
    let ended = terminate(consumer).await;
    assert!(ended.status.success(), "{}", ended.errors);
    let [refused, done] = named(&ended.events, "offsets_committed")[..] else { panic!("{:?}", ended.events) };
    assert_eq!((&refused["success"], &refused["offsets"][0]["offset"]), (&false.into(), &5.into()));
    assert!(refused["error"].as_str().unwrap().contains("INVALID_COMMIT_OFFSET_SIZE"), "{refused}");
    assert_eq!((&done["success"], &done["offsets"][0]["offset"]), (&true.into(), &6.into()));
    assert_eq!(committed(&cluster, "g").await, Some(6));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_commits_leave_out_what_the_last_message_cut_off() {
    let cluster = cluster().await;
    fill(&cluster, 10).await;
    let arguments = ["--topic", TOPIC, "--group-id", "g", "--max-messages", "7", "--enable-autocommit"];
    let ended = run(&cluster, "verifiable-consumer", &arguments).await;
    assert!(ended.status.success(), "{}", ended.errors);
    let consumed = named(&ended.events, "records_consumed");
    let last = &consumed.last().unwrap()["partitions"][0]["maxOffset"];
    assert_eq!((last, committed(&cluster, "g").await), (&6.into(), Some(7)));
    cluster.shutdown().await;
}

/// What Java's consumer does between two polls of 500 records, though one of ours has brought many more.
#[tokio::test(flavor = "multi_thread")]
async fn the_group_has_its_turn_between_lines_and_nothing_is_skipped() {
    /// In each of two partitions, one of which stays where it is.
    const RECORDS: usize = 10_000;
    let cluster = cluster().await;
    cluster.create_topic("pair", 2, 1).await.unwrap();
    for partition in 0..2 {
        fill_partition(&cluster, "pair", partition, RECORDS).await;
    }
    let slow = Fault::delay(Duration::from_millis(300)).on_api(ApiKey::OffsetCommit).always();
    let slow = cluster.faults().inject(slow);
    let file = properties_file("quick.properties", "heartbeat.interval.ms=100\n");
    let arguments = [
        "--topic",
        "pair",
        "--group-id",
        "g",
        "--assignment-strategy",
        "cooperative-sticky",
        "--command-config",
        &file,
    ];
    let first = start(&cluster, "verifiable-consumer", &arguments).await;
    let is_told = |events: &[Event], name| (!named(events, name).is_empty()).then_some(());
    first.wait_for("a commit", PATIENCE, |events| is_told(events, "offsets_committed")).await;
    let second = start(&cluster, "verifiable-consumer", &arguments).await;
    let before = first.wait_for("a revocation", PATIENCE, |events| {
        let revoked = events.iter().position(|event| event.name() == "partitions_revoked")?;
        Some(records(&events[..revoked]).into_values().sum::<u64>())
    });
    assert!(before.await < 2 * RECORDS as u64, "it read on to the end of what it had polled");
    cluster.faults().withdraw(slow);

    let programs = [first, second];
    let all_read = async || {
        let events: Vec<_> = programs.iter().flat_map(Program::events).collect();
        let ends = events.iter().flat_map(consumed).filter(|(_, offsets)| offsets.end == RECORDS as i64);
        (ends.map(|(partition, _)| partition).collect::<BTreeSet<_>>().len() == 2).then_some(events)
    };
    let events = eventually("both partitions are read to their ends", all_read).await;
    let mut is_read = vec![[false; RECORDS]; 2];
    for (partition, offsets) in events.iter().flat_map(consumed) {
        is_read[partition.partition as usize][offsets.start as usize..offsets.end as usize].fill(true);
    }
    let skipped = is_read.iter().map(|partition| partition.iter().position(|is_read| !is_read));
    assert_eq!(skipped.collect::<Vec<_>>(), [None, None]);
    for program in programs {
        assert!(terminate(program).await.status.success());
    }
    cluster.shutdown().await;
}

/// Runs a program of whose output only the first lines are read, and gives what it said to people.
async fn run_unread(mut command: Command, lines: usize) -> String {
    let mut program = tokio::process::Command::from({
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    });
    let mut program = program.kill_on_drop(true).spawn().unwrap();
    let mut output = BufReader::new(program.stdout.take().unwrap()).lines();
    for _ in 0..lines {
        output.next_line().await.unwrap().unwrap();
    }
    drop(output);
    let status = tokio::time::timeout(PATIENCE, program.wait()).await.expect("it ends").unwrap();
    let mut errors = String::new();
    program.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
    assert_eq!(status.code(), Some(1), "{errors}");
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_be_told_of_is_not_committed() {
    let cluster = cluster().await;
    // More than a pipe holds.
    fill(&cluster, 5000).await;
    for (group, mode) in [("manual", "--verbose"), ("automatic", "--enable-autocommit")] {
        let arguments = ["--topic", TOPIC, "--group-id", group, "--verbose", mode];
        let errors = run_unread(command(&cluster, "verifiable-consumer", &arguments), 5).await;
        assert!(errors.contains("standard output takes no more"), "{errors}");
        assert!(committed(&cluster, group).await.is_none_or(|offset| offset <= 1000), "{group}");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_nobody_listens_to_ends() {
    let cluster = cluster().await;
    let errors = run_unread(command(&cluster, "verifiable-producer", &["--topic", TOPIC]), 5).await;
    assert!(errors.contains("standard output takes no more"), "{errors}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_told_to_end_tells_of_the_message_that_found_no_topic() {
    let cluster = cluster().await;
    let producer = start(&cluster, "verifiable-producer", &["--topic", "nowhere"]).await;
    producer.wait_for("it begins", PATIENCE, |events| (!events.is_empty()).then_some(())).await;
    let ended = terminate(producer).await;
    assert!(ended.status.success(), "{}", ended.errors);
    let sent = named(&ended.events, "tool_data")[0]["sent"].as_u64().unwrap();
    assert_eq!(named(&ended.events, "producer_send_error").len() as u64, sent);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_while_there_is_no_broker_both_end_soon() {
    let cluster = cluster().await;
    fill(&cluster, 5).await;
    let file = properties_file(
        "impatient.properties",
        "retries=100\ndelivery.timeout.ms=4000\nrequest.timeout.ms=1000\nlinger.ms=0\ndefault.api.timeout.ms=2000\n",
    );
    let arguments = ["--topic", TOPIC, "--group-id", "g", "--command-config", &file];
    let consumer = start(&cluster, "verifiable-consumer", &arguments).await;
    let arguments = ["--topic", TOPIC, "--throughput", "50", "--command-config", &file];
    let producer = start(&cluster, "verifiable-producer", &arguments).await;
    let is_told = |events: &[Event], name| (!named(events, name).is_empty()).then_some(());
    consumer.wait_for("it has read", PATIENCE, |events| is_told(events, "offsets_committed")).await;
    producer.wait_for("it has written", PATIENCE, |events| is_told(events, "producer_send_success")).await;
    cluster.kill_node(NodeId(0), Loss::Unreplicated).await.unwrap();

    let (consumer, producer) = tokio::join!(terminate(consumer), terminate(producer));
    for ended in [&consumer, &producer] {
        assert!(ended.status.success(), "{}", ended.errors);
        assert_eq!(named(&ended.events, "shutdown_complete").len(), 1);
    }
    assert_eq!(named(&consumer.events, "partitions_revoked").len(), 1);
    let told = ["producer_send_success", "producer_send_error"].map(|name| named(&producer.events, name).len() as u64);
    let summary = named(&producer.events, "tool_data")[0];
    assert_eq!((summary["acked"].as_u64(), summary["sent"].as_u64()), (Some(told[0]), Some(told[0] + told[1])));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_has_nothing_but_lines_of_json() {
    let cluster = cluster().await;
    let file = properties_file("both.properties", "linger.ms=1\nfetch.min.bytes=1\n");
    let arguments = ["--topic", TOPIC, "--max-messages", "1", "--command-config", &file];
    let produced = run(&cluster, "verifiable-producer", &arguments).await;
    let arguments = [&arguments[..], &["--group-id", "g"]].concat();
    let consumed = run(&cluster, "verifiable-consumer", &arguments).await;
    assert!(produced.errors.contains("fetch.min.bytes has no effect on a producer"), "{}", produced.errors);
    assert!(consumed.errors.contains("linger.ms has no effect on a consumer"), "{}", consumed.errors);
    for ended in [&produced, &consumed] {
        assert!(ended.events.iter().all(|event| event.json.is_object()), "{:?}", ended.events);
    }
    cluster.shutdown().await;
}

/// Harnesses for several versions of Kafka know these.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_may_be_named_as_they_were_before_kafka_4() {
    let cluster = cluster().await;
    for (subcommand, arguments) in [("verifiable-producer", &[][..]), ("verifiable-consumer", &["--group-id", "g"])] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args([subcommand, "--broker-list", &cluster.bootstrap_servers(), "--topic", TOPIC]);
        command.args(["--max-messages", "1"]).args(arguments);
        let ended = Program::start(subcommand, &command).await.unwrap().ended(PATIENCE).await.unwrap();
        assert!(ended.status.success(), "{}", ended.errors);
        assert!(ended.events.iter().any(|event| event.json["partition"] == 0 || event.json["count"] == 1));
    }
    cluster.shutdown().await;
}
