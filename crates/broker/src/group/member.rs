//! A member of a group: what it said of itself, what it was assigned, and the requests of it that wait.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::messages::JoinGroupRequestProtocol;

use super::ReplyId;

/// A member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    /// The id of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) session_timeout: Duration,
    /// The protocols that it could go by, the most wanted first.
    pub(crate) protocols: Vec<JoinGroupRequestProtocol>,
    pub(crate) assignment: Bytes,
    /// It has not been answered a JoinGroup yet, and may not know its id: nobody can expect heartbeats of it.
    pub(super) is_new: bool,
    /// Its JoinGroup requests that wait. More than one where a client has given up on the first: all get the same answer.
    pub(super) joining: Vec<ReplyId>,
    /// Its SyncGroup requests that wait.
    pub(super) syncing: Vec<ReplyId>,
    /// When it is removed, unless it is heard of before. `None`: that time has come while it was waiting for the others.
    pub(super) session_deadline: Option<Instant>,
}

impl Member {
    /// Whether it has joined the generation that is being made.
    pub(super) fn has_joined(&self) -> bool {
        !self.joining.is_empty()
    }

    /// Whether it need not be heard of: it waits for the others itself.
    pub(super) fn may_be_silent(&self) -> bool {
        !self.is_new && (!self.joining.is_empty() || !self.syncing.is_empty())
    }

    /// It has been heard of.
    pub(super) fn renew_session(&mut self, now: Instant) {
        self.session_deadline = Some(now + self.session_timeout);
    }

    /// Whether it can go by a protocol.
    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|supported| supported.name == protocol)
    }

    /// What it said for a protocol.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let said = self.protocols.iter().find(|supported| Some(supported.name.as_str()) == protocol);
        said.map(|supported| supported.metadata.clone()).unwrap_or_default()
    }
}
