//! What is written while the group reads: numbered records in small bursts, to any partition that there is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use ottla::{Client, Producer, ProducerRecord};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::history::{Event, History};
use crate::scenario::TOPICS;

/// How many partitions each topic has by now.
pub(crate) type PartitionCounts = Arc<Mutex<[i32; 2]>>;

/// A producer that writes until it is stopped.
#[derive(Debug)]
pub(crate) struct Workload {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Workload {
    pub(crate) fn start(client: Client, history: History, partitions: PartitionCounts, random: Rng) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let producer = client.producer().delivery_timeout(DELIVERY_TIMEOUT).build().unwrap();
            write(&producer, &history, &partitions, random, stopped).await;
            producer.close(DELIVERY_TIMEOUT).await;
            client.close().await;
        });
        Self { stop, task }
    }

    /// Stops writing, and waits until it is known of each record whether it was written.
    pub(crate) async fn finish(self) {
        // A panic has been seen by the hook that all panics go through.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn write(
    producer: &Producer,
    history: &History,
    partitions: &PartitionCounts,
    mut random: Rng,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut under_way = JoinSet::new();
    let mut sequence = 0;
    loop {
        let pause = Duration::from_millis(random.u64(50..1200));
        if tokio::time::timeout(pause, &mut stopped).await.is_ok() {
            break;
        }
        for _ in 0..random.u32(1..5) {
            sequence += 1;
            under_way.spawn(send(
                producer.clone(),
                history.clone(),
                record(partitions, sequence, &mut random),
                sequence,
            ));
        }
    }
    while under_way.join_next().await.is_some() {}
}

fn record(partitions: &PartitionCounts, sequence: u64, random: &mut Rng) -> ProducerRecord<'static> {
    let counts = *partitions.lock().unwrap_or_else(PoisonError::into_inner);
    let topic = random.usize(0..TOPICS.len());
    let partition = random.i32(0..counts[topic]);
    let key = format!("key {}", random.u32(0..20));
    ProducerRecord::new(TOPICS[topic]).partition(partition).key(key).value(format!("record {sequence}")).timestamp_ms(0)
}

async fn send(producer: Producer, history: History, record: ProducerRecord<'static>, sequence: u64) {
    // One that fails promises nothing, though it may come.
    let Ok(written) = producer.send(record).await else { return };
    if let Some(offset) = written.offset {
        history.record(Event::Acknowledged { partition: written.topic_partition, offset, sequence });
    }
}

/// The number that a record's value says.
pub(crate) fn sequence_of(value: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(value?).ok()?.strip_prefix("record ")?.parse().ok()
}

/// How long the producer tries.
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
