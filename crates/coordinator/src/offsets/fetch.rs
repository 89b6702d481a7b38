//! Lookups of committed offsets. Does no I/O and reads no clock.
//!
//! A lookup goes on until the coordinator has answered for each of its partitions, something says that it never will,
//! or its time is over. *Nothing is committed* is said only where the coordinator says so, with -1 and no error:
//! everything else would have a consumer start somewhere else than where the group stands.
//!
//! # What each error code does
//!
//! | code | of the group | of a partition |
//! |---|---|---|
//! | `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`, no answer | retried, the coordinator is looked for again | the same |
//! | `COORDINATOR_LOAD_IN_PROGRESS`, other retriable codes | retried | retried |
//! | `UNSTABLE_OFFSET_COMMIT` (only with `require_stable`) | retried | retried |
//! | `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID` | retried | retried, with new metadata |
//! | permanent codes | `Refused` | `PartitionRefused` |
//!
//! A topic is asked for by its id and by its name, of which the broker's version takes one. An answer for another id
//! than that of the topic's current metadata is an answer for another topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::Backoff;
use ottla_wire::messages::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponsePartition,
};
use ottla_wire::{ErrorCode, NodeId, TopicId, TopicPartition};

use crate::{Error, OffsetAndMetadata};

/// What a lookup finds.
pub(crate) type Found = BTreeMap<TopicPartition, Option<OffsetAndMetadata>>;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Lookups {
    group: Arc<str>,
    require_stable: bool,
    under_way: BTreeMap<u64, Lookup>,
    numbers: u64,
    backoff: Backoff,
    results: Vec<(u64, Result<Found, Error>)>,
}

#[derive(Debug)]
struct Lookup {
    wanted: BTreeSet<TopicPartition>,
    found: Found,
    in_flight: Option<u64>,
    timeout: Duration,
    deadline: Instant,
    not_before: Option<Instant>,
    failures: u32,
    failure: Option<Error>,
}

/// A request that is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct NextLookup {
    /// Whose it is.
    pub(crate) lookup: u64,
    /// Which of its attempts.
    pub(crate) number: u64,
    pub(crate) wanted: LookupRequest,
}

/// What is asked for, before it is known in which version.
#[derive(Clone, Debug)]
pub(crate) struct LookupRequest {
    group: Arc<str>,
    require_stable: bool,
    topics: BTreeMap<Arc<str>, (TopicId, Vec<i32>)>,
}

/// What an answer says beside what was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Consequences {
    pub(crate) is_coordinator_unknown: bool,
    pub(crate) stale_topics: Vec<Arc<str>>,
}

impl Lookups {
    pub(crate) fn new(group: Arc<str>, require_stable: bool, backoff: Backoff) -> Self {
        Self { group, require_stable, under_way: BTreeMap::new(), numbers: 0, backoff, results: Vec::new() }
    }

    /// Begins one. Its result comes out of [`take_results`](Self::take_results), by `timeout` at the latest.
    pub(crate) fn begin(&mut self, now: Instant, wanted: BTreeSet<TopicPartition>, timeout: Duration) -> u64 {
        self.numbers += 1;
        let lookup = Lookup {
            wanted,
            found: Found::new(),
            in_flight: None,
            timeout,
            deadline: now + timeout,
            not_before: None,
            failures: 0,
            failure: None,
        };
        self.under_way.insert(self.numbers, lookup);
        self.numbers
    }

