//! The judge: goes through a history, and says which promise of the consumer was broken where.
//!
//! It knows what the partitions' logs hold, and of the rest only what the history says. It does not know how anything works.

use std::collections::{BTreeMap, BTreeSet};

use ottla::TopicPartition;
use protocol_tests::simulation;

use crate::history::{Entry, Event, Name, Partitions};

/// What has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A partition has one owner a generation, and one at all when the group has settled.
    OneOwner,
    /// No record of a partition is handed out once its revocation has ended.
    NothingAfterRevocation,
    /// An offset is committed only if every record below it has been processed by somebody.
    CommittedWasProcessed,
    /// Every record that was acknowledged is processed.
    EveryRecord,
    /// Within an assignment records come without gaps, from a committed offset on or else from the start.
    Order,
    /// The group comes to rest in time, and what is processed is committed.
    Settles,
    /// Calls end in time and for no wrong reason, nothing panics, and nothing is left behind.
    Ends,
}

/// A promise that was broken.
pub(crate) type Violation = simulation::Violation<Rule>;

/// What stands in the logs: the records' numbers, from offset 0 on.
pub(crate) type Logs = BTreeMap<TopicPartition, Vec<Option<u64>>>;

/// All violations of a history, in its order. `automatic` says of which members commits are automatic.
pub(crate) fn check(history: &[Entry], logs: &Logs, automatic: impl Fn(Name) -> bool) -> Vec<Violation> {
    let mut checker = Checker::new(logs);
    for (index, entry) in history.iter().enumerate() {
        checker.index = index;
        checker.look_at(&entry.event, &automatic);
    }
    checker.index = history.len();
    checker.check_end();
    checker.violations
}

struct Checker<'l> {
    logs: &'l Logs,
    index: usize,
    violations: Vec<Violation>,
    /// What each member owns, and the offset that is to be handed out next, once that is known.
    owned: BTreeMap<Name, BTreeMap<TopicPartition, Option<i64>>>,
    /// What was assigned in each generation.
    generations: BTreeMap<i32, BTreeMap<Name, Partitions>>,
    ended: BTreeSet<Name>,
    /// What was given up in a generation in which it was no longer the member's.
    given_up: Vec<(usize, i32, Name, Partitions)>,
    processed: BTreeMap<TopicPartition, Processed>,
    commits: BTreeMap<TopicPartition, Commits>,
    acknowledged: BTreeMap<u64, (TopicPartition, i64)>,
    has_settled: bool,
}

#[derive(Default)]
struct Processed {
    /// All below it are.
    prefix: i64,
    beyond: BTreeSet<i64>,
}

#[derive(Default)]
struct Commits {
    sent: BTreeSet<i64>,
    is_acknowledged: bool,
    /// Somebody has gone back: a commit may, too.
    is_sought: bool,
    /// What the broker had when all was quiet.
    at_end: Option<i64>,
}

impl<'l> Checker<'l> {
    fn new(logs: &'l Logs) -> Self {
        Self {
            logs,
            index: 0,
            violations: Vec::new(),
            owned: BTreeMap::new(),
            generations: BTreeMap::new(),
            ended: BTreeSet::new(),
            given_up: Vec::new(),
            processed: BTreeMap::new(),
            commits: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            has_settled: false,
        }
    }

    fn violated(&mut self, rule: Rule, what: impl Into<String>) {
        let (at, what) = (self.index, what.into());
        self.violations.push(Violation { rule, at, what });
    }

