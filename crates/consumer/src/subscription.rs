//! What the consumer reads, and who decides that: topics, whose partitions the group shares out, or partitions, named by
//! the application. The two exclude each other, as in Java.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Error;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Subscription {
    /// Nothing has been said yet.
    #[default]
    None,
    /// The group assigns partitions of these topics.
    Topics(BTreeSet<Arc<str>>),
    /// The application assigns partitions.
    Partitions,
}

impl Subscription {
    /// The topics, where the group assigns.
    pub(crate) fn topics(&self) -> Option<&BTreeSet<Arc<str>>> {
        match self {
            Self::Topics(topics) => Some(topics),
            Self::None | Self::Partitions => None,
        }
    }

    /// Subscribes to topics.
    pub(crate) fn subscribe(&mut self, topics: BTreeSet<Arc<str>>) -> Result<(), Error> {
        match self {
            Self::Partitions => {
                Err(Error::MixedSubscription { attempted: "subscribing to topics", present: "partitions are assigned" })
            }
            Self::None | Self::Topics(_) => {
                *self = Self::Topics(topics);
                Ok(())
            }
        }
    }

    /// Assigns partitions, or, where there are none, makes way for either.
    pub(crate) fn assign(&mut self, is_empty: bool) -> Result<(), Error> {
        match self {
            Self::Topics(_) => {
                Err(Error::MixedSubscription { attempted: "assigning partitions", present: "topics are subscribed to" })
            }
            Self::None | Self::Partitions => {
                *self = if is_empty { Self::None } else { Self::Partitions };
                Ok(())
            }
        }
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
        subscription.subscribe(topics()).unwrap();
        let error = subscription.assign(false).unwrap_err();
        assert_eq!(error.to_string(), "assigning partitions is not possible while topics are subscribed to");

        let mut subscription = Subscription::default();
        subscription.assign(false).unwrap();
        let error = subscription.subscribe(topics()).unwrap_err();
        assert_eq!(error.to_string(), "subscribing to topics is not possible while partitions are assigned");
    }

    #[test]
    fn assigning_nothing_makes_way_for_a_subscription() {
        let mut subscription = Subscription::default();
        subscription.assign(false).unwrap();
        subscription.assign(true).unwrap();
        subscription.subscribe(topics()).unwrap();
        assert_eq!(subscription.topics(), Some(&topics()));
    }
}
