//! Exact sizes and exact times: what becomes ready when, and what it costs.

use super::*;
use crate::WallClock;

const LINGER: Duration = Duration::from_millis(5);
const DELIVERY_TIMEOUT: Duration = Duration::from_mins(2);
const BATCH_SIZE: usize = 1000;
const NOTHING: [i32; 0] = [];

/// An accumulator that knows topic `t` with four partitions, and the time at which everything starts.
struct Bench {
    accumulator: Accumulator,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ProducerConfig)) -> Self {
        let mut config = ProducerConfig::new(Duration::from_secs(30));
        config.batch_size = BATCH_SIZE;
        config.clock = WallClock::new(|| 0);
        change(&mut config);
        let mut accumulator = Accumulator::new(&config, Rng::with_seed(1));
        accumulator.learn_topic(&"t".into(), &[true; 4]);
        #[allow(clippy::disallowed_methods, reason = "any origin will do: the machine reads no clock")]
        let start = Instant::now();
        Self { accumulator, start }
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.start + Duration::from_millis(milliseconds)
    }

    /// Appends a record with a value of so many bytes, reserving whatever memory is asked for.
    fn append(&mut self, at: u64, target: Target, value_bytes: usize) -> Result<Appended, NotAppended> {
        let now = self.at(at);
        let value = vec![7; value_bytes];
        let record = ProducerRecord::new("t").value(&value);
        let mut reserved = None;
        loop {
            match self.accumulator.append(|| now, target, &record, 0, &mut reserved) {
                Err(NotAppended::NeedsMemory { bytes }) if reserved.is_none() => reserved = Some(bytes),
                result => return result,
            }
        }
    }

    fn append_to(&mut self, at: u64, partition: i32, value_bytes: usize) -> Appended {
        self.append(at, Target::Named(partition), value_bytes).unwrap()
    }

    fn collect(&mut self, at: u64) -> Vec<i32> {
        let now = self.at(at);
        self.accumulator.collect_ready(now).into_iter().map(|key| key.partition).collect()
    }

    /// Takes a partition's oldest batch, as the sender would: how many records it has.
    fn take(&mut self, partition: i32) -> Option<u32> {
        self.accumulator.take(key(partition)).map(|batch| batch.record_count())
    }

    fn release(&mut self, at: u64, partition: i32) {
        let now = self.at(at);
        self.accumulator.release(now, key(partition));
    }
}

fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic: 0, partition }
}

#[test]
fn a_batch_lingers_for_exactly_its_linger_time_from_its_first_record_on() {
    let mut bench = Bench::new();
    bench.append_to(0, 2, 10);
    bench.append_to(4, 2, 10);
    assert_eq!(bench.accumulator.next_deadline(), Some(bench.start + LINGER));
    assert_eq!(bench.collect(4), NOTHING);
    assert_eq!(bench.collect(5), [2]);
    assert_eq!(bench.take(2), Some(2));
}

#[test]
fn without_linger_a_record_is_ready_at_once() {
    let mut bench = Bench::with(|config| config.linger = Duration::ZERO);
    assert!(bench.append_to(0, 1, 10).wake_sender);
    assert_eq!(bench.collect(0), [1]);
}

#[test]
fn the_sender_is_woken_by_what_it_does_not_know_of_and_by_nothing_else() {
    let mut bench = Bench::new();
    assert!(bench.append_to(0, 0, 10).wake_sender, "the first deadline");
    assert!(!bench.append_to(0, 0, 10).wake_sender, "the same batch");
    assert!(!bench.append_to(1, 1, 10).wake_sender, "a later deadline");
    assert!(bench.append_to(2, 0, 900).wake_sender, "a batch that is full, before its deadline");
    assert!(!bench.append_to(2, 1, 980).wake_sender, "ready, but the sender is to look already");
}

#[test]
fn a_batch_is_ready_when_the_next_record_does_not_fit() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 500);
    assert_eq!(bench.collect(0), NOTHING);
    bench.append_to(0, 0, 500); // 61 + 2 × about 510 is over 1000
    assert_eq!(bench.collect(0), [0]);
    assert_eq!((bench.take(0), bench.take(0)), (Some(1), Some(1)));
}

