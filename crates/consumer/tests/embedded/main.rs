//! The consumer over the embedded cluster, in memory and under paused time: what it promises, with exact waits.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod automatic_commits;
mod blocking;
mod bounded;
mod cancel;
mod closest_replica;
mod closing;
mod commits;
mod contract;
mod corrupt;
mod faults;
mod fetch_sessions;
mod fetch_size;
mod group;
mod listener;
mod lost_positions;
mod membership;
mod memory;
mod odd_logs;
mod partition_streams;
mod random;
mod reading;
mod run;
mod setup;
mod static_members;
mod streams;
mod subscriptions;
mod waiting;
mod waste;
