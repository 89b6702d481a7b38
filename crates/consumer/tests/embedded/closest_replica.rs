//! Reading from the replica in the consumer's rack.

use std::time::Duration;

use ottla_broker::{Fault, Loss};
use ottla_consumer::{Consumer, StartAt};
use ottla_wire::{ApiKey, ErrorCode, NodeId};

use crate::setup::{Setup, TOPIC, partition, read};

const CLOSEST: NodeId = NodeId(2);

/// Node 0 leads the one partition; node 2 stands in the consumer's rack.
async fn start() -> (Setup, Consumer) {
    let settings =
        |builder: ottla_broker::EmbeddedClusterBuilder| builder.racks(["a", "b", "c"]).fetch_from_closest_replica(true);
    let setup = Setup::start_with(3, 1, settings).await;
    setup.embedded.move_leader(TOPIC, 0, NodeId(0)).await.unwrap();
    let consumer = setup.consumer().client_rack("c").build().unwrap();
    consumer.assign_at([(partition(0), StartAt::Earliest)]).unwrap();
    (setup, consumer)
}

/// Appends a batch, and reads that.
async fn read_next(setup: &Setup, consumer: &mut Consumer, records: u32) {
    let first = setup.append(0, records).await;
    let offsets = read(consumer, records as usize).await.0.remove(&0).unwrap();
    assert_eq!(offsets, (first..first + i64::from(records)).collect::<Vec<_>>());
}

fn fetches(setup: &Setup, node: NodeId) -> u64 {
    setup.embedded.faults().requests(node, ApiKey::Fetch)
}

#[tokio::test(start_paused = true)]
async fn the_closest_replica_is_read_from_and_the_leader_left_alone() {
    let (setup, mut consumer) = start().await;
    read_next(&setup, &mut consumer, 5).await;
    assert_eq!(consumer.fetched_from(&partition(0)), Some(CLOSEST));
    let before = fetches(&setup, NodeId(0));
    for _ in 0..10 {
        read_next(&setup, &mut consumer, 5).await;
    }
    assert_eq!(fetches(&setup, NodeId(0)), before);
    // `metadata.max.age` is five minutes: then the leader is asked once, and sends on again.
    assert!(consumer.poll(Duration::from_mins(6)).await.unwrap().is_empty());
    assert!((1..=3).contains(&(fetches(&setup, NodeId(0)) - before)));
    assert_eq!(consumer.fetched_from(&partition(0)), Some(CLOSEST));
    consumer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_rack_the_leader_is_read_from() {
    let (setup, consumer) = start().await;
    drop(consumer);
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    read_next(&setup, &mut consumer, 5).await;
    assert_eq!(consumer.fetched_from(&partition(0)), Some(NodeId(0)));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_dies_is_left_and_returned_to() {
    let (setup, mut consumer) = start().await;
    read_next(&setup, &mut consumer, 5).await;
    setup.embedded.kill_node(CLOSEST, Loss::Nothing).await.unwrap();
    read_next(&setup, &mut consumer, 5).await;
    assert_eq!(consumer.fetched_from(&partition(0)), Some(NodeId(0)));
    setup.embedded.start_node(CLOSEST).await.unwrap();
    assert!(consumer.poll(Duration::from_mins(11)).await.unwrap().is_empty(), "until metadata knows of it");
    read_next(&setup, &mut consumer, 5).await;
    assert_eq!(consumer.fetched_from(&partition(0)), Some(CLOSEST));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_hangs_is_left_when_it_is_late() {
    let (setup, mut consumer) = start().await;
    read_next(&setup, &mut consumer, 5).await;
    setup.embedded.faults().inject(Fault::black_hole().on_node(CLOSEST).always());
    let began = tokio::time::Instant::now();
    read_next(&setup, &mut consumer, 5).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_in_sync_and_cannot_be_reached_keeps_no_records_back() {
    let (setup, mut consumer) = start().await;
    // The leader names it, whatever its clients see.
    setup.embedded.faults().inject(Fault::close_connection().on_api(ApiKey::Fetch).on_node(CLOSEST).always());
    for _ in 0..5 {
        read_next(&setup, &mut consumer, 5).await;
    }
    assert!(fetches(&setup, CLOSEST) <= 10, "nor is it tried without end");
    setup.embedded.faults().clear();
    assert!(consumer.poll(Duration::from_mins(2)).await.unwrap().is_empty());
    read_next(&setup, &mut consumer, 5).await;
    assert_eq!(consumer.fetched_from(&partition(0)), Some(CLOSEST));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_delays_records_and_resets_nothing() {
    let (setup, mut consumer) = start().await;
    read_next(&setup, &mut consumer, 5).await;
    setup.embedded.pause_replication(CLOSEST).await.unwrap();
    let first = setup.append(0, 5).await;
    assert!(consumer.poll(Duration::from_secs(20)).await.unwrap().is_empty(), "it waits for the replica");
    setup.embedded.resume_replication(CLOSEST).await.unwrap();
    assert_eq!(read(&mut consumer, 5).await.0[&0], (first..first + 5).collect::<Vec<_>>());
    // And where it says that it does not have the offset, the leader has the word.
    let refusal = Fault::error(ErrorCode::OffsetOutOfRange).on_api(ApiKey::Fetch).on_node(CLOSEST).times(3);
    setup.embedded.faults().inject(refusal);
    for _ in 0..5 {
        read_next(&setup, &mut consumer, 5).await;
    }
    assert!(consumer.take_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_is_asked_which_replica_is_closest() {
    let (setup, mut consumer) = start().await;
    read_next(&setup, &mut consumer, 5).await;
    for node in [1, 2, 0, 1] {
        setup.embedded.move_leader(TOPIC, 0, NodeId(node)).await.unwrap();
        read_next(&setup, &mut consumer, 5).await;
        assert_eq!(consumer.fetched_from(&partition(0)), Some(CLOSEST), "{node} leads");
    }
}
