//! One session: the partitions that its client reads, and what it was told of each last.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_wire::messages::{DivergingEpoch, FetchPartition, FetchPartitionData};
use ottla_wire::{ErrorCode, NodeId};

use super::PartitionName;

/// Stands for what a client has not been told yet.
const UNTOLD: i64 = -1;

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    /// Whether topics are named by their ids, which no later request of the session can change.
    pub(super) by_id: bool,
    /// That which the next request has to bear.
    pub(super) epoch: i32,
    created: Instant,
    last_used: Instant,
    partitions: BTreeMap<PartitionName, Remembered>,
    /// The partitions in the order in which they are read.
    turns: BTreeMap<u64, PartitionName>,
    next_turn: u64,
}

#[derive(Debug)]
struct Remembered {
    asked: FetchPartition,
    high_watermark: i64,
    log_start_offset: i64,
    turn: u64,
}

impl Session {
    /// A session whose first request was answered so. Of a partition that was named twice, the last counts.
    pub(super) fn new<'p>(
        by_id: bool,
        created: Instant,
        answered: impl Iterator<Item = (&'p PartitionName, &'p FetchPartition, &'p FetchPartitionData)>,
    ) -> Self {
        let (partitions, turns) = (BTreeMap::new(), BTreeMap::new());
        let mut session = Self { by_id, epoch: 1, created, last_used: created, partitions, turns, next_turn: 0 };
        for (name, asked, data) in answered {
            session.ask(name.clone(), asked.clone());
            session.tell(name, data);
        }
        session
    }

    /// A request has come: the next bears the epoch that is returned. After the last comes 1, for 0 begins a session.
    pub(super) fn next_epoch(&mut self, now: Instant) -> i32 {
        self.last_used = now;
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        self.epoch
    }

    pub(super) fn last_used(&self) -> Instant {
        self.last_used
    }

    /// How old it was when it was used last.
    pub(super) fn age_when_used(&self) -> Duration {
        self.last_used.duration_since(self.created)
    }

    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// The client reads these partitions, too, or otherwise than before, and those no more.
    pub(super) fn change(&mut self, asked: Vec<(PartitionName, FetchPartition)>, forgotten: &[PartitionName]) {
        for (name, asked) in asked {
            self.ask(name, asked);
        }
        for name in forgotten {
            if let Some(remembered) = self.partitions.remove(name) {
                self.turns.remove(&remembered.turn);
            }
        }
    }

    /// All partitions, in their turn.
    pub(super) fn in_turn(&self) -> Vec<(PartitionName, FetchPartition)> {
        let asked = |name: &PartitionName| Some((name.clone(), self.partitions.get(name)?.asked.clone()));
        self.turns.values().filter_map(asked).collect()
    }

    /// Whether an answer says anything that the client does not know; it does then. What gives records is last next time.
    pub(super) fn is_news(&mut self, name: &PartitionName, data: &FetchPartitionData) -> bool {
        let Some(remembered) = self.partitions.get(name) else { return false };
        let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let is_news = has_records
            || data.error_code != ErrorCode::None
            || data.high_watermark != remembered.high_watermark
            || data.log_start_offset != remembered.log_start_offset
            || data.preferred_read_replica != NodeId::NONE
            || data.diverging_epoch != DivergingEpoch::default();
        self.tell(name, data);
        if has_records {
            self.move_to_the_end(name);
        }
        is_news
    }

    fn ask(&mut self, name: PartitionName, asked: FetchPartition) {
        if let Some(remembered) = self.partitions.get_mut(&name) {
            remembered.asked = asked;
            return;
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        self.turns.insert(turn, name.clone());
        let remembered = Remembered { asked, high_watermark: UNTOLD, log_start_offset: UNTOLD, turn };
        self.partitions.insert(name, remembered);
    }

    fn tell(&mut self, name: &PartitionName, data: &FetchPartitionData) {
        let Some(remembered) = self.partitions.get_mut(name) else { return };
        let failed = data.error_code != ErrorCode::None;
        // When an error goes, the partition is told of whether anything else is new or not.
        remembered.high_watermark = if failed { UNTOLD } else { data.high_watermark };
        remembered.log_start_offset = data.log_start_offset;
    }

    fn move_to_the_end(&mut self, name: &PartitionName) {
        let Some(remembered) = self.partitions.get_mut(name) else { return };
        if let Some(name) = self.turns.remove(&remembered.turn) {
            remembered.turn = self.next_turn;
            self.turns.insert(self.next_turn, name);
            self.next_turn += 1;
        }
    }
}
