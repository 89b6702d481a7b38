//! Reading up to an end, and then finishing: all that partitions have now, or what they have of a time range.
//!
//! [`ConsumerBuilder::read_bounded`] finds out where each partition begins and ends, and [`BoundedRead`] polls a consumer of
//! its own until all have come to their ends. A partition has when what was handed out has, or when the broker says that
//! there is nothing left before it: compaction may have removed the last records, and markers of transactions are no records.
//! What lies behind the end is dropped, also where it shares a batch with what lies before. A partition that is done is
//! assigned no more, so that the memory serves the others.
//!
//! Nothing here waits for what cannot come. An offset that the log no longer has is an error, whatever `auto.offset.reset` says; so
//! is a log that has become shorter than it is to be read, and a topic that is gone, which is asked for when nothing has come for
//! [a while](LOOK_AFTER).

mod progress;
mod range;
mod stream;

use std::time::Duration;

use ottla_fetcher::{AutoOffsetReset, Batches};
use tokio::time::Instant;

pub use self::progress::{PartitionProgress, ReadProgress};
pub use self::range::ReadRange;
pub use self::stream::BoundedStream;

use crate::{Consumer, ConsumerBuilder, ConsumerHandle, Error, InvalidSetting};

/// A read that ends. Made by [`ConsumerBuilder::read_bounded`].
///
/// Dropping it ends it; so does [`close`](Self::close), in an orderly way.
#[derive(Debug)]
pub struct BoundedRead {
    consumer: Consumer,
    progress: ReadProgress,
    /// When something last came of it, or was asked after.
    quiet_since: Instant,
}

impl ConsumerBuilder {
    /// Reads a range of topics or partitions, each up to an end that stands from the beginning, and then finishes. There is no
    /// group and nothing is committed; under read_committed the last stable offset is the end.
    ///
    /// ```
    /// use ottla_consumer::{ConsumerBuilder, Error, ReadRange};
    ///
    /// # async fn count(builder: ConsumerBuilder) -> Result<(), Error> {
    /// let mut read = builder.read_bounded(ReadRange::topic("letters")).await?;
    /// while let Some(batches) = read.next().await {
    ///     for batch in &batches? {
    ///         for record in batch.records() {
    ///             println!("{:?}", record?.value());
    ///         }
    ///     }
    ///     println!("{:.0} %", 100.0 * read.progress().share_done());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a setting cannot be, `group.id` among them; [`Error::Cluster`] if a topic does not exist, or an end cannot be found out within
    /// `default.api.timeout.ms`; [`Error::EndGone`] if a partition ends before the offset that it is to be read up to.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn read_bounded(mut self, range: ReadRange) -> Result<BoundedRead, Error> {
        if !self.group.group_id.is_empty() {
            let reason = "which a bounded read has no use for";
            return Err(InvalidSetting::new("group.id", self.group.group_id, reason).into());
        }
        // To go on elsewhere would be to skip what was to be read.
        self.fetcher.auto_offset_reset = AutoOffsetReset::None;
        let consumer = self.build()?;
        let progress = ReadProgress::new(range.find(&consumer).await?);
        consumer.assign_at(progress.starts())?;
        Ok(BoundedRead { consumer, progress, quiet_since: Instant::now() })
    }
}

impl BoundedRead {
    /// The next batches, in the order of offsets in each partition; `None` when all has been read.
    ///
    /// # Errors
    ///
    /// Those of [`Consumer::poll`]: an error of a partition stands in its place after the records before it, and is told
    /// again until it is gone. [`Error::EndGone`] if a log has become shorter than it is to be read.
    /// After an error the read can be gone on with, or given up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Batches, Error>> {
        while !self.progress.is_done() {
            match self.consumer.poll(LOOK_AFTER).await {
                Ok(batches) => {
                    let batches = self.take(batches);
                    if !batches.is_empty() {
                        return Some(Ok(batches));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
            if self.quiet_since.elapsed() >= STALLED_AFTER {
                self.quiet_since = Instant::now();
                if let Err(error) = check_ends(self.consumer.handle(), self.progress.clone()).await {
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// How far it has come. What was handed out counts as read.
    pub fn progress(&self) -> &ReadProgress {
        &self.progress
    }

    /// The consumer's handle, to pause partitions for instance. Whoever seeks reads something else than was asked for.
    pub fn handle(&self) -> ConsumerHandle {
        self.consumer.handle()
    }

    /// The rest of it as a stream of batches.
    pub fn into_stream(self) -> BoundedStream {
        BoundedStream::new(self)
    }

    /// Ends it, and waits until its tasks have ended.
    ///
    /// # Errors
    ///
    /// As [`Consumer::close`].
    ///
    /// # Cancel safety
    ///
    /// As [`Consumer::close`].
    pub async fn close(self) -> Result<(), Error> {
        self.consumer.close().await
    }

    /// Takes from what a poll gave what lies before the ends, and notes how far that is.
    fn take(&mut self, batches: Batches) -> Batches {
        let (before, unfinished) = (self.progress.offsets_read(), self.progress.unfinished());
        let wanted: Batches = batches.into_iter().filter_map(|batch| self.progress.take(batch)).collect();
        if wanted.is_empty() {
            // With all come back from, the consumer knows how far there is nothing.
            let consumer = &self.consumer;
            self.progress.pass_over(|partition| consumer.fetcher().nothing_before(partition));
        }
        if self.progress.offsets_read() > before {
            self.quiet_since = Instant::now();
        }
        if self.progress.unfinished() < unfinished {
            // It was assigned by nobody else, so this cannot be refused.
            let _: Result<_, _> = self.consumer.assign(self.progress.to_be_read());
        }
        wanted
    }
}

/// Nothing has come for a while: are the ends still there?
async fn check_ends(consumer: ConsumerHandle, progress: ReadProgress) -> Result<(), Error> {
    let paused = consumer.paused();
    let asked: Vec<_> = progress.to_be_read().filter(|partition| !paused.contains(partition)).collect();
    for (partition, log_end) in consumer.end_offsets(asked).await? {
        progress.check_end(&partition, log_end)?;
    }
    Ok(())
}

/// How long a poll lasts where nothing comes.
const LOOK_AFTER: Duration = Duration::from_millis(500);
/// How long nothing must have come before the ends are asked for again.
const STALLED_AFTER: Duration = Duration::from_secs(5);
