//! One assigned partition: where it is read next, and what stands in the way.
//!
//! ```text
//!                 ListOffsets answered
//!   Starting ────────────────────────────▶ Fetching ──▶ its answers move the fetch offset on
//!    ▲    ▲                                   │
//!    │    └── OFFSET_OUT_OF_RANGE, seek to an end or a time
//!    │ no committed offset
//!   Awaiting ──▶ Fetching, from the committed offset
//! ```
//!
//! While it fetches, each new leader is asked whether its log has what was read, before more is fetched from it
//! ([`Validation`], KIP-320).
//!
//! There are two positions. The *fetch offset* is where the next Fetch begins; it runs ahead while answers wait to be
//! handed out. The *position* is what the application has come back from, and what it is told.
//!
//! Invariant: every change of course (seek, reset, rewind) begins a new generation, forgets what is in flight, and what
//! was buffered in an older one is not handed out. So nothing of before a seek appears after it.

use std::time::Instant;

use ottla_cluster::{Leader, Metadata};
use ottla_wire::{ErrorCode, LeaderEpoch, TopicId, TopicPartition};

use crate::ask::BatchSizes;
use crate::changed::Listed;
use crate::handed_out::Completed;
use crate::offset_reset::Start;
use crate::replica::Replica;
use crate::truncation::{DivergingOffset, Question, ReadEpochs};
use crate::{AutoOffsetReset, Lookup, StartAt};

/// What is known of one assigned partition.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) name: TopicPartition,
    pub(crate) topic_id: Option<TopicId>,
    /// The id of the topic that the position is one of; and of the one before, where it was made anew.
    read_topic_id: Option<TopicId>,
    former_topic_id: Option<TopicId>,
    /// That it was, the application has yet to be told.
    is_recreated: bool,
    /// The position that was lost, where its course is in place of one.
    lost: Option<i64>,
    pub(crate) leader: Option<Leader>,
    /// What it is read from instead.
    pub(crate) replica: Option<Replica>,
    /// What the cluster said instead of describing the topic.
    topic_error: Option<ErrorCode>,
    /// Counts the changes of course. Never the same for two partitions, so that it also tells a partition from one that
    /// had its place before.
    pub(crate) generation: u64,
    pub(crate) phase: Phase,
    /// What the application has come back from; `None` until the start is known.
    pub(crate) position: Option<i64>,
    /// The leader epoch of the last batch before the position, where one was read (KIP-320).
    pub(crate) position_epoch: Option<LeaderEpoch>,
    /// The leader epochs of what was fetched.
    pub(crate) epochs: ReadEpochs,
    pub(crate) validation: Validation,
    pub(crate) paused: bool,
    /// The request that is in flight for it, or the session of its broker that it is in. What any other answers changes
    /// nothing.
    pub(crate) in_flight: Option<u64>,
    /// An error that the application has not been told: nothing is tried meanwhile.
    pub(crate) untold: bool,
    /// Nothing is tried before.
    pub(crate) not_before: Option<Instant>,
    /// How many attempts have failed in a row.
    pub(crate) failures: u32,
    /// How many of them brought bytes, but no whole batch.
    pub(crate) cut_answers: u32,
    /// How often a leader has been asked for an epoch after its own.
    pub(crate) answers_from_behind: u32,
    /// The fetch offset that the broker where it is [listed](Listed::at) is asked for by each request of the main lane, and the
    /// number after which these are. `None`: it is not in all of them.
    pub(crate) asked: Option<(i64, u64)>,
    /// How large its batches are.
    pub(crate) sizes: BatchSizes,
    pub(crate) high_watermark: Option<i64>,
    pub(crate) last_stable_offset: Option<i64>,
    pub(crate) log_start_offset: Option<i64>,
    pub(crate) listed: Listed,
}

/// What a partition's start was asked for on: from one assignment, or one seek, to the next. An answer that was looked up
/// for one course says nothing about another, whose start may be known better by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course(pub(crate) u64);

/// What is to be done next for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Where it starts is found out by somebody else: the committed offset of a group.
    Awaiting,
    /// The start is to be looked up.
    Starting(Lookup),
    /// There is nowhere to read on, and nothing to be looked up; the application has to seek.
    Refused(Refusal),
    /// It is fetched from here.
    Fetching { offset: i64 },
}

