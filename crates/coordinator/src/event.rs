//! What a group member is told, in the order in which it happened.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ottla_wire::{ErrorCode, GenerationId, TopicPartition};

use crate::Error;
use crate::assignor::RebalanceProtocol;

/// Something that happened to the membership. Taken with [`CoordinatorHandle::next_event`](crate::CoordinatorHandle::next_event).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GroupEvent {
    /// The member has to rejoin: the application gives up what the protocol demands (eager: everything), then calls
    /// [`join`](crate::CoordinatorHandle::join). Told once, and only to a member; heartbeats go on until then.
    RebalanceNeeded {
        /// Why.
        reason: RebalanceReason,
    },
    /// The member has joined a generation, and has been assigned partitions (or none). Ends a join.
    Assigned(Assigned),
    /// The membership is gone: whatever was assigned may be another's by now, and must be given up without a commit.
    /// Ends a join that was under way; nothing happens before the next [`join`](crate::CoordinatorHandle::join).
    Lost {
        /// Why.
        reason: LostReason,
    },
    /// Something that the application has to be told. Ends a join that was under way; the next
    /// [`join`](crate::CoordinatorHandle::join) tries again, which makes no sense after a
    /// [fatal](Error::is_fatal) one.
    Failed(Error),
}

/// What a member has to be told next; where that is nothing, how it stands to its group. Both at one moment: asked one
/// after the other, a loss in between would look like a membership that never was.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_enums, reason = "whoever asks acts on each of them, and there are no others")]
pub enum EventOrStanding {
    /// Something has happened. It is told once.
    Event(GroupEvent),
    /// It has an assignment of the current generation, and everything about it was told.
    Member,
    /// A join is under way: an event will come of it.
    Joining,
    /// It is no member, and knows it: nothing will happen before [`join`](crate::CoordinatorHandle::join).
    NotMember,
}

/// A generation of the group, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assigned {
    /// The generation.
    pub generation_id: GenerationId,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The id of the member that assigned.
    pub leader_id: Arc<str>,
    /// The name of the assignor.
    pub assignor: Arc<str>,
    /// How this member rebalances.
    pub protocol: RebalanceProtocol,
    /// What this member is to read, all of it.
    pub partitions: BTreeSet<TopicPartition>,
    /// Why this member had joined again.
    pub reason: RebalanceReason,
    /// All members, with what each was assigned. Known on the leader only, and only where it did assign.
    pub group: Option<Arc<[AssignedMember]>>,
}

/// A member, and what the leader assigned to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssignedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its id if it is a static member.
    pub group_instance_id: Option<Arc<str>>,
    /// What it said that it owned when it joined.
    pub owned_before: BTreeSet<TopicPartition>,
    /// What it was assigned.
    pub partitions: BTreeSet<TopicPartition>,
}

/// Why a member joins again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RebalanceReason {
    /// It was no member.
    NotMember,
    /// The coordinator said that the group rebalances: another member joined, left, was removed, or asked for it.
    GroupRebalances,
    /// It subscribes to other topics than it joined with.
    SubscriptionChanged,
    /// The leader saw that a topic of the group appeared, vanished, or has other partitions than it assigned.
    MetadataChanged {
        /// The first such topic.
        topic: Arc<str>,
    },
    /// It was asked for with [`rejoin`](crate::CoordinatorHandle::rejoin).
    Requested {
        /// The reason given.
        reason: Arc<str>,
    },
}

impl fmt::Display for RebalanceReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMember => formatter.write_str("not a member yet"),
            Self::GroupRebalances => formatter.write_str("the group is rebalancing"),
            Self::SubscriptionChanged => formatter.write_str("the subscription has changed"),
            Self::MetadataChanged { topic } => write!(formatter, "topic {topic} has changed"),
            Self::Requested { reason } => formatter.write_str(reason),
        }
    }
}

/// Why a membership is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostReason {
    /// The coordinator said so: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_INSTANCE_ID.
    Refused {
        /// In answer to what.
        attempted: &'static str,
        /// What it said.
        error_code: ErrorCode,
    },
    /// The application did not poll for `max.poll.interval.ms`: the member has left.
    MaxPollIntervalExceeded,
}

impl fmt::Display for LostReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { attempted, error_code } => write!(formatter, "{attempted} was answered with {error_code}"),
            Self::MaxPollIntervalExceeded => {
                formatter.write_str("the application did not poll for max.poll.interval.ms")
            }
        }
    }
}

/// Who the member is in the group just now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMetadata {
    /// The group.
    pub group_id: Arc<str>,
    /// The generation.
    pub generation_id: GenerationId,
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its id if it is a static member.
    pub group_instance_id: Option<Arc<str>>,
    /// The id of the member that assigned.
    pub leader_id: Arc<str>,
    /// The name of the assignor.
    pub assignor: Arc<str>,
}
