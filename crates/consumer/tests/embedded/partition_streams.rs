//! A stream for each partition and assignment: how it ends, what it may still do then, and whom a slow reader delays.

use std::time::Duration;

use ottla_broker::Fault;
use ottla_consumer::{Batch, ConsumerBuilder, ConsumerHandle, Error, PartitionStream};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::group::{HEARTBEAT, eventually, owned, polled};
use crate::setup::{LONG, Seen, Setup, TOPIC, partition, value};

const DRAIN: Duration = Duration::from_secs(10);

/// The streams of a member, opened by a task that keeps the member going.
struct Streams {
    handle: ConsumerHandle,
    opened: mpsc::UnboundedReceiver<PartitionStream>,
    close: oneshot::Sender<Duration>,
    task: JoinHandle<Result<(), Error>>,
}

impl Streams {
    fn start(member: ConsumerBuilder) -> Self {
        let consumer = member.partition_drain_timeout(DRAIN).build().unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        let (handle, mut streams) = (consumer.handle(), consumer.into_partition_streams());
        let (open, opened) = mpsc::unbounded_channel();
        let (close, mut closed) = oneshot::channel();
        let task = tokio::spawn(async move {
            let timeout = loop {
                tokio::select! {
                    biased;
                    timeout = &mut closed => break timeout.unwrap(),
                    stream = streams.next() => {
                        // The test may have seen enough of them.
                        let _: Result<_, _> = open.send(stream?);
                    }
                }
            };
            streams.close_within(timeout).await
        });
        Self { handle, opened, close, task }
    }

    /// So many streams, in the order of their partitions.
    async fn open(&mut self, count: usize) -> Vec<PartitionStream> {
        let mut streams = Vec::new();
        while streams.len() < count {
            streams.push(tokio::time::timeout(LONG, self.opened.recv()).await.unwrap().unwrap());
        }
        streams.sort_by_key(|stream| stream.topic_partition().partition);
        streams
    }

    async fn close_within(self, timeout: Duration) -> Result<(), Error> {
        self.close.send(timeout).unwrap();
        self.task.await.unwrap()
    }
}

async fn next(stream: &mut PartitionStream) -> Batch {
    let batch = tokio::time::timeout(LONG, stream.next()).await.unwrap();
    batch.expect("the stream goes on").unwrap()
}

/// Goes through a batch; gives its offsets.
fn look_at(batch: &Batch) -> Vec<i64> {
    let offset = |record: Result<ottla_consumer::Record<'_>, _>| {
        let record = record.unwrap();
        assert_eq!(record.value(), Some(value(batch.partition(), record.offset()).as_bytes()));
        record.offset()
    };
    batch.records().map(offset).collect()
}

async fn has_ended(stream: &mut PartitionStream) -> bool {
    tokio::time::timeout(LONG, stream.next()).await.unwrap().is_none()
}

/// Three batches of ten records in each partition.
async fn setup(partitions: i32) -> Setup {
    let setup = Setup::start(1, partitions).await;
    for index in 0..partitions {
        for _ in 0..3 {
            setup.append(index, 10).await;
        }
    }
    setup
}

