//! What is known of the cluster at one moment. Readers share it; a change makes a new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_connection::Address;
use ottla_wire::{ErrorCode, LeaderEpoch, NodeId, TopicId};

/// The cluster as far as it is known. Immutable: [`Cluster::metadata`](crate::Cluster::metadata) gives the newest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub(crate) cluster_id: Option<Arc<str>>,
    pub(crate) brokers: BTreeMap<NodeId, Broker>,
    pub(crate) controller: Option<NodeId>,
    pub(crate) topics: BTreeMap<Arc<str>, Arc<TopicMetadata>>,
    pub(crate) names: BTreeMap<TopicId, Arc<str>>,
    pub(crate) all_topics: bool,
}

impl Metadata {
    /// The cluster's id, once a broker has told it.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The brokers, by their node ids. Empty until the first answer.
    pub fn brokers(&self) -> impl ExactSizeIterator<Item = &Broker> {
        self.brokers.values()
    }

    /// One broker.
    pub fn broker(&self, node: NodeId) -> Option<&Broker> {
        self.brokers.get(&node)
    }

    /// The controller, or with KRaft the broker that passes requests on to it.
    pub fn controller(&self) -> Option<NodeId> {
        self.controller
    }

    /// The topics that are known, by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<TopicMetadata>> {
        self.topics.values()
    }

    /// One topic. Present also where all that is known is an [`error`](TopicMetadata::error).
    ///
    /// Looking a topic up, here or through the methods below, is what keeps it from being forgotten
    /// (`metadata.max.idle.ms`).
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicMetadata>> {
        let topic = self.topics.get(name)?;
        topic.used.set();
        Some(topic)
    }

    /// The topic that has this id now.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicMetadata>> {
        self.topic(self.names.get(&id)?)
    }

    /// How many partitions the topic has; `None` where it is not known.
    pub fn partition_count(&self, topic: &str) -> Option<usize> {
        self.topic(topic).map(|topic| topic.partitions.len()).filter(|count| *count > 0)
    }

    /// One partition.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionMetadata> {
        self.topic(topic)?.partition(partition)
    }

    /// The partition's leader; `None` where it has none, or none is known.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<Leader> {
        self.partition(topic, partition)?.leader()
    }

    /// Whether this is news to who knew `before`. Which broker is the controller is none, where one was known: those of a KRaft
    /// cluster name any of them, each time another.
    pub(crate) fn says_more_than(&self, before: &Self) -> bool {
        let Self { cluster_id, brokers, controller, topics, names, all_topics } = self;
        let is_controller_news = before.controller.is_none() && controller.is_some();
        is_controller_news
            || (cluster_id, brokers, topics, names, all_topics)
                != (&before.cluster_id, &before.brokers, &before.topics, &before.names, &before.all_topics)
    }

    /// Whether the topics are all that the cluster has (and this client may see), not only those asked about.
    pub fn has_all_topics(&self) -> bool {
        self.all_topics
    }
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broker {
    /// Its number in the cluster.
    pub node: NodeId,
    /// Where it listens.
    pub address: Address,
    /// The rack that it stands in, where it says so.
    pub rack: Option<Arc<str>>,
}

impl Broker {
    /// A broker, as an answer named it.
    pub fn new(node: NodeId, address: Address, rack: Option<Arc<str>>) -> Self {
        Self { node, address, rack }
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicMetadata {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, where the cluster has ids. Another id under the same name is another topic.
    pub id: Option<TopicId>,
    /// Whether it is Kafka's own (`__consumer_offsets` and the like).
    pub is_internal: bool,
    /// Its partitions, in the order of their indexes.
    pub partitions: Vec<PartitionMetadata>,
    /// What the cluster said instead of describing it. Partitions that are there all the same were known before.
    pub error: Option<ErrorCode>,
    pub(crate) used: UseMark,
}

impl TopicMetadata {
    /// One partition.
    pub fn partition(&self, partition: i32) -> Option<&PartitionMetadata> {
        let position = self.partitions.binary_search_by_key(&partition, |known| known.partition).ok()?;
        self.partitions.get(position)
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMetadata {
    /// Its index in the topic.
    pub partition: i32,
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// The leader's epoch, where the cluster tells epochs (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    /// The nodes that hold it.
    pub replicas: Vec<NodeId>,
    /// Those that are in sync.
    pub in_sync_replicas: Vec<NodeId>,
    /// Those that are offline.
    pub offline_replicas: Vec<NodeId>,
    /// LEADER_NOT_AVAILABLE and the like.
    pub error: Option<ErrorCode>,
}

impl PartitionMetadata {
    /// The leader and its epoch.
    pub fn leader(&self) -> Option<Leader> {
        Some(Leader { node: self.leader?, epoch: self.leader_epoch })
    }
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "these two are what a leader is")]
pub struct Leader {
    /// The node.
    pub node: NodeId,
    /// Its epoch; `None` where the cluster does not tell epochs.
    pub epoch: Option<LeaderEpoch>,
}

/// Whether somebody has looked a topic up. Shared by all snapshots that have the topic; no part of what is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct UseMark(Arc<AtomicBool>);

impl UseMark {
    fn set(&self) {
        // Read first: a lookup by many threads at once should not make them fight over a cache line.
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was set since it was last taken.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl PartialEq for UseMark {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for UseMark {}

/// Which topics to ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "Metadata can be asked for these only")]
pub enum Topics {
    /// None: the brokers and the controller only.
    None,
    /// These. Those that were asked about before and are still in use are refreshed along with them.
    Named(Vec<Arc<str>>),
    /// All that the cluster has.
    All,
}

impl Topics {
    /// Topics by name.
    pub fn named<T: Into<Arc<str>>>(names: impl IntoIterator<Item = T>) -> Self {
        Self::Named(names.into_iter().map(Into::into).collect())
    }
}
