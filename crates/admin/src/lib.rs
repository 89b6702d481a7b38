//! Kafka administration for the Ottla client: topics and partitions.
#![forbid(unsafe_code)]
