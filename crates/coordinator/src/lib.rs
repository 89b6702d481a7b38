//! The consumer group of the Ottla Kafka client: membership, assignors, committed offsets.
//!
//! A [`Coordinator`] takes part in one group by the classic protocol. It keeps the membership alive with tasks of its
//! own, and tells what happens to it as [`GroupEvent`]s; the one thing it never does by itself is to rejoin: the
//! application has to give up partitions first, and says with [`CoordinatorHandle::join`] that it has. Offsets are
//! committed and looked up through the same coordinator, with or without a membership.
//!
//! # Reading the code
//!
//! Without I/O and with the time as an argument: [`classic`] (the membership), [`find`] (which broker coordinates),
//! [`offsets`] (commits and lookups). [`state`] holds them together behind one lock, [`driver`] has the task, and
//! [`coordinator`] is what the user sees.
#![forbid(unsafe_code)]

pub mod assignor;

mod classic;
mod config;
mod coordinator;
mod driver;
mod error;
mod event;
mod find;
mod offsets;
mod state;

pub use config::{GroupConfig, InvalidSetting};
pub use coordinator::{Coordinator, CoordinatorHandle};
pub use error::{AssignmentFault, Error};
pub use event::{Assigned, AssignedMember, GroupEvent, GroupMetadata, LostReason, RebalanceReason};
pub use offsets::{Commit, OffsetAndMetadata};
