//! Commits by the application, in all their forms: waited for or not, of all that it is done with or of what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use ottla_coordinator::OffsetAndMetadata;
use ottla_wire::TopicPartition;

use crate::shared::to_commit;
use crate::{ConsumerHandle, ConsumerRecord, Error};

/// What becomes of a commit. The commit goes its way whether or not this is awaited, or dropped.
///
/// # Cancel safety
///
/// Dropping it forgets the result, and changes nothing.
#[derive(Debug)]
pub struct Commit(State);

#[derive(Debug)]
enum State {
    UnderWay(ottla_coordinator::Commit),
    /// It was refused, or there was nothing to commit, before anything was sent.
    Known(Option<Result<(), Error>>),
}

impl Commit {
    fn known(result: Result<(), Error>) -> Self {
        Self(State::Known(Some(result)))
    }
}

impl Future for Commit {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::UnderWay(commit) => Pin::new(commit).poll(context).map_err(Error::from),
            State::Known(result) => result.take().map_or(Poll::Pending, Poll::Ready),
        }
    }
}

impl ConsumerHandle {
    /// Commits what the application has come back from, of all assigned partitions, and waits for the result. Commits are
    /// written in the order of the calls: those before are waited for, too.
    ///
    /// Under a loop over a poll's batches it covers the batches whose iterators have ended. For a finer grain there is
    /// [`commit_sync_offsets`](Self::commit_sync_offsets).
    ///
    /// # Errors
    ///
    /// [`Error::NoGroup`]; [`Error::Group`] where the group has moved on without this consumer, or does not answer within
    /// `default.api.timeout.ms`.
    ///
    /// # Cancel safety
    ///
    /// The commit goes its way also if the future is dropped.
    pub async fn commit_sync(&self) -> Result<(), Error> {
        self.commit_async().await
    }

    /// As [`commit_sync`](Self::commit_sync), without waiting: the result is the returned future's. Commits never overtake
    /// one another.
    pub fn commit_async(&self) -> Commit {
        let completed = self.shared().completed();
        self.commit_async_offsets(to_commit(&completed))
    }

    /// Commits these offsets, of any partitions, and waits for the result. An offset is that of the next record to be
    /// read: one more than that of the last one that is done with.
    ///
    /// # Errors
    ///
    /// As [`commit_sync`](Self::commit_sync).
    ///
    /// # Cancel safety
    ///
    /// The commit goes its way also if the future is dropped.
    pub async fn commit_sync_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<(), Error> {
        self.commit_async_offsets(offsets).await
    }

    /// As [`commit_sync_offsets`](Self::commit_sync_offsets), without waiting.
    pub fn commit_async_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Commit {
        let group = match self.shared().group("a commit") {
            Ok(group) => group,
            Err(error) => return Commit::known(Err(error)),
        };
        let offsets: BTreeMap<_, _> = offsets.into_iter().collect();
        if offsets.is_empty() {
            return Commit::known(Ok(()));
        }
        Commit(State::UnderWay(group.commit(offsets)))
    }

    /// What the group has committed for these partitions; `None` where that is nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NoGroup`]; [`Error::Group`] where the group refuses, or does not answer within `default.api.timeout.ms`.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndMetadata>>, Error> {
        let group = self.shared().group("looking up committed offsets")?;
        let partitions: BTreeSet<_> = partitions.into_iter().collect();
        Ok(group.committed(partitions, self.shared().timeouts.default_api).await?)
    }

    /// Says that a record of a [stream](crate::Consumer::stream) is done with. In any order: what may be committed of its
    /// partition ends before the first record that is not marked. False if the mark does not count: the partition was
    /// sought or given up since it was yielded, or the record was marked before.
    pub fn mark_processed(&self, record: &ConsumerRecord) -> bool {
        let piece = record.piece();
        piece.is_some_and(|piece| self.shared().state().marks.done(record.topic_partition(), piece))
    }
}
