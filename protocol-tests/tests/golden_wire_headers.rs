//! Headers against what Kafka's Java classes wrote, and every API's versions and header versions.

use bytes::Bytes;
use ottla_wire::guarded::DescribeClusterRequest;
use ottla_wire::messages::*;
use ottla_wire::{ApiKey, Reader, Request, RequestHeader, ResponseHeader, VersionRange, Writer};
use protocol_tests::golden::{self, Line};

#[test]
fn every_header_reads_and_writes_as_in_java() {
    let lines = golden::lines("wire_headers.jsonl");
    let mut headers = 0;
    for line in lines.iter().filter(|line| line.find("header").is_some()) {
        let bytes = Bytes::from(line.bytes("bytes"));
        let known_tags_only = line.find("unknown_tags").is_none_or(|tags| tags.as_array().is_none_or(Vec::is_empty));
        let written = match line.text("header") {
            "RequestHeader" => request_header(line, bytes.clone()),
            "ResponseHeader" => response_header(line, bytes.clone()),
            other => panic!("{line}: header {other:?}"),
        };
        if known_tags_only {
            assert_eq!(written, bytes, "{line}");
        } else {
            assert!(written.len() < bytes.len(), "{line}: the unknown tags were kept");
        }
        headers += 1;
    }
    println!("{headers} headers compared, {} lines of APIs", lines.len() - headers);
    assert!(headers > 0);
}

fn request_header(line: &Line, bytes: Bytes) -> Bytes {
    let flexible = match line.integer("version") {
        1 => false,
        2 => true,
        other => panic!("{line}: version {other}"),
    };
    let json = line.get("json");
    let mut reader = Reader::new(bytes);
    let header = RequestHeader::read(&mut reader, flexible).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(reader.remaining(), 0, "{line}");
    assert_eq!(json["requestApiKey"], header.api_key, "{line}");
    assert_eq!(json["requestApiVersion"], header.api_version, "{line}");
    assert_eq!(json["correlationId"], header.correlation_id, "{line}");
    assert_eq!(json["clientId"].as_str(), header.client_id.as_deref(), "{line}");
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(4), "{line}");
    let mut writer = Writer::new();
    header.write(&mut writer, flexible).unwrap_or_else(|error| panic!("{line}: {error}"));
    writer.into_bytes()
}

fn response_header(line: &Line, bytes: Bytes) -> Bytes {
    let flexible = match line.integer("version") {
        0 => false,
        1 => true,
        other => panic!("{line}: version {other}"),
    };
    let json = line.get("json");
    let mut reader = Reader::new(bytes);
    let header = ResponseHeader::read(&mut reader, flexible).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(reader.remaining(), 0, "{line}");
    assert_eq!(json["correlationId"], header.correlation_id, "{line}");
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(1), "{line}");
    let mut writer = Writer::new();
    header.write(&mut writer, flexible);
    writer.into_bytes()
}

/// An API that is written here: its versions, and the headers that its messages take.
struct Api {
    key: ApiKey,
    versions: VersionRange,
    request_is_flexible: fn(i16) -> bool,
    response_header_is_flexible: fn(i16) -> bool,
}

fn api<R: Request>() -> Api {
    Api {
        key: R::API_KEY,
        versions: R::VERSIONS,
        request_is_flexible: |version| R::encoding(version).flexible,
        response_header_is_flexible: ResponseHeader::is_flexible::<R::Response>,
    }
}

fn apis() -> Vec<Api> {
    vec![
        api::<ProduceRequest>(),
        api::<FetchRequest>(),
        api::<ListOffsetsRequest>(),
        api::<MetadataRequest>(),
        api::<OffsetCommitRequest>(),
        api::<OffsetFetchRequest>(),
        api::<FindCoordinatorRequest>(),
        api::<JoinGroupRequest>(),
        api::<HeartbeatRequest>(),
        api::<LeaveGroupRequest>(),
        api::<SyncGroupRequest>(),
        api::<SaslHandshakeRequest>(),
        api::<ApiVersionsRequest>(),
        api::<InitProducerIdRequest>(),
        api::<OffsetForLeaderEpochRequest>(),
        api::<SaslAuthenticateRequest>(),
        api::<DescribeGroupsRequest>(),
        api::<ListGroupsRequest>(),
        api::<DeleteGroupsRequest>(),
        api::<OffsetDeleteRequest>(),
        api::<DescribeClusterRequest>(),
        api::<CreateTopicsRequest>(),
        api::<DeleteTopicsRequest>(),
        api::<CreatePartitionsRequest>(),
        api::<DescribeConfigsRequest>(),
        api::<AlterConfigsRequest>(),
        api::<IncrementalAlterConfigsRequest>(),
        api::<DeleteRecordsRequest>(),
    ]
}

#[test]
fn every_api_has_the_versions_and_headers_of_kafka_4_3() {
    let lines = golden::lines("wire_headers.jsonl");
    let apis = apis();
    let (mut compared, mut others) = (0, 0);
    for line in lines.iter().filter(|line| line.find("header").is_none()) {
        let number = i16::try_from(line.integer("key")).expect("an API key is an int16");
        if let Some(key) = ApiKey::from_number(number) {
            assert_eq!(key.to_string(), line.text("api"), "{line}");
        }
        match apis.iter().find(|api| api.key.number() == number) {
            Some(api) => {
                compare(line, api);
                compared += 1;
            }
            None => others += 1,
        }
    }
    println!("{compared} APIs compared, {others} others");
    assert_eq!(compared, apis.len());
}

fn compare(line: &Line, api: &Api) {
    let version = |name: &str| i16::try_from(line.integer(name)).expect("a version is an int16");
    let (min, max) = (version("min_version"), version("max_version_unstable"));
    assert_eq!(api.versions, VersionRange::new(min, max), "{line}");
    let request_headers = line.array("request_header_versions");
    let response_headers = line.array("response_header_versions");
    assert_eq!(request_headers.len(), usize::try_from(max - min + 1).expect("a range"), "{line}");
    for version in api.versions.min..=max {
        let index = usize::try_from(version - min).expect("not below the range");
        let request_header = 1 + i64::from((api.request_is_flexible)(version));
        assert_eq!(request_headers[index], request_header, "{line}: request {version}");
        let response_header = i64::from((api.response_header_is_flexible)(version));
        assert_eq!(response_headers[index], response_header, "{line}: response {version}");
    }
}
