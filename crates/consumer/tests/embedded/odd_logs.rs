//! Logs as compaction, transactions and old producers leave them.

use std::time::Duration;

use bytes::Bytes;
use ottla_consumer::{Consumer, StartAt};
use ottla_wire::records::{ControlRecordType, ProducerState, control_batch, crc32, crc32c};

use crate::setup::{Setup, partition, read, value};

/// What compaction leaves of a batch at `base`: the records at these offsets, and the header, which keeps the last offset.
fn compacted(base: i64, kept: &[i64], last: i64) -> Bytes {
    let mut records = Vec::new();
    for offset in kept {
        let value = value(0, *offset);
        let varint = |number: i64| u8::try_from(2 * number).unwrap();
        // Attributes, timestamp delta, offset delta, no key, value, no headers.
        let mut record = vec![0, 0, varint(offset - base), 1, varint(value.len() as i64)];
        record.extend(value.as_bytes());
        record.push(0);
        records.push(varint(record.len() as i64));
        records.extend(record);
    }
    let mut batch = vec![0; 61];
    batch.extend(records);
    let length = batch.len() as i32 - 12;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[16] = 2;
    batch[23..27].copy_from_slice(&((last - base) as i32).to_be_bytes());
    for field in [43..51, 51..53, 53..57] {
        batch[field].fill(0xff); // by no producer in particular
    }
    batch[57..61].copy_from_slice(&(kept.len() as i32).to_be_bytes());
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

async fn append_compacted(setup: &Setup, kept: &[i64], last: i64) {
    let base = setup.end(0).await;
    let appended = setup.append_bytes(0, compacted(base, kept, last), (last - base + 1) as u32).await;
    assert_eq!((appended, setup.end(0).await), (base, last + 1));
}

/// Gaps within batches, between them, and at the end.
async fn compacted_log() -> Setup {
    let setup = Setup::start(1, 1).await;
    append_compacted(&setup, &[1, 3], 4).await;
    append_compacted(&setup, &[], 9).await;
    append_compacted(&setup, &[10], 19).await;
    append_compacted(&setup, &[], 29).await;
    setup
}

fn consumer_at(setup: &Setup, start: StartAt) -> Consumer {
    let consumer = setup.consumer().build().unwrap();
    consumer.assign_at([(partition(0), start)]).unwrap();
    consumer
}

async fn offsets(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    read(consumer, count).await.0.remove(&0).unwrap()
}

/// Nothing comes, and the position is at the end of the log.
async fn assert_at(consumer: &mut Consumer, end: i64) {
    // A batch may come none of whose records are behind the position: which ones it has left, only its iterator sees.
    loop {
        let batches = consumer.poll(Duration::from_secs(1)).await.unwrap();
        assert_eq!(batches.iter().flat_map(ottla_consumer::Batch::records).count(), 0);
        if batches.is_empty() {
            break;
        }
    }
    assert_eq!(consumer.position(&partition(0)).await.unwrap(), end);
    assert_eq!(consumer.lag(&partition(0)).unwrap(), Some(0));
    assert_eq!(consumer.completed(&partition(0)).unwrap(), Some(end));
}

#[tokio::test(start_paused = true)]
async fn gaps_that_compaction_leaves_are_passed_over_also_at_the_end() {
    let setup = compacted_log().await;
    let mut consumer = consumer_at(&setup, StartAt::Earliest);
    assert_eq!(offsets(&mut consumer, 3).await, [1, 3, 10]);
    assert_at(&mut consumer, 30).await;
    setup.append(0, 3).await;
    assert_eq!(offsets(&mut consumer, 3).await, [30, 31, 32]);
    assert_at(&mut consumer, 33).await;
}

#[tokio::test(start_paused = true)]
async fn reading_may_start_within_a_gap() {
    let setup = compacted_log().await;
    for (start, expected) in [(2, &[3, 10][..]), (4, &[10]), (7, &[10]), (11, &[]), (25, &[])] {
        let mut consumer = consumer_at(&setup, StartAt::Offset(start));
        if !expected.is_empty() {
            assert_eq!(offsets(&mut consumer, expected.len()).await, expected, "from {start}");
        }
        assert_at(&mut consumer, 30).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_of_nothing_but_markers_and_empty_batches_is_read_to_its_end() {
    let setup = Setup::start(1, 1).await;
    append_compacted(&setup, &[], 4).await;
    for kind in [ControlRecordType::Abort, ControlRecordType::Commit] {
        setup.append_bytes(0, control_batch(kind, 0, 0, ProducerState::default()), 1).await;
    }
    let mut consumer = consumer_at(&setup, StartAt::Earliest);
    assert_at(&mut consumer, 7).await;
    setup.append(0, 1).await;
    assert_eq!(offsets(&mut consumer, 1).await, [7]);
}

/// A message as brokers before 0.11 stored it.
fn legacy(magic: u8, offset: i64) -> Bytes {
    let value = value(0, offset);
    let mut body = vec![magic, 0];
    if magic == 1 {
        body.extend(offset.to_be_bytes()); // its timestamp
    }
    body.extend((-1i32).to_be_bytes());
    body.extend((value.len() as i32).to_be_bytes());
    body.extend(value.as_bytes());
    let mut message = offset.to_be_bytes().to_vec();
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(crc32(&body).to_be_bytes());
    message.extend(body);
    message.into()
}

#[tokio::test(start_paused = true)]
async fn messages_of_magic_0_and_1_are_read_and_batches_behind_them() {
    let setup = Setup::start(1, 1).await;
    for offset in 0..10 {
        setup.append_bytes(0, legacy(u8::from(offset >= 5), offset), 1).await;
    }
    setup.append(0, 3).await;
    let mut consumer = consumer_at(&setup, StartAt::Earliest);
    assert_eq!(offsets(&mut consumer, 13).await, (0..13).collect::<Vec<_>>());
    assert_at(&mut consumer, 13).await;
    let mut consumer = consumer_at(&setup, StartAt::Offset(7));
    assert_eq!(offsets(&mut consumer, 6).await, (7..13).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn leaders_that_wrote_without_epochs_are_followed_by_those_with() {
    let setup = Setup::start(3, 1).await;
    for offset in 0..5 {
        setup.append_bytes(0, legacy(1, offset), 1).await;
    }
    let mut consumer = consumer_at(&setup, StartAt::Earliest);
    assert_eq!(offsets(&mut consumer, 5).await, [0, 1, 2, 3, 4]);
    for node in [1, 2, 0] {
        setup.embedded.move_leader("topic", 0, ottla_wire::NodeId(node)).await.unwrap();
        let first = setup.append(0, 2).await;
        assert_eq!(offsets(&mut consumer, 2).await, [first, first + 1]);
    }
    assert!(consumer.take_error().is_none());
}
