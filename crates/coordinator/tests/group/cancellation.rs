//! Each public future, dropped at each of its polls: nothing is lost, and nothing happens twice.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ottla_wire::ApiKey;

use crate::member::{Member, SOON, client, config, in_memory, offsets, partitions, start};

const QUICK: Duration = Duration::from_secs(5);

/// Polls a future so many times, and drops it. Says whether it was done.
async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(move |context| {
        if polled == times {
            return Poll::Ready(None);
        }
        polled += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled == times => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_dropped_is_committed() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    let commits = || cluster.nodes().map(|node| cluster.faults().requests(node, ApiKey::OffsetCommit)).sum::<u64>();
    for times in 0..4 {
        let before = commits();
        let offset = 10 + times as i64;
        let done = poll_times(member.handle().commit(offsets(&[(0, offset)])), times).await;
        // Waiting for the others may be dropped as well.
        for polls in 0..3 {
            poll_times(member.handle().commits_done(), polls).await;
        }
        member.handle().commits_done().await;
        assert_eq!(commits() - before, 1, "once, dropped after {times} polls: {done:?}");
        let found = member.handle().committed(partitions([0]), QUICK).await.unwrap();
        assert_eq!(found.into_values().next().flatten().map(|found| found.offset), Some(offset));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_is_dropped_leaves_nothing_behind() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    for times in 0..4 {
        poll_times(member.handle().committed(partitions([0]), QUICK), times).await;
    }
    assert_eq!(member.handle().committed(partitions([0]), QUICK).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_an_event_loses_none() {
    for times in 0..6 {
        let cluster = start(in_memory()).await;
        let mut member = Member::join(&client(&cluster), config());
        for _ in 0..5 {
            poll_times(member.handle().event_ready(), times).await;
        }
        member.poll_until_assigned(1).await;
        assert_eq!((member.assigned.len(), member.assignment.len()), (1, 6));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leave_that_is_dropped_leaves() {
    for times in 1..4 {
        let cluster = start(in_memory()).await;
        let mut member = Member::join(&client(&cluster), config());
        member.poll_until_assigned(1).await;
        poll_times(member.handle().leave("changed its mind", QUICK), times).await;
        assert!(member.handle().membership().is_none(), "at once");
        let left = async {
            while !cluster.describe_group("group").await.unwrap().members.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(QUICK, left).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_ends_the_tasks() {
    for times in 0..5 {
        let cluster = start(in_memory()).await;
        let mut member = Member::join(&client(&cluster), config());
        member.poll_until_assigned(1).await;
        let Member { coordinator, .. } = member;
        let handle = coordinator.handle().clone();
        poll_times(coordinator.close(Some("done"), QUICK), times).await;
        let error = handle.commit(offsets(&[(0, 1)])).await.unwrap_err();
        assert!(matches!(error, ottla_coordinator::Error::Closed), "{error}");
        // Nobody sends heartbeats any more: it is gone, one way or the other.
        let gone = async {
            while !cluster.describe_group("group").await.unwrap().members.is_empty() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(SOON, gone).await.unwrap();
    }
}
