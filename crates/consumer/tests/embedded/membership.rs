//! Members: who waits for whom, what they keep, when they are lost, and how they come back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_broker::{GroupState, Loss};
use ottla_consumer::assignor::built_in;
use ottla_consumer::{
    AssignmentChange, Consumer, ConsumerBuilder, ConsumerHandle, Error, GroupError, ListenerResult, RebalanceListener,
    RebalanceReason, TopicPartition,
};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::group::{
    GROUP, HEARTBEAT, Polled, SESSION, eventually, is_shared, join_alone, next, owned, poll_until, subscribe_and_read,
};
use crate::setup::{LONG, Seen, Setup, TOPIC, partition, read, value};

/// A member that is subscribed, in a task that polls it.
fn polled(builder: ConsumerBuilder) -> Polled {
    let consumer = builder.build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    Polled::start(consumer)
}

/// Two members that share the partitions.
async fn pair(setup: &Setup, first: ConsumerBuilder, second: ConsumerBuilder, partitions: usize) -> [Consumer; 2] {
    let mut pair = [first.build().unwrap(), second.build().unwrap()];
    for member in &pair {
        member.subscribe([TOPIC]).unwrap();
    }
    let [first, second] = &mut pair;
    poll_until(&mut [first, second], &mut Seen::default(), |members| is_shared(members, partitions)).await;
    assert_eq!(setup.group().await.members.len(), 2);
    pair
}

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
struct GivenUp(Arc<Mutex<std::collections::BTreeSet<TopicPartition>>>);

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
async fn a_static_member_that_comes_back_in_time_finds_its_partitions_without_a_rebalance() {
    let setup = Setup::start(1, 4).await;
    for index in 0..4 {
        setup.append(index, 3).await;
    }
    let one = || setup.member().group_instance_id("one");
    let [first, other] = pair(&setup, one(), setup.member().group_instance_id("two"), 4).await;
    let (ours, generation) = (owned(&first), other.group_metadata().unwrap().generation_id);
    let other = Polled::start(other);
    first.close().await.unwrap();
    assert_eq!(setup.requests(ApiKey::LeaveGroup), 0, "closing leaves it in the group");
    assert_eq!(setup.group().await.members.len(), 2);
    tokio::time::sleep(SESSION / 2).await;

    let joins = setup.requests(ApiKey::JoinGroup);
    let mut first = one().build().unwrap();
    join_alone(&mut first, 2).await;
    assert_eq!(owned(&first), ours);
    assert_eq!(first.group_metadata().unwrap().generation_id, generation);
    tokio::time::sleep(SESSION).await;
    assert_eq!(setup.requests(ApiKey::JoinGroup), joins + 1, "nobody else had to join again");
    assert_eq!(other.handle.group_metadata().unwrap().generation_id, generation);

    first.close().await.unwrap();
    eventually(async || owned(&other.handle).len() == 4).await;
    assert_eq!(setup.group().await.members.len(), 1, "once its session is over its partitions are given to others");
}

