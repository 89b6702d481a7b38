//! Seeks, pauses, leader moves, slow and broken brokers in random order: of each partition come exactly the records from
//! the position on, in order, and none while it is paused. A failure names the seed that replays it.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use ottla_broker::Fault;
use ottla_wire::ApiKey;

use crate::setup::{Setup, partition, value};

const PARTITIONS: i32 = 6;
const BOUND: usize = 256 * 1024;

#[tokio::test(start_paused = true)]
async fn whatever_is_done_each_partition_goes_on_from_its_position() {
    for seed in 0..25 {
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let setup = Setup::start(3, PARTITIONS).await;
    let nodes: Vec<_> = setup.embedded.nodes().collect();
    let consumer = setup.consumer().max_poll_bytes(random.usize(1..5000)).fetch_buffer_max_bytes(BOUND);
    let mut consumer = consumer.build().unwrap();
    consumer.assign((0..PARTITIONS).map(partition)).unwrap();
    let mut expected = vec![0; PARTITIONS as usize];
    let mut ends = vec![0; PARTITIONS as usize];
    let mut paused: BTreeSet<i32> = BTreeSet::new();
    for step in 0..300 {
        let index = random.i32(0..PARTITIONS);
        let place = index as usize;
        match random.u32(0..12) {
            0..=2 => {
                let records = random.u32(1..60);
                setup.append(index, records).await;
                ends[place] += i64::from(records);
            }
            3 => {
                expected[place] = random.i64(0..=ends[place]);
                consumer.seek(&partition(index), expected[place]).unwrap();
            }
            4 => {
                consumer.pause([&partition(index)]).unwrap();
                paused.insert(index);
            }
            5 => {
                consumer.resume([&partition(index)]).unwrap();
                paused.remove(&index);
            }
            6 => setup.embedded.move_leader("topic", index, nodes[random.usize(0..3)]).await.unwrap(),
            7 => {
                let faults = [Fault::close_connection(), Fault::delay(Duration::from_millis(random.u64(1..900)))];
                let fault = faults[random.usize(0..2)].clone();
                setup.embedded.faults().inject(fault.on_api(ApiKey::Fetch));
            }
            _ => {
                let batches = consumer.poll(Duration::from_millis(random.u64(0..400))).await.unwrap();
                check(seed, step, &batches, &paused, &mut expected);
                assert!(consumer.fetch_metrics().memory.used_bytes <= BOUND, "seed {seed}, step {step}");
            }
        }
    }
    consumer.resume(&(0..PARTITIONS).map(partition).collect::<Vec<_>>()).unwrap();
    while expected != ends {
        let batches = consumer.poll(Duration::from_mins(1)).await.unwrap();
        assert!(!batches.is_empty(), "seed {seed}: nothing in a minute, at {expected:?} of {ends:?}");
        check(seed, 300, &batches, &BTreeSet::new(), &mut expected);
    }
    assert!(consumer.poll(Duration::from_secs(1)).await.unwrap().is_empty());
    let metrics = consumer.fetch_metrics();
    assert_eq!(metrics.totals.waiting_bytes(), 0, "seed {seed}: {:?}", metrics.totals);
    assert_eq!(metrics.memory.used_bytes, 0, "seed {seed}: {:?}", metrics.memory);
}

fn check(seed: u64, step: u32, batches: &ottla_consumer::Batches, paused: &BTreeSet<i32>, expected: &mut [i64]) {
    for batch in batches {
        let index = batch.partition();
        assert!(!paused.contains(&index), "seed {seed}, step {step}: {index} is paused");
        for record in batch.records() {
            let record = record.unwrap();
            let next = &mut expected[index as usize];
            assert_eq!(record.offset(), *next, "seed {seed}, step {step}, partition {index}");
            assert_eq!(record.value(), Some(value(index, *next).as_bytes()));
            *next += 1;
        }
    }
}
