//! Hashes, checksums, variable-length integers and ids against what Kafka's Java classes computed.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_wire::{DecodeError, Reader, TopicId, Writer, hashing};
use protocol_tests::golden::{self, Line};
use serde_json::Value;

#[test]
fn every_hash_varint_and_id_equals_javas() {
    let lines = golden::lines("hashes.jsonl");
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &lines {
        let kind = line.text("type");
        match kind {
            "murmur2" => murmur2(line),
            "crc" => crc(line),
            "varint" => varint(line),
            "varint_decode" => varint_decode(line),
            "coordinator" => coordinator(line),
            "uuid" => uuid(line),
            other => panic!("{line}: type {other:?}"),
        }
        *compared.entry(kind).or_default() += 1;
    }
    println!("compared: {compared:?}");
    assert_eq!(compared.len(), 6, "a kind is missing");
    assert_eq!(compared.values().sum::<usize>(), lines.len());
}

fn murmur2(line: &Line) {
    let key = line.bytes("key");
    assert_eq!(i64::from(hashing::murmur2(&key)), line.integer("murmur2"), "{line}");
    for (count, partition) in counts_and_partitions(line) {
        assert_eq!(hashing::partition_for_key(&key, count), Some(partition), "{line}: of {count}");
    }
}

fn coordinator(line: &Line) {
    let id = line.text("id");
    assert_eq!(i64::from(hashing::java_string_hash(id)), line.integer("java_hash"), "{line}");
    for (count, partition) in counts_and_partitions(line) {
        assert_eq!(hashing::coordinator_partition(id, count), Some(partition), "{line}: of {count}");
    }
}

fn counts_and_partitions(line: &Line) -> Vec<(i32, i32)> {
    let number = |value: &Value| i32::try_from(value.as_i64().expect("an integer")).expect("an int32");
    let counts: Vec<i32> = line.array("partition_counts").iter().map(number).collect();
    let partitions: Vec<i32> = line.array("partitions").iter().map(number).collect();
    assert!(!counts.is_empty() && counts.len() == partitions.len(), "{line}");
    counts.into_iter().zip(partitions).collect()
}

fn crc(line: &Line) {
    let data = line.bytes("data");
    assert_eq!(i64::from(ottla_wire::records::crc32c(&data)), line.integer("crc32c"), "{line}");
    assert_eq!(i64::from(ottla_wire::records::crc32(&data)), line.integer("crc32"), "{line}");
}

fn varint(line: &Line) {
    let value = line.integer("value");
    let mut writer = Writer::new();
    writer.varlong(value);
    let written = writer.into_bytes();
    assert_eq!(written, line.bytes("varlong_zigzag"), "{line}: varlong");
    assert_eq!(Reader::new(written).varlong(), Ok(value), "{line}: varlong");
    if let Ok(value) = i32::try_from(value) {
        let mut writer = Writer::new();
        writer.varint(value);
        let written = writer.into_bytes();
        assert_eq!(written, line.bytes("varint_zigzag"), "{line}: varint");
        assert_eq!(Reader::new(written).varint(), Ok(value), "{line}: varint");

        let mut writer = Writer::new();
        writer.unsigned_varint(value.cast_unsigned());
        let written = writer.into_bytes();
        assert_eq!(written, line.bytes("unsigned_varint"), "{line}: unsigned varint");
        assert_eq!(Reader::new(written).unsigned_varint(), Ok(value.cast_unsigned()), "{line}: unsigned varint");
    }
}

fn varint_decode(line: &Line) {
    let bytes = Bytes::from(line.bytes("bytes"));
    let mut reader = Reader::new(bytes.clone());
    same_as_java(line, "varint_zigzag", reader.varint().map(i64::from), reader.position());
    let mut reader = Reader::new(bytes.clone());
    let value = reader.unsigned_varint().map(|value| i64::from(value.cast_signed()));
    same_as_java(line, "unsigned_varint", value, reader.position());
    let mut reader = Reader::new(bytes);
    same_as_java(line, "varlong_zigzag", reader.varlong(), reader.position());
}

fn same_as_java(line: &Line, reading: &str, ours: Result<i64, DecodeError>, consumed: usize) {
    let java = line.get(reading);
    match (ours, java.get("value").and_then(Value::as_i64)) {
        (Ok(ours), Some(value)) => {
            assert_eq!(ours, value, "{line}: {reading}");
            assert_eq!(Some(consumed as u64), java.get("consumed").and_then(Value::as_u64), "{line}: {reading}");
        }
        (Err(_), None) => assert!(java.get("error").is_some(), "{line}: {reading}"),
        (ours, _) => panic!("{line}: {reading}: {ours:?}, in Java {java}"),
    }
}

fn uuid(line: &Line) {
    let id: [u8; 16] = line.bytes("bytes").try_into().expect("sixteen bytes");
    assert_eq!(TopicId(id).to_string(), line.text("text"), "{line}");
}
