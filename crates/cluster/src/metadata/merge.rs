//! What an answer changes in what is known. Without I/O.
//!
//! | what the answer says | what becomes of what is known |
//! |---|---|
//! | no brokers at all | nothing: the broker is only starting |
//! | another cluster id | everything is forgotten, then the answer is taken |
//! | brokers, controller | replaced |
//! | all topics were asked for, and one is missing | it is forgotten |
//! | a topic under another id (KIP-516) | replaced: it was made anew, and its epochs count from the start |
//! | a partition with an older leader epoch (KIP-320) | the known one stays |
//! | a partition with an epoch of -1 | replaced: epochs that are not told cannot be compared |
//! | fewer partitions under the same id | the known ones stay: partitions are never taken away |
//! | an error about a known topic, retriable | what is known stays, beside the error |
//! | UNKNOWN_TOPIC_OR_PARTITION where there are no ids, or an error that lasts | the partitions are forgotten |
//!
//! Leaders that come with Produce and Fetch answers (KIP-951) count only with an epoch newer than the known one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_connection::Address;
use ottla_wire::messages::{MetadataBroker, MetadataPartition, MetadataResponse, MetadataTopic};
use ottla_wire::{ErrorCode, TopicId};

use super::{Broker, Leader, Metadata, PartitionMetadata, TopicMetadata, UseMark};

/// What is known after an answer, and what it left open.
#[derive(Debug)]
pub(crate) struct Merged {
    /// What is known now.
    pub(crate) metadata: Metadata,
    /// Topics with a partition that has no leader now, or an error that will pass: worth asking again soon.
    pub(crate) unsettled: Vec<Arc<str>>,
    /// The answer came from another cluster: what it was not asked for is not known any more.
    pub(crate) is_another_cluster: bool,
}

/// Takes in `answer`, which was asked for all topics or for some. `None`: it says nothing.
pub(crate) fn merge(known: &Metadata, answer: MetadataResponse, asked_for_all: bool) -> Option<Merged> {
    let brokers: BTreeMap<_, _> =
        answer.brokers.iter().filter_map(broker).map(|broker| (broker.node, broker)).collect();
    if brokers.is_empty() {
        return None;
    }
    let cluster_id: Option<Arc<str>> = answer.cluster_id.map(Into::into);
    let is_another = matches!((&known.cluster_id, &cluster_id), (Some(known), Some(now)) if known != now);
    if is_another {
        tracing::warn!(was = ?known.cluster_id, is = ?cluster_id, "the brokers are of another cluster than before");
    }
    let mut topics = BTreeMap::new();
    let mut unsettled = Vec::new();
    if !asked_for_all && !is_another {
        topics.clone_from(&known.topics);
    }
    for topic in answer.topics {
        let Some(name) = topic.name.as_deref() else { continue };
        let before = known.topics.get(name).filter(|_| !is_another);
        let merged = merge_topic(before.map(AsRef::as_ref), name, &topic);
        if is_unsettled(&merged) {
            unsettled.push(Arc::clone(&merged.name));
        }
        topics.insert(Arc::clone(&merged.name), Arc::new(merged));
    }
    let names = names_by_id(&topics);
    let controller = answer.controller_id.known().filter(|node| brokers.contains_key(node));
    let cluster_id = cluster_id.or_else(|| known.cluster_id.clone());
    let all_topics = asked_for_all || (known.all_topics && !is_another);
    let metadata = Metadata { cluster_id, brokers, controller, topics, names, all_topics };
    Some(Merged { metadata, unsettled, is_another_cluster: is_another })
}

/// Takes in who leads a partition. True if that is news.
pub(crate) fn observe_leader(known: &mut Metadata, topic: &str, partition: i32, leader: Leader) -> bool {
    // Without an epoch nothing tells whether it is news; a node that is not known could not be reached.
    let Some(epoch) = leader.epoch.filter(|_| known.brokers.contains_key(&leader.node)) else { return false };
    let Some(topic) = known.topics.get_mut(topic) else { return false };
    let is_news = |known: &PartitionMetadata| known.leader_epoch.is_some_and(|known| known < epoch);
    if !topic.partition(partition).is_some_and(is_news) {
        return false;
    }
    let topic = Arc::make_mut(topic);
    if let Some(known) = topic.partitions.iter_mut().find(|known| known.partition == partition) {
        known.leader = Some(leader.node);
        known.leader_epoch = Some(epoch);
        known.error = None;
    }
    true
}

