//! Subscriptions, assignments and the sticky assignors' user data against what Kafka's Java classes wrote and read.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_wire::consumer_protocol::{
    Assignment, CooperativeUserData, HIGHEST_VERSION, PartitionsByTopic, StickyUserData, Subscription,
};
use ottla_wire::{DecodeError, GenerationId};
use protocol_tests::golden::{self, Line};
use serde_json::{Value, json};

#[test]
fn every_subscription_and_assignment_reads_and_writes_as_in_java() {
    let lines = golden::lines("consumer_protocol.jsonl.gz");
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &lines {
        let kind = line.text("type");
        match kind {
            "subscription" => subscription(line),
            "assignment" => assignment(line),
            "subscription_corrupt" => corrupt(line, Subscription::decode(bytes(line)).map(|read| describe(&read))),
            "assignment_corrupt" => {
                corrupt(line, Assignment::decode(bytes(line)).map(|read| describe_assignment(&read)));
            }
            "sticky_user_data" => sticky_user_data(line),
            "cooperative_user_data" => cooperative_user_data(line),
            other => panic!("{line}: type {other:?}"),
        }
        *compared.entry(kind).or_default() += 1;
    }
    println!("compared: {compared:?}");
    assert_eq!(compared.len(), 6, "a kind is missing");
    assert_eq!(compared.values().sum::<usize>(), lines.len());
}

fn subscription(line: &Line) {
    let version = version(line);
    let input = line.get("input");
    let given = Subscription {
        topics: strings(&input["topics"]).into_iter().collect(),
        user_data: optional_bytes(&input["user_data"]),
        owned_partitions: partitions(&input["owned"]),
        generation_id: generation(&input["generation"]),
        rack_id: input["rack"].as_str().map(str::to_owned),
    };
    assert_eq!(given.encode(version).expect("a known version"), bytes(line), "{line}");
    let read = Subscription::decode(bytes(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(&describe(&read), line.get("decoded"), "{line}");
    assert_eq!(line.integer("left_over"), 0, "{line}");
}

fn assignment(line: &Line) {
    let version = version(line);
    let input = line.get("input");
    let given =
        Assignment { partitions: partitions(&input["partitions"]), user_data: optional_bytes(&input["user_data"]) };
    assert_eq!(given.encode(version).expect("a known version"), bytes(line), "{line}");
    let read = Assignment::decode(bytes(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(&describe_assignment(&read), line.get("decoded"), "{line}");
    assert_eq!(line.integer("left_over"), 0, "{line}");
}

/// What Java reads of damaged bytes we read alike, and what it refuses we refuse. But for text that is not UTF-8: Java
/// puts replacement characters in, and no topic has such a name.
fn corrupt(line: &Line, ours: Result<Value, DecodeError>) {
    match (ours, line.find("decoded")) {
        (Err(DecodeError::InvalidUtf8 { .. }), Some(java)) if java.to_string().contains('\u{fffd}') => {}
        (Ok(ours), Some(java)) => assert_eq!(&ours, java, "{line}"),
        (Err(_), None) => assert!(line.find("error").is_some(), "{line}"),
        (Ok(ours), None) => panic!("{line}: read as {ours}, in Java {}", line.get("error")),
        (Err(error), Some(java)) => panic!("{line}: {error}, in Java {java}"),
    }
}

fn sticky_user_data(line: &Line) {
    let given = StickyUserData {
        partitions: partitions(line.get("partitions")),
        generation_id: Some(generation(line.get("generation"))),
    };
    let read = StickyUserData::decode(bytes(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
    // The order of topics is that of a Java hash map.
    assert_eq!(sorted(&read.partitions), sorted(&given.partitions), "{line}");
    assert_eq!(read.generation_id, given.generation_id, "{line}");
    let written = given.encode().expect("its topics are short");
    assert_eq!(StickyUserData::decode(written.clone()), Ok(given), "{line}");
    assert_eq!(written.len(), bytes(line).len(), "{line}");
}

fn cooperative_user_data(line: &Line) {
    let given = CooperativeUserData { generation_id: generation(line.get("generation")) };
    assert_eq!(given.encode(), bytes(line), "{line}");
    assert_eq!(CooperativeUserData::decode(bytes(line)), Ok(given), "{line}");
}

fn describe(subscription: &Subscription) -> Value {
    json!({
        "topics": subscription.topics.iter().collect::<Vec<_>>(),
        "user_data": subscription.user_data.as_deref().map(golden::encode_base64),
        "owned": subscription.owned_partitions.partitions().collect::<Vec<_>>(),
        "generation": subscription.generation_id.0,
        "rack": subscription.rack_id,
    })
}

fn describe_assignment(assignment: &Assignment) -> Value {
    json!({
        "partitions": assignment.partitions.partitions().collect::<Vec<_>>(),
        "user_data": assignment.user_data.as_deref().map(golden::encode_base64),
    })
}

fn version(line: &Line) -> i16 {
    let version = i16::try_from(line.integer("version")).expect("a version is an int16");
    assert!((0..=HIGHEST_VERSION).contains(&version), "{line}");
    version
}

fn bytes(line: &Line) -> Bytes {
    line.bytes("bytes").into()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().expect("an array").iter().map(|text| text.as_str().expect("a string")).collect()
}

fn optional_bytes(value: &Value) -> Option<Bytes> {
    value.as_str().map(|text| golden::decode_base64(text).expect("base64").into())
}

fn generation(value: &Value) -> GenerationId {
    GenerationId(i32::try_from(value.as_i64().expect("an integer")).expect("an int32"))
}

fn partitions(value: &Value) -> PartitionsByTopic {
    let pair = |pair: &Value| {
        let partition = i32::try_from(pair[1].as_i64().expect("an integer")).expect("an int32");
        (pair[0].as_str().expect("a topic").to_owned(), partition)
    };
    value.as_array().expect("an array").iter().map(pair).collect()
}

fn sorted(partitions: &PartitionsByTopic) -> Vec<(&str, i32)> {
    let mut partitions: Vec<(&str, i32)> = partitions.partitions().collect();
    partitions.sort_unstable();
    partitions
}
