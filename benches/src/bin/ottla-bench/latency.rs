//! Writes at a steady rate, reads back in the same process, and tells how long each message took.
//!
//! A message's time runs from just before it is handed to the producer until the consumer has it. It carries a number
//! of its run and the time at which it was sent; a time of zero marks the warm-up, which is not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};
use ottla::{AutoOffsetReset, Client, Consumer, Producer, ProducerRecord};

use crate::arguments::Latency;
use crate::report::Run;
use ottla_benches::Failure;

/// The size of each message's value.
const VALUE_BYTES: usize = 100;
/// How many messages warm the path up, and how far apart they are sent.
const WARM_UP_MESSAGES: u64 = 400;
const WARM_UP_GAP: Duration = Duration::from_millis(5);
/// Between the warm-up and the first message that counts.
const PAUSE: Duration = Duration::from_millis(500);
/// How long after the last message is due the reader gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The line of the run.
pub(crate) async fn run(arguments: Latency) -> Result<String, Failure> {
    let plan = Arc::new(Plan::new(&arguments)?);
    let run = Run::start("latency", "")?;
    let client = Client::builder().bootstrap_servers(&arguments.target.brokers).client_id("ottla-bench").build()?;
    let consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Latest).build()?;
    consumer.assign_topic(&arguments.target.topic).await?;
    let producer = client.producer().linger(Duration::ZERO).build()?;

    let warm = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read(consumer, Arc::clone(&plan), Arc::clone(&warm)));
    warm_up(&producer, &plan, &arguments.target.topic, &warm).await?;
    tokio::time::sleep(PAUSE).await;
    let start = tokio::time::Instant::now();
    for number in 0..plan.messages {
        tokio::time::sleep_until(start + plan.due(number)).await;
        // The answer is not waited for: its handle may be dropped.
        drop(producer.enqueue(plan.record(&arguments.target.topic, Phase::Measured)).await?);
    }
    producer.flush().await?;
    let latencies = reader.await??;
    let line = run.finish_latency(plan.messages, plan.rate, latencies)?;
    producer.close(Duration::from_secs(10)).await;
    Ok(line)
}

/// Sends until the path is warm: a fixed number of messages, and more until the consumer has seen one.
async fn warm_up(producer: &Producer, plan: &Plan, topic: &str, warm: &AtomicBool) -> Result<(), Failure> {
    for number in 0..10 * WARM_UP_MESSAGES {
        drop(producer.enqueue(plan.record(topic, Phase::WarmUp)).await?);
        tokio::time::sleep(WARM_UP_GAP).await;
        if number >= WARM_UP_MESSAGES && warm.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    Err("the consumer saw none of the warm-up messages".into())
}

/// Reads until every message is there, or until they are overdue.
async fn read(mut consumer: Consumer, plan: Arc<Plan>, warm: Arc<AtomicBool>) -> Result<Vec<u64>, Failure> {
    let mut latencies = Vec::with_capacity(plan.messages as usize);
    let limit = plan.due(plan.messages) + PATIENCE;
    while (latencies.len() as u64) < plan.messages && plan.epoch.elapsed() < limit {
        let batches = consumer.poll(Duration::from_millis(500)).await?;
        for batch in &batches {
            for record in batch.records() {
                match plan.read(record?.value().unwrap_or_default()) {
                    Some(Sent::Measured { nanoseconds_ago }) => latencies.push(nanoseconds_ago),
                    Some(Sent::WarmUp) => warm.store(true, Ordering::Relaxed),
                    None => {}
                }
            }
        }
    }
    consumer.close().await?;
    Ok(latencies)
}

#[derive(Clone, Copy)]
enum Phase {
    WarmUp,
    Measured,
}

/// What a message of this run says about itself.
enum Sent {
    WarmUp,
    Measured { nanoseconds_ago: u64 },
}

/// When messages are sent, and what they carry.
struct Plan {
    run: u64,
    epoch: Instant,
    messages: u64,
    rate: u64,
}

#[allow(clippy::disallowed_methods, reason = "what is measured here is real time")]
impl Plan {
    fn new(arguments: &Latency) -> Result<Self, Failure> {
        if arguments.rate == 0 {
            return Err("--rate is messages a second, at least 1".into());
        }
        // Unlike any other run's on the same topic.
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
        let run = nanoseconds ^ u64::from(std::process::id()) << 40;
        Ok(Self { run, epoch: Instant::now(), messages: arguments.target.messages, rate: arguments.rate })
    }

    /// When message `number` is due, from the first.
    fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate as f64)
    }

    fn record<'a>(&self, topic: &'a str, phase: Phase) -> ProducerRecord<'a> {
        let sent = match phase {
            Phase::WarmUp => 0,
            Phase::Measured => self.epoch.elapsed().as_nanos() as u64,
        };
        let mut value = BytesMut::with_capacity(VALUE_BYTES);
        value.put_u64(self.run);
        value.put_u64(sent);
        value.resize(VALUE_BYTES, b'x');
        ProducerRecord::new(topic).value(value.freeze())
    }

    /// What `value` says, unless it is of another run.
    fn read(&self, value: &[u8]) -> Option<Sent> {
        let (run, rest) = value.split_first_chunk::<8>()?;
        let (sent, _) = rest.split_first_chunk::<8>()?;
        if u64::from_be_bytes(*run) != self.run {
            return None;
        }
        let now = self.epoch.elapsed().as_nanos() as u64;
        Some(match u64::from_be_bytes(*sent) {
            0 => Sent::WarmUp,
            sent => Sent::Measured { nanoseconds_ago: now.saturating_sub(sent) },
        })
    }
}
