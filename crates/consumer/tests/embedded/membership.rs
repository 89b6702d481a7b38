//! Members: who waits for whom, what they keep, when they are lost, and how they come back.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_broker::{GroupState, Loss};
use ottla_consumer::{
    AssignmentChange, Consumer, ConsumerHandle, ListenerResult, RebalanceListener, RebalanceReason, TopicPartition,
};
use ottla_wire::ApiKey;
use tokio::time::Instant;

use crate::group::{
    HEARTBEAT, Polled, SESSION, eventually, is_shared, join_alone, next, owned, pair, poll_until, polled,
    subscribe_and_read,
};
use crate::setup::{LONG, Seen, Setup, TOPIC, partition, read, value};

#[tokio::test(start_paused = true)]
async fn a_slow_application_is_told_and_waited_for_and_nothing_changes_under_its_batch() {
    for member in [Setup::member, Setup::cooperative_member] {
        let setup = Setup::start(1, 2).await;
        setup.append(0, 5).await;
        setup.append(1, 5).await;
        let mut slow = member(&setup).build().unwrap();
        let mut seen = subscribe_and_read(&mut slow, 10).await;
        let generation = slow.group_metadata().unwrap();
        assert!(!slow.rebalance_pending());

        let other = polled(member(&setup));
        eventually(async || setup.requests(ApiKey::JoinGroup) == 4).await;
        tokio::time::sleep(HEARTBEAT + Duration::from_millis(10)).await;
        assert!(slow.rebalance_pending(), "by its next heartbeat it knows");
        let heartbeats = setup.requests(ApiKey::Heartbeat);
        tokio::time::sleep(10 * SESSION).await;
        assert_eq!(setup.group().await.state, GroupState::PreparingRebalance);
        assert_eq!(setup.group().await.members.len(), 2, "ten sessions long it has shown that it is alive");
        assert!(setup.requests(ApiKey::Heartbeat) >= heartbeats + 100);
        assert_eq!(setup.requests(ApiKey::JoinGroup), 4, "JoinGroup leaves from within a poll");
        assert_eq!((slow.group_metadata(), owned(&slow)), (Some(generation), vec![0, 1]));
        slow.commit_sync().await.unwrap();
        assert_eq!(setup.committed(0).await, Some(5));

        poll_until(&mut [&mut slow], &mut seen, |members| {
            owned(members[0]).len() == 1 && owned(&other.handle).len() == 1
        })
        .await;
        assert!(!slow.rebalance_pending());
    }
}

/// Knows what its member has given up.
#[derive(Clone, Default)]
struct GivenUp(Arc<Mutex<BTreeSet<TopicPartition>>>);

impl RebalanceListener for GivenUp {
    async fn on_assigned(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.0.lock().unwrap().retain(|partition| !change.assignment.contains(partition));
        Ok(())
    }

