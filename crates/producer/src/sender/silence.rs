//! Brokers that owe an answer: somebody else may lead their partitions by now.
//!
//! An answer that is [`LATE`](ottla_cluster::LATE) casts doubt on the leader, as does a connection that fails: the cluster is asked for another
//! until there is one, or the node answers. Once there is one, the old one is not waited for any longer, and the batch is
//! sent again; it may have been written.

use std::time::Instant;

use ottla_wire::NodeId;

use super::answer::Attempt;
use super::{InFlight, Leaders, RequestId, Sender};
use crate::accumulator::PartitionKey;
use crate::{Error, SendFailure};

impl Sender {
    /// A broker that is late may hang, and the cluster may have noticed by now.
    pub(super) fn look_after_late_answers(&mut self, now: Instant, leaders: &impl Leaders) {
        let mut asked = Vec::new();
        for request in self.in_flight.values_mut() {
            if request.late_at.take_if(|late_at| *late_at <= now).is_some() {
                tracing::debug!(node = %request.node, "the answer to a produce request is late");
                self.nodes.entry(request.node).or_default().is_silent = true;
                asked.extend(request.partitions.iter().copied());
            }
        }
        for key in asked {
            self.refresh(key);
        }
        self.overtake(now, leaders);
    }

    /// Waits no longer for late answers about partitions that another node leads: they may never come.
    pub(super) fn overtake(&mut self, now: Instant, leaders: &impl Leaders) {
        let late: Vec<RequestId> =
            self.in_flight.iter().filter(|(_, request)| request.late_at.is_none()).map(|(id, _)| *id).collect();
        for id in late {
            let Some(InFlight { node, partitions, .. }) = self.in_flight.get_mut(&id) else { continue };
            let (node, turns) = (*node, &self.turns);
            let leader = |key: &PartitionKey| leaders.leader(&turns.get(key)?.topic_partition);
            let (moved, staying): (Vec<_>, Vec<_>) =
                partitions.drain(..).partition(|key| leader(key).is_some_and(|leader| leader != node));
            *partitions = staying;
            if partitions.is_empty() {
                self.request_done(id);
            }
            let source = SendFailure::LeaderMoved { was_sent: true };
            for key in moved {
                let error = |topic_partition| Error::NoAnswer {
                    topic_partition,
                    node,
                    may_have_been_written: true,
                    source: source.clone(),
                };
                self.failed(now, key, leaders, (node, Attempt::Sent), error);
            }
        }
    }

    /// Has the topics refreshed that nodes lead which do not answer: each time that metadata has come, so that the cluster sets
    /// the pace, and not the attempts to reach those nodes.
    pub(super) fn doubt_silent_leaders(&mut self, leaders: &impl Leaders) {
        let is_silent = |node: NodeId| self.nodes.get(&node).is_some_and(|node| node.is_silent);
        let doubtful =
            self.turns.iter().filter(|(_, turn)| leaders.leader(&turn.topic_partition).is_some_and(is_silent));
        let doubtful: Vec<PartitionKey> = doubtful.map(|(key, _)| *key).collect();
        for key in doubtful {
            self.refresh(key);
        }
    }
}
