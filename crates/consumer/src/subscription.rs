//! What the consumer reads, and who decides that: topics, whose partitions the group shares out, or partitions, named by
//! the application. The two exclude each other, as in Java.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Error;
use crate::topic_pattern::TopicPattern;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) enum Subscription {
    /// Nothing has been said yet.
    #[default]
    None,
    /// The group assigns partitions of these topics.
    Topics(BTreeSet<Arc<str>>),
    /// The group assigns partitions of the topics that match; `None` while it is not known which do.
    Matching(TopicPattern, Option<BTreeSet<Arc<str>>>),
    /// The application assigns partitions.
    Partitions,
}

impl Subscription {
    /// The topics, where the group assigns, and as far as they are known.
    pub(crate) fn topics(&self) -> Option<&BTreeSet<Arc<str>>> {
        match self {
            Self::Topics(topics) => Some(topics),
            Self::Matching(_, topics) => topics.as_ref(),
            Self::None | Self::Partitions => None,
        }
    }

    /// Whether it is the group that assigns, known or not what matches.
    pub(crate) fn is_by_group(&self) -> bool {
        match self {
            Self::Topics(_) | Self::Matching(..) => true,
            Self::None | Self::Partitions => false,
        }
    }

    /// Whether a topic is one of those that the group is to assign. Asks the pattern, which is the application's code.
    pub(crate) fn wants(&self, topic: &str) -> bool {
        match self {
            Self::Topics(topics) => topics.contains(topic),
            Self::Matching(pattern, _) => pattern.picks(topic),
            Self::None | Self::Partitions => false,
        }
    }

    /// The pattern, where there is one.
    pub(crate) fn pattern(&self) -> Option<&TopicPattern> {
        match self {
            Self::Matching(pattern, _) => Some(pattern),
            Self::None | Self::Topics(_) | Self::Partitions => None,
        }
    }

    /// Subscribes to topics, or to a pattern.
    pub(crate) fn subscribe(&mut self, to: Self) -> Result<(), Error> {
        match self {
            Self::Partitions => {
                Err(Error::MixedSubscription { attempted: "subscribing to topics", present: "partitions are assigned" })
            }
            Self::None | Self::Topics(_) | Self::Matching(..) => {
                *self = to;
                Ok(())
            }
        }
    }

    /// Takes in which topics match. True if that is news.
    pub(crate) fn matched(&mut self, matching: &BTreeSet<Arc<str>>) -> bool {
        match self {
            Self::Matching(_, topics) if topics.as_ref() != Some(matching) => {
                *topics = Some(matching.clone());
                true
            }
            Self::None | Self::Topics(_) | Self::Matching(..) | Self::Partitions => false,
        }
    }

    /// Whether the application may assign partitions.
    pub(crate) fn check_assign(&self) -> Result<(), Error> {
        match self {
            Self::Topics(_) | Self::Matching(..) => {
                Err(Error::MixedSubscription { attempted: "assigning partitions", present: "topics are subscribed to" })
            }
            Self::None | Self::Partitions => Ok(()),
        }
    }

    /// It has assigned partitions; none makes way for a subscription.
    pub(crate) fn assigned(&mut self, is_empty: bool) {
        *self = if is_empty { Self::None } else { Self::Partitions };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> BTreeSet<Arc<str>> {
        BTreeSet::from(["topic".into()])
    }

    #[test]
    fn topics_and_partitions_exclude_each_other() {
        let mut subscription = Subscription::default();
        subscription.subscribe(Subscription::Topics(topics())).unwrap();
        let error = subscription.check_assign().unwrap_err();
        assert_eq!(error.to_string(), "assigning partitions is not possible while topics are subscribed to");

        let mut subscription = Subscription::default();
        subscription.check_assign().unwrap();
        subscription.assigned(false);
        let error = subscription.subscribe(Subscription::Topics(topics())).unwrap_err();
        assert_eq!(error.to_string(), "subscribing to topics is not possible while partitions are assigned");
    }

    #[test]
    fn assigning_nothing_makes_way_for_a_subscription() {
        let mut subscription = Subscription::default();
        subscription.check_assign().unwrap();
        subscription.assigned(false);
        subscription.assigned(true);
        subscription.subscribe(Subscription::Topics(topics())).unwrap();
        assert_eq!(subscription.topics(), Some(&topics()));
    }

    #[test]
    fn a_pattern_stands_for_nothing_until_it_is_known_what_matches() {
        let mut subscription = Subscription::default();
        subscription.subscribe(Subscription::Matching(TopicPattern::new(|_| true), None)).unwrap();
        assert_eq!(subscription.topics(), None);
        assert!(subscription.check_assign().is_err());
        assert!(subscription.is_by_group());
        assert!(subscription.wants("topic"), "what is owned may match");
        assert!(subscription.matched(&topics()));
        assert!(!subscription.matched(&topics()), "no news");
        assert_eq!(subscription.topics(), Some(&topics()));
    }
}
