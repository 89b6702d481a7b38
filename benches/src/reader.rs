//! Consumers on one current-thread runtime that read a topic on and on: what the benches of whole consumption measure.

use std::sync::Arc;
use std::time::Duration;

use ottla::{AutoOffsetReset, Client, Connector, Consumer};
use tokio::runtime::{Builder, Runtime};

/// How long nothing may arrive.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "of these benchmarks only")]
pub struct Read {
    /// How many polls gave anything.
    pub polls: u64,
    /// The batches that they gave.
    pub batches: u64,
    /// The records in those.
    pub records: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
    /// Their values' last bytes, combined by XOR.
    pub last_bytes: u8,
}

/// One consumer or two, each of which reads all partitions of a topic from the beginning.
#[derive(Debug)]
pub struct Reader {
    runtime: Runtime,
    consumers: Vec<Consumer>,
}

impl Reader {
    /// Reads `topic` by `consumers` consumers of one client, with these settings beside the defaults.
    ///
    /// # Panics
    ///
    /// Where the client cannot be made or the topic is not there.
    pub fn new(
        bootstrap_servers: &str,
        connector: Option<Arc<dyn Connector>>,
        topic: &str,
        consumers: usize,
        settings: &[(&str, &str)],
    ) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let consumers = runtime.block_on(async {
            let mut client = Client::builder().bootstrap_servers(bootstrap_servers);
            if let Some(connector) = connector {
                client = client.connector(connector);
            }
            let client = client.build().expect("settings that can be");
            let mut all = Vec::new();
            for _ in 0..consumers {
                let consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest);
                let consumer = consumer.properties(settings.iter().copied()).expect("settings that are known");
                let consumer = consumer.build().expect("settings that can be");
                consumer.assign_topic(topic).await.expect("the topic is there");
                all.push(consumer);
            }
            all
        });
        Self { runtime, consumers }
    }

    /// Reads on until all consumers together have read at least so many records more, each its part.
    ///
    /// # Panics
    ///
    /// Where nothing arrives, or what arrives is damaged.
    pub fn read(&mut self, records: u64) -> Read {
        match &mut self.consumers[..] {
            [one] => self.runtime.block_on(read(one, records)),
            [one, other] => self.runtime.block_on(async {
                let (one, other) = tokio::join!(read(one, records.div_ceil(2)), read(other, records.div_ceil(2)));
                Read {
                    polls: one.polls + other.polls,
                    batches: one.batches + other.batches,
                    records: one.records + other.records,
                    bytes: one.bytes + other.bytes,
                    last_bytes: one.last_bytes ^ other.last_bytes,
                }
            }),
            _ => panic!("one consumer or two"),
        }
    }
}

async fn read(consumer: &mut Consumer, records: u64) -> Read {
    let mut read = Read::default();
    while read.records < records {
        let batches = consumer.poll(IDLE_LIMIT).await.expect("a poll that succeeds");
        assert!(!batches.is_empty(), "nothing arrived for {IDLE_LIMIT:?}");
        read.polls += 1;
        for batch in &batches {
            read.batches += 1;
            for record in batch.records() {
                let record = record.expect("a sound record");
                let value = record.value().unwrap_or_default();
                read.records += 1;
                read.bytes += (record.key().map_or(0, <[u8]>::len) + value.len()) as u64;
                read.last_bytes ^= value.last().copied().unwrap_or_default();
            }
        }
    }
    read
}
