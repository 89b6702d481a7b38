//! What a consumer and its handles share, and the few things that both sides do with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ottla_cluster::{Cluster, Topics};
use ottla_coordinator::{Assigned, CoordinatorHandle, OffsetAndMetadata};
use ottla_fetcher::{Completed, FetcherHandle, StartAt};
use ottla_wire::TopicPartition;
use tokio::sync::Notify;

use crate::Error;
use crate::auto_commit::AutoCommit;
use crate::background::BackgroundErrors;
use crate::listener::AnyListener;
use crate::marks::{Marks, Piece};
use crate::partition_stream::Channels;
use crate::subscription::Subscription;
use crate::topic_pattern::AskForTopics;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) fetcher: FetcherHandle,
    /// Where `group.id` is set.
    pub(crate) group: Option<CoordinatorHandle>,
    pub(crate) listener: Option<AnyListener>,
    pub(crate) timeouts: Timeouts,
    pub(crate) errors: BackgroundErrors,
    pub(crate) channels: Channels,
    /// Wakes the poll that waits: there is something for it to do that no event tells.
    pub(crate) woken: Notify,
    state: Mutex<State>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// `default.api.timeout.ms`
    pub(crate) default_api: Duration,
    /// `max.poll.interval.ms`
    pub(crate) max_poll_interval: Duration,
    /// How long partition streams have to end when their partitions are revoked.
    pub(crate) drain: Duration,
}

/// Behind one lock, taken a few times a poll and never over an await.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) subscription: Subscription,
    pub(crate) marks: Marks,
    pub(crate) auto_commit: AutoCommit,
    /// Partitions whose positions were reset, which streams have yet to be told.
    pub(crate) reset: BTreeSet<TopicPartition>,
    /// Partitions that the application has paused; partition streams pause some for themselves.
    pub(crate) paused: BTreeSet<TopicPartition>,
    /// For a subscription by pattern.
    pub(crate) ask_for_topics: AskForTopics,
    /// The newest assignment by the group.
    pub(crate) assigned: Option<Arc<Assigned>>,
    /// What makes further polls pointless.
    pub(crate) fatal: Option<Error>,
    /// Counts the changes of what is read: what a stream has taken in, and which streams there are, may be out of date.
    pub(crate) courses: u64,
}

