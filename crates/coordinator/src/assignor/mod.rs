//! Assignors: who of a group reads which partition. The member that leads the group runs one; the broker only passes
//! its result on.
//!
//! An [`Assignor`] decides from what it is given and nothing else: no I/O, no clock, no state between two calls. What a
//! member was assigned before comes back to the next leader in its subscription ([`Assignor::user_data`], owned
//! partitions), so any member may lead next.
//!
//! Java's four stand here by Java's names ([`built_in`]). The algorithms work on numbers (`group`), and their results
//! are Java's, partition by partition, so that it does not matter which client leads.

mod cooperative_sticky;
mod group;
mod guard;
mod rack;
mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;
mod utf16;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::consumer_protocol::Subscription;
use ottla_wire::{GenerationId, TopicPartition};

pub(crate) use guard::call;

pub use cooperative_sticky::CooperativeStickyAssignor;
pub use range::RangeAssignor;
pub use round_robin::RoundRobinAssignor;
pub use sticky::StickyAssignor;

/// The assignor of that name: `range`, `roundrobin`, `sticky` or `cooperative-sticky`, or the name of Java's class, as
/// `org.apache.kafka.clients.consumer.RangeAssignor`, which stands in the configurations of Java's clients.
pub fn built_in(name: &str) -> Option<Arc<dyn Assignor>> {
    match name {
        "range" | "org.apache.kafka.clients.consumer.RangeAssignor" => Some(Arc::new(RangeAssignor)),
        "roundrobin" | "org.apache.kafka.clients.consumer.RoundRobinAssignor" => Some(Arc::new(RoundRobinAssignor)),
        "sticky" | "org.apache.kafka.clients.consumer.StickyAssignor" => Some(Arc::new(StickyAssignor)),
        "cooperative-sticky" | "org.apache.kafka.clients.consumer.CooperativeStickyAssignor" => {
            Some(Arc::new(CooperativeStickyAssignor))
        }
        _ => None,
    }
}

/// Decides who reads what. All members of a group have to know the assignor that is used by its name.
///
/// To bring an own one, implement this and name it in the consumer's `partition_assignment_strategy`.
pub trait Assignor: fmt::Debug + Send + Sync {
    /// The name by which members agree on it, such as `range`. Always the same: it is asked for often, also while the
    /// client's own state is locked, so that it must not ask the consumer for anything.
    fn name(&self) -> &str;

    /// Whether members may keep their partitions through a rebalance (KIP-429), so that only those that move are given
    /// up. Such an assignor must withhold a partition that another member still owns. Always the same, as the name.
    fn rebalance_protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
    }

    /// What the member's subscription is to carry for this assignor, beside topics and owned partitions. Asked for by
    /// the task that keeps the membership, which waits for it.
    fn user_data(&self, last: &LastAssignment) -> Option<Bytes> {
        let _ = last;
        None
    }

    /// Assigns the partitions of `topics` to `members`: one result for each of them, in their order. Every partition of
    /// a topic that is known and subscribed to goes to exactly one member that subscribes to it.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from assigning; a panic counts as that, too. The rebalance fails then, is told to the application
    /// of the leader, and is tried again.
    fn assign(&self, topics: &Topics, members: &[GroupMember]) -> Result<Vec<MemberAssignment>, AssignorError>;
}

/// Why an assignor could not assign.
pub type AssignorError = Box<dyn std::error::Error + Send + Sync>;

/// How a rebalance goes about partitions that members have (KIP-429).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "Kafka's classic protocol has these two")]
pub enum RebalanceProtocol {
    /// All are given up before joining.
    Eager,
    /// Those that move are given up after the assignment, and a second rebalance hands them out.
    Cooperative,
}

/// A member of the group, as it described itself when it joined.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupMember {
    /// Its id.
    pub member_id: String,
    /// The id of a static member (`group.instance.id`), which stays the same when it comes back.
    pub group_instance_id: Option<String>,
    /// What it wants, and what it has.
    pub subscription: Subscription,
}

impl GroupMember {
    /// A member.
    pub fn new(member_id: impl Into<String>, group_instance_id: Option<String>, subscription: Subscription) -> Self {
        Self { member_id: member_id.into(), group_instance_id, subscription }
    }
}

/// The topics that the members subscribe to, as far as the cluster knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a map")]
pub struct Topics(pub BTreeMap<Arc<str>, TopicPartitions>);

/// The partitions of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicPartitions {
    /// How many there are: their indexes are 0 up to this.
    pub count: i32,
    /// The racks of each partition's replicas, by its index (KIP-881). Empty where racks are not known.
    pub racks: Vec<Vec<Arc<str>>>,
}

impl TopicPartitions {
    /// So many partitions, in no known racks.
    pub fn new(count: i32) -> Self {
        Self { count, racks: Vec::new() }
    }

    /// The same, with the racks of each partition's replicas.
    pub fn racks(mut self, racks: Vec<Vec<Arc<str>>>) -> Self {
        self.racks = racks;
        self
    }
}

/// What a member was assigned last; nothing if it has not been assigned anything yet.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LastAssignment {
    /// The partitions, also where they have been given up since.
    pub partitions: Vec<TopicPartition>,
    /// The generation in which it was; [`GenerationId::NONE`] before the first.
    pub generation_id: GenerationId,
}

impl LastAssignment {
    /// What was assigned in a generation.
    pub fn new(partitions: Vec<TopicPartition>, generation_id: GenerationId) -> Self {
        Self { partitions, generation_id }
    }
}

/// What one member is to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberAssignment {
    /// The partitions, in the order in which the member is told.
    pub partitions: Vec<TopicPartition>,
    /// What else its assignor is to be told.
    pub user_data: Option<Bytes>,
}

impl MemberAssignment {
    /// These partitions, and nothing to tell.
    pub fn new(partitions: Vec<TopicPartition>) -> Self {
        Self { partitions, user_data: None }
    }
}
