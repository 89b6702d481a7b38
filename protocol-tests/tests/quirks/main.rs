//! Brokers that are not quite Kafka, or that something stands between: what is different about them, one test each, played by
//! the embedded broker. Each test says which brokers do that.
//!
//! In memory, with paused time: an idle hour costs nothing, and a wait is as long as it says.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]

mod handshake;
mod high_watermarks;
mod idle;
mod leader_epochs;
mod leaders;
mod setup;
mod throttling;
mod topic_ids;
mod transactions;
mod unasked_answers;
mod versions;
