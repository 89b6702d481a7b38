//! What the leader looks at once it has assigned: whether the group's topics still are as they were then. New
//! partitions, and topics that appear or vanish, make it ask for a rebalance.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_cluster::{Metadata, TopicMetadata};
use ottla_wire::ErrorCode;

use super::state::ClassicGroup;
use crate::RebalanceReason;
use crate::assignor::{TopicPartitions, Topics};

/// The topics of a group's members, and how they were when the leader assigned them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(super) topics: BTreeSet<Arc<str>>,
    assigned: Topics,
    /// The first topic that is different now.
    changed: Option<Arc<str>>,
}

impl Watch {
    pub(super) fn new(topics: BTreeSet<Arc<str>>, assigned: Topics) -> Self {
        Self { topics, assigned, changed: None }
    }

    fn compare(&mut self, known: &Topics, with_racks: bool) {
        let is_same = |one: Option<&TopicPartitions>, other: Option<&TopicPartitions>| match (one, other) {
            (Some(one), Some(other)) => one.count == other.count && (!with_racks || one.racks == other.racks),
            (None, None) => true,
            _ => false,
        };
        let mut changed = self.topics.iter().filter(|topic| !is_same(self.assigned.0.get(*topic), known.0.get(*topic)));
        self.changed = changed.next().cloned();
    }
}

impl ClassicGroup {
    /// The topics that the leader looks at; `None` where the member does not lead.
    pub(crate) fn watched_topics(&self) -> Option<&BTreeSet<Arc<str>>> {
        self.watch.as_ref().map(|watch| &watch.topics)
    }

    /// Those that were not known when the leader assigned, and still are not.
    pub(crate) fn unknown_topics(&self) -> Vec<Arc<str>> {
        let Some(watch) = self.watch.as_ref().filter(|watch| watch.changed.is_none()) else { return Vec::new() };
        watch.topics.iter().filter(|topic| !watch.assigned.0.contains_key(*topic)).cloned().collect()
    }

    /// Takes in what is known of the topics that are watched.
    pub(crate) fn handle_topics(&mut self, known: &Topics) {
        // Racks decide nothing for a leader that does not know its own, as in Java.
        let with_racks = self.config.client_rack.is_some();
        if let Some(watch) = &mut self.watch {
            watch.compare(known, with_racks);
            self.check_watch();
        }
    }

    pub(super) fn check_watch(&mut self) {
        if let Some(topic) = self.watch.as_ref().and_then(|watch| watch.changed.clone()) {
            self.need_rebalance(RebalanceReason::MetadataChanged { topic });
        }
    }
}

/// What is known of topics: those that exist, with their partitions and racks.
pub(crate) fn topics_of(metadata: &Metadata, names: &BTreeSet<Arc<str>>) -> Topics {
    let known = names.iter().filter_map(|name| {
        let topic = metadata.topic(name)?;
        // What was known of a topic that is gone stays beside the error.
        let is_gone = topic.error == Some(ErrorCode::UnknownTopicOrPartition);
        (!is_gone && !topic.partitions.is_empty()).then(|| (Arc::clone(name), partitions_of(metadata, topic)))
    });
    Topics(known.collect())
}

fn partitions_of(metadata: &Metadata, topic: &TopicMetadata) -> TopicPartitions {
    let rack = |node: &ottla_wire::NodeId| metadata.broker(*node)?.rack.clone();
    let racks: Vec<Vec<Arc<str>>> =
        topic.partitions.iter().map(|partition| partition.replicas.iter().filter_map(rack).collect()).collect();
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let is_known = racks.iter().any(|racks| !racks.is_empty());
    TopicPartitions::new(count).racks(if is_known { racks } else { Vec::new() })
}
