//! All that the fetcher knows, and what is to be done next. Does no I/O and reads no clock.
//!
//! One [`State`] stands behind a lock that is taken a few times per answer and per poll, never per record and never over
//! an await. The tasks of the [driver](crate::driver) ask it what to send ([`plan`](crate::plan)), hand it what came
//! back ([`answer`](crate::answer), [`lookup`](crate::lookup)) and wait until it says so; the application's calls change
//! it directly, so that a seek or a pause holds from the moment when its call returns.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::{Backoff, Metadata};
use ottla_wire::{ErrorCode, NodeId, TopicPartition};

use crate::answer::is_answered_by_waiting;
use crate::budget::Budget;
use crate::buffered::{Buffered, Failure};
use crate::changed::{Broker, Changed};
use crate::handed_out::{Completed, HandedOut};
use crate::position::{Course, Partition, Phase, Refusal};
use crate::replica::Unreached;
use crate::silence::LookupInFlight;
use crate::{Error, FetchTotals, FetcherConfig, StartAt};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: FetcherConfig,
    pub(crate) budget: Budget,
    /// The assigned partitions, each in a place that it keeps.
    pub(crate) partitions: Vec<Option<Partition>>,
    pub(crate) places: BTreeMap<TopicPartition, usize>,
    pub(crate) brokers: BTreeMap<NodeId, Broker>,
    pub(crate) changed: Changed,
    pub(crate) buffered: Buffered,
    pub(crate) handed_out: HandedOut,
    /// What has become of all that was fetched, but for what is dropped from the queue: that is [`Buffered`]'s.
    pub(crate) totals: FetchTotals,
    /// The lookups of starts that are in flight.
    pub(crate) lookups: Vec<LookupInFlight>,
    /// Partitions of which a leader is, or was, to be asked whether it has what was read; and those of which one has not.
    pub(crate) to_validate: BTreeSet<usize>,
    pub(crate) truncated: BTreeSet<usize>,
    /// Partitions of topics that were made anew, of which the application has yet to be handed what was received of the former.
    pub(crate) recreated: BTreeSet<usize>,
    /// The brokers that there are.
    pub(crate) known_nodes: BTreeSet<NodeId>,
    /// How long a replica is read from before the leader is asked again (`metadata.max.age.ms`).
    pub(crate) replica_max_age: Duration,
    /// When the first of the replicas that are read from has had its time; `None`: none is.
    pub(crate) replicas_expire_at: Option<Instant>,
    /// Replicas, each with the leader that named it.
    pub(crate) unreached_replicas: BTreeMap<(NodeId, NodeId), Unreached>,
    /// What was done about lost positions without the application: the errors, as many as are kept, and the partitions.
    pub(crate) resets: VecDeque<Error>,
    pub(crate) reset_partitions: BTreeSet<TopicPartition>,
    /// Topics about which the cluster is to be asked.
    pub(crate) stale_topics: BTreeSet<Arc<str>>,
    /// Whether a poll, or a partition that has to wait, has changed what the tasks have to do.
    pub(crate) is_news: bool,
    /// Whether a partition may be awaiting its start: saves looking at all of them in each poll.
    may_await: bool,
    free_places: Vec<usize>,
    backoff: Backoff,
    pub(crate) generations: u64,
}

impl State {
    pub(crate) fn new(config: FetcherConfig, backoff: Backoff) -> Self {
        let fetch_max = usize::try_from(config.fetch_max_bytes).unwrap_or(1);
        Self {
            budget: Budget::new(config.fetch_buffer_max_bytes, fetch_max).for_polls_of(config.max_poll_bytes),
            config,
            partitions: Vec::new(),
            places: BTreeMap::new(),
            brokers: BTreeMap::new(),
            changed: Changed::default(),
            buffered: Buffered::default(),
            handed_out: HandedOut::default(),
            totals: FetchTotals::default(),
            lookups: Vec::new(),
            to_validate: BTreeSet::new(),
            truncated: BTreeSet::new(),
            recreated: BTreeSet::new(),
            known_nodes: BTreeSet::new(),
            replica_max_age: Duration::from_mins(5),
            replicas_expire_at: None,
            unreached_replicas: BTreeMap::new(),
            resets: VecDeque::new(),
            reset_partitions: BTreeSet::new(),
            stale_topics: BTreeSet::new(),
            is_news: false,
            may_await: false,
            free_places: Vec::new(),
            backoff,
            generations: 0,
        }
    }

