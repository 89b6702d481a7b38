//! What the handle to an embedded cluster says of consumer groups, and does to them.

use std::collections::BTreeMap;

use ottla_wire::{ErrorCode, NodeId, TopicPartition};

use crate::cluster::EmbeddedCluster;
use crate::error::Error;
use crate::group::{CommittedOffset, Group, GroupDescription};
use crate::state::{ClusterState, Now, OFFSETS_TOPIC, PartitionKey};

impl EmbeddedCluster {
    /// The node that coordinates a group: the leader of its partition of `__consumer_offsets`, which is made if it is not
    /// there. A node that has been killed is the leader until that is noticed. COORDINATOR_NOT_AVAILABLE while none of
    /// its replicas can lead.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have made the topic.
    pub async fn coordinator(&self, group: &str) -> Result<NodeId, Error> {
        self.with_coordinated("finding the coordinator of", group, |state, group, _, _| {
            state.coordinator(OFFSETS_TOPIC, group)
        })
        .await
    }

    /// Has a node coordinate a group, and all other groups of the same partition of `__consumer_offsets`. The node has
    /// to be a replica in sync, else: ELIGIBLE_LEADERS_NOT_AVAILABLE, or REPLICA_NOT_AVAILABLE where it is none.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have moved it.
    pub async fn move_coordinator(&self, group: &str, to: NodeId) -> Result<(), Error> {
        self.with_coordinated("moving", group, move |state, _, key, now| {
            state.move_leader(key, to, now.instant).map_err(|refused| refused.code)
        })
        .await
    }

    /// What is known of a group by its coordinator. Unknown ones are [`Dead`](crate::GroupState::Dead).
    ///
    /// # Cancel safety
    ///
    /// Nothing happens when the future is dropped, but that `__consumer_offsets` may have been made.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, Error> {
        self.with_coordinated("describing", group, |state, group, key, now| {
            coordinated(state, group, now)?;
            Ok(state.group(key, group).map_or_else(GroupDescription::dead, Group::describe))
        })
        .await
    }

    /// The offsets that a group has committed, as OffsetFetch would answer them.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens when the future is dropped, but that `__consumer_offsets` may have been made.
    pub async fn committed_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, CommittedOffset>, Error> {
        self.with_coordinated("reading the offsets of", group, |state, group, key, now| {
            coordinated(state, group, now)?;
            let offsets = state.committed_offsets(key, group);
            Ok(offsets.map(|(partition, offset)| (partition.clone(), offset.clone())).collect())
        })
        .await
    }

    async fn with_coordinated<T: Send + 'static>(
        &self,
        attempted: &'static str,
        group: &str,
        action: impl FnOnce(&mut ClusterState, &str, PartitionKey, Now) -> Result<T, ErrorCode> + Send + 'static,
    ) -> Result<T, Error> {
        let name = group.to_owned();
        // Made in a change of its own: its coordinators are there when the next change begins.
        self.change(|state, _| {
            if state.topic(OFFSETS_TOPIC).is_none() {
                // A failure shows as the lack of a coordinator.
                let _ = state.create_internal_topic(OFFSETS_TOPIC);
            }
        })
        .await?;
        let done = self.change(move |state, now| {
            let key = state.coordinator_key(OFFSETS_TOPIC, &name).ok_or(ErrorCode::CoordinatorNotAvailable)?;
            action(state, &name, key, now)
        });
        done.await?.map_err(|code| Error::RefusedGroup { attempted, group: group.to_owned(), code })
    }
}

/// Checks that the group's coordinator is up, and has read its log.
fn coordinated(state: &ClusterState, group: &str, now: Now) -> Result<(), ErrorCode> {
    let node = state.coordinator(OFFSETS_TOPIC, group)?;
    match state.coordinated_by(node, group, now.instant) {
        // It is dead, and nobody has noticed yet.
        Err(ErrorCode::NotCoordinator) => Err(ErrorCode::CoordinatorNotAvailable),
        coordinated => coordinated.map(drop),
    }
}
