//! What an application may want to do when its partitions change.
//!
//! A method's future belongs to the consumer: it takes owned arguments and runs inside of [`poll`](crate::Consumer::poll).
//! A poll that is dropped leaves it where it is, and the next poll goes on with it; [`close`](crate::Consumer::close)
//! runs it to its end within its own time. So it may take its time, commit, seek and look things up with the handle it is
//! given, and cannot deadlock: what it waits for does not need the poll.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ottla_wire::TopicPartition;

use crate::ConsumerHandle;

/// Told when the group gives partitions to this consumer, or takes them away. Each method does nothing by default.
///
/// ```
/// use ottla_consumer::{AssignmentChange, ConsumerHandle, ListenerResult, RebalanceListener};
///
/// struct Flush;
///
/// impl RebalanceListener for Flush {
///     async fn on_revoked(&self, change: AssignmentChange, consumer: ConsumerHandle) -> ListenerResult {
///         // write down what was read of `change.partitions`, then
///         consumer.commit_sync().await?;
///         Ok(())
///     }
/// }
/// ```
///
/// An error is told by the poll, once; the rebalance goes on all the same.
pub trait RebalanceListener: Send + Sync + 'static {
    /// Partitions were assigned. No record of theirs has been handed out yet; reading begins where they are
    /// [sought](ConsumerHandle::seek) to here, or else at the committed offset. Called after each rebalance, also when
    /// it brought nothing.
    fn on_assigned(
        &self,
        change: AssignmentChange,
        consumer: ConsumerHandle,
    ) -> impl Future<Output = ListenerResult> + Send {
        let _ = (change, consumer);
        async { Ok(()) }
    }

    /// Partitions are about to be given up. They are still this consumer's: what was read of them can be committed. With
    /// automatic commits, what the application has come back from has been.
    fn on_revoked(
        &self,
        change: AssignmentChange,
        consumer: ConsumerHandle,
    ) -> impl Future<Output = ListenerResult> + Send {
        let _ = (change, consumer);
        async { Ok(()) }
    }

    /// Partitions were lost: the membership has ended, and others may be reading them already. Nothing can be
    /// committed for them. By default the same as [`on_revoked`](Self::on_revoked).
    fn on_lost(
        &self,
        change: AssignmentChange,
        consumer: ConsumerHandle,
    ) -> impl Future<Output = ListenerResult> + Send {
        self.on_revoked(change, consumer)
    }
}

/// What a listener's method returns.
pub type ListenerResult = Result<(), Box<dyn StdError + Send + Sync>>;

/// A change of what is assigned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssignmentChange {
    /// What was added, is revoked, or was lost.
    pub partitions: BTreeSet<TopicPartition>,
    /// All that is assigned when the change is done.
    pub assignment: BTreeSet<TopicPartition>,
}

/// Which of a listener's methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Assigned,
    Revoked,
    Lost,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Assigned => "on_assigned",
            Self::Revoked => "on_revoked",
            Self::Lost => "on_lost",
        }
    }
}

/// A listener of any type.
#[derive(Clone)]
pub(crate) struct AnyListener(Arc<dyn Call>);

impl AnyListener {
    pub(crate) fn new(listener: impl RebalanceListener) -> Self {
        Self(Arc::new(listener))
    }

    /// Calls a method; the future owns all that it uses.
    pub(crate) fn call(&self, method: Method, change: AssignmentChange, consumer: ConsumerHandle) -> ListenerFuture {
        Arc::clone(&self.0).call(method, change, consumer)
    }
}

impl fmt::Debug for AnyListener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AnyListener(..)")
    }
}

type ListenerFuture = Pin<Box<dyn Future<Output = ListenerResult> + Send>>;

trait Call: Send + Sync {
    fn call(self: Arc<Self>, method: Method, change: AssignmentChange, consumer: ConsumerHandle) -> ListenerFuture;
}

impl<L: RebalanceListener> Call for L {
    fn call(self: Arc<Self>, method: Method, change: AssignmentChange, consumer: ConsumerHandle) -> ListenerFuture {
        Box::pin(async move {
            match method {
                Method::Assigned => self.on_assigned(change, consumer).await,
                Method::Revoked => self.on_revoked(change, consumer).await,
                Method::Lost => self.on_lost(change, consumer).await,
            }
        })
    }
}
