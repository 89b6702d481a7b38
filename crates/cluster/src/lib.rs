//! A Kafka cluster as a client sees it: bootstrap, metadata, routing, connection pool, retry and back-off.
#![forbid(unsafe_code)]
