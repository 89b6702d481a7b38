//! Tests of the whole.
<<<<<<< Updated upstream

pub mod golden;
=======
//!
//! - [`kafka`]: a real Kafka cluster that the tests start and stop by themselves.
//! - [`suite`]: one suite of cases, run over the embedded broker (`tests/embedded.rs`) and a real Kafka (`tests/kafka.rs`).

pub mod kafka;
pub mod suite;
>>>>>>> Stashed changes