    /// Nobody waits for it any more.
    pub(crate) fn abandon(&mut self, lookup: u64) {
        self.under_way.remove(&lookup);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(crate) fn take_results(&mut self) -> Vec<(u64, Result<Found, Error>)> {
        std::mem::take(&mut self.results)
    }

    /// A request to be sent now, if there is one. `topic_id` says what is known of a topic.
    pub(crate) fn next_request(
        &mut self,
        now: Instant,
        topic_id: impl Fn(&str) -> Option<TopicId>,
    ) -> Option<NextLookup> {
        let is_due = |lookup: &Lookup| lookup.in_flight.is_none() && lookup.not_before.is_none_or(|due| due <= now);
        let (id, lookup) = self.under_way.iter_mut().find(|(_, lookup)| is_due(lookup))?;
        let mut topics: BTreeMap<Arc<str>, (TopicId, Vec<i32>)> = BTreeMap::new();
        for wanted in &lookup.wanted {
            let known = || (topic_id(&wanted.topic).unwrap_or(TopicId::NONE), Vec::new());
            topics.entry(Arc::clone(&wanted.topic)).or_insert_with(known).1.push(wanted.partition);
        }
        self.numbers += 1;
        lookup.in_flight = Some(self.numbers);
        let wanted = LookupRequest { group: Arc::clone(&self.group), require_stable: self.require_stable, topics };
        Some(NextLookup { lookup: *id, number: self.numbers, wanted })
    }

    /// Takes in an answer; `Err`: there is none.
    pub(crate) fn handle_answer(
        &mut self,
        now: Instant,
        asked: &NextLookup,
        node: NodeId,
        answer: Result<OffsetFetchResponse, Error>,
    ) -> Consequences {
        let mut consequences = Consequences::default();
        let group = Arc::clone(&self.group);
        let Some(lookup) = self.under_way.get_mut(&asked.lookup) else { return consequences };
        if lookup.in_flight.take_if(|number| *number == asked.number).is_none() {
            return consequences;
        }
        let attempted = "OffsetFetch";
        let failure = match answer.map(|response| asked.wanted.read(response)) {
            Err(error) => Some(error),
            Ok(Err(error_code)) => {
                consequences.is_coordinator_unknown = error_code.invalidates_coordinator();
                Some(Error::Refused { attempted, group, node, error_code })
            }
            Ok(Ok(partitions)) => lookup.take_in(partitions, |partition, error_code| match error_code {
                Some(error_code) => {
                    consequences.is_coordinator_unknown |= error_code.invalidates_coordinator();
                    if error_code.invalidates_metadata() {
                        consequences.stale_topics.push(Arc::clone(&partition.topic));
                    }
                    Error::PartitionRefused { attempted, group: Arc::clone(&group), node, partition, error_code }
                }
                None => Error::PartitionMissing { attempted, group: Arc::clone(&group), node, partition },
            }),
        };
        match failure {
            None => self.finish(asked.lookup, None),
            Some(error) if !error.is_retriable() => self.finish(asked.lookup, Some(error)),
            Some(error) => {
                lookup.failures = lookup.failures.saturating_add(1);
                lookup.not_before = Some(now + self.backoff.next_delay(lookup.failures));
                lookup.failure = Some(error);
            }
        }
        consequences
    }

    fn finish(&mut self, id: u64, error: Option<Error>) {
        if let Some(lookup) = self.under_way.remove(&id) {
            self.results.push((id, error.map_or(Ok(lookup.found), Err)));
        }
    }

    /// Ends lookups whose time is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let over: Vec<u64> =
            self.under_way.iter().filter(|(_, lookup)| lookup.deadline <= now).map(|(id, _)| *id).collect();
        for id in over {
            let Some(lookup) = self.under_way.get_mut(&id) else { continue };
            let (group, timeout) = (Arc::clone(&self.group), lookup.timeout);
            let source = lookup.failure.take().map(Box::new);
            self.finish(id, Some(Error::TimedOut { attempted: "OffsetFetch", group, timeout, source }));
        }
    }

    /// The coordinator cannot be had, for a reason that does not go away.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        for id in self.under_way.keys().copied().collect::<Vec<_>>() {
            self.finish(id, Some(error.clone()));
        }
    }

    /// What failed is sent again at once: there is somebody else to send it to.
    pub(crate) fn end_back_off(&mut self) {
        for lookup in self.under_way.values_mut() {
            (lookup.failures, lookup.not_before) = (0, None);
        }
    }

    /// When something is to be done. `is_sendable`: whether there is a coordinator to send to.
    pub(crate) fn next_deadline(&self, is_sendable: bool) -> Option<Instant> {
        let deadlines = self.under_way.values().map(|lookup| {
            let retry = lookup.not_before.filter(|_| is_sendable && lookup.in_flight.is_none());
            retry.map_or(lookup.deadline, |retry| retry.min(lookup.deadline))
        });
        deadlines.min()
    }
}

