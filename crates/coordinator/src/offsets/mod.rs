//! Committed offsets: writing them down at the coordinator, and looking them up.

mod commit;
mod fetch;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use ottla_wire::LeaderEpoch;
use tokio::sync::oneshot;

pub(crate) use commit::{CommitId, CommitQueue, NextCommit, Stamp};
pub(crate) use fetch::{Found, Lookups, NextLookup};

use crate::Error;

/// An offset that is or is to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetAndMetadata {
    /// Where to read on: the offset after the last record that is done with.
    pub offset: i64,
    /// The leader epoch of the last record that is done with, where it is known (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the application wants kept with it; empty by default.
    pub metadata: String,
}

impl OffsetAndMetadata {
    /// Reading goes on there.
    pub fn new(offset: i64) -> Self {
        Self { offset, leader_epoch: None, metadata: String::new() }
    }

    /// Sets [`leader_epoch`](Self::leader_epoch).
    pub fn leader_epoch(mut self, leader_epoch: Option<LeaderEpoch>) -> Self {
        self.leader_epoch = leader_epoch;
        self
    }

    /// Sets [`metadata`](Self::metadata).
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// What becomes of a commit. The commit goes its way whether or not this is awaited.
///
/// # Cancel safety
///
/// Dropping it forgets the result, and changes nothing.
#[derive(Debug)]
#[must_use = "the commit goes its way, but whether it succeeded is told here only"]
pub struct Commit {
    answer: oneshot::Receiver<Result<(), Error>>,
}

impl Commit {
    pub(crate) fn new(answer: oneshot::Receiver<Result<(), Error>>) -> Self {
        Self { answer }
    }
}

impl Future for Commit {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or(Err(Error::Closed)))
    }
}
