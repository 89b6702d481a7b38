//! Which topics of the cluster a subscription by pattern stands for, and when the cluster is asked for all of its topics.
//!
//! The pattern is the application's: any function of a topic's name. Kafka's own topics are never among those it picks
//! from. Until the cluster has told all its topics the subscription stands for none, and nobody joins for it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::Metadata;

/// Says whether a topic of that name is wanted.
#[derive(Clone)]
pub(crate) struct TopicPattern(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl TopicPattern {
    pub(crate) fn new(picks: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(picks))
    }

    /// Whether it picks that one.
    pub(crate) fn picks(&self, topic: &str) -> bool {
        (self.0)(topic)
    }

    /// What it picks from all topics; `None` while not all are known.
    pub(crate) fn pick(&self, metadata: &Metadata) -> Option<BTreeSet<Arc<str>>> {
        let wanted = metadata.topics().filter(|topic| !topic.is_internal && self.picks(&topic.name));
        metadata.has_all_topics().then(|| wanted.map(|topic| Arc::clone(&topic.name)).collect())
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TopicPattern(..)")
    }
}

/// When the cluster is to be asked for all its topics: at once, and then at an interval.
#[derive(Debug)]
pub(crate) struct AskForTopics {
    interval: Duration,
    due_at: Option<Instant>,
}

impl AskForTopics {
    pub(crate) fn new(interval: Duration) -> Self {
        // Added to a clock.
        Self { interval: interval.clamp(Duration::from_millis(1), Duration::from_hours(24)), due_at: None }
    }

    /// Whether they are to be asked for now.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.due_at.is_none_or(|due_at| due_at <= now);
        if is_due {
            self.due_at = Some(now + self.interval);
        }
        is_due
    }

    /// When they are to be asked for next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due_at
    }

    /// There is another pattern: it is to be asked for at once.
    pub(crate) fn restart(&mut self) {
        self.due_at = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "any origin will do: the machine reads no clock")]

    use super::*;

    #[test]
    fn topics_are_asked_for_at_once_and_then_at_the_interval() {
        let (start, interval) = (Instant::now(), Duration::from_mins(5));
        let mut ask = AskForTopics::new(interval);
        assert!(ask.take_due(start) && !ask.take_due(start));
        assert_eq!(ask.next_deadline(), Some(start + interval));
        assert!(!ask.take_due(start + interval.saturating_sub(Duration::from_millis(1))));
        assert!(ask.take_due(start + interval));
        ask.restart();
        assert!(ask.take_due(start + interval));
    }

    #[test]
    fn while_not_all_topics_are_known_nothing_is_picked() {
        assert_eq!(TopicPattern::new(|_| true).pick(&Metadata::default()), None);
    }
}
