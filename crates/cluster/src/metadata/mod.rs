//! What is known of the cluster: [`snapshot`] what readers see, `merge` what an answer changes in it.

mod snapshot;

pub use snapshot::{Broker, Leader, Metadata, PartitionMetadata, TopicMetadata, Topics};
