//! What is subscribed to, how that changes, and what cannot be.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_consumer::assignor::built_in;
use ottla_consumer::{
    AssignmentChange, ConsumerBuilder, ConsumerHandle, Error, ListenerResult, RebalanceListener, RebalanceReason,
    TopicPartition,
};
use ottla_wire::ErrorCode;
use tokio::time::Instant;

use crate::group::{GROUP, Polled, SESSION, eventually, join_alone, owned, poll_until, polled};
use crate::setup::{LONG, Seen, Setup, TOPIC, partition, read};

type Change = fn(ConsumerBuilder) -> ConsumerBuilder;

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
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "a topic that is missing is asked for again: {:?}",
        began.elapsed()
    );
    setup.embedded.add_partitions(TOPIC, 3).await.unwrap();
    eventually(async || consumer.handle.assignment().len() == 5).await;
    // metadata.max.age.ms
    assert!(began.elapsed() < Duration::from_mins(6), "{:?}", began.elapsed());
    setup.append(2, 4).await;
    eventually(async || consumer.count() == 4).await;
    let reason = consumer.handle.last_assigned().unwrap().reason.clone();
    assert_eq!(reason, RebalanceReason::MetadataChanged { topic: TOPIC.into() });
}

#[tokio::test(start_paused = true)]
async fn a_pattern_stands_for_the_topics_that_match_now_and_later() {
    let setup = Setup::start(1, 2).await;
    setup.embedded.create_topic("letters-1", 1, 1).await.unwrap();
    let consumer = setup.member().build().unwrap();
    consumer.subscribe_matching(|topic| topic.starts_with("letters-") || topic.starts_with("__")).unwrap();
    assert!(consumer.subscription().is_empty(), "which topics there are is not known yet");
    let error = consumer.assign([partition(0)]).unwrap_err();
    assert!(matches!(error, Error::MixedSubscription { .. }), "{error}");
    let consumer = Polled::start(consumer);
    eventually(async || consumer.handle.assignment() == [TopicPartition::new("letters-1", 0)].into()).await;

    let began = Instant::now();
    setup.embedded.create_topic("letters-2", 1, 1).await.unwrap();
    eventually(async || consumer.handle.assignment().len() == 2).await;
    assert!(began.elapsed() < Duration::from_mins(6), "metadata.max.age.ms, and a rebalance: {:?}", began.elapsed());
    assert_eq!(consumer.handle.subscription(), ["letters-1".into(), "letters-2".into()].into(), "Kafka's own do not");

    consumer.handle.subscribe([TOPIC]).unwrap();
    eventually(async || owned(&consumer.handle) == [0, 1]).await;
    assert_eq!(consumer.handle.subscription(), [TOPIC.into()].into());
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
async fn settings_that_cannot_be_are_named() {
    let setup = Setup::start(1, 1).await;
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

/// Counts the partitions that are told of.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<(usize, usize)>>);

impl RebalanceListener for Told {
    async fn on_assigned(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.0.lock().unwrap().0 += change.partitions.len();
        Ok(())
    }

    async fn on_revoked(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.0.lock().unwrap().1 += change.partitions.len();
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_before_it_is_known_what_matches_is_told_and_takes_nothing_that_does() {
    for (member, told) in
        [(Setup::member as fn(&Setup) -> ConsumerBuilder, (4, 2)), (Setup::cooperative_member, (2, 0))]
    {
        let (setup, listener) = (Setup::start(1, 2).await, Told::default());
        let mut consumer = member(&setup).rebalance_listener(listener.clone()).build().unwrap();
        join_alone(&mut consumer, 2).await;
        let generation = consumer.last_assigned().unwrap().generation_id;
        consumer.enforce_rebalance("a pattern comes").unwrap();
        consumer.subscribe_matching(|topic| topic == TOPIC).unwrap();
        assert!(consumer.subscription().is_empty(), "nobody knows all topics yet");
        poll_until(&mut [&mut consumer], &mut Seen::default(), |members| {
            let is_new = members[0].last_assigned().unwrap().generation_id > generation;
            is_new && owned(members[0]).len() == 2 && members[0].subscription().len() == 1
        })
        .await;
        assert_eq!(*listener.0.lock().unwrap(), told, "assigned and revoked");
    }
}
