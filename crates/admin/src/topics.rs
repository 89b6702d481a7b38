//! Creating and deleting topics, and giving them more partitions: what only the controller does.
//!
//! The controller is asked; a broker that is not the controller (any more) answers `NOT_CONTROLLER`, and whoever is by then
//! is asked again. Brokers of a KRaft cluster pass such requests on by themselves.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::{Cluster, Destination};
use ottla_wire::messages::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicResult, CreatePartitionsAssignment,
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreateTopicsRequest, DeleteTopicsRequest,
    DeleteTopicsResponse,
};
use ottla_wire::{ErrorCode, NodeId, TopicId};

use crate::routing::Asking;
use crate::{Error, TopicResults};

/// A topic to be created.
///
/// ```
/// # use ottla_admin::NewTopic;
/// let topic = NewTopic::new("orders", 12, 3).config("retention.ms", "86400000");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a topic is created by `Admin::create_topics`"]
pub struct NewTopic {
    name: String,
    partitions: i32,
    replication_factor: i16,
    assignments: BTreeMap<i32, Vec<NodeId>>,
    configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with so many partitions, each on so many nodes.
    pub fn new(name: impl Into<String>, partitions: i32, replication_factor: i16) -> Self {
        let (assignments, configs) = (BTreeMap::new(), BTreeMap::new());
        Self { name: name.into(), partitions, replication_factor, assignments, configs }
    }

    /// A topic with as many partitions and replicas as the brokers are set to give (`num.partitions`,
    /// `default.replication.factor`).
    pub fn with_defaults(name: impl Into<String>) -> Self {
        Self::new(name, -1, -1)
    }

    /// A topic whose replicas are placed by hand: for each partition its nodes, the preferred leader first.
    pub fn with_assignments(
        name: impl Into<String>,
        assignments: impl IntoIterator<Item = impl IntoIterator<Item = NodeId>>,
    ) -> Self {
        let nodes = assignments.into_iter().map(|nodes| nodes.into_iter().collect());
        Self { assignments: (0..).zip(nodes).collect(), ..Self::with_defaults(name) }
    }

    /// Sets one of the topic's own settings, such as `cleanup.policy`.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(name.into(), value.into());
        self
    }

    /// Whether the broker has to fill in what it has defaults for (KIP-464).
    fn needs_defaults(&self) -> bool {
        self.assignments.is_empty() && (self.partitions == -1 || self.replication_factor == -1)
    }

    fn to_wire(&self) -> CreatableTopic {
        let assignment = |(partition_index, nodes): (&i32, &Vec<NodeId>)| CreatableReplicaAssignment {
            partition_index: *partition_index,
            broker_ids: nodes.as_slice().into(),
        };
        let config = |(name, value): (&String, &String)| CreatableTopicConfig {
            name: name.as_str().into(),
            value: Some(value.as_str().into()),
        };
        CreatableTopic {
            name: self.name.as_str().into(),
            num_partitions: self.partitions,
            replication_factor: self.replication_factor,
            assignments: self.assignments.iter().map(assignment).collect(),
            configs: self.configs.iter().map(config).collect(),
        }
    }
}

/// A topic that was created, or, when only validated, would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// Its id, where the cluster has ids and tells them.
    pub id: Option<TopicId>,
    /// How many partitions it has, where the broker tells.
    pub partitions: Option<i32>,
    /// How many replicas each has, where the broker tells.
    pub replication_factor: Option<i16>,
    /// Its settings, where the broker tells them and they are not secret.
    pub configs: BTreeMap<String, String>,
}

macro_rules! request {
    (
        $(#[$doc:meta])*
        $name:ident { $topics:ident: $topic:ty, $($extra:ident: $extra_type:ty = $default:expr, $extra_doc:literal;)? }
        -> $answer:ty
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        #[must_use = "nothing is asked until it is awaited"]
        pub struct $name {
            cluster: Cluster,
            $topics: Vec<$topic>,
            timeout: Duration,
            $($extra: $extra_type,)?
        }

        impl $name {
            pub(crate) fn new(cluster: Cluster, $topics: Vec<$topic>) -> Self {
                let timeout = cluster.config().default_api_timeout;
                Self { cluster, $topics, timeout, $($extra: $default,)? }
            }

            /// How long the answer is waited for, retries included, and how long the cluster may take over it.
            /// `default.api.timeout.ms` of the client by default.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.timeout = timeout;
                self
            }

            $(
                #[doc = $extra_doc]
                pub fn $extra(mut self, $extra: $extra_type) -> Self {
                    self.$extra = $extra;
                    self
                }
            )?

            fn asking(&self, attempted: &'static str, needs: &'static str) -> Asking {
                let cluster = self.cluster.clone();
                Asking { cluster, attempted, needs, to: Destination::Controller, timeout: self.timeout }
            }
        }

        impl IntoFuture for $name {
            type Output = Result<TopicResults<$answer>, Error>;
            type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.ask())
            }
        }
    };
}

request! {
    /// A request to create topics; await it.
    CreateTopics {
        topics: NewTopic,
        validate_only: bool = false, "Whether only to check what would be done. False by default.";
    } -> CreatedTopic
}

request! {
    /// A request to delete topics; await it.
    DeleteTopics { topics: String, } -> ()
}

request! {
    /// A request to give topics more partitions; await it.
    CreatePartitions {
        topics: NewPartitions,
        validate_only: bool = false, "Whether only to check what would be done. False by default.";
    } -> ()
}

/// How many partitions a topic is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "partitions are added by `Admin::create_partitions`"]
pub struct NewPartitions {
    topic: String,
    total: i32,
    assignments: Option<Vec<Vec<NodeId>>>,
}

