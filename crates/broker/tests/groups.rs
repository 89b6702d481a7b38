//! Consumer groups as clients of the embedded cluster see them, over the in-memory network with paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

#[path = "groups/administration.rs"]
mod administration;
#[path = "groups/coordinator.rs"]
mod coordinator;
#[path = "groups/faults.rs"]
mod faults;
#[path = "groups/member.rs"]
mod member;
#[path = "groups/membership.rs"]
mod membership;
#[path = "groups/offsets.rs"]
mod offsets;
#[path = "groups/versions.rs"]
mod versions;
