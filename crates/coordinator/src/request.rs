//! What is asked of the coordinator, and what comes of it.

use std::time::Duration;

use ottla_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};
use ottla_wire::throttle_duration;

use crate::Error;
use crate::classic::Leave;
use crate::offsets::NextLookup;

/// A request to the coordinator.
#[derive(Debug)]
pub(crate) enum Outgoing {
    JoinGroup { attempt: u64, request: JoinGroupRequest },
    SyncGroup { attempt: u64, request: SyncGroupRequest },
    Heartbeat { number: u64, request: HeartbeatRequest },
    LeaveGroup { number: u64, leave: Leave },
    OffsetCommit { number: u64, request: OffsetCommitRequest },
    OffsetFetch(NextLookup),
}

/// What has become of one.
#[derive(Debug)]
pub(crate) enum Incoming {
    JoinGroup { attempt: u64, answer: Result<JoinGroupResponse, Error> },
    SyncGroup { attempt: u64, answer: Result<SyncGroupResponse, Error> },
    Heartbeat { number: u64, answer: Result<HeartbeatResponse, Error> },
    LeaveGroup { number: u64, answer: Result<LeaveGroupResponse, Error> },
    OffsetCommit { number: u64, answer: Result<OffsetCommitResponse, Error> },
    OffsetFetch { asked: NextLookup, answer: Result<OffsetFetchResponse, Error> },
}

impl Outgoing {
    /// The name of its API.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::JoinGroup { .. } => "JoinGroup",
            Self::SyncGroup { .. } => "SyncGroup",
            Self::Heartbeat { .. } => "Heartbeat",
            Self::LeaveGroup { .. } => "LeaveGroup",
            Self::OffsetCommit { .. } => "OffsetCommit",
            Self::OffsetFetch(_) => "OffsetFetch",
        }
    }

    /// Whether the coordinator may hold its answer back until other members have done something.
    pub(crate) fn is_parked(&self) -> bool {
        match self {
            Self::JoinGroup { .. } | Self::SyncGroup { .. } => true,
            Self::Heartbeat { .. } | Self::LeaveGroup { .. } | Self::OffsetCommit { .. } | Self::OffsetFetch(_) => {
                false
            }
        }
    }

    /// What becomes of it where it is not sent.
    pub(crate) fn fail(self, error: Error) -> Incoming {
        match self {
            Self::JoinGroup { attempt, .. } => Incoming::JoinGroup { attempt, answer: Err(error) },
            Self::SyncGroup { attempt, .. } => Incoming::SyncGroup { attempt, answer: Err(error) },
            Self::Heartbeat { number, .. } => Incoming::Heartbeat { number, answer: Err(error) },
            Self::LeaveGroup { number, .. } => Incoming::LeaveGroup { number, answer: Err(error) },
            Self::OffsetCommit { number, .. } => Incoming::OffsetCommit { number, answer: Err(error) },
            Self::OffsetFetch(asked) => Incoming::OffsetFetch { asked, answer: Err(error) },
        }
    }
}

impl Incoming {
    /// Whether it was asked by a request [that may be held back](Outgoing::is_parked).
    pub(crate) fn is_parked(&self) -> bool {
        match self {
            Self::JoinGroup { .. } | Self::SyncGroup { .. } => true,
            Self::Heartbeat { .. } | Self::LeaveGroup { .. } | Self::OffsetCommit { .. } | Self::OffsetFetch { .. } => {
                false
            }
        }
    }

    /// For how long the coordinator asks to be left alone. In old versions it has waited itself: then silence is noticed so
    /// much later, and nothing else comes of it.
    pub(crate) fn throttle_time(&self) -> Duration {
        let throttle_time_ms = match self {
            Self::JoinGroup { answer, .. } => answer.as_ref().map(|response| response.throttle_time_ms),
            Self::SyncGroup { answer, .. } => answer.as_ref().map(|response| response.throttle_time_ms),
            Self::Heartbeat { answer, .. } => answer.as_ref().map(|response| response.throttle_time_ms),
            Self::LeaveGroup { answer, .. } => answer.as_ref().map(|response| response.throttle_time_ms),
            Self::OffsetCommit { answer, .. } => answer.as_ref().map(|response| response.throttle_time_ms),
            Self::OffsetFetch { answer, .. } => answer.as_ref().map(|response| response.throttle_time_ms),
        };
        throttle_duration(throttle_time_ms.unwrap_or(0))
    }

    /// Why there is no answer, where there is none.
    pub(crate) fn error(&self) -> Option<&Error> {
        match self {
            Self::JoinGroup { answer, .. } => answer.as_ref().err(),
            Self::SyncGroup { answer, .. } => answer.as_ref().err(),
            Self::Heartbeat { answer, .. } => answer.as_ref().err(),
            Self::LeaveGroup { answer, .. } => answer.as_ref().err(),
            Self::OffsetCommit { answer, .. } => answer.as_ref().err(),
            Self::OffsetFetch { answer, .. } => answer.as_ref().err(),
        }
    }
}
