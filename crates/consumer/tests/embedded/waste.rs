//! What is fetched for what is delivered: a broker cuts the last batch of what it sends.

use fastrand::Rng;
use ottla_consumer::{ConsumerBuilder, FetchTotals};
use ottla_wire::compression::{Compression, Compressor};
use ottla_wire::records::{BatchBuilder, ProducerState};

use crate::setup::{LONG, Setup, partition};

const PARTITIONS: i32 = 4;
const MIB: usize = 1024 * 1024;

/// Fills the partitions with so many bytes each, in batches of these sizes.
async fn fill(setup: &Setup, bytes: usize, mut size: impl FnMut() -> usize) {
    for index in 0..PARTITIONS {
        let mut filled = 0;
        while filled < bytes {
            let size = size();
            let mut builder = BatchBuilder::new();
            builder.append(0, None, Some(&vec![b'x'; size]), []).unwrap();
            let batch = builder.build(&mut Compressor::new(Compression::None), ProducerState::default()).unwrap();
            setup.append_bytes(index, batch, 1).await;
            filled += size;
        }
    }
}

/// Reads it all, and gives the numbers from when a third of it had been delivered: by then it is known what the batches are like.
async fn read(setup: &Setup, settings: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder) -> FetchTotals {
    let mut consumer = settings(setup.consumer()).build().unwrap();
    consumer.assign((0..PARTITIONS).map(partition)).unwrap();
    let mut all = 0;
    for index in 0..PARTITIONS {
        all += u64::try_from(setup.end(index).await).unwrap();
    }
    let mut early = None;
    loop {
        assert!(!consumer.poll(LONG).await.unwrap().is_empty());
        let totals = consumer.fetch_metrics().totals;
        if totals.delivered_records > all / 3 {
            early.get_or_insert(totals);
        }
        if totals.delivered_records == all {
            let early = early.unwrap();
            let mut late = totals;
            late.delivered_bytes -= early.delivered_bytes;
            late.cut_bytes -= early.cut_bytes;
            late.given_up_bytes -= early.given_up_bytes;
            return late;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_full_batches_less_than_a_hundredth_is_fetched_twice() {
    let (setup, mut random) = (Setup::start(1, PARTITIONS).await, Rng::with_seed(1));
    fill(&setup, 16 * MIB, || 128 * 1024 - random.usize(0..300)).await;
    let totals = read(&setup, |consumer| consumer).await;
    println!("batches of 128 KiB: {:.4} bytes fetched for each that is delivered", totals.fetched_per_delivered());
    assert!(totals.fetched_per_delivered() < 1.01, "{totals:?}");
    // Also where the application has set a limit.
    let totals = read(&setup, |consumer| consumer.max_partition_fetch_bytes(1 << 20)).await;
    println!("the same with 1 MiB a partition: {:.4}", totals.fetched_per_delivered());
    assert!(totals.fetched_per_delivered() < 1.01, "{totals:?}");
}

#[tokio::test(start_paused = true)]
async fn of_batches_of_any_size_less_than_a_hundredth_is_fetched_twice() {
    for seed in 0..4 {
        let (setup, mut random) = (Setup::start(1, PARTITIONS).await, Rng::with_seed(seed));
        let most = (16 * 1024) << seed;
        fill(&setup, 24 * MIB, || random.usize(0..most)).await;
        let kafkas = read(&setup, |consumer| consumer.max_partition_fetch_bytes(1 << 20)).await;
        let ours = read(&setup, |consumer| consumer).await;
        let [kafkas_ratio, ratio] = [&kafkas, &ours].map(FetchTotals::fetched_per_delivered);
        println!("batches of up to {} KiB: {ratio:.4}; with 1 MiB a partition {kafkas_ratio:.4}", most / 1024);
        assert!(ratio < 1.01, "seed {seed}: {ours:?}");
    }
}
