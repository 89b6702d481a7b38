//! Which broker coordinates the group, and when that is forgotten. Does no I/O and reads no clock.
//!
//! ```text
//!   Unknown ──▶ Asking ──▶ Known
//!      ▲           │ back-off │ NOT_COORDINATOR, disconnect, silence for two thirds of the session timeout
//!      └───────────┴──────────┘
//! ```
//!
//! It is asked for only while somebody needs it. Each time that a coordinator becomes known it gets a new epoch, even if
//! it is the same broker: what a request to an earlier one says about the coordinator is out of date and changes
//! nothing.
//!
//! Whoever has lost a coordinator to silence, or asked for one in vain, may have lost all connections at once: a load
//! balancer drops them without a word. So the next question goes over one that is made for it, and does not wait for the
//! end of one that leads nowhere: the session would end first.

use std::sync::Arc;
use std::time::Instant;

use ottla_cluster::Backoff;
use ottla_wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_wire::{ErrorCode, NodeId};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct CoordinatorCache {
    state: Knowledge,
    epoch: u64,
    /// How often it could not be found, or not be reached, in a row.
    failures: u32,
    /// What was asked last, the coordinator or for it, was not answered.
    is_silent: bool,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Knowledge {
    Unknown { not_before: Option<Instant> },
    Asking,
    Known(NodeId),
}

/// The coordinator, as it was found at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) node: NodeId,
    pub(crate) epoch: u64,
}

/// Where a coordinator is, as a broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) node: NodeId,
    pub(crate) host: String,
    pub(crate) port: i32,
}

impl CoordinatorCache {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { state: Knowledge::Unknown { not_before: None }, epoch: 0, failures: 0, is_silent: false, backoff }
    }

    pub(crate) fn known(&self) -> Option<Found> {
        match self.state {
            Knowledge::Known(node) => Some(Found { node, epoch: self.epoch }),
            Knowledge::Unknown { .. } | Knowledge::Asking => None,
        }
    }

    /// Whether the cluster is to be asked now. It counts as being asked from then on.
    pub(crate) fn next_ask(&mut self, now: Instant) -> bool {
        let is_due = match self.state {
            Knowledge::Unknown { not_before } => not_before.is_none_or(|due| due <= now),
            Knowledge::Asking | Knowledge::Known(_) => false,
        };
        if is_due {
            self.state = Knowledge::Asking;
        }
        is_due
    }

    /// Whether it is to be asked for over a connection of its own.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            Knowledge::Unknown { not_before } => not_before,
            Knowledge::Asking | Knowledge::Known(_) => None,
        }
    }

    pub(crate) fn handle_found(&mut self, node: NodeId) -> Found {
        self.epoch += 1;
        self.is_silent = false;
        self.state = Knowledge::Known(node);
        Found { node, epoch: self.epoch }
    }

    /// The cluster did not say; `is_silent`: nobody answered at all.
    pub(crate) fn handle_not_found(&mut self, now: Instant, is_silent: bool) {
        self.is_silent = is_silent;
        self.back_off(now);
    }

    /// A request was answered.
    pub(crate) fn handle_answered(&mut self) {
        self.failures = 0;
    }

    /// The one of that epoch is none. Says whether that was news.
    pub(crate) fn mark_unknown(&mut self, epoch: u64) -> bool {
        let is_news = self.known().is_some_and(|known| known.epoch == epoch);
        if is_news {
            self.state = Knowledge::Unknown { not_before: None };
        }
        is_news
    }

    /// The one of that epoch did not let itself be connected to, or cut the connection. Says whether that was news.
    pub(crate) fn handle_unreachable(&mut self, now: Instant, epoch: u64) -> bool {
        let is_news = self.mark_unknown(epoch);
        if is_news {
            self.is_silent = true;
            self.back_off(now);
        }
        is_news
    }

    fn back_off(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let not_before = Some(now + self.backoff.next_delay(self.failures));
        self.state = Knowledge::Unknown { not_before };
    }
}

/// Asks in the versions that ask for several at once, or in those before.
pub(crate) fn request(group_id: &Arc<str>, is_batched: bool) -> FindCoordinatorRequest {
    let key = group_id.as_ref().to_owned();
    if is_batched {
        FindCoordinatorRequest { coordinator_keys: vec![key], ..FindCoordinatorRequest::default() }
    } else {
        FindCoordinatorRequest { key, ..FindCoordinatorRequest::default() }
    }
}

