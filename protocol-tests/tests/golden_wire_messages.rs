//! Every message that is written by hand against what Kafka's Java classes wrote: each field, and every byte.

use bytes::Bytes;
use ottla_wire::messages::*;
use ottla_wire::{ApiKey, Inspect, Message, Reader, Request, Value, Writer};
use protocol_tests::golden::{self, Line};

/// One hand-written API: how its messages are checked.
struct Api {
    key: ApiKey,
    check_request: fn(&Line),
    check_response: fn(&Line),
}

impl Api {
    fn of<R: Request + Inspect + PartialEq + std::fmt::Debug>() -> Self
    where
        R::Response: Inspect + PartialEq + std::fmt::Debug,
    {
        Self { key: R::API_KEY, check_request: check::<R>, check_response: check::<R::Response> }
    }
}

fn by_hand() -> Vec<Api> {
    vec![
        Api::of::<ProduceRequest>(),
        Api::of::<FetchRequest>(),
        Api::of::<ListOffsetsRequest>(),
        Api::of::<MetadataRequest>(),
        Api::of::<OffsetCommitRequest>(),
        Api::of::<OffsetFetchRequest>(),
        Api::of::<FindCoordinatorRequest>(),
        Api::of::<JoinGroupRequest>(),
        Api::of::<HeartbeatRequest>(),
        Api::of::<LeaveGroupRequest>(),
        Api::of::<SyncGroupRequest>(),
        Api::of::<SaslHandshakeRequest>(),
        Api::of::<ApiVersionsRequest>(),
        Api::of::<InitProducerIdRequest>(),
        Api::of::<OffsetForLeaderEpochRequest>(),
        Api::of::<SaslAuthenticateRequest>(),
        Api::of::<DescribeGroupsRequest>(),
        Api::of::<ListGroupsRequest>(),
        Api::of::<DeleteGroupsRequest>(),
        Api::of::<OffsetDeleteRequest>(),
        Api::of::<CreateTopicsRequest>(),
        Api::of::<DeleteTopicsRequest>(),
        Api::of::<CreatePartitionsRequest>(),
        Api::of::<DescribeConfigsRequest>(),
        Api::of::<AlterConfigsRequest>(),
        Api::of::<IncrementalAlterConfigsRequest>(),
        Api::of::<DeleteRecordsRequest>(),
    ]
}

#[test]
fn every_message_by_hand_reads_and_writes_as_in_java() {
    let apis = by_hand();
    let lines = golden::lines("wire_messages.jsonl.gz");
    let mut compared = 0;
    let mut of_other_apis = 0;
    for line in &lines {
        let key = i16::try_from(line.integer("key")).expect("an API key is an int16");
        let Some(api) = apis.iter().find(|api| api.key.number() == key) else {
            of_other_apis += 1;
            continue;
        };
        match line.text("dir") {
            "request" => (api.check_request)(line),
            "response" => (api.check_response)(line),
            other => panic!("{line}: direction {other:?}"),
        }
        compared += 1;
    }
    println!("{compared} messages of {} APIs compared, {of_other_apis} of other APIs", apis.len());
    assert_eq!(compared + of_other_apis, lines.len());
    for api in &apis {
        assert!(lines.iter().any(|line| line.integer("key") == i64::from(api.key.number())), "{}: none", api.key);
    }
}

fn check<M: Message + Inspect + PartialEq + std::fmt::Debug>(line: &Line) {
    let version = i16::try_from(line.integer("version")).expect("a version is an int16");
    assert_eq!(line.get("flexible"), M::encoding(version).flexible, "{line}: flexible");
    let bytes = Bytes::from(line.bytes("bytes"));
    let message = M::decode(&mut Reader::new(bytes.clone()), version).unwrap_or_else(|error| panic!("{line}: {error}"));
    if let Err(difference) = same(&message.inspect(version), line.get("json")) {
        panic!("{line}: {} version {version}: {difference}\n{message:#?}", M::NAME);
    }
    let mut writer = Writer::new();
    message.encode(&mut writer, version).unwrap_or_else(|error| panic!("{line}: {error}"));
    let written = writer.into_bytes();
    if line.text("kind") == "unknown_tags" {
        // Tags that no schema knows are dropped: what is written is shorter, and means the same.
        assert!(written.len() < bytes.len(), "{line}: the unknown tags were kept");
        let again = M::decode(&mut Reader::new(written), version).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(again, message, "{line}");
    } else {
        assert_eq!(written, bytes, "{line}: {} version {version}", M::NAME);
    }
}

