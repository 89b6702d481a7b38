//! DescribeGroups (15): the state and the members of classic groups. To be sent to the groups' coordinator.
//!
//! From version 6 on a group that does not exist is an error (KIP-1043); before, it is in state `Dead`.

use bytes::Bytes;

use super::macros::{message, wire_struct};
use crate::ErrorCode;

wire_struct! {
    /// Asks about groups.
    pub struct DescribeGroupsRequest {
        /// The groups.
        groups: Vec<Box<str>> [0..],
        /// Whether to say what the client may do with each.
        include_authorized_operations: bool [3..],
    }
}

wire_struct! {
    /// Describes groups.
    pub struct DescribeGroupsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [1..; ignorable],
        /// The groups.
        groups: Vec<DescribedGroup> [0..],
    }
}

wire_struct! {
    /// A group.
    pub struct DescribedGroup {
        /// What went wrong with it.
        error_code: ErrorCode [0..],
        /// The same in words.
        error_message: Option<Box<String>> [6..],
        /// Its id.
        group_id: Box<str> [0..],
        /// Its state by Kafka's name, such as `Stable`.
        group_state: Box<str> [0..],
        /// What kind of group it is, such as `consumer`; empty where it never had members.
        protocol_type: Box<str> [0..],
        /// The protocol that its members go by; empty unless the group is stable.
        protocol_data: Box<str> [0..],
        /// Its members.
        members: Box<[DescribedGroupMember]> [0..],
        /// A bit for each operation that the client may do with it; the lowest number where not asked for.
        authorized_operations: i32 [3..; default i32::MIN],
    }
}

wire_struct! {
    /// A member.
    pub struct DescribedGroupMember {
        /// Its id.
        member_id: String [0..],
        /// The id of a static member.
        group_instance_id: Option<String> [4..; ignorable],
        /// The id of its client.
        client_id: String [0..],
        /// The host of its client.
        client_host: String [0..],
        /// What it said of itself, for the protocol in use: its subscription. Empty unless the group is stable.
        member_metadata: Bytes [0..],
        /// What it was assigned. Empty unless the group is stable.
        member_assignment: Bytes [0..],
    }
}

message! { DescribeGroupsRequest => DescribeGroupsResponse: DescribeGroups, 0..=6, flexible 5 }
