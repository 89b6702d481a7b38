//! Whether a [`History`] is as Kafka promises it: at least once, in order, and nothing twice without a reason.
//!
//! A member's *tenure* of a partition lasts from its assignment to its revocation, or to the end of the member. Within one, offsets
//! come one after the other. It begins where the group had committed before the assignment, or further on where a commit was not
//! acknowledged, and never beyond what had been read: so what is read twice is what a rebalance found uncommitted, and nothing else.
//! Tenures of two members may overlap: whoever was stopped, or cut off, does not know that the group went on without it.
//!
//! A producer's retry writes records twice where the first attempt was written unseen. That takes a broker that is cut
//! off: the judge is told when there was one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use tokio::time::Instant;

use crate::history::{History, What, Write};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Promises that were broken; empty is what is hoped for.
    pub violations: Vec<Violation>,
    /// How many records were acknowledged.
    pub acknowledged: usize,
    /// How many reads there were of offsets that had been read before: each after a rebalance, where there is no violation.
    pub read_again: usize,
    /// How many records stand in the log more than once: each because of a retry, where there is no violation.
    pub written_again: usize,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields' names say it")]
pub enum Violation {
    /// Acknowledged, and read by nobody.
    Lost(Write),
    /// Acknowledged or read at an offset at which another record was read.
    Differs { partition: i32, offset: i64, values: [u64; 2] },
    /// Written behind a record that was sent later.
    OutOfOrder { partition: i32, offset: i64, value: u64, behind: u64 },
    /// Written twice, and acknowledged while no broker was cut off.
    WrittenAgain { partition: i32, value: u64, offsets: Vec<i64> },
    /// Read by a member that did not hold the partition.
    NotHeld { member: String, partition: i32, offset: i64 },
    /// Within a tenure something else should have come.
    NotNext { member: String, partition: i32, expected: i64, offset: i64 },
    /// A tenure began before what had been committed.
    BeforeCommitted { member: String, partition: i32, committed: i64, offset: i64 },
    /// A tenure began beyond all that had been read.
    BeyondRead { member: String, partition: i32, offset: i64 },
    /// A member committed what it had not read.
    CommittedUnread { member: String, partition: i32, read: Option<i64>, committed: i64 },
}

/// Judges. `cut_off`: when brokers were, each time until everything flowed again.
pub fn judge(history: &History, cut_off: &[Range<Instant>]) -> Verdict {
    let mut log = Log::default();
    let mut violations = Vec::new();
    for member in &history.members {
        for step in &member.steps {
            if let What::Read { partition, offset, value } = step.what {
                violations.extend(log.add(partition, offset, value));
            }
        }
    }
    violations.extend(log.out_of_order());
    for write in &history.writes {
        violations.extend(log.check(write));
    }
    let is_excused = |write: &Write| cut_off.iter().any(|cut_off| cut_off.contains(&write.at));
    let again = log.written_again();
    for write in history.writes.iter().filter(|write| !is_excused(write)) {
        if let Some(offsets) = again.get(&(write.partition, write.value)) {
            let (partition, value, offsets) = (write.partition, write.value, offsets.iter().copied().collect());
            violations.push(Violation::WrittenAgain { partition, value, offsets });
        }
    }
    violations.extend(tenures(history, &log));
    Verdict { violations, acknowledged: history.writes.len(), read_again: log.read_again, written_again: again.len() }
}

/// What stands in the partitions, as far as it was read.
#[derive(Debug, Default)]
struct Log {
    values: BTreeMap<(i32, i64), u64>,
    offsets: BTreeMap<(i32, u64), BTreeSet<i64>>,
    read_again: usize,
}

impl Log {
    fn add(&mut self, partition: i32, offset: i64, value: u64) -> Option<Violation> {
        let known = *self.values.entry((partition, offset)).or_insert(value);
        let is_new = self.offsets.entry((partition, value)).or_default().insert(offset);
        self.read_again += usize::from(!is_new);
        (known != value).then_some(Violation::Differs { partition, offset, values: [known, value] })
    }