/// Whether a message's tree is what the Java classes wrote as JSON: every field of either is in the other.
fn same(ours: &Value, java: &serde_json::Value) -> Result<(), String> {
    use serde_json::Value as Json;
    let equal = match (ours, java) {
        (Value::Null, Json::Null) => true,
        (Value::Boolean(ours), Json::Bool(java)) => ours == java,
        (Value::Integer(ours), Json::Number(java)) => java.as_i64() == Some(*ours),
        (Value::Text(ours), Json::String(java)) => ours == java,
        (Value::Bytes(ours), Json::String(java)) => golden::decode_base64(java).as_deref() == Some(ours),
        (Value::Array(ours), Json::Array(java)) => {
            if ours.len() != java.len() {
                return Err(format!("{} elements, in Java {}", ours.len(), java.len()));
            }
            for (index, (ours, java)) in ours.iter().zip(java).enumerate() {
                same(ours, java).map_err(|difference| format!("[{index}]{difference}"))?;
            }
            true
        }
        (Value::Struct(ours), Json::Object(java)) => {
            for (name, value) in ours {
                let camel = camel_case(name);
                let java = java.get(&camel).ok_or_else(|| format!(".{camel}: not in Java"))?;
                same(value, java).map_err(|difference| format!(".{camel}{difference}"))?;
            }
            match java.keys().find(|key| !ours.iter().any(|(name, _)| camel_case(name) == **key)) {
                Some(key) => return Err(format!(".{key}: in Java only")),
                None => true,
            }
        }
        _ => false,
    };
    if equal { Ok(()) } else { Err(format!(": {ours:?}, in Java {java}")) }
}

/// A field's name as the schemas have it: `enable_2pc` is `enable2Pc` there.
fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            _ if upper || camel.ends_with(|last: char| last.is_ascii_digit()) => {
                camel.push(letter.to_ascii_uppercase());
                upper = false;
            }
            _ => camel.push(letter),
        }
    }
    camel
}

/// A request that Java wrote in a version can be written in all versions that its content is said to fit, and its own
/// is nearly always among them: the vectors' values are random, and some make no sense.
#[test]
fn a_request_can_be_written_in_every_version_that_it_is_said_to_fit() {
    let mut counts = Counts::default();
    for line in golden::lines("wire_messages.jsonl.gz").iter().filter(|line| line.text("dir") == "request") {
        match ApiKey::from_number(i16::try_from(line.integer("key")).expect("an int16")) {
            Some(ApiKey::Produce) => fits::<ProduceRequest>(line, &mut counts),
            Some(ApiKey::Fetch) => fits::<FetchRequest>(line, &mut counts),
            Some(ApiKey::ListOffsets) => fits::<ListOffsetsRequest>(line, &mut counts),
            Some(ApiKey::Metadata) => fits::<MetadataRequest>(line, &mut counts),
            Some(ApiKey::OffsetCommit) => fits::<OffsetCommitRequest>(line, &mut counts),
            Some(ApiKey::OffsetFetch) => fits::<OffsetFetchRequest>(line, &mut counts),
            Some(ApiKey::FindCoordinator) => fits::<FindCoordinatorRequest>(line, &mut counts),
            Some(ApiKey::JoinGroup) => fits::<JoinGroupRequest>(line, &mut counts),
            Some(ApiKey::Heartbeat) => fits::<HeartbeatRequest>(line, &mut counts),
            Some(ApiKey::LeaveGroup) => fits::<LeaveGroupRequest>(line, &mut counts),
            Some(ApiKey::SyncGroup) => fits::<SyncGroupRequest>(line, &mut counts),
            Some(ApiKey::SaslHandshake) => fits::<SaslHandshakeRequest>(line, &mut counts),
            Some(ApiKey::ApiVersions) => fits::<ApiVersionsRequest>(line, &mut counts),
            Some(ApiKey::InitProducerId) => fits::<InitProducerIdRequest>(line, &mut counts),
            Some(ApiKey::OffsetForLeaderEpoch) => fits::<OffsetForLeaderEpochRequest>(line, &mut counts),
            Some(ApiKey::SaslAuthenticate) => fits::<SaslAuthenticateRequest>(line, &mut counts),
            _ => {}
        }
    }
    println!("{counts:?}");
    assert!(counts.in_its_own > 800 && counts.written > counts.in_its_own, "{counts:?}");
    assert!(counts.not_in_its_own * 5 < counts.in_its_own, "{counts:?}");
}

#[derive(Debug, Default)]
struct Counts {
    in_its_own: usize,
    not_in_its_own: usize,
    written: usize,
}

fn fits<R: Request>(line: &Line, counts: &mut Counts) {
    let version = i16::try_from(line.integer("version")).expect("a version is an int16");
    let request = R::decode(&mut Reader::new(line.bytes("bytes").into()), version).expect("compared above");
    let usable = request.usable_versions();
    assert!(usable.min >= R::VERSIONS.min && usable.max <= R::VERSIONS.max, "{line}: {usable}");
    for version in usable.min..=usable.max {
        let written = request.encode(&mut Writer::new(), version);
        written.unwrap_or_else(|error| panic!("{line}: {version} of {usable}: {error}"));
        counts.written += 1;
    }
    *if usable.contains(version) { &mut counts.in_its_own } else { &mut counts.not_in_its_own } += 1;
}