    fn look_at(&mut self, event: &Event, automatic: &impl Fn(Name) -> bool) {
        match event {
            Event::Did { .. }
            | Event::Failed { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::Alive { .. }
            | Event::Healed { .. } => {}
            Event::Acknowledged { partition, offset, sequence } => {
                self.acknowledged.insert(*sequence, (partition.clone(), *offset));
            }
            Event::Assigned { member, generation, added, assignment } => {
                self.assigned(*member, *generation, added, assignment);
            }
            Event::Shared { generation, parts, .. } => self.shared(*generation, parts),
            Event::Revoked { member, generation, partitions } => self.revoked(*member, *generation, partitions),
            Event::Lost { member, partitions } => self.given_up(*member, partitions),
            Event::Handed { member, partition, first, next } => self.handed(*member, partition, *first, *next),
            Event::Processed { partition, offset, sequence, .. } => self.processed(partition, *offset, *sequence),
            Event::OutOfPlace { member, partition, expected, found } => {
                let what = format!("{member} read {partition} at {found}, where {expected} was to come");
                self.violated(Rule::Order, what);
            }
            Event::Sought { member, partition, offset } => {
                self.commits.entry(partition.clone()).or_default().is_sought = true;
                if let Some(next) = self.owned.entry(*member).or_default().get_mut(partition) {
                    *next = Some(*offset);
                }
            }
            Event::CommitSent { member, partition, offset } => self.commit_sent(*member, partition, *offset),
            Event::CommitAcknowledged { partition, .. } => {
                self.commits.entry(partition.clone()).or_default().is_acknowledged = true;
            }
            Event::Ended { member, .. } => {
                self.owned.remove(member);
                self.ended.insert(*member);
            }
            Event::Settled { generation, members } => self.settled(*generation, members),
            Event::Unsettled { state } => self.violated(Rule::Settles, format!("the group did not settle: {state}")),
            Event::Drained { in_time } => {
                if !in_time {
                    self.violated(Rule::EveryRecord, "records were not processed in time");
                }
            }
            Event::CommittedAtEnd { partition, offset } => self.committed_at_end(partition, *offset, automatic),
            Event::Refused { .. } | Event::Overdue { .. } | Event::Leaked { .. } | Event::Panicked { .. } => {
                self.violated(Rule::Ends, event.to_string());
            }
        }
    }

    fn assigned(&mut self, member: Name, generation: i32, added: &Partitions, assignment: &Partitions) {
        let others = self.generations.entry(generation).or_default();
        let mut violations = Vec::new();
        // A static member that comes back has what it had, in the same generation.
        others.retain(|other, _| other.member != member.member || !self.ended.contains(other));
        for (other, theirs) in others.iter().filter(|(other, _)| **other != member) {
            for partition in theirs.intersection(assignment) {
                violations.push(format!("in generation {generation} {partition} is {other}'s and {member}'s"));
            }
        }
        others.insert(member, assignment.clone());
        let owned = self.owned.entry(member).or_default();
        for partition in added.iter().filter(|partition| owned.contains_key(partition)) {
            violations.push(format!("{partition} was assigned to {member}, which has not given it up"));
        }
        for partition in owned.keys().filter(|partition| !assignment.contains(partition)) {
            violations.push(format!("{partition} was taken from {member} without a revocation"));
        }
        let next = |partition: &TopicPartition| owned.get(partition).copied().flatten();
        let now = assignment.iter().map(|partition| (partition.clone(), next(partition))).collect();
        *owned = now;
        for what in violations {
            self.violated(Rule::OneOwner, what);
        }
    }

    fn shared(&mut self, generation: i32, parts: &[Partitions]) {
        let mut seen = Partitions::new();
        for partition in parts.iter().flatten() {
            if !seen.insert(partition.clone()) {
                self.violated(Rule::OneOwner, format!("in generation {generation} {partition} was assigned twice"));
            }
        }
    }

    fn revoked(&mut self, member: Name, generation: i32, partitions: &Partitions) {
        self.given_up.push((self.index, generation, member, partitions.clone()));
        self.given_up(member, partitions);
    }

    fn given_up(&mut self, member: Name, partitions: &Partitions) {
        self.owned.entry(member).or_default().retain(|partition, _| !partitions.contains(partition));
    }

    fn handed(&mut self, member: Name, partition: &TopicPartition, first: i64, next: i64) {
        let Some(expected) = self.owned.get(&member).and_then(|owned| owned.get(partition)).copied() else {
            let what = format!("{member} was handed {partition} at {first}, which it does not own");
            return self.violated(Rule::NothingAfterRevocation, what);
        };
        match expected {
            Some(expected) if expected != first => {
                let what = format!("{member} was handed {partition} at {first}, where {expected} was to come");
                self.violated(Rule::Order, what);
            }
            Some(_) => {}
            None => self.started(member, partition, first),
        }
        if let Some(expected) = self.owned.get_mut(&member).and_then(|owned| owned.get_mut(partition)) {
            *expected = Some(next);
        }
    }

    /// The first record of an assignment.
    fn started(&mut self, member: Name, partition: &TopicPartition, first: i64) {
        let prefix = self.processed.get(partition).map_or(0, |processed| processed.prefix);
        let nothing = Commits::default();
        let commits = self.commits.get(partition).unwrap_or(&nothing);
        let is_reset = first == 0 && !commits.is_acknowledged;
        let is_committed = commits.sent.contains(&first);
        if first > prefix {
            let what = format!("{member} began {partition} at {first}, but {prefix} has not been processed");
            self.violated(Rule::Order, what);
        } else if !is_reset && !is_committed {
            self.violated(Rule::Order, format!("{member} began {partition} at {first}, which nobody has committed"));
        }
    }

    fn processed(&mut self, partition: &TopicPartition, offset: i64, sequence: Option<u64>) {
        let stands = usize::try_from(offset).ok().and_then(|offset| self.logs.get(partition)?.get(offset).copied());
        if stands != Some(sequence) {
            let what = format!("{partition} at {offset} was read as {sequence:?}, and is {stands:?}");
            self.violated(Rule::Order, what);
        }
        self.processed.entry(partition.clone()).or_default().add(offset);
    }

    fn commit_sent(&mut self, member: Name, partition: &TopicPartition, offset: i64) {
        self.commits.entry(partition.clone()).or_default().sent.insert(offset);
        self.check_committed(&format!("{member} commits {partition} at {offset}"), partition, offset);
    }

    fn check_committed(&mut self, what: &str, partition: &TopicPartition, offset: i64) {
        let prefix = self.processed.get(partition).map_or(0, |processed| processed.prefix);
        if offset > prefix {
            let what = format!("{what}, but {prefix} has not been processed");
            self.violated(Rule::CommittedWasProcessed, what);
        }
    }

    fn settled(&mut self, generation: i32, members: &BTreeSet<Name>) {
        self.has_settled = true;
        let agreed = self.generations.get(&generation).cloned().unwrap_or_default();
        for member in members {
            if !agreed.contains_key(member) {
                self.violated(Rule::Settles, format!("{member} was never assigned in generation {generation}"));
            }
        }
        for partition in self.logs.keys() {
            let owns = |member: &&Name| self.owned.get(member).is_some_and(|owned| owned.contains_key(partition));
            let owners = members.iter().filter(owns).map(Name::to_string).collect::<Vec<_>>();
            if owners.len() != 1 {
                self.violations.push(Violation {
                    rule: Rule::OneOwner,
                    at: self.index,
                    what: format!("when the group has settled, {partition} is owned by {owners:?}"),
                });
            }
        }
    }

    /// Said when all has been processed, and again when all is closed.
    fn committed_at_end(&mut self, partition: &TopicPartition, offset: i64, automatic: &impl Fn(Name) -> bool) {
        self.check_committed(&format!("{partition} is committed at {offset}"), partition, offset);
        let commits = self.commits.entry(partition.clone()).or_default();
        let (before, may_go_back) = (commits.at_end.replace(offset), commits.is_sought);
        if let Some(before) = before.filter(|before| *before > offset && !may_go_back) {
            let what = format!("{partition} was committed at {before} and then at {offset}");
            self.violated(Rule::Settles, what);
        }
        let end = self.logs.get(partition).map_or(0, |log| log.len() as i64);
        let owner = self.owned.iter().find(|(_, owned)| owned.contains_key(partition)).map(|(owner, _)| *owner);
        if owner.is_some_and(automatic) && offset != end {
            let what = format!("{partition} is committed at {offset}, although {end} records have been processed");
            self.violated(Rule::Settles, what);
        }
    }

    fn check_end(&mut self) {
        for (at, generation, member, partitions) in std::mem::take(&mut self.given_up) {
            let Some(assigned) = self.generations.get(&generation) else { continue };
            for (other, theirs) in assigned.iter().filter(|(other, _)| other.member != member.member) {
                for partition in theirs.intersection(&partitions) {
                    let what =
                        format!("in generation {generation} {partition} is {other}'s, and {member} still had it");
                    self.violations.push(Violation { rule: Rule::OneOwner, at, what });
                }
            }
        }
        for (partition, log) in self.logs {
            let prefix = self.processed.get(partition).map_or(0, |processed| processed.prefix);
            if prefix < log.len() as i64 {
                self.violated(Rule::EveryRecord, format!("{partition} at {prefix} was never processed"));
            }
        }
        for (sequence, (partition, offset)) in std::mem::take(&mut self.acknowledged) {
            let stands = usize::try_from(offset).ok().and_then(|offset| *self.logs.get(&partition)?.get(offset)?);
            if stands != Some(sequence) {
                let what = format!("record {sequence} was acknowledged at {partition}, {offset}, where {stands:?} is");
                self.violated(Rule::EveryRecord, what);
            }
        }
        if !self.has_settled && !self.violations.iter().any(|violation| violation.rule == Rule::Settles) {
            self.violated(Rule::Settles, "the run ended before the group had settled");
        }
    }
}

impl Processed {
    fn add(&mut self, offset: i64) {
        if offset >= self.prefix {
            self.beyond.insert(offset);
        }
        while self.beyond.remove(&self.prefix) {
            self.prefix += 1;
        }
    }
}

#[cfg(test)]
mod tests;