#[tokio::test(start_paused = true)]
async fn a_fenced_static_member_is_told_so_at_each_poll() {
    let setup = Setup::start(1, 2).await;
    setup.append(0, 3).await;
    let build = || setup.member().group_instance_id("one").build().unwrap();
    let mut first = build();
    join_alone(&mut first, 2).await;
    let mut second = build();
    join_alone(&mut second, 2).await;
    tokio::time::sleep(HEARTBEAT * 2).await;
    for _ in 0..3 {
        let error = first.poll(Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(&error, Error::Group(GroupError::FencedInstanceId { .. })), "{error}");
        assert!(error.is_fatal() && !error.is_retriable());
        assert_eq!(error.to_string(), "another consumer has joined group group as one");
    }
    assert!(owned(&first).is_empty());
    first.close().await.unwrap();
    assert_eq!(owned(&second), [0, 1]);
    setup.append(0, 2).await;
    assert!(!second.poll(LONG).await.unwrap().is_empty(), "the one that took over goes on");
    assert_eq!(setup.group().await.members.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_can_change() {
    for member in [Setup::member, Setup::cooperative_member] {
        let setup = Setup::start(1, 2).await;
        setup.embedded.create_topic("other", 1, 1).await.unwrap();
        let other = TopicPartition::new("other", 0);
        let mut consumer = member(&setup).build().unwrap();
        join_alone(&mut consumer, 2).await;
        consumer.subscribe([TOPIC, "other"]).unwrap();
        assert!(consumer.rebalance_pending());
        poll_until(&mut [&mut consumer], &mut Seen::default(), |members| members[0].assignment().len() == 3).await;
        let assigned = consumer.last_assigned().unwrap();
        assert_eq!(assigned.reason, RebalanceReason::SubscriptionChanged);

        consumer.subscribe(["other"]).unwrap();
        poll_until(&mut [&mut consumer], &mut Seen::default(), |members| {
            members[0].assignment() == [other.clone()].into()
        })
        .await;
        assert_eq!(consumer.subscription(), ["other".into()].into());

        consumer.unsubscribe().await.unwrap();
        assert!(consumer.assignment().is_empty() && consumer.group_metadata().is_none());
        assert!(setup.group().await.members.is_empty());
        assert!(consumer.poll(SESSION).await.unwrap().is_empty());
        assert!(setup.group().await.members.is_empty(), "it does not join again by itself");
        consumer.assign([partition(0)]).unwrap();
        setup.append(0, 3).await;
        read(&mut consumer, 3).await.assert_complete(1, 3);
        let error = consumer.subscribe([TOPIC]).unwrap_err();
        assert!(matches!(error, Error::MixedSubscription { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn topics_that_appear_later_and_partitions_that_are_added_are_read() {
    let setup = Setup::start_with(1, 1, |builder| builder.auto_create_topics(false)).await;
    let consumer = setup.member().build().unwrap();
    consumer.subscribe([TOPIC, "later"]).unwrap();
    let consumer = Polled::start(consumer);
    eventually(async || consumer.handle.assignment().len() == 1).await;
    setup.embedded.create_topic("later", 2, 1).await.unwrap();
    let began = Instant::now();
    eventually(async || consumer.handle.assignment().len() == 3).await;
    setup.embedded.add_partitions(TOPIC, 3).await.unwrap();
    eventually(async || consumer.handle.assignment().len() == 5).await;
    // metadata.max.age.ms each time
    assert!(began.elapsed() < Duration::from_mins(11), "{:?}", began.elapsed());
    setup.append(2, 4).await;
    eventually(async || consumer.count() == 4).await;
    let reason = consumer.handle.last_assigned().unwrap().reason.clone();
    assert_eq!(reason, RebalanceReason::MetadataChanged { topic: TOPIC.into() });
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
    assert!(took >= SESSION - HEARTBEAT && took <= SESSION + 4 * HEARTBEAT, "{took:?}");
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
async fn whoever_has_no_assignor_in_common_with_the_group_is_told() {
    let setup = Setup::start(1, 2).await;
    let first = polled(setup.member());
    eventually(async || owned(&first.handle).len() == 2).await;
    let sticky = [built_in("sticky").unwrap()];
    let mut stranger = setup.member().partition_assignment_strategy(sticky).build().unwrap();
    stranger.subscribe([TOPIC]).unwrap();
    let error = stranger.poll(LONG).await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::InconsistentGroupProtocol), "{error}");
    assert!(error.to_string().contains(GROUP), "{error}");
    stranger.close().await.unwrap();
    assert_eq!(owned(&first.handle), [0, 1]);
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
async fn settings_that_cannot_be_are_named() {
    let setup = Setup::start(1, 1).await;
    type Change = fn(ConsumerBuilder) -> ConsumerBuilder;
    let wrong: [(Change, &str); 13] = [
        (|of| of.group_id("").group_instance_id("one"), "group.instance.id"),
        (|of| of.group_id("").enable_auto_commit(true), "enable.auto.commit"),
        (|of| of.group_id("g".repeat(40_000)), "group.id"),
        (|of| of.group_instance_id(""), "group.instance.id"),
        (|of| of.group_instance_id("one two"), "group.instance.id"),
        (|of| of.session_timeout(Duration::ZERO), "session.timeout.ms"),
        (|of| of.session_timeout(Duration::from_hours(24 * 30)), "session.timeout.ms"),
        (|of| of.heartbeat_interval(SESSION), "heartbeat.interval.ms"),
        (|of| of.heartbeat_interval(Duration::ZERO), "heartbeat.interval.ms"),
        (|of| of.max_poll_interval(Duration::ZERO), "max.poll.interval.ms"),
        (|of| of.auto_commit_interval(Duration::ZERO), "auto.commit.interval.ms"),
        (|of| of.partition_drain_timeout(Duration::from_hours(24 * 30)), "partition.drain.timeout.ms"),
        (
            |of| of.partition_assignment_strategy([built_in("range").unwrap(), built_in("range").unwrap()]),
            "partition.assignment.strategy",
        ),
    ];
    for (change, setting) in wrong {
        let error = change(setup.member()).build().unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        assert!(error.to_string().starts_with(&format!("{setting} is ")), "{error}");
    }
    let consumer = setup.member().build().unwrap();
    let nothing: [&str; 0] = [];
    assert!(matches!(consumer.subscribe(nothing), Err(Error::NoTopics)));
    let mut consumer = setup.member().partition_assignment_strategy([]).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let error = consumer.poll(LONG).await.unwrap_err();
    assert!(error.is_fatal() && error.to_string().contains("partition.assignment.strategy"), "{error}");
}