    /// Replaces the assignment. A partition that was assigned already goes on where it is, unless a start is given.
    pub(crate) fn assign(&mut self, assignment: BTreeMap<TopicPartition, Option<StartAt>>, metadata: &Metadata) {
        let gone: Vec<_> = self.places.keys().filter(|name| !assignment.contains_key(*name)).cloned().collect();
        let gone = gone.iter().filter_map(|name| self.unassign(name)).collect();
        self.buffered.forget(&gone);
        for (name, start) in assignment {
            match (self.places.get(&name).copied(), start) {
                (Some(place), Some(start)) => self.start(place, start),
                (Some(_), None) => {}
                (None, start) => self.add(name, start.unwrap_or_default()),
            }
        }
        self.update_metadata(metadata);
    }

    fn add(&mut self, name: TopicPartition, start: StartAt) {
        self.may_await |= start == StartAt::Committed;
        let generation = self.new_generation();
        let partition = Partition::new(name.clone(), generation, start, self.config.auto_offset_reset);
        let place = self.free_places.pop().unwrap_or_else(|| {
            self.partitions.push(None);
            self.partitions.len() - 1
        });
        self.places.insert(name, place);
        if let Some(slot) = self.partitions.get_mut(place) {
            *slot = Some(partition);
        }
        self.partition_mut(place);
        self.to_validate.insert(place);
    }

    /// Returns where the partition had its place.
    fn unassign(&mut self, name: &TopicPartition) -> Option<usize> {
        let place = self.places.remove(name)?;
        self.reset_partitions.remove(name);
        self.unlist_place(place);
        if let Some(slot) = self.partitions.get_mut(place) {
            *slot = None;
        }
        self.free_places.push(place);
        Some(place)
    }

    /// Reads on from elsewhere. What is buffered is dropped, and what is in flight will be.
    pub(crate) fn seek(&mut self, name: &TopicPartition, start: StartAt) -> Result<(), Error> {
        if let Some(offset) = start.offset().filter(|offset| *offset < 0) {
            return Err(Error::InvalidOffset { partition: name.clone(), offset });
        }
        let place = self.place(name)?;
        let recreation = self.partition(place).and_then(Partition::recreation);
        self.start(place, start);
        if let Some(recreation) = recreation {
            // The application could not know of it.
            self.push_reset(Error::of_refusal(name.clone(), Refusal::Recreated(recreation)));
        }
        Ok(())
    }

    /// Reads again from an offset that was handed out, on a new course. What was read before it is still known, and compared with
    /// the log.
    pub(crate) fn go_back(&mut self, name: &TopicPartition, offset: i64) -> Result<(), Error> {
        let place = self.place(name)?;
        let (generation, policy) = (self.new_generation(), self.config.auto_offset_reset);
        self.buffered.discard(place);
        if let Some(partition) = self.partition_mut(place) {
            partition.go_back(generation, offset, policy);
        }
        self.to_validate.insert(place);
        Ok(())
    }

    pub(crate) fn start(&mut self, place: usize, start: StartAt) {
        let (generation, policy) = (self.new_generation(), self.config.auto_offset_reset);
        self.may_await |= start == StartAt::Committed;
        self.buffered.discard(place);
        if let Some(partition) = self.partition_mut(place) {
            partition.start(generation, start, policy);
        }
        self.to_validate.insert(place);
    }

    /// Stops fetching a partition and handing out what is buffered of it, which is kept while there is memory.
    pub(crate) fn pause(&mut self, name: &TopicPartition) -> Result<(), Error> {
        let place = self.place(name)?;
        if let Some(partition) = self.partition_mut(place) {
            partition.paused = true;
        }
        self.buffered.pause(place);
        Ok(())
    }

    /// Goes on with a paused partition, what is buffered first.
    pub(crate) fn resume(&mut self, name: &TopicPartition) -> Result<(), Error> {
        let place = self.place(name)?;
        if let Some(partition) = self.partition_mut(place) {
            partition.paused = false;
        }
        self.buffered.resume(place);
        Ok(())
    }

    /// Drops what is buffered of paused partitions, so that its memory serves the others: it will be fetched again.
    /// False if there is nothing.
    pub(crate) fn give_up_paused(&mut self) -> bool {
        let given_up = self.buffered.give_up_paused();
        self.fetch_again(&given_up)
    }

