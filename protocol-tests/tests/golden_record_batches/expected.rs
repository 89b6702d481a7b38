//! What Java read, from the vectors.

use protocol_tests::golden::{Line, decode_base64};
use serde_json::Value;

use super::read::ReadBatch;
use super::{ComparedHeader, ComparedRecord};

/// A batch as Java read it.
pub(super) struct ExpectedBatch {
    pub(super) batch: ReadBatch,
    /// Whether all its records were read, or an error ended that.
    pub(super) complete: bool,
}

impl ExpectedBatch {
    /// All batches of a line.
    pub(super) fn all(line: &Line) -> Vec<Self> {
        line.array("batches").iter().map(|batch| Self::new(&place(line), batch)).collect()
    }

    fn new(place: &str, batch: &Value) -> Self {
        let records = batch["records"].as_array().unwrap_or_else(|| panic!("{place}: no records"));
        let complete = batch.get("records_read").is_some();
        if complete {
            assert_eq!(batch["records_read"].as_u64(), Some(records.len() as u64), "{place}: records read");
        }
        assert_eq!(batch["valid"], true, "{place}: Java lists batches whose CRC is right");
        let magic = integer(place, batch, "magic") as i8;
        let batch = ReadBatch {
            magic,
            size: integer(place, batch, "size") as usize,
            base_offset: integer(place, batch, "base_offset"),
            last_offset: integer(place, batch, "last_offset"),
            next_offset: integer(place, batch, "next_offset"),
            compression: text(place, batch, "compression"),
            timestamp_type: text(place, batch, "timestamp_type"),
            max_timestamp: integer(place, batch, "max_timestamp"),
            header: (magic == 2).then(|| header(place, batch)),
            records: records.iter().map(|value| record(place, value)).collect(),
        };
        Self { batch, complete }
    }
}

fn header(place: &str, batch: &Value) -> ComparedHeader {
    ComparedHeader {
        crc: integer(place, batch, "crc") as u32,
        leader_epoch: integer(place, batch, "leader_epoch") as i32,
        base_timestamp: integer(place, batch, "base_timestamp"),
        producer_id: integer(place, batch, "producer_id"),
        producer_epoch: integer(place, batch, "producer_epoch") as i16,
        base_sequence: integer(place, batch, "base_sequence") as i32,
        last_sequence: integer(place, batch, "last_sequence") as i32,
        transactional: boolean(place, batch, "transactional"),
        control: boolean(place, batch, "control"),
        delete_horizon_ms: batch["delete_horizon_ms"].as_i64(),
        count: integer(place, batch, "count") as u32,
    }
}

/// A record, as input or as read.
pub(super) fn record(place: &str, record: &Value) -> ComparedRecord {
    let headers = record.get("headers").map_or(&[][..], |headers| headers.as_array().expect("an array of headers"));
    let header = |header: &Value| (header[0].as_str().expect("a header's key").to_owned(), bytes(place, &header[1]));
    let control = record.get("control_type").map(|kind| {
        let epoch = record.get("coordinator_epoch").and_then(Value::as_i64);
        (control_type(place, kind), epoch.map(|epoch| epoch as i32))
    });
    ComparedRecord {
        offset: integer(place, record, "offset"),
        timestamp: integer(place, record, "timestamp"),
        key: bytes(place, &record["key"]),
        value: bytes(place, &record["value"]),
        headers: headers.iter().map(header).collect(),
        control,
    }
}

fn control_type(place: &str, kind: &Value) -> i16 {
    match kind.as_str() {
        Some("ABORT") => 0,
        Some("COMMIT") => 1,
        Some("UNKNOWN") => UNKNOWN_CONTROL_TYPE,
        _ => panic!("{place}: control type {kind}"),
    }
}

/// What stands for a control type that is neither.
pub(super) const UNKNOWN_CONTROL_TYPE: i16 = -1;

pub(super) fn place(line: &Line) -> String {
    format!("{line} ({})", line.text("id"))
}

pub(super) fn integer(place: &str, value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_else(|| panic!("{place}: {name:?} is no integer"))
}

pub(super) fn boolean(place: &str, value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or_else(|| panic!("{place}: {name:?} is no boolean"))
}

pub(super) fn text(place: &str, value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{place}: {name:?} is no string")).to_owned()
}

fn bytes(place: &str, value: &Value) -> Option<Vec<u8>> {
    if value.is_null() {
        return None;
    }
    let text = value.as_str().unwrap_or_else(|| panic!("{place}: neither text nor null: {value}"));
    Some(decode_base64(text).unwrap_or_else(|| panic!("{place}: no base64: {text}")))
}
