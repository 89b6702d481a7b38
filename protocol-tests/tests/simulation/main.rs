//! Consumer groups under simulation: each seed decides a cluster, some members, and what befalls them; then promises are
//! checked that hold whatever happens.
//!
//! ```text
//! scenario ──▶ conductor ──▶ members, workload, the embedded cluster ──▶ history ──▶ checker
//! ```
//!
//! A run has one thread, one runtime with paused time, and a network in memory, so that a seed replays exactly. A seed that
//! fails is printed with the line that replays it, and its history is left in the temporary folder.
//!
//! - `OTTLA_SIMULATION_SEED=17` runs that seed only.
//! - `OTTLA_SIMULATION_SEEDS=500` runs so many, `OTTLA_SIMULATION_FIRST=1000` beginning with that one.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]

mod cancel_safety;
mod checker;
mod conductor;
mod faults;
mod history;
mod member;
mod run;
mod sabotage;
mod scenario;
mod seeds;
mod tap;
mod workload;
