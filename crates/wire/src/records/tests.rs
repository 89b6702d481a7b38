//! What the vectors do not show: places of errors, going on behind them, memory, and re-stamping.

use bytes::Bytes;

use super::header::{ATTRIBUTES_AT, LAST_OFFSET_DELTA_AT, RECORD_COUNT_AT};
use super::*;
use crate::compression::{Compression, Compressor, DecompressFault, Decompressor};

/// A batch of three records, at offset 100.
fn bytes(compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.append(1000, Some(b"key"), Some(b"first"), []).unwrap();
    builder.append(1007, None, Some(b"second"), [("a", Some(&b"1"[..])), ("a", None)]).unwrap();
    builder.append(993, Some(b""), None, []).unwrap();
    let producer =
        ProducerState { producer_id: 9, producer_epoch: 2, base_sequence: i32::MAX - 1, transactional: false };
    let built = builder.build(&mut Compressor::new(compression), producer).unwrap();
    only(built).assign_offsets(100, 4).unwrap().into_bytes().to_vec()
}

/// The one batch that `bytes` are.
fn only(bytes: impl Into<Bytes>) -> RecordBatch {
    let mut batches = RecordBatches::new(bytes.into());
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none());
    batch
}

/// The same with a field changed and the CRC made right.
fn changed(mut bytes: Vec<u8>, at: usize, field: &[u8]) -> Vec<u8> {
    batch::put(&mut bytes, at, field);
    batch::put_crc(&mut bytes);
    bytes
}

fn open(batch: &RecordBatch) -> Result<OpenBatch, CorruptBatch> {
    batch.open(&mut Decompressor::default())
}

#[test]
fn every_field_of_a_batch_reads_as_it_was_written() {
    for compression in Compression::ALL {
        let batch = only(bytes(compression));
        assert_eq!((batch.base_offset(), batch.last_offset(), batch.next_offset()), (100, 102, 103));
        assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (1000, 1007));
        assert_eq!((batch.producer_id(), batch.producer_epoch()), (9, 2));
        // The third record's number is the first again after the largest.
        assert_eq!((batch.base_sequence(), batch.last_sequence()), (i32::MAX - 1, 0));
        assert_eq!((batch.partition_leader_epoch(), batch.record_count()), (4, Some(3)));
        assert_eq!((batch.compression(), batch.timestamp_type()), (compression, TimestampType::CreateTime));
        let open = open(&batch).unwrap();
        let records: Vec<_> = open.records().map(Result::unwrap).collect();
        let timestamps: Vec<_> = records.iter().map(|record| (record.offset(), record.timestamp())).collect();
        assert_eq!(timestamps, [(100, 1000), (101, 1007), (102, 993)]);
        assert_eq!((records[0].key(), records[0].value()), (Some(&b"key"[..]), Some(&b"first"[..])));
        assert_eq!((records[2].key(), records[2].value()), (Some(&b""[..]), None));
        let headers: Vec<_> = records[1].headers().map(|header| (header.key(), header.value())).collect();
        assert_eq!(headers, [("a".into(), Some(&b"1"[..])), ("a".into(), None)]);
    }
}

#[test]
fn an_uncompressed_batch_shares_the_buffer_down_to_its_owned_records() {
    let whole = Bytes::from(bytes(Compression::None));
    let open = open(&only(whole.clone())).unwrap();
    let within = |part: &[u8]| whole.as_ptr_range().contains(&part.as_ptr());
    let record = open.records().next().unwrap().unwrap();
    assert!(within(open.buffer()) && within(record.value().unwrap()));
    let owned = open.to_owned_record(&record);
    assert!(within(owned.key().unwrap()) && within(owned.value().unwrap()));
    // Of another buffer it is a copy, not a panic.
    let foreign = record.to_owned(&Bytes::from_static(b"another buffer"));
    assert!(!within(foreign.value().unwrap()));
    assert_eq!(foreign.value(), owned.value());
}

