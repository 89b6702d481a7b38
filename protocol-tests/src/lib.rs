//! Tests of the whole.
//!
//! - [`clients`]: programs over other Kafka clients.
//! - [`golden`]: vectors that Java's classes produced, as the golden tests read them.
//! - [`history`]: what a producer and a group told of a topic; [`verdict`] judges it, [`recovery`] times it.
//! - [`kafka`]: a real Kafka cluster that the tests start and stop by themselves.
//! - [`record`]: a record as plain data, for comparisons.
//! - [`seeds`]: the golden vectors as the inputs that fuzzing starts from.
//! - [`simulation`]: what simulations from seeds have in common.
//! - [`suite`]: one suite of cases, run over the embedded broker (`tests/embedded.rs`) and a real Kafka (`tests/kafka`).
//! - [`verifiable`]: programs that tell what they do in lines of JSON, as Kafka's verifiable clients do.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]

pub mod clients;
pub mod golden;
pub mod history;
pub mod kafka;
pub mod record;
pub mod recovery;
pub mod seeds;
pub mod simulation;
pub mod suite;
pub mod verdict;
pub mod verifiable;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct ReadMe;
