//! `cooperative-sticky`: what [`sticky`](super::sticky) decides, handed out in two rebalances (KIP-429).
//!
//! Members keep their partitions while they rebalance. One that is to move is assigned to nobody at first: its owner
//! sees that it lost it, gives it up and joins again, and the second rebalance hands it to the new one. So no partition
//! has two owners at any time. What a member has stands in its subscription, whose user data only carries the
//! generation, for members too old to have that there.

use bytes::Bytes;
use ottla_wire::GenerationId;
use ottla_wire::consumer_protocol::{CooperativeUserData, Subscription};

use super::group::{Group, NOBODY, by_member_id};
use super::sticky::{self, MemberData};
use super::{Assignor, AssignorError, GroupMember, LastAssignment, MemberAssignment, RebalanceProtocol, Topics};

/// Kafka's `CooperativeStickyAssignor`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "an assignor keeps nothing")]
pub struct CooperativeStickyAssignor;

impl Assignor for CooperativeStickyAssignor {
    fn name(&self) -> &'static str {
        "cooperative-sticky"
    }

    fn rebalance_protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Cooperative
    }

    fn user_data(&self, last: &LastAssignment) -> Option<Bytes> {
        Some(CooperativeUserData { generation_id: last.generation_id }.encode())
    }

    fn assign(&self, topics: &Topics, members: &[GroupMember]) -> Result<Vec<MemberAssignment>, AssignorError> {
        let group = Group::new(topics, members, by_member_id)?;
        let placed = sticky::assign(&group, member_data);
        let mut assigned = placed.partitions;
        let transferring = placed.transferring.unwrap_or_else(|| owned_by_others(&group, &assigned));
        for partitions in &mut assigned {
            partitions.retain(|partition| !transferring[*partition as usize]);
        }
        Ok(group.assignments(&assigned))
    }
}

/// What a member owns, in the generation that stands beside it or, in subscriptions of old versions, in the user data.
fn member_data(subscription: &Subscription) -> MemberData {
    let from_user_data = |user_data: &Bytes| {
        CooperativeUserData::decode(user_data.clone()).map_or(GenerationId::NONE, |data| data.generation_id)
    };
    let generation = match subscription.generation_id.known() {
        None => subscription.user_data.as_ref().map(from_user_data),
        known => known,
    };
    MemberData {
        partitions: subscription.owned_partitions.clone(),
        generation: generation.map(|generation| generation.0),
    }
}

/// Which partitions somebody owns, but not the member that they are assigned to.
fn owned_by_others(group: &Group<'_>, assigned: &[Vec<u32>]) -> Vec<bool> {
    let mut assignees = vec![NOBODY; group.partition_count()];
    for (member, partitions) in (0..).zip(assigned) {
        for partition in partitions {
            assignees[*partition as usize] = member;
        }
    }
    let mut owned_by_others = vec![false; assignees.len()];
    let mut owned_by_assignee = vec![false; assignees.len()];
    for (member, described) in (0..).zip(&group.members) {
        for (topic, indexes) in described.given.subscription.owned_partitions.topics() {
            let Some(topic) = group.topic(topic) else { continue };
            for partition in indexes.filter_map(|index| group.partition(topic, index)) {
                let is_assignee = assignees[partition as usize] == member;
                owned_by_assignee[partition as usize] |= is_assignee;
                owned_by_others[partition as usize] |= !is_assignee;
            }
        }
    }
    let only_others = |(by_others, by_assignee): (bool, bool)| by_others && !by_assignee;
    owned_by_others.into_iter().zip(owned_by_assignee).map(only_others).collect()
}
