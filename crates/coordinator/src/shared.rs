//! What the coordinator client, its handles and its tasks share: the state behind its lock, and who waits for what.
//!
//! Locks are held for moments, never over an await. Where two are needed, `waiting` comes before the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_cluster::Cluster;
use ottla_cluster::clock::now;
use ottla_wire::TopicPartition;
use tokio::sync::{Notify, oneshot};

use crate::driver;
use crate::offsets::{CommitId, Found};
use crate::state::{State, Timeouts};
use crate::{Error, GroupConfig, OffsetAndMetadata};

/// What the coordinator, its handles and its tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) group: Arc<str>,
    state: Mutex<State>,
    /// Who waits for the results of commits, lookups and leaves.
    waiting: Mutex<Waiting>,
    tasks: Mutex<Tasks>,
    /// Tells the supervisor that there may be something to do.
    pub(crate) changed: Notify,
    /// Tells whoever waits for something that it may have happened.
    happened: Notify,
}

/// Bounded by what callers hold and by their time limits: each entry is a commit, a lookup or a leave under way.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) commits: BTreeMap<CommitId, oneshot::Sender<Result<(), Error>>>,
    pub(crate) lookups: BTreeMap<u64, oneshot::Sender<Result<Found, Error>>>,
    leaves: BTreeMap<u64, oneshot::Sender<Result<(), Error>>>,
}

#[derive(Debug)]
pub(crate) enum Tasks {
    NotStarted,
    /// The supervisor ends when the sender is dropped. The receiver hears when it has; nothing, if nobody wanted it to.
    Running(oneshot::Sender<()>, oneshot::Receiver<()>),
    /// The supervisor has ended, and nobody wanted it to: it panicked, or its runtime was shut down.
    Failed,
    /// Closed, or dropped.
    Closed,
}

/// The supervisor has this from before it is spawned: wherever it ends, and also where its runtime drops it before it
/// has run at all, it is told.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) shared: Arc<Shared>,
    /// `None`, once it was told that all is as it should be.
    has_ended: Option<oneshot::Sender<()>>,
}

