//! A bounded read as a stream of its batches.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_core::Stream;
use ottla_fetcher::{Batch, Batches};

use super::{BoundedRead, ReadProgress};
use crate::Error;

/// The batches of a [`BoundedRead`], which ends when all has been read. Made by [`BoundedRead::into_stream`].
pub struct BoundedStream {
    state: State,
    progress: ReadProgress,
    batches: vec::IntoIter<Batch>,
}

enum State {
    Idle(Box<BoundedRead>),
    Reading(Reading),
    Done,
}

type Read = (Box<BoundedRead>, Option<Result<Batches, Error>>);
type Reading = Pin<Box<dyn Future<Output = Read> + Send>>;

impl BoundedStream {
    pub(super) fn new(read: BoundedRead) -> Self {
        let progress = read.progress().clone();
        Self { state: State::Idle(Box::new(read)), progress, batches: Vec::new().into_iter() }
    }

    /// How far it has come, with the batches of the last poll that are yielded one by one.
    pub fn progress(&self) -> &ReadProgress {
        &self.progress
    }

    /// The next batch. The same as the stream's, for those who have no crate for streams at hand.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Batch, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for BoundedStream {
    type Item = Result<Batch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(batch) = self.batches.next() {
                return Poll::Ready(Some(Ok(batch)));
            }
            if let State::Idle(_) = self.state
                && let State::Idle(mut read) = std::mem::replace(&mut self.state, State::Done)
            {
                self.state = State::Reading(Box::pin(async move {
                    let next = read.next().await;
                    (read, next)
                }));
            }
            let State::Reading(reading) = &mut self.state else { return Poll::Ready(None) };
            let (read, next) = ready!(reading.as_mut().poll(context));
            self.state = if next.is_some() { State::Idle(read) } else { State::Done };
            match next {
                Some(Ok(batches)) => self.batches = batches.into_iter(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {}
            }
        }
    }
}

impl fmt::Debug for BoundedStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BoundedStream").field("progress", &self.progress).finish_non_exhaustive()
    }
}
