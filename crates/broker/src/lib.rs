//! An embedded Kafka broker of several nodes, for tests, examples and fault simulation.
#![forbid(unsafe_code)]
