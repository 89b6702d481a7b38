//! Which nodes could not be connected to, when to try again, and which node to take where any will do. Without I/O.
//!
//! A failed connect holds off the next one to the same node, longer each time (`reconnect.backoff.ms`); a successful
//! one forgets that, as does an answer. Among nodes that will all do, those that are connected come first, of them those that answered
//! last time, the least loaded foremost; then those that have not failed, in random order; those that wait to be tried
//! again come last.

use std::collections::BTreeMap;
use std::time::Instant;

use fastrand::Rng;
use ottla_wire::NodeId;

use crate::Backoff;

/// What is known of the nodes' reachability.
#[derive(Debug)]
pub(crate) struct Reachability {
    backoff: Backoff,
    random: Rng,
    failed: BTreeMap<NodeId, Failed>,
}

#[derive(Debug)]
struct Failed {
    failures: u32,
    connect_at: Instant,
}

/// A node that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) node: NodeId,
    /// How many requests its connection has queued or in flight; `None`: it is not connected.
    pub(crate) load: Option<usize>,
}

impl Reachability {
    pub(crate) fn new(backoff: Backoff, random: Rng) -> Self {
        Self { backoff, random, failed: BTreeMap::new() }
    }

    /// The node was connected to, or has answered.
    pub(crate) fn handle_reached(&mut self, node: NodeId) {
        self.failed.remove(&node);
    }

    /// The node could not be connected to, or did not answer.
    pub(crate) fn handle_failed(&mut self, now: Instant, node: NodeId) {
        let failures = self.failed.get(&node).map_or(1, |failed| failed.failures.saturating_add(1));
        let connect_at = now + self.backoff.next_delay(failures);
        self.failed.insert(node, Failed { failures, connect_at });
    }

    /// When the node may be connected to, if not now.
    pub(crate) fn connect_at(&self, now: Instant, node: NodeId) -> Option<Instant> {
        self.failed.get(&node).map(|failed| failed.connect_at).filter(|connect_at| *connect_at > now)
    }

    /// Forgets the nodes that have left the cluster.
    pub(crate) fn retain(&mut self, is_known: impl Fn(NodeId) -> bool) {
        self.failed.retain(|node, _| is_known(*node));
    }

    /// The candidates that may be asked now, the best first.
    pub(crate) fn in_order(&mut self, now: Instant, candidates: &[Candidate]) -> Vec<NodeId> {
        let mut ranked: Vec<_> = candidates
            .iter()
            .filter(|candidate| candidate.load.is_some() || self.connect_at(now, candidate.node).is_none())
            .map(|candidate| {
                let failures = self.failed.get(&candidate.node).map_or(0, |failed| failed.failures);
                (candidate.load.is_none(), failures, candidate.load, candidate.node)
            })
            .collect();
        self.random.shuffle(&mut ranked);
        ranked.sort_by_key(|(is_unconnected, failures, load, _)| (*is_unconnected, *failures, *load));
        ranked.into_iter().map(|(.., node)| node).collect()
    }

    /// Of candidates that all have to wait, the one that waits the least.
    pub(crate) fn first_to_wait_for(&self, candidates: &[Candidate]) -> Option<NodeId> {
        let at = |candidate: &&Candidate| self.failed.get(&candidate.node).map(|failed| failed.connect_at);
        candidates.iter().min_by_key(at).map(|candidate| candidate.node)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FIRST: NodeId = NodeId(1);
    const SECOND: NodeId = NodeId(2);
    const THIRD: NodeId = NodeId(3);

    fn reachability(seed: u64) -> Reachability {
        let (initial, max) = (Duration::from_millis(50), Duration::from_secs(1));
        Reachability::new(Backoff::new(initial, max, Rng::with_seed(seed)), Rng::with_seed(seed))
    }

    #[allow(clippy::disallowed_methods, reason = "any origin will do: the machine reads no clock")]
    fn start() -> Instant {
        Instant::now()
    }

    fn unconnected(node: NodeId) -> Candidate {
        Candidate { node, load: None }
    }

    fn connected(node: NodeId, load: usize) -> Candidate {
        Candidate { node, load: Some(load) }
    }

    #[test]
    fn each_failure_holds_off_longer_and_a_success_forgets() {
        let (now, mut nodes) = (start(), reachability(1));
        assert_eq!(nodes.connect_at(now, FIRST), None);
        let mut delays = Vec::new();
        for _ in 0..8 {
            nodes.handle_failed(now, FIRST);
            delays.push(nodes.connect_at(now, FIRST).unwrap() - now);
        }
        assert!(delays[..5].is_sorted(), "{delays:?}");
        assert!(delays.iter().all(|delay| *delay <= Duration::from_millis(1200)), "{delays:?}");
        let last = now + delays[7];
        let before = now + delays[7].saturating_sub(Duration::from_millis(1));
        assert_eq!(nodes.connect_at(before, FIRST), Some(last));
        assert_eq!(nodes.connect_at(last, FIRST), None);
        nodes.handle_reached(FIRST);
        assert_eq!(nodes.connect_at(now, FIRST), None);
    }

    #[test]
    fn connected_and_idle_nodes_come_first() {
        let mut nodes = reachability(1);
        let candidates = [unconnected(FIRST), connected(SECOND, 3), connected(THIRD, 0)];
        assert_eq!(nodes.in_order(start(), &candidates), [THIRD, SECOND, FIRST]);
    }

    #[test]
    fn a_failed_node_is_left_out_until_its_back_off_ends_and_then_comes_last() {
        let (now, mut nodes) = (start(), reachability(1));
        let candidates = [unconnected(FIRST), unconnected(SECOND)];
        nodes.handle_failed(now, FIRST);
        assert_eq!(nodes.in_order(now, &candidates), [SECOND]);
        assert_eq!(nodes.in_order(now + Duration::from_secs(1), &candidates), [SECOND, FIRST]);
        nodes.handle_failed(now + Duration::from_secs(5), SECOND);
        assert_eq!(nodes.first_to_wait_for(&candidates), Some(FIRST));
    }

    #[test]
    fn equal_nodes_come_in_an_order_that_the_seed_decides() {
        let candidates: Vec<_> = (0..20).map(|node| unconnected(NodeId(node))).collect();
        let order = |seed| reachability(seed).in_order(start(), &candidates);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn nodes_that_have_left_are_forgotten() {
        let (now, mut nodes) = (start(), reachability(1));
        nodes.handle_failed(now, FIRST);
        nodes.retain(|node| node != FIRST);
        assert_eq!(nodes.connect_at(now, FIRST), None);
    }
}
