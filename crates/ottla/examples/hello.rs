//! Says hello to Kafka: makes a topic, writes records to its partitions, reads them back, and checks that every one has
//! come back as it was written.
//!
//! ```text
//! cargo run --release --example hello                               # on an embedded cluster of three nodes
//! cargo run --release --example hello -- --bootstrap HOST:PORT      # on a Kafka of yours
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use ottla::admin::NewTopic;
use ottla::{AutoOffsetReset, Client, Compression, ProducerRecord};
use ottla_broker::EmbeddedCluster;
use tokio::time::Instant;

const PARTITIONS: i32 = 6;
const RECORDS: usize = 10_000;
const GREETINGS: [(&str, &str); 6] = [
    ("cs", "Ahoj, Kafko!"),
    ("de", "Hallo, Kafka!"),
    ("en", "Hello, Kafka!"),
    ("fr", "Bonjour, Kafka !"),
    ("he", "שלום, קפקא!"),
    ("ja", "こんにちは、カフカ!"),
];

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => {
            let cluster = EmbeddedCluster::builder().nodes(3).start().await?;
            println!("An embedded cluster of 3 nodes is up at {}.", cluster.bootstrap_servers());
            let said = say_hello(&cluster.bootstrap_servers(), 3).await;
            cluster.shutdown().await;
            said
        }
        [option, servers] if option == "--bootstrap" => say_hello(servers, 1).await,
        _ => Err("usage: hello [--bootstrap HOST:PORT]".into()),
    }
}

async fn say_hello(bootstrap_servers: &str, replicas: i16) -> Result<(), Box<dyn Error>> {
    let client = Client::builder().bootstrap_servers(bootstrap_servers).client_id("hello").build()?;
    let topic = format!("hello-{}", std::process::id());

    client.admin().create_topics([NewTopic::new(&*topic, PARTITIONS, replicas)]).await?.all()?;
    println!("Made topic {topic}: {PARTITIONS} partitions, {replicas} replica(s) each.");

    let written = write(&client, &topic).await?;
    let read = read(&client, &topic).await?;

    client.admin().delete_topics([&*topic]).await?.all()?;
    println!("Deleted topic {topic}.");
    client.close().await;

    if read != written {
        return Err(format!("read {read:?}, which is not what was written: {written:?}").into());
    }
    println!("All {RECORDS} records came back, each once and in order: keys, values, headers and timestamps.");
    Ok(())
}

/// For each partition, how many records are in it, and a checksum of all that they hold.
type Contents = BTreeMap<i32, (usize, u64)>;

async fn write(client: &Client, topic: &str) -> Result<Contents, Box<dyn Error>> {
    let started = Instant::now();
    let producer = client.producer().compression(Compression::Lz4).build()?;

    let mut handles = Vec::with_capacity(RECORDS);
    for number in 0..RECORDS {
        let (language, greeting) = GREETINGS[number % GREETINGS.len()];
        let (key, value) = (format!("{language}-{}", number % 100), format!("{greeting} ({number})"));
        let timestamp_ms = 1_700_000_000_000 + i64::try_from(number)?;
        let record =
            ProducerRecord::new(topic).key(&key).value(&value).header("language", language).timestamp_ms(timestamp_ms);
        // The record is in its batch when this returns; what becomes of it, the handle tells.
        let handle = producer.enqueue(record).await?;
        handles.push((handle, checksum(key.as_bytes(), value.as_bytes(), language.as_bytes(), timestamp_ms)));
    }
    let mut contents = Contents::new();
    for (handle, sum) in handles {
        add(&mut contents, handle.await?.partition(), sum);
    }
    let report = producer.close(Duration::from_secs(30)).await;
    if report.failed + report.abandoned > 0 {
        return Err(format!("not all records were written: {report:?}").into());
    }
    println!("Wrote {RECORDS} records with keys and headers, compressed with lz4, in {:.0?}:", started.elapsed());
    for (partition, (records, _)) in &contents {
        println!("  partition {partition}: {records:>5} records");
    }
    Ok(contents)
}

async fn read(client: &Client, topic: &str) -> Result<Contents, Box<dyn Error>> {
    let started = Instant::now();
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build()?;
    consumer.assign_topic(topic).await?;

    let mut contents = Contents::new();
    let mut next_offsets = BTreeMap::new();
    let (mut records, mut samples) = (0, Vec::new());
    while records < RECORDS {
        let batches = consumer.poll(Duration::from_secs(5)).await?;
        if batches.is_empty() && started.elapsed() > Duration::from_secs(30) {
            return Err(format!("only {records} of {RECORDS} records came back").into());
        }
        for batch in &batches {
            for record in batch.records() {
                let record = record?;
                let next = next_offsets.entry(batch.partition()).or_insert(0);
                if record.offset() != *next {
                    return Err(
                        format!("partition {}: offset {} after {next}", batch.partition(), record.offset()).into()
                    );
                }
                *next += 1;
                // Everything here is borrowed from the batch: nothing was copied to get at it.
                let (key, value) = (record.key().unwrap_or_default(), record.value().unwrap_or_default());
                let language = record.headers().next().and_then(|header| header.value()).unwrap_or_default();
                add(&mut contents, batch.partition(), checksum(key, value, language, record.timestamp()));
                records += 1;
                if samples.len() < GREETINGS.len() {
                    let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
                    samples.push(format!("  {}@{}  {key}: {value}", batch.topic_partition(), record.offset()));
                }
            }
        }
    }
    consumer.close().await?;
    println!("Read {records} records back in {:.0?}, among them:", started.elapsed());
    for sample in samples {
        println!("{sample}");
    }
    Ok(contents)
}

fn add(contents: &mut Contents, partition: i32, sum: u64) {
    let (records, so_far) = contents.entry(partition).or_default();
    *records += 1;
    // Depends on the order of the records, too.
    *so_far = so_far.wrapping_mul(31).wrapping_add(sum);
}

/// FNV-1a, over everything that a record holds.
fn checksum(key: &[u8], value: &[u8], language: &[u8], timestamp_ms: i64) -> u64 {
    let timestamp = timestamp_ms.to_be_bytes();
    let bytes = key.iter().chain(b"=").chain(value).chain(b"@").chain(language).chain(&timestamp);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
