//! What happened, in order, each event with its virtual time: what the checker judges, what a failure is told by, and what
//! two runs of one seed are compared by.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla::TopicPartition;
use tokio::time::Instant;

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

/// An event, and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Virtual time since the start.
    pub(crate) at: Duration,
    pub(crate) event: Event,
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>11.6} {}", self.at.as_secs_f64(), self.event)
    }
}

/// Where events are written down. A clone is the same book.
#[derive(Clone, Debug)]
pub(crate) struct History {
    started: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl History {
    /// Begins now. Needs a runtime, whose clock it goes by.
    pub(crate) fn begin() -> Self {
        Self { started: Instant::now(), entries: Arc::default() }
    }

    pub(crate) fn record(&self, event: Event) {
        let at = self.started.elapsed();
        self.entries().push(Entry { at, event });
    }

    /// Records what is found out once the runtime has stopped.
    pub(crate) fn record_at_end(&self, event: Event) {
        let at = self.entries().last().map_or(Duration::ZERO, |last| last.at);
        self.entries().push(Entry { at, event });
    }

    pub(crate) fn did(&self, what: impl Into<String>) {
        self.record(Event::Did { what: what.into() });
    }

    /// All of it so far.
    pub(crate) fn snapshot(&self) -> Vec<Entry> {
        self.entries().clone()
    }

    /// Looks at it without copying.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&[Entry]) -> R) -> R {
        look(&self.entries())
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The history as text, a line an event.
pub(crate) fn text(entries: &[Entry]) -> String {
    entries.iter().fold(String::new(), |mut text, entry| {
        writeln!(text, "{entry}").unwrap();
        text
    })
}

/// A number that is the same for the same history, and hardly ever for another.
pub(crate) fn digest(entries: &[Entry]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text(entries).as_bytes());
    hasher.finish()
}
