//! Draws what happens, with an eye on what is up and what is down.

use std::time::Duration;

use fastrand::Rng;
use ottla::{Compression, NodeId};
use ottla_broker::Loss;

use crate::faults::fault;
use crate::scenario::{Action, BatchPlan, LONGEST_SLOW, NODES, Place, ReaderPlan, Timing, Weather};

/// What has been drawn so far.
pub(crate) struct Plan<'p> {
    weather: Weather,
    timing: &'p Timing,
    random: Rng,
    partitions: [i32; 2],
    readers: usize,
    /// The nodes that are away, and those whose followers stand still.
    away: Vec<NodeId>,
    paused: Vec<NodeId>,
    actions: Vec<(Duration, Action)>,
}

impl<'p> Plan<'p> {
    pub(crate) fn new(
        weather: Weather,
        timing: &'p Timing,
        partitions: [i32; 2],
        readers: &[ReaderPlan],
        random: Rng,
    ) -> Self {
        let readers = readers.len();
        let (away, paused, actions) = (Vec::new(), Vec::new(), Vec::new());
        Self { weather, timing, random, partitions, readers, away, paused, actions }
    }

    pub(crate) fn draw(mut self) -> Vec<(Duration, Action)> {
        // Something to begin with: a backlog, so that partitions compete.
        for _ in 0..self.random.u32(0..=40) {
            let action = self.write();
            self.actions.push((Duration::ZERO, action));
        }
        for reader in 0..self.readers {
            let bits = self.bits();
            self.actions.push((Duration::ZERO, Action::Assign { reader, bits, start: Place::Beginning }));
        }
        let end = Duration::from_secs(self.random.u64(20..=50));
        let calm = self.random.u64(100..1500);
        let mut at = Duration::ZERO;
        loop {
            at += Duration::from_millis(self.random.u64(0..calm));
            if at >= end {
                return self.actions;
            }
            let action = if self.random.bool() { Some(self.write()) } else { self.next() };
            self.actions.extend(action.map(|action| (at, action)));
        }
    }

    fn next(&mut self) -> Option<Action> {
        if self.weather == Weather::Calm {
            return (self.random.u32(0..20) == 0).then(|| self.add_partitions())?;
        }
        let (topic, partition) = self.partition();
        let reader = self.random.usize(0..self.readers);
        Some(match self.random.u32(0..100) {
            0..8 => Action::MoveLeader { topic, partition, to: self.node() },
            8..18 => self.stop_or_start(),
            18..21 => self.pause_or_resume_replication(),
            21..24 => Action::Cut { node: self.node() },
            24..26 => Action::HalfOpen { node: self.node() },
            26..29 => {
                let latency = Duration::from_millis([0, 0, 10, 300][self.random.usize(0..4)]);
                Action::Latency { node: self.node(), latency }
            }
            29..33 => Action::DeleteRecords { topic, partition, share: self.random.f64() },
            33..35 => self.add_partitions()?,
            35 if self.away.is_empty() => Action::Recreate { topic },
            35..41 => Action::Assign { reader, bits: self.bits(), start: self.place() },
            41..53 => Action::Seek { reader, partition: self.random.usize(0..64), to: self.place() },
            53..59 => Action::Pause { reader, partition: self.random.usize(0..64) },
            59..67 => Action::Resume { reader, partition: self.random.usize(0..64) },
            67..72 => Action::Slow { reader, lasting: LONGEST_SLOW.mul_f64(self.random.f64()) },
            72..74 => Action::Replace { reader },
            _ => Action::Inject { fault: fault(self.timing, &mut self.random) },
        })
    }

    fn write(&mut self) -> Action {
        let (topic, partition) = self.partition();
        let records = [1, 1, 3, 20, 100][self.random.usize(0..5)];
        let most = [30, 100, 1000, 10_000, 60_000][self.random.usize(0..5)];
        let codecs = [
            Compression::None,
            Compression::None,
            Compression::Lz4,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Zstd,
        ];
        let batch = BatchPlan {
            records,
            value_bytes: self.random.usize(0..(most / records as usize).max(30)),
            compression: codecs[self.random.usize(0..6)],
            compressible: self.random.bool(),
        };
        Action::Write { topic, partition, batch }
    }

    fn partition(&mut self) -> (usize, usize) {
        let topic = self.random.usize(0..2);
        (topic, self.random.usize(0..self.partitions[topic] as usize))
    }

    fn node(&mut self) -> NodeId {
        NodeId(self.random.i32(0..NODES))
    }

    /// Mostly all partitions.
    fn bits(&mut self) -> u64 {
        if self.random.u32(0..3) > 0 { u64::MAX } else { self.random.u64(..) }
    }

    fn place(&mut self) -> Place {
        match self.random.u32(0..10) {
            0..2 => Place::Beginning,
            2..4 => Place::End,
            4 => Place::Before(self.random.i64(1..20)),
            5 => Place::Beyond(self.random.i64(1..20)),
            _ => Place::Within(self.random.f64()),
        }
    }

    /// One node is away at a time where no record may be lost.
    fn stop_or_start(&mut self) -> Action {
        let most = if self.weather == Weather::Wild { 2 } else { 1 };
        let node = self.node();
        if let Some(place) = self.away.iter().position(|away| *away == node) {
            return Action::StartNode { node: self.away.remove(place) };
        }
        if self.away.len() >= most {
            return Action::StartNode { node: self.away.remove(0) };
        }
        self.away.push(node);
        let losses = [Loss::Unreplicated, Loss::LastBatches(self.random.usize(1..5)), Loss::Everything];
        match self.random.u32(0..5) {
            0 => Action::Stop { node },
            1 => Action::Kill { node, loss: Loss::Nothing },
            2 if self.weather == Weather::Wild => Action::Kill { node, loss: losses[self.random.usize(0..3)] },
            _ => Action::Kill { node, loss: Loss::Unreplicated },
        }
    }

    fn pause_or_resume_replication(&mut self) -> Action {
        let node = self.node();
        if let Some(place) = self.paused.iter().position(|paused| *paused == node) {
            return Action::ResumeReplication { node: self.paused.remove(place) };
        }
        self.paused.push(node);
        Action::PauseReplication { node }
    }

    fn add_partitions(&mut self) -> Option<Action> {
        let topic = self.random.usize(0..2);
        if self.partitions[topic] >= 8 {
            return None;
        }
        self.partitions[topic] += 1;
        Some(Action::AddPartitions { topic, count: self.partitions[topic] })
    }
}
