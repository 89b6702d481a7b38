//! Which partition a record goes to.
//!
//! A record that names its partition goes there. Otherwise a [`Partitioner`] of the application's own is asked, if one
//! is set; then a key decides by its hash ([`murmur2`], as in Java); and a record without a key goes to the
//! partition that the topic sticks to at the moment ([`sticky`]).
//!
//! KIP-480 and KIP-794 (uniform sticky partitioning).

pub(crate) mod murmur2;
pub(crate) mod sticky;

use std::fmt::Debug;

/// Chooses partitions in the application's own way (Kafka's `partitioner.class`).
///
/// It is asked for each record that does not name its partition, from whichever task enqueues the record, and with no
/// lock held. State of its own needs interior mutability.
pub trait Partitioner: Debug + Send + Sync + 'static {
    /// The partition for a record, from 0 to `partition_count - 1`; anything else is an error of that record. `None`
    /// leaves the choice to the producer: by the key's hash, or where there is no key by sticking to a partition.
    fn partition(&self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, partition_count: i32) -> Option<i32>;
}

/// What is known about a record's partition before its topic is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// This one.
    Named(i32),
    /// The one that a key with this hash belongs to.
    KeyHash(i32),
    /// The one that its topic sticks to.
    Sticky,
}
