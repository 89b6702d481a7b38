//! LeaveGroup (13): leaves a classic group; several members at once from version 3 on (KIP-345).

use super::macros::{message, wire_struct};
use crate::ErrorCode;

wire_struct! {
    /// Takes members out of a group.
    pub struct LeaveGroupRequest {
        /// The group.
        group_id: String [0..],
        /// The one member, before batching.
        member_id: String [0..=2],
        /// The members.
        members: Vec<MemberIdentity> [3..],
    }
}

wire_struct! {
    /// A member that leaves.
    pub struct MemberIdentity {
        /// Its id.
        member_id: String [3..],
        /// The id of a static member.
        group_instance_id: Option<String> [3..],
        /// Why it leaves, in words (KIP-800).
        reason: Option<String> [5..; ignorable],
    }
}

wire_struct! {
    /// Says what became of it.
    pub struct LeaveGroupResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [1..; ignorable],
        /// What went wrong with the whole request.
        error_code: ErrorCode [0..],
        /// The members.
        members: Vec<LeaveGroupMemberResponse> [3..],
    }
}

wire_struct! {
    /// What became of one member.
    pub struct LeaveGroupMemberResponse {
        /// Its id.
        member_id: String [3..],
        /// The id of a static member.
        group_instance_id: Option<String> [3..],
        /// What went wrong with it.
        error_code: ErrorCode [3..],
    }
}

message! { LeaveGroupRequest => LeaveGroupResponse: LeaveGroup, 0..=5, flexible 4 }
