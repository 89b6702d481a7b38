//! `sticky`: balanced, and members keep what they had.
//!
//! Each member says in its subscription what it had ([`claims`]). Where all subscribe to the same topics,
//! [`constrained`] gives each its quota in one go; where they do not, [`general`] assigns greedily and then moves
//! partitions until no move makes the assignment more even. `cooperative-sticky` shares both, and only withholds what
//! must be given up first.
//!
//! Both heed racks where these matter (KIP-881).
//!
//! The results are those of Java's classes, list order included, wherever Java's own do not depend on the order of a
//! hash map; there, members and partitions are taken in their order instead. Three of Java's faults are not shared:
//! claims of partitions that do not exist (any more) are dropped; a group is only taken to have equal subscriptions if
//! it has; and a partition never goes back to an earlier owner that does not subscribe to it any more.

mod claims;
mod constrained;
mod general;
mod least_loaded;
mod movements;

use bytes::Bytes;
use ottla_wire::GenerationId;
use ottla_wire::consumer_protocol::{StickyUserData, Subscription};

pub(super) use claims::{Claims, MemberData};

use super::group::{Group, by_member_id};
use super::rack::Racks;
use super::{Assignor, AssignorError, GroupMember, LastAssignment, MemberAssignment, Topics};

/// Kafka's `StickyAssignor`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "an assignor keeps nothing")]
pub struct StickyAssignor;

impl Assignor for StickyAssignor {
    fn name(&self) -> &'static str {
        "sticky"
    }

    /// What the member had, as it has given up everything before it joins. Nothing before the first assignment.
    fn user_data(&self, last: &LastAssignment) -> Option<Bytes> {
        if last.generation_id == GenerationId::NONE && last.partitions.is_empty() {
            return None;
        }
        let partitions = last.partitions.iter().map(|partition| (&*partition.topic, partition.partition)).collect();
        StickyUserData { partitions, generation_id: Some(last.generation_id) }.encode().ok()
    }

    fn assign(&self, topics: &Topics, members: &[GroupMember]) -> Result<Vec<MemberAssignment>, AssignorError> {
        let group = Group::new(topics, members, by_member_id)?;
        Ok(group.assignments(&assign(&group, member_data).partitions))
    }
}

/// What a member had is in its user data only. What cannot be read counts as nothing.
fn member_data(subscription: &Subscription) -> MemberData {
    let Some(user_data) = subscription.user_data.clone().filter(|user_data| !user_data.is_empty()) else {
        return MemberData::default();
    };
    match StickyUserData::decode(user_data) {
        Ok(StickyUserData { partitions, generation_id }) => {
            MemberData { partitions, generation: generation_id.map(|generation| generation.0) }
        }
        Err(_) => MemberData { generation: Some(GenerationId::NONE.0), ..MemberData::default() },
    }
}

/// What a sticky algorithm has come to.
#[derive(Debug)]
pub(super) struct Placed {
    /// Each member's partitions, in the order in which it is told.
    pub(super) partitions: Vec<Vec<u32>>,
    /// Which partitions another member has to give up first; `None` if that is to be found out from what members own.
    pub(super) transferring: Option<Vec<bool>>,
}

/// Assigns by the algorithm that fits the group, whose members are ordered by id.
pub(super) fn assign(group: &Group<'_>, member_data: impl Fn(&Subscription) -> MemberData) -> Placed {
    let data = group.members.iter().map(|member| member_data(&member.given.subscription)).collect();
    let claims = Claims::resolve(group, data);
    let racks = Racks::that_matter(group);
    if group.members.is_empty() {
        Placed { partitions: Vec::new(), transferring: None }
    } else if group.subscriptions_are_equal() {
        constrained::assign(group, &racks, &claims)
    } else {
        general::assign(group, &racks, claims)
    }
}
