//! Every public future of a consumer is dropped after its 0th, 1st, 2nd .. last poll; then life goes on. Nothing is lost,
//! nothing comes twice that was committed, nothing hangs.

mod calls;
mod closing;
mod setup;
mod streams;

use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla::Consumer;
use protocol_tests::simulation::dropping::drop_after;

use self::setup::{Careful, LONG, PARTITIONS, RECORDS, Seen, Setup, TOPIC, at_each_poll, in_time, read};

/// Another member, polled in a task of its own until it is told to close.
struct Other {
    close: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Other {
    fn start(mut consumer: Consumer, seen: Seen) -> Self {
        let (close, mut closed) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    _ = &mut closed => return consumer.close().await.unwrap(),
                    batches = consumer.poll(LONG) => batches.unwrap().iter().for_each(|batch| seen.batch(batch)),
                }
            }
        });
        Self { close, task }
    }

    async fn close(self) {
        self.close.send(()).unwrap();
        in_time("the other member", self.task).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_polls_lose_nothing_while_members_come_and_go() {
    for assignors in [&["range"][..], &["cooperative-sticky"]] {
        // The longest poll that is dropped in the middle: joining takes so many.
        for polls in 0..25 {
            polls_are_dropped(polls, assignors).await;
        }
    }
}

async fn polls_are_dropped(polls: u32, assignors: &[&str]) {
    let (setup, seen, listener) = (Setup::start().await, Seen::default(), Careful::default());
    let member = |seed| {
        let assignors = assignors.iter().map(|name| ottla::consumer::assignor::built_in(name).unwrap());
        setup.member(seed).partition_assignment_strategy(assignors)
    };
    let mut consumer = member(2).rebalance_listener(listener.clone()).build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let mut other = None;
    let reading = async {
        while !seen.is_complete() {
            let dropped = drop_after(polls, consumer.poll(LONG)).await;
            if let Some(batches) = dropped {
                batches.unwrap().iter().for_each(|batch| seen.batch(batch));
            }
            let whole = consumer.poll(Duration::from_millis(100)).await.unwrap();
            whole.iter().for_each(|batch| seen.batch(batch));
            match seen.count() {
                10.. if other.is_none() => {
                    let consumer = member(3).build().unwrap();
                    consumer.subscribe([TOPIC]).unwrap();
                    other = Some(Other::start(consumer, seen.clone()));
                }
                _ => {}
            }
        }
    };
    in_time("reading", reading).await;
    if let Some(other) = other {
        other.close().await;
    }
    in_time("close", consumer.close()).await.unwrap();
    listener.assert_whole();
    setup.assert_all_is_committed().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_unsubscribes_and_does_not_wait_has_unsubscribed_with_the_next_poll() {
    at_each_poll(3, async |polls| {
        let (setup, seen, listener) = (Setup::start().await, Seen::default(), Careful::default());
        let mut consumer = setup.member(2).rebalance_listener(listener.clone()).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        read(&mut consumer, &seen, RECORDS).await;
        let ended = drop_after(polls, consumer.unsubscribe()).await;
        if polls > 0 {
            assert!(consumer.poll(Duration::from_secs(10)).await.unwrap().is_empty());
            assert_eq!((consumer.assignment().len(), consumer.subscription().len()), (0, 0));
            assert_eq!(listener.revoked.load(Ordering::Relaxed), 1);
            let committed = setup.committed().await;
            assert!((0..PARTITIONS).all(|partition| committed[&partition] == seen.next(partition)));
            consumer.subscribe([TOPIC]).unwrap();
        }
        read(&mut consumer, &seen, i64::from(PARTITIONS) * RECORDS).await;
        in_time("close", consumer.close()).await.unwrap();
        listener.assert_whole();
        setup.assert_all_is_committed().await;
        ended.is_some()
    })
    .await;
}
