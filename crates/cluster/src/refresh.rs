//! When to ask for metadata, and for which topics. Without I/O.
//!
//! One request is under way at a time. What is demanded meanwhile and covered by it waits for its answer; the rest is
//! asked for next. Everything in use is asked for anew once it is `metadata.max.age.ms` old.
//!
//! Pacing (KIP-580): after a failure the next request waits for a back-off that grows with each failure. After an
//! answer, a demand for what is already known waits for a back-off, too, that grows with each answer that changed
//! nothing, but only to half as much ([`Cluster::pace`](crate::Cluster::pace)). A topic that has not been asked about before does not wait.
//!
//! Whoever asks again after an answer that told nothing new asks another broker: the one that answered may itself not
//! have heard yet, and as it is connected it would be asked for ever.
//!
//! A topic is in use for `metadata.max.idle.ms` after it was last demanded or looked up, and while somebody keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Backoff, ClusterConfig, Topics};

/// Decides about metadata requests.
#[derive(Debug)]
pub(crate) struct Refresh {
    max_age: Duration,
    max_idle: Duration,
    rebootstrap_trigger: Duration,
    backoff: Backoff,
    pace: Backoff,
    last_used: BTreeMap<Arc<str>, Instant>,
    demanded: Demand,
    under_way: Option<Ask>,
    /// When everything in use was last asked for; `None`: never.
    complete_at: Option<Instant>,
    failures: u32,
    failing_since: Option<Instant>,
    /// No request before this, because of a failure.
    after_failure: Option<Instant>,
    unchanged_answers: u32,
    /// No request for what is known before this.
    after_answer: Option<Instant>,
    must_rebootstrap: bool,
}

/// What has been demanded and not yet been asked for.
#[derive(Debug, Default)]
struct Demand {
    /// Since when; `None`: nothing is demanded.
    since: Option<Instant>,
    /// Something in it was not asked for before.
    is_new: bool,
    all: bool,
    topics: BTreeSet<Arc<str>>,
}

/// A metadata request to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// For these topics.
    pub(crate) topics: Topics,
    /// From the bootstrap servers, whatever brokers are known.
    pub(crate) rebootstrap: bool,
    /// The answer before this one did not help: another broker may know more.
    pub(crate) elsewhere: bool,
    is_complete: bool,
}

impl Refresh {
    pub(crate) fn new(config: &ClusterConfig, backoff: Backoff, pace: Backoff) -> Self {
        Self {
            max_age: cap(config.metadata_max_age),
            max_idle: cap(config.metadata_max_idle),
            rebootstrap_trigger: cap(config.metadata_recovery_rebootstrap_trigger),
            backoff,
            pace,
            last_used: BTreeMap::new(),
            demanded: Demand::default(),
            under_way: None,
            complete_at: None,
            failures: 0,
            failing_since: None,
            after_failure: None,
            unchanged_answers: 0,
            after_answer: None,
            must_rebootstrap: false,
        }
    }

    /// Somebody wants to know now. Covered by the request under way, if that asks for the same.
    pub(crate) fn demand(&mut self, now: Instant, topics: &Topics) {
        let mut is_new = self.complete_at.is_none() || *topics == Topics::All;
        if let Topics::Named(names) = topics {
            for name in names {
                is_new |= self.last_used.insert(Arc::clone(name), now).is_none();
            }
        }
        if !self.under_way.as_ref().is_some_and(|ask| ask.covers(topics)) {
            self.demanded.add(now, topics, is_new);
        }
    }

    /// A node could not be reached: it may be elsewhere, which every answer tells. Whoever needs it for a topic is about to
    /// demand that, and that request should not have to wait for this one.
    pub(crate) fn demand_nodes(&mut self, now: Instant) {
        if self.under_way.is_none() {
            let due = now + self.pace.next_delay(1);
            self.demanded.add(due, &Topics::None, false);
        }
    }

    /// The topic has been looked up, or is kept.
    pub(crate) fn handle_used(&mut self, now: Instant, topic: &Arc<str>) {
        self.last_used.insert(Arc::clone(topic), now);
    }

    /// Nothing is known any more of the topics in use: they are asked for anew.
    pub(crate) fn demand_used(&mut self, now: Instant) {
        let topics = Topics::Named(self.last_used.keys().cloned().collect());
        self.demanded.add(now, &topics, false);
    }