    fn check(&self, write: &Write) -> Option<Violation> {
        let Write { value, partition, offset, .. } = *write;
        if !self.offsets.contains_key(&(partition, value)) {
            return Some(Violation::Lost(write.clone()));
        }
        let known = *self.values.get(&(partition, offset))?;
        (known != value).then_some(Violation::Differs { partition, offset, values: [known, value] })
    }

    /// A record that is written again counts where it stands first.
    fn out_of_order(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut last: Option<(i32, u64)> = None;
        for (&(partition, offset), &value) in &self.values {
            let is_first = self.offsets[&(partition, value)].first() == Some(&offset);
            match last {
                Some((of, behind)) if of == partition && behind >= value => {
                    if is_first {
                        violations.push(Violation::OutOfOrder { partition, offset, value, behind });
                    }
                }
                _ => last = Some((partition, value)),
            }
        }
        violations
    }

    fn written_again(&self) -> BTreeMap<(i32, u64), &BTreeSet<i64>> {
        let again = self.offsets.iter().filter(|(_, offsets)| offsets.len() > 1);
        again.map(|(key, offsets)| (*key, offsets)).collect()
    }
}

/// A member's tenure of a partition, and what is to come next in it, once something has.
struct Tenure {
    since_ms: i64,
    next: Option<i64>,
}

fn tenures(history: &History, log: &Log) -> Vec<Violation> {
    let commits = Commits::of(history);
    let mut violations = Vec::new();
    for member in &history.members {
        let mut tenures: BTreeMap<i32, Tenure> = BTreeMap::new();
        let mut read: BTreeMap<i32, i64> = BTreeMap::new();
        let name = || member.name.clone();
        for step in &member.steps {
            match &step.what {
                What::Assigned(partitions) => {
                    let tenure = |partition: &i32| (*partition, Tenure { since_ms: step.timestamp_ms, next: None });
                    tenures.extend(partitions.iter().map(tenure));
                }
                What::Revoked(partitions) => tenures.retain(|partition, _| !partitions.contains(partition)),
                What::Read { partition, offset, .. } => {
                    let (partition, offset) = (*partition, *offset);
                    read.entry(partition).and_modify(|next| *next = (*next).max(offset + 1)).or_insert(offset + 1);
                    let Some(tenure) = tenures.get_mut(&partition) else {
                        violations.push(Violation::NotHeld { member: name(), partition, offset });
                        continue;
                    };
                    let committed = commits.before(partition, tenure.since_ms);
                    match tenure.next.replace(offset + 1) {
                        Some(expected) if expected != offset => {
                            violations.push(Violation::NotNext { member: name(), partition, expected, offset });
                        }
                        None if offset < committed => {
                            violations.push(Violation::BeforeCommitted {
                                member: name(),
                                partition,
                                committed,
                                offset,
                            });
                        }
                        None if offset > 0 && !log.values.contains_key(&(partition, offset - 1)) => {
                            violations.push(Violation::BeyondRead { member: name(), partition, offset });
                        }
                        Some(_) | None => {}
                    }
                }
                What::Committed(offsets) => {
                    for (&partition, &committed) in offsets {
                        let read = read.get(&partition).copied();
                        if read.is_none_or(|read| read < committed) {
                            violations.push(Violation::CommittedUnread { member: name(), partition, read, committed });
                        }
                    }
                }
            }
        }
    }
    violations
}

/// How far the group had committed at any time, by partition.
#[derive(Debug)]
struct Commits(BTreeMap<i32, BTreeMap<i64, i64>>);

impl Commits {
    fn of(history: &History) -> Self {
        let mut commits: BTreeMap<i32, BTreeMap<i64, i64>> = BTreeMap::new();
        for step in history.members.iter().flat_map(|member| &member.steps) {
            let What::Committed(offsets) = &step.what else { continue };
            for (partition, offset) in offsets {
                let at = commits.entry(*partition).or_default().entry(step.timestamp_ms).or_insert(*offset);
                *at = (*at).max(*offset);
            }
        }
        for times in commits.values_mut() {
            let mut highest = 0;
            for offset in times.values_mut() {
                highest = highest.max(*offset);
                *offset = highest;
            }
        }
        Self(commits)
    }

