//! What a broker remembers of what is read from it: an incremental fetch session (KIP-227), without I/O.
//!
//! ```text
//!           a full request that names all     ┌─ its answer has an id
//!   Begin ────────────────────────────────────┤
//!    ▲  ▲                                     └─▶ GoesOn ──▶ requests that name what has changed,
//!    │  └── its answer has none                     │        answers that name what is new
//!    └── an error, an answer that is lost or not as it should be, a topic with another id
//! ```
//!
//! Whatever goes wrong, the next request is a full one; where it is not known whether the broker still has the session, that
//! request ends it. A broker that gives none, that answers more than is new, or what was not asked for, is so read as
//! one without sessions would be. One that takes its sessions away again and again is not asked for them
//! any more.
//!
//! A session goes on in the versions in which it began, for it names topics either by id or by name (KIP-516), and an epoch
//! counts its requests, so that the broker tells one that was overtaken.
//!
//! Invariants: while a request is on its way the session is not changed, so that it is what the broker has then;
//! whatever is read from now on otherwise than the broker has it is named in the next request.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::messages::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use ottla_wire::{ErrorCode, LeaderEpoch, TopicId, VersionRange, Within};

use self::topics::{TopicSlot, Topics};

pub(crate) use self::topics::TopicOf;

/// See the [module](self). By default one that is not wanted: all requests are full ones.
#[derive(Debug, Default)]
pub(crate) struct Session {
    is_wanted: bool,
    next: Next,
    topics: Topics,
    partitions: BTreeMap<Key, Remembered>,
    /// Those that the broker does not have as they stand in `partitions`; some may have left since.
    changed: Vec<Key>,
    /// Those that have left `partitions` since the last request; some may have come back since.
    left: BTreeSet<Key>,
    /// How many sessions in a row were over before they had gone on once.
    short_lived: u32,
}

/// What the next request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// A full one, without a session.
    #[default]
    Without,
    /// A full one that begins a session, and ends that one.
    Begin { over: Option<SessionId> },
    /// One that names what has changed.
    GoesOn { id: SessionId, epoch: i32, by_id: bool },
}

/// The number of a session, which is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionId(i32);

impl SessionId {
    fn from_wire(id: i32) -> Option<Self> {
        (id > 0).then_some(Self(id))
    }
}

/// A partition: its topic's place in [`Topics`], and its index there.
type Key = (TopicSlot, i32);

/// How one partition is read. As many as partitions: so it is small, and has the wire's value for what is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) offset: i64,
    /// The leader's epoch, for the broker to compare (KIP-320).
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) max_bytes: i32,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    reading: Reading,
    place: u32,
    /// Whether it stands in `changed`.
    is_changed: bool,
}

impl Remembered {
    fn place(&self) -> usize {
        self.place as usize
    }
}

/// How much an answer may tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) partitions: usize,
    pub(crate) topics: usize,
    /// How long the names of the topics are together.
    pub(crate) topic_name_bytes: usize,
}

/// What a request has of its session.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SessionRequest {
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    pub(crate) topics: Vec<FetchTopic>,
    pub(crate) forgotten: Vec<ForgottenTopic>,
    /// Those in which it can be asked.
    pub(crate) versions: Versions,
}

impl From<SessionRequest> for Within<FetchRequest> {
    fn from(request: SessionRequest) -> Self {
        let SessionRequest { session_id, session_epoch, topics, forgotten, versions } = request;
        let forgotten_topics_data = forgotten;
        let request =
            FetchRequest { session_id, session_epoch, topics, forgotten_topics_data, ..FetchRequest::default() };
        Self { request, versions: versions.range() }
    }
}

/// The versions of Fetch in which a request can be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Versions {
    #[default]
    Any,
    ByName,
    ById,
}

impl Versions {
    fn that_name(by_id: bool) -> Self {
        if by_id { Self::ById } else { Self::ByName }
    }

    pub(crate) fn range(self) -> VersionRange {
        match self {
            Self::Any => VersionRange::new(0, i16::MAX),
            Self::ByName => VersionRange::new(FIRST_WITH_SESSIONS, FIRST_BY_ID - 1),
            Self::ById => VersionRange::from(FIRST_BY_ID..),
        }
    }
}

/// What an answer says of its session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionAnswer {
    pub(crate) version: i16,
    pub(crate) error_code: ErrorCode,
    pub(crate) session_id: i32,
    /// Whether it tells of all partitions that a full request names, and of no other than the session has.
    pub(crate) is_as_asked: bool,
}

impl Session {
    /// One that is to begin.
    pub(crate) fn wanted() -> Self {
        Self { is_wanted: true, next: Next::Begin { over: None }, ..Self::default() }
    }

