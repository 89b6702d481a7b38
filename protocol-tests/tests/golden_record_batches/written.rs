//! The batches that Java was asked to write, written by us: byte for byte where the bytes are defined, that is
//! uncompressed, and read back otherwise.

use bytes::{Bytes, BytesMut};
use ottla_wire::compression::{Compression, CompressionLevel, Compressor};
use ottla_wire::records::{BatchBuilder, ControlRecordType, ProducerState, RecordBatches, control_batch};
use protocol_tests::golden::{self, Line};
use serde_json::Value;

use super::expected::{ExpectedBatch, boolean, integer, place, record, text};
use super::read::{self, ReadBatch};

#[test]
fn uncompressed_batches_are_written_byte_for_byte_as_java_writes_them() {
    let (mut lines, mut batches) = (0, 0);
    for line in golden::lines("record_batches.jsonl.gz") {
        if line.value.get("encode_exact") != Some(&Value::Bool(true)) {
            continue;
        }
        let ours = encode(&line);
        let java = line.bytes("bytes");
        let cut = line.find("cut").and_then(Value::as_u64).unwrap_or(0) as usize;
        assert_eq!(ours.len(), java.len() + cut, "{line}: bytes");
        assert_eq!(&ours[..java.len()], &java[..], "{}", place(&line));
        lines += 1;
        batches += line.array("input").len();
    }
    println!("{lines} buffers of {batches} batches written byte for byte");
    assert_eq!((lines, batches), EXACT);
}

#[test]
fn what_we_write_with_each_codec_reads_back() {
    let mut written = [0; Compression::ALL.len()];
    for file in ["record_batches.jsonl.gz", "record_batches_legacy.jsonl.gz"] {
        for line in golden::lines(file).iter().filter(|line| line.find("input").is_some()) {
            let place = place(line);
            let inputs = line.array("input").iter();
            for input in inputs.filter(|input| integer(&place, input, "magic") == 2) {
                let compression: Compression = text(&place, input, "compression").parse().expect("a codec");
                let read = read::read(encode_batch(&place, input).to_vec());
                assert_eq!(read.fault, None, "{place}");
                let [batch] = &read.batches[..] else { panic!("{place}: {} batches", read.batches.len()) };
                assert_eq!(batch.compression, compression.name(), "{place}");
                compare_with_input(&place, batch, input);
                written[usize::from(compression.id())] += 1;
            }
            compare_headers(line);
        }
    }
    println!("{written:?} batches written with {:?} and read back", Compression::ALL);
    assert_eq!(written, WRITTEN);
}

/// Compares a batch of ours with what it was made of.
fn compare_with_input(place: &str, batch: &ReadBatch, input: &Value) {
    let header = batch.header.as_ref().expect("magic 2");
    assert_eq!(batch.base_offset, integer(place, input, "base_offset"), "{place}");
    assert_eq!(header.producer_id, integer(place, input, "producer_id"), "{place}");
    assert_eq!(i64::from(header.producer_epoch), integer(place, input, "producer_epoch"), "{place}");
    assert_eq!(i64::from(header.base_sequence), integer(place, input, "base_sequence"), "{place}");
    assert_eq!(i64::from(header.leader_epoch), integer(place, input, "leader_epoch"), "{place}");
    assert_eq!(header.transactional, boolean(place, input, "transactional"), "{place}");
    assert_eq!(header.control, input.get("control").is_some(), "{place}");
    let Some(records) = input.get("records").and_then(Value::as_array) else { return };
    assert_eq!(batch.records.len(), records.len(), "{place}");
    for (ours, given) in batch.records.iter().zip(records) {
        let mut given = record(place, given);
        if let Some(append_time) = input.get("log_append_time").and_then(Value::as_i64) {
            given.timestamp = append_time;
        }
        assert_eq!(ours, &given, "{place}");
    }
}

/// Compares our batches with Java's, made of the same input: everything but what depends on the compressor.
fn compare_headers(line: &Line) {
    let place = place(line);
    let java = ExpectedBatch::all(line);
    if line.array("input").iter().any(|input| integer(&place, input, "magic") != 2) {
        return;
    }
    let ours = read::read(encode(line));
    for (ours, java) in ours.batches.iter().zip(&java) {
        let alike = |batch: &ReadBatch| {
            let mut batch = ReadBatch { size: 0, ..batch.clone() };
            batch.header.as_mut().expect("magic 2").crc = 0;
            batch
        };
        assert_eq!(alike(ours), alike(&java.batch), "{place}");
    }
}

fn encode(line: &Line) -> Vec<u8> {
    let place = place(line);
    line.array("input").iter().flat_map(|input| encode_batch(&place, input)).collect()
}

fn encode_batch(place: &str, input: &Value) -> Bytes {
    let producer = ProducerState {
        producer_id: integer(place, input, "producer_id"),
        producer_epoch: integer(place, input, "producer_epoch") as i16,
        base_sequence: integer(place, input, "base_sequence") as i32,
        transactional: boolean(place, input, "transactional"),
    };
    let batch = match input.get("control").map(|control| control.as_str().expect("a control type")) {
        Some(control) => {
            let kind = if control == "commit" { ControlRecordType::Commit } else { ControlRecordType::Abort };
            let epoch = integer(place, input, "coordinator_epoch") as i32;
            control_batch(kind, epoch, integer(place, input, "timestamp"), producer)
        }
        None => data_batch(place, input, producer),
    };
    let batch = RecordBatches::new(batch).next().expect("a batch").expect("a sound batch");
    let leader_epoch = integer(place, input, "leader_epoch") as i32;
    let batch = batch.assign_offsets(integer(place, input, "base_offset"), leader_epoch).expect("a place in a log");
    let batch = match input.get("log_append_time").and_then(Value::as_i64) {
        Some(timestamp) => batch.set_log_append_time(timestamp).expect("a time"),
        None => batch,
    };
    batch.into_bytes()
}

fn data_batch(place: &str, input: &Value, producer: ProducerState) -> Bytes {
    let compression: Compression = text(place, input, "compression").parse().expect("a codec");
    let level = match input["level"].as_i64() {
        Some(level) => CompressionLevel::new(compression, level as i32).expect("a level that Java takes"),
        None => CompressionLevel::from(compression),
    };
    let base_offset = integer(place, input, "base_offset");
    let mut builder = BatchBuilder::new();
    let mut size = builder.estimated_size();
    for value in input["records"].as_array().expect("records") {
        let record = record(place, value);
        let headers = || record.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref()));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let delta = (record.offset - base_offset) as i32;
        size += builder.record_size_at(delta, record.timestamp, key, value, headers());
        builder.append_at(delta, record.timestamp, key, value, headers()).expect("a record that fits");
        assert_eq!(builder.estimated_size(), size, "{place}: the estimate is exact");
    }
    // The producer's state is not known before the batch is sent: stated late, it makes the same batch.
    let batch = builder.build(&mut Compressor::new(level), ProducerState::NONE).expect("a batch");
    assert!(builder.is_empty(), "{place}: the builder starts again");
    let mut copy = BytesMut::from(&batch[..]).freeze();
    for state in [ProducerState { producer_id: 77, transactional: true, ..producer }, producer] {
        let batch = RecordBatches::new(copy).next().expect("a batch").expect("a sound batch");
        copy = batch.set_producer_state(state).expect("a batch").into_bytes();
    }
    copy
}

const EXACT: (usize, usize) = (210, 210);
const WRITTEN: [usize; 5] = [288, 139, 119, 133, 112];
