//! What is known of the cluster: `snapshot` what readers see, `merge` what an answer changes in it.

pub(crate) mod merge;
mod snapshot;
#[cfg(test)]
mod tests;

pub(crate) use snapshot::UseMark;
pub use snapshot::{Broker, Leader, Metadata, PartitionMetadata, TopicMetadata, Topics};
