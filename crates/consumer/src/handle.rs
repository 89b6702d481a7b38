//! Everything of a consumer but polling and closing, for any number of tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_coordinator::{Assigned, CoordinatorHandle, GroupMetadata};
use ottla_fetcher::{FetchMetrics, FetcherHandle, Lookup, OffsetAndTimestamp, StartAt};
use ottla_wire::{NodeId, TopicPartition};

use crate::Error;
use crate::background::BackgroundError;
use crate::shared::Shared;
use crate::subscription::Subscription;
use crate::topic_pattern::TopicPattern;

/// A consumer's handle: cheap to clone, usable from any task while the consumer polls. What it does holds from the
/// moment when the call returns.
#[derive(Clone, Debug)]
pub struct ConsumerHandle {
    shared: Arc<Shared>,
}

impl ConsumerHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn fetcher(&self) -> &FetcherHandle {
        &self.shared.fetcher
    }

    /// Reads these topics together with the other members of the group, each of which is assigned some of their
    /// partitions. Replaces the topics of before. The next [`poll`](crate::Consumer::poll) joins the group, or has it
    /// rebalance; a topic that does not exist (yet) is read as soon as it does.
    ///
    /// # Errors
    ///
    /// [`Error::NoGroup`] without `group.id`; [`Error::MixedSubscription`] if partitions are assigned by the
    /// application; [`Error::NoTopics`] if there are none: [`unsubscribe`](crate::Consumer::unsubscribe) leaves.
    pub fn subscribe<T: Into<Arc<str>>>(&self, topics: impl IntoIterator<Item = T>) -> Result<(), Error> {
        let group = self.shared.group("subscribing to topics")?;
        let topics: BTreeSet<Arc<str>> = topics.into_iter().map(Into::into).collect();
        if topics.is_empty() {
            return Err(Error::NoTopics);
        }
        self.shared.state().subscription.subscribe(Subscription::Topics(topics.clone()))?;
        group.subscribe(topics);
        self.shared.woken.notify_one();
        Ok(())
    }

    /// Reads the topics whose names match, those that exist and those that come, but for Kafka's own; otherwise as
    /// [`subscribe`](Self::subscribe). The cluster is asked for all its topics every `metadata.max.age.ms`, and a
    /// rebalance follows when others match than before.
    ///
    /// The pattern is any function, so that it can be a prefix as well as a regular expression of one's own choice:
    ///
    /// ```
    /// # fn subscribe(consumer: &ottla_consumer::Consumer) -> Result<(), ottla_consumer::Error> {
    /// consumer.subscribe_matching(|topic| topic.starts_with("letters-"))
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoGroup`] without `group.id`; [`Error::MixedSubscription`] if partitions are assigned by the application.
    pub fn subscribe_matching(&self, picks: impl Fn(&str) -> bool + Send + Sync + 'static) -> Result<(), Error> {
        self.shared.group("subscribing to topics")?;
        let mut state = self.shared.state();
        state.subscription.subscribe(Subscription::Matching(TopicPattern::new(picks), None))?;
        state.ask_for_topics.restart();
        drop(state);
        self.shared.matched();
        self.shared.woken.notify_one();
        Ok(())
    }

    /// The topics that are subscribed to; none where partitions are assigned by the application.
    pub fn subscription(&self) -> BTreeSet<Arc<str>> {
        self.shared.state().subscription.topics().cloned().unwrap_or_default()
    }

    /// Whether the group is waiting for this consumer to come back and [`poll`](crate::Consumer::poll): a rebalance has
    /// begun. Whoever takes long over what was handed out can stop early; where that is in the middle of a batch, it has to
    /// [seek](Self::seek) to its [position](Self::position_now) first, as the next poll counts all of it as done.
    pub fn rebalance_pending(&self) -> bool {
        self.shared.group.as_ref().is_some_and(CoordinatorHandle::is_rebalance_pending)
    }

    /// Has the group rebalance, for a reason that the other members can be told (KIP-568). Does nothing where this
    /// consumer is no member.
    ///
    /// # Errors
    ///
    /// [`Error::NoGroup`].
    pub fn enforce_rebalance(&self, reason: &str) -> Result<(), Error> {
        self.shared.group("a rebalance").map(|group| group.rejoin(reason))
    }

    /// Who this consumer is in its group; `None` while it is no member, and while it joins.
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        self.shared.group.as_ref().and_then(CoordinatorHandle::membership)
    }

    /// The newest assignment by the group: generation, leader, assignor, what this member got and why it had rejoined, and
    /// on the leader what every other member got.
    pub fn last_assigned(&self) -> Option<Arc<Assigned>> {
        self.shared.state().assigned.clone()
    }

    /// The next failure of something that the consumer tries again by itself, as soon as there is one, each loss of the
    /// membership, and each position that was lost and set anew ([`LogTruncated`](ottla_fetcher::Error::LogTruncated),
    /// [`TopicRecreated`](ottla_fetcher::Error::TopicRecreated)); `None` when the consumer is closed or dropped and all have been told. At most 64 are kept; when
    /// nobody reads, the oldest go, and are counted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no failure.
    pub async fn next_error(&self) -> Option<BackgroundError> {
        self.shared.errors.next().await
    }

    /// The same, if there is one now.
    pub fn take_error(&self) -> Option<BackgroundError> {
        self.shared.errors.take()
    }

    /// Reads these partitions, and no others. One that was assigned already goes on where it is; a new one starts at the
    /// group's committed offset, or, without one or without a group, as `auto.offset.reset` says.
    ///
    /// # Errors
    ///
    /// [`Error::MixedSubscription`] if topics are subscribed to.
    pub fn assign(&self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<(), Error> {
        let assigned = self.fetcher().assignment();
        let start = |partition: &TopicPartition| {
            let is_new = self.shared.group.is_some() && !assigned.contains(partition);
            is_new.then_some(StartAt::Committed)
        };
        self.assign_all(partitions.into_iter().map(|partition| {
            let start = start(&partition);
            (partition, start)
        }))
    }

    /// Reads these partitions, and no others, each from where it says.
    ///
    /// # Errors
    ///
    /// As [`assign`](Self::assign); [`Error::NoGroup`] for [`StartAt::Committed`].
    pub fn assign_at(&self, partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>) -> Result<(), Error> {
        let partitions: Vec<_> = partitions.into_iter().map(|(partition, start)| (partition, Some(start))).collect();
        for (_, start) in &partitions {
            self.check_start(*start)?;
        }
        self.assign_all(partitions)
    }

    fn assign_all(&self, partitions: impl IntoIterator<Item = (TopicPartition, Option<StartAt>)>) -> Result<(), Error> {
        let partitions: BTreeMap<_, _> = partitions.into_iter().collect();
        self.shared.state().subscription.check_assign()?;
        // What is about to be given up was come back from up to here.
        self.shared.commit_in_background();
        let assigned: BTreeSet<_> = partitions.keys().cloned().collect();
        let on_course = partitions.iter().filter(|(_, start)| start.is_none()).map(|(name, _)| name.clone()).collect();
        self.fetcher().assign(partitions)?;
        self.shared.state().subscription.assigned(assigned.is_empty());
        self.shared.keep_only(&assigned, &on_course);
        assigned.difference(&on_course).for_each(|partition| self.shared.channels.discard(partition));
        self.shared.channels.tell_change();
        self.shared.woken.notify_one();
        Ok(())
    }

    fn check_start(&self, start: Option<StartAt>) -> Result<(), Error> {
        match start {
            Some(StartAt::Committed) => self.shared.group("reading from the committed offset").map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Reads all partitions that the topic has now, and no others.
    ///
    /// # Errors
    ///
    /// [`Error::Cluster`] if the topic does not exist, or does not within `default.api.timeout.ms`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the assignment as it was.
    pub async fn assign_topic(&self, topic: &str) -> Result<(), Error> {
        self.assign(self.partitions_of(topic).await?)
    }

    /// All partitions that the topic has now.
    pub(crate) async fn partitions_of(&self, topic: &str) -> Result<Vec<TopicPartition>, Error> {
        let metadata = self.shared.cluster.topic_within(topic, self.shared.timeouts.default_api).await?;
        let known = metadata.partitions.iter();
        Ok(known.map(|known| TopicPartition::new(metadata.name.clone(), known.partition)).collect())
    }

    /// The partitions that are read.
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.fetcher().assignment()
    }

    /// Reads on from this offset. What was buffered of the partition is dropped: no record of before the seek is handed
    /// out after it. An offset that the log does not have is answered as `auto.offset.reset` says.
    pub fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<(), Error> {
        self.seek_to(partition, StartAt::Offset(offset))
    }

    /// Reads on from one end of the log, from a time, from the committed offset, or from an offset with the leader epoch of the record
    /// before it ([`StartAt::offset_and_epoch`]): then the leader is asked first whether its log still has that record.
    pub fn seek_to(&self, partition: &TopicPartition, start: StartAt) -> Result<(), Error> {
        self.check_start(Some(start))?;
        self.fetcher().seek(partition, start)?;
        self.shared.change_course(partition);
        self.shared.woken.notify_one();
        Ok(())
    }

    /// Stops handing out records of these partitions, and fetching more. What has been fetched is kept for
    /// [`resume`](Self::resume), unless the other partitions need its memory: then it is fetched again after that.
    pub fn pause<'p>(&self, partitions: impl IntoIterator<Item = &'p TopicPartition>) -> Result<(), Error> {
        for partition in partitions {
            // First, so that nobody goes on with it in between.
            self.shared.state().paused.insert(partition.clone());
            let paused = self.fetcher().pause([partition]);
            if paused.is_err() {
                self.shared.state().paused.remove(partition);
            }
            paused?;
        }
        Ok(())
    }

    /// Goes on with paused partitions, without losing or fetching again what was kept.
    pub fn resume<'p>(&self, partitions: impl IntoIterator<Item = &'p TopicPartition>) -> Result<(), Error> {
        for partition in partitions {
            self.shared.state().paused.remove(partition);
            // A partition's stream that is full goes on when it has room.
            if !self.shared.channels.is_full(partition) {
                self.fetcher().resume([partition])?;
            }
        }
        Ok(())
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        let assigned = self.fetcher().assignment();
        self.shared.state().paused.intersection(&assigned).cloned().collect()
    }

    /// The offset of the next record of the partition: behind the last one that an iterator has handed the application.
    /// Waits while the start is being looked up.
    ///
    /// # Errors
    ///
    /// An error of the partition, if it is not assigned; [`Error::Group`] if its committed offset cannot be found out. If the start has not been found within
    /// `default.api.timeout.ms`, [`Error::Cluster`] with what the cluster says of the topic, where that is an error, and
    /// [`ottla_fetcher::Error::TimedOut`] where it is not.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing.
    pub async fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        if self.fetcher().awaiting().contains_key(partition) {
            self.shared.start_at_committed().await?;
        }
        let known = self.fetcher().position_when_known(partition, self.shared.timeouts.default_api).await;
        known.map_err(|error| self.explained(error, [partition]))
    }

    /// The position, if it is known now.
    pub fn position_now(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        Ok(self.fetcher().position(partition)?)
    }

    /// The offset up to which the application has come back from what it was handed: what may be committed. A batch is
    /// come back from when its iterator has returned `None`, or when the next poll begins; what a stream handed out, when it
    /// and all before it was [marked](Self::mark_processed).
    pub fn completed(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        Ok(self.shared.completed_of(partition)?.map(|completed| completed.offset))
    }

    /// How many records are between the position and the end of the replicated log, as the last answer told; `None`
    /// before the first.
    pub fn lag(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        let position = self.fetcher().position(partition)?;
        let end = self.fetcher().high_watermark(partition);
        Ok(position.zip(end).map(|(position, end)| end.saturating_sub(position).max(0)))
    }

    /// The broker that the partition is fetched from: its leader, or the replica that is closest (`client.rack`, KIP-392). `None`
    /// while it has no leader, and where it is not assigned.
    pub fn fetched_from(&self, partition: &TopicPartition) -> Option<NodeId> {
        self.fetcher().fetched_from(partition)
    }

    /// What memory is used for, of which at most `fetch.buffer.max.bytes` unless a single batch is larger, and what has
    /// become of all that was fetched. Cheap enough to be asked for often: it takes two locks for a moment, and sends
    /// nothing.
    pub fn fetch_metrics(&self) -> FetchMetrics {
        self.fetcher().metrics()
    }

    /// The first offset that each partition's log has.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing.
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        self.ends(partitions, Lookup::Earliest).await
    }

    /// The offset behind the last record of each partition; under read_committed, behind the last stable one.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        self.ends(partitions, Lookup::Latest).await
    }

    /// The first record of each partition whose timestamp is the one given or later, in milliseconds since 1970;
    /// `None` where there is none.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing.
    pub async fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, i64)>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, Error> {
        self.lookup(times.into_iter().map(|(partition, time)| (partition, Lookup::Timestamp(time)))).await
    }

    /// Offsets of any kind; `None` where the log has no such record.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing.
    pub async fn lookup(
        &self,
        wanted: impl IntoIterator<Item = (TopicPartition, Lookup)>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, Error> {
        let wanted: BTreeMap<_, _> = wanted.into_iter().collect();
        let found = self.fetcher().lookup(wanted.clone(), self.shared.timeouts.default_api).await;
        found.map_err(|error| self.explained(error, wanted.keys()))
    }

    /// The error; or, where time ran out and nothing says why, what the cluster has against one of the topics.
    fn explained<'p>(
        &self,
        error: ottla_fetcher::Error,
        partitions: impl IntoIterator<Item = &'p TopicPartition>,
    ) -> Error {
        if matches!(error, ottla_fetcher::Error::TimedOut { source: None, .. }) {
            let metadata = self.shared.cluster.metadata();
            let refused = |partition: &TopicPartition| {
                let known = metadata.topic(&partition.topic)?;
                Some(ottla_cluster::Error::Topic { topic: known.name.clone(), error_code: known.error? })
            };
            if let Some(reason) = partitions.into_iter().find_map(refused) {
                return Error::Cluster(reason);
            }
        }
        error.into()
    }

    async fn ends(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        lookup: Lookup,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let found = self.lookup(partitions.into_iter().map(|partition| (partition, lookup))).await?;
        let end = |(partition, found): (TopicPartition, Option<OffsetAndTimestamp>)| match found {
            Some(found) => Ok((partition, found.offset)),
            None => Err(Error::Fetch(ottla_fetcher::Error::NoOffset { partition, lookup })),
        };
        found.into_iter().map(end).collect()
    }
}