    /// Stops using the topics that nobody has asked about for too long. True if there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.last_used.len();
        self.last_used.retain(|_, last_used| now.saturating_duration_since(*last_used) < self.max_idle);
        self.last_used.len() < before
    }

    /// How many topics are in use.
    pub(crate) fn used_count(&self) -> usize {
        self.last_used.len()
    }

    /// Whether the topic is in use.
    pub(crate) fn is_used(&self, topic: &str) -> bool {
        self.last_used.contains_key(topic)
    }

    /// The request to be made now, if there is one. It is under way from then on.
    pub(crate) fn next_ask(&mut self, now: Instant) -> Option<Ask> {
        if self.next_deadline().is_none_or(|due| due > now) {
            return None;
        }
        let demanded = std::mem::take(&mut self.demanded);
        let is_complete = self.complete_at.is_none_or(|complete_at| complete_at + self.max_age <= now);
        let mut topics = demanded.topics;
        if is_complete {
            topics.extend(self.last_used.keys().cloned());
        }
        let topics = match (demanded.all, topics.is_empty()) {
            (true, _) => Topics::All,
            (false, true) => Topics::None,
            (false, false) => Topics::Named(topics.into_iter().collect()),
        };
        let too_long = |since: Instant| since + self.rebootstrap_trigger <= now;
        let rebootstrap = self.must_rebootstrap || self.failing_since.is_some_and(too_long);
        let is_complete = is_complete || topics == Topics::All;
        let is_repeated = demanded.since.is_some() && self.unchanged_answers > 0;
        let elsewhere = self.failures > 0 || is_repeated;
        let ask = Ask { topics, rebootstrap, elsewhere, is_complete };
        self.under_way = Some(ask.clone());
        Some(ask)
    }

    /// When [`next_ask`](Self::next_ask) will have a request, as things stand; `None` while one is under way.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.under_way.is_some() {
            return None;
        }
        let by_age = self.complete_at.map(|complete_at| complete_at + self.max_age);
        let pace = self.after_answer.filter(|_| !self.demanded.is_new);
        let by_demand = self.demanded.since.map(|since| pace.map_or(since, |pace| pace.max(since)));
        let due = by_age.into_iter().chain(by_demand).min()?;
        Some(self.after_failure.map_or(due, |after_failure| after_failure.max(due)))
    }

    /// The request under way was answered. `unsettled` topics are asked for again, if they are in use.
    pub(crate) fn handle_answer(&mut self, now: Instant, is_changed: bool, unsettled: &[Arc<str>]) {
        if self.under_way.take().is_some_and(|ask| ask.is_complete) {
            self.complete_at = Some(now);
        }
        self.failures = 0;
        self.failing_since = None;
        self.after_failure = None;
        self.must_rebootstrap = false;
        self.unchanged_answers = if is_changed { 0 } else { self.unchanged_answers.saturating_add(1) };
        self.after_answer = Some(now + self.pace.next_delay(self.unchanged_answers.saturating_add(1)));
        let again: Vec<_> = unsettled.iter().filter(|topic| self.is_used(topic)).cloned().collect();
        if !again.is_empty() {
            self.demanded.add(now, &Topics::Named(again), false);
        }
    }

    /// The request under way failed; it will be made again.
    pub(crate) fn handle_failed(&mut self, now: Instant) {
        if let Some(ask) = self.under_way.take() {
            self.demanded.add(now, &ask.topics, true);
        }
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert(now);
        self.after_failure = Some(now + self.backoff.next_delay(self.failures));
    }

    /// The cluster answered that its brokers are others than those that are known (KIP-1102).
    pub(crate) fn handle_rebootstrap_required(&mut self, now: Instant) {
        self.handle_failed(now);
        self.must_rebootstrap = true;
    }
}

impl Demand {
    fn add(&mut self, at: Instant, topics: &Topics, is_new: bool) {
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.is_new |= is_new;
        match topics {
            Topics::All => self.all = true,
            Topics::Named(names) => self.topics.extend(names.iter().cloned()),
            Topics::None => {}
        }
    }
}

impl Ask {
    /// Whether the answer will tell about these topics.
    pub(crate) fn covers(&self, topics: &Topics) -> bool {
        match (&self.topics, topics) {
            (Topics::All, _) | (_, Topics::None) => true,
            (Topics::Named(asked), Topics::Named(wanted)) => wanted.iter().all(|name| asked.contains(name)),
            (Topics::None, Topics::Named(wanted)) => wanted.is_empty(),
            (Topics::None | Topics::Named(_), Topics::All) => false,
        }
    }
}

/// Durations of the configuration are added to clocks: no sum may overflow.
fn cap(duration: Duration) -> Duration {
    duration.min(Duration::from_hours(365 * 24))
}

#[cfg(test)]
mod tests;