    /// Within one millisecond nobody can tell what came first: only what was committed in an earlier one counts.
    fn before(&self, partition: i32, timestamp_ms: i64) -> i64 {
        let earlier = self.0.get(&partition).and_then(|times| times.range(..timestamp_ms).next_back());
        earlier.map_or(0, |(_, offset)| *offset)
    }
}

impl Verdict {
    /// Fails with the first violations, if there are any.
    ///
    /// # Panics
    /// Then.
    pub fn assert(&self, side: &str) {
        let lines: Vec<String> = self.violations.iter().take(20).map(|violation| format!("{violation:?}")).collect();
        assert!(
            lines.is_empty(),
            "{side}: {} promises were broken, of {} records:\n{}",
            self.violations.len(),
            self.acknowledged,
            lines.join("\n")
        );
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, read_again, written_again, .. } = self;
        write!(f, "{acknowledged} acknowledged, {read_again} read again, {written_again} written again")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::history::{Member, Step};

    /// A history of one partition, whose clock goes on by a millisecond a step.
    struct Story {
        history: History,
        start: Instant,
        now_ms: i64,
    }

    impl Story {
        fn new() -> Self {
            Self { history: History::default(), start: Instant::now(), now_ms: 0 }
        }

        fn at(&self, ms: i64) -> Instant {
            self.start + Duration::from_millis(ms as u64)
        }

        fn write(&mut self, value: u64, offset: i64) -> &mut Self {
            self.now_ms += 1;
            let at = self.at(self.now_ms);
            self.history.writes.push(Write { value, partition: 0, offset, at });
            self
        }

        fn step(&mut self, name: &str, what: What) -> &mut Self {
            self.now_ms += 1;
            let step = Step { at: self.at(self.now_ms), timestamp_ms: self.now_ms, what };
            match self.history.members.iter_mut().find(|member| member.name == name) {
                Some(member) => member.steps.push(step),
                None => self.history.members.push(Member { name: name.to_owned(), steps: vec![step] }),
            }
            self
        }

        fn assigned(&mut self, name: &str) -> &mut Self {
            self.step(name, What::Assigned([0].into()))
        }

        fn revoked(&mut self, name: &str) -> &mut Self {
            self.step(name, What::Revoked([0].into()))
        }

        fn read(&mut self, name: &str, offset: i64, value: u64) -> &mut Self {
            self.step(name, What::Read { partition: 0, offset, value })
        }

        fn committed(&mut self, name: &str, offset: i64) -> &mut Self {
            self.step(name, What::Committed([(0, offset)].into()))
        }

        fn verdict(&self) -> Verdict {
            judge(&self.history, &[])
        }
    }

    #[test]
    fn a_group_that_hands_over_what_it_committed_is_as_promised() {
        let mut story = Story::new();
        story.write(0, 0).write(1, 1).write(2, 2);
        story.assigned("a").read("a", 0, 0).committed("a", 1).read("a", 1, 1).revoked("a");
        story.assigned("b").read("b", 1, 1).read("b", 2, 2).committed("b", 3);
        assert_eq!(story.verdict(), Verdict { acknowledged: 3, read_again: 1, ..Verdict::default() });
    }

    #[test]
    fn who_was_stopped_may_read_what_others_have_read() {
        let mut story = Story::new();
        story.assigned("a").read("a", 0, 0).committed("a", 1);
        story.assigned("b").read("b", 1, 1).committed("b", 2).read("a", 1, 1).revoked("a");
        assert_eq!(story.verdict(), Verdict { read_again: 1, ..Verdict::default() });
    }

