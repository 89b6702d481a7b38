//! Closing: what it does in what time, whatever the brokers do.

use std::time::Duration;

use ottla_broker::Fault;
use ottla_consumer::{AssignmentChange, ConsumerHandle, Error, ListenerResult, RebalanceListener};
use ottla_wire::ApiKey;
use tokio::time::Instant;

use crate::group::{HEARTBEAT, Polled, eventually, join_alone, owned, polled, subscribe_and_read};
use crate::setup::{LONG, Setup, TOPIC, partition};

/// What the consumer's own tasks may take to end, beside what closing is given.
const SLACK: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn silent_brokers_hold_it_up_no_longer_than_its_timeout() {
    let silences: [fn(&Setup); 3] = [
        // They read, and do not answer.
        |setup| {
            setup.embedded.faults().inject(Fault::black_hole().always());
        },
        // Nothing reaches them, nor anybody who connects.
        |setup| {
            for node in setup.embedded.nodes() {
                setup.network.black_hole(setup.embedded.address(node).unwrap(), true);
            }
        },
        // They have gone, and nobody has told the client.
        |setup| {
            for node in setup.embedded.nodes() {
                setup.network.half_open(setup.embedded.address(node).unwrap());
                setup.network.black_hole(setup.embedded.address(node).unwrap(), true);
            }
        },
    ];
    for silence in silences {
        for timeout in [Duration::from_secs(3), Duration::ZERO] {
            let setup = Setup::start(3, 2).await;
            setup.append(0, 5).await;
            setup.append(1, 5).await;
            let mut consumer = setup.member().build().unwrap();
            subscribe_and_read(&mut consumer, 10).await;
            silence(&setup);
            let began = Instant::now();
            let error = consumer.close_within(timeout).await.unwrap_err();
            assert!(began.elapsed() <= timeout + SLACK, "{:?}", began.elapsed());
            assert!(matches!(error, Error::CloseTimedOut { .. }), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_finds_no_coordinator_closes_at_once() {
    let setup = Setup::start(1, 1).await;
    setup.embedded.faults().inject(Fault::black_hole().always());
    let mut consumer = setup.member().build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
    let began = Instant::now();
    consumer.close().await.unwrap();
    assert!(began.elapsed() <= SLACK, "there is nothing to commit and nothing to leave: {:?}", began.elapsed());

    let consumer = setup.member().build().unwrap();
    consumer.close().await.expect("never used");
}

#[tokio::test(start_paused = true)]
async fn the_others_get_its_partitions_at_once() {
    let setup = Setup::start(1, 2).await;
    let members = [(); 2].map(|()| {
        let member = setup.member().build().unwrap();
        member.subscribe([TOPIC]).unwrap();
        Polled::start(member)
    });
    eventually(async || members.iter().map(|member| owned(&member.handle).len()).eq([1, 1])).await;
    let [first, second] = members;
    let (first, _) = first.stop().await;
    let began = Instant::now();
    first.close().await.unwrap();
    eventually(async || owned(&second.handle).len() == 2).await;
    assert!(began.elapsed() <= 2 * HEARTBEAT, "{:?}", began.elapsed());
    assert_eq!(setup.group().await.members.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_parked_does_not_hold_it_up() {
    let setup = Setup::start(1, 2).await;
    let mut slow = setup.member().build().unwrap();
    join_alone(&mut slow, 2).await;
    let mut consumer = setup.member().build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let _: Result<_, _> = tokio::time::timeout(Duration::from_secs(1), consumer.poll(LONG)).await;
    assert_eq!(setup.group().await.members.len(), 2, "its JoinGroup waits for `slow`");
    let began = Instant::now();
    consumer.close().await.unwrap();
    assert!(began.elapsed() <= SLACK, "{:?}", began.elapsed());
    assert_eq!(setup.group().await.members.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn commits_under_way_are_finished_first() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 5).await;
    let mut consumer = setup.member().build().unwrap();
    subscribe_and_read(&mut consumer, 5).await;
    let slow = Fault::delay(Duration::from_secs(2)).on_api(ApiKey::OffsetCommit);
    setup.embedded.faults().inject(slow);
    let explicit = consumer.commit_async_offsets([(partition(0), ottla_consumer::OffsetAndMetadata::new(3))]);
    let began = Instant::now();
    consumer.close().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2));
    explicit.await.unwrap();
    assert_eq!(setup.committed(0).await, Some(5), "the automatic commit comes after it");
    assert!(setup.group().await.members.is_empty());
}

struct Hangs;

impl RebalanceListener for Hangs {
    async fn on_revoked(&self, _: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_hangs_keeps_nobody_in_the_group() {
    let setup = Setup::start(1, 1).await;
    let mut consumer = setup.member().rebalance_listener(Hangs).build().unwrap();
    join_alone(&mut consumer, 1).await;
    let began = Instant::now();
    let error = consumer.close_within(Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(error, Error::CloseTimedOut { .. }), "{error}");
    assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(setup.group().await.members.is_empty(), "it has left");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_hangs_in_a_rebalance_loses_the_membership_however_often_it_is_polled() {
    let setup = Setup::start(1, 2).await;
    let interval = Duration::from_secs(20);
    let mut consumer = setup.member().max_poll_interval(interval).rebalance_listener(Hangs).build().unwrap();
    join_alone(&mut consumer, 2).await;
    let other = polled(setup.member());
    let began = Instant::now();
    while owned(&other.handle).len() < 2 {
        assert!(consumer.poll(Duration::from_secs(1)).await.unwrap().is_empty());
        assert!(began.elapsed() < 3 * interval, "{:?}", began.elapsed());
    }
    assert!(began.elapsed() >= interval);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_failures_is_told_the_end() {
    let setup = Setup::start(1, 1).await;
    let consumer = setup.member().build().unwrap();
    let handle = consumer.handle();
    let waiting = tokio::spawn(async move { handle.next_error().await.is_none() });
    consumer.close().await.unwrap();
    assert!(waiting.await.unwrap());
}
