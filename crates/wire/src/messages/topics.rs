//! What several APIs share: topics known by name, by id or by both, and the hints at a new leader (KIP-951).

use super::macros::wire_struct;
use crate::{LeaderEpoch, NodeId, TopicId, VersionRange};

/// Narrows `versions` by how the topics of a request are known: from version `by_id` on they go by id, before it by
/// name. A request may hold both; one that mixes topics without a name with topics without an id fits no version.
pub(super) fn versions_by_topic_id<'t>(
    mut versions: VersionRange,
    by_id: i16,
    topics: impl IntoIterator<Item = (&'t str, TopicId)>,
) -> VersionRange {
    for (name, id) in topics {
        if id == TopicId::NONE {
            versions = versions.at_most(by_id - 1);
        }
        if name.is_empty() {
            versions = versions.at_least(by_id);
        }
    }
    versions
}

wire_struct! {
    /// A partition's leader, as a broker that is not it knows it. -1 and -1 where it says nothing.
    pub struct LeaderIdAndEpoch {
        /// The leader, -1 where unknown.
        leader_id: NodeId [0..],
        /// Its epoch, -1 where unknown.
        leader_epoch: LeaderEpoch [0..],
    }
}

wire_struct! {
    /// Where a broker is.
    pub struct NodeEndpoint {
        /// The broker.
        node_id: NodeId [0..],
        /// Its host.
        host: String [0..],
        /// Its port.
        port: i32 [0..],
        /// Its rack.
        rack: Option<String> [0..],
    }
}
