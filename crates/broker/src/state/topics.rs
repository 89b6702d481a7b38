//! Making, growing and deleting topics, and where their replicas go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ottla_wire::{ErrorCode, NodeId, TopicId};

use super::{ClusterState, Partition, PartitionKey, Refused, TopicConfig, random_bytes};

/// The longest name that a topic may have.
const MAX_NAME_LENGTH: usize = 249;

/// The most partitions that one request may make: the state is in memory, and so is what answers about it.
const MAX_PARTITIONS: i32 = 100_000;

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) name: Arc<str>,
    pub(crate) config: Arc<TopicConfig>,
    pub(crate) partitions: Vec<Partition>,
}

impl Topic {
    /// A partition by its index.
    pub(crate) fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// The names of its partitions.
    pub(crate) fn keys(&self) -> impl Iterator<Item = PartitionKey> + use<> {
        let topic = self.id;
        (0..self.partitions.len() as i32).map(move |partition| PartitionKey { topic, partition })
    }

    /// How many replicas its partitions have.
    pub(crate) fn replication_factor(&self) -> usize {
        self.partitions.first().map_or(0, |partition| partition.replicas().len())
    }
}

/// A topic to be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    /// `None`: the cluster's default.
    pub(crate) partitions: Option<i32>,
    /// `None`: the cluster's default.
    pub(crate) replication_factor: Option<i16>,
    /// The replicas of each partition, where they are not to be chosen.
    pub(crate) assignment: Vec<Vec<NodeId>>,
    pub(crate) config: BTreeMap<String, String>,
}

impl ClusterState {
    /// Makes a topic; with `only_validate`, says only whether it could be made.
    pub(crate) fn create_topic(&mut self, new: NewTopic, only_validate: bool) -> Result<TopicId, Refused> {
        check_name(&new.name)?;
        if let Some(clash) = self.names.keys().find(|name| same_metric_name(name, &new.name)) {
            let reason = if **clash == *new.name {
                format!("Topic '{}' already exists.", new.name)
            } else {
                format!("Topic '{}' collides with existing topic: {clash}", new.name)
            };
            let code =
                if **clash == *new.name { ErrorCode::TopicAlreadyExists } else { ErrorCode::InvalidTopicException };
            return Err(Refused { code, reason });
        }
        let config = Arc::new(TopicConfig::new(new.config, &self.settings.topic_defaults)?);
        let replicas = if new.assignment.is_empty() {
            let count = new.partitions.unwrap_or(self.settings.default_partitions);
            let factor = new.replication_factor.unwrap_or(self.settings.default_replication_factor);
            self.place(self.created, count, factor)?
        } else {
            self.check_assignment(new.assignment, None)?
        };
        let id = TopicId(random_bytes(&mut self.random));
        if only_validate {
            return Ok(id);
        }
        let name: Arc<str> = new.name.into();
        let partitions = replicas.into_iter().map(Partition::new).collect();
        self.created += 1;
        self.names.insert(Arc::clone(&name), id);
        let topic = Topic { id, name, config, partitions };
        topic.keys().for_each(|key| self.changed.insert(key));
        self.topics.insert(id, topic);
        self.elect_where_needed();
        Ok(id)
    }

    /// Gives a topic another configuration, unless it was only to be checked.
    pub(crate) fn configure_topic(&mut self, id: TopicId, config: TopicConfig, only_validate: bool) {
        let Some(topic) = self.topics.get_mut(&id).filter(|_| !only_validate) else { return };
        topic.config = Arc::new(config);
        // Who may lead, and how many replicas have to be in sync, is among it.
        topic.keys().for_each(|key| self.changed.insert(key));
        self.elect_where_needed();
    }

    /// Deletes a topic with all that it holds.
    pub(crate) fn delete_topic(&mut self, id: TopicId) -> Result<(), Refused> {
        let topic = self.topics.remove(&id).ok_or_else(unknown_topic)?;
        self.names.remove(&topic.name);
        topic.keys().for_each(|key| self.changed.insert(key));
        self.forget_offsets_of(topic.name, id);
        Ok(())
    }

