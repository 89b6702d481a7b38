//! The Kafka producer of the Ottla client.
#![forbid(unsafe_code)]