#[tokio::test(start_paused = true)]
async fn each_has_the_batches_of_its_partition_in_order() {
    let setup = setup(3).await;
    let mut streams = Streams::start(setup.member());
    for mut stream in streams.open(3).await {
        let mut offsets = Vec::new();
        while offsets.len() < 30 {
            offsets.extend(look_at(&next(&mut stream).await));
        }
        assert_eq!(offsets, (0..30).collect::<Vec<_>>());
        assert_eq!(stream.completed(), Some(20), "the last one has not been come back from");
        stream.come_back();
        assert_eq!(stream.completed(), Some(30));
        stream.commit_sync().await.unwrap();
        assert_eq!(setup.committed(stream.topic_partition().partition).await, Some(30));
    }
    streams.close_within(DRAIN).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_revocation_ends_the_stream_and_waits_until_it_is_dropped() {
    let setup = setup(2).await;
    let mut streams = Streams::start(setup.cooperative_member());
    let mut open = streams.open(2).await;
    for stream in &mut open {
        next(stream).await;
        next(stream).await;
    }
    let other = polled(setup.cooperative_member());
    eventually(async || open.iter().any(PartitionStream::has_ended)).await;
    let given = usize::from(open[1].has_ended());
    let mut ending = open.remove(given);
    let mut kept = open.pop().unwrap();
    tokio::time::sleep(DRAIN / 2).await;
    assert!(owned(&other.handle).is_empty(), "its reader is at a batch");
    assert!(!kept.has_ended());

    assert!(has_ended(&mut ending).await);
    assert_eq!(ending.completed(), Some(20));
    ending.commit_sync().await.expect("until it is dropped the partition is this member's");
    assert_eq!(setup.committed(given as i32).await, Some(20));
    let began = Instant::now();
    drop(ending);
    eventually(async || owned(&other.handle) == [given as i32]).await;
    assert!(began.elapsed() <= 2 * HEARTBEAT, "{:?}", began.elapsed());
    eventually(async || other.count() == 10).await;
    let (other, seen) = other.stop().await;
    assert_eq!(seen.0[&(given as i32)], (20..30).collect::<Vec<_>>());
    assert_eq!(look_at(&next(&mut kept).await), (20..30).collect::<Vec<_>>());

    other.close().await.unwrap();
    let mut again = streams.open(1).await.pop().unwrap();
    assert_eq!(again.topic_partition(), &partition(given as i32), "another assignment, another stream");
    setup.append(given as i32, 1).await;
    assert_eq!(look_at(&next(&mut again).await), [30]);
}

#[tokio::test(start_paused = true)]
async fn the_automatic_commit_of_a_revocation_comes_after_the_reader_is_done() {
    let setup = setup(2).await;
    let mut streams = Streams::start(setup.cooperative_member().auto_commit_interval(Duration::from_hours(1)));
    let mut open = streams.open(2).await;
    for stream in &mut open {
        next(stream).await;
    }
    let other = polled(setup.cooperative_member());
    eventually(async || open.iter().any(PartitionStream::has_ended)).await;
    let given = usize::from(open[1].has_ended());
    let mut ending = open.remove(given);
    assert!(setup.committed(given as i32).await.is_none_or(|offset| offset == 0));
    ending.come_back();
    drop(ending);
    eventually(async || other.count() == 20).await;
    let (_, seen) = other.stop().await;
    assert_eq!(seen.0[&(given as i32)], (10..30).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_end_is_waited_for_no_longer_than_the_drain_timeout() {
    let setup = setup(2).await;
    let mut streams = Streams::start(setup.cooperative_member());
    let mut open = streams.open(2).await;
    for stream in &mut open {
        next(stream).await;
        next(stream).await;
    }
    let other = polled(setup.cooperative_member());
    eventually(async || open.iter().any(PartitionStream::has_ended)).await;
    let began = Instant::now();
    eventually(async || !owned(&other.handle).is_empty()).await;
    let took = began.elapsed();
    assert!(took + HEARTBEAT >= DRAIN && took <= DRAIN + 2 * HEARTBEAT, "{took:?}");
    let given = usize::from(open[1].has_ended());
    let stuck = &mut open[given];
    let error = stuck.commit_sync().await.unwrap_err();
    assert!(matches!(&error, Error::StreamEnded { .. }), "{error}");
    assert_eq!(error.to_string(), format!("topic-{given} is no longer assigned to this stream"));
    let committed = setup.committed(given as i32).await;
    stuck.come_back();
    assert!(has_ended(stuck).await);
    assert_eq!(stuck.completed(), None);
    assert!(matches!(stuck.commit_async(), Err(Error::StreamEnded { .. })));
    assert_eq!(committed, Some(10), "what it had come back from");
    eventually(async || other.count() == 20).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_delays_no_other() {
    let setup = Setup::start(1, 2).await;
    for _ in 0..400 {
        setup.append(0, 1).await;
        setup.append(1, 1).await;
    }
    let mut streams = Streams::start(setup.member());
    let mut open = streams.open(2).await;
    let [slow, fast] = &mut open[..] else { panic!() };
    let first = next(slow).await;
    let began = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < 400 {
        seen.extend(look_at(&next(fast).await));
    }
    assert_eq!(seen, (0..400).collect::<Vec<_>>());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(streams.handle.paused().is_empty(), "that is not the application's pause");
    let mut seen = look_at(&first);
    while seen.len() < 400 {
        seen.extend(look_at(&next(slow).await));
    }
    assert_eq!(seen, (0..400).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_stuck_is_found_out() {
    let setup = setup(2).await;
    let max_poll_interval = Duration::from_secs(30);
    let mut streams = Streams::start(setup.member().max_poll_interval(max_poll_interval));
    let mut open = streams.open(2).await;
    let mut busy = open.pop().unwrap();
    let mut stuck = open.pop().unwrap();
    let _held = next(&mut stuck).await;
    let since = Instant::now();
    let left = setup.requests(ApiKey::LeaveGroup);
    // The other reader is at work all the time.
    while let Some(batch) = tokio::time::timeout(LONG, busy.next()).await.unwrap() {
        look_at(&batch.unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
        setup.append(1, 1).await;
    }
    let took = since.elapsed();
    assert!(took >= max_poll_interval && took <= max_poll_interval + HEARTBEAT, "{took:?}");
    assert!(stuck.has_ended());
    eventually(async || setup.requests(ApiKey::LeaveGroup) == left + 1).await;
    assert!(matches!(stuck.commit_sync().await, Err(Error::StreamEnded { .. })));
    let mut again = streams.open(2).await;
    assert_eq!(look_at(&next(&mut again[0]).await)[0], 0, "nothing of it was committed");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_stops_its_partition_and_commits_nothing_more() {
    let setup = setup(2).await;
    let mut streams = Streams::start(setup.member().auto_commit_interval(Duration::from_secs(1)));
    let mut open = streams.open(2).await;
    let mut dropped = open.remove(0);
    next(&mut dropped).await;
    next(&mut dropped).await;
    drop(dropped);
    let mut kept = open.pop().unwrap();
    for _ in 0..3 {
        look_at(&next(&mut kept).await);
    }
    kept.come_back();
    setup.append(1, 5).await;
    look_at(&next(&mut kept).await);
    kept.come_back();
    setup.until_committed(1, 35).await;
    assert_eq!(setup.committed(0).await, Some(10), "the batch that its reader was at when it was dropped");
    drop(kept);
    streams.close_within(DRAIN).await.unwrap();
    assert_eq!((setup.committed(0).await, setup.committed(1).await), (Some(10), Some(35)));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_partition_goes_to_its_stream() {
    let setup = setup(2).await;
    let denied = Fault::error(ErrorCode::TopicAuthorizationFailed).on_api(ApiKey::Fetch).on_partition(TOPIC, 0);
    let denied = setup.embedded.faults().inject(denied.always());
    let mut streams = Streams::start(setup.member());
    let mut open = streams.open(2).await;
    for _ in 0..3 {
        let error = tokio::time::timeout(LONG, open[0].next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.error_code(), Some(ErrorCode::TopicAuthorizationFailed), "{error}");
        assert_eq!(error.partition(), Some(&partition(0)));
    }
    look_at(&next(&mut open[1]).await);
    setup.embedded.faults().withdraw(denied);
    let mut seen = Seen::default();
    while seen.count() < 30 {
        match tokio::time::timeout(LONG, open[0].next()).await.unwrap().unwrap() {
            Ok(batch) => seen.0.entry(0).or_default().extend(look_at(&batch)),
            Err(error) => assert_eq!(error.error_code(), Some(ErrorCode::TopicAuthorizationFailed)),
        }
    }
    seen.assert_complete(1, 30);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_the_streams_waits_for_their_readers_and_commits() {
    for is_prompt in [true, false] {
        let setup = setup(1).await;
        let mut streams = Streams::start(setup.member());
        let mut stream = streams.open(1).await.pop().unwrap();
        next(&mut stream).await;
        next(&mut stream).await;
        next(&mut stream).await;
        let reader = tokio::spawn(async move {
            while !stream.has_ended() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // It goes on with what it is at.
            tokio::time::sleep(if is_prompt { Duration::from_secs(3) } else { LONG }).await;
            assert!(stream.next().await.is_none());
        });
        let began = Instant::now();
        let closed = streams.close_within(Duration::from_secs(5)).await;
        if is_prompt {
            closed.unwrap();
            reader.await.unwrap();
            assert!(began.elapsed() >= Duration::from_secs(3));
            assert_eq!(setup.committed(0).await, Some(30));
            assert!(setup.group().await.members.is_empty());
        } else {
            assert!(matches!(closed, Err(Error::CloseTimedOut { .. })), "{closed:?}");
            assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
            reader.abort();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_consumer_ends_the_streams() {
    let setup = setup(1).await;
    let mut streams = Streams::start(setup.member());
    let mut stream = streams.open(1).await.pop().unwrap();
    next(&mut stream).await;
    streams.task.abort();
    assert!(streams.task.await.unwrap_err().is_cancelled());
    assert!(has_ended(&mut stream).await);
    assert!(matches!(stream.commit_sync().await, Err(Error::StreamEnded { .. })));
    assert_eq!(setup.commits(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_there_as_soon_as_its_partition_is_assigned() {
    let setup = Setup::start(1, 2).await;
    let mut streams = Streams::start(setup.member());
    let began = Instant::now();
    streams.open(2).await;
    assert!(began.elapsed() < Duration::from_secs(1), "without a record: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_of_before_a_seek_comes_after_it() {
    let setup = Setup::start(1, 1).await;
    for _ in 0..10 {
        setup.append(0, 10).await;
    }
    let mut streams = Streams::start(setup.member());
    let mut stream = streams.open(1).await.pop().unwrap();
    assert_eq!(next(&mut stream).await.start_offset(), 0);
    streams.handle.seek(&partition(0), 55).unwrap();
    assert_eq!(next(&mut stream).await.start_offset(), 55);
    assert_eq!(stream.completed(), Some(55), "what was done before the seek does not count");
}

#[tokio::test(start_paused = true)]
async fn committed_offsets_that_are_refused_are_asked_for_with_back_off() {
    let setup = setup(2).await;
    let denied = Fault::error(ErrorCode::TopicAuthorizationFailed).on_api(ApiKey::OffsetFetch).on_partition(TOPIC, 0);
    setup.embedded.faults().inject(denied.always());
    let mut streams = Streams::start(setup.member());
    let mut open = streams.open(2).await;
    for _ in 0..5 {
        let error = tokio::time::timeout(LONG, open[0].next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.error_code(), Some(ErrorCode::TopicAuthorizationFailed), "{error}");
    }
    let asked = setup.requests(ApiKey::OffsetFetch);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(setup.requests(ApiKey::OffsetFetch) - asked < 120, "about one a second");
}

/// Readers that commit each batch, while others are behind and their partitions are paused and resumed, on threads.
#[test]
fn readers_that_commit_and_readers_that_fall_behind_do_not_block_one_another() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let read_all = async {
        let setup = Setup::start(1, 4).await;
        for index in 0..4 {
            for _ in 0..500 {
                setup.append(index, 1).await;
            }
        }
        let mut streams = Streams::start(setup.member());
        let readers = streams.open(4).await.into_iter().map(|mut stream| {
            tokio::spawn(async move {
                let mut count = 0;
                while count < 500 {
                    count += stream.next().await.unwrap().unwrap().records().count();
                    stream.come_back();
                    drop(stream.commit_async().unwrap());
                }
                stream
            })
        });
        for reader in readers.collect::<Vec<_>>() {
            reader.await.unwrap().commit_sync().await.unwrap();
        }
        for index in 0..4 {
            assert_eq!(setup.committed(index).await, Some(500));
        }
    };
    let read = runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), read_all).await });
    // Whoever is blocked is not waited for.
    runtime.shutdown_background();
    read.expect("nobody is blocked");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_stuck_is_found_out_also_where_nothing_else_comes() {
    let setup = Setup::start(1, 1).await;
    setup.append(0, 1).await;
    let interval = Duration::from_secs(30);
    let mut streams = Streams::start(setup.member().max_poll_interval(interval));
    let mut stream = streams.open(1).await.pop().unwrap();
    next(&mut stream).await;
    let began = Instant::now();
    eventually(async || stream.has_ended()).await;
    assert!(began.elapsed() <= interval + Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(matches!(streams.handle.next_error().await.unwrap().error, Error::MembershipLost { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_is_assigned_at_another_offset_comes_from_there() {
    let setup = setup(1).await;
    let consumer = setup.consumer().build().unwrap();
    consumer.assign([partition(0)]).unwrap();
    let handle = consumer.handle();
    let mut streams = consumer.into_partition_streams();
    let mut stream = streams.next().await.unwrap();
    let driver = tokio::spawn(async move { streams.next().await.map(|_| ()) });
    assert_eq!(next(&mut stream).await.start_offset(), 0);
    handle.assign_at([(partition(0), ottla_consumer::StartAt::Offset(25))]).unwrap();
    assert_eq!(next(&mut stream).await.start_offset(), 25);
    driver.abort();
}
