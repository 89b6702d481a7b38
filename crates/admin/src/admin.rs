//! The handle.

use ottla_cluster::Cluster;

use crate::metadata::{DescribeTopics, ListTopics};
use crate::topics::{CreatePartitions, CreateTopics, DeleteTopics, NewPartitions, NewTopic};

/// Administers a cluster. Cloning it gives another handle to the same one.
///
/// Each method gives a request that can be adjusted and is sent when it is awaited:
///
/// ```no_run
/// # async fn example(admin: ottla_admin::Admin) -> Result<(), ottla_admin::Error> {
/// use std::time::Duration;
/// use ottla_admin::NewTopic;
///
/// admin.create_topics([NewTopic::new("orders", 12, 3)]).await?.all()?;
/// for topic in admin.list_topics().timeout(Duration::from_secs(5)).await? {
///     println!("{}", topic.name);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropping a future that has been polled leaves open whether the cluster does what was asked; asking again is harmless
/// but for the errors that say so (`TOPIC_ALREADY_EXISTS`, `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_PARTITIONS`).
#[derive(Clone, Debug)]
pub struct Admin {
    cluster: Cluster,
}

impl Admin {
    /// Administers that cluster.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// Lists the topics that the cluster has and this client may see, by name. Kafka's own are left out, unless
    /// [`internal`](ListTopics::internal) asks for them.
    pub fn list_topics(&self) -> ListTopics {
        ListTopics::new(self.cluster.clone())
    }

    /// Describes topics: their partitions, who leads them, who holds them.
    pub fn describe_topics<T: Into<String>>(&self, topics: impl IntoIterator<Item = T>) -> DescribeTopics {
        DescribeTopics::new(self.cluster.clone(), topics.into_iter().map(Into::into).collect())
    }

    /// Creates topics.
    pub fn create_topics(&self, topics: impl IntoIterator<Item = NewTopic>) -> CreateTopics {
        CreateTopics::new(self.cluster.clone(), topics.into_iter().collect())
    }

    /// Deletes topics, with all that is in them.
    pub fn delete_topics<T: Into<String>>(&self, topics: impl IntoIterator<Item = T>) -> DeleteTopics {
        DeleteTopics::new(self.cluster.clone(), topics.into_iter().map(Into::into).collect())
    }

    /// Gives topics more partitions. Records with keys written from then on may go to other partitions than earlier ones
    /// of the same key.
    pub fn create_partitions(&self, topics: impl IntoIterator<Item = NewPartitions>) -> CreatePartitions {
        CreatePartitions::new(self.cluster.clone(), topics.into_iter().collect())
    }
}
