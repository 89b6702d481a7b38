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
//! [`offsets`] (commits and lookups), and [`state`], which holds them together. [`request`] is what they ask and are
//! answered. [`shared`] has the lock around the state, [`driver`] the task, and [`coordinator`] what the user sees.
//!
//! # Example
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use ottla_cluster::Cluster;
//! use ottla_coordinator::{Coordinator, GroupConfig, GroupEvent};
//!
//! # async fn example(cluster: Cluster) -> Result<(), ottla_coordinator::Error> {
//! let coordinator = Coordinator::new(cluster, GroupConfig::new("group"))?;
//! let handle = coordinator.handle();
//! handle.subscribe([Arc::from("orders")].into());
//! handle.join(Vec::new());
//! loop {
//!     handle.event_ready().await;
//!     match handle.next_event() {
//!         Some(GroupEvent::Assigned(assigned)) => println!("to be read: {:?}", assigned.partitions),
//!         // Whatever was assigned is given up, and may be committed until then.
//!         Some(GroupEvent::RebalanceNeeded { .. }) => handle.join(Vec::new()),
//!         // It may be another's already.
//!         Some(GroupEvent::Lost { .. }) => handle.join(Vec::new()),
//!         Some(GroupEvent::Failed(error)) if error.is_fatal() => break,
//!         Some(GroupEvent::Failed(_)) => handle.join(Vec::new()),
//!         _ => {}
//!     }
//! }
//! coordinator.close(Some("done"), Duration::from_secs(30)).await
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod assignor;

mod classic;
mod config;
mod coordinator;
mod driver;
mod error;
mod event;
mod find;
mod leaving;
mod offsets;
mod request;
mod shared;
mod silence;
mod state;
mod unknown_topics;

pub use config::GroupConfig;
pub use coordinator::{Coordinator, CoordinatorHandle};
pub use error::{AssignmentFault, Error};
pub use event::{Assigned, AssignedMember, EventOrStanding, GroupEvent, GroupMetadata, LostReason, RebalanceReason};
pub use offsets::{Commit, OffsetAndMetadata};
pub use ottla_cluster::InvalidSetting;