    /// Adds partitions to a topic until it has `count`.
    pub(crate) fn grow_topic(
        &mut self,
        id: TopicId,
        count: i32,
        assignment: Vec<Vec<NodeId>>,
        only_validate: bool,
    ) -> Result<(), Refused> {
        let topic = self.topics.get(&id).ok_or_else(unknown_topic)?;
        let (has, factor) = (topic.partitions.len() as i32, topic.replication_factor());
        if count <= has {
            let reason =
                format!("The topic {} currently has {has} partition(s); {count} would not be an increase.", topic.name);
            return Err(Refused { code: ErrorCode::InvalidPartitions, reason });
        }
        let replicas = if assignment.is_empty() {
            let first_leader = topic.partition(0).and_then(|partition| partition.replicas().first().copied());
            let place = self.live_nodes().position(|(node, _)| Some(node) == first_leader).unwrap_or(0);
            self.place(place + topic.partitions.len(), count - has, factor as i16)?
        } else {
            self.check_assignment(assignment, Some(count - has))?
        };
        if only_validate {
            return Ok(());
        }
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.partitions.extend(replicas.into_iter().map(Partition::new));
        }
        self.elect_where_needed();
        Ok(())
    }

    /// Deletes the records of a partition before `offset`, and returns the first offset that is left.
    pub(crate) fn delete_before(&mut self, key: PartitionKey, offset: i64) -> Option<i64> {
        let partition = self.partition_mut(key)?;
        partition.log.delete_before(offset.min(partition.high_watermark()));
        let start = partition.log.start_offset();
        self.changed.insert(key);
        Some(start)
    }

    /// Makes `node` the leader of a partition.
    pub(crate) fn move_leader(&mut self, key: PartitionKey, node: NodeId, now: Instant) -> Result<(), Refused> {
        let runs = self.is_running(node).unwrap_or(false);
        let partition = self.partition_mut(key).ok_or_else(unknown_topic)?;
        if !partition.replicas().contains(&node) {
            let reason = format!("node {node} is no replica of partition {}", key.partition);
            return Err(Refused { code: ErrorCode::ReplicaNotAvailable, reason });
        }
        if !runs || !partition.move_leader(node) {
            let reason = format!("node {node} is not in sync with the leader of partition {}", key.partition);
            return Err(Refused { code: ErrorCode::EligibleLeadersNotAvailable, reason });
        }
        self.changed.insert(key);
        self.replicate(key, now);
        Ok(())
    }

    /// Replicas for `count` partitions: round the nodes that are up, beginning with the `first` of them.
    fn place(&self, first: usize, count: i32, factor: i16) -> Result<Vec<Vec<NodeId>>, Refused> {
        if !(1..=MAX_PARTITIONS).contains(&count) {
            let reason = format!("Number of partitions was set to an invalid value: {count}");
            return Err(Refused { code: ErrorCode::InvalidPartitions, reason });
        }
        let nodes: Vec<NodeId> = self.live_nodes().map(|(id, _)| id).collect();
        let factor = usize::try_from(factor).unwrap_or(0);
        if factor == 0 || factor > nodes.len() {
            let reason = format!(
                "Unable to replicate the partition {factor} time(s): there are {} usable brokers.",
                nodes.len()
            );
            return Err(Refused { code: ErrorCode::InvalidReplicationFactor, reason });
        }
        let replicas = |partition: i32| {
            let leader = first + partition as usize;
            (0..factor).map(|replica| nodes[(leader + replica) % nodes.len()]).collect()
        };
        Ok((0..count).map(replicas).collect())
    }

    fn check_assignment(&self, assignment: Vec<Vec<NodeId>>, count: Option<i32>) -> Result<Vec<Vec<NodeId>>, Refused> {
        let known = |replicas: &Vec<NodeId>| {
            // First, because a request may name millions.
            if replicas.len() > self.nodes.len() {
                return false;
            }
            let distinct = replicas.iter().enumerate().all(|(index, node)| !replicas[..index].contains(node));
            !replicas.is_empty() && distinct && replicas.iter().all(|node| self.nodes.contains_key(node))
        };
        let counted = count.is_none_or(|count| assignment.len() == count as usize);
        if !counted || !assignment.iter().all(known) {
            let reason = "The manual partition assignment names unknown or repeated brokers, or not all partitions.";
            return Err(Refused { code: ErrorCode::InvalidReplicaAssignment, reason: reason.to_owned() });
        }
        Ok(assignment)
    }
}

/// What is answered for a topic that does not exist.
pub(crate) fn unknown_topic() -> Refused {
    let reason = "This server does not host this topic-partition.".to_owned();
    Refused { code: ErrorCode::UnknownTopicOrPartition, reason }
}

/// Whether a topic may have that name, as Kafka's `Topic.validate` has it.
pub(crate) fn check_name(name: &str) -> Result<(), Refused> {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if name.len() > MAX_NAME_LENGTH => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_NAME_LENGTH}")
        }
        _ if !name.chars().all(legal) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return Ok(()),
    };
    Err(Refused { code: ErrorCode::InvalidTopicException, reason: format!("Topic name is invalid: {reason}") })
}

/// Names that differ in `.` and `_` only would share their metrics, and Kafka refuses the second.
fn same_metric_name(one: &str, other: &str) -> bool {
    let unify = |letter: u8| if letter == b'.' { b'_' } else { letter };
    one.len() == other.len() && one.bytes().map(unify).eq(other.bytes().map(unify))
}
