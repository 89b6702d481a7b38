//! Consuming from end to end, through `Consumer::poll`, from a real Kafka over loopback.
//!
//! `OTTLA_BENCH_BROKERS` names a cluster whose topics may be made and filled; without it one broker is started, and where
//! that cannot be (no Java, no jars), nothing is measured, and that is said. Measured is the processor time of the client's
//! thread, which has the kernel's part in it, and the time on the clock. Throughput is in records.
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ottla::admin::NewTopic;
use ottla::{Client, Compression, ProducerRecord};
use ottla_benches::{PAYLOAD_SEED, Payload, Reader, timed};
use protocol_tests::kafka::{self, KafkaCluster, Toolbox};
use tokio::runtime::Runtime;

const PARTITIONS: i32 = 12;
/// How many records an iteration reads: all of them.
const RECORDS: u64 = if cfg!(debug_assertions) { 5_000 } else { 1_000_000 };
const VALUE_BYTES: usize = 100;

fn consume(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (_started, brokers) = match brokers(&runtime) {
        Ok(brokers) => brokers,
        Err(reason) => return println!("consume-kafka: ignored: {reason}"),
    };
    let topics = [Compression::None, Compression::Lz4, Compression::Zstd]
        .map(|compression| (compression, format!("ottla-bench-{}-{compression}", std::process::id())));
    for (compression, topic) in &topics {
        runtime.block_on(fill(&brokers, topic, *compression));
    }
    for (time, of_thread) in [("processor", true), ("clock", false)] {
        let mut group = criterion.benchmark_group(format!("consume-kafka/{time}"));
        group.sample_size(10).throughput(Throughput::Elements(RECORDS));
        for (compression, topic) in &topics {
            group.bench_function(BenchmarkId::from_parameter(compression), |bencher| {
                bencher.iter_custom(|iterations| (0..iterations).map(|_| read_all(&brokers, topic, of_thread)).sum());
            });
        }
        group.finish();
    }
}

/// The brokers that are named, or one that is started and ends with what is returned.
fn brokers(runtime: &Runtime) -> Result<(Option<KafkaCluster>, String), String> {
    if let Ok(brokers) = std::env::var("OTTLA_BENCH_BROKERS") {
        return Ok((None, brokers));
    }
    let toolbox = Toolbox::find(&kafka::version())?;
    let started = runtime.block_on(KafkaCluster::builder(toolbox).start()).map_err(|error| error.to_string())?;
    let brokers = started.bootstrap_servers();
    Ok((Some(started), brokers))
}

async fn fill(brokers: &str, topic: &str, compression: Compression) {
    let client = Client::builder().bootstrap_servers(brokers).build().expect("settings that can be");
    let made = client.admin().create_topics([NewTopic::new(topic, PARTITIONS, 1)]).await;
    made.expect("an answer").all().expect("the topic is made");
    let producer = client.producer().compression(compression).linger(Duration::from_millis(50)).batch_size(128 << 10);
    let producer = producer.build().expect("settings that can be");
    let mut payload = Payload::new(VALUE_BYTES, PAYLOAD_SEED);
    for number in 0..RECORDS {
        let partition = (number / 1000 % PARTITIONS as u64) as i32;
        let record = ProducerRecord::new(topic).partition(partition).value(payload.next_value());
        drop(producer.enqueue(record).await.expect("room for a record"));
    }
    producer.flush().await.expect("all is written");
    producer.close(Duration::from_secs(10)).await;
}

/// What reading all of a topic takes, from the first record on.
fn read_all(brokers: &str, topic: &str, of_thread: bool) -> Duration {
    let mut reader = Reader::new(brokers, None, topic, 1, &[]);
    let first = reader.read(1).records;
    let (rest, taken) = timed(of_thread, || reader.read(RECORDS - first));
    assert_eq!(first + rest.records, RECORDS);
    taken
}

criterion_group!(benches, consume);
criterion_main!(benches);
