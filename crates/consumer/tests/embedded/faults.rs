//! Leaders that move, nodes that die, connections that break, brokers that refuse.

use std::time::Duration;

use ottla_broker::{Fault, Loss};
use ottla_consumer::{Error, FetchError};
use ottla_wire::{ApiKey, ErrorCode};

use crate::setup::{LONG, Seen, Setup, partition, read};

#[tokio::test(start_paused = true)]
async fn a_moving_leader_is_followed() {
    for hints in [true, false] {
        let setup = Setup::start_with(3, 3, |builder| builder.leader_hints(hints)).await;
        let mut consumer = setup.consumer().build().unwrap();
        consumer.assign_topic("topic").await.unwrap();
        let mut seen = Seen::default();
        let nodes: Vec<_> = setup.embedded.nodes().collect();
        for round in 0..12 {
            for index in 0..3 {
                setup.embedded.move_leader("topic", index, nodes[(round + index as usize) % 3]).await.unwrap();
                setup.append(index, 5).await;
            }
            while seen.count() < (round + 1) * 15 {
                let batches = consumer.poll(Duration::from_secs(10)).await.unwrap();
                assert!(!batches.is_empty(), "round {round}: nothing in 10 s, after {seen:?}");
                seen.take(&batches);
            }
        }
        seen.assert_complete(3, 60);
    }
}