    /// From the next request on, the partition is read like this.
    pub(crate) fn read(&mut self, topic: TopicOf<'_>, partition: i32, place: usize, reading: Reading) {
        let (slot, id_is_news) = self.topics.slot(topic);
        let is_id_missing = matches!(self.next, Next::GoesOn { by_id: true, .. }) && topic.id.is_none();
        if id_is_news || is_id_missing {
            self.begin_anew();
        }
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let key = (slot, partition);
        match self.partitions.entry(key) {
            Entry::Occupied(mut entry) => {
                let remembered = entry.get_mut();
                remembered.place = place;
                if remembered.reading == reading {
                    return;
                }
                remembered.reading = reading;
                if std::mem::replace(&mut remembered.is_changed, true) {
                    return;
                }
            }
            Entry::Vacant(entry) => {
                entry.insert(Remembered { reading, place, is_changed: true });
                self.topics.count(slot, 1);
            }
        }
        self.changed.push(key);
    }

    /// From the next request on, the partition is not read.
    pub(crate) fn leave(&mut self, topic: &str, partition: i32) {
        let Some(slot) = self.topics.names.get(topic).copied() else { return };
        if self.partitions.remove(&(slot, partition)).is_some() {
            self.topics.count(slot, -1);
            self.left.insert((slot, partition));
        }
    }

    /// Where an answer's topic stands, for [`places_of`](Self::places_of).
    pub(crate) fn topic(&self, name: &str, id: Option<TopicId>) -> Option<TopicSlot> {
        let slot = match id {
            Some(id) => self.topics.ids.get(&id),
            None => self.topics.names.get(name),
        };
        slot.copied()
    }

    /// The places of the partitions that an answer tells of, as far as they are read. They mostly come in the order in which
    /// they stand here, and are not searched for then.
    pub(crate) fn places_of(&self, told: impl Iterator<Item = (Option<TopicSlot>, i32)>) -> Vec<Option<usize>> {
        let mut following = self.partitions.range(..);
        told.map(|(topic, partition)| {
            let key = (topic?, partition);
            if let Some((next, remembered)) = following.next()
                && *next == key
            {
                return Some(remembered.place());
            }
            following = self.partitions.range(key..);
            following.next().filter(|(next, _)| **next == key).map(|(_, remembered)| remembered.place())
        })
        .collect()
    }

    /// The places of all partitions that are read.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        self.partitions.values().map(Remembered::place)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// How much an answer may tell of.
    pub(crate) fn extent(&self) -> Extent {
        let Topics { names, name_bytes, .. } = &self.topics;
        Extent { partitions: self.partitions.len(), topics: names.len(), topic_name_bytes: *name_bytes }
    }

    /// Whether the next request names all partitions, and is answered with all.
    pub(crate) fn is_full(&self) -> bool {
        !matches!(self.next, Next::GoesOn { .. })
    }

    /// The next request. A full one names the partitions by `turn`: the broker begins to read with the first.
    pub(crate) fn request(&mut self, turn: impl Fn(usize) -> u64) -> SessionRequest {
        let mut request = match self.next {
            Next::Without => SessionRequest { session_epoch: FINAL_EPOCH, ..SessionRequest::default() },
            Next::Begin { over } => {
                let session_id = over.map_or(NO_SESSION, |SessionId(id)| id);
                SessionRequest { session_id, session_epoch: INITIAL_EPOCH, ..SessionRequest::default() }
            }
            Next::GoesOn { id: SessionId(session_id), epoch, by_id } => {
                let versions = Versions::that_name(by_id);
                SessionRequest { session_id, session_epoch: epoch, versions, ..SessionRequest::default() }
            }
        };
        if self.is_full() {
            request.topics = self.name_all(turn);
        } else {
            request.topics = self.name_changed();
            request.forgotten = self.forgotten();
        }
        let left = std::mem::take(&mut self.left);
        self.topics.forget(left.into_iter().map(|(slot, _)| slot));
        request
    }

    fn name_all(&mut self, turn: impl Fn(usize) -> u64) -> Vec<FetchTopic> {
        self.changed.clear();
        let mut all = Vec::with_capacity(self.partitions.len());
        for (key, remembered) in &mut self.partitions {
            remembered.is_changed = false;
            all.push((turn(remembered.place()), *key, remembered.reading));
        }
        all.sort_by_key(|(turn, ..)| *turn);
        self.named(all.into_iter().map(|(_, key, reading)| (key, reading)))
    }

    fn name_changed(&mut self) -> Vec<FetchTopic> {
        let mut changed = std::mem::take(&mut self.changed);
        // So that topics stand together.
        changed.sort_unstable();
        let mut readings = Vec::with_capacity(changed.len());
        let mut following = self.partitions.range_mut(..);
        for key in changed.drain(..) {
            // Where all have changed, each follows the one before.
            let mut next = following.next().filter(|(next, _)| **next == key);
            if next.is_none() {
                following = self.partitions.range_mut(key..);
                next = following.next().filter(|(next, _)| **next == key);
            }
            let Some((_, remembered)) = next else { continue };
            // One that has left and come back stands there twice.
            if std::mem::take(&mut remembered.is_changed) {
                readings.push((key, remembered.reading));
            }
        }
        self.changed = changed; // with its memory
        self.named(readings.into_iter())
    }

