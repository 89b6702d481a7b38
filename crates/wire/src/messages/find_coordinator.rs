//! FindCoordinator (10): which broker coordinates a group or a transactional id. Batched from version 4 on (KIP-699).

use super::macros::{message, wire_struct};
use crate::{ErrorCode, NodeId};

wire_struct! {
    /// Asks for coordinators.
    pub struct FindCoordinatorRequest {
        /// The group or transactional id, before batching.
        key: String [0..=3],
        /// 0: a group, 1: a transactional id, 2: a share group.
        key_type: i8 [1..],
        /// The group or transactional ids.
        coordinator_keys: Vec<String> [4..],
    }
}

wire_struct! {
    /// Names the coordinators.
    pub struct FindCoordinatorResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [1..; ignorable],
        /// What went wrong, before batching.
        error_code: ErrorCode [0..=3],
        /// The same in words.
        error_message: Option<String> [1..=3; ignorable],
        /// The coordinator, before batching.
        node_id: NodeId [0..=3; default NodeId(0)],
        /// Its host.
        host: String [0..=3],
        /// Its port.
        port: i32 [0..=3],
        /// A coordinator for each key asked for.
        coordinators: Vec<Coordinator> [4..],
    }
}

wire_struct! {
    /// Who coordinates one key.
    pub struct Coordinator {
        /// The group or transactional id.
        key: String [4..],
        /// The coordinator.
        node_id: NodeId [4..; default NodeId(0)],
        /// Its host.
        host: String [4..],
        /// Its port.
        port: i32 [4..],
        /// What went wrong for this key.
        error_code: ErrorCode [4..],
        /// The same in words.
        error_message: Option<String> [4..],
    }
}

message! { FindCoordinatorRequest => FindCoordinatorResponse: FindCoordinator, 0..=6, flexible 3 }
