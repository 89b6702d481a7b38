//! Brokers that owe an answer: somebody else may lead their partitions by now.
//!
//! A broker that hangs keeps its connections and answers nothing; one that has died cannot be reached. So where an answer
//! is [`LATE`], or a request fails, the cluster is asked about the topics of all partitions that the broker leads; and
//! asked again each time that metadata has come, until others lead them, or the broker answers. The cluster sets the pace of
//! that, not the attempts to reach the broker.
//!
//! A partition that gets another leader is fetched from there at once. The answer that it was waiting for is given up when
//! nobody waits for it any more.

use std::time::Instant;

use ottla_cluster::LATE;
use ottla_wire::NodeId;

use crate::plan::{Fetch, Lane};
use crate::state::State;

/// A lookup of starts, or of where epochs end, that is in flight.
#[derive(Debug)]
pub(crate) struct LookupInFlight {
    id: u64,
    node: NodeId,
    /// When its answer is late; `None`: it is.
    late_at: Option<Instant>,
}

impl State {
    /// The answer to a Fetch is late.
    pub(crate) fn handle_late(&mut self, fetch: &Fetch, now: Instant) {
        tracing::debug!(node = %fetch.node, "the answer to a fetch is late");
        self.doubt(fetch.node);
        self.leave_replicas_on(fetch.node, now);
    }

    /// Whether no partition waits for the answer to a Fetch any more.
    pub(crate) fn is_overtaken(&self, fetch: &Fetch) -> bool {
        let Some((session, mark)) = self.session_of(fetch) else { return true };
        let waits = |place| self.partition(place).is_some_and(|partition| partition.in_flight == Some(mark));
        !session.places().any(waits)
    }

    /// The answer to a Fetch is not waited for any longer.
    pub(crate) fn handle_overtaken(&mut self, fetch: &Fetch) {
        self.finish(fetch);
        if let Some(broker) = self.brokers.get_mut(&fetch.node).filter(|_| fetch.lane == Lane::Main) {
            broker.session.begin_anew();
        }
    }

    /// Lookups were sent.
    pub(crate) fn watch_lookups(&mut self, sent: impl Iterator<Item = (u64, NodeId)>, now: Instant) {
        self.lookups.extend(sent.map(|(id, node)| LookupInFlight { id, node, late_at: Some(now + LATE) }));
    }

    /// A lookup was answered, or failed.
    pub(crate) fn handle_lookup_ended(&mut self, id: u64, node: NodeId, is_answered: bool) {
        self.lookups.retain(|lookup| (lookup.id, lookup.node) != (id, node));
        if is_answered {
            self.handle_heard(node);
        } else {
            self.doubt(node);
        }
    }

    /// Doubts the brokers whose answers to lookups are late by now.
    pub(crate) fn doubt_late_lookups(&mut self, now: Instant) {
        let late = |lookup: &mut LookupInFlight| {
            let late_at = lookup.late_at.take_if(|late_at| *late_at <= now);
            late_at.map(|_| lookup.node)
        };
        let late: Vec<NodeId> = self.lookups.iter_mut().filter_map(late).collect();
        for node in late {
            tracing::debug!(%node, "the answer to a lookup is late");
            self.doubt(node);
        }
    }

    /// When [`doubt_late_lookups`](Self::doubt_late_lookups) is due.
    pub(crate) fn next_late_lookup(&self) -> Option<Instant> {
        self.lookups.iter().filter_map(|lookup| lookup.late_at).min()
    }

    /// The broker has answered.
    pub(crate) fn handle_heard(&mut self, node: NodeId) {
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.is_silent = false;
        }
    }

    /// The broker did not answer, or not in time.
    pub(crate) fn doubt(&mut self, node: NodeId) {
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.is_silent = true;
        }
        self.doubt_silent_brokers();
    }

    /// Has the cluster asked about what silent brokers lead.
    pub(crate) fn doubt_silent_brokers(&mut self) {
        self.sort();
        let silent = self.brokers.values().filter(|broker| broker.is_silent);
        let places: Vec<usize> = silent.flat_map(|broker| broker.places.iter().copied()).collect();
        for place in places {
            self.refresh(place);
        }
    }
}
