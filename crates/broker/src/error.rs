//! What can go wrong with an embedded cluster, as opposed to what its brokers answer.

use std::io;

use ottla_connection::Address;
use ottla_wire::records::CorruptBatch;
use ottla_wire::{ErrorCode, NodeId};

/// Starting or steering an embedded cluster failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of the builder cannot be followed.
    #[error("the setting {setting} cannot be {value}: {reason}")]
    Setting {
        /// The builder's method.
        setting: &'static str,
        /// What it was given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A node could not listen.
    #[error("node {node} cannot listen at {address}")]
    Listen {
        /// The node.
        node: NodeId,
        /// Where it tried to.
        address: Address,
        /// Why it could not.
        #[source]
        source: io::Error,
    },
    /// The cluster has no such node.
    #[error("the cluster has no node {node}")]
    UnknownNode {
        /// The node asked for.
        node: NodeId,
    },
    /// A node that runs was to be started, or one that does not was to be stopped.
    #[error("node {node} is {state}")]
    NodeState {
        /// The node.
        node: NodeId,
        /// What it is already.
        state: &'static str,
    },
    /// The cluster refused to change a topic, with the code that an admin client would have got.
    #[error("{attempted} topic {topic} was refused with {code}: {reason}")]
    Refused {
        /// What was attempted.
        attempted: &'static str,
        /// The topic.
        topic: String,
        /// Kafka's code for it.
        code: ErrorCode,
        /// What was wrong.
        reason: String,
    },
    /// The cluster refused to say or change something of a group, with the code that a client would have got.
    #[error("{attempted} group {group} was refused with {code}")]
    RefusedGroup {
        /// What was attempted.
        attempted: &'static str,
        /// The group.
        group: String,
        /// Kafka's code for it.
        code: ErrorCode,
    },
    /// What was to be replayed is not whole batches of magic 2, at least one, one after the other.
    #[error("what is to be replayed has no whole batch of magic 2 at byte {position}")]
    NotReplayable {
        /// Where the batch should have been.
        position: usize,
        /// What is wrong with what stands there, if it is a damaged batch.
        #[source]
        source: Option<CorruptBatch>,
    },
    /// The cluster was shut down, or the runtime that it ran on has ended.
    #[error("the cluster has been shut down")]
    ShutDown,
}

impl Error {
    /// Kafka's code, where there is one.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } | Self::RefusedGroup { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        self.error_code().is_some_and(ErrorCode::is_retriable)
    }
}
