//! Whom to ask, and how often.

use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::{Cluster, Destination};
use ottla_wire::Request;
use tokio::time::Instant;

use crate::Error;

/// A request that is tried again while that may help and time lasts.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) cluster: Cluster,
    pub(crate) attempted: &'static str,
    /// The first Kafka version that has it.
    pub(crate) needs: &'static str,
    pub(crate) to: Destination,
    pub(crate) timeout: Duration,
}

impl Asking {
    /// Asks until an answer is to be kept: `again` says of one that it is not, with the reason, because the node asked is
    /// not the controller (any more) or is short of time.
    pub(crate) async fn ask<R: Request>(
        &self,
        request: &R,
        again: impl Fn(&R::Response) -> Option<Error>,
    ) -> Result<R::Response, Error> {
        let timeout = self.timeout.min(LONGEST_TIMEOUT);
        let deadline = Instant::now() + timeout;
        let mut backoff = self.cluster.backoff();
        let (mut last, mut failures) = (None, 0);
        let asking = async {
            loop {
                let error = match self.cluster.request(self.to, request).await {
                    Ok(response) => match again(&response) {
                        None => return Ok(response),
                        Some(error) => error,
                    },
                    Err(error) => self.failure(error),
                };
                if !error.is_retriable() {
                    return Err(error);
                }
                if self.to == Destination::Controller {
                    self.cluster.invalidate_controller();
                }
                tracing::debug!(attempted = self.attempted, error = &error as &dyn std::error::Error, "asking again");
                last = Some(Box::new(error));
                failures += 1;
                tokio::time::sleep(backoff.next_delay(failures)).await;
            }
        };
        match tokio::time::timeout_at(deadline, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::TimedOut { attempted: self.attempted, timeout, source: last }),
        }
    }

    fn failure(&self, error: ottla_cluster::Error) -> Error {
        let (attempted, needs) = (self.attempted, self.needs);
        let too_old = matches!(
            error,
            ottla_cluster::Error::Connection { source: ottla_connection::Error::UnsupportedVersion { .. }, .. }
        );
        let source = Arc::new(error);
        if too_old { Error::Unsupported { attempted, needs, source } } else { Error::Cluster { attempted, source } }
    }
}

/// A year; keeps the deadline from overflowing.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(365 * 24);
