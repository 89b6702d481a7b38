//! The consumer: the one who polls.

use std::ops::Deref;
use std::time::Duration;

use ottla_cluster::Cluster;
use ottla_fetcher::{Batches, Fetcher};

use crate::{ConsumerHandle, Error};

/// Reads partitions that it is told to read.
///
/// Everything but [`poll`](Self::poll) and [`close`](Self::close) is also in its [`handle`](Self::handle), to which it
/// dereferences. Dropping it ends its tasks and connections without waiting for them.
#[derive(Debug)]
pub struct Consumer {
    handle: ConsumerHandle,
    fetcher: Fetcher,
}

impl Consumer {
    pub(crate) fn new(cluster: Cluster, fetcher: Fetcher, default_api_timeout: Duration) -> Self {
        Self { handle: ConsumerHandle::new(cluster, fetcher.handle().clone(), default_api_timeout), fetcher }
    }

    /// Batches that have come: at once if there are some, else as soon as there are; none when `timeout` is over.
    ///
    /// The batches are owned: they may be held over an await and sent to other tasks, and the consumer may be told to
    /// seek or pause while they are read. With each call the application says that it has come back from all that the
    /// last one handed out.
    ///
    /// What may come right by itself is no error: while the brokers cannot be reached, a topic does not exist (yet), or
    /// nothing is assigned, there are no batches. [`assign_topic`](ConsumerHandle::assign_topic) tells what is wrong when its
    /// time is over.
    ///
    /// # Errors
    ///
    /// An error of a partition stands in its place after the records before it. The others go on, and so may the
    /// application: it need only poll again. The partition is tried again with back-off and the error told again,
    /// until it is gone or the partition is sought elsewhere, paused or no longer assigned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what it would have returned, the next call does.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Batches, Error> {
        Ok(self.fetcher.poll(timeout).await?)
    }

    /// A handle for other tasks.
    pub fn handle(&self) -> ConsumerHandle {
        self.handle.clone()
    }

    /// Ends the consumer's tasks, and waits until they have ended. What was handed out stays valid.
    ///
    /// # Cancel safety
    ///
    /// The tasks end also if the future is dropped.
    pub async fn close(self) {
        self.fetcher.close().await;
    }
}

impl Deref for Consumer {
    type Target = ConsumerHandle;

    fn deref(&self) -> &ConsumerHandle {
        &self.handle
    }
}
