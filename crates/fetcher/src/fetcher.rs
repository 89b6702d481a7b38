//! The fetcher as its user sees it: one owner who polls, and any number of handles for everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_cluster::clock::now;
use ottla_cluster::{Cluster, KeptTopics, Topics, WallClock};
use ottla_wire::{NodeId, TopicPartition};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::answer::{Hints, is_answered_by_waiting};
use crate::buffer_pool::BufferPool;
use crate::driver;
use crate::hand_out::Taken;
use crate::handed_out::Completed;
use crate::lookup::{LOOKUP_TIMEOUT_MS, LookedUp, group};
use crate::make_room::Room;
use crate::opener::Opener;
use crate::position::Course;
use crate::state::State;
use crate::{
    Batch, Batches, Error, FetchMemory, FetchMetrics, FetcherConfig, IsolationLevel, Lookup, OffsetAndTimestamp,
    StartAt,
};

/// Fetches the assigned partitions in the background, and hands out what has come.
///
/// Dropping it ends its tasks; [`close`](Self::close) also waits for their end.
#[derive(Debug)]
pub struct Fetcher {
    handle: FetcherHandle,
    opener: Opener,
    room: Room,
    max_poll_bytes: usize,
    fetch_buffer_max_bytes: usize,
}

/// Everything but polling and closing. Cloning it gives another handle to the same fetcher.
#[derive(Clone, Debug)]
pub struct FetcherHandle {
    shared: Arc<Shared>,
}

/// What the fetcher, its handles and its tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) pool: BufferPool,
    pub(crate) isolation: IsolationLevel,
    wall_clock: WallClock,
    state: Mutex<State>,
    tasks: Mutex<Tasks>,
    /// Has the cluster keep the assigned topics fresh.
    kept: Mutex<Option<KeptTopics>>,
    /// Tells the application's task that there is something to hand out or tell.
    pub(crate) ready: Notify,
    /// Tells the tasks that what they wait for may have changed.
    pub(crate) changed: Notify,
}

#[derive(Debug)]
enum Tasks {
    NotStarted,
    /// The supervisor ends when the sender is dropped.
    Running(oneshot::Sender<()>, JoinHandle<()>),
    Ended,
}

impl Fetcher {
    /// A fetcher of nothing yet. Does no I/O; its tasks start with the first assignment or poll.
    pub fn new(cluster: Cluster, config: FetcherConfig) -> Result<Self, Error> {
        config.check()?;
        let pool = BufferPool::new(config.fetch_buffer_max_bytes);
        let opener = Opener::new(&config, &pool);
        let (max_poll_bytes, fetch_buffer_max_bytes) = (config.max_poll_bytes, config.fetch_buffer_max_bytes);
        let isolation = config.isolation_level;
        let wall_clock = config.wall_clock.clone();
        let mut state = State::new(config, cluster.backoff());
        state.replica_max_age = cluster.config().metadata_max_age;
        let shared = Shared {
            pool,
            isolation,
            wall_clock,
            state: Mutex::new(state),
            cluster,
            tasks: Mutex::new(Tasks::NotStarted),
            kept: Mutex::new(None),
            ready: Notify::new(),
            changed: Notify::new(),
        };
        let handle = FetcherHandle { shared: Arc::new(shared) };
        Ok(Self { handle, opener, room: Room::default(), max_poll_bytes, fetch_buffer_max_bytes })
    }

    /// A handle for other tasks.
    pub fn handle(&self) -> &FetcherHandle {
        &self.handle
    }

