//! One connection to a Kafka broker: transport, handshake, pipelining, deadlines.
#![forbid(unsafe_code)]
