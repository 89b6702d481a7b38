//! The consumer group of the Ottla Kafka client.
#![forbid(unsafe_code)]

pub mod assignor;
