//! DeleteGroups (42): deletes groups that have no members, with their committed offsets. To be sent to their coordinator.

use super::macros::{message, wire_struct};
use crate::ErrorCode;

wire_struct! {
    /// Deletes groups.
    pub struct DeleteGroupsRequest {
        /// The groups.
        groups_names: Vec<Box<str>> [0..],
    }
}

wire_struct! {
    /// Says what became of the groups.
    pub struct DeleteGroupsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [0..],
        /// The groups.
        results: Vec<DeletableGroupResult> [0..],
    }
}

wire_struct! {
    /// What became of one group.
    pub struct DeletableGroupResult {
        /// Its id.
        group_id: Box<str> [0..],
        /// What went wrong.
        error_code: ErrorCode [0..],
    }
}

message! { DeleteGroupsRequest => DeleteGroupsResponse: DeleteGroups, 0..=2, flexible 2 }
