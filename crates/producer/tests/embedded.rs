//! The producer against the embedded cluster, in memory and under paused time: what brokers do to it, and what
//! applications do.
#![allow(clippy::unwrap_used, reason = "what a test needs and does not get has failed the test")]
#![allow(clippy::disallowed_methods, reason = "a runtime cannot be dropped where another one runs, but in a thread")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ottla_broker::{EmbeddedCluster, Fault, Transport};
use ottla_cluster::{Cluster, ClusterConfig};
use ottla_connection::MemoryNetwork;
use ottla_producer::{
    Acks, CloseReport, Delivery, Error, Partitioner, Producer, ProducerBuilder, ProducerRecord, WallClock,
};
use ottla_wire::compression::{Compression, Decompressor};
use ottla_wire::records::RecordBatches;
use ottla_wire::{ApiKey, ErrorCode, NodeId};
use tokio::time::Instant;

const TOPIC: &str = "t";
const SOON: Duration = Duration::from_secs(10);

struct Bench {
    network: MemoryNetwork,
    embedded: EmbeddedCluster,
    cluster: Cluster,
}

impl Bench {
    async fn new(partitions: i32) -> Self {
        let network = MemoryNetwork::default();
        let transport = Transport::Memory(network.clone());
        let embedded = EmbeddedCluster::builder().nodes(3).transport(transport).seed(1).start().await.unwrap();
        if partitions > 0 {
            embedded.create_topic(TOPIC, partitions, 3).await.unwrap();
        }
        let bootstrap = embedded.bootstrap_servers();
        let config = ClusterConfig::new(bootstrap.split(',').map(|address| address.parse().unwrap()));
        let cluster = Cluster::new(config.connector(embedded.connector()).seed(1)).unwrap();
        Self { network, embedded, cluster }
    }

    fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.cluster.clone()).clock(WallClock::new(|| 1_000))
    }

    /// The values of a partition's records, by their offsets.
    async fn values(&self, partition: i32) -> Vec<String> {
        let mut values = Vec::new();
        for bytes in self.embedded.batches(TOPIC, partition).await.unwrap() {
            let batch = RecordBatches::new(bytes).next().unwrap().unwrap();
            let open = batch.open(&mut Decompressor::new(1 << 24)).unwrap();
            for record in open.records() {
                let record = record.unwrap();
                assert_eq!(record.offset(), values.len() as i64);
                values.push(String::from_utf8_lossy(record.value().unwrap_or(b"null")).into_owned());
            }
        }
        values
    }

    fn fault(&self, fault: Fault) {
        self.embedded.faults().inject(fault.on_api(ApiKey::Produce));
    }

    async fn leader(&self, partition: i32) -> NodeId {
        self.embedded.describe_partition(TOPIC, partition).await.unwrap().leader.unwrap()
    }
}

fn record(value: &str) -> ProducerRecord<'_> {
    ProducerRecord::new(TOPIC).partition(0).value(value)
}

async fn enqueue_numbers(producer: &Producer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for number in 0..count {
        deliveries.push(producer.enqueue(record(&number.to_string())).await.unwrap());
    }
    deliveries
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn without_repetitions(mut values: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    values.retain(|value| seen.insert(value.clone()));
    values
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn an_awaited_send_tells_partition_offset_and_timestamp() {
    let bench = Bench::new(3).await;
    let producer = bench.producer().build().unwrap();
    for offset in 0..3 {
        let written = producer.send(ProducerRecord::new(TOPIC).partition(2).value("v")).await.unwrap();
        assert_eq!((written.topic(), written.partition(), written.offset), (TOPIC, 2, Some(offset)));
        assert_eq!(written.timestamp_ms, 1_000);
    }
    let given = producer.send(record("v").timestamp_ms(77)).await.unwrap();
    assert_eq!(given.timestamp_ms, 77);
}

#[tokio::test(start_paused = true)]
async fn every_codec_writes_what_was_sent() {
    let bench = Bench::new(5).await;
    for (partition, compression) in (0..).zip(Compression::ALL) {
        let producer = bench.producer().compression(compression).build().unwrap();
        for number in 0..100 {
            let value = format!("number {number}");
            let record = ProducerRecord::new(TOPIC).partition(partition).value(&value);
            drop(producer.enqueue(record).await.unwrap());
        }
        producer.flush().await.unwrap();
        let expected: Vec<String> = (0..100).map(|number| format!("number {number}")).collect();
        assert_eq!(bench.values(partition).await, expected, "{compression}");
        let batch = bench.embedded.batches(TOPIC, partition).await.unwrap().remove(0);
        assert_eq!(RecordBatches::new(batch).next().unwrap().unwrap().compression(), compression);
    }
}

#[tokio::test(start_paused = true)]
async fn with_acks_0_records_are_written_and_have_no_offset() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().acks(Acks::None).build().unwrap();
    let deliveries = enqueue_numbers(&producer, 10).await;
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap().offset, None);
    }
    // The broker does not say when: look until it has them.
    while bench.values(0).await.len() < 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(bench.values(0).await, numbers(10));
}

