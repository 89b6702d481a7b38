//! Kafka administration for the Ottla client: topics and partitions.
//!
//! [`Admin`] asks one broker: any for what all know, the controller for what it alone may change. Each call names what it
//! is about and gives an answer for each ([`TopicResults`]): one topic that fails does not hide the others.
//!
//! A topic whose partitions or replicas are left to the brokers needs Kafka 2.4; an older one is an [`Error::Unsupported`]
//! that says so.
#![forbid(unsafe_code)]

mod admin;
mod error;
mod metadata;
mod results;
mod routing;
mod topics;

pub use admin::Admin;
pub use error::Error;
pub use metadata::{DescribeTopics, ListTopics, PartitionDescription, TopicDescription, TopicListing};
pub use results::TopicResults;
pub use topics::{CreatePartitions, CreateTopics, CreatedTopic, DeleteTopics, NewPartitions, NewTopic};
