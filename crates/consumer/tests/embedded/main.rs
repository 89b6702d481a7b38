//! The consumer over the embedded cluster, in memory and under paused time: what it promises, with exact waits.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod cancel;
mod contract;
mod corrupt;
mod faults;
mod groups;
mod memory;
mod random;
mod reading;
mod setup;
mod waiting;