#[test]
fn a_corrupt_batch_does_not_hide_the_next() {
    let bad_codec = changed(bytes(Compression::None), ATTRIBUTES_AT, &[0, 7]);
    let whole = [bytes(Compression::None), bad_codec, bytes(Compression::Lz4)].concat();
    let length = bytes(Compression::None).len();
    let read: Vec<_> = RecordBatches::new(whole.into()).collect();
    assert!(read[0].is_ok() && read[2].is_ok() && read.len() == 3);
    let error = read[1].as_ref().unwrap_err();
    assert_eq!(error.fault, BatchFault::UnknownCompression { id: 7 });
    assert_eq!((error.base_offset, error.next_offset, error.position), (100, Some(103), length));
    let text = format!(
        "the record batch at offset 100 (byte {length}) is corrupt: \
         its compression type is 7, which does not exist in its magic"
    );
    assert_eq!(error.to_string(), text);
}

#[test]
fn an_impossible_length_ends_the_walk() {
    for length in [13i32, 0, -1, i32::MIN, i32::MAX] {
        let mut whole = bytes(Compression::None);
        whole[8..12].copy_from_slice(&length.to_be_bytes());
        whole.extend(bytes(Compression::None));
        let read: Vec<_> = RecordBatches::new(whole.into()).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].as_ref().unwrap_err().fault, BatchFault::ImpossibleLength { length });
    }
}

#[test]
fn an_incomplete_last_batch_is_left_over() {
    let whole = bytes(Compression::None);
    for cut in 1..whole.len() {
        let both = [&whole[..], &whole[..whole.len() - cut]].concat();
        let mut batches = RecordBatches::new(both.into());
        assert!(batches.next().unwrap().is_ok());
        assert!(batches.next().is_none());
        assert_eq!((batches.position(), batches.rest().len()), (whole.len(), whole.len() - cut));
    }
}

#[test]
fn headers_that_cannot_be_are_refused() {
    let plain = || bytes(Compression::None);
    let negative_count = changed(plain(), RECORD_COUNT_AT, &(-5i32).to_be_bytes());
    let negative_delta = changed(plain(), LAST_OFFSET_DELTA_AT, &(-1i32).to_be_bytes());
    let mut beyond = plain();
    beyond[..8].copy_from_slice(&(i64::MAX - 1).to_be_bytes());
    for (bytes, fault) in [
        (negative_count, BatchFault::NegativeRecordCount { count: -5 }),
        (negative_delta, BatchFault::OffsetsOutOfRange { last_offset_delta: -1 }),
        (beyond, BatchFault::OffsetsOutOfRange { last_offset_delta: 2 }),
    ] {
        assert_eq!(RecordBatches::new(bytes.into()).next().unwrap().unwrap_err().fault, fault);
    }
}

#[test]
fn a_flipped_bit_is_found_by_the_crc_and_may_be_overlooked_on_demand() {
    let mut damaged = bytes(Compression::None);
    let last = damaged.len() - 20;
    damaged[last] ^= 1;
    let batch = only(damaged);
    assert!(matches!(open(&batch).unwrap_err().fault, BatchFault::Crc { .. }));
    assert!(batch.open_unchecked(&mut Decompressor::default()).is_ok());
}

#[test]
fn a_corrupt_record_says_where_it_is_and_where_to_go_on() {
    // The third record ends too early; the count lies in both directions.
    let mut cut = bytes(Compression::None);
    cut.truncate(cut.len() - 1);
    let length = cut.len() as i32 - 12;
    let cut = changed(cut, 8, &length.to_be_bytes());
    let more = changed(bytes(Compression::None), RECORD_COUNT_AT, &4i32.to_be_bytes());
    let fewer = changed(bytes(Compression::None), RECORD_COUNT_AT, &2i32.to_be_bytes());
    for (bytes, good, offset, fault) in [
        (cut, 2, 102, RecordFault::Truncated),
        (more, 3, 103, RecordFault::Truncated),
        (fewer, 1, 101, RecordFault::TrailingBytes),
    ] {
        let open = open(&only(bytes)).unwrap();
        let mut records = open.records();
        assert_eq!(records.by_ref().take(good).flatten().count(), good);
        let error = records.next().unwrap().unwrap_err();
        assert_eq!((error.fault, error.offset, error.next_offset), (fault, offset, 103));
        assert!(records.next().is_none(), "it ends after an error");
        assert_eq!(records.next_offset(), 103);
    }
}

