//! How much is asked for at once of a broker that is near by, and of one that is far away.

use std::time::Duration;

use ottla_broker::Fault;
use ottla_wire::ApiKey;
use ottla_wire::compression::{Compression, Compressor};
use ottla_wire::records::{BatchBuilder, ProducerState};

use crate::setup::{LONG, Setup, partition};

const PARTITIONS: i32 = 16;
const BATCHES: usize = 40;
/// Of about so many bytes.
const BATCH_BYTES: usize = 64 * 1024;

/// Reads 40 MiB, and says how many Fetches that took.
async fn fetches_to_read(delay: Duration) -> u64 {
    let setup = Setup::start(1, PARTITIONS).await;
    let mut builder = BatchBuilder::new();
    builder.append(0, None, Some(&vec![b'x'; BATCH_BYTES]), []).unwrap();
    let batch = builder.build(&mut Compressor::new(Compression::None), ProducerState::default()).unwrap();
    for index in 0..PARTITIONS {
        for _ in 0..BATCHES {
            setup.append_bytes(index, batch.clone(), 1).await;
        }
    }
    setup.embedded.faults().inject(Fault::delay(delay).always());
    let mut consumer = setup.consumer().build().unwrap();
    consumer.assign((0..PARTITIONS).map(partition)).unwrap();
    let mut records = 0;
    while records < PARTITIONS as usize * BATCHES {
        let batches = consumer.poll(LONG).await.unwrap();
        assert!(!batches.is_empty());
        records += batches.record_count();
    }
    let node = setup.embedded.nodes().next().unwrap();
    setup.embedded.faults().requests(node, ApiKey::Fetch)
}

#[tokio::test(start_paused = true)]
async fn the_further_away_a_broker_is_the_more_is_asked_for_at_once() {
    let near = fetches_to_read(Duration::ZERO).await;
    let far = fetches_to_read(Duration::from_millis(20)).await;
    // 2 MiB at a time, and half of 32 MiB once the way is known.
    assert!(near >= 20, "{near} fetches");
    assert!(far <= 8, "{far} fetches");
}
