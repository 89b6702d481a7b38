//! Who waits for whom: nobody for another's long poll, and no broker for another.

use std::time::Duration;

use ottla_broker::Fault;
use ottla_consumer::{Consumer, ConsumerHandle, StartAt};
use ottla_wire::{ApiKey, NodeId};
use tokio::time::Instant;

use crate::setup::{LONG, Setup, TOPIC, partition, read};

/// What a partition that is assigned, sought or resumed may wait for, beside the network: see the module `plan`.
const BOUND: Duration = Duration::from_millis(40);
const LONG_POLL: Duration = Duration::from_secs(20);

/// A consumer whose Fetch for partition 0, which has nothing new, is parked at the broker.
async fn parked(setup: &Setup) -> Consumer {
    let mut consumer = setup.consumer().fetch_max_wait(LONG_POLL).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    setup.append(0, 1).await;
    read(&mut consumer, 1).await;
    assert!(consumer.poll(Duration::from_secs(1)).await.unwrap().is_empty());
    consumer
}

#[tokio::test(start_paused = true)]
async fn a_partition_newly_assigned_does_not_wait_for_the_long_poll_of_another() {
    let setup = Setup::start(1, 8).await;
    let mut consumer = parked(&setup).await;
    for count in 1..8 {
        setup.append(count, 3).await;
        let start = Instant::now();
        consumer.assign((0..=count).map(partition)).unwrap();
        assert_eq!(read(&mut consumer, 3).await.0[&count], [0, 1, 2]);
        assert!(start.elapsed() <= BOUND, "partition {count} waited {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_sought_does_not_wait_for_the_long_poll() {
    let setup = Setup::start(1, 2).await;
    setup.append(0, 9).await;
    let mut consumer = parked(&setup).await;
    for _ in 0..5 {
        let start = Instant::now();
        consumer.seek(&partition(0), 4).unwrap();
        read(&mut consumer, 6).await;
        assert!(start.elapsed() <= BOUND, "waited {:?}", start.elapsed());
        let start = Instant::now();
        consumer.seek_to(&partition(0), StartAt::Earliest).unwrap();
        read(&mut consumer, 10).await;
        assert!(start.elapsed() <= BOUND, "waited {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_sought_while_a_long_poll_ends_is_not_forgotten() {
    let setup = Setup::start(1, 1).await;
    let wait = Duration::from_millis(500);
    let mut consumer = setup.consumer().fetch_max_wait(wait).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    for moment in 0..wait.as_millis() as u64 {
        // A long poll begins now, and the seek comes so much later.
        let end = setup.append(0, 1).await + 1;
        read(&mut consumer, 1).await;
        assert!(consumer.poll(Duration::from_millis(moment)).await.unwrap().is_empty());
        consumer.seek(&partition(0), end).unwrap();
        assert!(consumer.poll(2 * wait).await.unwrap().is_empty());
        setup.append(0, 1).await;
        let start = Instant::now();
        assert!(!consumer.poll(LONG).await.unwrap().is_empty());
        assert!(start.elapsed() <= BOUND, "sought after {moment} ms, it waited {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_resumed_does_not_wait_for_the_long_poll_of_another() {
    let setup = Setup::start(1, 2).await;
    let mut consumer = parked(&setup).await;
    consumer.assign([partition(0), partition(1)]).unwrap();
    consumer.pause([&partition(1)]).unwrap();
    assert!(consumer.poll(LONG_POLL).await.unwrap().is_empty());
    setup.append(1, 3).await;
    assert!(consumer.poll(Duration::from_secs(1)).await.unwrap().is_empty());
    let start = Instant::now();
    consumer.resume([&partition(1)]).unwrap();
    assert_eq!(read(&mut consumer, 3).await.0[&1], [0, 1, 2]);
    assert!(start.elapsed() <= BOUND, "waited {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn new_records_arrive_at_once_on_whatever_lane_their_partition_is() {
    let setup = Setup::start(1, 3).await;
    let mut consumer = parked(&setup).await;
    consumer.assign((0..3).map(partition)).unwrap();
    for round in 0..200 {
        // Whatever the time since the last: the lanes are in all states.
        assert!(consumer.poll(Duration::from_millis(7 * round)).await.unwrap().is_empty());
        setup.append((round % 3) as i32, 1).await;
        let start = Instant::now();
        read(&mut consumer, 1).await;
        assert!(start.elapsed() <= BOUND, "round {round} waited {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn at_rest_there_is_one_fetch_for_each_long_poll() {
    let setup = Setup::start(1, 50).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign_topic("topic").await.unwrap();
    assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
    let before = setup.embedded.faults().requests(NodeId(0), ApiKey::Fetch);
    assert!(consumer.poll(Duration::from_secs(50)).await.unwrap().is_empty());
    let requests = setup.embedded.faults().requests(NodeId(0), ApiKey::Fetch) - before;
    assert!((90..=101).contains(&requests), "{requests} requests in 50 s");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_silent_or_slow_does_not_delay_the_others() {
    for fault in [Fault::black_hole(), Fault::delay(Duration::from_secs(15))] {
        let setup = Setup::start(3, 3).await;
        let victim = setup.embedded.describe_partition("topic", 0).await.unwrap().leader.unwrap();
        let mut consumer = setup.consumer().build().unwrap();
        consumer.assign_topic("topic").await.unwrap();
        assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
        setup.embedded.faults().inject(fault.on_api(ApiKey::Fetch).on_node(victim).always());
        assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
        for round in 0..20 {
            setup.append(1, 1).await;
            setup.append(2, 1).await;
            let start = Instant::now();
            let seen = read(&mut consumer, 2).await;
            assert_eq!(seen.0.keys().copied().collect::<Vec<_>>(), [1, 2]);
            assert!(start.elapsed() <= BOUND, "round {round} waited {:?}", start.elapsed());
        }
        // Nothing is lost of the silent one's.
        setup.append(0, 4).await;
        setup.embedded.faults().clear();
        let mut seen = 0;
        while seen < 4 {
            seen += consumer.poll(LONG).await.unwrap().record_count();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn poll_returns_when_its_time_is_up() {
    let setup = Setup::start(1, 1).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    for timeout in [0, 1, 250, 7000].map(Duration::from_millis) {
        let start = Instant::now();
        assert!(consumer.poll(timeout).await.unwrap().is_empty());
        assert!(start.elapsed() <= timeout + Duration::from_millis(1), "{timeout:?} took {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_waits_notices_at_once_what_another_task_subscribes_to_assigns_or_seeks() {
    let calls: [fn(&ConsumerHandle); 4] = [
        |consumer| consumer.subscribe([TOPIC]).unwrap(),
        |consumer| consumer.subscribe_matching(|topic| topic == TOPIC).unwrap(),
        |consumer| consumer.assign([partition(0)]).unwrap(),
        |consumer| consumer.assign_at([(partition(0), StartAt::Committed)]).unwrap(),
    ];
    for call in calls {
        let setup = Setup::start(1, 1).await;
        setup.append(0, 5).await;
        let mut consumer = setup.member().enable_auto_commit(false).build().unwrap();
        let handle = consumer.handle();
        let poll = tokio::spawn(async move { consumer.poll(LONG).await.unwrap().record_count() });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        call(&handle);
        assert_eq!(poll.await.unwrap(), 5);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
