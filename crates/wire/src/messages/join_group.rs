//! JoinGroup (11): joins a classic consumer group, and waits until all members have (KIP-62, KIP-345, KIP-394).

use bytes::Bytes;

use super::macros::{message, wire_struct};
use crate::{ErrorCode, GenerationId};

wire_struct! {
    /// Joins a group.
    pub struct JoinGroupRequest {
        /// The group.
        group_id: String [0..],
        /// Without a heartbeat for so long the member is removed, in milliseconds (`session.timeout.ms`).
        session_timeout_ms: i32 [0..],
        /// How long the members have to rejoin, in milliseconds (`max.poll.interval.ms`); -1: the session timeout.
        rebalance_timeout_ms: i32 [1..; default -1; ignorable],
        /// The member's id, empty where it has none yet.
        member_id: String [0..],
        /// The id of a static member (`group.instance.id`).
        group_instance_id: Option<String> [5..],
        /// What kind of group this is, such as `consumer`.
        protocol_type: String [0..],
        /// The protocols that the member could go by, the most wanted first.
        protocols: Vec<JoinGroupRequestProtocol> [0..],
        /// Why it joins, in words (KIP-800).
        reason: Option<String> [8..; ignorable],
    }
}

wire_struct! {
    /// A protocol, which in a consumer group is an assignor.
    pub struct JoinGroupRequestProtocol {
        /// Its name.
        name: String [0..],
        /// What the leader needs to know of the member: its subscription.
        metadata: Bytes [0..],
    }
}

wire_struct! {
    /// Says that the members are complete.
    pub struct JoinGroupResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [2..; ignorable],
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The new generation.
        generation_id: GenerationId [0..],
        /// The group's protocol type.
        protocol_type: Option<String> [7..; ignorable],
        /// The protocol that all members could go by; absent where something went wrong.
        protocol_name: Option<String> [0..; nullable 7..],
        /// The member that assigns.
        leader: String [0..],
        /// Whether the leader is not to assign this time (KIP-814).
        skip_assignment: bool [9..],
        /// The member's id.
        member_id: String [0..],
        /// All members; the leader alone is told.
        members: Vec<JoinGroupResponseMember> [0..],
    }
}

wire_struct! {
    /// A member.
    pub struct JoinGroupResponseMember {
        /// Its id.
        member_id: String [0..],
        /// The id of a static member.
        group_instance_id: Option<String> [5..; ignorable],
        /// Its subscription, for the protocol chosen.
        metadata: Bytes [0..],
    }
}

message! { JoinGroupRequest => JoinGroupResponse: JoinGroup, 0..=9, flexible 6 }