/// What an answer in either form says.
pub(crate) fn read(group_id: &str, is_batched: bool, response: FindCoordinatorResponse) -> Result<Located, ErrorCode> {
    let (error_code, node, host, port) = if is_batched {
        let mut coordinators = response.coordinators.into_iter();
        // One that the answer leaves out is to be asked for again.
        let found = coordinators.find(|coordinator| coordinator.key == group_id);
        let found = found.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        (found.error_code, found.node_id, found.host, found.port)
    } else {
        (response.error_code, response.node_id, response.host, response.port)
    };
    error_code.into_result()?;
    let node = node.known().ok_or(ErrorCode::CoordinatorNotAvailable)?;
    Ok(Located { node, host, port })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_wire::messages::Coordinator;

    use super::*;

    fn cache() -> CoordinatorCache {
        let (initial, max) = (Duration::from_millis(100), Duration::from_secs(1));
        CoordinatorCache::new(Backoff::new(initial, max, fastrand::Rng::with_seed(1)))
    }

    #[allow(clippy::disallowed_methods, reason = "a test's origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn it_is_asked_for_once_and_known_from_then_on() {
        let (mut cache, now) = (cache(), origin());
        assert!(cache.next_ask(now) && !cache.next_ask(now), "one question at a time");
        let found = cache.handle_found(NodeId(3));
        assert_eq!((cache.known(), cache.next_ask(now)), (Some(found), false));
    }

    #[test]
    fn failures_are_backed_off_longer_each_time() {
        let (mut cache, mut now) = (cache(), origin());
        let mut last = Duration::ZERO;
        for _ in 0..3 {
            assert!(cache.next_ask(now));
            cache.handle_not_found(now, false);
            let due = cache.next_deadline().unwrap();
            assert!(due - now > last && !cache.next_ask(now), "a longer wait than before");
            last = due - now;
            now = due;
        }
    }

    #[test]
    fn after_silence_it_is_asked_for_over_a_new_connection() {
        let (mut cache, now) = (cache(), origin());
        let found = cache.handle_found(NodeId(1));
        assert!(cache.mark_unknown(found.epoch) && !cache.is_silent(), "it has spoken");
        let found = cache.handle_found(NodeId(1));
        assert!(cache.handle_unreachable(now, found.epoch) && cache.is_silent());
        cache.handle_not_found(now, true);
        assert!(cache.is_silent());
        cache.handle_not_found(now, false);
        assert!(!cache.is_silent(), "somebody has answered");
    }

    #[test]
    fn what_an_earlier_coordinator_says_changes_nothing() {
        let (mut cache, now) = (cache(), origin());
        let first = cache.handle_found(NodeId(1));
        assert!(cache.mark_unknown(first.epoch));
        assert!(cache.next_ask(now), "at once: it moved, it did not fail");
        let second = cache.handle_found(NodeId(1));
        assert!(!cache.mark_unknown(first.epoch) && !cache.handle_unreachable(now, first.epoch));
        assert_eq!(cache.known(), Some(second));
        assert!(cache.handle_unreachable(now, second.epoch));
        assert!(!cache.next_ask(now) && cache.next_deadline().is_some(), "after a while");
    }

    #[test]
    fn both_forms_of_the_answer_are_read() {
        let located = Located { node: NodeId(2), host: "host".to_owned(), port: 9092 };
        let one = FindCoordinatorResponse {
            node_id: NodeId(2),
            host: "host".to_owned(),
            port: 9092,
            ..FindCoordinatorResponse::default()
        };
        assert_eq!(read("group", false, one), Ok(located.clone()));
        let coordinator = |key: &str, error_code| Coordinator {
            key: key.to_owned(),
            node_id: NodeId(2),
            host: "host".to_owned(),
            port: 9092,
            error_code,
            error_message: None,
        };
        let batch = |coordinators| FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
        let both = vec![coordinator("other", ErrorCode::None), coordinator("group", ErrorCode::None)];
        assert_eq!(read("group", true, batch(both)), Ok(located));
        let refused = vec![coordinator("group", ErrorCode::GroupAuthorizationFailed)];
        assert_eq!(read("group", true, batch(refused)), Err(ErrorCode::GroupAuthorizationFailed));
        assert_eq!(read("group", true, batch(vec![])), Err(ErrorCode::CoordinatorNotAvailable));
    }
}
