//! A server that replays: an embedded cluster on a thread of its own, whose answers are slices of memory.
//!
//! What reads from it is what is measured: on another thread, so that its processor time can be told from the server's; or
//! from another process, over TCP.

use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};
use ottla::{Compression, CompressionLevel, Connector};
use ottla_broker::{EmbeddedCluster, Replay, Transport};
use ottla_wire::compression::Compressor;
use ottla_wire::records::{BatchBuilder, ProducerState};
use tokio::sync::oneshot;

use crate::{PAYLOAD_SEED, Payload};

/// When the first record was written: a day in 2023.
const BASE_TIMESTAMP: i64 = 1_700_000_000_000;

/// What the records of a replayed topic look like.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "of these benchmarks only")]
pub struct ReplayShape {
    /// The size of each record's value. There are no keys.
    pub value_bytes: usize,
    /// How many records a batch has.
    pub batch_records: usize,
    /// The codec of the batches.
    pub compression: Compression,
    /// About how many bytes are prepared, before they begin again.
    pub lap_bytes: usize,
}

impl ReplayShape {
    /// Batches of about `batch_bytes` uncompressed, at least one record each, 64 MiB of them.
    pub fn of_batches(value_bytes: usize, batch_bytes: usize, compression: Compression) -> Self {
        let batch_records = (batch_bytes / (value_bytes + RECORD_OVERHEAD_BYTES)).max(1);
        Self { value_bytes, batch_records, compression, lap_bytes: 64 << 20 }
    }

    /// The batches, one after the other: whole ones, at least one.
    pub fn batches(&self) -> Bytes {
        let mut payload = Payload::new(self.value_bytes, PAYLOAD_SEED);
        let mut compressor = Compressor::new(CompressionLevel::from(self.compression));
        let (mut lap, mut written) = (BytesMut::new(), 0);
        while lap.is_empty() || lap.len() < self.lap_bytes {
            let mut builder = BatchBuilder::new();
            for _ in 0..self.batch_records {
                let timestamp = BASE_TIMESTAMP + written / 1000;
                builder.append(timestamp, None, Some(payload.next_value()), []).expect("a batch has room for it");
                written += 1;
            }
            lap.extend_from_slice(&builder.build(&mut compressor, ProducerState::NONE).expect("a batch of ours"));
        }
        lap.freeze()
    }
}

/// A topic to be replayed.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "of these benchmarks only")]
pub struct ReplayTopic {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
    /// What each of them holds.
    pub replay: Replay,
}

/// An embedded cluster that runs on a thread of its own. Dropping it ends it.
#[derive(Debug)]
pub struct ReplayServer {
    bootstrap_servers: String,
    connector: Arc<dyn Connector>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ReplayServer {
    /// Starts `nodes` nodes, and returns when they serve these topics.
    #[allow(clippy::disallowed_methods, reason = "a thread of its own is the purpose")]
    pub fn start(transport: Transport, nodes: i32, topics: Vec<ReplayTopic>) -> Result<Self, ottla_broker::Error> {
        let (stop, stopped) = oneshot::channel();
        let (started, start) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime for the server");
            runtime.block_on(async {
                match serve(transport, nodes, topics).await {
                    Ok(cluster) => {
                        let _ = started.send(Ok((cluster.bootstrap_servers(), cluster.connector())));
                        let _ = stopped.await;
                        cluster.shutdown().await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        });
        let (bootstrap_servers, connector) = start.recv().expect("the server tells how it started")?;
        Ok(Self { bootstrap_servers, connector, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients begin.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// What opens connections to it.
    pub fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector)
    }
}

impl Drop for ReplayServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that matters now.
            let _ = thread.join();
        }
    }
}

async fn serve(
    transport: Transport,
    nodes: i32,
    topics: Vec<ReplayTopic>,
) -> Result<EmbeddedCluster, ottla_broker::Error> {
    let cluster =
        EmbeddedCluster::builder().nodes(nodes).transport(transport).auto_create_topics(false).start().await?;
    for topic in &topics {
        cluster.create_replayed_topic(&topic.name, topic.partitions, &topic.replay).await?;
    }
    Ok(cluster)
}

/// What a record of less than 8 KiB has beside its value: lengths, attributes, and what it differs from the batch by.
const RECORD_OVERHEAD_BYTES: usize = 9;
