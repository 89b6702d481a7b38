//! Connections that end while nobody uses them.

use std::time::Duration;

use ottla::{Acks, OffsetAndMetadata, ProducerRecord, TopicPartition};
use tokio::time::Instant;

use crate::setup::{GROUP, LONG, Seen, Setup, TOPIC, all_at, client_builder, in_time, produce_by};

/// As `request.timeout.ms` is by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// What Azure Event Hubs and most load balancers put up with.
const IDLE: Duration = Duration::from_mins(4);

fn drop_without_a_word(setup: &Setup) {
    setup.nodes().for_each(|node| setup.network.half_open(setup.cluster.address(node).unwrap()));
}

fn partition(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

fn reset(setup: &Setup) {
    setup.nodes().for_each(|node| setup.network.cut(setup.cluster.address(node).unwrap()));
}

/// Azure Event Hubs after 240 s, load balancers, NAT: what is sent over such a connection vanishes, and nothing comes back.
#[tokio::test(start_paused = true)]
async fn a_record_sent_over_a_connection_that_was_dropped_without_a_word_costs_one_timeout() {
    let setup = Setup::start().await;
    let producer = setup.client.producer().acks(Acks::All).build().unwrap();
    let record = || ProducerRecord::new(TOPIC).partition(0).value("value");
    producer.send(record()).await.unwrap();
    tokio::time::sleep(IDLE).await;
    drop_without_a_word(&setup);
    let before = Instant::now();
    in_time("sending", producer.send(record())).await.unwrap();
    let took = before.elapsed();
    assert!(took >= REQUEST_TIMEOUT && took < REQUEST_TIMEOUT + Duration::from_secs(2), "{took:?}");
    let written = setup.cluster.describe_partition(TOPIC, 0).await.unwrap().log_end_offset;
    assert!((2..=3).contains(&written), "once, or once again: {written}");
    let before = Instant::now();
    in_time("sending", producer.send(record())).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "from then on all is well");
    producer.close(LONG).await;
}

/// The same, of all the connections that a member has: it stays one, and reads on, however short its session is.
#[tokio::test(start_paused = true)]
async fn a_member_whose_connections_were_dropped_without_a_word_stays_and_reads_on() {
    for session_timeout in [45, 30, 10].map(Duration::from_secs) {
        let setup = Setup::start().await;
        setup.produce(1).await;
        let mut member = setup.consumer().session_timeout(session_timeout).build().unwrap();
        member.subscribe([TOPIC]).unwrap();
        let mut seen = Seen::default();
        seen.read_to(&mut member, 1).await;
        assert_eq!(seen.poll_for(&mut member, IDLE).await, 0);
        let membership = member.group_metadata().unwrap();
        let other = client_builder(&setup.cluster).build().unwrap();
        drop_without_a_word(&setup);
        let dropped_at = Instant::now();
        produce_by(&other, TOPIC, 1).await;
        seen.read_to(&mut member, 2).await;
        let took = dropped_at.elapsed();
        assert!(took < REQUEST_TIMEOUT + Duration::from_secs(2), "{took:?}");
        in_time("committing", member.commit_sync()).await.unwrap();
        assert_eq!(seen.poll_for(&mut member, Duration::from_mins(2)).await, 0);
        assert_eq!(member.group_metadata(), Some(membership), "nobody has noticed");
        assert_eq!(setup.committed().await, all_at(2));
        member.close().await.unwrap();
    }
}

/// The same, and the coordinator moves: the member asks where to over a connection that nobody has used for long.
#[tokio::test(start_paused = true)]
async fn a_coordinator_that_moves_is_found_although_idle_connections_lead_nowhere() {
    let setup = Setup::start_with(|cluster| cluster, |client| client.metadata_max_age(Duration::from_hours(1))).await;
    let (mut member, mut seen) = (setup.member(), Seen::default());
    assert_eq!(seen.poll_for(&mut member, IDLE).await, 0);
    let membership = member.group_metadata().unwrap();
    drop_without_a_word(&setup);
    // Time enough for all that is in use to be made anew.
    assert_eq!(seen.poll_for(&mut member, Duration::from_mins(1)).await, 0);
    let coordinator = setup.cluster.coordinator(GROUP).await.unwrap();
    let other = setup.nodes().find(|node| *node != coordinator).unwrap();
    setup.cluster.move_coordinator(GROUP, other).await.unwrap();
    let moved_at = Instant::now();
    in_time("committing", member.commit_sync_offsets([(partition(0), OffsetAndMetadata::new(0))])).await.unwrap();
    let took = moved_at.elapsed();
    assert!(took < REQUEST_TIMEOUT + Duration::from_secs(5), "one timeout: {took:?}");
    assert_eq!(seen.poll_for(&mut member, Duration::from_mins(1)).await, 0);
    assert_eq!(member.group_metadata(), Some(membership), "nobody has noticed");
    member.close().await.unwrap();
}

/// Kafka itself, after `connections.max.idle.ms`: the connection is closed, and that is known before it is used.
#[tokio::test(start_paused = true)]
async fn a_connection_that_was_closed_while_idle_costs_nothing() {
    let setup = Setup::start().await;
    let producer = setup.client.producer().acks(Acks::All).build().unwrap();
    let record = || ProducerRecord::new(TOPIC).partition(0).value("value");
    producer.send(record()).await.unwrap();
    let (mut member, mut seen) = (setup.member(), Seen::default());
    assert_eq!(seen.poll_for(&mut member, IDLE).await, 1);
    let membership = member.group_metadata().unwrap();
    reset(&setup);
    let before = Instant::now();
    in_time("sending", producer.send(record())).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert_eq!(setup.cluster.describe_partition(TOPIC, 0).await.unwrap().log_end_offset, 2, "once");
    assert_eq!(seen.poll_for(&mut member, Duration::from_secs(10)).await, 1);
    in_time("committing", member.commit_sync()).await.unwrap();
    assert_eq!(member.group_metadata(), Some(membership));
    producer.close(LONG).await;
    member.close().await.unwrap();
}

/// What Azure advises: connections are given up before others drop them (`connections.max.idle.ms`).
#[tokio::test(start_paused = true)]
async fn connections_that_nobody_uses_are_closed_from_this_side() {
    let setup = Setup::start_with(
        |cluster| cluster,
        |client| client.connections_max_idle(Duration::from_mins(3)).metadata_max_age(Duration::from_hours(1)),
    )
    .await;
    let producer = setup.client.producer().acks(Acks::All).build().unwrap();
    let record = || ProducerRecord::new(TOPIC).partition(0).value("value");
    producer.send(record()).await.unwrap();
    assert!(setup.connections() > 0);
    tokio::time::sleep(Duration::from_secs(179)).await;
    assert!(setup.connections() > 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(setup.connections(), 0);
    let before = Instant::now();
    in_time("sending", producer.send(record())).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1));
    producer.close(LONG).await;
}
