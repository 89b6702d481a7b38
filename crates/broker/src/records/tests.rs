use std::collections::BTreeMap;

use ottla_wire::records::ProducerState;

use super::*;
use crate::test_cluster::{batch, encode, sequenced};

fn config(entries: &[(&str, &str)]) -> TopicConfig {
    let set = entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TopicConfig::new(set, &BTreeMap::new()).unwrap()
}

fn refused(records: Bytes, version: i16, entries: &[(&str, &str)]) -> Option<ErrorCode> {
    let mut decompressor = Decompressor::new(MAX_BATCH_BYTES);
    validate(Some(records), version, &config(entries), &mut decompressor).err().map(|rejected| rejected.code)
}

#[test]
fn a_batch_is_accepted_with_every_codec() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let records = encode(ProducerState::NONE, compression, (0..100).map(|timestamp| (timestamp, None)));
        assert_eq!(refused(records, 7, &[]), None, "{compression:?}");
    }
}

#[test]
fn zstandard_needs_version_7() {
    let records = || encode(ProducerState::NONE, Compression::Zstd, [(0, None)].into_iter());
    assert_eq!(refused(records(), 6, &[]), Some(ErrorCode::UnsupportedCompressionType));
}

#[test]
fn exactly_one_whole_batch_is_wanted() {
    let one = batch(&[1]);
    assert_eq!(refused(Bytes::new(), 9, &[]), Some(ErrorCode::InvalidRecord));
    assert_eq!(refused([&one[..], &one[..]].concat().into(), 9, &[]), Some(ErrorCode::InvalidRecord));
    assert_eq!(refused(one.slice(..one.len() - 1), 9, &[]), Some(ErrorCode::CorruptMessage));
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let whole = batch(&[1, 2, 3]);
    // Not in the base offset and the leader epoch, which the broker overwrites.
    for at in (17..whole.len()).chain(8..12) {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1;
        assert!(refused(flipped.into(), 9, &[]).is_some(), "byte {at}");
    }
}

#[test]
fn size_is_bounded_by_the_topic() {
    let records = batch(&[1, 2, 3]);
    let limit = |bytes: usize| bytes.to_string();
    assert_eq!(refused(records.clone(), 9, &[("max.message.bytes", &limit(records.len()))]), None);
    let refusal = refused(records.clone(), 9, &[("max.message.bytes", &limit(records.len() - 1))]);
    assert_eq!(refusal, Some(ErrorCode::MessageTooLarge));
}

#[test]
fn control_and_transactional_batches_are_not_for_clients() {
    let producer = ProducerState { producer_id: 1, producer_epoch: 0, base_sequence: 0, transactional: true };
    let transactional = encode(producer, Compression::None, [(0, None)].into_iter());
    assert_eq!(refused(transactional, 9, &[]), Some(ErrorCode::InvalidTxnState));
}

#[test]
fn a_compacted_topic_names_the_records_without_key() {
    let records = encode(
        ProducerState::NONE,
        Compression::None,
        [(0, Some(&b"key"[..])), (0, None), (0, Some(b"key")), (0, None)].into_iter(),
    );
    let mut decompressor = Decompressor::new(MAX_BATCH_BYTES);
    let compacted = config(&[("cleanup.policy", "compact")]);
    let rejected = validate(Some(records), 9, &compacted, &mut decompressor).unwrap_err();
    assert_eq!(rejected.code, ErrorCode::InvalidRecord);
    assert_eq!(rejected.records.iter().map(|record| record.batch_index).collect::<Vec<_>>(), [1, 3]);
}

/// Appends batches with those timestamps.
fn log_of(batches: &[&[i64]]) -> Log {
    let mut log = Log::default();
    for timestamps in batches {
        let parsed = RecordBatches::new(batch(timestamps)).next().unwrap().unwrap();
        append(&mut log, parsed, 3, &config(&[]), 0).unwrap();
    }
    log
}

#[test]
fn appending_writes_the_offset_and_the_epoch_and_leaves_the_checksum_right() {
    let mut log = log_of(&[&[1, 2], &[3]]);
    let batches: Vec<_> = RecordBatches::new(log.read(0, 3, 1000, true)).map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::base_offset).collect::<Vec<_>>(), [0, 2]);
    for batch in batches {
        assert_eq!(batch.partition_leader_epoch(), 3);
        batch.check_crc().unwrap();
    }
}

#[test]
fn log_append_time_takes_the_place_of_the_producers() {
    let mut log = Log::default();
    let parsed = RecordBatches::new(sequenced(0, 0, 2)).next().unwrap().unwrap();
    append(&mut log, parsed, 0, &config(&[("message.timestamp.type", "LogAppendTime")]), 777).unwrap();
    let stored = RecordBatches::new(log.read(0, 2, 1000, true)).next().unwrap().unwrap();
    let open = stored.open(&mut Decompressor::new(MAX_BATCH_BYTES)).unwrap();
    assert!(open.records().all(|record| record.unwrap().timestamp() == 777));
    assert_eq!(stored.base_sequence(), 0);
}

#[test]
fn a_timestamp_finds_the_first_record_that_is_as_late() {
    let mut log = log_of(&[&[10, 50, 20], &[30, 40]]);
    let mut found =
        |timestamp| earliest_at_or_after(&mut log, timestamp, 5).map(|found| (found.offset, found.timestamp));
    assert_eq!(found(0), Some((0, 10)));
    assert_eq!(found(11), Some((1, 50)));
    assert_eq!(found(50), Some((1, 50)));
    assert_eq!(found(51), None);
    assert_eq!(earliest_at_or_after(&mut log, 11, 1), None, "not yet replicated");
}

#[test]
fn the_latest_timestamp_is_that_of_the_first_record_that_has_it() {
    let mut log = log_of(&[&[10, 50, 20], &[50, 40]]);
    assert_eq!(latest_timestamp(&mut log, 5), Some(Stamped { timestamp: 50, offset: 1, leader_epoch: 3 }));
    assert_eq!(latest_timestamp(&mut Log::default(), 0), None);
}
