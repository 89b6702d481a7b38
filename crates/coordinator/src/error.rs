//! What can go wrong with a group, always with what was attempted and with whom.

use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::InvalidSetting;
use ottla_connection::CloseCause;
use ottla_wire::{DecodeError, EncodeError, ErrorCode, NodeId, TopicPartition};

/// Why a member could not join, an offset not be committed or not be looked up.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be.
    #[error(transparent)]
    Config(#[from] InvalidSetting),
    /// A group cannot be joined without an assignor.
    #[error("group {group} cannot be joined: partition.assignment.strategy names no assignor")]
    NoAssignor {
        /// The group.
        group: Arc<str>,
    },
    /// The cluster does not say which broker coordinates the group.
    #[error("the coordinator of group {group} cannot be found: {error_code}")]
    FindCoordinator {
        /// The group.
        group: Arc<str>,
        /// What it says.
        error_code: ErrorCode,
    },
    /// The coordinator refused.
    #[error("{attempted} of group {group} was refused by coordinator {node}: {error_code}")]
    Refused {
        /// What was attempted.
        attempted: &'static str,
        /// The group.
        group: Arc<str>,
        /// The coordinator.
        node: NodeId,
        /// Why.
        error_code: ErrorCode,
    },
    /// The coordinator refused it for one partition.
    #[error("{attempted} of {partition} for group {group} was refused by coordinator {node}: {error_code}")]
    PartitionRefused {
        /// What was attempted.
        attempted: &'static str,
        /// The group.
        group: Arc<str>,
        /// The coordinator.
        node: NodeId,
        /// The partition.
        partition: TopicPartition,
        /// Why.
        error_code: ErrorCode,
    },
    /// The coordinator's answer leaves out a partition that was asked for.
    #[error("the answer of coordinator {node} to {attempted} for group {group} says nothing of {partition}")]
    PartitionMissing {
        /// What was attempted.
        attempted: &'static str,
        /// The group.
        group: Arc<str>,
        /// The coordinator.
        node: NodeId,
        /// The partition.
        partition: TopicPartition,
    },
    /// There is no answer from the coordinator.
    #[error("{attempted} of group {group} has no answer from coordinator {node}")]
    NoAnswer {
        /// What was attempted.
        attempted: &'static str,
        /// The group.
        group: Arc<str>,
        /// The coordinator.
        node: NodeId,
        /// What happened.
        #[source]
        source: Arc<ottla_connection::Error>,
    },
    /// Offsets cannot be committed while the group rebalances: the generation is over, or has no assignment yet. After
    /// the rebalance, what is still assigned can be.
    #[error("offsets of group {group} cannot be committed while the group rebalances")]
    RebalanceInProgress {
        /// The group.
        group: Arc<str>,
    },
    /// Offsets were not committed, because the member is not, or no longer, part of the group: its partitions may have
    /// been assigned to another.
    #[error("offsets of group {group} were not committed: the member is not part of the group{}", .error_code.map_or(String::new(), |error_code| format!(", by {error_code}")))]
    CommitFailed {
        /// The group.
        group: Arc<str>,
        /// What the coordinator said; `None` where the member knew by itself.
        error_code: Option<ErrorCode>,
    },
    /// Another consumer has come under the same `group.instance.id`.
    #[error("another consumer has joined group {group} as {group_instance_id}")]
    FencedInstanceId {
        /// The group.
        group: Arc<str>,
        /// The id.
        group_instance_id: Arc<str>,
    },
    /// The coordinator chose an assignor, or a type of group, that the member did not offer.
    #[error("the coordinator of group {group} chose protocol {protocol:?}, which the member did not offer")]
    UnknownProtocol {
        /// The group.
        group: Arc<str>,
        /// What it chose.
        protocol: String,
    },
    /// What a member tells the leader cannot be decoded, so that nobody can be assigned anything.
    #[error("the subscription of member {member_id} of group {group} cannot be decoded")]
    Subscription {
        /// The group.
        group: Arc<str>,
        /// The member.
        member_id: Arc<str>,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// The assignor could not assign, or not say what a subscription is to carry for it. That it panicked is one reason.
    #[error("assignor {assignor} could not assign the partitions of group {group}")]
    Assignor {
        /// The group.
        group: Arc<str>,
        /// The assignor.
        assignor: Arc<str>,
        /// What it said.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// What the assignor assigned cannot be: a defect of the assignor.
    #[error("assignor {assignor} assigned the partitions of group {group} in a way that cannot be: {fault}")]
    InvalidAssignment {
        /// The group.
        group: Arc<str>,
        /// The assignor.
        assignor: Arc<str>,
        /// What is wrong.
        fault: AssignmentFault,
    },
    /// What the leader assigned to this member cannot be decoded.
    #[error("the assignment of member {member_id} of group {group} cannot be decoded")]
    Assignment {
        /// The group.
        group: Arc<str>,
        /// The member.
        member_id: Arc<str>,
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// A subscription or an assignment is too large to be told.
    #[error("what member {member_id} of group {group} has to tell cannot be encoded")]
    Encode {
        /// The group.
        group: Arc<str>,
        /// The member, empty where it has no id yet.
        member_id: Arc<str>,
        /// What is wrong with it.
        #[source]
        source: EncodeError,
    },
    /// An offset below 0 cannot be committed.
    #[error("{offset} of {partition} is no offset that can be committed")]
    InvalidOffset {
        /// The partition.
        partition: TopicPartition,
        /// The offset.
        offset: i64,
    },
    /// The cluster could not be asked.
    #[error("the cluster could not be asked for group {group}")]
    Cluster {
        /// The group.
        group: Arc<str>,
        /// What happened.
        #[source]
        source: Arc<ottla_cluster::Error>,
    },
    /// Something did not come about in time.
    #[error("{attempted} of group {group} took longer than {timeout:?}")]
    TimedOut {
        /// What was attempted.
        attempted: &'static str,
        /// The group.
        group: Arc<str>,
        /// The limit.
        timeout: Duration,
        /// What the last attempt failed with, if any has.
        #[source]
        source: Option<Box<Error>>,
    },
    /// There is no runtime to run on: none was given, and none is current.
    #[error("there is no tokio runtime: none is configured and none is current")]
    NoRuntime,
    /// The task that does everything here has ended without being told to: it panicked, or its runtime was shut down.
    /// Nobody shows any more that the member is alive.
    #[error("the task that talks to the coordinator of group {group} has ended")]
    TaskEnded {
        /// The group.
        group: Arc<str>,
    },
    /// It is closed.
    #[error("the coordinator is closed")]
    Closed,
}

/// What is wrong with an assignor's result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignmentFault {
    /// There is not one result for each member.
    #[error("{members} members, but {results} results")]
    ResultCount {
        /// How many members there are.
        members: usize,
        /// How many results there are.
        results: usize,
    },
    /// A partition was given to two members, or twice to one.
    #[error("{partition} was given to {first} and to {second}")]
    AssignedTwice {
        /// The partition.
        partition: TopicPartition,
        /// A member that has it.
        first: Arc<str>,
        /// Another, or the same.
        second: Arc<str>,
    },
    /// A partition was given to a member that does not subscribe to its topic.
    #[error("{partition} was given to {member_id}, which does not subscribe to its topic")]
    NotSubscribed {
        /// The partition.
        partition: TopicPartition,
        /// The member.
        member_id: Arc<str>,
    },
    /// A partition that does not exist was given to a member.
    #[error("{partition}, which does not exist, was given to {member_id}")]
    UnknownPartition {
        /// The partition.
        partition: TopicPartition,
        /// The member.
        member_id: Arc<str>,
    },
    /// A partition was given to a member while another still owns it, which the cooperative protocol forbids.
    #[error("{partition} was given to {member_id} while {owner} still owns it")]
    StillOwned {
        /// The partition.
        partition: TopicPartition,
        /// The member that it was given to.
        member_id: Arc<str>,
        /// The member that owns it.
        owner: Arc<str>,
    },
}

impl Error {
    /// Whether the same may succeed later without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::FindCoordinator { error_code, .. }
            | Self::Refused { error_code, .. }
            | Self::PartitionRefused { error_code, .. } => error_code.is_retriable(),
            Self::NoAnswer { source, .. } => source.is_retriable(),
            Self::Cluster { source, .. } => source.is_retriable(),
            Self::RebalanceInProgress { .. } | Self::TimedOut { .. } | Self::PartitionMissing { .. } => true,
            Self::Config(_)
            | Self::NoAssignor { .. }
            | Self::CommitFailed { .. }
            | Self::FencedInstanceId { .. }
            | Self::UnknownProtocol { .. }
            | Self::Subscription { .. }
            | Self::Assignor { .. }
            | Self::InvalidAssignment { .. }
            | Self::Assignment { .. }
            | Self::Encode { .. }
            | Self::InvalidOffset { .. }
            | Self::NoRuntime
            | Self::TaskEnded { .. }
            | Self::Closed => false,
        }
    }

    /// Whether the member cannot go on as it is: its rights, ids or settings have to be changed first.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::FencedInstanceId { .. }
            | Self::Config(_)
            | Self::NoAssignor { .. }
            | Self::NoRuntime
            | Self::TaskEnded { .. }
            | Self::Closed
            | Self::UnknownProtocol { .. } => true,
            _ => self.error_code().is_some_and(is_fatal),
        }
    }

    /// Whether the coordinator may have acted on the request although there is no answer.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::NoAnswer { source, .. } => source.may_have_taken_effect(),
            Self::Cluster { source, .. } => source.may_have_taken_effect(),
            // Brokers answer so when the others did not confirm in time; the write may yet succeed.
            Self::Refused { error_code, .. } | Self::PartitionRefused { error_code, .. } => {
                *error_code == ErrorCode::RequestTimedOut
            }
            Self::TimedOut { source, .. } => source.as_ref().is_some_and(|source| source.may_have_taken_effect()),
            _ => false,
        }
    }

    /// Whether a request did not reach the coordinator, or its answer did not come back, for no doing of ours.
    pub(crate) fn says_unreachable(&self) -> bool {
        let is_ours = |source: &ottla_connection::Error| {
            let ottla_connection::Error::Closed { cause, .. } = source else { return false };
            matches!(cause, CloseCause::Aborted | CloseCause::Closed)
        };
        match self {
            Self::NoAnswer { source, .. } => source.is_retriable() && !is_ours(source),
            Self::Cluster { source, .. } => source.is_retriable(),
            _ => false,
        }
    }

    /// The error code in a broker's answer, where that is what went wrong.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::FindCoordinator { error_code, .. }
            | Self::Refused { error_code, .. }
            | Self::PartitionRefused { error_code, .. } => Some(*error_code),
            Self::CommitFailed { error_code, .. } => *error_code,
            Self::FencedInstanceId { .. } => Some(ErrorCode::FencedInstanceId),
            Self::RebalanceInProgress { .. } => Some(ErrorCode::RebalanceInProgress),
            Self::NoAnswer { source, .. } => source.error_code(),
            Self::Cluster { source, .. } => source.error_code(),
            Self::TimedOut { source, .. } => source.as_ref().and_then(|source| source.error_code()),
            _ => None,
        }
    }

    /// The partition that it is about, where it is about one.
    pub fn partition(&self) -> Option<&TopicPartition> {
        match self {
            Self::PartitionRefused { partition, .. }
            | Self::PartitionMissing { partition, .. }
            | Self::InvalidOffset { partition, .. } => Some(partition),
            _ => None,
        }
    }
}

/// Beyond what is fatal to any client: what no further attempt of the same member changes.
fn is_fatal(error_code: ErrorCode) -> bool {
    error_code.is_fatal()
        || matches!(
            error_code,
            ErrorCode::InconsistentGroupProtocol | ErrorCode::InvalidSessionTimeout | ErrorCode::InvalidGroupId
        )
}
