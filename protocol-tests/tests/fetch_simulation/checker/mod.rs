//! The judge: goes through a history, and says which promise of the consumer was broken where.
//!
//! Of a reader's partition it keeps the *course*: where it was told to begin, the record that it was handed last, and how the log
//! has been meanwhile. The next record has to be the one that was written behind the last. Anything else has to have a reason:
//! the log began later, or was cut; and then there is one place where it may go on.

mod course;
mod lineage;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ottla::{AutoOffsetReset, OnTruncation, TopicPartition};
use protocol_tests::simulation;

use self::course::{Course, Next, Past};
use self::lineage::Lineage;
use crate::history::{Entry, Event, LogName, Name, Start, Stretch};
use crate::scenario::{Application, Scenario};

/// What has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// What is handed out was written, there and so.
    Content,
    /// From one start to the next, records come once and in order, and none is passed over without a reason.
    Order,
    /// Nothing is handed out of a partition that is paused, or not to be read.
    Wanted,
    /// The application is told that the log lacks its position only where it does.
    Reasons,
    /// The bound on memory holds.
    Memory,
    /// When nothing goes wrong any more, everything is read, in time.
    EveryRecord,
    /// Calls end in time and for no wrong reason, nothing panics, and nothing is left behind.
    Ends,
}

/// A promise that was broken.
pub(crate) type Violation = simulation::Violation<Rule>;

/// All violations of a history, in its order.
pub(crate) fn check(history: &[Entry], scenario: &Scenario) -> Vec<Violation> {
    let mut checker = Checker::new(scenario);
    for (index, entry) in history.iter().enumerate() {
        checker.index = index;
        checker.look_at(&entry.event);
    }
    checker.index = history.len();
    if !checker.has_caught_up && checker.violations.is_empty() {
        checker.violated(Rule::Ends, "the run ended before all was read");
    }
    for Unseen { at, what, .. } in checker.unseen {
        checker.violations.push(Violation { rule: Rule::Reasons, at, what });
    }
    checker.violations.sort_by_key(|violation| violation.at);
    checker.violations
}

struct Checker<'s> {
    scenario: &'s Scenario,
    index: usize,
    violations: Vec<Violation>,
    lineage: Lineage,
    /// Each partition's log as it is.
    logs: BTreeMap<TopicPartition, Log>,
    courses: BTreeMap<(Name, TopicPartition), Course>,
    paused: BTreeMap<Name, BTreeSet<TopicPartition>>,
    incarnations: BTreeMap<String, u32>,
    /// Reasons that were told, and are to be seen: an election is looked at a moment after it.
    unseen: Vec<Unseen>,
    /// A reader was told that a log parted from this record; it begins anew at once.
    parted_from: Option<u64>,
    has_caught_up: bool,
}

/// A reader was told that a log lacks an offset, which nobody knew of then.
struct Unseen {
    at: usize,
    log: LogName,
    offset: i64,
    what: String,
}

/// A log as it is.
struct Log {
    name: LogName,
    start: i64,
    end: i64,
}

impl<'s> Checker<'s> {
    fn new(scenario: &'s Scenario) -> Self {
        Self {
            scenario,
            index: 0,
            violations: Vec::new(),
            lineage: Lineage::default(),
            logs: BTreeMap::new(),
            courses: BTreeMap::new(),
            paused: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            unseen: Vec::new(),
            parted_from: None,
            has_caught_up: false,
        }
    }

    fn violated(&mut self, rule: Rule, what: impl Into<String>) {
        let (at, what) = (self.index, what.into());
        self.violations.push(Violation { rule, at, what });
    }

