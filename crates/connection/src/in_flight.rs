//! Which requests wait, which are in flight, and when one of them is overdue. Without I/O.
//!
//! ```text
//!   submit ─▶ waiting ──next_to_write──▶ sent, unwritten ──handle_written──▶ sent, written ──handle_response──▶ gone
//!                │ overdue: fails alone       │ overdue: the connection closes    │ overdue: the connection closes
//! ```
//!
//! Invariants: requests leave in the order in which they were submitted, and answers come in that order (a Kafka broker
//! answers one request of a connection at a time). At most `limit` requests are sent and unanswered. A request that
//! fails while waiting has certainly not taken effect; one that is written may have.
//!
//! Produce with `acks=0` is not answered by Kafka, but Azure Event Hubs does answer it: an answer to a request that
//! expected none, and that no later answer has overtaken, is accepted once and dropped.
//!
//! After an answer that asks for quiet ([`mute`](InFlight::mute), KIP-219) nothing is sent for a while. That time does count
//! against the requests that wait: a broker that is not to be asked in their time does not answer in it.
//!
//! While an answer's body waits for memory of ours ([`hold`](InFlight::hold)), the broker cannot be heard: that time
//! does not count against the requests that are sent. It does count against those that wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The longest time limit that is honoured: longer ones are cut, so that no sum with a clock overflows.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_hours(365 * 24);

/// Requests of type `T`, from submission to answer.
#[derive(Debug)]
pub(crate) struct InFlight<T> {
    limit: usize,
    max_idle: Duration,
    waiting: VecDeque<Entry<T>>,
    /// In the order of writing; the first `written` of them are written.
    sent: VecDeque<Entry<T>>,
    written: usize,
    /// Ranges of correlation ids that expect no answer, oldest first; no awaited id lies within one.
    unanswered: VecDeque<(i32, i32)>,
    held_since: Option<Instant>,
    /// Nothing is sent before.
    muted_until: Option<Instant>,
    last_used: Instant,
    /// Not later than the first deadline. Being early costs one wake-up and saves a search at each answer.
    wake_at: Instant,
}

#[derive(Debug)]
struct Entry<T> {
    correlation_id: i32,
    is_answered: bool,
    sent_at: Option<Instant>,
    deadline: Instant,
    request: T,
}

/// What [`InFlight::next_overdue`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Overdue<T> {
    /// A request that was not sent: it fails alone.
    Waiting(T),
    /// A request that was sent, and whether all of it was written: the connection must close.
    Sent(T, bool),
    /// Nothing was asked for too long: the connection may close.
    Idle,
}

/// What an answer belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    /// To this request.
    To(T),
    /// To one that expected none; to be dropped.
    Unexpected,
}

/// An answer that belongs to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// The correlation id that was next, if any.
    pub(crate) expected: Option<i32>,
    /// The one that came.
    pub(crate) received: i32,
}

impl<T> InFlight<T> {
    /// Nothing in flight yet.
    pub(crate) fn new(now: Instant, limit: usize, max_idle: Duration) -> Self {
        let max_idle = max_idle.min(LONGEST_TIMEOUT);
        Self {
            limit: limit.max(1),
            max_idle,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            written: 0,
            unanswered: VecDeque::new(),
            held_since: None,
            muted_until: None,
            last_used: now,
            wake_at: now + max_idle,
        }
    }

    /// Whether nothing waits and nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// Takes in a request. Correlation ids ascend (and wrap).
    pub(crate) fn submit(&mut self, correlation_id: i32, is_answered: bool, deadline: Instant, request: T) {
        self.wake_at = self.muted_until.map_or(deadline, |until| until.min(deadline)).min(self.wake_at);
        self.waiting.push_back(Entry { correlation_id, is_answered, sent_at: None, deadline, request });
    }

    /// The next request to be written, if the limit has room. Those that `is_withdrawn` are dropped.
    pub(crate) fn next_to_write(&mut self, now: Instant, is_withdrawn: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.unmute(now);
        if self.muted_until.is_some() {
            return None;
        }
        // Requests that are not answered make no room by being answered, but by being written.
        while self.sent.len() < self.limit {
            let mut entry = self.waiting.pop_front()?;
            if is_withdrawn(&entry.request) {
                continue;
            }
            self.last_used = now;
            entry.sent_at = Some(now);
            self.sent.push_back(entry);
            return self.sent.back_mut().map(|entry| &mut entry.request);
        }
        None
    }

    /// The next request has been written to its last byte. Gives it back if it expects no answer.
    pub(crate) fn handle_written(&mut self, now: Instant) -> Option<T> {
        self.last_used = now;
        let entry = self.sent.get(self.written)?;
        if entry.is_answered {
            self.written += 1;
            return None;
        }
        let entry = self.sent.remove(self.written)?;
        self.expect_none(entry.correlation_id);
        self.wake_when_idle();
        Some(entry.request)
    }

