//! What topics there are: listed, and described. Any broker knows.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::{Cluster, Destination};
use ottla_wire::messages::{MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataTopic};
use ottla_wire::{ErrorCode, NodeId, TopicId};

use crate::routing::Asking;
use crate::{Error, TopicResults};

/// A topic that the cluster has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicListing {
    /// Its name.
    pub name: String,
    /// Its id, where the cluster has ids.
    pub id: Option<TopicId>,
    /// Whether it is Kafka's own.
    pub is_internal: bool,
}

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id, where the cluster has ids.
    pub id: Option<TopicId>,
    /// Whether it is Kafka's own.
    pub is_internal: bool,
    /// Its partitions, in their order.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// Its index.
    pub partition: i32,
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// The nodes that hold it.
    pub replicas: Vec<NodeId>,
    /// Those that are in sync.
    pub in_sync_replicas: Vec<NodeId>,
    /// Those that are offline.
    pub offline_replicas: Vec<NodeId>,
}

/// A request for the list of topics; await it.
#[derive(Clone, Debug)]
#[must_use = "nothing is asked until it is awaited"]
pub struct ListTopics {
    cluster: Cluster,
    internal: bool,
    timeout: Duration,
}

impl ListTopics {
    pub(crate) fn new(cluster: Cluster) -> Self {
        let timeout = cluster.config().default_api_timeout;
        Self { cluster, internal: false, timeout }
    }

    /// Whether Kafka's own topics are listed, too. False by default.
    pub fn internal(mut self, internal: bool) -> Self {
        self.internal = internal;
        self
    }

    /// How long the answer is waited for, retries included. `default.api.timeout.ms` of the client by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn ask(self) -> Result<Vec<TopicListing>, Error> {
        let response = metadata(self.cluster, "listing topics", self.timeout, None).await?;
        let topics = response.topics.into_iter().filter(|topic| self.internal || !topic.is_internal);
        let mut topics: Vec<_> = topics.filter_map(listing).collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }
}

impl IntoFuture for ListTopics {
    type Output = Result<Vec<TopicListing>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

/// A request for topics' descriptions; await it.
#[derive(Clone, Debug)]
#[must_use = "nothing is asked until it is awaited"]
pub struct DescribeTopics {
    cluster: Cluster,
    topics: Vec<String>,
    timeout: Duration,
}

impl DescribeTopics {
    pub(crate) fn new(cluster: Cluster, topics: Vec<String>) -> Self {
        let timeout = cluster.config().default_api_timeout;
        Self { cluster, topics, timeout }
    }

    /// How long the answer is waited for, retries included. `default.api.timeout.ms` of the client by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn ask(self) -> Result<TopicResults<TopicDescription>, Error> {
        let response = metadata(self.cluster, DESCRIBING, self.timeout, Some(&self.topics)).await?;
        let describe = |name: String| {
            let found = response.topics.iter().find(|topic| topic.name.as_deref() == Some(&*name));
            let described = match found {
                Some(topic) => description(topic.clone()),
                None => Err(Error::LeftOut { attempted: DESCRIBING, topic: name.as_str().into() }),
            };
            (name, described)
        };
        Ok(TopicResults::new(self.topics.into_iter().map(describe).collect()))
    }
}

impl IntoFuture for DescribeTopics {
    type Output = Result<TopicResults<TopicDescription>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

async fn metadata(
    cluster: Cluster,
    attempted: &'static str,
    timeout: Duration,
    topics: Option<&[String]>,
) -> Result<MetadataResponse, Error> {
    let topic = |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
    let request = MetadataRequest {
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let asking = Asking { cluster, attempted, needs: "2.1", to: Destination::AnyNode, timeout };
    asking.ask(&request, |_| None).await
}

fn listing(topic: MetadataTopic) -> Option<TopicListing> {
    let listed = topic.error_code == ErrorCode::None;
    let (id, is_internal) = (topic.topic_id.known(), topic.is_internal);
    topic.name.filter(|_| listed).map(|name| TopicListing { name, id, is_internal })
}

fn description(topic: MetadataTopic) -> Result<TopicDescription, Error> {
    let name = topic.name.unwrap_or_default();
    if topic.error_code != ErrorCode::None {
        let topic_name: Arc<str> = name.into();
        return Err(Error::Refused {
            attempted: DESCRIBING,
            topic: Some(topic_name),
            code: topic.error_code,
            message: None,
        });
    }
    let partition = |partition: ottla_wire::messages::MetadataPartition| PartitionDescription {
        partition: partition.partition_index,
        leader: partition.leader_id.known(),
        replicas: partition.replicas.all().to_vec(),
        in_sync_replicas: partition.replicas.in_sync().to_vec(),
        offline_replicas: partition.replicas.offline().to_vec(),
    };
    let mut partitions: Vec<_> = topic.partitions.into_iter().map(partition).collect();
    partitions.sort_by_key(|partition| partition.partition);
    Ok(TopicDescription { name, id: topic.topic_id.known(), is_internal: topic.is_internal, partitions })
}

const DESCRIBING: &str = "describing topics";
