//! What every log holds, and how it came to: the conductor writes the logs itself, and looks after each election what became
//! of them.
//!
//! A record is known by its number. Each was written behind another, once, and has stood behind no other since: an election
//! may take a record back and bring it back, and what was behind it with it, but never change what it stands on. So all
//! that a log has ever been is a tree of records, and one of its branches is what it is.

use std::collections::BTreeMap;

use ottla::{NodeId, TopicPartition};
use ottla_broker::EmbeddedCluster;
use ottla_wire::compression::Compressor;
use ottla_wire::records::{BatchBuilder, ProducerState, RecordBatches};

use crate::history::{Event, History, LogName, Stretch};
use crate::scenario::BatchPlan;
use crate::values::value;

/// All logs of a cluster.
#[derive(Debug)]
pub(crate) struct Logs {
    history: History,
    next_number: u64,
    states: BTreeMap<LogName, State>,
    incarnations: BTreeMap<String, u32>,
    /// By the number of the first record.
    written: BTreeMap<u64, Written>,
    /// Where each batch stands, by the log, its first offset, and the epoch of its leader: no two have these three.
    numbers: BTreeMap<(LogName, i64, i32), u64>,
}

/// What a log is, as it was last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The last record; it may have been deleted.
    pub(crate) last: Option<u64>,
    epoch: i32,
    /// Up to here consumers may read.
    pub(crate) readable: i64,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    stretch: Stretch,
    after: Option<u64>,
}

impl Logs {
    pub(crate) fn new(history: History) -> Self {
        let (states, incarnations) = (BTreeMap::new(), BTreeMap::new());
        let (written, numbers) = (BTreeMap::new(), BTreeMap::new());
        Self { history, next_number: 1, states, incarnations, written, numbers }
    }

    /// A topic was made, perhaps anew.
    pub(crate) fn made(&mut self, topic: &str) {
        let incarnation = self.incarnations.entry(topic.to_owned()).or_default();
        *incarnation += 1;
        let (topic, incarnation) = (topic.to_owned(), *incarnation);
        self.history.record(Event::Made { topic, incarnation });
    }

    /// The log that a partition has now.
    pub(crate) fn name(&self, topic: &str, partition: i32) -> LogName {
        let incarnation = self.incarnations.get(topic).copied().unwrap_or_default();
        LogName { partition: TopicPartition::new(topic, partition), incarnation }
    }

    /// Appends a batch, if a node leads that is up.
    pub(crate) async fn write(&mut self, cluster: &EmbeddedCluster, log: &LogName, plan: BatchPlan, away: &[NodeId]) {
        let partition = &log.partition;
        let Ok(described) = cluster.describe_partition(&partition.topic, partition.partition).await else { return };
        if described.leader.is_none_or(|leader| away.contains(&leader)) {
            return;
        }
        let state = self.look_at(cluster, log).await;
        let (number, count) = (self.next_number, plan.records);
        self.next_number += count;
        let mut batch = BatchBuilder::new();
        for number in number..number + count {
            let value = value(log, number, plan.value_bytes, plan.compressible);
            batch.append(0, None, Some(&value), []).unwrap();
        }
        let bytes = batch.build(&mut Compressor::new(plan.compression), ProducerState::NONE).unwrap();
        // Told before it happens: whoever waits for it sees it in the same moment.
        let (stretch, after) = (Stretch { offset: state.end, number, count }, state.last);
        self.history.record(Event::Wrote { log: log.clone(), stretch, after });
        let (topic, index) = (&partition.topic, partition.partition);
        let offset = cluster.append_unchecked(topic, index, bytes, count as u32).await.unwrap();
        assert_eq!(offset, state.end, "nobody else writes to {log}");
        self.written.insert(number, Written { stretch, after });
        self.numbers.insert((log.clone(), offset, described.leader_epoch), number);
        if let Some(state) = self.states.get_mut(log) {
            state.end = offset + count as i64;
            state.last = Some(number + count - 1);
        }
    }

    /// What became of a log since it was last looked at.
    pub(crate) async fn look_at(&mut self, cluster: &EmbeddedCluster, log: &LogName) -> State {
        let (topic, partition) = (&log.partition.topic, log.partition.partition);
        let known = self.states.get(log).copied().unwrap_or_default();
        let Ok(described) = cluster.describe_partition(topic, partition).await else { return known };
        if described.leader.is_none() {
            // Nobody can read it, and it may become what it was.
            return known;
        }
        let mut state = State {
            start: described.log_start_offset,
            end: described.log_end_offset,
            readable: described.high_watermark,
            epoch: described.leader_epoch,
            last: known.last,
        };
        if (state.epoch, state.end) != (known.epoch, known.end) {
            let last_batch = cluster.batches(topic, partition).await.unwrap().pop();
            state.last = match last_batch {
                Some(bytes) => {
                    let batch = RecordBatches::new(bytes).next().unwrap().unwrap();
                    let epoch = batch.partition_leader_epoch();
                    let first = self.numbers[&(log.clone(), batch.base_offset(), epoch)];
                    Some(first + (batch.last_offset() - batch.base_offset()) as u64)
                }
                None => self.ancestor_at(known.last, state.end - 1),
            };
        }
        if state.last != known.last {
            let shared_end = self.shared_end(state.last, known.last);
            let (end, last) = (state.end, state.last);
            self.history.record(Event::Diverged { log: log.clone(), shared_end, end, last });
        }
        if state.start != known.start {
            self.history.record(Event::Begins { log: log.clone(), start: state.start });
        }
        self.states.insert(log.clone(), state);
        state
    }

    /// The record at that offset, on the branch that leads to `number`.
    fn ancestor_at(&self, mut number: Option<u64>, offset: i64) -> Option<u64> {
        loop {
            let Written { stretch, after } = self.batch_of(number?);
            if offset >= stretch.offset {
                let beyond = offset - stretch.offset;
                return (beyond < stretch.count as i64).then(|| stretch.number + beyond as u64);
            }
            number = after;
        }
    }

    /// The offset behind the last record that both branches have.
    fn shared_end(&self, mut one: Option<u64>, mut other: Option<u64>) -> i64 {
        while one != other {
            // The younger one cannot be on the branch of the older.
            let younger = if one > other { &mut one } else { &mut other };
            let Some(number) = *younger else { return 0 };
            let batch = self.batch_of(number);
            *younger = if number > batch.stretch.number { Some(number - 1) } else { batch.after };
        }
        one.map_or(0, |number| {
            let Written { stretch, .. } = self.batch_of(number);
            stretch.offset + (number - stretch.number) as i64 + 1
        })
    }

    fn batch_of(&self, number: u64) -> Written {
        *self.written.range(..=number).next_back().unwrap().1
    }
}