    fn look_at(&mut self, event: &Event) {
        match event {
            Event::Did { .. } | Event::Failed { .. } | Event::Healed => {}
            Event::Made { topic, incarnation } => self.made(topic, *incarnation),
            Event::Wrote { log, stretch, after } => {
                self.lineage.wrote(log, *stretch, *after);
                self.log(log).end = stretch.end();
            }
            Event::Begins { log, start } => {
                self.log(log).start = *start;
                self.each_course_of(log, |past| past.begins(*start));
            }
            Event::Diverged { log, shared_end, end, .. } => {
                self.log(log).end = *end;
                self.each_course_of(log, |past| past.is_cut(*shared_end));
                self.unseen.retain(|unseen| unseen.log != *log || unseen.offset <= *shared_end);
            }
            Event::Assigned { name, partition, start } | Event::Sought { name, partition, start } => {
                self.began(*name, partition, *start);
            }
            Event::Unassigned { name, partition } => drop(self.courses.remove(&(*name, partition.clone()))),
            Event::Paused { name, partitions } => drop(self.paused.insert(*name, partitions.clone())),
            Event::Handed { name, log, stretch } => self.handed(*name, log, *stretch),
            Event::Damaged { .. } => self.violated(Rule::Content, event.to_string()),
            Event::Misplaced { .. } => self.violated(Rule::Order, event.to_string()),
            Event::OutOfRange { name, partition, offset } => self.out_of_range(*name, partition, *offset),
            Event::Truncated { name, partition, position, diverging } => {
                self.truncated(*name, partition, *position, *diverging);
            }
            Event::Recreated { name, partition } => self.recreated(*name, partition),
            Event::Ended { name, peak_bytes, limit_bytes } => {
                if peak_bytes > limit_bytes {
                    self.violated(Rule::Memory, event.to_string());
                }
                self.courses.retain(|(reader, _), _| reader != name);
            }
            Event::CaughtUp { missing } => {
                self.has_caught_up = true;
                for what in missing {
                    self.violated(Rule::EveryRecord, what);
                }
            }
            Event::Remains { log, end, last, .. } => self.remains(log, *end, *last),
            Event::Refused { .. }
            | Event::Overdue { .. }
            | Event::Leaked { .. }
            | Event::Panicked { .. }
            | Event::Overran { .. } => self.violated(Rule::Ends, event.to_string()),
        }
    }

    fn log(&mut self, name: &LogName) -> &mut Log {
        let log = || Log { name: name.clone(), start: 0, end: 0 };
        self.logs.entry(name.partition.clone()).or_insert_with(log)
    }

    fn each_course_of(&mut self, log: &LogName, change: impl Fn(&mut Past)) {
        self.courses.values_mut().filter_map(|course| course.past_of(log)).for_each(change);
    }

    /// Whoever reads the topic will have to notice.
    fn made(&mut self, topic: &str, incarnation: u32) {
        for (partition, log) in self.logs.iter_mut().filter(|(partition, _)| *partition.topic == *topic) {
            let name = LogName { partition: partition.clone(), incarnation };
            *log = Log { name, start: 0, end: 0 };
        }
        for ((_, partition), course) in &mut self.courses {
            if *partition.topic == *topic {
                let log = LogName { partition: partition.clone(), incarnation };
                course.renewed = Some(Past::new(log, 0, 0));
            }
        }
        self.incarnations.insert(topic.to_owned(), incarnation);
    }

    fn began(&mut self, name: Name, partition: &TopicPartition, start: Start) {
        let incarnation = self.incarnations.get(&*partition.topic).copied().unwrap_or_default();
        let log = self.log(&LogName { partition: partition.clone(), incarnation });
        let past = Past::new(log.name.clone(), log.start, log.end);
        let (parted_from, may_be_unaware) = (self.parted_from.take(), past.log.incarnation > 1);
        let course = Course { parted_from, may_be_unaware, ..Course::new(start, past) };
        self.courses.insert((name, partition.clone()), course);
    }

    fn handed(&mut self, name: Name, log: &LogName, stretch: Stretch) {
        for (number, offset) in (stretch.number..).zip(stretch.offset..stretch.end()) {
            self.record(name, log, number, offset);
        }
    }

