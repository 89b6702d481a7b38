//! Arguments that are refused, and those that are none.

use protocol_tests::suite::TestCluster;
use protocol_tests::verifiable::{Ended, Event};

use crate::pair::{PATIENCE, SIDES, Side, Tool, properties_file};
use crate::shared::tests;

tests![
    a_producer_refuses_what_javas_refuses,
    a_consumer_refuses_what_javas_refuses,
    what_java_has_and_ours_has_not_is_told,
    without_arguments_there_is_help,
    options_may_be_abbreviated,
];

/// Where nobody listens: what is refused is refused before anybody is asked.
const NOBODY: &str = "127.0.0.1:1";

/// Runs a program that ends by itself.
async fn run(side: Side, cluster: &TestCluster, tool: Tool, arguments: &[&str]) -> Ended {
    side.start(cluster, tool, arguments).await.ended(PATIENCE).await.unwrap()
}

/// Both fail before they begin, and ours says what is wrong.
async fn both_refuse(cluster: &TestCluster, tool: Tool, arguments: &[&str], names: &str) {
    for side in SIDES {
        let ended = run(side, cluster, tool, arguments).await;
        assert_eq!(ended.status.code(), Some(1), "{side:?}, {arguments:?}: {}", ended.errors);
        assert!(ended.events.iter().all(|event| event.json.is_null()), "{side:?}, {arguments:?}: {:?}", ended.events);
        assert!(side == Side::Java || ended.errors.contains(names), "{arguments:?}, {names:?}: {}", ended.errors);
    }
}

async fn a_producer_refuses_what_javas_refuses(cluster: TestCluster) {
    let idempotent = properties_file(&cluster, "idempotent", "enable.idempotence=true\n");
    let odd = properties_file(&cluster, "odd", "linger.ms=soon\n");
    let good = ["--topic", "t", "--bootstrap-server", NOBODY];
    for (arguments, names) in [
        (&["--bootstrap-server", NOBODY][..], "--topic"),
        (&["--topic", "t"], "--bootstrap-server"),
        (&["--topic", "t", "--bootstrap-server", "nonsense"], "--bootstrap-server"),
        (&["--acks", "2"], "--acks"),
        (&["--max-messages", "many"], "--max-messages"),
        (&["--max-messages", "3000000000"], "--max-messages"),
        (&["--throughput", "1.5"], "--throughput"),
        (&["--message-create-time", "now"], "--message-create-time"),
        (&["--value-prefix", "a"], "--value-prefix"),
        (&["--repeating-keys", "a"], "--repeating-keys"),
        (&["--surprise", "1"], "--surprise"),
        (&["stray"], "stray"),
        (&["--command-config", "/no/such/file"], "/no/such/file"),
        (&["--producer.config", &odd, "--command-config", &odd], "--command-config"),
        (&["--command-config", &odd], "linger.ms"),
        (&["--command-config", &idempotent], "enable.idempotence"),
    ] {
        let is_whole = arguments[0] == "--topic" || arguments[0] == "--bootstrap-server";
        let arguments = if is_whole { arguments.to_vec() } else { [&good, arguments].concat() };
        both_refuse(&cluster, Tool::Producer, &arguments, names).await;
    }
}

