//! A pure-Rust Kafka client: consumer, producer and admin, with no C in the build.
#![forbid(unsafe_code)]
