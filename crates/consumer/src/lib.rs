//! The Kafka consumer of the Ottla client.
#![forbid(unsafe_code)]
