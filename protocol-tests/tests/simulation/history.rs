//! What may happen to a group.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use ottla::TopicPartition;
use protocol_tests::simulation::{self, Mishap};

/// A member of the group: which of the scenario's, and which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) member: usize,
    pub(crate) life: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "m{}.{}", self.member, self.life)
    }
}

/// The history of a run.
pub(crate) type History = simulation::History<Event>;
/// An event of it, and when it was.
pub(crate) type Entry = simulation::Entry<Event>;

/// Some partitions.
pub(crate) type Partitions = BTreeSet<TopicPartition>;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The conductor did something to the cluster or to a member.
    Did { what: String },
    /// A record was acknowledged.
    Acknowledged { partition: TopicPartition, offset: i64, sequence: u64 },
    /// The listener was told of an assignment: what is new, and all of it.
    Assigned { member: Name, generation: i32, added: Partitions, assignment: Partitions },
    /// The leader saw what it had assigned to the members of a generation.
    Shared { member: Name, generation: i32, parts: Vec<Partitions> },
    /// The listener's `on_revoked` has returned; `generation` is the newest that the member has been assigned in.
    Revoked { member: Name, generation: i32, partitions: Partitions },
    /// The listener's `on_lost` has returned.
    Lost { member: Name, partitions: Partitions },
    /// The application was handed the records from `first` to before `next`.
    Handed { member: Name, partition: TopicPartition, first: i64, next: i64 },
    /// The application is done with a record, whose value says its `sequence`.
    Processed { member: Name, partition: TopicPartition, offset: i64, sequence: Option<u64> },
    /// The application read a batch whose records were not those that the batch said.
    OutOfPlace { member: Name, partition: TopicPartition, expected: i64, found: i64 },
    /// The application went back to an offset.
    Sought { member: Name, partition: TopicPartition, offset: i64 },
    /// A request of the group protocol left the client.
    Asked { member: Name, what: String },
    /// It was answered, or a commit was with an error.
    Answered { member: Name, what: String },
    /// A heartbeat was answered without an error: the member and its coordinator have each other.
    Alive { member: Name },
    /// A commit left the client.
    CommitSent { member: Name, partition: TopicPartition, offset: i64 },
    /// The coordinator said that it has it.
    CommitAcknowledged { member: Name, partition: TopicPartition, offset: i64 },
    /// A call failed, as calls may.
    Failed { member: Name, what: &'static str, error: String },
    /// A call failed as none may: for good, or where nothing was wrong with the cluster.
    Refused { member: Name, what: &'static str, error: String },
    /// A call took longer than it may.
    Overdue { member: Name, what: &'static str, limit: Duration },
    /// The member has ended: its consumer is gone.
    Ended { member: Name, how: &'static str },
    /// From here on nothing goes wrong any more.
    Healed { bound: Duration },
    /// The group has come to rest: its coordinator calls it stable, with these members and no others, all of whom agree.
    Settled { generation: i32, members: BTreeSet<Name> },
    /// It has not, in time. `state`: what it looked like.
    Unsettled { state: String },
    /// All records have been processed, or that did not happen in time.
    Drained { in_time: bool },
    /// What the broker has as committed when all is over.
    CommittedAtEnd { partition: TopicPartition, offset: i64 },
    /// So many tasks run on after everything was closed.
    Leaked { tasks: usize },
    /// Something panicked.
    Panicked { message: String },
}

impl Event {
    pub(crate) fn did(what: impl Into<String>) -> Self {
        Self::Did { what: what.into() }
    }
}

impl From<Mishap> for Event {
    fn from(mishap: Mishap) -> Self {
        match mishap {
            Mishap::Overran { bound } => Self::Unsettled { state: format!("it ran for more than {bound:?}") },
            Mishap::Leaked { tasks } => Self::Leaked { tasks },
            Mishap::Panicked { message } => Self::Panicked { message },
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Did { what } => write!(formatter, "-- {what}"),
            Self::Acknowledged { partition, offset, sequence } => {
                write!(formatter, "producer: {partition} at {offset} is record {sequence}")
            }
            Self::Assigned { member, generation, added, assignment } => {
                let (added, assignment) = (list(added), list(assignment));
                write!(formatter, "{member} assigned in generation {generation}: {assignment}, new: {added}")
            }
            Self::Shared { member, generation, parts } => {
                let parts = parts.iter().map(list).collect::<Vec<_>>().join(" | ");
                write!(formatter, "{member} leads generation {generation}: {parts}")
            }
            Self::Revoked { member, generation, partitions } => {
                write!(formatter, "{member} revoked in generation {generation}: {}", list(partitions))
            }
            Self::Lost { member, partitions } => write!(formatter, "{member} lost {}", list(partitions)),
            Self::Handed { member, partition, first, next } => {
                write!(formatter, "{member} handed {partition} from {first} to before {next}")
            }
            Self::Processed { member, partition, offset, sequence } => {
                write!(formatter, "{member} processed {partition} at {offset}, record {sequence:?}")
            }
            Self::OutOfPlace { member, partition, expected, found } => {
                write!(formatter, "{member} read {partition} at {found} where {expected} was to come")
            }
            Self::Sought { member, partition, offset } => write!(formatter, "{member} sought {partition} to {offset}"),
            Self::Asked { member, what } => write!(formatter, "{member}   > {what}"),
            Self::Answered { member, what } => write!(formatter, "{member}   < {what}"),
            Self::Alive { member } => write!(formatter, "{member}   < Heartbeat"),
            Self::CommitSent { member, partition, offset } => {
                write!(formatter, "{member} sends a commit of {partition} at {offset}")
            }
            Self::CommitAcknowledged { member, partition, offset } => {
                write!(formatter, "{member} has committed {partition} at {offset}")
            }
            Self::Failed { member, what, error } => write!(formatter, "{member} {what} failed: {error}"),
            Self::Refused { member, what, error } => write!(formatter, "{member} {what} FAILED: {error}"),
            Self::Overdue { member, what, limit } => write!(formatter, "{member} {what} takes longer than {limit:?}"),
            Self::Ended { member, how } => write!(formatter, "{member} ended: {how}"),
            Self::Healed { bound } => write!(formatter, "-- healed: to be settled within {bound:?}"),
            Self::Settled { generation, members } => {
                let members = members.iter().map(Name::to_string).collect::<Vec<_>>().join(" ");
                write!(formatter, "-- settled in generation {generation}: {members}")
            }
            Self::Unsettled { state } => write!(formatter, "-- NOT settled: {state}"),
            Self::Drained { in_time } => write!(formatter, "-- all records processed in time: {in_time}"),
            Self::CommittedAtEnd { partition, offset } => {
                write!(formatter, "-- committed at the end: {partition} at {offset}")
            }
            Self::Leaked { tasks } => write!(formatter, "-- {tasks} tasks LEAKED"),
            Self::Panicked { message } => write!(formatter, "-- PANICKED: {message}"),
        }
    }
}

fn list(partitions: &Partitions) -> String {
    if partitions.is_empty() {
        return "nothing".to_owned();
    }
    partitions.iter().map(TopicPartition::to_string).collect::<Vec<_>>().join(" ")
}
