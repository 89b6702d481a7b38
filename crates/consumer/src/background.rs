//! Failures of what goes on behind the application's back, for whoever wants to know.
//!
//! What the consumer tries again by itself (an automatic commit, a lookup of committed offsets) is no error of a poll.
//! It is kept here, up to a bound: when nobody reads, the oldest goes, and is counted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Error;

/// How many failures are kept.
const KEPT: usize = 64;

/// Something that failed in the background.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackgroundError {
    /// What failed.
    pub error: Error,
    /// How many older ones were dropped, unread, since the last one that was read.
    pub dropped: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct BackgroundErrors {
    state: Mutex<State>,
    is_news: Notify,
}

#[derive(Debug, Default)]
struct State {
    errors: VecDeque<Error>,
    dropped: u64,
    /// Nothing more will fail.
    has_ended: bool,
}

impl BackgroundErrors {
    pub(crate) fn push(&self, error: Error) {
        tracing::warn!(error = &error as &dyn std::error::Error, "the consumer goes on after a failure");
        let mut state = self.state();
        if state.errors.len() >= KEPT {
            state.errors.pop_front();
            state.dropped += 1;
        }
        state.errors.push_back(error);
        drop(state);
        self.is_news.notify_waiters();
    }

    /// The oldest, if there is one.
    pub(crate) fn take(&self) -> Option<BackgroundError> {
        let mut state = self.state();
        let error = state.errors.pop_front()?;
        Some(BackgroundError { error, dropped: std::mem::take(&mut state.dropped) })
    }

    /// The oldest, as soon as there is one; `None` when there will be none any more.
    pub(crate) async fn next(&self) -> Option<BackgroundError> {
        loop {
            let is_news = self.is_news.notified();
            tokio::pin!(is_news);
            is_news.as_mut().enable();
            if let Some(error) = self.take() {
                return Some(error);
            }
            if self.state().has_ended {
                return None;
            }
            is_news.await;
        }
    }

    /// The consumer is gone.
    pub(crate) fn end(&self) {
        self.state().has_ended = true;
        self.is_news.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(setting: usize) -> Error {
        Error::UnknownSetting { setting: setting.to_string() }
    }

    #[test]
    fn the_oldest_goes_when_nobody_reads_and_is_counted() {
        let errors = BackgroundErrors::default();
        for setting in 0..KEPT + 3 {
            errors.push(error(setting));
        }
        let first = errors.take().unwrap();
        assert_eq!((first.error.to_string(), first.dropped), (error(3).to_string(), 3));
        let second = errors.take().unwrap();
        assert_eq!((second.error.to_string(), second.dropped), (error(4).to_string(), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_told() {
        let errors = BackgroundErrors::default();
        let (told, ()) = tokio::join!(errors.next(), async { errors.push(error(1)) });
        assert_eq!(told.unwrap().error.to_string(), error(1).to_string());
        assert!(errors.take().is_none());
        errors.push(error(2));
        errors.end();
        assert!(errors.next().await.is_some(), "what failed before the end is told");
        assert!(errors.next().await.is_none());
        let (none, ()) = tokio::join!(errors.next(), async { errors.end() });
        assert!(none.is_none());
    }
}
