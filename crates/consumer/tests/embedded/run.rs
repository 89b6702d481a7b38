//! The loop that most applications want: a handler for each partition, until it is cancelled or one fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_consumer::{ConsumerBuilder, Error, HandlerResult, PartitionStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::group::{Polled, SESSION, eventually, owned};
use crate::setup::{LONG, Setup, TOPIC};

/// The offsets behind what the handlers have read, and how many handlers have begun and ended.
#[derive(Clone, Debug, Default)]
struct Work(Arc<Mutex<Done>>);

#[derive(Clone, Debug, Default)]
struct Done {
    read: BTreeMap<i32, i64>,
    begun: usize,
    ended: usize,
}

impl Work {
    fn done(&self) -> Done {
        self.0.lock().unwrap().clone()
    }

    /// A handler that reads to the end.
    async fn read(self, mut partition: PartitionStream) -> HandlerResult {
        self.0.lock().unwrap().begun += 1;
        while let Some(batch) = partition.next().await {
            let batch = batch?;
            for record in batch.records() {
                record?;
            }
            self.0.lock().unwrap().read.insert(batch.partition(), batch.next_offset());
        }
        self.0.lock().unwrap().ended += 1;
        Ok(())
    }
}

/// A run of a handler, and what cancels it.
fn start<F>(
    member: ConsumerBuilder,
    handler: impl Fn(PartitionStream) -> F + Send + 'static,
) -> (oneshot::Sender<()>, JoinHandle<Result<(), Error>>)
where
    F: Future<Output = HandlerResult> + Send + 'static,
{
    let consumer = member.build().unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let (cancel, cancelled) = oneshot::channel::<()>();
    let cancelled = async move {
        // A sender that is gone cancels nothing.
        if cancelled.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    // A future that is not Send in a task of its own.
    let task = tokio::spawn(async move { consumer.run(cancelled, handler).await });
    (cancel, task)
}

async fn setup(partitions: i32) -> Setup {
    let setup = Setup::start(1, partitions).await;
    for index in 0..partitions {
        setup.append(index, 10).await;
    }
    setup
}

#[tokio::test(start_paused = true)]
async fn cancelled_it_ends_the_handlers_commits_leaves_and_closes() {
    let setup = setup(3).await;
    let (work, member) = (Work::default(), setup.member().auto_commit_interval(Duration::from_hours(1)));
    let reading = work.clone();
    let (cancel, task) = start(member, move |partition| reading.clone().read(partition));
    eventually(async || work.done().read == [(0, 10), (1, 10), (2, 10)].into()).await;
    assert_eq!(setup.commits(), 0);
    let began = Instant::now();
    cancel.send(()).unwrap();
    task.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((work.done().begun, work.done().ended), (3, 3));
    for index in 0..3 {
        assert_eq!(setup.committed(index).await, Some(10));
    }
    assert!(setup.group().await.members.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handler_begins_and_ends_with_its_partitions_assignment() {
    let setup = setup(2).await;
    let work = Work::default();
    let reading = work.clone();
    let (cancel, task) = start(setup.cooperative_member(), move |partition| reading.clone().read(partition));
    eventually(async || work.done().begun == 2).await;
    let other = setup.cooperative_member().build().unwrap();
    other.subscribe([TOPIC]).unwrap();
    let other = Polled::start(other);
    eventually(async || owned(&other.handle).len() == 1).await;
    assert_eq!((work.done().begun, work.done().ended), (2, 1));
    let (other, _) = other.stop().await;
    other.close().await.unwrap();
    eventually(async || work.done().begun == 3).await;
    cancel.send(()).unwrap();
    task.await.unwrap().unwrap();
    assert_eq!(work.done().ended, 3);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_ends_it_and_the_others_work_is_committed() {
    let setup = setup(3).await;
    let work = Work::default();
    let reading = work.clone();
    let member = setup.member().auto_commit_interval(Duration::from_hours(1));
    let (_cancel, task) = start(member, move |mut partition| {
        let reading = reading.clone();
        async move {
            if partition.topic_partition().partition != 1 {
                return reading.read(partition).await;
            }
            partition.next().await;
            while reading.done().read.len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err("the disk is full".into())
        }
    });
    let error = task.await.unwrap().unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!((error.to_string(), source), ("the handler of topic-1 failed".into(), "the disk is full".into()));
    assert_eq!(error.partition().map(|partition| partition.partition), Some(1));
    assert_eq!(work.done().ended, 2);
    assert_eq!((setup.committed(0).await, setup.committed(2).await), (Some(10), Some(10)));
    assert!(setup.committed(1).await.is_none_or(|offset| offset == 0), "it did not come back from its batch");
    assert!(setup.group().await.members.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_panics_there() {
    let setup = setup(1).await;
    let (_cancel, task) = start(setup.member(), |mut partition| async move {
        partition.next().await;
        panic!("out of its depth")
    });
    let panic = task.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"out of its depth"));
    assert!(setup.committed(0).await.is_none_or(|offset| offset == 0));
    tokio::time::sleep(2 * SESSION).await;
    assert!(setup.group().await.members.is_empty(), "nobody sends heartbeats any more");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_end_is_given_up_on_and_the_rest_goes_its_way() {
    for drain in [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(90)] {
        let setup = setup(2).await;
        let work = Work::default();
        let reading = work.clone();
        let member = setup.member().auto_commit_interval(Duration::from_hours(1)).partition_drain_timeout(drain);
        let (cancel, task) = start(member, move |mut partition| {
            let reading = reading.clone();
            async move {
                if partition.topic_partition().partition == 0 {
                    return reading.read(partition).await;
                }
                partition.next().await;
                std::future::pending().await
            }
        });
        eventually(async || work.done().read == [(0, 10)].into()).await;
        let began = Instant::now();
        cancel.send(()).unwrap();
        task.await.unwrap().unwrap();
        assert!(began.elapsed() >= drain && began.elapsed() < drain + Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(setup.committed(0).await, Some(10), "the others' work is committed");
        assert!(setup.group().await.members.is_empty(), "and the group is left");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_does_after_its_stream_is_waited_for_and_its_failure_told() {
    for is_failing in [false, true] {
        let setup = setup(1).await;
        let cleaned_up = Arc::<Mutex<bool>>::default();
        let (cleaning_up, begun) = (Arc::clone(&cleaned_up), Arc::<Mutex<bool>>::default());
        let beginning = Arc::clone(&begun);
        let (cancel, task) = start(setup.member(), move |mut partition| {
            let (cleaning_up, beginning) = (Arc::clone(&cleaning_up), Arc::clone(&beginning));
            async move {
                while partition.next().await.is_some() {
                    *beginning.lock().unwrap() = true;
                }
                drop(partition);
                tokio::time::sleep(Duration::from_secs(3)).await;
                *cleaning_up.lock().unwrap() = true;
                if is_failing { Err("the file could not be closed".into()) } else { Ok(()) }
            }
        });
        eventually(async || *begun.lock().unwrap()).await;
        cancel.send(()).unwrap();
        let ran = task.await.unwrap();
        assert!(*cleaned_up.lock().unwrap(), "it was cut short");
        assert_eq!(ran.is_err(), is_failing, "{ran:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_it_aborts_the_handlers() {
    let setup = setup(1).await;
    let (dropped, is_dropped) = oneshot::channel::<()>();
    let (dropped, begun) = (Arc::new(Mutex::new(Some(dropped))), Arc::<Mutex<bool>>::default());
    let beginning = Arc::clone(&begun);
    let (_cancel, task) = start(setup.member(), move |mut partition| {
        let (owned, beginning) = (dropped.lock().unwrap().take(), Arc::clone(&beginning));
        async move {
            let _owned = owned;
            partition.next().await;
            *beginning.lock().unwrap() = true;
            std::future::pending().await
        }
    });
    eventually(async || *begun.lock().unwrap()).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(tokio::time::timeout(LONG, is_dropped).await.unwrap().is_err(), "what the handler owned is gone");
    assert_eq!(setup.commits(), 0);
}
