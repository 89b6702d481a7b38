//! Lists of aborted transactions that are not as Kafka's.

use bytes::Bytes;
use ottla::{IsolationLevel, StartAt, TopicPartition};
use ottla_broker::Fault;
use ottla_wire::compression::{Compression, Compressor};
use ottla_wire::records::{BatchBuilder, ControlRecordType, ProducerState, control_batch};
use ottla_wire::{ApiKey, ProducerId};

use crate::setup::{LONG, Setup, TOPIC, in_time};

/// Two transactions that were aborted, one that was committed, and a record of none. The offsets of the records:
const FIRST_ABORTED: [i64; 2] = [0, 1];
const SECOND_ABORTED: [i64; 2] = [3, 4];
const COMMITTED: [i64; 2] = [6, 7];
const OF_NONE: i64 = 9;

async fn write(setup: &Setup) {
    let producer = |producer_id| ProducerState { producer_id, transactional: true, ..ProducerState::default() };
    let marker = |kind, id| (control_batch(kind, 0, 0, producer(id)), 1);
    let log = [
        (batch(2, producer(7)), 2),
        marker(ControlRecordType::Abort, 7),
        (batch(2, producer(8)), 2),
        marker(ControlRecordType::Abort, 8),
        (batch(2, producer(7)), 2),
        marker(ControlRecordType::Commit, 7),
        (batch(1, ProducerState::NONE), 1),
    ];
    for (bytes, records) in log {
        setup.cluster.append_unchecked(TOPIC, 0, bytes, records).await.unwrap();
    }
}

fn batch(records: u32, producer: ProducerState) -> Bytes {
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.append(0, None, Some(b"value"), []).unwrap();
    }
    builder.build(&mut Compressor::new(Compression::None), producer).unwrap()
}

/// The offsets that are handed out up to the last record.
async fn read(setup: &Setup, isolation: IsolationLevel) -> Vec<i64> {
    let mut consumer = setup.client.consumer().isolation_level(isolation).build().unwrap();
    consumer.assign_at([(TopicPartition::new(TOPIC, 0), StartAt::Earliest)]).unwrap();
    let mut offsets = Vec::new();
    while offsets.last() != Some(&OF_NONE) {
        for batch in &in_time("reading", consumer.poll(LONG)).await.unwrap() {
            offsets.extend(batch.records().map(|record| record.unwrap().offset()));
        }
    }
    offsets
}

fn list_aborted(transactions: [(i64, i64); 2]) -> Fault {
    Fault::list_aborted(transactions.map(|(id, first)| (ProducerId(id), first))).on_api(ApiKey::Fetch).always()
}

/// Redpanda lists aborted transactions in no order.
#[tokio::test(start_paused = true)]
async fn aborted_transactions_may_be_listed_in_any_order() {
    for transactions in [[(7, 0), (8, 3)], [(8, 3), (7, 0)]] {
        let setup = Setup::start().await;
        write(&setup).await;
        setup.cluster.faults().inject(list_aborted(transactions));
        let expected = [&COMMITTED[..], &[OF_NONE]].concat();
        assert_eq!(read(&setup, IsolationLevel::ReadCommitted).await, expected, "{transactions:?}");
    }
}

/// Redpanda lists aborted transactions also for those who read uncommitted, and want all.
#[tokio::test(start_paused = true)]
async fn a_list_of_aborted_transactions_says_nothing_to_who_reads_uncommitted() {
    let setup = Setup::start().await;
    write(&setup).await;
    setup.cluster.faults().inject(list_aborted([(7, 0), (8, 3)]));
    let expected = [&FIRST_ABORTED[..], &SECOND_ABORTED, &COMMITTED, &[OF_NONE]].concat();
    assert_eq!(read(&setup, IsolationLevel::ReadUncommitted).await, expected);
}
