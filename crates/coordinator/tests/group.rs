//! Members of a group over the embedded cluster, in memory and with paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

#[path = "group/cancellation.rs"]
mod cancellation;
#[path = "group/committed.rs"]
mod committed;
#[path = "group/faults.rs"]
mod faults;
#[path = "group/member.rs"]
mod member;
#[path = "group/membership.rs"]
mod membership;
#[path = "group/panics.rs"]
mod panics;
#[path = "group/seeds.rs"]
mod seeds;
