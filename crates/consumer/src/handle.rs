//! Everything of a consumer but polling and closing, for any number of tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_cluster::Cluster;
use ottla_fetcher::{FetcherHandle, Lookup, OffsetAndTimestamp, StartAt};
use ottla_wire::TopicPartition;

use crate::Error;

/// A consumer's handle: cheap to clone, usable from any task while the consumer polls. What it does holds from the
/// moment when the call returns.
#[derive(Clone, Debug)]
pub struct ConsumerHandle {
    cluster: Cluster,
    fetcher: FetcherHandle,
    default_api_timeout: Duration,
}

impl ConsumerHandle {
    pub(crate) fn new(cluster: Cluster, fetcher: FetcherHandle, default_api_timeout: Duration) -> Self {
        Self { cluster, fetcher, default_api_timeout }
    }

    /// Reads these partitions, and no others. One that was assigned already goes on where it is; a new one starts as
    /// `auto.offset.reset` says.
    pub fn assign(&self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<(), Error> {
        Ok(self.fetcher.assign(partitions.into_iter().map(|partition| (partition, None)))?)
    }

    /// Reads these partitions, and no others, each from where it says.
    pub fn assign_at(&self, partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>) -> Result<(), Error> {
        Ok(self.fetcher.assign(partitions.into_iter().map(|(partition, start)| (partition, Some(start))))?)
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
        let metadata = self.cluster.topic_within(topic, self.default_api_timeout).await?;
        let name = &metadata.name;
        self.assign(metadata.partitions.iter().map(|known| TopicPartition::new(name.clone(), known.partition)))
    }

    /// The partitions that are read.
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.fetcher.assignment()
    }

    /// Reads on from this offset. What was buffered of the partition is dropped: no record of before the seek is handed
    /// out after it. An offset that the log does not have is answered as `auto.offset.reset` says.
    pub fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<(), Error> {
        self.seek_to(partition, StartAt::Offset(offset))
    }

    /// Reads on from one end of the log, or from a time.
    pub fn seek_to(&self, partition: &TopicPartition, start: StartAt) -> Result<(), Error> {
        Ok(self.fetcher.seek(partition, start)?)
    }

    /// Stops handing out records of these partitions, and fetching more. What has been fetched is kept for
    /// [`resume`](Self::resume), unless the other partitions need its memory: then it is fetched again after that.
    pub fn pause<'p>(&self, partitions: impl IntoIterator<Item = &'p TopicPartition>) -> Result<(), Error> {
        Ok(self.fetcher.pause(partitions)?)
    }

    /// Goes on with paused partitions, without losing or fetching again what was kept.
    pub fn resume<'p>(&self, partitions: impl IntoIterator<Item = &'p TopicPartition>) -> Result<(), Error> {
        Ok(self.fetcher.resume(partitions)?)
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        self.fetcher.paused()
    }

    /// The offset of the next record of the partition: behind the last one that an iterator has handed the application.
    /// Waits while the start is being looked up.
    ///
    /// # Errors
    ///
    /// An error of the partition, if it is not assigned. If the start has not been found within
    /// `default.api.timeout.ms`, [`Error::Cluster`] with what the cluster says of the topic, where that is an error, and
    /// [`ottla_fetcher::Error::TimedOut`] where it is not.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing.
    pub async fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        let known = self.fetcher.position_when_known(partition, self.default_api_timeout).await;
        known.map_err(|error| self.explained(error, [partition]))
    }

    /// The position, if it is known now.
    pub fn position_now(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        Ok(self.fetcher.position(partition)?)
    }

    /// The offset up to which the application has come back from what it was handed: what may be committed. A batch is
    /// come back from when its iterator has returned `None`, or when the next poll begins.
    pub fn completed(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        Ok(self.fetcher.completed(partition)?.map(|completed| completed.offset))
    }

    /// How many records are between the position and the end of the replicated log, as the last answer told; `None`
    /// before the first.
    pub fn lag(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        let position = self.fetcher.position(partition)?;
        let end = self.fetcher.high_watermark(partition);
        Ok(position.zip(end).map(|(position, end)| end.saturating_sub(position).max(0)))
    }

    /// Bytes of memory that hold data: in flight, buffered, decompressed, and handed out and still held. At most
    /// `fetch.buffer.max.bytes`, unless a single batch is larger.
    pub fn buffered_bytes(&self) -> usize {
        self.fetcher.buffered_bytes()
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
        let found = self.fetcher.lookup(wanted.clone(), self.default_api_timeout).await;
        found.map_err(|error| self.explained(error, wanted.keys()))
    }

    /// The error; or, where time ran out and nothing says why, what the cluster has against one of the topics.
    fn explained<'p>(
        &self,
        error: ottla_fetcher::Error,
        partitions: impl IntoIterator<Item = &'p TopicPartition>,
    ) -> Error {
        if matches!(error, ottla_fetcher::Error::TimedOut { source: None, .. }) {
            let metadata = self.cluster.metadata();
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
