//! What a rebalance listener is told, what it may do, and whose its futures are.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_consumer::{
    AssignmentChange, AutoOffsetReset, ConsumerHandle, Error, ListenerResult, OffsetAndMetadata, RebalanceListener,
    TopicPartition,
};
use ottla_wire::ApiKey;
use tokio::time::Instant;

use crate::group::{Polled, eventually, is_shared, join_alone, next, owned, poll_until, subscribe_and_read};
use crate::setup::{LONG, Seen, Setup, TOPIC, partition, read};

/// A call: the method, what changed, and all that is assigned then.
type Call = (&'static str, Vec<i32>, Vec<i32>);

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Call>>>);

impl Told {
    fn write(&self, method: &'static str, change: &AssignmentChange) {
        let indexes = |of: &BTreeSet<TopicPartition>| of.iter().map(|partition| partition.partition).collect();
        self.0.lock().unwrap().push((method, indexes(&change.partitions), indexes(&change.assignment)));
    }

    fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl RebalanceListener for Told {
    async fn on_assigned(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.write("assigned", &change);
        Ok(())
    }

    async fn on_revoked(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.write("revoked", &change);
        Ok(())
    }

    async fn on_lost(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.write("lost", &change);
        Ok(())
    }
}

/// Does the same at each call, and writes it down when that is done.
struct Doing<F> {
    told: Told,
    action: F,
}

impl<F, R> Doing<F>
where
    F: Fn(&'static str, BTreeSet<TopicPartition>, ConsumerHandle) -> R + Send + Sync + 'static,
    R: Future<Output = ListenerResult> + Send,
{
    async fn call(&self, method: &'static str, change: AssignmentChange, consumer: ConsumerHandle) -> ListenerResult {
        let done = (self.action)(method, change.partitions.clone(), consumer).await;
        self.told.write(method, &change);
        done
    }
}

impl<F, R> RebalanceListener for Doing<F>
where
    F: Fn(&'static str, BTreeSet<TopicPartition>, ConsumerHandle) -> R + Send + Sync + 'static,
    R: Future<Output = ListenerResult> + Send,
{
    async fn on_assigned(&self, change: AssignmentChange, consumer: ConsumerHandle) -> ListenerResult {
        self.call("assigned", change, consumer).await
    }

    async fn on_revoked(&self, change: AssignmentChange, consumer: ConsumerHandle) -> ListenerResult {
        self.call("revoked", change, consumer).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_eager_member_gives_up_everything_and_is_given_its_share() {
    let setup = Setup::start(1, 4).await;
    let (told, others) = (Told::default(), Told::default());
    let mut first = setup.member().rebalance_listener(told.clone()).build().unwrap();
    join_alone(&mut first, 4).await;
    assert_eq!(told.take(), [("assigned", vec![0, 1, 2, 3], vec![0, 1, 2, 3])]);

    let mut second = setup.member().rebalance_listener(others.clone()).build().unwrap();
    second.subscribe([TOPIC]).unwrap();
    poll_until(&mut [&mut first, &mut second], &mut Seen::default(), |members| is_shared(members, 4)).await;
    // Whose member id comes first has the lower half.
    let (ours, theirs) = (owned(&first), owned(&second));
    assert_eq!(told.take(), [("revoked", vec![0, 1, 2, 3], vec![]), ("assigned", ours.clone(), ours.clone())]);
    assert_eq!(others.take(), [("assigned", theirs.clone(), theirs)]);

    first.close().await.unwrap();
    assert_eq!(told.take(), [("revoked", ours, vec![])], "closing is a revocation");
    poll_until(&mut [&mut second], &mut Seen::default(), |members| is_shared(members, 4)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cooperative_member_gives_up_only_what_others_are_to_have() {
    let setup = Setup::start(1, 4).await;
    let (told, others) = (Told::default(), Told::default());
    let mut first = setup.cooperative_member().rebalance_listener(told.clone()).build().unwrap();
    join_alone(&mut first, 4).await;
    assert_eq!(told.take(), [("assigned", vec![0, 1, 2, 3], vec![0, 1, 2, 3])]);

    let mut second = setup.cooperative_member().rebalance_listener(others.clone()).build().unwrap();
    second.subscribe([TOPIC]).unwrap();
    poll_until(&mut [&mut first, &mut second], &mut Seen::default(), |members| {
        is_shared(members, 4) && told.count() == 3
    })
    .await;
    let (kept, given) = (owned(&first), owned(&second));
    let calls = told.take();
    let expected =
        [("revoked", given.clone(), kept.clone()), ("assigned", vec![], kept.clone()), ("assigned", vec![], kept)];
    assert_eq!(calls, expected, "one generation to give up, another to hand over");
    assert_eq!(others.take(), [("assigned", vec![], vec![]), ("assigned", given.clone(), given)]);
}

#[tokio::test(start_paused = true)]
async fn offsets_can_be_stored_elsewhere() {
    let setup = Setup::start(1, 2).await;
    for index in 0..2 {
        setup.append(index, 10).await;
    }
    // What a database would be: written at revocation, sought to at assignment.
    let stored = Arc::new(Mutex::new(BTreeMap::from([(partition(0), 3), (partition(1), 7)])));
    let store = |stored: Arc<Mutex<BTreeMap<TopicPartition, i64>>>, told: Told| Doing {
        told,
        action: move |method, partitions: BTreeSet<TopicPartition>, consumer: ConsumerHandle| {
            let stored = Arc::clone(&stored);
            async move {
                for partition in partitions {
                    if method == "assigned" {
                        let offset = stored.lock().unwrap()[&partition];
                        consumer.seek(&partition, offset)?;
                        assert_eq!(consumer.position(&partition).await?, offset);
                    } else {
                        let position = consumer.position(&partition).await?;
                        stored.lock().unwrap().insert(partition, position);
                    }
                }
                Ok(())
            }
        },
    };
    let build = |told: &Told| {
        let listener = store(Arc::clone(&stored), told.clone());
        setup.member().enable_auto_commit(false).rebalance_listener(listener).build().unwrap()
    };
    let told = Told::default();
    let mut first = build(&told);
    let mut seen = join_alone(&mut first, 2).await;
    while seen.count() < 10 {
        seen.take(&next(&mut first).await);
    }
    assert_eq!((&seen.0[&0], &seen.0[&1]), (&(3..10).collect(), &(7..10).collect()));
    let mut second = build(&told);
    second.subscribe([TOPIC]).unwrap();
    poll_until(&mut [&mut first, &mut second], &mut seen, |members| is_shared(members, 2)).await;
    setup.append(0, 1).await;
    setup.append(1, 1).await;
    poll_until(&mut [&mut first, &mut second], &mut Seen::default(), |_| {
        let seen = stored.lock().unwrap();
        seen.values().all(|offset| *offset == 10)
    })
    .await;
    first.close().await.unwrap();
    second.close().await.unwrap();
    assert_eq!(setup.requests(ApiKey::OffsetCommit), 0);
}

#[tokio::test(start_paused = true)]
async fn a_listener_may_commit_and_look_up_whatever_it_wants() {
    for member in [Setup::member, Setup::cooperative_member] {
        let setup = Setup::start(1, 2).await;
        for index in 0..2 {
            setup.append(index, 10).await;
        }
        let told = Told::default();
        let listener = Doing {
            told: told.clone(),
            action: |method, partitions: BTreeSet<TopicPartition>, consumer: ConsumerHandle| async move {
                for partition in partitions.clone() {
                    consumer.position(&partition).await?;
                    let committed = consumer.committed([partition.clone()]).await?;
                    consumer.end_offsets([partition.clone()]).await?;
                    assert!(consumer.assignment().contains(&partition), "still ours in {method}");
                    if method == "revoked" {
                        assert!(committed[&partition].is_some(), "the automatic commit comes first");
                        let note = OffsetAndMetadata::new(consumer.position(&partition).await?).metadata(method);
                        consumer.commit_sync_offsets([(partition, note)]).await?;
                    }
                }
                if method == "revoked" {
                    consumer.commit_sync().await?;
                }
                Ok(())
            },
        };
        let mut first = member(&setup).rebalance_listener(listener).build().unwrap();
        let mut seen = join_alone(&mut first, 2).await;
        while seen.count() < 20 {
            seen.take(&next(&mut first).await);
        }
        let mut second = member(&setup).build().unwrap();
        second.subscribe([TOPIC]).unwrap();
        poll_until(&mut [&mut first, &mut second], &mut seen, |members| is_shared(members, 2)).await;
        let revoked = told.take().into_iter().filter(|(method, ..)| *method == "revoked").collect::<Vec<_>>();
        assert_eq!(revoked.len(), 1);
        seen.assert_complete(2, 10);
    }
}

/// Takes its time in one method.
#[derive(Clone)]
struct Slow {
    method: &'static str,
    takes: Duration,
    /// The calls that have ended.
    told: Told,
    /// How many have begun.
    calls: Arc<Mutex<u32>>,
}

impl Slow {
    fn new(method: &'static str, takes: Duration) -> Self {
        Self { method, takes, told: Told::default(), calls: Arc::default() }
    }

    fn calls(&self) -> u32 {
        *self.calls.lock().unwrap()
    }

    async fn call(&self, method: &'static str, change: AssignmentChange) -> ListenerResult {
        *self.calls.lock().unwrap() += 1;
        if method == self.method {
            tokio::time::sleep(self.takes).await;
        }
        self.told.write(method, &change);
        Ok(())
    }
}

impl RebalanceListener for Slow {
    async fn on_assigned(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.call("assigned", change).await
    }

    async fn on_revoked(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.call("revoked", change).await
    }
}

#[tokio::test(start_paused = true)]
async fn its_future_outlives_the_polls_that_are_dropped() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 3).await;
    let slow = Slow::new("assigned", Duration::from_secs(10));
    let mut consumer = setup.member().rebalance_listener(slow.clone()).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let began = Instant::now();
    while slow.told.count() == 0 {
        let poll = consumer.poll(LONG);
        let polled = tokio::time::timeout(Duration::from_millis(300), poll).await;
        assert!(polled.is_err() || slow.told.count() > 0, "no record before the listener is done: {polled:?}");
        assert!(began.elapsed() < LONG);
    }
    assert_eq!(slow.calls(), 1, "called once, however many polls were dropped");
    assert!(began.elapsed() >= Duration::from_secs(10));
    consumer.seek(&partition(0), 0).unwrap();
    read(&mut consumer, 3).await.assert_complete(1, 3);
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_time_is_up_leaves_it_to_the_next() {
    let setup = Setup::start(1, 1).await;
    let slow = Slow::new("assigned", Duration::from_secs(10));
    let mut consumer = setup.member().rebalance_listener(slow.clone()).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let began = Instant::now();
    while slow.told.count() == 0 {
        let polled_at = Instant::now();
        assert!(consumer.poll(Duration::from_millis(300)).await.unwrap().is_empty());
        assert!(polled_at.elapsed() <= Duration::from_millis(310), "{:?}", polled_at.elapsed());
    }
    assert!(began.elapsed() < Duration::from_secs(11) && slow.calls() == 1);
}

#[tokio::test(start_paused = true)]
async fn close_runs_it_out_within_its_time() {
    for (close_within, is_enough) in [(Duration::from_secs(20), true), (Duration::from_secs(5), false)] {
        let setup = Setup::start(1, 1).await;
        setup.append(0, 3).await;
        let slow = Slow::new("revoked", Duration::from_secs(10));
        let mut consumer = setup.member().rebalance_listener(slow.clone()).build().unwrap();
        subscribe_and_read(&mut consumer, 3).await;
        slow.told.take();
        let began = Instant::now();
        let closed = consumer.close_within(close_within).await;
        if is_enough {
            closed.unwrap();
            assert_eq!(slow.told.take(), [("revoked", vec![0], vec![])]);
            assert!(began.elapsed() < Duration::from_secs(11));
            assert!(setup.group().await.members.is_empty());
        } else {
            let error = closed.unwrap_err();
            assert_eq!(error.to_string(), "closing the consumer took longer than 5s");
            assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
            assert_eq!(slow.told.take(), []);
        }
        assert_eq!(setup.committed(0).await, Some(3), "the commit comes before the listener");
    }
}

#[tokio::test(start_paused = true)]
async fn close_finishes_what_a_dropped_poll_began() {
    let setup = Setup::start(1, 2).await;
    let slow = Slow::new("revoked", Duration::from_secs(3));
    let mut first = setup.member().rebalance_listener(slow.clone()).build().unwrap();
    join_alone(&mut first, 2).await;
    slow.told.take();
    let second = setup.member().build().unwrap();
    second.subscribe([TOPIC]).unwrap();
    let second = Polled::start(second);
    while slow.calls() == 1 {
        let _: Result<_, _> = tokio::time::timeout(Duration::from_millis(100), first.poll(LONG)).await;
    }
    first.close().await.unwrap();
    assert_eq!(slow.told.take(), [("revoked", vec![0, 1], vec![])], "once: there is nothing left to revoke");
    eventually(async || owned(&second.handle).len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn its_error_is_told_once_and_the_rebalance_goes_on() {
    for method in ["assigned", "revoked"] {
        let setup = Setup::start(1, 2).await;
        for index in 0..2 {
            setup.append(index, 3).await;
        }
        let listener = Doing {
            told: Told::default(),
            action: move |called, _: BTreeSet<TopicPartition>, _: ConsumerHandle| async move {
                if called == method { Err("no room for it".into()) } else { Ok(()) }
            },
        };
        let mut consumer = setup.member().rebalance_listener(listener).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        let (mut seen, mut errors) = (Seen::default(), Vec::new());
        let mut second = setup.member().build().unwrap();
        while seen.count() < 6 || !is_shared(&[&mut consumer, &mut second], 2) {
            match consumer.poll(Duration::from_millis(50)).await {
                Ok(batches) => seen.take(&batches),
                Err(error) => errors.push(error),
            }
            if seen.count() >= 6 {
                second.subscribe([TOPIC]).unwrap();
                seen.take(&second.poll(Duration::from_millis(50)).await.unwrap());
            }
        }
        // One assignment alone, one together with `second`; one revocation.
        assert_eq!(errors.len(), if method == "assigned" { 2 } else { 1 });
        for error in errors {
            assert!(!error.is_fatal());
            let source = std::error::Error::source(&error).unwrap().to_string();
            let text = format!("the rebalance listener's on_{method} failed");
            assert_eq!((error.to_string(), source), (text, "no room for it".to_owned()));
        }
        seen.assert_complete(2, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_poll_in_time_loses_its_partitions_and_is_told_when_it_comes_back() {
    let setup = Setup::start(1, 2).await;
    for index in 0..2 {
        setup.append(index, 5).await;
    }
    let told = Told::default();
    let max_poll_interval = Duration::from_secs(10);
    let mut consumer =
        setup.member().max_poll_interval(max_poll_interval).rebalance_listener(told.clone()).build().unwrap();
    let mut seen = join_alone(&mut consumer, 2).await;
    while seen.count() < 10 {
        seen.take(&next(&mut consumer).await);
    }
    consumer.commit_sync().await.unwrap();
    told.take();

    // A poll may last as long as it likes.
    assert!(consumer.poll(3 * max_poll_interval).await.unwrap().is_empty());
    assert_eq!(setup.group().await.members.len(), 1);
    tokio::time::sleep(max_poll_interval.saturating_sub(Duration::from_millis(1))).await;
    assert_eq!(setup.group().await.members.len(), 1, "not yet");
    assert!(consumer.group_metadata().is_some());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(setup.group().await.members.len(), 0, "it has left by itself");
    assert_eq!((consumer.group_metadata(), setup.requests(ApiKey::LeaveGroup)), (None, 1));
    assert_eq!(told.take(), [], "nobody is there to be told");
    let error = consumer.commit_sync().await.unwrap_err();
    assert!(matches!(error, Error::Group(ottla_consumer::GroupError::CommitFailed { .. })), "{error}");

    let joins = setup.requests(ApiKey::JoinGroup);
    setup.append(0, 1).await;
    while seen.count() < 11 {
        seen.take(&next(&mut consumer).await);
    }
    seen.assert_complete(1, 6);
    assert_eq!(told.take(), [("lost", vec![0, 1], vec![]), ("assigned", vec![0, 1], vec![0, 1])]);
    assert!(setup.requests(ApiKey::JoinGroup) > joins);
}

#[tokio::test(start_paused = true)]
async fn a_lost_partition_is_not_committed_by_whoever_lost_it() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 10).await;
    let max_poll_interval = Duration::from_secs(10);
    let mut consumer = setup.member().max_poll_interval(max_poll_interval).build().unwrap();
    subscribe_and_read(&mut consumer, 10).await;
    tokio::time::sleep(2 * max_poll_interval).await;

    let policy = AutoOffsetReset::Earliest;
    let mut second = setup.member().auto_offset_reset(policy).max_poll_bytes(1).build().unwrap();
    let seen = subscribe_and_read(&mut second, 10).await;
    consumer.poll(Duration::from_millis(20)).await.unwrap();
    consumer.close().await.unwrap();
    assert_eq!(setup.committed(0).await, None, "what it was at when it was lost was not committed");
    seen.assert_complete(1, 10);
}