    #[test]
    fn an_acknowledged_record_that_nobody_read_is_lost() {
        let mut story = Story::new();
        story.write(0, 0).write(1, 1).assigned("a").read("a", 0, 0);
        assert_eq!(story.verdict().violations, [Violation::Lost(story.history.writes[1].clone())]);
    }

    #[test]
    fn another_record_than_the_acknowledged_one_is_seen() {
        let mut story = Story::new();
        story.write(0, 1).assigned("a").read("a", 0, 0).read("a", 1, 1);
        let differs = Violation::Differs { partition: 0, offset: 1, values: [1, 0] };
        assert_eq!(story.verdict().violations, [differs]);
        story = Story::new();
        story.assigned("a").read("a", 0, 0).revoked("a").assigned("b").read("b", 0, 1);
        let differs = Violation::Differs { partition: 0, offset: 0, values: [0, 1] };
        assert_eq!(story.verdict().violations, [differs]);
    }

    #[test]
    fn a_record_behind_a_later_one_is_out_of_order_and_one_written_again_is_not() {
        let mut story = Story::new();
        story.assigned("a").read("a", 0, 1).read("a", 1, 0).read("a", 2, 1).read("a", 3, 2);
        let behind = Violation::OutOfOrder { partition: 0, offset: 1, value: 0, behind: 1 };
        assert_eq!(story.verdict().violations, [behind]);
    }

    #[test]
    fn what_is_written_again_needs_a_broker_that_was_cut_off() {
        let mut story = Story::new();
        story.assigned("a").read("a", 0, 0).read("a", 1, 0).write(0, 1);
        let again = Violation::WrittenAgain { partition: 0, value: 0, offsets: vec![0, 1] };
        assert_eq!(story.verdict().violations, [again]);
        let cut_off = story.at(0)..story.at(10);
        assert_eq!(
            judge(&story.history, &[cut_off]),
            Verdict { acknowledged: 1, written_again: 1, ..Verdict::default() }
        );
    }

    #[test]
    fn within_a_tenure_nothing_is_skipped_and_nothing_comes_twice() {
        let mut story = Story::new();
        story.assigned("a").read("a", 0, 0).read("a", 2, 2).read("a", 2, 2);
        let not_next = |expected, offset| Violation::NotNext { member: "a".to_owned(), partition: 0, expected, offset };
        assert_eq!(story.verdict().violations, [not_next(1, 2), not_next(3, 2)]);
    }

    #[test]
    fn nothing_is_read_before_the_assignment_or_after_the_revocation() {
        let mut story = Story::new();
        story.read("a", 0, 0).assigned("a").read("a", 1, 1).revoked("a").read("a", 2, 2);
        let not_held = |offset| Violation::NotHeld { member: "a".to_owned(), partition: 0, offset };
        assert_eq!(story.verdict().violations, [not_held(0), not_held(2)]);
    }

    #[test]
    fn a_tenure_begins_where_the_group_had_committed() {
        let mut story = Story::new();
        story.assigned("a").read("a", 0, 0).read("a", 1, 1).committed("a", 2).revoked("a");
        story.assigned("b").read("b", 1, 1);
        let before = Violation::BeforeCommitted { member: "b".to_owned(), partition: 0, committed: 2, offset: 1 };
        assert_eq!(story.verdict().violations, [before]);
        story = Story::new();
        story.assigned("a").read("a", 0, 0).committed("a", 1).revoked("a").assigned("b").read("b", 2, 2);
        let beyond = Violation::BeyondRead { member: "b".to_owned(), partition: 0, offset: 2 };
        assert_eq!(story.verdict().violations, [beyond]);
    }

    #[test]
    fn nobody_commits_what_it_has_not_read() {
        let mut story = Story::new();
        story.assigned("a").committed("a", 1).read("a", 0, 0).committed("a", 2);
        let unread =
            |read, committed| Violation::CommittedUnread { member: "a".to_owned(), partition: 0, read, committed };
        assert_eq!(story.verdict().violations, [unread(None, 1), unread(Some(1), 2)]);
    }
}
