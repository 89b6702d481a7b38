//! Which broker coordinates the group, and when that is forgotten. Does no I/O and reads no clock.
//!
//! ```text
//!   Unknown ── asked ──▶ Known ──┐ asked whether it still is: the same
//!      ▲  └ back-off ┘    │ ▲────┘
//!      │                  │ another ──▶ Known
//!      └──────────────────┘ NOT_COORDINATOR, disconnect, silence for two thirds of the session
//! ```
//!
//! It is asked for only while somebody needs it. One that is [silent](crate::silence), or could not be reached when it was
//! last known, is asked about again: the cluster sets the pace, and not the attempts to reach it. Each time that a coordinator becomes known it gets a new epoch, even if
//! it is the same broker: what a request to an earlier one says about the coordinator is out of date and changes
//! nothing.

use std::sync::Arc;
use std::time::Instant;

use ottla_cluster::Backoff;
use ottla_wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_wire::{ErrorCode, NodeId};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct CoordinatorCache {
    state: Knowledge,
    /// The cluster is being asked.
    is_asking: bool,
    epoch: u64,
    /// How often it could not be found, or not be reached, in a row.
    failures: u32,
    /// The one that could not be reached. When the known one is the same, it is asked about at this time.
    failed: Option<NodeId>,
    check_at: Option<Instant>,
    /// To half of `retry.backoff.max.ms` at most: it is not the brokers who are asked that fail.
    pace: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Knowledge {
    Unknown { not_before: Option<Instant> },
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
    pub(crate) fn new(pace: Backoff) -> Self {
        Self {
            state: Knowledge::Unknown { not_before: None },
            is_asking: false,
            epoch: 0,
            failures: 0,
            failed: None,
            check_at: None,
            pace,
        }
    }

    pub(crate) fn known(&self) -> Option<Found> {
        match self.state {
            Knowledge::Known(node) => Some(Found { node, epoch: self.epoch }),
            Knowledge::Unknown { .. } => None,
        }
    }

    /// The one that could not be reached, if none has been since.
    pub(crate) fn failed(&self) -> Option<NodeId> {
        self.failed
    }

    /// Whether the cluster is to be asked now. It counts as being asked from then on.
    pub(crate) fn next_ask(&mut self, now: Instant) -> bool {
        let is_due = match self.state {
            Knowledge::Unknown { not_before } => !self.is_asking && not_before.is_none_or(|due| due <= now),
            Knowledge::Known(_) => false,
        };
        self.is_asking |= is_due;
        is_due
    }

    /// Whether the cluster is to be asked if the known one still is it; not where it is being asked already.
    pub(crate) fn next_check(&mut self, now: Instant, is_silent: bool) -> bool {
        let is_wanted = is_silent || self.check_at.is_some_and(|due| due <= now);
        let is_due = is_wanted && !self.is_asking && matches!(self.state, Knowledge::Known(_));
        self.is_asking |= is_due;
        is_due
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            _ if self.is_asking => None,
            Knowledge::Unknown { not_before } => not_before,
            Knowledge::Known(_) => self.check_at,
        }
    }

    /// The cluster has said who it is. `None`: it is known already.
    pub(crate) fn handle_found(&mut self, now: Instant, node: NodeId) -> Option<Found> {
        self.is_asking = false;
        self.check_at = (self.failed == Some(node)).then(|| self.next_ask_at(now));
        if self.known().is_some_and(|known| known.node == node) {
            return None;
        }
        self.epoch += 1;
        self.state = Knowledge::Known(node);
        Some(Found { node, epoch: self.epoch })
    }

    /// The cluster did not say.
    pub(crate) fn handle_not_found(&mut self, now: Instant) {
        self.is_asking = false;
        match self.state {
            Knowledge::Unknown { .. } => self.back_off(now),
            Knowledge::Known(_) => self.check_at = self.check_at.map(|_| self.next_ask_at(now)),
        }
    }

    /// A request was answered.
    pub(crate) fn handle_answered(&mut self) {
        (self.failures, self.failed, self.check_at) = (0, None, None);
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
        let node = self.known().map(|known| known.node);
        let is_news = self.mark_unknown(epoch);
        if is_news {
            self.failed = node;
            self.back_off(now);
        }
        is_news
    }

    fn back_off(&mut self, now: Instant) {
        self.state = Knowledge::Unknown { not_before: Some(self.next_ask_at(now)) };
    }

    fn next_ask_at(&mut self, now: Instant) -> Instant {
        self.failures = self.failures.saturating_add(1);
        now + self.pace.next_delay(self.failures)
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
        let found = cache.handle_found(now, NodeId(3));
        assert_eq!((cache.known(), cache.next_ask(now)), (found, false));
    }

    #[test]
    fn the_known_one_may_be_asked_about_and_only_another_is_news() {
        let (mut cache, now) = (cache(), origin());
        assert!(!cache.next_check(now, true), "nobody is known");
        let first = cache.handle_found(now, NodeId(1));
        assert!(!cache.next_check(now, false) && cache.next_deadline().is_none(), "it is in no doubt");
        assert!(cache.next_check(now, true) && !cache.next_check(now, true), "one question at a time");
        assert_eq!((cache.handle_found(now, NodeId(1)), cache.known()), (None, first));
        assert!(cache.next_check(now, true));
        cache.handle_not_found(now);
        assert_eq!(cache.known(), first);
        assert!(cache.next_check(now, true));
        let second = cache.handle_found(now, NodeId(2)).unwrap();
        assert_eq!((second.node, cache.known()), (NodeId(2), Some(second)));
        assert_ne!(first.unwrap().epoch, second.epoch);
    }

    #[test]
    fn one_that_is_lost_while_it_is_asked_about_is_not_asked_for_twice() {
        let (mut cache, now) = (cache(), origin());
        let first = cache.handle_found(now, NodeId(1)).unwrap();
        assert!(cache.next_check(now, true));
        cache.mark_unknown(first.epoch);
        assert!(!cache.next_ask(now) && cache.next_deadline().is_none());
        assert!(cache.handle_found(now, NodeId(1)).is_some(), "it counts as found anew");
    }

    #[test]
    fn one_that_could_not_be_reached_is_asked_about_while_it_is_tried_again() {
        let (mut cache, mut now) = (cache(), origin());
        let first = cache.handle_found(now, NodeId(1)).unwrap();
        cache.handle_unreachable(now, first.epoch);
        now = cache.next_deadline().unwrap();
        assert!(cache.next_ask(now));
        cache.handle_found(now, NodeId(1));
        for _ in 0..3 {
            let due = cache.next_deadline().unwrap();
            assert!(due > now && !cache.next_check(now, false));
            now = due;
            assert!(cache.next_check(now, false));
            assert_eq!(cache.handle_found(now, NodeId(1)), None, "that may be: it goes on being tried");
        }
        cache.handle_answered();
        assert_eq!((cache.next_deadline(), cache.failed()), (None, None), "it is well");
    }

    #[test]
    fn failures_are_backed_off_longer_each_time() {
        let (mut cache, mut now) = (cache(), origin());
        let mut last = Duration::ZERO;
        for _ in 0..3 {
            assert!(cache.next_ask(now));
            cache.handle_not_found(now);
            let due = cache.next_deadline().unwrap();
            assert!(due - now > last && !cache.next_ask(now), "a longer wait than before");
            last = due - now;
            now = due;
        }
    }

    #[test]
    fn what_an_earlier_coordinator_says_changes_nothing() {
        let (mut cache, now) = (cache(), origin());
        let first = cache.handle_found(now, NodeId(1)).unwrap();
        assert!(cache.mark_unknown(first.epoch));
        assert!(cache.next_ask(now), "at once: it moved, it did not fail");
        let second = cache.handle_found(now, NodeId(1)).unwrap();
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