    /// An answer has come.
    pub(crate) fn handle_response(&mut self, now: Instant, correlation_id: i32) -> Result<Answer<T>, Mismatch> {
        self.last_used = now;
        let expected = self.sent.front().map(|entry| entry.correlation_id);
        if self.written > 0 && expected == Some(correlation_id) {
            self.written -= 1;
            self.forget_unanswered_up_to(correlation_id);
            if let Some(entry) = self.sent.pop_front() {
                self.wake_when_idle();
                return Ok(Answer::To(entry.request));
            }
        }
        if self.unanswered.iter().any(|range| is_within(*range, correlation_id)) {
            self.forget_unanswered_up_to(correlation_id);
            return Ok(Answer::Unexpected);
        }
        Err(Mismatch { expected, received: correlation_id })
    }

    /// The broker asks for nothing to be sent for so long, which has been bounded.
    pub(crate) fn mute(&mut self, now: Instant, time: Duration) {
        let until = now + time;
        if self.muted_until.is_none_or(|known| known < until) {
            self.muted_until = Some(until);
            self.wake_at = self.wake_at.min(until);
        }
    }

    /// From now on the broker cannot be heard, and that is our doing.
    pub(crate) fn hold(&mut self, now: Instant) {
        self.held_since.get_or_insert(now);
    }

    /// The broker can be heard again: what is sent gets the time back.
    pub(crate) fn release(&mut self, now: Instant) {
        let Some(held_since) = self.held_since.take() else { return };
        for entry in &mut self.sent {
            let deaf_since = entry.sent_at.map_or(held_since, |sent_at| sent_at.max(held_since));
            entry.deadline += now.saturating_duration_since(deaf_since);
        }
        self.wake_at = self.first_deadline();
    }

    /// When [`next_overdue`](Self::next_overdue) is to be called. Earlier or more often does no harm.
    pub(crate) fn next_deadline(&self) -> Instant {
        self.wake_at
    }

    /// What is overdue, one at a time, until there is nothing more.
    pub(crate) fn next_overdue(&mut self, now: Instant) -> Option<Overdue<T>> {
        if now < self.wake_at {
            return None;
        }
        self.unmute(now);
        if let Some(position) = self.waiting.iter().position(|entry| entry.deadline <= now) {
            return self.waiting.remove(position).map(|entry| Overdue::Waiting(entry.request));
        }
        let sent =
            if self.held_since.is_some() { None } else { self.sent.iter().position(|entry| entry.deadline <= now) };
        if let Some(position) = sent {
            let written = position < self.written;
            self.written -= usize::from(written);
            return self.sent.remove(position).map(|entry| Overdue::Sent(entry.request, written));
        }
        if self.is_empty() && self.last_used + self.max_idle <= now {
            // Not twice: the caller may have a reason to stay.
            self.last_used = now;
            self.wake_at = self.first_deadline();
            return Some(Overdue::Idle);
        }
        self.wake_at = self.first_deadline();
        None
    }

    /// Gives up everything, each with whether it was written, in the order of submission.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (T, bool)> {
        let written = std::mem::take(&mut self.written);
        let sent = std::mem::take(&mut self.sent).into_iter().chain(std::mem::take(&mut self.waiting));
        sent.enumerate().map(move |(position, entry)| (entry.request, position < written))
    }

    fn unmute(&mut self, now: Instant) {
        self.muted_until.take_if(|until| *until <= now);
    }

    fn first_deadline(&self) -> Instant {
        let sent = if self.held_since.is_some() { None } else { Some(&self.sent) };
        let entries = self.waiting.iter().chain(sent.into_iter().flatten());
        let muted_until = self.muted_until.filter(|_| !self.waiting.is_empty());
        let first = entries.map(|entry| entry.deadline).chain(muted_until).min();
        // While something is in flight without a deadline that counts, the connection is not idle.
        let none = if self.is_empty() { self.max_idle } else { LONGEST_TIMEOUT };
        first.unwrap_or(self.last_used + none)
    }

    fn wake_when_idle(&mut self) {
        if self.is_empty() {
            self.wake_at = self.last_used + self.max_idle;
        }
    }

    fn expect_none(&mut self, correlation_id: i32) {
        // A range may grow over ids that were withdrawn, but not over one whose answer is awaited.
        let awaited_before = self.written.checked_sub(1).and_then(|before| self.sent.get(before));
        match self.unanswered.back_mut() {
            Some((first, last))
                if awaited_before.is_none_or(|awaited| !is_within((*last, correlation_id), awaited.correlation_id))
                    // Half of all ids ago nothing can be told from the future.
                    && correlation_id.wrapping_sub(*first) > 0 =>
            {
                *last = correlation_id;
            }
            _ => self.unanswered.push_back((correlation_id, correlation_id)),
        }
    }

    fn forget_unanswered_up_to(&mut self, correlation_id: i32) {
        while let Some((first, last)) = self.unanswered.front_mut() {
            if correlation_id.wrapping_sub(*first) < 0 {
                return;
            }
            if correlation_id.wrapping_sub(*last) < 0 {
                *first = correlation_id.wrapping_add(1);
                return;
            }
            self.unanswered.pop_front();
        }
    }
}

fn is_within((first, last): (i32, i32), correlation_id: i32) -> bool {
    correlation_id.wrapping_sub(first) >= 0 && last.wrapping_sub(correlation_id) >= 0
}

#[cfg(test)]
mod tests;