    fn named(&self, partitions: impl Iterator<Item = (Key, Reading)>) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut last = None;
        for ((slot, partition), reading) in partitions {
            let Some(topic) = self.topics.get(slot) else { continue };
            // As Java does: neighbours of one topic share an entry, and the order is kept whatever that takes.
            if last.replace(slot) != Some(slot) {
                let (topic, topic_id) = (topic.name.as_ref().to_owned(), topic.id.unwrap_or_default());
                topics.push(FetchTopic { topic, topic_id, partitions: Vec::new() });
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(FetchPartition {
                    partition,
                    current_leader_epoch: reading.leader_epoch,
                    fetch_offset: reading.offset,
                    partition_max_bytes: reading.max_bytes,
                    ..FetchPartition::default()
                });
            }
        }
        topics
    }

    /// Those of `left` that have not come back: a broker takes in first what is named and then what is forgotten.
    fn forgotten(&self) -> Vec<ForgottenTopic> {
        let mut topics: Vec<ForgottenTopic> = Vec::new();
        let mut last = None;
        for (slot, partition) in self.left.iter().filter(|key| !self.partitions.contains_key(*key)) {
            let Some(topic) = self.topics.get(*slot) else { continue };
            if last.replace(*slot) != Some(*slot) {
                let (topic, topic_id) = (topic.name.as_ref().to_owned(), topic.id.unwrap_or_default());
                topics.push(ForgottenTopic { topic, topic_id, partitions: Vec::new() });
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(*partition);
            }
        }
        topics
    }

    /// The request was answered.
    pub(crate) fn answered(&mut self, answer: SessionAnswer) {
        let SessionAnswer { version, error_code, session_id, is_as_asked } = answer;
        let (id, is_error) = (SessionId::from_wire(session_id), error_code != ErrorCode::None);
        match self.next {
            Next::Without => {}
            Next::Begin { .. } if is_error => {}
            Next::Begin { .. } => {
                let goes_on = id.filter(|_| is_as_asked);
                let by_id = version >= FIRST_BY_ID;
                self.next =
                    goes_on.map_or(Next::Begin { over: id }, |id| Next::GoesOn { id, epoch: FIRST_EPOCH, by_id });
            }
            Next::GoesOn { id: mine, epoch, by_id } if !is_error && id == Some(mine) && is_as_asked => {
                self.short_lived = 0;
                self.next = Next::GoesOn { id: mine, epoch: epoch.checked_add(1).unwrap_or(FIRST_EPOCH), by_id };
            }
            Next::GoesOn { .. } => {
                self.begin_anew();
                let is_gone = error_code == ErrorCode::FetchSessionIdNotFound || (!is_error && id.is_none());
                if let (true, Next::Begin { over }) = (is_gone, &mut self.next) {
                    *over = None;
                }
            }
        }
    }

    /// What the broker has is not known, or not what it is to have: the next request is a full one.
    pub(crate) fn begin_anew(&mut self) {
        let Next::GoesOn { id, epoch, .. } = self.next else { return };
        self.next = Next::Begin { over: Some(id) };
        self.short_lived = if epoch == FIRST_EPOCH { self.short_lived + 1 } else { 0 };
        if self.short_lived > SHORT_LIVED_SESSIONS {
            self.next = Next::Without;
        }
    }

    /// The broker is connected to anew, and may have become another one.
    pub(crate) fn reconnected(&mut self) {
        self.begin_anew();
        self.short_lived = 0;
        if self.is_wanted && self.next == Next::Without {
            self.next = Next::Begin { over: None };
        }
    }

    /// The request that ends the session, if the broker has one.
    pub(crate) fn end(&mut self) -> Option<SessionRequest> {
        let (SessionId(session_id), versions) = match self.next {
            Next::GoesOn { id, by_id, .. } => (id, Versions::that_name(by_id)),
            Next::Begin { over: Some(id) } => (id, Versions::Any),
            Next::Begin { over: None } | Next::Without => return None,
        };
        self.next = Next::Begin { over: None };
        Some(SessionRequest { session_id, session_epoch: FINAL_EPOCH, versions, ..SessionRequest::default() })
    }

    /// Whether the broker may have a session that nobody has ended.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.next, Next::GoesOn { .. } | Next::Begin { over: Some(_) })
    }
}

/// Stands for the id where there is no session.
const NO_SESSION: i32 = 0;
/// The epoch of a request that begins a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a full request that wants none.
const FINAL_EPOCH: i32 = -1;
/// The epoch of the first request that goes on, and of the one after `i32::MAX`.
const FIRST_EPOCH: i32 = 1;
/// The first version that has sessions.
const FIRST_WITH_SESSIONS: i16 = 7;
/// The first version that names topics by their ids.
pub(crate) const FIRST_BY_ID: i16 = 13;
/// So many sessions in a row may be over before they have gone on once.
const SHORT_LIVED_SESSIONS: u32 = 3;

#[cfg(test)]
mod tests;
mod topics;
