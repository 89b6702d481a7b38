//! The suite over a real Kafka.
fn main() {}