    /// Batches that have come, at once if there are some, else as soon as there are; empty when `timeout` is over.
    ///
    /// With this call the application says that it has come back from all that the last one handed out. It hands out
    /// a few hundred KiB at a time (`max_poll_bytes`), or one batch that is larger.
    ///
    /// # Errors
    ///
    /// Those of a partition, each in its place after the records before it; the partition is then tried again with
    /// back-off. [`Error::BufferHeld`] if records that the application still holds leave no memory to fetch into, for
    /// as long as `timeout`, but at most half a second.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what it would have returned, the next call does.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Batches, Error> {
        let shared = Arc::clone(&self.handle.shared);
        shared.start()?;
        if !shared.begin_poll() {
            // Nobody else may have had a turn while the application went from poll to poll.
            tokio::task::yield_now().await;
        }
        let mut deadline: Option<Instant> = None;
        let mut starved_at: Option<Instant> = None;
        loop {
            let ready = shared.ready.notified();
            let released = shared.pool.released();
            tokio::pin!(released);
            released.as_mut().enable();
            if let Some(batches) = self.take()? {
                return Ok(batches);
            }
            if self.lacks_memory() && self.give_up_paused() {
                continue;
            }
            let start = Instant::now();
            let deadline = *deadline.get_or_insert_with(|| start + timeout.min(LONGEST_WAIT));
            let check_at = *starved_at.get_or_insert_with(|| deadline.min(start + BUFFER_HELD_AFTER));
            if start >= check_at
                && let Some(held_bytes) = self.starving_bytes()
            {
                return Err(Error::BufferHeld { held_bytes, bound_bytes: self.fetch_buffer_max_bytes });
            }
            if start >= deadline {
                return Ok(Batches::default());
            }
            if start >= check_at {
                starved_at = Some(deadline.min(start + BUFFER_HELD_AFTER));
            }
            tokio::select! {
                biased; // what has come goes before the end of the wait
                () = ready => {}
                () = released, if self.room.is_lacking() => {}
                () = tokio::time::sleep_until(starved_at.unwrap_or(deadline)) => {}
            }
        }
    }

    /// Says that the application has come back from all that it was handed, as the next [`poll`](Self::poll) will.
    pub fn settle(&mut self) {
        self.handle.shared.begin_poll();
    }

    /// What can be handed out now.
    fn take(&mut self) -> Result<Option<Batches>, Error> {
        let shared = &self.handle.shared;
        loop {
            let taken = {
                let mut state = shared.state();
                let taken = state.take(self.max_poll_bytes);
                shared.tell_news(&mut state);
                taken
            };
            let entries = match taken {
                Taken::Entries(entries) => entries,
                Taken::Nothing => {
                    self.room.made(shared);
                    return Ok(None);
                }
                Taken::Failure(error) => {
                    self.room.made(shared);
                    return Err(error);
                }
            };
            let opened = self.opener.open(entries);
            let lacks_memory = opened.lacks_memory;
            if !lacks_memory {
                self.room.made(shared);
            }
            let mut state = shared.state();
            let batches = state.hand_out(opened, now());
            shared.tell_news(&mut state);
            if !batches.is_empty() {
                return Ok(Some(batches));
            }
            // All of it was passed over: control batches, aborted transactions.
            state.begin_poll(now());
            drop(state);
            if lacks_memory && !self.room.make(shared) {
                return Ok(None);
            }
        }
    }

    /// What the application holds, if that leaves no memory to fetch into.
    fn starving_bytes(&self) -> Option<usize> {
        let shared = &self.handle.shared;
        let state = shared.state();
        let usage = shared.pool.usage();
        if self.room.is_lacking() {
            return Some(usage.held()).filter(|held| usage.reading == 0 && *held > 0);
        }
        let is_starving = usage.reading == 0 && (usage.is_waited_for || state.budget.is_exhausted(usage.used));
        (state.buffered.is_empty() && usage.used > 0 && is_starving).then_some(usage.used)
    }

    /// Whether that is so, or a broker has nothing left by what others have.
    fn lacks_memory(&self) -> bool {
        let used = self.handle.shared.pool.usage().used;
        self.starving_bytes().is_some() || self.handle.shared.state().lacks_memory(used)
    }

    /// Paused partitions must not starve the others: what is buffered of them makes room, and is fetched again after
    /// they are resumed.
    fn give_up_paused(&self) -> bool {
        let shared = &self.handle.shared;
        let mut state = shared.state();
        let given_up = state.give_up_paused();
        shared.tell_news(&mut state);
        given_up
    }

    /// Ends the tasks, and waits until they have ended. Requests in flight are left to their connections.
    ///
    /// # Cancel safety
    ///
    /// The tasks end also if the future is dropped.
    pub async fn close(self) {
        let tasks = std::mem::replace(&mut *self.handle.shared.tasks(), Tasks::Ended);
        if let Tasks::Running(alive, supervisor) = tasks {
            drop(alive);
            if let Err(failed) = supervisor.await
                && let Ok(panic) = failed.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        // The supervisor, told by the drop of its sender, ends the other tasks.
        *self.handle.shared.tasks() = Tasks::Ended;
    }
}