async fn a_consumer_refuses_what_javas_refuses(cluster: TestCluster) {
    let odd = properties_file(&cluster, "odd", "fetch.min.bytes=some\n");
    let good = ["--topic", "t", "--bootstrap-server", NOBODY, "--group-id", "g"];
    for (arguments, names) in [
        (&["--bootstrap-server", NOBODY, "--group-id", "g"][..], "--topic"),
        (&["--topic", "t", "--bootstrap-server", NOBODY], "--group-id"),
        (&["--topic", "t", "--group-id", "g"], "--bootstrap-server"),
        (&["--topic", "t", "--bootstrap-server", NOBODY, "--group-id", ""], "group.id"),
        (&["--group-instance-id", ""], "group.instance.id"),
        (&["--group-protocol", "modern"], "--group-protocol"),
        (&["--max-messages", "many"], "--max-messages"),
        (&["--session-timeout", "soon"], "--session-timeout"),
        (&["--session-timeout", "1000"], "session.timeout.ms"),
        (&["--reset-policy", "middle"], "--reset-policy"),
        (&["--assignment-strategy", "org.example.Fair"], "--assignment-strategy"),
        (&["--surprise"], "--surprise"),
        (&["--command-config", "/no/such/file"], "/no/such/file"),
        (&["--consumer.config", &odd, "--command-config", &odd], "--command-config"),
        (&["--command-config", &odd], "fetch.min.bytes"),
    ] {
        let is_whole = arguments[0] == "--topic" || arguments[0] == "--bootstrap-server";
        let arguments = if is_whole { arguments.to_vec() } else { [&good, arguments].concat() };
        both_refuse(&cluster, Tool::Consumer, &arguments, names).await;
    }
}

async fn what_java_has_and_ours_has_not_is_told(cluster: TestCluster) {
    let producer = ["--topic", "t", "--bootstrap-server", NOBODY];
    let consumer = ["--topic", "t", "--bootstrap-server", NOBODY, "--group-id", "g"];
    let file = |name: &str, text: &str| properties_file(&cluster, name, text);
    let refused = async |tool: Tool, arguments: &[&str], names: &[&str]| {
        let ended = run(Side::Ours, &cluster, tool, arguments).await;
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {}", ended.errors);
        assert!(ended.events.is_empty(), "{:?}", ended.events);
        assert!(names.iter().all(|name| ended.errors.contains(name)), "{names:?}: {}", ended.errors);
    };
    let modern = [&consumer[..], &["--group-protocol", "consumer"]].concat();
    refused(Tool::Consumer, &modern, &["--group-protocol", "classic"]).await;
    for (name, text) in [
        ("security.protocol", "security.protocol=SASL_SSL\n"),
        ("interceptor.classes", "interceptor.classes=com.example.Audit\n"),
        ("no.such.setting", "no.such.setting=1\n"),
    ] {
        let file = file(name, text);
        refused(Tool::Consumer, &[&consumer[..], &["--command-config", &file]].concat(), &[name, &file]).await;
        refused(Tool::Producer, &[&producer[..], &["--command-config", &file]].concat(), &[name, &file]).await;
    }
    let transactional = file("transactional", "transactional.id=t\n");
    let transactional = [&producer[..], &["--command-config", &transactional]].concat();
    refused(Tool::Producer, &transactional, &["transactional.id"]).await;
    let negative = [&producer[..], &["--message-create-time", "-2"]].concat();
    refused(Tool::Producer, &negative, &["--message-create-time"]).await;
}

async fn without_arguments_there_is_help(cluster: TestCluster) {
    for tool in [Tool::Producer, Tool::Consumer] {
        for side in SIDES {
            let ended = run(side, &cluster, tool, &[]).await;
            assert_eq!(ended.status.code(), Some(0), "{side:?} {tool:?}: {}", ended.errors);
            let text: Vec<_> = ended.events.iter().map(|event| &*event.line).collect();
            assert!(text.iter().any(|line| line.contains("--topic")), "{side:?} {tool:?}: {text:?}");
        }
    }
}

/// As argparse4j has it: up to where it is clear what is meant, and the last one counts.
async fn options_may_be_abbreviated(cluster: TestCluster) {
    let arguments = ["--topic=t", "--boot", NOBODY, "--max-m=7", "--max-messages", "0"];
    for side in SIDES {
        let ended = run(side, &cluster, Tool::Producer, &arguments).await;
        assert_eq!(ended.status.code(), Some(0), "{side:?}: {}", ended.errors);
        let names: Vec<_> = ended.events.iter().map(Event::name).collect();
        assert_eq!(names, ["startup_complete", "shutdown_complete", "tool_data"], "{side:?}");
    }
}
