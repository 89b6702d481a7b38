//! What of a group may be deleted: the whole of it once it has no members, and the offsets of topics that nobody in it reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::consumer_protocol::Subscription;

use super::{Group, Phase};

/// The protocol type of groups of consumers.
const CONSUMER: &str = "consumer";

impl Group {
    /// Whether the group may be deleted.
    pub(crate) fn check_deletion(&self) -> Result<(), ErrorCode> {
        match self.phase {
            Phase::Empty => Ok(()),
            Phase::PreparingRebalance(_) | Phase::CompletingRebalance(_) | Phase::Stable(_) => {
                Err(ErrorCode::NonEmptyGroup)
            }
            Phase::Dead => Err(ErrorCode::GroupIdNotFound),
        }
    }

    /// Whether committed offsets may be deleted. Of a group that has members only consumers are known well enough.
    pub(crate) fn check_offset_deletion(&self) -> Result<(), ErrorCode> {
        match self.check_deletion() {
            Err(ErrorCode::NonEmptyGroup) if self.is_of_consumers() => Ok(()),
            checked => checked,
        }
    }

    /// Whether members read a topic, as far as is known: where consumers do not say, they may.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed_topics.as_ref().map_or_else(|| self.is_of_consumers(), |topics| topics.contains(topic))
    }

    /// The topics that the members of this generation read; `None` where that is not to be known.
    pub(super) fn topics_of_members(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let subscription = Subscription::decode(member.metadata(Some(self.protocol_name.as_deref()?))).ok()?;
            topics.extend(subscription.topics.iter().map(Arc::from));
        }
        Some(topics)
    }

    fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }
}
