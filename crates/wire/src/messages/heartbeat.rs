//! Heartbeat (12): shows that a member of a classic group is alive, and learns of a rebalance.

use super::macros::{message, wire_struct};
use crate::{ErrorCode, GenerationId};

wire_struct! {
    /// Shows that the member is alive.
    pub struct HeartbeatRequest {
        /// The group.
        group_id: String [0..],
        /// The generation that it is in.
        generation_id: GenerationId [0..; default GenerationId(0)],
        /// The member's id.
        member_id: String [0..],
        /// The id of a static member.
        group_instance_id: Option<String> [3..],
    }
}

wire_struct! {
    /// Says whether the member is to rejoin.
    pub struct HeartbeatResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [1..; ignorable],
        /// REBALANCE_IN_PROGRESS where it is to rejoin, or what went wrong.
        error_code: ErrorCode [0..],
    }
}

message! { HeartbeatRequest => HeartbeatResponse: Heartbeat, 0..=4, flexible 4 }