/// Takes in where a broker listens. True if that is news.
pub(crate) fn observe_node(known: &mut Metadata, broker: Broker) -> bool {
    match known.brokers.get(&broker.node) {
        Some(before) if before.address == broker.address => false,
        _ => {
            known.brokers.insert(broker.node, broker);
            true
        }
    }
}

/// Forgets the topics that are not to be kept. True if there were any.
pub(crate) fn forget_topics(known: &mut Metadata, keep: impl Fn(&str) -> bool) -> bool {
    let before = known.topics.len();
    known.topics.retain(|name, _| keep(name));
    if known.topics.len() == before {
        return false;
    }
    known.names = names_by_id(&known.topics);
    known.all_topics = false;
    true
}

fn names_by_id(topics: &BTreeMap<Arc<str>, Arc<TopicMetadata>>) -> BTreeMap<TopicId, Arc<str>> {
    topics.values().filter_map(|topic| Some((topic.id?, Arc::clone(&topic.name)))).collect()
}

fn broker(broker: &MetadataBroker) -> Option<Broker> {
    let port = u16::try_from(broker.port).ok().filter(|port| *port > 0)?;
    let node = broker.node_id.known().filter(|_| !broker.host.is_empty())?;
    let rack = broker.rack.as_deref().map(Into::into);
    Some(Broker { node, address: Address::new(broker.host.as_str(), port), rack })
}

fn merge_topic(before: Option<&TopicMetadata>, name: &str, answer: &MetadataTopic) -> TopicMetadata {
    let id = answer.topic_id.known();
    // Under another id it is another topic: what is known of the one before says nothing about it.
    let before = before.filter(|before| before.id.is_none() || id.is_none() || before.id == id);
    let error = answer.error_code.into_result().err();
    let known = before.map_or(&[][..], |before| &before.partitions);
    let partitions = match error {
        None => merge_partitions(known, answer, before.is_some_and(|before| before.id.is_some() && before.id == id)),
        Some(error) if outlives(error, before) => known.to_vec(),
        Some(_) => Vec::new(),
    };
    TopicMetadata {
        name: before.map_or_else(|| name.into(), |before| Arc::clone(&before.name)),
        id: id.or_else(|| before.and_then(|before| before.id)),
        is_internal: answer.is_internal || before.is_some_and(|before| before.is_internal),
        partitions,
        error,
        used: before.map_or_else(UseMark::default, |before| before.used.clone()),
    }
}

/// Whether what is known of a topic outlives an error about it.
fn outlives(error: ErrorCode, before: Option<&TopicMetadata>) -> bool {
    // Where there are ids, a topic made anew is told by its id. Where there are none, all that can tell is that the
    // topic was gone in between: then its epochs must be forgotten, or its new leaders would look old.
    let has_id = before.is_some_and(|before| before.id.is_some());
    error.is_retriable() && (error != ErrorCode::UnknownTopicOrPartition || has_id)
}

fn merge_partitions(known: &[PartitionMetadata], answer: &MetadataTopic, is_same_id: bool) -> Vec<PartitionMetadata> {
    let known = known.iter().map(|known| (known.partition, known)).collect::<BTreeMap<_, _>>();
    let mut merged = BTreeMap::new();
    for answer in &answer.partitions {
        if answer.partition_index >= 0 {
            let partition = merge_partition(known.get(&answer.partition_index).copied(), answer);
            merged.insert(partition.partition, partition);
        }
    }
    if is_same_id {
        for (partition, known) in known {
            merged.entry(partition).or_insert_with(|| known.clone());
        }
    }
    merged.into_values().collect()
}

fn merge_partition(known: Option<&PartitionMetadata>, answer: &MetadataPartition) -> PartitionMetadata {
    let leader_epoch = answer.leader_epoch.known();
    let is_newer = |known: &&PartitionMetadata| matches!((known.leader_epoch, leader_epoch), (Some(known), Some(answered)) if answered < known);
    if let Some(newer) = known.filter(is_newer) {
        return newer.clone();
    }
    PartitionMetadata {
        partition: answer.partition_index,
        leader: answer.leader_id.known(),
        leader_epoch,
        replicas: answer.replicas.all().to_vec(),
        in_sync_replicas: answer.replicas.in_sync().to_vec(),
        offline_replicas: answer.replicas.offline().to_vec(),
        error: answer.error_code.into_result().err(),
    }
}

fn is_unsettled(topic: &TopicMetadata) -> bool {
    match topic.error {
        // A topic that does not exist may never do; whoever needs it asks again.
        Some(error) => error.is_retriable() && error != ErrorCode::UnknownTopicOrPartition,
        None => topic.partitions.iter().any(|partition| partition.leader.is_none()),
    }
}
