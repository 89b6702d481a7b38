//! A group, as it is shown to whoever steers the cluster.

use bytes::Bytes;

use super::{Group, GroupState, Member};

/// What is known of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// The state; [`GroupState::Dead`] where there is no such group.
    pub state: GroupState,
    /// Counts its rebalances.
    pub generation_id: i32,
    /// What kind of group it is, `consumer` for consumers; `None` where it never had members.
    pub protocol_type: Option<String>,
    /// The protocol, which in a consumer group is the assignor, that the members go by; `None` where there are none.
    pub protocol_name: Option<String>,
    /// The id of the member that assigns.
    pub leader: Option<String>,
    /// The members in the order of their ids.
    pub members: Vec<MemberDescription>,
}

/// What is known of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberDescription {
    /// Its id: the client's id or the instance's, a hyphen, and a UUID.
    pub member_id: String,
    /// The id of a static member (`group.instance.id`).
    pub instance_id: Option<String>,
    /// The id of its client (`client.id`).
    pub client_id: String,
    /// The host of its client, `/127.0.0.1` always.
    pub client_host: String,
    /// What it said for the protocol that the members go by: in a consumer group, its subscription.
    pub metadata: Bytes,
    /// What it was assigned last.
    pub assignment: Bytes,
}

impl GroupDescription {
    /// A group that does not exist.
    pub(crate) fn dead() -> Self {
        let state = GroupState::Dead;
        Self { state, generation_id: 0, protocol_type: None, protocol_name: None, leader: None, members: Vec::new() }
    }
}

impl Group {
    /// The group as it is.
    pub(crate) fn describe(&self) -> GroupDescription {
        let member = |member: &Member| MemberDescription {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(self.protocol_name.as_deref()),
            assignment: member.assignment.clone(),
        };
        GroupDescription {
            state: self.state(),
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone(),
            members: self.members.values().map(member).collect(),
        }
    }
}
