//! What automatic commits cover, when they leave, and when none does.

use std::time::Duration;

use ottla_broker::Fault;
use ottla_consumer::AutoOffsetReset;
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::group::{SESSION, is_shared, join_alone, leave_early, next, poll_until, subscribe_and_read};
use crate::setup::{Seen, Setup, TOPIC, partition};

const INTERVAL: Duration = Duration::from_secs(5);

/// A topic of so many partitions, each with three batches of ten records, of which a poll gives one.
async fn three_batches(partitions: i32) -> Setup {
    let setup = Setup::start(1, partitions).await;
    for index in 0..partitions {
        for _ in 0..3 {
            setup.append(index, 10).await;
        }
    }
    setup
}

#[tokio::test(start_paused = true)]
async fn the_clocks_commit_covers_what_was_come_back_from_and_no_more() {
    let setup = three_batches(1).await;
    let mut consumer = setup.member().max_poll_bytes(1).auto_commit_interval(INTERVAL).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    Seen::default().take(&next(&mut consumer).await);
    tokio::time::sleep(INTERVAL).await;

    let second = next(&mut consumer).await;
    leave_early(&second, 4);
    setup.until_committed(0, 10).await;
    tokio::time::sleep(INTERVAL).await;
    assert_eq!((setup.committed(0).await, setup.commits()), (Some(10), 1), "the second batch was left early");

    next(&mut consumer).await;
    setup.until_committed(0, 20).await;
    assert_eq!(setup.commits(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_nothing_moves_nothing_is_sent() {
    let setup = three_batches(2).await;
    let mut consumer = setup.member().auto_commit_interval(INTERVAL).build().unwrap();
    let mut seen = join_alone(&mut consumer, 2).await;
    let until = Instant::now() + 20 * INTERVAL;
    while Instant::now() < until {
        seen.take(&consumer.poll(Duration::from_secs(1)).await.unwrap());
    }
    seen.assert_complete(2, 30);
    assert_eq!(setup.commits(), 1, "one commit of both partitions, then silence");
    consumer.close().await.unwrap();
    assert_eq!(setup.commits(), 1, "closing has nothing to add");
}

#[tokio::test(start_paused = true)]
async fn leaving_a_loop_early_and_closing_does_not_commit_the_rest() {
    let setup = three_batches(1).await;
    let mut consumer = setup.member().max_poll_bytes(1).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    next(&mut consumer).await;
    let second = next(&mut consumer).await;
    leave_early(&second, 4);
    consumer.close().await.unwrap();
    assert_eq!(setup.committed(0).await, Some(10));

    let mut consumer = setup.member().max_poll_bytes(1).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    Seen::default().take(&next(&mut consumer).await);
    consumer.close().await.unwrap();
    assert_eq!(setup.committed(0).await, Some(20), "a batch whose iterator has ended is come back from");
}

#[tokio::test(start_paused = true)]
async fn dropping_commits_nothing() {
    let setup = three_batches(1).await;
    let mut consumer = setup.member().build().unwrap();
    subscribe_and_read(&mut consumer, 30).await;
    drop(consumer);
    tokio::time::sleep(2 * SESSION).await;
    assert_eq!((setup.committed(0).await, setup.commits()), (None, 0));
    assert!(setup.group().await.members.is_empty(), "the session has timed out");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_commits_what_was_come_back_from() {
    for member in [Setup::member, Setup::cooperative_member] {
        let setup = three_batches(2).await;
        let mut first = member(&setup).max_poll_bytes(1).auto_commit_interval(Duration::from_hours(1)).build().unwrap();
        let mut seen = join_alone(&mut first, 2).await;
        while seen.count() < 20 {
            seen.take(&first.poll(Duration::from_secs(1)).await.unwrap());
        }
        assert_eq!(setup.commits(), 0);
        let mut second = member(&setup).max_poll_bytes(1).build().unwrap();
        second.subscribe([TOPIC]).unwrap();
        poll_until(&mut [&mut first, &mut second], &mut seen, |members| is_shared(members, 2)).await;
        assert!(setup.commits() > 0);
        while seen.count() < 60 {
            seen.take(&first.poll(Duration::from_millis(20)).await.unwrap());
            seen.take(&second.poll(Duration::from_millis(20)).await.unwrap());
        }
        seen.assert_complete(2, 30);
    }
}

#[tokio::test(start_paused = true)]
async fn where_reading_began_at_the_end_what_comes_while_the_group_is_away_is_read_by_the_next() {
    let setup = three_batches(1).await;
    let build = || setup.member().auto_offset_reset(AutoOffsetReset::Latest).build().unwrap();
    let mut consumer = build();
    join_alone(&mut consumer, 1).await;
    assert_eq!(consumer.position(&partition(0)).await.unwrap(), 30);
    consumer.close().await.unwrap();

    setup.append(0, 5).await;
    let mut consumer = build();
    consumer.subscribe([TOPIC]).unwrap();
    let mut seen = Seen::default();
    seen.take(&next(&mut consumer).await);
    assert_eq!(seen.0[&0], [30, 31, 32, 33, 34]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_told_in_the_background_and_made_up_for() {
    let setup = three_batches(1).await;
    let refused = Fault::error(ErrorCode::GroupAuthorizationFailed).on_api(ApiKey::OffsetCommit);
    let refused = setup.embedded.faults().inject(refused);
    let mut consumer = setup.member().auto_commit_interval(INTERVAL).build().unwrap();
    let mut seen = join_alone(&mut consumer, 1).await;
    while setup.embedded.faults().hits(refused) == 0 {
        seen.take(&consumer.poll(Duration::from_secs(1)).await.unwrap());
    }
    let told = consumer.next_error().await.unwrap();
    assert_eq!((told.error.error_code(), told.dropped), (Some(ErrorCode::GroupAuthorizationFailed), 0));
    assert_eq!(setup.committed(0).await, None);
    while setup.commits() < 2 {
        seen.take(&consumer.poll(Duration::from_secs(1)).await.unwrap());
    }
    setup.until_committed(0, 30).await;
    assert!(consumer.take_error().is_none(), "once");
}

#[tokio::test(start_paused = true)]
async fn close_tells_that_its_commit_failed() {
    let setup = three_batches(1).await;
    let refused = Fault::error(ErrorCode::GroupAuthorizationFailed).on_api(ApiKey::OffsetCommit);
    setup.embedded.faults().inject(refused);
    let mut consumer = setup.member().build().unwrap();
    subscribe_and_read(&mut consumer, 30).await;
    let error = consumer.close().await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::GroupAuthorizationFailed), "{error}");
    assert!(setup.group().await.members.is_empty(), "it has left all the same");
}

#[tokio::test(start_paused = true)]
async fn a_slow_coordinator_delays_no_record() {
    let setup = three_batches(1).await;
    let mut consumer = setup.member().max_poll_bytes(1).auto_commit_interval(INTERVAL).build().unwrap();
    subscribe_and_read(&mut consumer, 10).await;
    let slow = Fault::delay(Duration::from_secs(4)).on_api(ApiKey::OffsetCommit);
    let slow = setup.embedded.faults().inject(slow);
    tokio::time::sleep(INTERVAL).await;
    let began = Instant::now();
    next(&mut consumer).await;
    setup.until_committed(0, 10).await;
    assert!(began.elapsed() >= Duration::from_secs(4) && setup.embedded.faults().hits(slow) == 1);
    let began = Instant::now();
    next(&mut consumer).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn switched_off_they_leave_commits_to_the_application() {
    let setup = three_batches(1).await;
    let mut consumer = setup.member().enable_auto_commit(false).auto_commit_interval(INTERVAL).build().unwrap();
    let mut seen = join_alone(&mut consumer, 1).await;
    let until = Instant::now() + 3 * INTERVAL;
    while Instant::now() < until {
        seen.take(&consumer.poll(Duration::from_secs(1)).await.unwrap());
    }
    seen.assert_complete(1, 30);
    consumer.close().await.unwrap();
    assert_eq!((setup.committed(0).await, setup.commits()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_application_assigned_to_itself_is_committed_too() {
    let setup = three_batches(1).await;
    let mut consumer = setup.member().max_poll_bytes(1).auto_commit_interval(INTERVAL).build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    Seen::default().take(&next(&mut consumer).await);
    tokio::time::sleep(INTERVAL).await;
    Seen::default().take(&next(&mut consumer).await);
    setup.until_committed(0, 10).await;
    consumer.close().await.unwrap();
    assert_eq!((setup.committed(0).await, setup.commits()), (Some(20), 2));
    assert_eq!(setup.requests(ApiKey::JoinGroup), 0, "offsets need no membership");
}

#[tokio::test(start_paused = true)]
async fn a_commit_follows_one_that_was_under_way_when_it_was_due_although_the_poll_goes_on() {
    const SECOND: Duration = Duration::from_secs(1);
    let setup = Setup::start(1, 1).await;
    setup.append(0, 1).await;
    let mut consumer = setup.member().auto_commit_interval(SECOND).build().unwrap();
    subscribe_and_read(&mut consumer, 1).await;
    setup.embedded.faults().inject(Fault::delay(SECOND + SECOND / 2).on_api(ApiKey::OffsetCommit));
    assert!(consumer.poll(SECOND + SECOND / 4).await.unwrap().is_empty());
    setup.append(0, 1).await;
    Seen::default().take(&next(&mut consumer).await);
    // The first commit is not answered yet.
    assert_eq!((setup.committed(0).await, setup.commits()), (None, 1));
    assert!(consumer.poll(4 * SECOND).await.unwrap().is_empty());
    assert_eq!((setup.committed(0).await, setup.commits()), (Some(2), 2));
}
