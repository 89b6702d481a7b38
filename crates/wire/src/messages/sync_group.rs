//! SyncGroup (14): brings the leader's assignment to all members of a classic group.

use bytes::Bytes;

use super::macros::{message, wire_struct};
use crate::{ErrorCode, GenerationId};

wire_struct! {
    /// Asks for the assignment; the leader brings it.
    pub struct SyncGroupRequest {
        /// The group.
        group_id: String [0..],
        /// The generation joined.
        generation_id: GenerationId [0..; default GenerationId(0)],
        /// The member's id.
        member_id: String [0..],
        /// The id of a static member.
        group_instance_id: Option<String> [3..],
        /// The group's protocol type.
        protocol_type: Option<String> [5..; ignorable],
        /// The protocol chosen.
        protocol_name: Option<String> [5..; ignorable],
        /// The assignments; empty but for the leader.
        assignments: Vec<SyncGroupRequestAssignment> [0..],
    }
}

wire_struct! {
    /// What one member is assigned.
    pub struct SyncGroupRequestAssignment {
        /// The member's id.
        member_id: String [0..],
        /// Its assignment.
        assignment: Bytes [0..],
    }
}

wire_struct! {
    /// Brings the assignment.
    pub struct SyncGroupResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [1..; ignorable],
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The group's protocol type.
        protocol_type: Option<String> [5..; ignorable],
        /// The protocol chosen.
        protocol_name: Option<String> [5..; ignorable],
        /// What the member is assigned.
        assignment: Bytes [0..],
    }
}

message! { SyncGroupRequest => SyncGroupResponse: SyncGroup, 0..=5, flexible 4 }