#[test]
fn a_count_that_lies_reserves_nothing() {
    let open = open(&only(changed(bytes(Compression::None), RECORD_COUNT_AT, &i32::MAX.to_be_bytes()))).unwrap();
    assert_eq!(open.records().size_hint().0, 0);
    assert_eq!(open.records().flatten().count(), 3);
}

#[test]
fn an_empty_compressed_payload_is_corrupt() {
    for compression in Compression::ALL.into_iter().skip(1) {
        let mut empty = bytes(compression)[..61].to_vec();
        empty[8..12].copy_from_slice(&49i32.to_be_bytes());
        let error = open(&only(changed(empty, 0, &[0; 8]))).unwrap_err();
        assert!(matches!(error.fault, BatchFault::Decompress(error) if error.fault == DecompressFault::Empty));
    }
}

#[test]
fn a_broker_places_a_batch_without_touching_its_crc_or_anyone_elses_bytes() {
    let shared = Bytes::from(bytes(Compression::Zstd));
    let placed = only(shared.clone()).assign_offsets(5000, 77).unwrap();
    assert_eq!((placed.base_offset(), placed.last_offset(), placed.partition_leader_epoch()), (5000, 5002, 77));
    assert_eq!(placed.crc(), only(shared.clone()).crc());
    assert!(placed.check_crc().is_ok());
    assert_eq!(only(shared).base_offset(), 100, "the other holder's bytes stay");
    let address = placed.bytes().as_ptr();
    let moved = placed.assign_offsets(6000, 78).unwrap();
    assert_eq!(moved.bytes().as_ptr(), address, "nobody else holds them: they are changed in place");
    assert!(moved.assign_offsets(i64::MAX - 1, 0).is_err());
}

#[test]
fn log_append_time_holds_for_all_records() {
    let batch = only(bytes(Compression::Gzip)).set_log_append_time(55_555).unwrap();
    assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::LogAppendTime, 55_555));
    let open = open(&batch).unwrap();
    assert!(open.records().all(|record| record.unwrap().timestamp() == 55_555));
}

#[test]
fn a_builder_refuses_offsets_that_do_not_grow_and_stays_as_it_was() {
    let mut builder = BatchBuilder::with_capacity(100);
    assert!(builder.is_empty());
    builder.append_at(5, 0, None, Some(b"x"), []).unwrap();
    let size = builder.estimated_size();
    assert!(builder.append_at(5, 0, None, Some(b"y"), []).is_err());
    assert_eq!((builder.estimated_size(), builder.record_count()), (size, 1));
    builder.append(0, None, None, []).unwrap();
    let batch = builder.encode(&mut Compressor::new(Compression::None)).unwrap();
    assert_eq!((batch.record_count(), batch.size_bytes()), (2, size + 7));
    assert_eq!(only(batch.seal(ProducerState::NONE)).last_offset(), 6);
    assert!(builder.is_empty());
}

#[test]
fn integers_of_every_length_are_read_and_sized() {
    for shift in 0..64 {
        for value in [1i64 << shift, -(1i64 << (shift.min(62))), (1i64 << shift).wrapping_sub(1), i64::MIN, i64::MAX, 0]
        {
            let mut bytes = Vec::new();
            varint::put_varlong(&mut bytes, value);
            let mut position = 0;
            assert_eq!(varint::varlong(&bytes, &mut position), Ok(value));
            assert_eq!((position, varint::varlong_size(value)), (bytes.len(), bytes.len()));
            assert_eq!(varint::varlong(&bytes[..bytes.len() - 1], &mut 0), Err(RecordFault::Truncated));
            let narrow = value as i32;
            let mut bytes = Vec::new();
            varint::put_varint(&mut bytes, narrow);
            assert_eq!(varint::varint(&bytes, &mut 0), Ok(narrow));
            assert_eq!(varint::varint_size(narrow), bytes.len());
        }
    }
    assert_eq!(varint::varint(&[0x80; 5], &mut 0), Err(RecordFault::MalformedVarint));
    assert_eq!(varint::varlong(&[0x80; 10], &mut 0), Err(RecordFault::MalformedVarint));
}

