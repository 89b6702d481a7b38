//! Automatic commits: when the next is due, and what it has to say.
//!
//! It commits what the application has come back from, and only what has moved since it was last committed: a group that
//! stands still sends nothing. Before a partition is given up, and when the consumer is closed, the rest follows at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_fetcher::Completed;
use ottla_wire::TopicPartition;

/// What is committed already, and, where commits are automatic (`enable.auto.commit`), when they are due.
#[derive(Debug)]
pub(crate) struct AutoCommit {
    /// `auto.commit.interval.ms`; `None`: only the application commits.
    interval: Option<Duration>,
    due_at: Option<Instant>,
    is_under_way: bool,
    committed: BTreeMap<TopicPartition, i64>,
}

impl AutoCommit {
    pub(crate) fn new(interval: Option<Duration>) -> Self {
        Self { interval, due_at: None, is_under_way: false, committed: BTreeMap::new() }
    }

    /// Whether commits are automatic.
    pub(crate) fn is_on(&self) -> bool {
        self.interval.is_some()
    }

    /// When [`take_due`](Self::take_due) has something to do; `None` until it was first called.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due_at
    }

    /// Whether a commit is due. The first call starts the clock. The caller commits, and tells how that ended. While one
    /// is under way a turn passes: whoever waits for the next deadline is not told when a commit ends.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        let Some(interval) = self.interval else { return false };
        let due_at = *self.due_at.get_or_insert(now + interval);
        if now < due_at {
            return false;
        }
        self.due_at = Some(now + interval);
        !self.is_under_way
    }

    /// What of this has moved since it was last committed.
    pub(crate) fn moved(&self, completed: BTreeMap<TopicPartition, Completed>) -> BTreeMap<TopicPartition, Completed> {
        let has_moved =
            |(partition, now): &(TopicPartition, Completed)| self.committed.get(partition) != Some(&now.offset);
        completed.into_iter().filter(has_moved).collect()
    }

    /// A commit leaves; the next waits for its result.
    pub(crate) fn begun(&mut self) {
        self.is_under_way = true;
    }

    /// The commit that left has its result.
    pub(crate) fn ended(&mut self) {
        self.is_under_way = false;
    }

    /// The coordinator has these now.
    pub(crate) fn committed<'p>(&mut self, offsets: impl IntoIterator<Item = (&'p TopicPartition, i64)>) {
        for (partition, offset) in offsets {
            match self.committed.get_mut(partition) {
                Some(committed) => *committed = offset,
                None => {
                    self.committed.insert(partition.clone(), offset);
                }
            }
        }
    }

    /// What others may have committed meanwhile is not known for any partition but these.
    pub(crate) fn retain(&mut self, keep: impl Fn(&TopicPartition) -> bool) {
        self.committed.retain(|partition, _| keep(partition));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "any origin will do: the machine reads no clock")]

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn completed(offset: i64) -> BTreeMap<TopicPartition, Completed> {
        BTreeMap::from([(TopicPartition::new("topic", 0), Completed::new(offset, None))])
    }

    #[test]
    fn a_commit_is_due_one_interval_after_the_first_poll_and_then_each_interval() {
        let start = Instant::now();
        let mut auto_commit = AutoCommit::new(Some(INTERVAL));
        assert!(!auto_commit.take_due(start));
        assert_eq!(auto_commit.next_deadline(), Some(start + INTERVAL));
        assert!(!auto_commit.take_due(start + INTERVAL.saturating_sub(Duration::from_millis(1))));
        assert!(auto_commit.take_due(start + INTERVAL));
        assert!(!auto_commit.take_due(start + INTERVAL));
        assert!(auto_commit.take_due(start + 2 * INTERVAL));
    }

    #[test]
    fn one_is_under_way_at_a_time() {
        let start = Instant::now();
        let mut auto_commit = AutoCommit::new(Some(INTERVAL));
        auto_commit.take_due(start);
        assert!(auto_commit.take_due(start + INTERVAL));
        auto_commit.begun();
        assert!(!auto_commit.take_due(start + 2 * INTERVAL));
        auto_commit.ended();
        assert_eq!(auto_commit.next_deadline(), Some(start + 3 * INTERVAL), "there is a next turn all the same");
        assert!(auto_commit.take_due(start + 3 * INTERVAL));
    }

    #[test]
    fn only_what_has_moved_is_committed() {
        let mut auto_commit = AutoCommit::new(Some(INTERVAL));
        assert_eq!(auto_commit.moved(completed(7)), completed(7));
        auto_commit.committed([(&TopicPartition::new("topic", 0), 7)]);
        assert_eq!(auto_commit.moved(completed(7)), BTreeMap::new());
        assert_eq!(auto_commit.moved(completed(5)), completed(5), "a seek back is a move");
        auto_commit.retain(|_| false);
        assert_eq!(auto_commit.moved(completed(7)), completed(7));
    }

    #[test]
    fn without_an_interval_none_is_ever_due() {
        let start = Instant::now();
        let mut auto_commit = AutoCommit::new(None);
        assert!(!auto_commit.take_due(start) && !auto_commit.take_due(start + 100 * INTERVAL));
        assert_eq!(auto_commit.next_deadline(), None);
    }
}