impl Ending {
    /// Ends in good order, rather than by a panic or the end of the runtime.
    pub(crate) fn in_order(mut self) {
        let has_ended = self.has_ended.take();
        drop(self);
        if let Some(has_ended) = has_ended {
            // Whoever closes may not want to know any more.
            let _: Result<_, _> = has_ended.send(());
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Shared {
    pub(crate) fn new(cluster: Cluster, config: GroupConfig) -> Self {
        let timeouts = Timeouts {
            request: cluster.config().request_timeout.min(LONGEST_TIMEOUT),
            api: cluster.config().default_api_timeout.min(LONGEST_TIMEOUT),
        };
        Self {
            group: config.group_id.as_str().into(),
            state: Mutex::new(State::new(config, timeouts, || cluster.backoff(), cluster.pace(), now())),
            waiting: Mutex::new(Waiting::default()),
            tasks: Mutex::new(Tasks::NotStarted),
            changed: Notify::new(),
            happened: Notify::new(),
            cluster,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What fails whatever is attempted, once the tasks have ended.
    fn end_of(&self, tasks: &Tasks) -> Option<Error> {
        match tasks {
            Tasks::NotStarted | Tasks::Running(..) => None,
            Tasks::Failed => Some(self.task_ended()),
            Tasks::Closed => Some(Error::Closed),
        }
    }

    fn check_not_ended(&self) -> Result<(), Error> {
        self.end_of(&self.tasks()).map_or(Ok(()), Err)
    }

    pub(crate) fn task_ended(&self) -> Error {
        Error::TaskEnded { group: Arc::clone(&self.group) }
    }

    pub(crate) fn commit(
        self: &Arc<Self>,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        result: oneshot::Sender<Result<(), Error>>,
    ) {
        let is_empty = offsets.is_empty();
        let started = self.start();
        // Held until the sender is in its place, so that no result and no end of the tasks misses it.
        let mut waiting = self.waiting();
        let queued = match started.and_then(|()| self.check_not_ended()) {
            Ok(()) if is_empty => Ok(None),
            Ok(()) => {
                let metadata = self.cluster.metadata();
                self.state().commit(now(), offsets, &metadata).map(Some)
            }
            Err(error) => Err(error),
        };
        // Whoever committed may not want to know.
        let _: Result<_, _> = match queued {
            Ok(Some(id)) => {
                waiting.commits.insert(id, result);
                return;
            }
            Ok(None) => result.send(Ok(())),
            Err(error) => result.send(Err(error)),
        };
    }

    pub(crate) fn look_up(
        &self,
        partitions: BTreeSet<TopicPartition>,
        timeout: Duration,
        result: oneshot::Sender<Result<Found, Error>>,
    ) -> Result<u64, Error> {
        // Held as for a commit.
        let mut waiting = self.waiting();
        self.check_not_ended()?;
        let lookup = self.state().lookups.begin(now(), partitions, timeout);
        waiting.lookups.insert(lookup, result);
        Ok(lookup)
    }

    /// Leaves, as far as this client is concerned. Gives what waits for the result; `None`: there is nothing to send.
    pub(crate) fn leave(
        &self,
        reason: &str,
        timeout: Duration,
        for_commits: Duration,
    ) -> Result<Option<oneshot::Receiver<Result<(), Error>>>, Error> {
        // Held as for a commit.
        let mut waiting = self.waiting();
        let Some(number) = self.state().leave(now(), reason, timeout, for_commits) else { return Ok(None) };
        self.check_not_ended()?;
        let (result, answer) = oneshot::channel();
        waiting.leaves.insert(number, result);
        Ok(Some(answer))
    }

    /// Gives out results, and tells whoever waits for something.
    pub(crate) fn publish(&self) {
        let mut waiting = self.waiting();
        let (commits, lookups, leaves) = {
            let mut state = self.state();
            (state.commits.take_results(), state.lookups.take_results(), state.leaves.take_results())
        };
        for (id, result) in commits {
            if let Some(sender) = waiting.commits.remove(&id) {
                // Whoever committed may not want to know.
                let _: Result<_, _> = sender.send(result);
            }
        }
        for (id, result) in lookups {
            if let Some(sender) = waiting.lookups.remove(&id) {
                // Whoever asked may have gone.
                let _: Result<_, _> = sender.send(result);
            }
        }
        for (number, result) in leaves {
            if let Some(sender) = waiting.leaves.remove(&number) {
                // Whoever left may not want to know.
                let _: Result<_, _> = sender.send(result);
            }
        }
        drop(waiting);
        self.happened.notify_waiters();
    }

    /// The tasks have ended: nothing comes of what is under way. Where nobody wanted that, the application is told, for
    /// it would wait for ever.
    pub(crate) fn end(&self) {
        let error = {
            let mut tasks = self.tasks();
            if !matches!(*tasks, Tasks::Closed) {
                *tasks = Tasks::Failed;
            }
            self.end_of(&tasks).unwrap_or(Error::Closed)
        };
        if !matches!(error, Error::Closed) {
            self.state().group.handle_task_ended(error.clone());
        }
        let Waiting { commits, lookups, leaves } = std::mem::take(&mut *self.waiting());
        for sender in commits.into_values().chain(leaves.into_values()) {
            // Whoever committed or left may not want to know.
            let _: Result<_, _> = sender.send(Err(error.clone()));
        }
        for sender in lookups.into_values() {
            // Whoever asked may have gone.
            let _: Result<_, _> = sender.send(Err(error.clone()));
        }
        self.happened.notify_waiters();
    }

    pub(crate) async fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let happened = self.happened.notified();
            tokio::pin!(happened);
            happened.as_mut().enable();
            if is_so(self) {
                return;
            }
            happened.await;
        }
    }

    /// Starts the supervisor, unless it has been.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), Error> {
        let (runtime, ending, closed) = {
            let mut tasks = self.tasks();
            if let Some(error) = self.end_of(&tasks) {
                return Err(error);
            }
            if matches!(*tasks, Tasks::Running(..)) {
                return Ok(());
            }
            let runtime = self.cluster.runtime().map_err(|_| Error::NoRuntime)?;
            let (alive, closed) = oneshot::channel();
            let (has_ended, ended) = oneshot::channel();
            *tasks = Tasks::Running(alive, ended);
            (runtime, Ending { shared: Arc::clone(self), has_ended: Some(has_ended) }, closed)
        };
        // A runtime that is shut down drops it here and now, which takes the lock again.
        drop(runtime.spawn(driver::supervise(ending, closed)));
        self.check_not_ended()
    }
}

/// Longer than any program runs, and short enough to be added to any clock.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_hours(365 * 24);