/// Why the application has to seek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no position, and no policy to find one.
    NoPosition,
    /// The log does not have this offset, and there is no policy.
    OutOfRange(i64),
    /// The log was truncated before the position.
    Truncated(Truncation),
    /// The topic was made anew, and the position is one of the former.
    Recreated(Recreation),
}

/// A log that lost what the application has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Truncation {
    pub(crate) position: i64,
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    /// Where it parted from what was read; `None`: the leader cannot say.
    pub(crate) diverging: Option<DivergingOffset>,
}

/// A topic that was deleted and made anew under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recreation {
    pub(crate) old_id: TopicId,
    pub(crate) new_id: TopicId,
}

/// Whether the leader's log has what was read (KIP-320).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Validation {
    /// As far as it can be told.
    #[default]
    Done,
    /// It is to be asked before anything else is fetched.
    Needed {
        /// Where it did not know the epoch that it was asked for before.
        again: Option<Question>,
        /// It answered OFFSET_OUT_OF_RANGE: that may be why.
        is_out_of_range: bool,
    },
    /// It has not. The application's next poll acts on it, because nothing is being opened then.
    Truncated(Option<DivergingOffset>),
}

impl Partition {
    pub(crate) fn new(name: TopicPartition, generation: u64, at: StartAt, policy: AutoOffsetReset) -> Self {
        let mut partition = Self {
            name,
            topic_id: None,
            read_topic_id: None,
            former_topic_id: None,
            is_recreated: false,
            lost: None,
            leader: None,
            replica: None,
            topic_error: None,
            generation,
            phase: Phase::Refused(Refusal::NoPosition),
            position: None,
            position_epoch: None,
            epochs: ReadEpochs::default(),
            validation: Validation::Done,
            paused: false,
            in_flight: None,
            untold: false,
            not_before: None,
            failures: 0,
            cut_answers: 0,
            answers_from_behind: 0,
            asked: None,
            sizes: BatchSizes::default(),
            high_watermark: None,
            last_stable_offset: None,
            log_start_offset: None,
            listed: Listed::default(),
        };
        partition.start(generation, at, policy);
        partition
    }

    /// Sets a new course.
    pub(crate) fn start(&mut self, generation: u64, at: StartAt, policy: AutoOffsetReset) {
        self.generation = generation;
        self.in_flight = None;
        self.untold = false;
        self.not_before = None;
        self.failures = 0;
        self.cut_answers = 0;
        self.answers_from_behind = 0;
        self.position_epoch = None;
        (self.is_recreated, self.lost) = (false, None);
        self.epochs = ReadEpochs::default();
        self.validation = Validation::Done;
        (self.phase, self.position) = match Start::decide(at, policy) {
            Start::At(offset, leader_epoch) => {
                self.position_epoch = leader_epoch;
                self.epochs = ReadEpochs::starting_at(offset, leader_epoch);
                (Phase::Fetching { offset }, Some(offset))
            }
            Start::Ask(lookup) => (Phase::Starting(lookup), None),
            Start::Await => (Phase::Awaiting, None),
            Start::Refuse => (Phase::Refused(Refusal::NoPosition), None),
        };
        self.validate();
    }

    /// Sets a course from an offset that was handed out. What is known of what was read before it stays, and of its topic.
    pub(crate) fn go_back(&mut self, generation: u64, offset: i64, policy: AutoOffsetReset) {
        let (epochs, is_recreated) = (std::mem::take(&mut self.epochs), self.is_recreated);
        self.start(generation, StartAt::Offset(offset), policy);
        (self.epochs, self.is_recreated) = (epochs, is_recreated);
        self.epochs.rewind(offset);
        self.validate();
    }

    /// The log does not have the fetch offset, or cannot say where it parted from what was read.
    pub(crate) fn out_of_range(&mut self, generation: u64, policy: AutoOffsetReset) {
        match self.fetch_offset() {
            Some(offset) if policy == AutoOffsetReset::None => self.refuse(generation, Refusal::OutOfRange(offset)),
            lost => {
                self.start(generation, StartAt::Reset, policy);
                self.lost = lost;
            }
        }
    }

