//! Brokers that ask to be left alone: Kafka where a quota is used up, Azure Event Hubs where a throughput unit is.

use std::time::Duration;

use ottla::{Acks, ProducerRecord};
use ottla_broker::Fault;
use ottla_wire::ApiKey;
use tokio::time::Instant;

use crate::setup::{LONG, PARTITIONS, Seen, Setup, TOPIC, in_time};

const THROTTLE: Duration = Duration::from_secs(10);

/// Kafka and Azure Event Hubs: the answer to a Fetch brings nothing then, and no error. That is no end of the partition.
#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_throttled_is_made_again_when_its_time_is_over() {
    let setup = Setup::start().await;
    setup.produce(1).await;
    let (mut member, mut seen) = (setup.member(), Seen::default());
    seen.read_to(&mut member, 1).await;
    let fault = setup.cluster.faults().inject(Fault::throttle(THROTTLE).on_api(ApiKey::Fetch).always());
    while setup.cluster.faults().hits(fault) < PARTITIONS as u32 {
        assert_eq!(seen.poll_for(&mut member, Duration::from_millis(10)).await, 0);
    }
    setup.produce(1).await;
    let (before, hits) = (Instant::now(), setup.cluster.faults().hits(fault));
    assert_eq!(seen.poll_for(&mut member, 3 * THROTTLE).await, 0, "nothing comes while it lasts");
    let asked = setup.cluster.faults().hits(fault) - hits;
    assert!(asked <= 3 * PARTITIONS as u32, "each leader is asked once each time: {asked}");
    setup.cluster.faults().withdraw(fault);
    seen.read_to(&mut member, 2).await;
    assert!(before.elapsed() <= 4 * THROTTLE + Duration::from_secs(2), "{:?}", before.elapsed());
    member.close().await.unwrap();
}

/// The same of Produce.
#[tokio::test(start_paused = true)]
async fn a_broker_that_throttles_produce_is_sent_the_next_when_its_time_is_over() {
    let setup = Setup::start().await;
    let producer = setup.client.producer().acks(Acks::All).build().unwrap();
    let record = || ProducerRecord::new(TOPIC).partition(0).value("value");
    setup.cluster.faults().inject(Fault::throttle(THROTTLE).on_api(ApiKey::Produce));
    producer.send(record()).await.unwrap();
    let before = Instant::now();
    in_time("sending", producer.send(record())).await.unwrap();
    assert!(before.elapsed() >= THROTTLE, "{:?}", before.elapsed());
    producer.close(LONG).await;
}

/// The same of versions in which the broker has waited itself before it answered (KIP-219): nothing is waited for twice.
/// Azure Event Hubs has only such ones of Produce and Fetch.
#[tokio::test(start_paused = true)]
async fn what_the_broker_has_waited_itself_is_not_waited_again() {
    let old = |cluster: ottla_broker::EmbeddedClusterBuilder| {
        cluster.api_versions(ApiKey::Produce, 3, 5).api_versions(ApiKey::Fetch, 4, 7)
    };
    let setup = Setup::start_with(old, |client| client).await;
    setup.cluster.faults().inject(Fault::throttle(THROTTLE).on_api(ApiKey::Produce).always());
    let before = Instant::now();
    setup.produce(3).await;
    assert!(before.elapsed() < THROTTLE, "{:?}", before.elapsed());
    setup.cluster.faults().inject(Fault::throttle(THROTTLE).on_api(ApiKey::Fetch).times(2 * PARTITIONS as u32));
    let (mut member, mut seen) = (setup.member(), Seen::default());
    seen.read_to(&mut member, 3).await;
    assert!(before.elapsed() < THROTTLE, "{:?}", before.elapsed());
    member.close().await.unwrap();
}

/// The same of what concerns groups (a quota of requests): the member is quiet for as long, and stays one.
#[tokio::test(start_paused = true)]
async fn a_coordinator_that_throttles_is_left_alone_and_the_member_stays() {
    for api in [ApiKey::Heartbeat, ApiKey::OffsetCommit, ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::OffsetFetch] {
        let setup = Setup::start().await;
        setup.produce(1).await;
        let fault = setup.cluster.faults().inject(Fault::throttle(THROTTLE).on_api(api).always());
        let (mut member, mut seen) = (setup.member(), Seen::default());
        seen.read_to(&mut member, 1).await;
        in_time("committing", member.commit_sync()).await.unwrap();
        let membership = member.group_metadata().unwrap();
        let (heartbeats, before) = (setup.requests(ApiKey::Heartbeat), Instant::now());
        let asked = setup.requests(ApiKey::FindCoordinator);
        for _ in 0..6 {
            assert_eq!(seen.poll_for(&mut member, Duration::from_secs(10)).await, 0);
            in_time("committing", member.commit_sync()).await.unwrap();
        }
        let took = before.elapsed();
        let beats = setup.requests(ApiKey::Heartbeat) - heartbeats;
        let (most, usual) = (took.as_secs() / 10 + 2, took.as_secs() / 3 - 2);
        match api {
            ApiKey::Heartbeat => assert!(beats <= most, "{beats} heartbeats in {took:?}"),
            // Commits share the connection with heartbeats, which wait as well.
            ApiKey::OffsetCommit => assert!(beats <= usual, "{beats} heartbeats in {took:?}"),
            _ => assert!(beats >= usual, "{beats} heartbeats in {took:?}"),
        }
        assert!(setup.cluster.faults().hits(fault) > 0, "{api}");
        assert_eq!(setup.requests(ApiKey::FindCoordinator), asked, "{api}: who throttles is not taken to be silent");
        assert_eq!(member.group_metadata(), Some(membership), "{api}");
        in_time("closing", member.close()).await.unwrap();
    }
}