    fn record(&mut self, name: Name, log: &LogName, number: u64, offset: i64) {
        let partition = &log.partition;
        if self.lineage.place(number) != Some((log, offset)) {
            let what = format!(
                "{name} was handed record {number} of {log} at {offset}, which is {:?}",
                self.lineage.place(number)
            );
            return self.violated(Rule::Content, what);
        }
        let plan = &self.scenario.readers[name.reader];
        let is_paused = self.paused.get(&name).is_some_and(|paused| paused.contains(partition));
        // Streams yield what they have taken in.
        if is_paused && plan.application == Application::Polls {
            self.violated(Rule::Wanted, format!("{name} was handed {partition} at {offset}, which is paused"));
        }
        let Some(course) = self.courses.get_mut(&(name, partition.clone())) else {
            let what = format!("{name} was handed {partition} at {offset}, which it is not to read");
            return self.violated(Rule::Wanted, what);
        };
        if let Err(what) = course.go_on(&self.lineage, plan, Next { log, number, offset }) {
            self.violated(Rule::Order, format!("{name} was handed {log} at {offset}, record {number}: {what}"));
        }
    }

    fn out_of_range(&mut self, name: Name, partition: &TopicPartition, offset: i64) {
        let Some(course) = self.courses.get(&(name, partition.clone())) else { return };
        let expected = course.position(&self.lineage);
        if expected.is_some_and(|expected| expected != offset) {
            let what = format!("{name} is at {expected:?} of {partition}, and was told that {offset} is out of range");
            return self.violated(Rule::Reasons, what);
        }
        if !course.past.lacked(offset) {
            let what = format!("{name} was told that {partition} does not have {offset}: {:?}", course.past);
            self.unseen.push(Unseen { at: self.index, log: course.past.log.clone(), offset, what });
        }
    }

    fn truncated(&mut self, name: Name, partition: &TopicPartition, position: i64, diverging: Option<i64>) {
        // OffsetForLeaderEpoch knows topics by their names only: a topic that was made anew is like one that was cut.
        let plan = &self.scenario.readers[name.reader];
        let Some(course) = self.courses.get(&(name, partition.clone())) else { return };
        let is_told = plan.policy == AutoOffsetReset::None || plan.on_truncation == OnTruncation::Tell;
        let is_there = course.last.is_none() || course.position(&self.lineage) == Some(position);
        let is_before = diverging.is_none_or(|diverging| diverging <= position);
        let what = format!("{name} was told that {partition} was cut before {position}, at {diverging:?}: {course:?}");
        // Before all that was read, nobody knows.
        self.parted_from = course.last.filter(|_| diverging.is_some_and(|diverging| diverging > course.first));
        if !is_told || !is_there || !is_before {
            self.violated(Rule::Reasons, what);
        } else if course.renewed.is_none() && position <= course.past.lowest_end {
            self.unseen.push(Unseen { at: self.index, log: course.past.log.clone(), offset: position, what });
        }
    }

    fn recreated(&mut self, name: Name, partition: &TopicPartition) {
        let policy = self.scenario.readers[name.reader].policy;
        let Some(course) = self.courses.get(&(name, partition.clone())) else { return };
        if policy != AutoOffsetReset::None || course.log().incarnation == 1 {
            self.violated(Rule::Reasons, format!("{name} was told that {partition} was made anew: {course:?}"));
        }
    }

    /// At the end everybody has come to the last record.
    fn remains(&mut self, log: &LogName, end: i64, last: Option<u64>) {
        let mut missing = Vec::new();
        for ((name, _), course) in self.courses.iter().filter(|(_, course)| course.log() == log) {
            let policy = self.scenario.readers[name.reader].policy;
            if course.last != last && !course.may_end_without(&self.lineage, policy, end) {
                missing.push(format!("{name} has read {log} up to record {:?}, and the last is {last:?}", course.last));
            }
        }
        for what in missing {
            self.violated(Rule::EveryRecord, what);
        }
    }
}
