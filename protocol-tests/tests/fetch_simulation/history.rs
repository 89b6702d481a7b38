//! What may happen to readers and to what they read.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use ottla::TopicPartition;
use protocol_tests::simulation::{self, Mishap};

/// The history of a run.
pub(crate) type History = simulation::History<Event>;
/// An event of it, and when it was.
pub(crate) type Entry = simulation::Entry<Event>;

/// A consumer: which of the scenario's readers has it, and which of its lives this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) reader: usize,
    pub(crate) life: u32,
}

/// A partition's log. A topic that is made anew has others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogName {
    pub(crate) partition: TopicPartition,
    /// Counts how often the topic was made.
    pub(crate) incarnation: u32,
}

/// Where a reader was told to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Beginning,
    /// The end, when so much of the log could be read.
    End {
        readable: i64,
    },
    Offset(i64),
}

/// Records that follow one another, in one batch: their offsets count on, and so do their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) offset: i64,
    /// The number of the first. No two records of a run have the same.
    pub(crate) number: u64,
    pub(crate) count: u64,
}

impl Stretch {
    /// The offset behind it.
    pub(crate) fn end(self) -> i64 {
        self.offset + self.count as i64
    }

    /// Whether the other goes on where this one ends.
    pub(crate) fn followed_by(self, other: Self) -> bool {
        (self.end(), self.number + self.count) == (other.offset, other.number)
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The conductor did something to the cluster or to a reader.
    Did { what: String },
    /// A topic was made, for the first time or anew.
    Made { topic: String, incarnation: u32 },
    /// A batch was appended, behind the record with the number `after`.
    Wrote { log: LogName, stretch: Stretch, after: Option<u64> },
    /// The log begins later.
    Begins { log: LogName, start: i64 },
    /// Another replica leads, and the log is the former one up to `shared_end` only; it goes up to `end`, its last record is `last`.
    Diverged { log: LogName, shared_end: i64, end: i64, last: Option<u64> },
    /// A reader was told to read a partition that it did not read.
    Assigned { name: Name, partition: TopicPartition, start: Start },
    /// It was told to read it no more.
    Unassigned { name: Name, partition: TopicPartition },
    /// It was told to go on elsewhere, or has told itself.
    Sought { name: Name, partition: TopicPartition, start: Start },
    /// These are paused, and no others.
    Paused { name: Name, partitions: BTreeSet<TopicPartition> },
    /// The application was handed records of a log.
    Handed { name: Name, log: LogName, stretch: Stretch },
    /// It was handed something that is none of the records that were written.
    Damaged { name: Name, partition: TopicPartition, offset: i64, what: String },
    /// After all that it was handed, the consumer said that the next record is another.
    Misplaced { name: Name, partition: TopicPartition, expected: i64, said: Option<i64> },
    /// The application was told that the log does not have its position.
    OutOfRange { name: Name, partition: TopicPartition, offset: i64 },
    /// The application was told that the log lost what it has read, or where it was to read, and where it parted from that.
    Truncated { name: Name, partition: TopicPartition, position: i64, diverging: Option<i64> },
    /// The application was told that the topic is another.
    Recreated { name: Name, partition: TopicPartition },
    /// A call failed, as calls may.
    Failed { name: Name, what: &'static str, error: String },
    /// A call failed as none may.
    Refused { name: Name, what: &'static str, error: String },
    /// A call took longer than it may.
    Overdue { name: Name, what: &'static str, limit: Duration },
    /// The reader has ended. So much memory it took at the most; so much it may.
    Ended { name: Name, peak_bytes: usize, limit_bytes: usize },
    /// From here on nothing goes wrong any more.
    Healed,
    /// What a log holds when all is over.
    Remains { log: LogName, start: i64, end: i64, last: Option<u64> },
    /// Every reader has read all, or that did not happen in time: what is missing.
    CaughtUp { missing: Vec<String> },
    /// So many tasks run on after everything was closed.
    Leaked { tasks: usize },
    /// Something panicked.
    Panicked { message: String },
    /// The run went on for longer than any does.
    Overran { bound: Duration },
}

impl Event {
    pub(crate) fn did(what: impl Into<String>) -> Self {
        Self::Did { what: what.into() }
    }
}

impl From<Mishap> for Event {
    fn from(mishap: Mishap) -> Self {
        match mishap {
            Mishap::Overran { bound } => Self::Overran { bound },
            Mishap::Leaked { tasks } => Self::Leaked { tasks },
            Mishap::Panicked { message } => Self::Panicked { message },
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "r{}.{}", self.reader, self.life)
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.partition)?;
        if self.incarnation > 1 { write!(formatter, " (made {} times)", self.incarnation) } else { Ok(()) }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => write!(formatter, "the beginning"),
            Self::End { readable } => write!(formatter, "the end, {readable} or later"),
            Self::Offset(offset) => write!(formatter, "{offset}"),
        }
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (end, beyond) = (self.end(), self.number + self.count);
        write!(formatter, "{}..{end}, records {}..{beyond}", self.offset, self.number)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Did { what } => write!(formatter, "-- {what}"),
            Self::Made { topic, incarnation } => write!(formatter, "   {topic} is made, number {incarnation}"),
            Self::Wrote { log, stretch, after } => write!(formatter, "   {log} gets {stretch}, after {after:?}"),
            Self::Begins { log, start } => write!(formatter, "   {log} begins at {start}"),
            Self::Diverged { log, shared_end, end, last } => {
                write!(formatter, "   {log} has diverged at {shared_end}; it ends at {end} with record {last:?}")
            }
            Self::Assigned { name, partition, start } => {
                write!(formatter, "{name} is to read {partition} from {start}")
            }
            Self::Unassigned { name, partition } => write!(formatter, "{name} is to read {partition} no more"),
            Self::Sought { name, partition, start } => write!(formatter, "{name} sought {partition} to {start}"),
            Self::Paused { name, partitions } => {
                let partitions = partitions.iter().map(TopicPartition::to_string).collect::<Vec<_>>().join(" ");
                write!(formatter, "{name} pauses [{partitions}]")
            }
            Self::Handed { name, log, stretch } => write!(formatter, "{name} handed {log} {stretch}"),
            Self::Damaged { name, partition, offset, what } => {
                write!(formatter, "{name} handed {partition} at {offset} DAMAGED: {what}")
            }
            Self::Misplaced { name, partition, expected, said } => {
                write!(formatter, "{name} has read {partition} up to {expected}, and is told {said:?}")
            }
            Self::OutOfRange { name, partition, offset } => {
                write!(formatter, "{name} was told that {partition} does not have {offset}")
            }
            Self::Truncated { name, partition, position, diverging } => {
                write!(formatter, "{name} was told that {partition} was cut before {position}, at {diverging:?}")
            }
            Self::Recreated { name, partition } => write!(formatter, "{name} was told that {partition} was made anew"),
            Self::Failed { name, what, error } => write!(formatter, "{name} {what} failed: {error}"),
            Self::Refused { name, what, error } => write!(formatter, "{name} {what} FAILED: {error}"),
            Self::Overdue { name, what, limit } => write!(formatter, "{name} {what} takes longer than {limit:?}"),
            Self::Ended { name, peak_bytes, limit_bytes } => {
                write!(formatter, "{name} ended; it took {peak_bytes} of {limit_bytes} bytes at the most")
            }
            Self::Healed => write!(formatter, "-- healed"),
            Self::Remains { log, start, end, last } => {
                write!(formatter, "-- {log} has {start}..{end}, its last record is {last:?}")
            }
            Self::CaughtUp { missing } if missing.is_empty() => write!(formatter, "-- all is read"),
            Self::CaughtUp { missing } => write!(formatter, "-- NOT all is read: {}", missing.join("; ")),
            Self::Leaked { tasks } => write!(formatter, "-- {tasks} tasks LEAKED"),
            Self::Panicked { message } => write!(formatter, "-- PANICKED: {message}"),
            Self::Overran { bound } => write!(formatter, "-- it ran for more than {bound:?}"),
        }
    }
}