/// KIP-951: whoever has just stopped leading says who leads now.
#[tokio::test(start_paused = true)]
async fn the_leader_that_an_answer_names_is_followed_where_metadata_cannot_be_had() {
    let setup = Setup::start(3, 1).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    setup.append(0, 5).await;
    let mut seen = read(&mut consumer, 5).await;
    setup.embedded.faults().inject(Fault::black_hole().on_api(ApiKey::Metadata).always());
    for round in 1..5 {
        let leader = setup.embedded.describe_partition("topic", 0).await.unwrap().leader.unwrap();
        let next = setup.embedded.nodes().find(|node| node.0 == (leader.0 + 1) % 3).unwrap();
        setup.embedded.move_leader("topic", 0, next).await.unwrap();
        setup.append(0, 5).await;
        let moved_at = tokio::time::Instant::now();
        while seen.count() < 5 * (round + 1) {
            seen.take(&consumer.poll(LONG).await.unwrap());
        }
        assert!(moved_at.elapsed() < Duration::from_secs(2), "{:?}", moved_at.elapsed());
    }
    seen.assert_complete(1, 25);
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_costs_no_record() {
    let setup = Setup::start(3, 3).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign_topic("topic").await.unwrap();
    for index in 0..3 {
        setup.append(index, 5).await;
    }
    let mut seen = read(&mut consumer, 15).await;
    let victim = setup.embedded.describe_partition("topic", 0).await.unwrap().leader.unwrap();
    setup.embedded.kill_node(victim, Loss::Nothing).await.unwrap();
    for index in 0..3 {
        setup.append(index, 5).await;
    }
    while seen.count() < 30 {
        let batches = consumer.poll(LONG).await.unwrap();
        assert!(!batches.is_empty());
        seen.take(&batches);
    }
    seen.assert_complete(3, 10);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hangs_is_left_for_another_as_soon_as_there_is_one() {
    for hung_before_the_start in [false, true] {
        let setup = Setup::start(3, 1).await;
        let mut consumer = setup.consumer().build().unwrap();
        setup.append(0, 1).await;
        let hung = setup.embedded.describe_partition("topic", 0).await.unwrap().leader.unwrap();
        // It answers nothing, whatever it is asked: metadata, too.
        let inject = || setup.embedded.faults().inject(Fault::black_hole().on_node(hung).always());
        if hung_before_the_start {
            inject();
        }
        consumer.assign_topic("topic").await.unwrap();
        let mut seen = Seen::default();
        if !hung_before_the_start {
            seen = read(&mut consumer, 1).await;
            inject();
        }
        assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
        let next = setup.embedded.nodes().find(|node| *node != hung).unwrap();
        let moved = tokio::time::Instant::now();
        setup.embedded.move_leader("topic", 0, next).await.unwrap();
        setup.append(0, 1).await;
        while seen.count() < 2 {
            seen.take(&consumer.poll(LONG).await.unwrap());
        }
        assert!(moved.elapsed() < Duration::from_secs(2), "{:?}", moved.elapsed());
        seen.assert_complete(1, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn broken_connections_cost_no_record() {
    let setup = Setup::start(1, 2).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign_topic("topic").await.unwrap();
    let mut seen = Seen::default();
    for round in 0..10 {
        let fault = Fault::close_connection().on_api(ApiKey::Fetch);
        setup.embedded.faults().inject(if round % 2 == 0 { fault } else { fault.after_handling() });
        setup.append(0, 3).await;
        setup.append(1, 3).await;
        while seen.count() < (round + 1) * 6 {
            let batches = consumer.poll(Duration::from_secs(10)).await.unwrap();
            assert!(!batches.is_empty(), "nothing in 10 s");
            seen.take(&batches);
        }
    }
    seen.assert_complete(2, 30);
}

#[tokio::test(start_paused = true)]
async fn what_goes_away_by_itself_is_waited_for_without_a_word() {
    let codes = [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::UnknownLeaderEpoch,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId,
        ErrorCode::InconsistentTopicId,
        ErrorCode::OffsetNotAvailable,
        ErrorCode::KafkaStorageError,
        ErrorCode::LeaderNotAvailable,
        ErrorCode::ReplicaNotAvailable,
        ErrorCode::Unknown(9999),
    ];
    for code in codes {
        for api in [ApiKey::Fetch, ApiKey::ListOffsets] {
            let setup = Setup::start(1, 2).await;
            setup.append(0, 3).await;
            setup.append(1, 3).await;
            setup.embedded.faults().inject(Fault::error(code).on_api(api).on_partition("topic", 0).times(8));
            let mut consumer = setup.consumer().build().unwrap();
            consumer.assign_topic("topic").await.unwrap();
            read(&mut consumer, 6).await.assert_complete(2, 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_is_told_with_its_partition_while_the_others_go_on() {
    for api in [ApiKey::Fetch, ApiKey::ListOffsets] {
        let setup = Setup::start(1, 2).await;
        setup.append(0, 3).await;
        setup.append(1, 3).await;
        let denied = Fault::error(ErrorCode::TopicAuthorizationFailed).on_api(api).on_partition("topic", 0);
        let denied = setup.embedded.faults().inject(denied.always());
        let mut consumer = setup.consumer().build().unwrap();
        consumer.assign_topic("topic").await.unwrap();
        let (mut seen, mut errors) = (Seen::default(), 0);
        while errors < 3 || seen.count() < 3 {
            match consumer.poll(LONG).await {
                Ok(batches) => seen.take(&batches),
                Err(error) => {
                    assert_eq!(error.error_code(), Some(ErrorCode::TopicAuthorizationFailed));
                    assert_eq!(error.partition(), Some(&partition(0)), "{error}");
                    errors += 1;
                }
            }
        }
        assert_eq!(seen.0.keys().copied().collect::<Vec<_>>(), [1]);
        setup.embedded.faults().withdraw(denied);
        while seen.count() < 6 {
            if let Ok(batches) = consumer.poll(LONG).await {
                seen.take(&batches);
            }
        }
        seen.assert_complete(2, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_consumer_says_so() {
    let setup = Setup::start(1, 1).await;
    let consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let handle = consumer.handle();
    consumer.close().await.unwrap();
    let error = handle.assign([partition(0)]).unwrap_err();
    assert!(matches!(error, Error::Fetch(FetchError::Closed)), "{error}");
    assert!(error.is_fatal());
}

#[tokio::test(start_paused = true)]
async fn closing_leaves_no_connection_of_its_own_behind() {
    let setup = Setup::start(1, 2).await;
    let address = setup.embedded.address(setup.embedded.nodes().next().unwrap()).unwrap().clone();
    setup.append(0, 3).await;
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    read(&mut consumer, 3).await;
    let open = setup.network.open_connections(&address);
    consumer.close().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(setup.network.open_connections(&address) < open, "the fetch connection outlived its consumer");
}