impl Shared {
    pub(crate) fn new(
        cluster: Cluster,
        fetcher: FetcherHandle,
        group: Option<CoordinatorHandle>,
        listener: Option<AnyListener>,
        timeouts: Timeouts,
        auto_commit_interval: Option<Duration>,
    ) -> Self {
        let state = State {
            subscription: Subscription::default(),
            marks: Marks::default(),
            auto_commit: AutoCommit::new(auto_commit_interval),
            reset: BTreeSet::new(),
            paused: BTreeSet::new(),
            ask_for_topics: AskForTopics::new(cluster.config().metadata_max_age),
            assigned: None,
            fatal: None,
            courses: 0,
        };
        let (errors, channels) = (BackgroundErrors::default(), Channels::default());
        Self {
            cluster,
            fetcher,
            group,
            listener,
            timeouts,
            errors,
            channels,
            woken: Notify::new(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group, for something that needs one.
    pub(crate) fn group(&self, attempted: &'static str) -> Result<&CoordinatorHandle, Error> {
        self.group.as_ref().ok_or(Error::NoGroup { attempted })
    }

    /// Takes in which topics match the pattern that is subscribed to, as far as all topics are known.
    pub(crate) fn matched(&self) {
        let Some(pattern) = self.state().subscription.pattern().cloned() else { return };
        // Outside the lock: it is the application's code.
        let Some(matching) = pattern.pick(&self.cluster.metadata()) else { return };
        if let Some(group) = &self.group
            && self.state().subscription.matched(&matching)
        {
            group.subscribe(matching);
        }
    }

    /// Asks for all topics, where a pattern is subscribed to and it is time. Says when it will be again.
    pub(crate) fn ask_for_topics(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        state.subscription.pattern()?;
        if state.ask_for_topics.take_due(now) {
            self.cluster.request_refresh(Topics::All);
        }
        state.ask_for_topics.next_deadline()
    }

    /// What may be committed of every assigned partition.
    pub(crate) fn completed(&self) -> BTreeMap<TopicPartition, Completed> {
        // Under the lock, so that no partition's marks go while the fetcher is asked: it is further than they are.
        let mut state = self.state();
        self.heed_resets(&mut state);
        let mut completed = self.fetcher.all_completed();
        for (partition, completed) in &mut completed {
            if let Some(marked) = state.marks.completed(partition) {
                *completed = marked;
            }
        }
        completed
    }

    /// The same of one partition; `None` while its start is looked up.
    pub(crate) fn completed_of(&self, partition: &TopicPartition) -> Result<Option<Completed>, Error> {
        let mut state = self.state();
        self.heed_resets(&mut state);
        let completed = self.fetcher.completed(partition)?;
        Ok(state.marks.completed(partition).or(completed))
    }

    /// The part of it that has moved since it was last committed.
    pub(crate) fn moved(&self) -> BTreeMap<TopicPartition, Completed> {
        let completed = self.completed();
        self.state().auto_commit.moved(completed)
    }

    /// Commits what is due, in the background.
    pub(crate) fn commit_if_due(self: &Arc<Self>, now: Instant) {
        if self.state().auto_commit.take_due(now) {
            self.commit_in_background();
        }
    }

    /// Commits what has moved, where commits are automatic, without waiting for it.
    pub(crate) fn commit_in_background(self: &Arc<Self>) {
        let Some(group) = &self.group else { return };
        if !self.state().auto_commit.is_on() || !self.may_commit(group) {
            return;
        }
        let moved = self.moved();
        // Without a runtime nothing has been read.
        let (false, Ok(runtime)) = (moved.is_empty(), self.cluster.runtime()) else { return };
        self.state().auto_commit.begun();
        let commit = group.commit(to_commit(&moved));
        let shared = Arc::clone(self);
        runtime.spawn(async move {
            let committed = commit.await;
            shared.state().auto_commit.ended();
            match committed {
                Ok(()) => shared.committed(&moved),
                Err(error) => shared.errors.push(error.into()),
            }
        });
    }

    /// Commits what has moved, where commits are automatic, and waits for that and for all commits before it.
    pub(crate) async fn commit_moved(&self) -> Result<(), Error> {
        let Some(group) = &self.group else { return Ok(()) };
        let mut committed = Ok(());
        if self.state().auto_commit.is_on() && self.may_commit(group) {
            let moved = self.moved();
            if !moved.is_empty() {
                committed = group.commit(to_commit(&moved)).await.map_err(Error::from);
                if committed.is_ok() {
                    self.committed(&moved);
                }
            }
        }
        group.commits_done().await;
        committed
    }

    /// Whether a commit has a chance: a member's only while it is one.
    fn may_commit(&self, group: &CoordinatorHandle) -> bool {
        !self.state().subscription.is_by_group() || group.membership().is_some()
    }

    fn committed(&self, offsets: &BTreeMap<TopicPartition, Completed>) {
        // What is not assigned any more may be committed by others from now on.
        let assigned = self.fetcher.assignment();
        let offsets = offsets.iter().filter(|(partition, _)| assigned.contains(*partition));
        self.state().auto_commit.committed(offsets.map(|(partition, completed)| (partition, completed.offset)));
    }

    /// Finds the committed offsets of all partitions that wait to be started at them, and starts them there; where there is none, as
    /// `auto.offset.reset` says. A partition that is sought meanwhile stays where it was sought to.
    pub(crate) async fn start_at_committed(&self) -> Result<(), Error> {
        let Some(group) = &self.group else { return Ok(()) };
        loop {
            let awaiting = self.fetcher.awaiting();
            if awaiting.is_empty() {
                return Ok(());
            }
            let committed = group.committed(awaiting.keys().cloned().collect(), self.timeouts.default_api).await?;
            for (partition, course) in &awaiting {
                let committed = committed.get(partition).and_then(Option::as_ref);
                let start = committed.map_or(StartAt::Reset, |committed| {
                    StartAt::offset_and_epoch(committed.offset, committed.leader_epoch)
                });
                if self.fetcher.start_awaited(partition, *course, start)
                    && let Some(committed) = committed
                {
                    self.state().auto_commit.committed([(partition, committed.offset)]);
                }
            }
        }
    }

    /// Tells of positions that were lost, and reset without asking.
    pub(crate) fn tell_resets(&self) {
        let reset = {
            let mut state = self.state();
            self.heed_resets(&mut state);
            std::mem::take(&mut state.reset)
        };
        for partition in &reset {
            self.change_course(partition);
        }
        while let Some(reset) = self.fetcher.take_reset() {
            self.errors.push(reset.into());
        }
    }

    /// What was handed out before positions were reset no longer counts, nor what was committed: that was so for a log that is
    /// not the same any more. To be called before anything is committed: a poll that resets may be cancelled before it
    /// tells. Leaves the streams alone, whose locks its callers may hold.
    fn heed_resets(&self, state: &mut State) {
        let reset = self.fetcher.take_reset_partitions();
        if reset.is_empty() {
            return;
        }
        for partition in &reset {
            state.marks.forget(partition);
        }
        state.auto_commit.retain(|partition| !reset.contains(partition));
        state.reset.extend(reset);
    }

    /// What was handed out of the partition no longer counts: it is read from elsewhere.
    pub(crate) fn change_course(&self, partition: &TopicPartition) {
        {
            let mut state = self.state();
            state.marks.forget(partition);
            state.courses += 1;
        }
        self.channels.discard(partition);
    }

    /// Has the partition read again from `offset`, unless the application has sought elsewhere since the piece was handed
    /// out.
    pub(crate) fn go_back(&self, partition: &TopicPartition, piece: &Piece, offset: i64) {
        {
            let mut state = self.state();
            let is_on_course = state.marks.is_on_course(partition, piece);
            if !is_on_course || self.fetcher.go_back(partition, offset).is_err() {
                return;
            }
            state.marks.forget(partition);
            state.courses += 1;
        }
        self.channels.discard(partition);
    }

    /// Reads no other partitions than those `assigned` any more, and of those only `on_course` where it was.
    pub(crate) fn keep_only(&self, assigned: &BTreeSet<TopicPartition>, on_course: &BTreeSet<TopicPartition>) {
        let mut state = self.state();
        state.marks.retain(|partition| on_course.contains(partition));
        state.auto_commit.retain(|partition| on_course.contains(partition));
        state.paused.retain(|partition| assigned.contains(partition));
        state.reset.retain(|partition| on_course.contains(partition));
        state.courses += 1;
    }
}

/// What is completed, as it is committed.
pub(crate) fn to_commit(
    completed: &BTreeMap<TopicPartition, Completed>,
) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
    let offset = |(partition, completed): (&TopicPartition, &Completed)| {
        (partition.clone(), OffsetAndMetadata::new(completed.offset).leader_epoch(completed.leader_epoch))
    };
    completed.iter().map(offset).collect()
}
