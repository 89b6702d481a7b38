//! Fetch sessions (KIP-227), without I/O: a node remembers what a client reads, so that the client names only what
//! changes, and the node answers only with what is new.
//!
//! | session id, epoch of a request | what it is |
//! |---|---|
//! | 0, 0 | a full request that begins a session |
//! | 0, -1 | a full request without a session |
//! | `id`, 0 or -1 | the same, and session `id` ends |
//! | `id`, `epoch` | an incremental request: partitions that are new, changed or forgotten |
//!
//! Epochs count the requests of a session, from 1, and begin there again: what was overtaken is told by its epoch.
//! Partitions have turns: one that gave records is last next time, so that none starves behind it.
//!
//! Invariants: there are never more sessions than slots; `turns` names each partition of a session once.

mod session;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::messages::{FetchPartition, FetchPartitionData};
use ottla_wire::{ErrorCode, TopicId};

use self::session::Session;

/// A session that was not used for so long makes room for another; one that has lived so long does, for a larger one
/// (`min.incremental.fetch.session.eviction.ms`).
const EVICTION_TIME: Duration = Duration::from_mins(2);

/// The session id of those who have none.
pub(crate) const NO_SESSION: i32 = 0;

/// The epoch of a full request that begins a session.
const INITIAL_EPOCH: i32 = 0;

/// The epoch of a full request that wants none.
const FINAL_EPOCH: i32 = -1;

/// A partition as requests name it: its topic by name or by id, whichever the version has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionName {
    pub(crate) topic: Arc<str>,
    pub(crate) topic_id: TopicId,
    pub(crate) index: i32,
}

/// What a request says of its session.
#[derive(Debug)]
pub(crate) struct SessionRequest {
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    /// Whether topics are named by their ids.
    pub(crate) by_id: bool,
    pub(crate) partitions: Vec<(PartitionName, FetchPartition)>,
    pub(crate) forgotten: Vec<PartitionName>,
}

/// What is to be read for a request, in which order, and what becomes of the answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Opened {
    pub(crate) partitions: Vec<(PartitionName, FetchPartition)>,
    pub(crate) session: SessionUse,
}

/// How an answer goes with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionUse {
    /// There is none: everything is answered.
    None,
    /// One begins: everything is answered and remembered.
    Begins { by_id: bool, at: Instant },
    /// It goes on: news are answered, if the epoch is still this.
    GoesOn { session_id: i32, epoch: i32 },
}

/// The sessions of one node.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    /// Draws the ids.
    random: fastrand::Rng,
    sessions: BTreeMap<i32, Session>,
}

impl FetchSessions {
    /// None so far, of at most `slots`, whose ids are drawn from `seed`.
    pub(crate) fn new(slots: usize, seed: u64) -> Self {
        Self { slots, random: fastrand::Rng::with_seed(seed), sessions: BTreeMap::new() }
    }

    /// Takes in what a request says, and says what is to be read for it.
    pub(crate) fn open(&mut self, now: Instant, request: SessionRequest) -> Result<Opened, ErrorCode> {
        let SessionRequest { session_id, session_epoch, by_id, partitions, forgotten } = request;
        if matches!(session_epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            self.sessions.remove(&session_id);
            let begins = session_epoch == INITIAL_EPOCH;
            let session = if begins { SessionUse::Begins { by_id, at: now } } else { SessionUse::None };
            return Ok(Opened { partitions, session });
        }
        let session = self.sessions.get_mut(&session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.change(partitions, &forgotten);
        if session.is_empty() {
            self.sessions.remove(&session_id);
            return Ok(Opened { partitions: Vec::new(), session: SessionUse::None });
        }
        let epoch = session.next_epoch(now);
        Ok(Opened { partitions: session.in_turn(), session: SessionUse::GoesOn { session_id, epoch } })
    }

    /// Begins a session with what its first request was answered. Returns its id, or [`NO_SESSION`] where there is no
    /// room: then the client goes on with full requests.
    pub(crate) fn begin<'p>(
        &mut self,
        by_id: bool,
        at: Instant,
        answered: impl Iterator<Item = (&'p PartitionName, &'p FetchPartition, &'p FetchPartitionData)>,
    ) -> i32 {
        let session = Session::new(by_id, at, answered);
        if self.sessions.len() >= self.slots && !self.make_room(at, session.len()) {
            return NO_SESSION;
        }
        let id = loop {
            let id = self.random.i32(1..);
            if !self.sessions.contains_key(&id) {
                break id;
            }
        };
        self.sessions.insert(id, session);
        id
    }

    /// Says of each answer whether it is news, in the order of [`Opened::partitions`]. An error where the session has gone
    /// on without this request.
    pub(crate) fn select<'p>(
        &mut self,
        session_id: i32,
        epoch: i32,
        answered: impl Iterator<Item = (&'p PartitionName, &'p FetchPartitionData)>,
    ) -> Result<Vec<bool>, ErrorCode> {
        let session = self.sessions.get_mut(&session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        Ok(answered.map(|(name, data)| session.is_news(name, data)).collect())
    }

    /// Forgets all of them, as a broker does that starts anew. Ids go on: none of before is given out again soon.
    pub(crate) fn clear(&mut self) {
        self.sessions.clear();
    }

    /// Takes a session away for one of `size` partitions: one that is not used any more, or the smallest of the old, if it is
    /// smaller.
    fn make_room(&mut self, now: Instant, size: usize) -> bool {
        let longest_unused = self.sessions.iter().min_by_key(|(_, session)| session.last_used());
        let stale = longest_unused.filter(|(_, session)| now.duration_since(session.last_used()) > EVICTION_TIME);
        let evicted = stale.or_else(|| {
            let old = self.sessions.iter().filter(|(_, session)| session.age_when_used() > EVICTION_TIME);
            old.min_by_key(|(id, session)| (session.len(), **id)).filter(|(_, session)| session.len() < size)
        });
        let evicted = evicted.map(|(id, _)| *id);
        evicted.and_then(|id| self.sessions.remove(&id)).is_some()
    }
}

#[cfg(test)]
mod tests;
