//! The messages behind the guard, and the `kafka-protocol` crate as the second opinion on those written by hand.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_wire::guard::DEFAULT_MAX_GUARDED_BYTES;
use ottla_wire::guarded::any::{self, AnyMessage, Direction};
use ottla_wire::guarded::*;
use ottla_wire::{ApiKey, Message, Reader, Writer};
use protocol_tests::golden::{self, Line};

fn direction(line: &Line) -> Direction {
    match line.text("dir") {
        "request" => Direction::Request,
        "response" => Direction::Response,
        other => panic!("{line}: direction {other:?}"),
    }
}

fn number(line: &Line, name: &str) -> i16 {
    i16::try_from(line.integer(name)).expect("an int16")
}

#[test]
fn the_guard_refuses_no_valid_message() {
    let lines = golden::lines("wire_messages.jsonl.gz");
    let (mut passed, mut not_flexible, mut newer) = (0, 0, BTreeMap::<String, usize>::new());
    for line in &lines {
        let (key, version, bytes) = (number(line, "key"), number(line, "version"), Bytes::from(line.bytes("bytes")));
        let has = |versions: Option<ottla_wire::VersionRange>| versions.is_some_and(|range| range.contains(version));
        if line.get("flexible") == false {
            assert!(!has(any::flexible_versions(key)), "{line}");
            not_flexible += 1;
            continue;
        }
        if !has(any::versions(key)) {
            *newer.entry(format!("{} {version}", line.text("api"))).or_default() += 1;
            continue;
        }
        let message = AnyMessage::decode(key, direction(line), version, bytes.clone(), DEFAULT_MAX_GUARDED_BYTES)
            .unwrap_or_else(|error| panic!("{line}: {} {} {version}: {error}", line.text("api"), line.text("dir")));
        let written = message.encode(version).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(written, bytes, "{line}: {} {version}", line.text("api"));
        passed += 1;
    }
    println!("{passed} messages passed the guard, {not_flexible} not flexible, not in kafka-protocol: {newer:?}");
    assert!(passed > 2000, "{passed}");
    assert_eq!(passed + not_flexible + newer.values().sum::<usize>(), lines.len());
}

#[test]
fn admin_messages_read_and_write_as_in_java() {
    let lines = golden::lines("wire_messages.jsonl.gz");
    let mut compared = BTreeMap::<(i16, i16), usize>::new();
    let mut before_flexible = 0;
    for line in &lines {
        let check = match (ApiKey::from_number(number(line, "key")), direction(line)) {
            (Some(ApiKey::DescribeCluster), Direction::Request) => check::<DescribeClusterRequest>,
            (Some(ApiKey::DescribeCluster), Direction::Response) => check::<DescribeClusterResponse>,
            _ => continue,
        };
        if check(line) {
            *compared.entry((number(line, "key"), number(line, "version"))).or_default() += 1;
        } else {
            before_flexible += 1;
        }
    }
    println!("{} compared, {before_flexible} not flexible: {compared:?}", compared.values().sum::<usize>());
    let versions: Vec<(i16, i16)> = compared.into_keys().collect();
    assert_eq!(versions, [(60, 0), (60, 1), (60, 2)]);
}

/// Whether the line's version is one that is implemented; it reads and writes then, byte for byte.
fn check<M: Message + PartialEq + std::fmt::Debug>(line: &Line) -> bool {
    let (version, bytes) = (number(line, "version"), Bytes::from(line.bytes("bytes")));
    if line.get("flexible") == false {
        assert!(!M::VERSIONS.contains(version), "{line}");
        return false;
    }
    let message = M::decode(&mut Reader::new(bytes.clone()), version).unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut writer = Writer::new();
    message.encode(&mut writer, version).unwrap_or_else(|error| panic!("{line}: {error}"));
    let written = writer.into_bytes();
    if line.text("kind") == "unknown_tags" {
        let again = M::decode(&mut Reader::new(written), version).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(again, message, "{line}");
    } else {
        assert_eq!(written, bytes, "{line}");
    }
    true
}

/// Our codec's bytes equal Java's (`golden_wire_messages`); here `kafka-protocol` reads and writes the same bytes in every
/// version that it has, the non-flexible ones too.
#[test]
fn the_second_opinion_agrees_on_every_message_by_hand() {
    const BY_HAND: [i16; 27] =
        [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 32, 33, 36, 37, 42, 44, 47];
    let lines = golden::lines("wire_messages.jsonl.gz");
    let (mut agreed, mut newer) = (BTreeMap::<i16, usize>::new(), BTreeSet::new());
    for line in lines.iter().filter(|line| BY_HAND.contains(&number(line, "key"))) {
        let (key, version, bytes) = (number(line, "key"), number(line, "version"), Bytes::from(line.bytes("bytes")));
        if !any::versions(key).is_some_and(|range| range.contains(version)) {
            newer.insert((key, version));
            continue;
        }
        let message = AnyMessage::decode_trusted(key, direction(line), version, bytes.clone())
            .unwrap_or_else(|error| panic!("{line}: {} {} {version}: {error}", line.text("api"), line.text("dir")));
        let written = message.encode(version).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(written, bytes, "{line}: {} {version}", line.text("api"));
        *agreed.entry(key).or_default() += 1;
    }
    println!("agreed, by API key: {agreed:?}; versions that kafka-protocol lacks: {newer:?}");
    assert_eq!(agreed.len(), BY_HAND.len());
}
