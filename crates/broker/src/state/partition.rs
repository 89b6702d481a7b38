//! A partition: its replicas, who leads it, and what each replica holds.
//!
//! The bytes stand once. `log` is the log of the *owner* (the leader, or the last one there was); every other replica
//! is a [`Copy`]: how much of that log it shares, and, after a change of leader, the batches that it alone still has
//! (its *tail*). A replica that follows gives its tail up, as Kafka's truncate on becoming followers (KIP-101); one that
//! is dead keeps it, and may win with it in an unclean election.
//!
//! Invariants: the leader, while it is up, is the owner. No copy shares more than the log has. The high watermark never
//! passes the end of any in-sync replica, and goes back only when an election loses records.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_wire::NodeId;

use crate::log::{Log, StoredBatch};
use crate::settings::Loss;

/// One partition of a topic.
#[derive(Debug)]
pub(crate) struct Partition {
    /// The owner's log.
    pub(crate) log: Log,
    owner: NodeId,
    copies: BTreeMap<NodeId, Copy>,
    replicas: Vec<NodeId>,
    in_sync: Vec<NodeId>,
    leader: Option<NodeId>,
    leader_epoch: i32,
    high_watermark: i64,
}

/// What a replica holds that is not the owner.
#[derive(Debug, Default)]
struct Copy {
    /// Up to here its log is the owner's.
    shared_end: i64,
    /// What follows there, and is not in the owner's log.
    tail: Vec<StoredBatch>,
    /// Where its log began when it last had more than the owner's: what was deleted from it before is gone for good.
    start_offset: i64,
    /// Since when it has not held all that the leader has.
    lagging_since: Option<Instant>,
}

impl Partition {
    /// An empty partition on those nodes, the first of them its leader.
    pub(crate) fn new(replicas: Vec<NodeId>) -> Self {
        let owner = replicas.first().copied().unwrap_or_default();
        let copies = replicas.iter().skip(1).map(|node| (*node, Copy::default())).collect();
        let mut log = Log::default();
        log.epochs.assign(0, 0);
        Self {
            log,
            owner,
            copies,
            in_sync: replicas.clone(),
            leader: replicas.first().copied(),
            replicas,
            leader_epoch: 0,
            high_watermark: 0,
        }
    }

    /// The nodes that hold it, the preferred leader first.
    pub(crate) fn replicas(&self) -> &[NodeId] {
        &self.replicas
    }

    /// The replicas that count for acks=all.
    pub(crate) fn in_sync(&self) -> &[NodeId] {
        &self.in_sync
    }

    /// The leader, `None` while none of the candidates is up.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Counts the changes of leader.
    pub(crate) fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// Up to here, exclusive, consumers may read.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Up to here, exclusive, consumers may read from `node`.
    pub(crate) fn readable_end(&self, node: NodeId) -> i64 {
        self.high_watermark.min(self.end_on(node))
    }

    /// Followers for which `follows` says so take over what the leader has, and enter the in-sync replicas.
    pub(crate) fn replicate(&mut self, now: Instant, follows: impl Fn(NodeId) -> bool) {
        let Some(leader) = self.leader else { return };
        let end = self.log.end_offset();
        for (node, copy) in &mut self.copies {
            if !follows(*node) {
                if copy.shared_end < end {
                    copy.lagging_since.get_or_insert(now);
                }
                continue;
            }
            *copy = Copy { shared_end: end, ..Copy::default() };
            if !self.in_sync.contains(node) {
                self.in_sync.push(*node);
            }
        }
        let (replicas, in_sync) = (&self.replicas, &mut self.in_sync);
        in_sync.sort_by_key(|node| replicas.iter().position(|replica| replica == node));
        debug_assert!(self.in_sync.contains(&leader), "an elected leader is in sync with itself");
        self.advance_high_watermark();
    }

    /// Since when the first of the followers has been behind that are not in time.
    pub(crate) fn lagging_since(&self) -> Option<Instant> {
        let in_sync = |node: &NodeId| self.in_sync.contains(node);
        self.copies.iter().filter(|(node, _)| in_sync(node)).filter_map(|(_, copy)| copy.lagging_since).min()
    }

    /// Takes followers out of the in-sync replicas that have been behind for `limit` (`replica.lag.time.max.ms`).
    pub(crate) fn drop_laggards(&mut self, now: Instant, limit: Duration) {
        let copies = &self.copies;
        let lags = |node: &NodeId| {
            let since = copies.get(node).and_then(|copy| copy.lagging_since);
            since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
        };
        let leader = self.leader;
        self.in_sync.retain(|node| Some(*node) == leader || !lags(node));
        self.advance_high_watermark();
    }

    /// The controller has found `node` gone: it leaves the in-sync replicas, unless it is the last of them.
    pub(crate) fn fence(&mut self, node: NodeId) {
        if self.in_sync.len() > 1 {
            self.in_sync.retain(|member| *member != node);
        }
        self.advance_high_watermark();
    }