impl FetcherHandle {
    /// Replaces the assignment. A partition that was assigned already goes on where it is, unless a start is given;
    /// a new one begins where `start` says, or `auto.offset.reset`.
    pub fn assign(&self, partitions: impl IntoIterator<Item = (TopicPartition, Option<StartAt>)>) -> Result<(), Error> {
        let assignment: BTreeMap<_, _> = partitions.into_iter().collect();
        for (name, start) in &assignment {
            if name.partition < 0 {
                return Err(Error::InvalidPartition { partition: name.clone() });
            }
            if let Some(offset) = start.and_then(StartAt::offset).filter(|offset| *offset < 0) {
                return Err(Error::InvalidOffset { partition: name.clone(), offset });
            }
        }
        self.shared.start_if_possible()?;
        let topics: BTreeSet<_> = assignment.keys().map(|name| Arc::clone(&name.topic)).collect();
        let kept = self.shared.cluster.keep_topics(topics);
        *self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        let metadata = self.shared.cluster.metadata();
        self.shared.state().assign(assignment, &metadata);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// The assigned partitions.
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.shared.state().places.keys().cloned().collect()
    }

    /// Reads on from elsewhere. Nothing of before the call is handed out after it.
    pub fn seek(&self, partition: &TopicPartition, start: StartAt) -> Result<(), Error> {
        self.shared.state().seek(partition, start)?;
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// Reads again from an offset that was handed out and that the application has not come back from. As [`seek`](Self::seek),
    /// but what comes before it counts as read: where the log is truncated before it, that is noticed (KIP-320).
    pub fn go_back(&self, partition: &TopicPartition, offset: i64) -> Result<(), Error> {
        self.shared.state().go_back(partition, offset)?;
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// Stops fetching the partitions, and handing out what has been fetched of them. That is kept, unless
    /// the others need all of `fetch_buffer_max_bytes`: then it is dropped, and fetched again after [`resume`](Self::resume).
    pub fn pause<'p>(&self, partitions: impl IntoIterator<Item = &'p TopicPartition>) -> Result<(), Error> {
        let mut state = self.shared.state();
        partitions.into_iter().try_for_each(|partition| state.pause(partition))
    }

    /// Goes on with paused partitions.
    pub fn resume<'p>(&self, partitions: impl IntoIterator<Item = &'p TopicPartition>) -> Result<(), Error> {
        let resumed = {
            let mut state = self.shared.state();
            partitions.into_iter().try_for_each(|partition| state.resume(partition))
        };
        self.shared.changed.notify_waiters();
        self.shared.ready.notify_one();
        resumed
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        let state = self.shared.state();
        let paused = state.partitions.iter().flatten().filter(|partition| partition.paused);
        paused.map(|partition| partition.name.clone()).collect()
    }

    /// The offset of the next record that the application will see: behind the last one that an iterator has handed it.
    /// `None` while the start is being looked up.
    pub fn position(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        self.shared.state().position(partition)
    }

