//! The fetch path under simulation: each seed decides a cluster, some consumers without a group, and what befalls them; then
//! promises are checked that hold whatever happens.
//!
//! ```text
//! scenario ──▶ conductor ──▶ readers, the embedded cluster, its logs ──▶ history ──▶ checker
//! ```
//!
//! The conductor writes the logs itself, batch by batch, and so knows what every log holds, in all of its pasts: which record
//! followed which, and what an election took back. The checker goes by that lineage.
//!
//! - `OTTLA_SIMULATION_SEED=17` runs that seed only.
//! - `OTTLA_SIMULATION_SEEDS=500` runs so many, `OTTLA_SIMULATION_FIRST=1000` beginning with that one.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]

mod checker;
mod conductor;
mod faults;
mod history;
mod logs;
mod plan;
mod reader;
mod run;
mod sabotage;
mod scenario;
mod seeds;
mod values;