impl NewPartitions {
    /// So many in total, which must be more than the topic has.
    pub fn increase_to(topic: impl Into<String>, total: i32) -> Self {
        Self { topic: topic.into(), total, assignments: None }
    }

    /// Places the replicas by hand: for each partition that is added its nodes, the preferred leader first.
    pub fn assignments(mut self, nodes: impl IntoIterator<Item = impl IntoIterator<Item = NodeId>>) -> Self {
        self.assignments = Some(nodes.into_iter().map(|nodes| nodes.into_iter().collect()).collect());
        self
    }
}

impl CreateTopics {
    async fn ask(self) -> Result<TopicResults<CreatedTopic>, Error> {
        const ATTEMPTED: &str = "creating topics";
        let request = CreateTopicsRequest {
            topics: self.topics.iter().map(NewTopic::to_wire).collect(),
            timeout_ms: milliseconds(self.timeout),
            validate_only: self.validate_only,
        };
        let asking =
            self.asking(ATTEMPTED, if self.topics.iter().any(NewTopic::needs_defaults) { "2.4" } else { "1.0" });
        let codes = |topics: &[CreatableTopicResult]| topics.iter().any(|topic| is_misdirected(topic.error_code));
        let response =
            asking.ask(&request, |response| codes(&response.topics).then(|| not_controller(ATTEMPTED))).await?;
        let mut answers = Answers::new(ATTEMPTED);
        for topic in response.topics {
            let (name, code, message) = (topic.name.to_string(), topic.error_code, topic.error_message.clone());
            answers.add(name, code, message, created(topic));
        }
        Ok(answers.in_order(self.topics.into_iter().map(|topic| topic.name)))
    }
}

impl DeleteTopics {
    async fn ask(self) -> Result<TopicResults<()>, Error> {
        const ATTEMPTED: &str = "deleting topics";
        let request = DeleteTopicsRequest {
            timeout_ms: milliseconds(self.timeout),
            ..DeleteTopicsRequest::of_names(self.topics.iter().map(String::as_str))
        };
        let again = |response: &DeleteTopicsResponse| {
            let misdirected = response.responses.iter().any(|topic| is_misdirected(topic.error_code));
            misdirected.then(|| not_controller(ATTEMPTED))
        };
        let response = self.asking(ATTEMPTED, "1.0").ask(&request, again).await?;
        let mut answers = Answers::new(ATTEMPTED);
        for topic in response.responses {
            answers.add(topic.name.unwrap_or_default().into(), topic.error_code, topic.error_message, ());
        }
        Ok(answers.in_order(self.topics.into_iter()))
    }
}

impl CreatePartitions {
    async fn ask(self) -> Result<TopicResults<()>, Error> {
        const ATTEMPTED: &str = "adding partitions";
        let assignments = |nodes: &Vec<Vec<NodeId>>| {
            nodes.iter().map(|nodes| CreatePartitionsAssignment { broker_ids: nodes.as_slice().into() }).collect()
        };
        let topic = |topic: &NewPartitions| CreatePartitionsTopic {
            name: topic.topic.as_str().into(),
            count: topic.total,
            assignments: topic.assignments.as_ref().map(assignments),
        };
        let request = CreatePartitionsRequest {
            topics: self.topics.iter().map(topic).collect(),
            timeout_ms: milliseconds(self.timeout),
            validate_only: self.validate_only,
        };
        let again = |response: &CreatePartitionsResponse| {
            let misdirected = response.results.iter().any(|topic| is_misdirected(topic.error_code));
            misdirected.then(|| not_controller(ATTEMPTED))
        };
        let response = self.asking(ATTEMPTED, "1.0").ask(&request, again).await?;
        let mut answers = Answers::new(ATTEMPTED);
        for topic in response.results {
            answers.add(topic.name.into(), topic.error_code, topic.error_message, ());
        }
        Ok(answers.in_order(self.topics.into_iter().map(|topic| topic.topic)))
    }
}

/// Answers by topic, to be put into the order of asking.
struct Answers<T> {
    attempted: &'static str,
    by_topic: BTreeMap<String, Result<T, Error>>,
}

impl<T: Clone> Answers<T> {
    fn new(attempted: &'static str) -> Self {
        Self { attempted, by_topic: BTreeMap::new() }
    }

    fn add(&mut self, name: String, code: ErrorCode, message: Option<Box<str>>, answer: T) {
        let topic: Arc<str> = name.as_str().into();
        let result = code.into_result().map(|()| answer).map_err(|code| Error::Refused {
            attempted: self.attempted,
            topic: Some(topic),
            code,
            message: message.map(Into::into),
        });
        self.by_topic.insert(name, result);
    }

    fn in_order(self, names: impl Iterator<Item = String>) -> TopicResults<T> {
        let result = |name: String| {
            let left_out = || Err(Error::LeftOut { attempted: self.attempted, topic: name.as_str().into() });
            let result = self.by_topic.get(&name).cloned().unwrap_or_else(left_out);
            (name, result)
        };
        TopicResults::new(names.map(result).collect())
    }
}

fn created(topic: CreatableTopicResult) -> CreatedTopic {
    let configs = topic.configs.unwrap_or_default().into_iter();
    CreatedTopic {
        name: topic.name.into(),
        id: topic.topic_id.known(),
        partitions: (topic.num_partitions >= 0).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor >= 0).then_some(topic.replication_factor),
        configs: configs.filter_map(|config| Some((config.name.into(), config.value?.into()))).collect(),
    }
}

/// Whether a node says that another is to be asked.
fn is_misdirected(code: ErrorCode) -> bool {
    code == ErrorCode::NotController
}

fn not_controller(attempted: &'static str) -> Error {
    Error::Refused { attempted, topic: None, code: ErrorCode::NotController, message: None }
}

fn milliseconds(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}