    /// Sets a course that leads nowhere. The position stays.
    pub(crate) fn refuse(&mut self, generation: u64, refusal: Refusal) {
        let (position, position_epoch) = (self.position, self.position_epoch);
        self.start(generation, StartAt::Reset, AutoOffsetReset::None);
        (self.position, self.position_epoch) = (position, position_epoch);
        self.phase = Phase::Refused(refusal);
    }

    /// Goes back to `offset`, from where on it is to be fetched again: something could not be read, or had to make room.
    /// What is buffered from there on must be dropped, and with it a failure that was to be told. The generation stays:
    /// what is before it was handed out.
    pub(crate) fn rewind(&mut self, offset: i64) {
        self.in_flight = None;
        self.untold = false;
        self.phase = Phase::Fetching { offset };
        self.epochs.rewind(offset);
        // What was found truncated stays so until that is acted on.
        if self.needs_validation() {
            self.validate();
        }
    }

    /// The lookup of the start was answered. By the leader, which need not be asked whether it has what is there.
    pub(crate) fn started(&mut self, offset: i64, leader_epoch: Option<LeaderEpoch>) {
        self.phase = Phase::Fetching { offset };
        self.position = Some(offset);
        self.epochs = ReadEpochs::starting_at(offset, leader_epoch);
        self.succeeded();
    }

    /// An answer brought batches up to `offset`, of these epochs.
    pub(crate) fn fetched(&mut self, offset: i64, epochs: ReadEpochs) {
        self.phase = Phase::Fetching { offset };
        self.epochs.extend(epochs);
        self.succeeded();
    }