#[test]
fn a_batch_takes_records_up_to_its_size_and_no_further() {
    let mut bench = Bench::new();
    let room = BATCH_SIZE - Batch::OVERHEAD_BYTES;
    let bound = Batch::record_bytes_bound(&ProducerRecord::new("t").value(b"x"));
    bench.append_to(0, 0, room - bound + 1);
    assert_eq!(bench.accumulator.incomplete.len(), 1);
    assert_eq!(bench.collect(0), [0], "full: not even the smallest record fits");
}

#[test]
fn a_record_larger_than_a_batch_gets_one_of_its_own_size() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 5000);
    let reserved: Vec<usize> = bench.accumulator.incomplete.values().map(|batch| batch.reserved_bytes).collect();
    assert_eq!(reserved, [61 + 36 + 5000]);
    assert_eq!(bench.collect(0), [0]);
}

#[test]
fn a_new_batch_asks_for_memory_and_leaves_nothing_behind_without_it() {
    let mut bench = Bench::new();
    let (now, record) = (bench.start, ProducerRecord::new("t").value("v"));
    let refused = bench.accumulator.append(|| now, Target::Named(0), &record, 0, &mut None);
    assert!(matches!(refused, Err(NotAppended::NeedsMemory { bytes: BATCH_SIZE })));
    assert!(bench.accumulator.incomplete.is_empty());
    assert_eq!(bench.accumulator.next_deadline(), None);
}

#[test]
fn memory_that_was_reserved_and_is_not_needed_stays_the_caller_s() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 10);
    let (now, record) = (bench.start, ProducerRecord::new("t").value("v"));
    let mut reserved = Some(BATCH_SIZE);
    bench.accumulator.append(|| now, Target::Named(0), &record, 0, &mut reserved).unwrap();
    assert_eq!(reserved, Some(BATCH_SIZE));
}

#[test]
fn a_partition_that_is_taken_is_not_ready_again_until_it_is_released() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 900);
    bench.append_to(0, 0, 900);
    assert_eq!(bench.collect(0), [0]);
    assert_eq!(bench.take(0), Some(1));
    bench.append_to(1, 0, 900);
    assert_eq!(bench.collect(100), NOTHING, "one batch of a partition at a time");
    bench.release(100, 0);
    assert_eq!(bench.collect(100), [0]);
    assert_eq!(bench.take(0), Some(1));
}

#[test]
fn what_came_while_a_batch_was_under_way_lingers_from_its_own_first_record_on() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 10);
    assert_eq!(bench.collect(5), [0]);
    assert_eq!(bench.take(0), Some(1));
    bench.append_to(6, 0, 10);
    bench.release(8, 0);
    assert_eq!(bench.accumulator.next_deadline(), Some(bench.at(11)));
    assert_eq!(bench.collect(10), NOTHING);
    assert_eq!(bench.collect(11), [0]);
}

#[test]
fn a_ready_batch_goes_on_filling_until_it_is_taken() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 10);
    assert_eq!(bench.collect(5), [0]);
    bench.append_to(6, 0, 10);
    assert_eq!(bench.take(0), Some(2));
}

#[test]
fn nothing_lingers_while_somebody_waits_for_memory() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 10);
    bench.accumulator.memory_wanted();
    assert_eq!(bench.collect(0), [0]);
    assert!(bench.append_to(0, 1, 10).wake_sender);
    assert_eq!(bench.collect(0), [1]);
    bench.accumulator.memory_no_longer_wanted();
    bench.append_to(0, 2, 10);
    assert_eq!(bench.collect(0), NOTHING);
}

#[test]
fn flush_makes_ready_what_lingers_and_what_is_behind_a_batch_under_way() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 10);
    assert_eq!(bench.collect(5), [0]);
    assert_eq!(bench.take(0), Some(1));
    bench.append_to(6, 0, 10);
    bench.append_to(6, 1, 10);
    assert_eq!(bench.accumulator.flush().len(), 3, "the batch under way is waited for, too");
    assert_eq!(bench.collect(6), [1]);
    bench.append_to(6, 2, 10);
    assert_eq!(bench.collect(6), NOTHING, "what comes after the flush lingers");
    bench.release(7, 0);
    assert_eq!(bench.collect(7), [0]);
}

#[test]
fn flush_waits_for_no_batch_that_is_settled() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 10);
    bench.collect(5);
    let batch = bench.accumulator.take(key(0)).unwrap();
    assert_eq!(bench.accumulator.settled(batch.id()), BATCH_SIZE, "the memory comes back");
    assert_eq!(bench.accumulator.settled(batch.id()), 0, "once");
    assert!(bench.accumulator.flush().is_empty());
}