#[tokio::test(start_paused = true)]
async fn keys_go_where_java_puts_them() {
    let bench = Bench::new(10).await;
    let producer = bench.producer().build().unwrap();
    for (key, hash) in [("21", -973_932_308), ("foobar", -790_332_482), ("abc", 479_470_107)] {
        let written = producer.send(ProducerRecord::new(TOPIC).key(key).value("v")).await.unwrap();
        assert_eq!(written.partition(), (hash & i32::MAX) % 10, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lingering_batch_is_sent_when_its_time_has_come_and_by_flush_at_once() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().linger(Duration::from_secs(3)).build().unwrap();
    producer.send(record("warm-up")).await.unwrap();

    let start = Instant::now();
    producer.send(record("lingers")).await.unwrap();
    let took = start.elapsed();
    assert!(Duration::from_secs(3) <= took && took < Duration::from_millis(3_100), "{took:?}");

    let start = Instant::now();
    drop(producer.enqueue(record("flushed")).await.unwrap());
    producer.flush().await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    assert_eq!(bench.values(0).await, ["warm-up", "lingers", "flushed"]);
}

#[tokio::test(start_paused = true)]
async fn order_holds_whatever_fails_on_the_way() {
    for seed in 0..8 {
        let bench = Bench::new(1).await;
        let mut random = fastrand::Rng::with_seed(seed);
        let producer = bench.producer().batch_size(200).linger(Duration::from_millis(1)).build().unwrap();
        for _ in 0..12 {
            let fault = match random.u8(0..6) {
                0 => Fault::error(ErrorCode::NotLeaderOrFollower),
                1 => Fault::error(ErrorCode::NotEnoughReplicas),
                2 => Fault::error(ErrorCode::RequestTimedOut).after_handling(),
                3 => Fault::close_connection(),
                4 => Fault::close_connection().after_handling(),
                _ => Fault::delay(Duration::from_millis(random.u64(0..500))),
            };
            bench.fault(fault.skip(random.u32(0..4)));
        }
        let deliveries = enqueue_numbers(&producer, 400).await;
        producer.flush().await.unwrap();
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        assert_eq!(without_repetitions(bench.values(0).await), numbers(400), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_follow_a_leader_that_moves() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().batch_size(300).build().unwrap();
    let mut deliveries = Vec::new();
    for number in 0..300 {
        if number % 50 == 25 {
            let next = NodeId((bench.leader(0).await.0 + 1) % 3);
            bench.embedded.move_leader(TOPIC, 0, next).await.unwrap();
        }
        deliveries.push(producer.enqueue(record(&number.to_string())).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(without_repetitions(bench.values(0).await), numbers(300));
}

/// KIP-951: whoever has just stopped leading says who leads now.
#[tokio::test(start_paused = true)]
async fn the_leader_that_an_answer_names_is_followed_where_metadata_cannot_be_had() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    producer.send(ProducerRecord::new(TOPIC).value("0")).await.unwrap();
    bench.embedded.faults().inject(Fault::black_hole().on_api(ApiKey::Metadata).always());
    for number in 1..5 {
        let next = NodeId((bench.leader(0).await.0 + 1) % 3);
        bench.embedded.move_leader(TOPIC, 0, next).await.unwrap();
        let sent_at = Instant::now();
        producer.send(ProducerRecord::new(TOPIC).value(number.to_string())).await.unwrap();
        assert!(sent_at.elapsed() < Duration::from_secs(2), "{:?}", sent_at.elapsed());
    }
    assert_eq!(bench.values(0).await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_costs_time_and_no_records() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    producer.send(record("0")).await.unwrap();
    bench.embedded.stop_node(bench.leader(0).await).await.unwrap();
    let deliveries = [producer.enqueue(record("1")).await.unwrap(), producer.enqueue(record("2")).await.unwrap()];
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(without_repetitions(bench.values(0).await), numbers(3));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hangs_is_waited_for_until_there_is_another() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    producer.send(record("before")).await.unwrap();
    let hung = bench.leader(0).await;
    // It answers nothing, whatever it is asked: metadata, too.
    bench.embedded.faults().inject(Fault::black_hole().on_node(hung).always());
    let delivery = producer.enqueue(record("meanwhile")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let moved = Instant::now();
    let next = NodeId((hung.0 + 1) % 3);
    bench.embedded.move_leader(TOPIC, 0, next).await.unwrap();
    delivery.await.unwrap();
    assert!(moved.elapsed() < Duration::from_secs(2), "{:?}", moved.elapsed());
    assert_eq!(bench.values(0).await, ["before", "meanwhile"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_gone_is_not_waited_for_once_there_is_another() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    producer.send(record("first")).await.unwrap();
    // At whatever point of its attempts to reach the old leader the producer hears of the new one.
    for round in 0..8 {
        let gone = bench.leader(0).await;
        let address = bench.cluster.metadata().broker(gone).unwrap().address.clone();
        bench.network.refuse(&address, true);
        bench.network.cut(&address);
        let delivery = producer.enqueue(record("meanwhile")).await.unwrap();
        tokio::time::sleep(SOON + Duration::from_millis(150) * round).await;
        bench.embedded.move_leader(TOPIC, 0, NodeId((gone.0 + 1) % 3)).await.unwrap();
        bench.cluster.refresh(ottla_cluster::Topics::named([TOPIC])).await.unwrap();
        let known = Instant::now();
        delivery.await.unwrap();
        assert!(known.elapsed() < Duration::from_millis(50), "round {round}: {:?}", known.elapsed());
        bench.network.refuse(&address, false);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_record_fails_when_its_delivery_timeout_passes_and_says_that_it_may_be_written() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    producer.send(record("warm-up")).await.unwrap();
    bench.fault(Fault::black_hole().always());
    let start = Instant::now();
    let (error, back) = producer.send(record("lost")).await.unwrap_err().into_parts();
    let took = start.elapsed();
    assert!((Duration::from_mins(2)..Duration::from_millis(120_010)).contains(&took), "{took:?}");
    assert!(matches!(error, Error::DeliveryTimedOut { .. }) && error.may_have_been_written(), "{error:?}");
    assert_eq!(back.value_bytes(), Some(&b"lost"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_nobody_reaches_is_no_possible_write() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    producer.send(record("warm-up")).await.unwrap();
    for node in 0..3 {
        bench.embedded.stop_node(NodeId(node)).await.unwrap();
    }
    // One attempt may leave on the connection that is about to be found closed; after it none can.
    let _ = producer.enqueue(record("first")).await.unwrap().await;
    let start = Instant::now();
    let error = producer.enqueue(record("second")).await.unwrap().await.unwrap_err();
    assert!(matches!(error, Error::DeliveryTimedOut { .. }) && !error.may_have_been_written(), "{error:?}");
    assert!(start.elapsed() < Duration::from_millis(120_010), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_makes_enqueue_wait_until_there_is_room() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().batch_size(1_000).buffer_memory(3_000).build().unwrap();
    producer.send(record("warm-up")).await.unwrap();
    bench.fault(Fault::delay(Duration::from_secs(20)));
    let value = "x".repeat(900);
    for _ in 0..3 {
        drop(producer.enqueue(record(&value)).await.unwrap());
    }
    let refused = producer.try_enqueue(record(&value)).unwrap_err();
    assert!(matches!(refused.error(), Error::BufferExhausted { limit_bytes: 3_000, .. }), "{refused:?}");
    assert_eq!(refused.into_parts().1, record(&value));

    let start = Instant::now();
    drop(producer.enqueue(record(&value)).await.unwrap());
    let took = start.elapsed();
    assert!((Duration::from_secs(19)..Duration::from_secs(21)).contains(&took), "{took:?}");
    producer.flush().await.unwrap();
    assert_eq!(bench.values(0).await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn max_block_bounds_the_wait_for_memory_and_gives_the_record_back() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().batch_size(1_000).buffer_memory(1_000).build().unwrap();
    producer.send(record("warm-up")).await.unwrap();
    bench.fault(Fault::black_hole().always());
    drop(producer.enqueue(record(&"x".repeat(900))).await.unwrap());
    let start = Instant::now();
    let (error, back) = producer.enqueue(record("waits").key("k").header("h", "v")).await.unwrap_err().into_parts();
    assert_eq!(start.elapsed().as_secs(), 60);
    assert!(matches!(error, Error::BufferExhausted { .. }) && error.is_retriable(), "{error:?}");
    assert_eq!(back, record("waits").key("k").header("h", "v"));
}

#[tokio::test(start_paused = true)]
async fn waiters_for_memory_are_served_in_the_order_in_which_they_came() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().batch_size(1_000).buffer_memory(1_000).build().unwrap();
    producer.send(record("warm-up")).await.unwrap();
    bench.fault(Fault::delay(Duration::from_secs(5)));
    drop(producer.enqueue(record(&"x".repeat(900))).await.unwrap());
    let mut tasks = Vec::new();
    for number in 0..10 {
        let producer = producer.clone();
        let value = format!("{number}{}", "x".repeat(900));
        let waiting = async move { producer.enqueue(record(&value)).await.map(drop) };
        tasks.push(tokio::spawn(waiting));
        tokio::task::yield_now().await; // each begins to wait before the next
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    producer.flush().await.unwrap();
    let first_letters: String = bench.values(0).await.iter().skip(2).map(|value| &value[..1]).collect();
    assert_eq!(first_letters, "0123456789");
}

#[tokio::test(start_paused = true)]
async fn nothing_lingers_while_somebody_waits_for_memory() {
    let bench = Bench::new(4).await;
    let linger = Duration::from_mins(1);
    let producer = bench.producer().linger(linger).batch_size(1_000).buffer_memory(2_000).build().unwrap();
    let start = Instant::now();
    for partition in 0..4 {
        drop(producer.enqueue(ProducerRecord::new(TOPIC).partition(partition).value("v")).await.unwrap());
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_topic_is_waited_for_up_to_max_block() {
    let bench = Bench::new(0).await;
    let producer = bench.producer().build().unwrap();
    let start = Instant::now();
    let (error, back) = producer.send(record("v")).await.unwrap_err().into_parts();
    assert_eq!(start.elapsed().as_secs(), 60);
    assert!(matches!(error, Error::TopicUnknown { .. }) && error.to_string().contains("topic t"), "{error}");
    assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition), "what the cluster says of it is told");
    assert_eq!(back, record("v"));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_made_meanwhile_is_found() {
    let bench = Bench::new(0).await;
    let producer = bench.producer().build().unwrap();
    let sending = producer.send(record("v"));
    let creating = async {
        tokio::time::sleep(SOON).await;
        bench.embedded.create_topic(TOPIC, 1, 3).await.unwrap();
    };
    let start = Instant::now();
    let (sent, ()) = tokio::join!(sending, creating);
    assert_eq!(sent.unwrap().offset, Some(0));
    assert!(start.elapsed() < SOON + Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_added_meanwhile_is_found_and_one_that_is_not_is_an_error() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    let sending = producer.send(ProducerRecord::new(TOPIC).partition(2).value("v"));
    let adding = async {
        tokio::time::sleep(SOON).await;
        bench.embedded.add_partitions(TOPIC, 3).await.unwrap();
    };
    let (sent, ()) = tokio::join!(sending, adding);
    assert_eq!(sent.unwrap().partition(), 2);

    let start = Instant::now();
    let (error, _) = producer.send(ProducerRecord::new(TOPIC).partition(9).value("v")).await.unwrap_err().into_parts();
    assert_eq!(start.elapsed().as_secs(), 60);
    assert!(matches!(error, Error::NoSuchPartition { partition: 9, partition_count: 3, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_record_too_large_is_refused_at_once_with_the_setting_that_says_so() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().max_request_size(1_000).batch_size(500).build().unwrap();
    let refused = producer.enqueue(record(&"x".repeat(1_000))).await.unwrap_err();
    assert!(refused.to_string().contains("max.request.size"), "{refused}");
    let producer = bench.producer().buffer_memory(1_000).batch_size(500).build().unwrap();
    let refused = producer.try_enqueue(record(&"x".repeat(1_000))).unwrap_err();
    assert!(refused.to_string().contains("buffer.memory"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_over_the_topic_s_limit_is_split_and_a_record_over_it_fails_alone() {
    let bench = Bench::new(0).await;
    bench.embedded.create_topic_with(TOPIC, 1, 3, [("max.message.bytes", "1000")]).await.unwrap();
    let producer = bench.producer().linger(Duration::from_millis(50)).build().unwrap();
    let mut deliveries = Vec::new();
    for number in 0..20 {
        let value = format!("{number}:{}", "x".repeat(if number == 7 { 2_000 } else { 100 }));
        deliveries.push(producer.enqueue(record(&value)).await.unwrap());
    }
    let mut failed = Vec::new();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        if let Err(error) = delivery.await {
            failed.push((number, error.error_code()));
        }
    }
    assert_eq!(failed, [(7, Some(ErrorCode::MessageTooLarge))]);
    let values = bench.values(0).await;
    let written: Vec<usize> = values.iter().map(|value| value.split(':').next().unwrap().parse().unwrap()).collect();
    assert_eq!(written, (0..20).filter(|number| *number != 7).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn flush_tells_of_a_loss_that_nobody_else_was_told_of() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    bench.fault(Fault::error(ErrorCode::TopicAuthorizationFailed));
    drop(producer.enqueue(record("v")).await.unwrap());
    let error = producer.flush().await.unwrap_err();
    assert!(matches!(error, Error::Undelivered { undelivered: 1, .. }), "{error:?}");
    assert_eq!(error.error_code(), Some(ErrorCode::TopicAuthorizationFailed));
    producer.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn flush_does_not_wait_for_what_comes_after_it() {
    let bench = Bench::new(2).await;
    let producer = bench.producer().linger(Duration::from_secs(1)).build().unwrap();
    producer.send(record("warm-up")).await.unwrap();
    drop(producer.enqueue(record("before")).await.unwrap());
    let mut flush = pin!(producer.flush());
    assert!(poll_once(flush.as_mut()).is_pending());
    assert_ne!(bench.leader(0).await, bench.leader(1).await);
    bench.fault(Fault::black_hole().on_node(bench.leader(1).await).always());
    drop(producer.enqueue(ProducerRecord::new(TOPIC).partition(1).value("after")).await.unwrap());
    tokio::time::timeout(Duration::from_millis(500), flush).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_delivers_what_was_enqueued_and_reports_it() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().linger(Duration::from_secs(30)).build().unwrap();
    drop(enqueue_numbers(&producer, 50).await);
    let start = Instant::now();
    let report = producer.close(SOON).await;
    assert_eq!((report.delivered, report.failed, report.abandoned), (50, 0, 0));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(bench.values(0).await, numbers(50));
    let refused = producer.enqueue(record("late")).await.unwrap_err();
    assert!(matches!(refused.error(), Error::Closed { may_have_been_written: false }), "{refused:?}");
    assert_eq!(producer.close(SOON).await, CloseReport::default(), "closing twice is harmless");
}

#[tokio::test(start_paused = true)]
async fn close_ends_in_its_time_even_when_no_broker_answers() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    producer.send(record("warm-up")).await.unwrap();
    bench.fault(Fault::black_hole().always());
    let delivery = producer.enqueue(record("stuck")).await.unwrap();
    let start = Instant::now();
    let report = producer.close(SOON).await;
    assert_eq!(start.elapsed(), SOON);
    assert_eq!((report.delivered, report.failed, report.abandoned), (0, 0, 1));
    let error = delivery.await.unwrap_err();
    assert!(matches!(error, Error::Closed { may_have_been_written: true }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_producer_ends_the_wait_of_every_handle() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().linger(Duration::from_secs(30)).build().unwrap();
    producer.send(record("warm-up")).await.unwrap();
    let deliveries = enqueue_numbers(&producer, 3).await;
    let clone = producer.clone();
    drop(producer);
    drop(clone.enqueue(record("a clone keeps it going")).await.unwrap());
    let start = Instant::now();
    drop(clone);
    for delivery in deliveries {
        assert!(matches!(delivery.await.unwrap_err(), Error::Closed { may_have_been_written: false }));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[test]
fn handles_are_answered_when_the_runtime_ends() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let first = runtime();
    let mut deliveries = first.block_on(async {
        let bench = Bench::new(1).await;
        let producer = bench.producer().linger(Duration::from_secs(30)).build().unwrap();
        let deliveries = enqueue_numbers(&producer, 1).await;
        std::mem::forget(producer); // nobody drops it in time
        deliveries
    });
    drop(first);
    let delivery = deliveries.remove(0);
    assert!(matches!(runtime().block_on(delivery), Err(Error::Closed { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_producer_on_a_runtime_that_has_ended_is_closed() {
    let bench = Bench::new(1).await;
    let ended = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.handle().clone()
    });
    let config = ClusterConfig::new(["broker-0:9092".parse().unwrap()]).connector(bench.embedded.connector());
    let cluster = Cluster::new(config.runtime(ended.join().unwrap())).unwrap();
    let producer = ProducerBuilder::new(cluster).build().unwrap();
    let refused = producer.send(record("v")).await.unwrap_err();
    assert!(matches!(refused.error(), Error::Closed { may_have_been_written: false }), "{refused:?}");
    assert_eq!(producer.close(SOON).await, CloseReport::default());
}

#[tokio::test(start_paused = true)]
async fn close_that_is_dropped_can_be_called_again() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().linger(Duration::from_secs(30)).build().unwrap();
    drop(enqueue_numbers(&producer, 5).await);
    {
        let mut closing = pin!(producer.close(SOON));
        assert!(poll_once(closing.as_mut()).is_pending());
    }
    let report = producer.close(SOON).await;
    assert_eq!((report.delivered, report.failed, report.abandoned), (5, 0, 0));
    assert_eq!(bench.values(0).await, numbers(5));
}

#[tokio::test(start_paused = true)]
async fn send_may_be_dropped_at_any_poll_and_nothing_is_written_twice() {
    let mut completed = false;
    for polls in 0..200 {
        let bench = Bench::new(1).await;
        let producer = bench.producer().build().unwrap();
        {
            let mut sending = Box::pin(producer.send(record("v")));
            let mut polled = 0;
            let outcome = std::future::poll_fn(|context| {
                if polled == polls {
                    return Poll::Ready(None);
                }
                polled += 1;
                sending.as_mut().poll(context).map(Some)
            });
            completed = outcome.await.is_some();
        }
        let report = producer.close(SOON).await;
        assert_eq!((report.failed, report.abandoned), (0, 0));
        let written = bench.values(0).await.len();
        assert!(written <= 1, "dropped after {polls} polls: written {written} times");
        assert!(report.delivered <= written as u64);
        if completed {
            assert_eq!(written, 1);
            break;
        }
    }
    assert!(completed, "200 polls were not enough");
}

#[tokio::test(start_paused = true)]
async fn enqueue_that_is_dropped_while_it_waits_leaves_its_memory_and_its_place() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().batch_size(1_000).buffer_memory(1_000).build().unwrap();
    producer.send(record("warm-up")).await.unwrap();
    bench.fault(Fault::delay(Duration::from_secs(5)));
    let full = "x".repeat(900);
    drop(producer.enqueue(record(&full)).await.unwrap());
    {
        let mut waiting = pin!(producer.enqueue(record(&full)));
        assert!(poll_once(waiting.as_mut()).is_pending());
        tokio::time::timeout(Duration::from_secs(1), waiting.as_mut()).await.unwrap_err();
    }
    let last = producer.send(record("last")).await.unwrap();
    assert_eq!(last.offset, Some(2), "what was dropped was not written");
}

#[tokio::test(start_paused = true)]
async fn flush_that_is_dropped_leaves_everything_on_its_way() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().linger(Duration::from_secs(30)).build().unwrap();
    let deliveries = enqueue_numbers(&producer, 5).await;
    {
        let mut flush = pin!(producer.flush());
        assert!(poll_once(flush.as_mut()).is_pending());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(bench.values(0).await, numbers(5));
}

/// Puts every record into the last partition, but leaves those with a key to their hash.
#[derive(Debug)]
struct Last;

impl Partitioner for Last {
    fn partition(&self, _: &str, key: Option<&[u8]>, value: Option<&[u8]>, partition_count: i32) -> Option<i32> {
        match (key, value) {
            (Some(_), _) => None,
            (None, Some(b"beyond")) => Some(partition_count),
            (None, _) => Some(partition_count - 1),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_partitioner_of_one_s_own_decides_or_leaves_it() {
    let bench = Bench::new(10).await;
    let producer = bench.producer().partitioner(Arc::new(Last)).build().unwrap();
    assert_eq!(producer.send(ProducerRecord::new(TOPIC).value("v")).await.unwrap().partition(), 9);
    let hashed = producer.send(ProducerRecord::new(TOPIC).key("abc").value("v")).await.unwrap();
    assert_eq!(hashed.partition(), 479_470_107 % 10);
    let (error, _) = producer.send(ProducerRecord::new(TOPIC).value("beyond")).await.unwrap_err().into_parts();
    assert!(matches!(error, Error::NoSuchPartition { partition: 10, partition_count: 10, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn try_enqueue_learns_of_a_topic_in_the_background() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    let refused = producer.try_enqueue(record("v")).unwrap_err();
    assert!(matches!(refused.error(), Error::TopicUnknown { .. }), "{refused:?}");
    let delivery = loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if let Ok(delivery) = producer.try_enqueue(record("v")) {
            break delivery;
        }
    };
    delivery.await.unwrap();
}

#[tokio::test]
async fn settings_at_odds_are_refused_by_name() {
    let bench = Bench::new(0).await;
    let built = [
        (bench.producer().batch_size(0).build(), "batch.size"),
        (bench.producer().buffer_memory(100).build(), "batch.size"),
        (bench.producer().delivery_timeout(Duration::from_secs(10)).build(), "delivery.timeout.ms"),
        (bench.producer().max_request_size(usize::MAX).build(), "max.request.size"),
    ];
    for (built, setting) in built {
        let error = built.unwrap_err();
        assert!(error.to_string().starts_with(setting), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_nothing_is_sent_to_is_forgotten_and_found_again() {
    let bench = Bench::new(1).await;
    let producer = bench.producer().build().unwrap();
    assert_eq!(producer.send(record("a")).await.unwrap().offset, Some(0));
    tokio::time::sleep(Duration::from_mins(20)).await;
    assert_eq!(bench.cluster.metadata().topics().len(), 0, "metadata.max.idle.ms has passed more than once");
    assert_eq!(producer.send(record("b")).await.unwrap().offset, Some(1));
}