    /// Drops all that is buffered but what came with the first of it, so that there is memory to open that: the rest will be
    /// fetched again. False if there is nothing.
    pub(crate) fn give_up_all_but_first(&mut self) -> bool {
        let given_up = self.buffered.give_up_all_but_first();
        self.fetch_again(&given_up)
    }

    fn fetch_again(&mut self, given_up: &[(usize, u64, i64)]) -> bool {
        for (place, generation, position) in given_up {
            if let Some(partition) = self.current(*place, *generation) {
                partition.rewind(*position);
            }
        }
        self.is_news |= !given_up.is_empty();
        !given_up.is_empty()
    }

    /// What has been fetched, and what became of it.
    pub(crate) fn totals(&self) -> FetchTotals {
        let (mut totals, dropped) = (self.totals, self.buffered.dropped());
        totals.unwanted_bytes += dropped.unwanted;
        totals.given_up_bytes += dropped.given_up;
        totals
    }

    /// The offset of the next record that the application will be handed, as far as it is known.
    pub(crate) fn position(&self, name: &TopicPartition) -> Result<Option<i64>, Error> {
        let place = self.place(name)?;
        let Some(partition) = self.partition(place) else { return Ok(None) };
        let handed = self.handed_out.position(place, partition.generation);
        Ok(handed.or(partition.position))
    }

    /// The offset before which there is nothing to hand out that the application has not come back from, as far as
    /// is known: the position, or, where the broker has been asked for what is there and had nothing at all, the end of the log.
    /// (An answer that brings others' records tells nothing: there may have been no room for more.)
    pub(crate) fn nothing_before(&self, name: &TopicPartition) -> Option<i64> {
        let partition = self.partition(self.place(name).ok()?)?;
        let position = partition.position?;
        let is_committed = self.config.isolation_level == crate::IsolationLevel::ReadCommitted;
        let end = if is_committed { partition.last_stable_offset } else { partition.high_watermark };
        let broker = partition.listed.at.and_then(|node| self.brokers.get(&node));
        let has_nothing = partition.fetch_offset() == Some(position)
            && partition
                .asked
                .zip(broker)
                .is_some_and(|((offset, after), broker)| offset == position && broker.empty_handed > after);
        Some(end.filter(|_| has_nothing).map_or(position, |end| end.max(position)))
    }

    /// The offset up to which the application has come back from what it was handed.
    pub(crate) fn completed(&self, name: &TopicPartition) -> Result<Option<Completed>, Error> {
        let place = self.place(name)?;
        let Some(partition) = self.partition(place) else { return Ok(None) };
        Ok(partition.completed(self.handed_out.completed(place, partition.generation)))
    }

    /// The same of every partition whose position is known.
    pub(crate) fn all_completed(&self) -> BTreeMap<TopicPartition, Completed> {
        let handed_out = self.handed_out.all_completed();
        let completed = |(name, place): (&TopicPartition, &usize)| {
            let partition = self.partition(*place)?;
            let completed = handed_out.get(&(*place, partition.generation)).copied();
            Some((name.clone(), partition.completed(completed)?))
        };
        self.places.iter().filter_map(completed).collect()
    }

    /// The partitions whose start somebody else is to find out, each with the course that waits for it.
    pub(crate) fn awaiting(&mut self) -> BTreeMap<TopicPartition, Course> {
        if !self.may_await {
            return BTreeMap::new();
        }
        let awaiting = self.stranded().filter(|(_, partition)| partition.phase == Phase::Awaiting);
        let awaiting: BTreeMap<_, _> =
            awaiting.map(|(_, partition)| (partition.name.clone(), Course(partition.generation))).collect();
        self.may_await = !awaiting.is_empty();
        awaiting
    }

    /// Starts a partition that waits for that on this course. False if it does not: it was sought meanwhile, or is gone, or
    /// was given up and waits anew.
    pub(crate) fn start_awaited(&mut self, name: &TopicPartition, course: Course, start: StartAt) -> bool {
        let Ok(place) = self.place(name) else { return false };
        let is_awaiting = self.current(place, course.0).is_some_and(|partition| partition.phase == Phase::Awaiting);
        if is_awaiting {
            self.start(place, start);
        }
        is_awaiting
    }