    async fn on_revoked(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.0.lock().unwrap().extend(change.partitions);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_revoked_partition_is_handed_out_after_its_revocation() {
    for member in [Setup::member, Setup::cooperative_member] {
        let setup = Setup::start(1, 4).await;
        let given_up = GivenUp::default();
        // One batch a poll, so that there is always more that has been fetched already.
        let mut consumer = member(&setup).max_poll_bytes(1).rebalance_listener(given_up.clone()).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        let (mut seen, mut others) = (Seen::default(), Seen::default());
        let mut other: Option<Consumer> = None;
        for round in 0..400 {
            for index in 0..4 {
                setup.append(index, 1).await;
            }
            if round % 100 == 50 {
                let joins = member(&setup).max_poll_bytes(1).build().unwrap();
                joins.subscribe([TOPIC]).unwrap();
                other = Some(joins);
            } else if round % 100 == 0
                && let Some(leaves) = other.take()
            {
                leaves.close().await.unwrap();
            }
            if let Some(other) = &mut other {
                others.take(&other.poll(Duration::from_millis(20)).await.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let batches = consumer.poll(Duration::ZERO).await.unwrap();
            for batch in &batches {
                let name = batch.topic_partition();
                assert!(consumer.assignment().contains(name) && !given_up.0.lock().unwrap().contains(name), "{name}");
            }
            seen.take(&batches);
        }
        if let Some(leaves) = other.take() {
            leaves.close().await.unwrap();
        }
        assert!(others.count() > 40, "they did share: {}", others.count());
        while seen.count() + others.count() < 1600 {
            seen.take(&next(&mut consumer).await);
        }
        for (index, offsets) in others.0 {
            seen.0.entry(index).or_default().extend(offsets);
            seen.0.get_mut(&index).unwrap().sort_unstable();
        }
        seen.assert_complete(4, 400);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_cooperative_member_keeps_it_is_handed_while_the_group_rebalances() {
    for is_cooperative in [true, false] {
        let setup = Setup::start(1, 4).await;
        let member = || if is_cooperative { setup.cooperative_member() } else { setup.member() };
        let [mut consumer, mut slow] = pair(&setup, member(), member(), 4).await;
        let third = polled(member());
        eventually(async || consumer.rebalance_pending()).await;
        let ours = owned(&consumer);
        assert!(consumer.poll(Duration::from_millis(100)).await.unwrap().is_empty());
        for _ in 0..5 {
            for index in &ours {
                setup.append(*index, 1).await;
            }
            if is_cooperative {
                let began = Instant::now();
                read(&mut consumer, ours.len()).await;
                assert!(began.elapsed() < Duration::from_millis(100));
            } else {
                assert!(owned(&consumer).is_empty());
                assert!(consumer.poll(Duration::from_secs(1)).await.unwrap().is_empty());
            }
            assert_eq!(setup.group().await.state, GroupState::PreparingRebalance, "`slow` is waited for");
        }
        poll_until(&mut [&mut consumer, &mut slow], &mut Seen::default(), |members| {
            let all = owned(members[0]).len() + owned(members[1]).len() + owned(&third.handle).len();
            all == 4 && !owned(&third.handle).is_empty()
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlives_a_rebalance_where_the_partition_is_kept() {
    let setup = Setup::start(1, 4).await;
    let mut consumer = setup.cooperative_member().build().unwrap();
    join_alone(&mut consumer, 4).await;
    let all: Vec<_> = (0..4).map(partition).collect();
    consumer.pause(&all).unwrap();
    let mut other = setup.cooperative_member().build().unwrap();
    other.subscribe([TOPIC]).unwrap();
    poll_until(&mut [&mut consumer, &mut other], &mut Seen::default(), |members| is_shared(members, 4)).await;
    for index in 0..4 {
        setup.append(index, 3).await;
    }
    assert_eq!((consumer.paused(), other.paused().len()), (consumer.assignment(), 0));
    assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
    read(&mut other, 6).await;

    let kept = owned(&consumer);
    other.close().await.unwrap();
    let mut seen = Seen::default();
    poll_until(&mut [&mut consumer], &mut seen, |members| is_shared(members, 4)).await;
    assert!(consumer.poll(Duration::from_secs(5)).await.unwrap().is_empty());
    assert_eq!(consumer.paused(), kept.iter().map(|index| partition(*index)).collect());
    consumer.resume(&all).unwrap();
    assert_eq!(read(&mut consumer, 6).await.0.into_keys().collect::<Vec<_>>(), kept);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_down_for_a_minute_is_joined_again_by_itself() {
    for member in [Setup::member, Setup::cooperative_member] {
        let setup = Setup::start(3, 4).await;
        for index in 0..4 {
            setup.append(index, 10).await;
        }
        let interval = Duration::from_secs(1);
        let members = [(); 2].map(|()| polled(member(&setup).auto_commit_interval(interval)));
        eventually(async || {
            let count: usize = members.iter().map(Polled::count).sum();
            let shares = members.iter().map(|member| owned(&member.handle).len());
            count >= 40 && shares.eq([2, 2]) && setup.committed(3).await == Some(10)
        })
        .await;
        let nodes: Vec<_> = setup.embedded.nodes().collect();
        for node in &nodes {
            setup.embedded.kill_node(*node, Loss::Nothing).await.unwrap();
        }
        tokio::time::sleep(Duration::from_mins(1)).await;
        for node in &nodes {
            setup.embedded.start_node(*node).await.unwrap();
        }
        let up_at = Instant::now();
        for index in 0..4 {
            setup.append(index, 10).await;
        }
        for index in 0..4 {
            setup.until_committed(index, 20).await;
        }
        assert!(up_at.elapsed() < Duration::from_mins(1), "{:?}", up_at.elapsed());
        eventually(async || members.iter().map(|member| owned(&member.handle).len()).eq([2, 2])).await;
        let mut all = Seen::default();
        for member in members {
            let (consumer, seen) = member.stop().await;
            consumer.close().await.unwrap();
            for (index, offsets) in seen.0 {
                all.0.entry(index).or_default().extend(offsets);
            }
        }
        for offsets in all.0.values_mut() {
            offsets.sort_unstable();
            offsets.dedup();
        }
        all.assert_complete(4, 20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crashed_members_partitions_are_read_by_the_others_from_where_it_had_committed() {
    let setup = Setup::start(1, 4).await;
    let members = [(); 3].map(|()| polled(setup.cooperative_member().auto_commit_interval(Duration::from_secs(1))));
    let shared = async || members.iter().map(|member| owned(&member.handle).len()).min() == Some(1);
    eventually(shared).await;
    for index in 0..4 {
        setup.append(index, 10).await;
    }
    for index in 0..4 {
        setup.until_committed(index, 10).await;
    }
    let [crashed, first, second] = members;
    let crashed_at = Instant::now();
    crashed.crash().await;
    for index in 0..4 {
        setup.append(index, 10).await;
    }
    eventually(async || owned(&first.handle).len() + owned(&second.handle).len() == 4).await;
    let took = crashed_at.elapsed();
    assert!(took + HEARTBEAT >= SESSION && took <= SESSION + 4 * HEARTBEAT, "{took:?}");
    for index in 0..4 {
        setup.until_committed(index, 20).await;
    }
    let read_again = first.count() + second.count();
    assert!((40..80).contains(&read_again), "{read_again}: what was committed was not read again");
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_can_be_asked_for() {
    let setup = Setup::start(1, 2).await;
    let mut consumer = setup.member().build().unwrap();
    consumer.enforce_rebalance("nobody is there yet").unwrap();
    join_alone(&mut consumer, 2).await;
    let generation = consumer.group_metadata().unwrap().generation_id;
    consumer.enforce_rebalance("moving house").unwrap();
    assert!(consumer.rebalance_pending());
    poll_until(&mut [&mut consumer], &mut Seen::default(), |members| {
        members[0].group_metadata().is_some_and(|member| member.generation_id > generation)
    })
    .await;
    let reason = RebalanceReason::Requested { reason: "moving house".into() };
    assert_eq!(consumer.last_assigned().unwrap().reason, reason);
}

#[tokio::test(start_paused = true)]
async fn batches_of_before_a_revocation_stay_readable() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 5).await;
    let mut consumer = setup.member().build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let batches = consumer.poll(LONG).await.unwrap();
    consumer.unsubscribe().await.unwrap();
    drop(consumer);
    let batch = batches.iter().next().unwrap();
    let values = batch.records().map(|record| record.unwrap().value().unwrap().to_vec());
    assert!(values.eq((0..5).map(|offset| value(0, offset).into_bytes())));
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_kept_and_not_driven_any_more_is_late_and_one_that_is_driven_never() {
    let setup = Setup::start(1, 1).await;
    let interval = Duration::from_secs(30);
    let mut consumer = setup.member().max_poll_interval(interval).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let handle = consumer.handle();
    let mut records = consumer.stream();
    let waited = tokio::time::timeout(10 * interval, records.next()).await;
    assert!(waited.is_err() && handle.group_metadata().is_some(), "it was driven all the time");
    tokio::time::sleep(2 * interval).await;
    assert!(handle.group_metadata().is_none() && setup.group().await.members.is_empty());
    setup.append(0, 1).await;
    assert_eq!(records.next().await.unwrap().unwrap().offset(), 0, "it joins again by itself");
}

struct Slow;

impl RebalanceListener for Slow {
    async fn on_revoked(&self, _: AssignmentChange, consumer: ConsumerHandle) -> ListenerResult {
        tokio::time::sleep(Duration::from_secs(15)).await;
        Ok(consumer.commit_sync().await?)
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_polls_in_time_has_the_whole_interval_for_what_the_rebalance_asks() {
    let setup = Setup::start(1, 2).await;
    let interval = Duration::from_secs(30);
    let mut consumer = setup.member().max_poll_interval(interval).rebalance_listener(Slow).build().unwrap();
    join_alone(&mut consumer, 2).await;
    let other = polled(setup.member());
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert!(consumer.rebalance_pending());
    poll_until(&mut [&mut consumer], &mut Seen::default(), |members| owned(members[0]).len() == 1).await;
    assert!(consumer.take_error().is_none(), "the membership was not lost");
    assert_eq!(owned(&other.handle).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_unsubscribes_after_a_loss_is_told_of_that() {
    let setup = Setup::start(1, 1).await;
    let interval = Duration::from_secs(30);
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut consumer =
        setup.member().max_poll_interval(interval).rebalance_listener(Tells(Arc::clone(&told))).build().unwrap();
    join_alone(&mut consumer, 1).await;
    tokio::time::sleep(2 * interval).await;
    consumer.unsubscribe().await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["lost"]);
    assert!(matches!(consumer.take_error().unwrap().error, ottla_consumer::Error::MembershipLost { .. }));
}

struct Tells(Arc<Mutex<Vec<&'static str>>>);

impl RebalanceListener for Tells {
    async fn on_revoked(&self, _: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.0.lock().unwrap().push("revoked");
        Ok(())
    }

    async fn on_lost(&self, _: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.0.lock().unwrap().push("lost");
        Ok(())
    }
}
