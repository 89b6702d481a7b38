//! What the task waits for that owns all others of a group member or a fetcher.
//!
//! Such a supervisor goes round: it asks its machine what is to be done, does that or has a task do it, and waits until
//! something has happened. How it waits is the same for all: the end comes first, then what makes the rest obsolete. The
//! tasks end with it.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use ottla_connection::clock::sleep_until;
use ottla_connection::watch;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::{Cluster, Metadata};

/// The tasks of a supervisor, each of which ends with a `T`, and what else it hears of.
#[derive(Debug)]
pub struct Supervision<T> {
    tasks: JoinSet<T>,
    /// Tells, or is dropped by, whoever needs the supervisor.
    over: oneshot::Receiver<()>,
    metadata: watch::Receiver<Arc<Metadata>>,
}

/// What has happened.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "a supervisor acts on each of them")]
pub enum Woken<T> {
    /// Nobody needs the supervisor any more, or there is no cluster or runtime any more to do anything with.
    Over,
    /// The cluster is known to be as it was not before.
    Metadata(Arc<Metadata>),
    /// A task has ended with this.
    Ended(T),
    /// There may be something to do: something has changed, or the time has come.
    Due,
}

impl<T: Send + 'static> Supervision<T> {
    /// No tasks yet.
    pub fn new(cluster: &Cluster, over: oneshot::Receiver<()>) -> Self {
        Self { tasks: JoinSet::new(), over, metadata: cluster.metadata_changes() }
    }

    /// Starts a task.
    pub fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits for something to happen, for `changed` and until `due` at the latest.
    ///
    /// # Panics
    ///
    /// Where a task has: a panic is a defect of ours, and is to be seen.
    ///
    /// # Cancel safety
    ///
    /// Nothing that has happened is lost.
    pub async fn woken(&mut self, changed: impl Future<Output = ()>, due: Option<Instant>) -> Woken<T> {
        let Self { tasks, over, metadata } = self;
        tokio::select! {
            biased; // the end first; then what makes the others obsolete
            _ = over => Woken::Over,
            change = metadata.changed() => match change {
                Ok(()) => Woken::Metadata(Arc::clone(&metadata.borrow_and_update())),
                Err(_) => Woken::Over,
            },
            Some(task) = tasks.join_next() => match task.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(ended) => Woken::Ended(ended),
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                // Nothing aborts a task but the end of the set, or of the runtime.
                Err(Err(_)) => Woken::Over,
            },
            () = changed => Woken::Due,
            () = sleep_until(due) => Woken::Due,
        }
    }
}
