//! Incremental fetch sessions (KIP-227): what they save, and that nothing is lost or read twice where a broker has none, gives
//! none, or takes them away.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ottla_broker::{EmbeddedClusterBuilder, Fault, Loss};
use ottla_cluster::{Cluster, ClusterConfig};
use ottla_connection::{Address, BoxedStream, ConnectFuture, Connector};
use ottla_consumer::{Consumer, ConsumerBuilder};
use ottla_wire::{ApiKey, NodeId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::setup::{LONG, Seen, Setup, TOPIC, partition, read};

const ONLY: NodeId = NodeId(0);

/// A connector that counts the bytes that go to brokers and come from them.
#[derive(Clone, Debug)]
struct Meter {
    inner: Arc<dyn Connector>,
    bytes: Arc<AtomicUsize>,
}

impl Connector for Meter {
    fn connect<'a>(&'a self, address: &'a Address) -> ConnectFuture<'a> {
        Box::pin(async move {
            let inner = self.inner.connect(address).await?;
            Ok(Box::new(Metered { inner, bytes: Arc::clone(&self.bytes) }) as BoxedStream)
        })
    }
}

struct Metered {
    inner: BoxedStream,
    bytes: Arc<AtomicUsize>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buf);
        self.bytes.fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, buf);
        if let Poll::Ready(Ok(written)) = polled {
            self.bytes.fetch_add(written, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// A consumer of so many partitions, over a client of its own whose bytes are counted.
fn metered(setup: &Setup, partitions: i32) -> (Consumer, Arc<AtomicUsize>) {
    let addresses = setup.embedded.bootstrap_servers();
    let addresses: Vec<_> = addresses.split(',').map(|text| text.parse().unwrap()).collect();
    let meter = Meter { inner: setup.embedded.connector(), bytes: Arc::default() };
    let bytes = Arc::clone(&meter.bytes);
    let client = Cluster::new(ClusterConfig::new(addresses).connector(Arc::new(meter)).seed(9)).unwrap();
    let consumer = ConsumerBuilder::new(client).auto_offset_reset(ottla_consumer::AutoOffsetReset::Earliest);
    let consumer = consumer.build().unwrap();
    consumer.assign((0..partitions).map(partition)).unwrap();
    (consumer, bytes)
}

/// The bytes that a Fetch and its answer take together while nothing comes.
async fn bytes_at_rest(setup: &Setup, consumer: &mut Consumer, bytes: &AtomicUsize) -> u64 {
    // The first ones find the offsets, and begin the session.
    assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
    let fetches = || setup.embedded.faults().requests(ONLY, ApiKey::Fetch);
    let (bytes_before, fetches_before) = (bytes.load(Ordering::Relaxed), fetches());
    assert!(consumer.poll(Duration::from_secs(20)).await.unwrap().is_empty());
    let count = fetches() - fetches_before;
    assert!((35..=45).contains(&count), "{count} in 20 s");
    (bytes.load(Ordering::Relaxed) - bytes_before) as u64 / count
}

#[tokio::test(start_paused = true)]
async fn at_rest_a_fetch_and_its_answer_are_as_short_for_a_thousand_partitions_as_for_one() {
    let setup = Setup::start(1, 1000).await;
    for partitions in [1, 1000] {
        let (mut consumer, bytes) = metered(&setup, partitions);
        let at_rest = bytes_at_rest(&setup, &mut consumer, &bytes).await;
        assert!(at_rest < 150, "{at_rest} bytes for {partitions} partitions");
        consumer.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_a_thousand_partitions_is_read_without_the_others_being_named() {
    let setup = Setup::start(1, 1000).await;
    let (mut consumer, bytes) = metered(&setup, 1000);
    bytes_at_rest(&setup, &mut consumer, &bytes).await;
    let before = bytes.load(Ordering::Relaxed);
    for _ in 0..10 {
        setup.append(700, 1).await;
        assert_eq!(read(&mut consumer, 1).await.count(), 1);
    }
    let each = (bytes.load(Ordering::Relaxed) - before) / 10;
    assert!(each < 600, "{each} bytes for a record");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_closed_leaves_its_session_to_the_next() {
    let setup = Setup::start_with(1, 200, |builder| builder.fetch_session_slots(1)).await;
    for _ in 0..3 {
        let (mut consumer, bytes) = metered(&setup, 200);
        let at_rest = bytes_at_rest(&setup, &mut consumer, &bytes).await;
        assert!(at_rest < 150, "{at_rest} bytes: it has no session");
        let began = tokio::time::Instant::now();
        consumer.close().await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(10), "nobody waits for that");
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
}

/// Reads five batches of three records of each of ten partitions, appended one after the other.
async fn assert_read_in(settings: impl FnOnce(EmbeddedClusterBuilder) -> EmbeddedClusterBuilder, fault: Option<Fault>) {
    let setup = Setup::start_with(1, 10, settings).await;
    if let Some(fault) = fault {
        setup.embedded.faults().inject(fault);
    }
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign((0..10).map(partition)).unwrap();
    let mut seen = Seen::default();
    for round in 1..=5 {
        for index in 0..10 {
            setup.append(index, 3).await;
        }
        while seen.count() < round * 30 {
            seen.take(&consumer.poll(LONG).await.unwrap());
        }
        consumer.pause([&partition(1)]).unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        consumer.resume([&partition(1)]).unwrap();
    }
    seen.assert_complete(10, 15);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_broker_has_of_sessions_and_of_topic_ids_all_is_read_once() {
    assert_read_in(|builder| builder, None).await;
    assert_read_in(|builder| builder.fetch_session_slots(0), None).await;
    assert_read_in(|builder| builder.api_versions(ApiKey::Fetch, 4, 6), None).await;
    assert_read_in(|builder| builder.api_versions(ApiKey::Fetch, 4, 12), None).await;
    assert_read_in(|builder| builder, Some(Fault::hide_topic_ids().always())).await;
    assert_read_in(|builder| builder, Some(Fault::answer_unasked().on_api(ApiKey::Fetch).always())).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_request_or_answer_is_lost_is_begun_anew() {
    for fault in [Fault::close_connection(), Fault::close_connection().after_handling()] {
        assert_read_in(|builder| builder, Some(fault.on_api(ApiKey::Fetch).skip(3).times(2))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_makes_room_for_a_larger_one_is_begun_anew_or_done_without() {
    let setup = Setup::start_with(1, 20, |builder| builder.fetch_session_slots(1)).await;
    let (mut small, bytes) = metered(&setup, 2);
    bytes_at_rest(&setup, &mut small, &bytes).await;
    assert!(small.poll(Duration::from_secs(150)).await.unwrap().is_empty());
    let (mut large, bytes_of_large) = metered(&setup, 20);
    assert!(large.poll(Duration::from_secs(5)).await.unwrap().is_empty());
    for index in 0..20 {
        setup.append(index, 2).await;
    }
    let (seen, all) = tokio::join!(read(&mut small, 4), read(&mut large, 40));
    seen.assert_complete(2, 2);
    all.assert_complete(20, 2);
    drop(small);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let at_rest = bytes_at_rest(&setup, &mut large, &bytes_of_large).await;
    assert!(at_rest < 150, "{at_rest} bytes: the larger one has it");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_starts_anew_knows_no_session_and_is_read_on() {
    let setup = Setup::start(1, 10).await;
    let (mut consumer, bytes) = metered(&setup, 10);
    let mut seen = Seen::default();
    for round in 1..=3 {
        for index in 0..10 {
            setup.append(index, 2).await;
        }
        while seen.count() < round * 20 {
            seen.take(&consumer.poll(LONG).await.unwrap());
        }
        setup.embedded.kill_node(ONLY, Loss::Nothing).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        setup.embedded.start_node(ONLY).await.unwrap();
    }
    seen.assert_complete(10, 6);
    assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
    assert!(bytes_at_rest(&setup, &mut consumer, &bytes).await < 150, "it has a session again");
}

#[tokio::test(start_paused = true)]
async fn no_partition_starves_where_an_answer_holds_one_batch() {
    for slots in [0, 1] {
        let setup = Setup::start_with(1, 8, |builder| builder.fetch_session_slots(slots)).await;
        for index in 0..8 {
            for _ in 0..10 {
                setup.append(index, 1).await;
            }
        }
        let mut consumer = setup.consumer().fetch_max_bytes(1).build().unwrap();
        consumer.assign((0..8).map(partition)).unwrap();
        let mut seen = Seen::default();
        while seen.count() < 80 {
            seen.take(&consumer.poll(LONG).await.unwrap());
            let counts: Vec<usize> = (0..8).map(|index| seen.0.get(&index).map_or(0, Vec::len)).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            // The first request of a session that goes on has the order of the one that began it.
            assert!(most - least <= 1 + slots, "{counts:?} with {slots} slots");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_is_asked_for_by_its_new_id() {
    let setup = Setup::start(1, 3).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign((0..3).map(partition)).unwrap();
    setup.append(2, 1).await;
    read(&mut consumer, 1).await;
    setup.embedded.delete_topic(TOPIC).await.unwrap();
    setup.embedded.create_topic(TOPIC, 3, 1).await.unwrap();
    for index in 0..3 {
        setup.append(index, 2).await;
    }
    read(&mut consumer, 6).await.assert_complete(3, 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_a_silent_and_a_dead_broker_delay_nothing_of_another() {
    for case in ["slow", "silent", "dead"] {
        let setup = Setup::start(3, 3).await;
        let mut leaders = Vec::new();
        for index in 0..3 {
            leaders.push(setup.embedded.describe_partition(TOPIC, index).await.unwrap().leader.unwrap());
        }
        let mut consumer = setup.consumer().build().unwrap();
        consumer.assign((0..3).map(partition)).unwrap();
        for index in 0..3 {
            setup.append(index, 1).await;
        }
        read(&mut consumer, 3).await;
        let other = leaders[2];
        match case {
            "slow" => _ = setup.embedded.faults().inject(Fault::delay(Duration::from_secs(9)).on_node(other).always()),
            "silent" => _ = setup.embedded.faults().inject(Fault::black_hole().on_node(other).always()),
            _ => setup.network.black_hole(setup.embedded.address(other).unwrap(), true),
        }
        for round in 0..50 {
            let appended = tokio::time::Instant::now();
            setup.append(round % 2, 1).await;
            assert_eq!(read(&mut consumer, 1).await.count(), 1);
            assert!(
                appended.elapsed() < Duration::from_millis(5),
                "{:?} beside one that is {case}",
                appended.elapsed()
            );
        }
    }
}