impl Lookup {
    /// Takes in what was answered. Gives the failure that decides, if there is one: a permanent one before others.
    fn take_in(
        &mut self,
        mut answered: BTreeMap<TopicPartition, OffsetFetchResponsePartition>,
        mut error: impl FnMut(TopicPartition, Option<ErrorCode>) -> Error,
    ) -> Option<Error> {
        let (mut permanent, mut retriable) = (None, None);
        self.wanted.retain(|partition| {
            let failure = match answered.remove(partition) {
                None => error(partition.clone(), None),
                Some(answer) if answer.error_code == ErrorCode::None => {
                    self.found.insert(partition.clone(), committed(answer));
                    return false;
                }
                Some(answer) => error(partition.clone(), Some(answer.error_code)),
            };
            if failure.is_retriable() {
                retriable.get_or_insert(failure)
            } else {
                permanent.get_or_insert(failure)
            };
            true
        });
        permanent.or(retriable)
    }
}

fn committed(answer: OffsetFetchResponsePartition) -> Option<OffsetAndMetadata> {
    (answer.committed_offset >= 0).then(|| OffsetAndMetadata {
        offset: answer.committed_offset,
        leader_epoch: answer.committed_leader_epoch.known(),
        metadata: answer.metadata.unwrap_or_default(),
    })
}

impl LookupRequest {
    /// In the versions that ask for several groups, or in those before. A broker that does not know `require_stable`
    /// has no transactions to wait for that would be told of so.
    pub(crate) fn request(&self, is_batched: bool, has_require_stable: bool) -> OffsetFetchRequest {
        let group_id = self.group.as_ref().to_owned();
        let require_stable = self.require_stable && has_require_stable;
        if !is_batched {
            let topics = self.topics.iter().map(|(name, (_, partitions))| OffsetFetchRequestTopic {
                name: name.as_ref().to_owned(),
                partition_indexes: partitions.clone(),
            });
            let topics = Some(topics.collect());
            return OffsetFetchRequest { group_id, topics, require_stable, ..OffsetFetchRequest::default() };
        }
        let topics = self.topics.iter().map(|(name, (topic_id, partitions))| OffsetFetchRequestTopics {
            name: name.as_ref().to_owned(),
            topic_id: *topic_id,
            partition_indexes: partitions.clone(),
        });
        let group =
            OffsetFetchRequestGroup { group_id, topics: Some(topics.collect()), ..OffsetFetchRequestGroup::default() };
        OffsetFetchRequest { groups: vec![group], require_stable, ..OffsetFetchRequest::default() }
    }

    /// What an answer in either form says, by name; `Err`: what it says of the group.
    fn read(
        &self,
        response: OffsetFetchResponse,
    ) -> Result<BTreeMap<TopicPartition, OffsetFetchResponsePartition>, ErrorCode> {
        response.error_code.into_result()?;
        let mut answered = BTreeMap::new();
        let mut take_in = |name: &Arc<str>, partitions: Vec<OffsetFetchResponsePartition>| {
            for partition in partitions {
                answered.insert(TopicPartition::new(Arc::clone(name), partition.partition_index), partition);
            }
        };
        for topic in response.topics {
            take_in(&topic.name.into(), topic.partitions);
        }
        let groups = response.groups.into_iter();
        for group in groups.filter(|group| *group.group_id == *self.group) {
            group.error_code.into_result()?;
            for topic in group.topics {
                match topic.topic_id.known() {
                    None => take_in(&topic.name.into(), topic.partitions),
                    Some(id) => {
                        if let Some((name, _)) = self.topics.iter().find(|(_, (known, _))| *known == id) {
                            take_in(name, topic.partitions);
                        }
                    }
                }
            }
        }
        Ok(answered)
    }
}