#[test]
fn what_waits_longer_than_the_delivery_timeout_expires_then_and_not_before() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 10);
    assert_eq!(bench.collect(5), [0]); // collected, and no broker to send it to
    bench.append_to(50_000, 1, 10);
    let timeout = DELIVERY_TIMEOUT.as_millis() as u64;
    assert_eq!(bench.accumulator.next_expiry, Some(bench.at(timeout)));
    let (before, due) = (bench.at(timeout - 1), bench.at(timeout));
    assert!(bench.accumulator.take_expired(before).is_empty());
    let expired = bench.accumulator.take_expired(due);
    assert_eq!(expired.iter().map(Batch::record_count).collect::<Vec<_>>(), [1]);
    assert_eq!(bench.take(0), None);
    assert_eq!(bench.accumulator.next_expiry, Some(bench.at(50_000 + timeout)));
}

#[test]
fn a_closed_accumulator_takes_nothing_more_and_gives_what_it_has() {
    let mut bench = Bench::new();
    bench.append_to(0, 0, 10);
    bench.append_to(0, 1, 10);
    bench.accumulator.close();
    assert!(matches!(bench.append(0, Target::Named(0), 10), Err(NotAppended::Closed)));
    let ids: Vec<BatchId> = bench.accumulator.take_all().iter().map(Batch::id).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.is_sorted());
}

#[test]
fn an_unknown_topic_and_an_absent_partition_are_told_apart() {
    let mut bench = Bench::new();
    let (now, record) = (bench.start, ProducerRecord::new("u").value("v"));
    let refused = bench.accumulator.append(|| now, Target::Sticky, &record, 0, &mut None);
    assert!(matches!(refused, Err(NotAppended::UnknownTopic)));
    let absent = bench.append(0, Target::Named(4), 10);
    assert!(matches!(absent, Err(NotAppended::NoSuchPartition { partition: 4, partition_count: 4 })));
    bench.accumulator.learn_topic(&"t".into(), &[true; 5]);
    bench.append_to(0, 4, 10);
}

#[test]
fn a_topic_that_lost_partitions_keeps_those_that_it_had() {
    let mut bench = Bench::new();
    bench.append_to(0, 3, 10);
    bench.accumulator.learn_topic(&"t".into(), &[true]);
    assert_eq!(bench.accumulator.partition_count("t"), Some(4));
    assert_eq!(bench.collect(5), [3]);
}

#[test]
fn records_without_a_key_fill_one_partition_s_batch_and_then_another_s() {
    let mut bench = Bench::new();
    let partition = |appended: Appended| appended.completion.topic_partition().partition;
    let mut runs: Vec<(i32, usize)> = Vec::new();
    for _ in 0..64 {
        let chosen = partition(bench.append(0, Target::Sticky, 100).unwrap());
        match runs.last_mut() {
            Some((last, records)) if *last == chosen => *records += 1,
            _ => runs.push((chosen, 1)),
        }
    }
    // 61 + 8 × 107 bytes leave no room for a ninth, of which the bound is 136.
    assert!(runs.iter().all(|(_, records)| *records == 8), "{runs:?}");
    let mut ready = bench.collect(0);
    ready.sort_unstable();
    assert_eq!(ready, [0, 1, 2, 3], "what is as full as it will get does not linger");
}

#[test]
fn partitions_without_a_leader_are_not_drawn_while_others_have_one() {
    let mut bench = Bench::new();
    bench.accumulator.learn_topic(&"t".into(), &[false, true, false, false]);
    for _ in 0..50 {
        let appended = bench.append(0, Target::Sticky, 900).unwrap();
        assert_eq!(appended.completion.topic_partition().partition, 1);
    }
    bench.accumulator.learn_topic(&"t".into(), &[false; 4]);
    let mut drawn = BTreeSet::new();
    for _ in 0..50 {
        drawn.insert(bench.append(0, Target::Sticky, 900).unwrap().completion.topic_partition().partition);
    }
    assert!(drawn.len() > 1, "with no leader at all, any will do: {drawn:?}");
}

#[test]
fn indexes_count_up_within_a_batch() {
    let mut bench = Bench::new();
    let indexes: Vec<u32> = (0..3).map(|_| bench.append_to(0, 0, 10).index).collect();
    assert_eq!(indexes, [0, 1, 2]);
    assert_eq!(bench.append_to(0, 1, 10).index, 0);
}