/// A message of magic 0 or 1, without key.
fn message(offset: i64, magic: u8, attributes: u8, timestamp: i64, value: &[u8]) -> Vec<u8> {
    let mut checked = vec![magic, attributes];
    if magic == 1 {
        checked.extend_from_slice(&timestamp.to_be_bytes());
    }
    checked.extend_from_slice(&(-1i32).to_be_bytes());
    checked.extend_from_slice(&(value.len() as i32).to_be_bytes());
    checked.extend_from_slice(value);
    let length = checked.len() as i32 + 4;
    [&offset.to_be_bytes()[..], &length.to_be_bytes(), &crc32(&checked).to_be_bytes(), &checked].concat()
}

/// A message that holds others, compressed with gzip.
fn wrapper(offset: i64, magic: u8, attributes: u8, inner: &[Vec<u8>]) -> RecordBatch {
    let mut compressed = Vec::new();
    Compressor::new(Compression::Gzip).compress_into(&inner.concat(), &mut compressed).unwrap();
    only(message(offset, magic, attributes | 1, 777, &compressed))
}

fn offsets_and_timestamps(batch: &RecordBatch) -> Vec<(i64, i64)> {
    let open = open(batch).unwrap();
    let records = open.records().map(Result::unwrap);
    records.map(|record| (record.offset(), record.timestamp())).collect()
}

#[test]
fn inner_offsets_count_from_the_last_in_magic_1_and_are_their_own_in_magic_0() {
    let inner = |magic: u8| [message(0, magic, 0, 5, b"a"), message(2, magic, 0, 6, b"b")];
    let batch = wrapper(52, 1, 0, &inner(1));
    assert_eq!(offsets_and_timestamps(&batch), [(50, 5), (52, 6)]);
    let open = open(&batch).unwrap();
    assert_eq!((open.base_offset(), open.last_offset(), open.record_count()), (50, 52, 2));
    // Some producers leave the outer offset at 0.
    assert_eq!(offsets_and_timestamps(&wrapper(0, 1, 0, &inner(1))), [(0, 5), (2, 6)]);
    assert_eq!(offsets_and_timestamps(&wrapper(52, 0, 0, &inner(0))), [(0, -1), (2, -1)]);
    // Log append time is that of the outer message.
    assert_eq!(offsets_and_timestamps(&wrapper(52, 1, 8, &inner(1))), [(50, 777), (52, 777)]);
}

#[test]
fn messages_that_cannot_be_are_refused() {
    let inner = |magic: u8| message(0, magic, 0, 5, b"a");
    let nested = message(0, 1, 1, 5, b"a");
    let cut = inner(1)[..20].to_vec();
    for (batch, position, fault) in [
        (wrapper(3, 1, 0, &[inner(1), inner(0)]), 35, RecordFault::MagicMismatch),
        (wrapper(3, 1, 0, &[nested]), 0, RecordFault::NestedCompression),
        (wrapper(3, 1, 0, &[]), 0, RecordFault::NoMessages),
        (wrapper(3, 1, 0, &[inner(1), cut]), 35, RecordFault::Truncated),
        (wrapper(3, 1, 0, &[message(4, 1, 0, 5, b"a")]), 0, RecordFault::OffsetOutOfRange),
    ] {
        assert_eq!(open(&batch).unwrap_err().fault, BatchFault::Message { position, fault });
    }
}

#[test]
fn an_inner_message_with_a_wrong_crc_is_an_error_of_its_own() {
    let mut second = message(1, 1, 0, 5, b"b");
    *second.last_mut().unwrap() ^= 1;
    let open = open(&wrapper(11, 1, 0, &[message(0, 1, 0, 5, b"a"), second])).unwrap();
    let mut records = open.records();
    assert_eq!(records.next().unwrap().unwrap().offset(), 10);
    let error = records.next().unwrap().unwrap_err();
    assert_eq!((error.fault, error.offset, error.next_offset), (RecordFault::Crc, 11, 12));
}

#[test]
fn control_records_read_as_they_were_written() {
    let producer = ProducerState { producer_id: 3, producer_epoch: 1, ..ProducerState::NONE };
    for kind in [ControlRecordType::Commit, ControlRecordType::Abort] {
        let batch = only(control_batch(kind, 12, 99, producer));
        assert!(batch.is_control() && batch.is_transactional());
        let open = open(&batch).unwrap();
        let control = ControlRecord::parse(&open.records().next().unwrap().unwrap()).unwrap();
        assert_eq!((control.kind, control.coordinator_epoch), (kind, Some(12)));
    }
}
