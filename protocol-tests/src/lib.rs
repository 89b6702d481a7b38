//! Tests of the whole.
//!
//! - [`golden`]: vectors that Java's classes produced, as the golden tests read them.
//! - [`kafka`]: a real Kafka cluster that the tests start and stop by themselves.
//! - [`seeds`]: the golden vectors as the inputs that fuzzing starts from.
//! - [`suite`]: one suite of cases, run over the embedded broker (`tests/embedded.rs`) and a real Kafka (`tests/kafka.rs`).

pub mod golden;
pub mod kafka;
pub mod seeds;
pub mod suite;