    /// An answer was as it should be.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.cut_answers = 0;
        self.answers_from_behind = 0;
        self.not_before = None;
    }

    /// An attempt failed; the next is due at `not_before`.
    pub(crate) fn failed(&mut self, not_before: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(not_before);
        self.asked = None;
    }

    /// What the application has come back from, where `handed_out` is what it has of what was handed out last.
    pub(crate) fn completed(&self, handed_out: Option<Completed>) -> Option<Completed> {
        let before = self.position.map(|offset| Completed::new(offset, self.position_epoch));
        // Where none of what was handed out is completed, the epoch is that of what came before.
        handed_out.filter(|completed| before.is_none_or(|before| before.offset != completed.offset)).or(before)
    }

    /// Where the next Fetch begins.
    pub(crate) fn fetch_offset(&self) -> Option<i64> {
        match self.phase {
            Phase::Fetching { offset } => Some(offset),
            Phase::Awaiting | Phase::Starting(_) | Phase::Refused(_) => None,
        }
    }

    /// Whether it may be fetched, now or once [`not_before`](Self::not_before) has passed, unless somebody does.
    pub(crate) fn is_fetchable(&self) -> bool {
        matches!(self.phase, Phase::Fetching { .. })
            && self.validation == Validation::Done
            && !self.paused
            && !self.untold
            && !self.is_recreated
    }

    /// Whether that is so, and nobody does.
    pub(crate) fn wants_fetch(&self) -> bool {
        self.is_fetchable() && self.in_flight.is_none()
    }

    /// Whether the leader is to be asked whether it has what was read.
    pub(crate) fn needs_validation(&self) -> bool {
        matches!(self.validation, Validation::Needed { .. })
    }

    /// What the leader is to be asked before more is fetched from it, now or once [`not_before`](Self::not_before) has passed.
    pub(crate) fn wants_validation(&self) -> Option<Question> {
        let Validation::Needed { again, .. } = self.validation else { return None };
        let question = again.or_else(|| self.epochs.question(self.fetch_offset()?))?;
        (self.in_flight.is_none() && !self.untold && !self.is_recreated).then_some(question)
    }

    /// Has the leader asked, where it can tell anything: it has an epoch, and a batch of another one was read. A leader has what
    /// it wrote itself.
    pub(crate) fn validate(&mut self) {
        let leader_epoch = self.leader.map(|leader| leader.epoch);
        let is_needed = match (self.fetch_offset(), self.epochs.latest(), leader_epoch) {
            // An epoch newer than the leader's: metadata is old, or the topic was made anew where topics have no ids.
            (Some(_), Some(read), Some(Some(current))) => read != current,
            (Some(_), Some(_), None) => true,
            _ => false,
        };
        let needed = Validation::Needed { again: None, is_out_of_range: false };
        self.validation = if is_needed { needed } else { Validation::Done };
    }

    /// The lookup that is to be made, now or once [`not_before`](Self::not_before) has passed. A paused partition's,
    /// too: its position may be asked for.
    pub(crate) fn wants_lookup(&self) -> Option<Lookup> {
        match self.phase {
            Phase::Starting(lookup) if self.in_flight.is_none() && !self.untold => Some(lookup),
            _ => None,
        }
    }

    /// Why the cluster will not tell the leader, if that does not go away by itself.
    pub(crate) fn refusal(&self) -> Option<ottla_cluster::Error> {
        let error_code = self.topic_error.filter(|error_code| !error_code.is_retriable())?;
        Some(ottla_cluster::Error::Topic { topic: self.name.topic.clone(), error_code })
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| not_before <= now)
    }

    /// Whether the cluster is known to say anything new of it.
    pub(crate) fn is_news(&self, metadata: &Metadata) -> bool {
        let topic = metadata.topic(&self.name.topic);
        let known = (self.topic_id, self.topic_error, self.leader);
        let leader = metadata.leader(&self.name.topic, self.name.partition);
        known != (topic.and_then(|topic| topic.id), topic.and_then(|topic| topic.error), leader)
    }

    /// Takes in what is known of it.
    pub(crate) fn update_leader(&mut self, metadata: &Metadata) {
        let topic = metadata.topic(&self.name.topic);
        self.topic_id = topic.and_then(|topic| topic.id);
        self.topic_error = topic.and_then(|topic| topic.error);
        if let Some(id) = self.topic_id {
            self.notice_topic_id(id);
        }
        self.set_leader(metadata.leader(&self.name.topic, self.name.partition));
    }

    /// Notices where the topic is not the one any more that the position is one of. Nothing is fetched then until the
    /// application has been handed what the former one had.
    pub(crate) fn notice_topic_id(&mut self, new_id: TopicId) {
        let old_id = match self.read_topic_id {
            // Ids never come back: a broker that still has the former one is behind.
            Some(_) if self.former_topic_id == Some(new_id) => return,
            Some(old_id) if old_id != new_id => old_id,
            _ => {
                self.read_topic_id = Some(new_id);
                return;
            }
        };
        (self.read_topic_id, self.former_topic_id) = (Some(new_id), Some(old_id));
        (self.in_flight, self.asked) = (None, None);
        (self.failures, self.not_before) = (0, None);
        // A position may have been lost because of that, before it was known.
        self.is_recreated = self.fetch_offset().or(self.lost).is_some();
    }

    /// That the topic was made anew, where the application has yet to be told.
    pub(crate) fn recreation(&self) -> Option<Recreation> {
        let (old_id, new_id) = self.former_topic_id.zip(self.read_topic_id)?;
        self.is_recreated.then_some(Recreation { old_id, new_id })
    }

    /// Takes in who leads it. A leader that is news ends the back-off, and the wait for the old one's answer: that may
    /// never come.
    pub(crate) fn set_leader(&mut self, leader: Option<Leader>) {
        if leader == self.leader {
            return;
        }
        let is_another_node = leader.map(|leader| leader.node) != self.leader.map(|leader| leader.node);
        let is_lookup =
            matches!(self.phase, Phase::Starting(_)) || matches!(self.validation, Validation::Needed { .. });
        // What the same node found as a former leader is out of date, but for what it read.
        if is_another_node || is_lookup {
            self.in_flight = None;
        }
        self.leave_replica();
        self.leader = leader;
        (self.failures, self.not_before) = (0, None);
        if !matches!(self.validation, Validation::Truncated(_)) {
            self.validate();
        }
        // The leader is asked at once, whatever else has been asked of it: in a session it need not answer that.
        if self.needs_validation() {
            self.in_flight = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "any origin will do: the machines read no clock")]

    use super::*;
    use std::time::Duration;

    fn partition(at: StartAt) -> Partition {
        Partition::new(TopicPartition::new("topic", 0), 1, at, AutoOffsetReset::Earliest)
    }

    #[test]
    fn an_offset_is_fetched_without_being_looked_up() {
        let partition = partition(StartAt::Offset(5));
        assert_eq!((partition.fetch_offset(), partition.position), (Some(5), Some(5)));
        assert!(partition.wants_fetch());
        assert_eq!(partition.wants_lookup(), None);
    }

    #[test]
    fn the_rest_is_looked_up_and_then_fetched() {
        let mut partition = partition(StartAt::Reset);
        assert_eq!((partition.wants_lookup(), partition.position), (Some(Lookup::Earliest), None));
        assert!(!partition.wants_fetch());
        partition.started(17, None);
        assert_eq!((partition.fetch_offset(), partition.position), (Some(17), Some(17)));
    }

    #[test]
    fn what_is_awaited_is_neither_fetched_nor_looked_up() {
        let mut partition = partition(StartAt::Committed);
        assert_eq!((partition.wants_lookup(), partition.position), (None, None));
        assert!(!partition.wants_fetch());
        partition.start(2, StartAt::Offset(3), AutoOffsetReset::Earliest);
        assert_eq!(partition.fetch_offset(), Some(3));
    }

    #[test]
    fn out_of_range_follows_the_policy() {
        let mut partition = partition(StartAt::Offset(5));
        partition.out_of_range(2, AutoOffsetReset::Latest);
        assert_eq!((partition.wants_lookup(), partition.generation), (Some(Lookup::Latest), 2));

        partition.started(9, None);
        partition.out_of_range(3, AutoOffsetReset::None);
        assert_eq!((partition.phase, partition.position), (Phase::Refused(Refusal::OutOfRange(9)), Some(9)));
    }

    #[test]
    fn a_position_that_was_lost_before_the_topic_is_known_to_be_made_anew_was_one_of_the_former() {
        let (old_id, new_id) = (TopicId([1; 16]), TopicId([2; 16]));
        let mut sought = partition(StartAt::Latest);
        sought.notice_topic_id(old_id);
        sought.notice_topic_id(new_id);
        assert_eq!(sought.recreation(), None, "nothing was read of the former");

        let mut lost = partition(StartAt::Offset(5));
        lost.notice_topic_id(old_id);
        lost.out_of_range(2, AutoOffsetReset::Latest);
        lost.notice_topic_id(new_id);
        assert_eq!(lost.recreation(), Some(Recreation { old_id, new_id }));
    }

    #[test]
    fn going_back_to_what_was_handed_out_does_not_make_it_the_new_topics() {
        let mut partition = partition(StartAt::Offset(5));
        partition.notice_topic_id(TopicId([1; 16]));
        partition.notice_topic_id(TopicId([2; 16]));
        partition.go_back(2, 4, AutoOffsetReset::Latest);
        assert!(partition.recreation().is_some() && !partition.wants_fetch());
        partition.start(3, StartAt::Offset(4), AutoOffsetReset::Latest);
        assert_eq!(partition.recreation(), None, "the application has sought");
    }

    #[test]
    fn a_failure_is_waited_for_and_a_seek_ends_the_wait() {
        let now = Instant::now();
        let mut partition = partition(StartAt::Offset(5));
        partition.failed(now + Duration::from_millis(100));
        assert!(!partition.is_due(now + Duration::from_millis(99)));
        assert!(partition.is_due(now + Duration::from_millis(100)));
        partition.start(2, StartAt::Offset(6), AutoOffsetReset::None);
        assert!(partition.is_due(now));
        assert_eq!(partition.failures, 0);
    }

    #[test]
    fn a_paused_partition_is_not_fetched_but_looked_up() {
        let mut partition = partition(StartAt::Latest);
        partition.paused = true;
        assert_eq!(partition.wants_lookup(), Some(Lookup::Latest));
        partition.started(1, None);
        assert!(!partition.wants_fetch());
    }
}
