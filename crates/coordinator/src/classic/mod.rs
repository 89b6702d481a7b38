//! Membership of a group by the classic protocol (KIP-62, KIP-345, KIP-394, KIP-429, KIP-559, KIP-800, KIP-814), without
//! I/O. The version implemented is Java's, of Kafka 4.3.
//!
//! ```text
//!            join()                    answer to JoinGroup              answer to SyncGroup
//!   Unjoined ─────▶ PreparingRebalance ──────────────────▶ CompletingRebalance ──────────────▶ Stable
//!      ▲  ▲           ▲     │ │  ▲ retriable error │              │ │                          │  │
//!      │  └───────────┼─────┘ │  └─────────────────┘              │ │                          │  │
//!      │    Failed    │       └───── REBALANCE_IN_PROGRESS, .. ◀──┘ │                          │  │
//!      │              └───────────────────────────────── join() ────┼──────────────────────────┘  │
//!      └──────────────────────────────── leave(), Lost ─────────────┴─────────────────────────────┘
//! ```
//!
//! [`state`] has the states and routes, [`join`] and [`sync`] have the way to an assignment, [`leader`] what the leader
//! does on it and [`watch`] what it looks at afterwards, [`heartbeat`] and [`leave`] the rest of a member's life.
//!
//! # Invariants
//!
//! - At most one JoinGroup or SyncGroup is in flight. Each attempt has a number; the answer of an older one changes
//!   nothing, and neither does that of a heartbeat or commit of an older generation.
//! - JoinGroup leaves after `join()` only. A join ends with `Assigned`, `Lost` or `Failed`, or with `leave()`.
//! - `Lost` is told whenever the membership ends while the application may own partitions; and nothing else happens
//!   until it has been taken and `join()` is called anew. Where the client's own task ends, that is a fatal `Failed`.
//!
//! # What each error code does
//!
//! *Rejoin*: JoinGroup is sent again, at once the first time and with back-off when it repeats. *Retry*: the same, with
//! back-off each time. *Anew*: the member id is forgotten and, in brackets, kept where the code says that only the
//! generation is wrong; if the application still owns partitions (cooperative) that is `Lost`, else *rejoin*.
//! *Lost*: the membership is over. *Find*: the coordinator is looked for again. *Failed*: told to the application.
//!
//! | code | JoinGroup | SyncGroup | Heartbeat, in CompletingRebalance | Heartbeat, in Stable |
//! |---|---|---|---|---|
//! | `UNKNOWN_MEMBER_ID` | anew | anew | anew | lost |
//! | `ILLEGAL_GENERATION` | failed | anew (id kept) | anew (id kept) | lost (id kept) |
//! | `MEMBER_ID_REQUIRED` | rejoin with the id given | failed | next | next |
//! | `REBALANCE_IN_PROGRESS` | rejoin | rejoin | nothing | rebalance needed |
//! | `FENCED_INSTANCE_ID` | failed, lost | failed, lost | failed, lost | failed, lost |
//! | `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE` | find, retry | find, retry | find, retry | find, next |
//! | `COORDINATOR_LOAD_IN_PROGRESS` | retry | retry | next | next |
//! | other retriable codes | retry | retry | next | next |
//! | `GROUP_AUTHORIZATION_FAILED`, `GROUP_MAX_SIZE_REACHED`, `INCONSISTENT_GROUP_PROTOCOL`, `INVALID_SESSION_TIMEOUT`, `INVALID_GROUP_ID`, other permanent codes | failed | failed | next | next |
//! | no answer | find, retry | find, retry | find, retry | find, next |
//!
//! *Next*: the heartbeat counts as failed, and the next is sent after a back-off. Where the coordinator is looked for
//! again its connections are cut, and what is in flight on them fails. In Unjoined and PreparingRebalance
//! there are no heartbeats, and the answer to an earlier one changes nothing. LeaveGroup's answer changes nothing of
//! the member: `leaving` tells it to whoever left.
//! `offsets::commit` has the table of OffsetCommit, `offsets::fetch` that of OffsetFetch, and with FindCoordinator every
//! retriable code is retried and every other is *failed*, which also ends all commits, lookups and leaves that wait for it.
//!
//! # Where this differs from Java
//!
//! - A code that Java's handler does not list is retried where it is retriable, instead of being thrown.
//! - JoinGroup that is answered with the same error again and again is backed off, also where Java retries at once.
//! - A stale answer to a commit never resets a newer membership.
//! - Partitions of topics that the member does not subscribe to any more are left out of `Assigned`, where Java joins
//!   again at once; either way a rebalance with the new subscription follows.
//! - LeaveGroup waits for commits that are queued, for half of its time at most, and for a coordinator to be found,
//!   within its deadline.

mod heartbeat;
mod join;
mod leader;
mod leave;
mod state;
mod sync;
mod watch;

pub(crate) use join::JoinJob;
pub(crate) use leader::{AssignJob, LeaderAssignment};
pub(crate) use leave::Leave;
pub(crate) use state::{Action, ClassicGroup, Identity, MembershipView};
pub(crate) use watch::topics_of;