    /// Takes in what is known of the cluster.
    pub(crate) fn update_metadata(&mut self, metadata: &Metadata) {
        self.update_nodes(metadata);
        for place in 0..self.partitions.len() {
            // Only those are touched of which it says something new.
            if self.partition(place).is_some_and(|partition| partition.is_news(metadata)) {
                self.update_partition(place, metadata);
            }
        }
        self.sort();
        self.drop_idle_brokers();
        self.doubt_silent_brokers();
    }

    fn update_partition(&mut self, place: usize, metadata: &Metadata) {
        let Some(partition) = self.partition_mut(place) else { return };
        partition.update_leader(metadata);
        if partition.recreation().is_some() {
            self.recreated.insert(place);
        }
        if self.partition(place).is_some_and(Partition::needs_validation) {
            self.to_validate.insert(place);
        }
    }

    /// The brokers from which partitions are fetched.
    pub(crate) fn nodes(&mut self) -> Vec<NodeId> {
        self.sort();
        self.fetched_brokers().map(|(node, _)| *node).collect()
    }

    /// Has the cluster asked about partitions without a known leader, again and again until they have one.
    pub(crate) fn ask_for_leaders(&mut self, now: Instant) {
        let leaderless = |(place, partition): (usize, &Partition)| {
            let is_due = partition.leader.is_none() && !partition.untold && partition.is_due(now);
            is_due.then(|| (place, partition.generation, partition.refusal()))
        };
        let leaderless: Vec<_> = self.stranded().filter_map(leaderless).collect();
        for (place, generation, refusal) in leaderless {
            self.refresh(place);
            match refusal {
                Some(error) => self.fail(place, generation, Error::Cluster(error), now),
                None => self.retry_later(place, generation, now),
            }
        }
    }

    /// Something to tell the application about a partition went wrong; it is tried again after a while.
    pub(crate) fn fail(&mut self, place: usize, generation: u64, error: Error, now: Instant) {
        self.retry_later(place, generation, now);
        let Some(partition) = self.current(place, generation) else { return };
        partition.untold = true;
        self.buffered.push_failure(place, generation, Failure::Tell(error));
    }

    /// A broker has answered what was attempted with an error for a partition.
    pub(crate) fn refused(
        &mut self,
        attempted: &'static str,
        node: NodeId,
        place: usize,
        generation: u64,
        error_code: ErrorCode,
        now: Instant,
    ) {
        if is_answered_by_waiting(error_code) {
            self.refresh(place);
            self.retry_later(place, generation, now);
        } else if let Some(partition) = self.partition(place).map(|partition| partition.name.clone()) {
            self.fail(place, generation, Error::Refused { attempted, partition, node, error_code }, now);
        }
    }

    /// Something that goes away by itself went wrong; it is tried again after a while.
    pub(crate) fn retry_later(&mut self, place: usize, generation: u64, now: Instant) {
        let Some(failures) = self.current(place, generation).map(|partition| partition.failures) else { return };
        let not_before = now + self.delay(failures);
        if let Some(partition) = self.current(place, generation) {
            partition.failed(not_before);
            self.is_news = true;
        }
    }

    /// How long to wait after so many failures in a row and one more.
    pub(crate) fn delay(&mut self, failures: u32) -> Duration {
        self.backoff.next_delay(failures.saturating_add(1))
    }

    /// The cluster is to be asked about the partition's topic.
    pub(crate) fn refresh(&mut self, place: usize) {
        if let Some(topic) = self.partition(place).map(|partition| Arc::clone(&partition.name.topic)) {
            self.stale_topics.insert(topic);
        }
    }

    pub(crate) fn new_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }

    pub(crate) fn partition(&self, place: usize) -> Option<&Partition> {
        self.partitions.get(place)?.as_ref()
    }

    /// The partition, unless its course has changed since.
    pub(crate) fn current(&mut self, place: usize, generation: u64) -> Option<&mut Partition> {
        self.is_current(place, generation).then(|| self.partition_mut(place)).flatten()
    }

    /// Whether the partition is there, and its course has not changed since.
    pub(crate) fn is_current(&self, place: usize, generation: u64) -> bool {
        self.partition(place).is_some_and(|partition| partition.generation == generation)
    }

    fn place(&self, name: &TopicPartition) -> Result<usize, Error> {
        self.places.get(name).copied().ok_or_else(|| Error::NotAssigned { partition: name.clone() })
    }
}