    /// The same, once it is known.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing.
    pub async fn position_when_known(&self, partition: &TopicPartition, timeout: Duration) -> Result<i64, Error> {
        let known = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(position) = self.position(partition)? {
                    return Ok(position);
                }
                changed.await;
            }
        };
        let timed_out = |_| Err(Error::TimedOut { attempted: "finding the position", timeout, source: None });
        tokio::time::timeout(timeout, known).await.unwrap_or_else(timed_out)
    }

    /// The offset before which there is nothing left to hand out that the application has not come back from: the position,
    /// or, where the broker has said that its log has nothing from there up to its end, that end. Compaction may leave
    /// no record at the end, and a transaction its marker. `None` while the start is being looked up, and of what is not
    /// assigned.
    pub fn nothing_before(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.state().nothing_before(partition)
    }

    /// The offset up to which the application has *come back from* what it was handed: whole batches whose iterator has
    /// returned `None`, and all that was handed out before the last poll. This is what may be committed.
    pub fn completed(&self, partition: &TopicPartition) -> Result<Option<Completed>, Error> {
        self.shared.state().completed(partition)
    }

    /// The same of every partition that is assigned and whose position is known.
    pub fn all_completed(&self) -> BTreeMap<TopicPartition, Completed> {
        self.shared.state().all_completed()
    }

    /// The partitions that were to start at [`StartAt::Committed`] and have not been started, each with the course on which
    /// it waits for that.
    pub fn awaiting(&self) -> BTreeMap<TopicPartition, Course> {
        self.shared.state().awaiting()
    }

    /// Starts a partition that was to start at [`StartAt::Committed`], on the course of which [`awaiting`](Self::awaiting)
    /// told. Does nothing, and says so by `false`, if it has been started or sought since, is not assigned, or was given
    /// up meanwhile and waits anew: a seek of the application goes before what somebody found out, and what was
    /// found out for an earlier assignment may be long out of date.
    pub fn start_awaited(&self, partition: &TopicPartition, course: Course, start: StartAt) -> bool {
        let started = self.shared.state().start_awaited(partition, course, start);
        if started {
            self.shared.changed.notify_waiters();
        }
        started
    }

    /// The oldest position that was lost and reset without telling through poll, if there is one that was not asked for yet:
    /// [`Error::LogTruncated`] or [`Error::TopicRecreated`]. At most 64 are kept.
    pub fn take_reset(&self) -> Option<Error> {
        self.shared.state().resets.pop_front()
    }

    /// Whether the partition is still read on the course that the batch was read on: it has not been sought or given up
    /// since.
    pub fn is_current(&self, batch: &Batch) -> bool {
        let (place, generation) = batch.course();
        let mut state = self.shared.state();
        state.current(place, generation).is_some_and(|partition| partition.name == *batch.topic_partition())
    }

    /// The broker that the partition is fetched from: its leader, or the replica that is closest (`client.rack`, KIP-392). `None`
    /// while it has no leader, and where it is not assigned.
    pub fn fetched_from(&self, partition: &TopicPartition) -> Option<NodeId> {
        let state = self.shared.state();
        let place = state.places.get(partition).copied()?;
        state.partition(place)?.fetched_from()
    }

    /// The high watermark that the last answer told, and so without asking; `None` before the first.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        let state = self.shared.state();
        let place = state.places.get(partition).copied()?;
        state.partition(place)?.high_watermark
    }

    /// What memory holds, and what has become of all that was fetched. Cheap enough to be asked for often.
    pub fn metrics(&self) -> FetchMetrics {
        let totals = self.shared.state().totals();
        let (usage, bound_bytes) = (self.shared.pool.usage(), self.shared.pool.bound());
        let memory = FetchMemory {
            bound_bytes,
            used_bytes: usage.used,
            receiving_bytes: usage.reading,
            buffered_bytes: usage.buffered,
            held_bytes: usage.held(),
            decompressed_bytes: usage.decompressed,
            idle_bytes: usage.idle,
        };
        FetchMetrics { memory, totals }
    }

    /// Looks up offsets, of any partitions, assigned or not; `None` for those that have no such offset. What goes away
    /// by itself is tried again until `timeout` is over.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the lookup; it changes nothing.
    pub async fn lookup(
        &self,
        wanted: BTreeMap<TopicPartition, Lookup>,
        timeout: Duration,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, Error> {
        let mut last = None;
        let looked_up = tokio::time::timeout(timeout, self.lookup_until_found(wanted, &mut last)).await;
        match looked_up {
            Ok(found) => found,
            Err(_) => Err(Error::TimedOut { attempted: "looking up offsets", timeout, source: last.map(Box::new) }),
        }
    }

    async fn lookup_until_found(
        &self,
        mut wanted: BTreeMap<TopicPartition, Lookup>,
        last: &mut Option<Error>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, Error> {
        let cluster = &self.shared.cluster;
        let mut backoff = cluster.backoff();
        let mut found = BTreeMap::new();
        for failures in 1u32.. {
            let topics: BTreeSet<_> = wanted.keys().map(|name| Arc::clone(&name.topic)).collect();
            for topic in topics {
                cluster.topic(&topic).await?;
            }
            let metadata = cluster.metadata();
            let with_leader = wanted.iter().filter_map(|(name, lookup)| {
                let leader = metadata.leader(&name.topic, name.partition)?;
                Some((name.clone(), leader, *lookup))
            });
            let requests = group(with_leader, self.shared.isolation, LOOKUP_TIMEOUT_MS, &self.shared.wall_clock);
            let asked = requests.into_iter().map(|request| {
                let cluster = cluster.clone();
                Box::pin(async move {
                    let to = ottla_cluster::Destination::Node(request.node);
                    let answer = cluster.request(to, &request.request).await;
                    (request, answer)
                })
            });
            for (request, answer) in driver::all(asked.collect()).await {
                let response = match answer {
                    Ok(response) => response,
                    Err(error) if error.is_retriable() => {
                        *last = Some(Error::Cluster(error));
                        continue;
                    }
                    Err(error) => return Err(Error::Cluster(error)),
                };
                for (partition, _, looked_up) in request.read(response) {
                    match looked_up {
                        LookedUp::Found(offset) => {
                            wanted.remove(&partition);
                            found.insert(partition, offset);
                        }
                        LookedUp::Refused(error_code) => {
                            let (attempted, node) = ("ListOffsets", request.node);
                            let error = Error::Refused { attempted, partition, node, error_code };
                            if !is_answered_by_waiting(error_code) {
                                return Err(error);
                            }
                            *last = Some(error);
                        }
                    }
                }
            }
            if wanted.is_empty() {
                break;
            }
            cluster.request_refresh(Topics::named(wanted.keys().map(|name| Arc::clone(&name.topic))));
            tokio::time::sleep(backoff.next_delay(failures)).await;
        }
        Ok(found)
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all that is buffered but what came with the first of it. False if there is nothing.
    pub(crate) fn give_up_all_but_first(&self) -> bool {
        let mut state = self.state();
        let given_up = state.give_up_all_but_first();
        self.tell_news(&mut state);
        given_up
    }

    pub(crate) fn tell_news(&self, state: &mut State) {
        if std::mem::take(&mut state.is_news) {
            self.changed.notify_waiters();
        }
    }

    /// Returns whether there is nothing to hand out.
    fn begin_poll(&self) -> bool {
        let mut state = self.state();
        state.begin_poll(now());
        state.buffered.is_empty()
    }

    /// Passes on what an answer told beside its records.
    pub(crate) fn pass_on(&self, hints: Hints) {
        for node in hints.nodes {
            self.cluster.observe_node(node);
        }
        for (partition, leader) in hints.leaders {
            self.cluster.observe_leader(&partition, leader);
        }
    }

    fn start(self: &Arc<Self>) -> Result<(), Error> {
        self.start_if_possible()?;
        if matches!(*self.tasks(), Tasks::NotStarted) { Err(Error::NoRuntime) } else { Ok(()) }
    }

    /// Starts the tasks, unless they have been, or there is no runtime yet.
    fn start_if_possible(self: &Arc<Self>) -> Result<(), Error> {
        let mut tasks = self.tasks();
        match *tasks {
            Tasks::Running(..) => return Ok(()),
            Tasks::Ended => return Err(Error::Closed),
            Tasks::NotStarted => {}
        }
        if let Ok(runtime) = self.cluster.runtime() {
            let (alive, ended) = oneshot::channel();
            let supervisor = runtime.spawn(driver::supervise(Arc::clone(self), ended));
            *tasks = Tasks::Running(alive, supervisor);
        }
        Ok(())
    }
}

/// How long the application's hold on all memory is put up with before it is told.
const BUFFER_HELD_AFTER: Duration = Duration::from_millis(500);
/// Longer than any program runs, and short enough to be added to any clock.
const LONGEST_WAIT: Duration = Duration::from_hours(30 * 365 * 24);