    /// Sees to it that a node leads that is up: an in-sync one in the order of the replicas, or any, where `unclean`.
    /// Returns whether anything changed.
    pub(crate) fn elect(&mut self, is_up: impl Fn(NodeId) -> bool, unclean: bool) -> bool {
        if self.leader.is_some_and(&is_up) {
            return false;
        }
        let mut up = self.replicas.iter().copied().filter(|node| is_up(*node));
        let clean = up.clone().find(|node| self.in_sync.contains(node));
        match clean.or_else(|| up.next().filter(|_| unclean)) {
            Some(node) => self.become_leader(node),
            None if self.leader.is_none() => return false,
            None => {
                self.leader = None;
                self.leader_epoch += 1;
            }
        }
        true
    }

    /// Makes an in-sync replica the leader. Returns whether `node` is one.
    pub(crate) fn move_leader(&mut self, node: NodeId) -> bool {
        if !self.in_sync.contains(&node) {
            return false;
        }
        if self.leader != Some(node) {
            self.become_leader(node);
        }
        true
    }

    /// Takes from a node what it loses in dying.
    pub(crate) fn lose(&mut self, node: NodeId, loss: Loss) {
        if loss == Loss::Nothing || !self.replicas.contains(&node) {
            return;
        }
        if node == self.owner {
            // Others may hold what it loses: let the log be theirs first.
            let fullest = self.copies.iter().max_by_key(|(_, copy)| copy.shared_end).map(|(node, _)| *node);
            match fullest {
                Some(fullest) => self.switch_owner(fullest),
                None => return self.lose_log(loss),
            }
        }
        let high_watermark = self.high_watermark;
        let Some(copy) = self.copies.get_mut(&node) else { return };
        let end = copy.tail.last().map_or(copy.shared_end, |batch| batch.entry.last_offset + 1);
        let tail = copy.tail.iter().map(|batch| batch.entry.base_offset);
        let shared_end = copy.shared_end;
        let shared = self.log.entries().map(|entry| entry.base_offset).filter(|base| *base < shared_end);
        let kept_end = match loss {
            Loss::Nothing => end,
            Loss::Unreplicated => high_watermark,
            Loss::LastBatches(batches) => {
                let mut newest_first = shared.chain(tail).collect::<Vec<_>>().into_iter().rev();
                batches.checked_sub(1).map_or(end, |before| newest_first.nth(before).unwrap_or(0))
            }
            Loss::Everything => 0,
        };
        copy.tail.retain(|batch| batch.entry.last_offset < kept_end);
        copy.shared_end = copy.shared_end.min(kept_end);
    }

    fn lose_log(&mut self, loss: Loss) {
        match loss {
            Loss::Nothing => {}
            Loss::Unreplicated => drop(self.log.truncate(self.high_watermark)),
            Loss::LastBatches(batches) => {
                let end = batches.checked_sub(1).map(|before| self.log.entries().rev().nth(before));
                match end {
                    None => {}
                    Some(Some(entry)) => drop(self.log.truncate(entry.base_offset)),
                    Some(None) => drop(self.log.truncate(self.log.start_offset())),
                }
            }
            Loss::Everything => self.log.clear(),
        }
        self.high_watermark = self.high_watermark.min(self.log.end_offset());
    }

    fn become_leader(&mut self, node: NodeId) {
        self.switch_owner(node);
        self.leader = Some(node);
        self.leader_epoch += 1;
        if !self.in_sync.contains(&node) {
            self.in_sync = vec![node];
        }
        self.high_watermark = self.high_watermark.min(self.log.end_offset());
        self.log.epochs.assign(self.leader_epoch, self.log.end_offset());
        // Whoever lagged behind the last leader has its time again under this one.
        self.copies.values_mut().for_each(|copy| copy.lagging_since = None);
    }

    /// Makes the log that of `node`; what only the others have goes into their tails.
    fn switch_owner(&mut self, node: NodeId) {
        let Some(copy) = self.copies.remove(&node) else { return };
        let start_offset = self.log.start_offset();
        let removed = self.log.truncate(copy.shared_end);
        for other in self.copies.values_mut() {
            if other.shared_end > copy.shared_end {
                let shared = removed.iter().filter(|batch| batch.entry.last_offset < other.shared_end).cloned();
                other.tail = shared.chain(std::mem::take(&mut other.tail)).collect();
                other.shared_end = copy.shared_end;
                other.start_offset = start_offset;
            }
        }
        let former = Copy { shared_end: copy.shared_end, tail: removed, start_offset, lagging_since: None };
        self.copies.insert(self.owner, former);
        self.owner = node;
        copy.tail.iter().for_each(|batch| self.log.append_stored(batch));
        self.log.delete_before(copy.start_offset);
    }

    /// The offset behind the last record that `node` has.
    pub(crate) fn end_on(&self, node: NodeId) -> i64 {
        if node == self.owner {
            return self.log.end_offset();
        }
        self.copies.get(&node).map_or(0, |copy| copy.shared_end)
    }

    fn advance_high_watermark(&mut self) {
        if self.leader.is_none() {
            return;
        }
        let replicated = self.in_sync.iter().map(|node| self.end_on(*node)).min().unwrap_or(0);
        self.high_watermark = self.high_watermark.max(replicated.min(self.log.end_offset()));
    }
}

#[cfg(test)]
mod tests;
