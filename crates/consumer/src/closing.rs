//! Closing: in good order, and in bounded time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::consumer::{LONGEST_WAIT, pending, slot};
use crate::{Consumer, Error, rebalance};

impl Consumer {
    /// As [`close_within`](Self::close_within) 30 seconds.
    ///
    /// # Errors
    ///
    /// As [`close_within`](Self::close_within).
    ///
    /// # Cancel safety
    ///
    /// As [`close_within`](Self::close_within).
    pub async fn close(self) -> Result<(), Error> {
        self.close_within(Duration::from_secs(30)).await
    }

    /// Finishes what a rebalance has begun, commits (where commits are automatic) what the application has come back from,
    /// tells the listener that the partitions are revoked, leaves the group, and ends the consumer's tasks. All that
    /// within `timeout`, whatever the brokers do. What was handed out stays valid.
    ///
    /// What was handed out last counts as come back from as far as its batches' iterators have ended: whoever leaves a
    /// loop early finds the rest again.
    ///
    /// # Errors
    ///
    /// The first thing that went wrong; the consumer is closed all the same. [`Error::CloseTimedOut`] where the time was
    /// not enough.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is dropping the consumer: what has been sent takes its course, the rest is not sent.
    pub async fn close_within(mut self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout.min(LONGEST_WAIT);
        let timed_out = |_| Err(Error::CloseTimedOut { timeout });
        // Whatever hangs, there is time left to leave; and whatever reader does, to commit.
        let grace = (timeout / 4).min(LEAVE_GRACE);
        let patience = timeout.saturating_sub(grace + (timeout / 8).min(COMMIT_GRACE));
        let wound_up = tokio::time::timeout_at(deadline - grace, self.wind_up(patience)).await;
        let wound_up = wound_up.map(|wound_up| match wound_up {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::CloseTimedOut { timeout }),
            Err(error) => Err(error),
        });
        let wound_up = wound_up.unwrap_or_else(timed_out);
        let Self { fetcher, group, handle, .. } = self;
        let left = match group {
            Some(group) => {
                let left = group.close(Some("the consumer is being closed"), deadline - Instant::now()).await;
                left.map_err(Error::from)
            }
            None => Ok(()),
        };
        handle.shared().channels.end_all();
        let fetched = tokio::time::timeout_at(deadline.max(Instant::now() + FETCHER_END), fetcher.close()).await;
        wound_up.and(left).and(fetched.map_err(|_| Error::CloseTimedOut { timeout }))
    }

    /// Readers have `patience` to end, at most. Says whether they were given as long as they may take.
    async fn wind_up(&mut self, patience: Duration) -> Result<bool, Error> {
        let mut first = Ok(());
        if let Some(step) = pending(&mut self.step) {
            first = step.await;
            *slot(&mut self.step) = None;
        }
        let shared = Arc::clone(self.shared());
        let is_lost = self.take_loss();
        if is_lost {
            return first.and(rebalance::lose(shared).await).map(|()| true);
        }
        let assignment = shared.fetcher.assignment();
        let is_cut_short = patience < shared.timeouts.drain;
        let patience = shared.timeouts.drain.min(patience);
        let revoked = rebalance::revoke(&shared, assignment, patience).await;
        first.and(revoked.commit).and(revoked.told).map(|()| revoked.is_drained || !is_cut_short)
    }
}

/// What `close` keeps of its time for leaving the group.
const LEAVE_GRACE: Duration = Duration::from_secs(2);
/// What it keeps for the last commit, where readers take their time.
const COMMIT_GRACE: Duration = Duration::from_secs(2);
/// How long the fetcher's tasks have to end, which need no broker for it.
const FETCHER_END: Duration = Duration::from_secs(1);
