//! Commits: in the order of the calls, one OffsetCommit at a time. Does no I/O and reads no clock.
//!
//! A commit bears the membership of the moment in which it was made, and the topics' ids as they were known then: a
//! topic that is made anew under the same name never inherits offsets. The commits at the head of the queue that share
//! both go in one request, the later offset of a partition winning, and each of them gets its own result. What can be
//! retried goes back to the head of the queue, without what did succeed: so no offset ever overtakes a later one of
//! its partition.
//!
//! # What each error code does
//!
//! | code, of any partition of a commit | the commit | the membership that it was made for |
//! |---|---|---|
//! | `COORDINATOR_LOAD_IN_PROGRESS`, `UNKNOWN_TOPIC_OR_PARTITION`, other retriable codes | retried | as it was |
//! | `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`, `REQUEST_TIMED_OUT`, no answer | retried, the coordinator is looked for again | as it was |
//! | `REBALANCE_IN_PROGRESS` | `RebalanceInProgress` | rebalance needed |
//! | `UNKNOWN_MEMBER_ID`, `ILLEGAL_GENERATION` of the current membership | `CommitFailed` | lost (with `ILLEGAL_GENERATION` the id is kept) |
//! | the same of an older one | `RebalanceInProgress` while joining, else `CommitFailed` | as it was |
//! | `FENCED_INSTANCE_ID` of the current membership | `FencedInstanceId` | as it was: the next heartbeat says so, too |
//! | the same of an older one | `RebalanceInProgress` while joining, else `CommitFailed` | as it was |
//! | other permanent codes | `Refused` (group), `PartitionRefused` | as it was |

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::Backoff;
use ottla_wire::messages::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use ottla_wire::{ErrorCode, LeaderEpoch, NodeId, TopicId, TopicPartition};

use crate::classic::{Identity, MembershipView};
use crate::{Error, OffsetAndMetadata};

/// A commit's number: they ascend in the order of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CommitId(pub(crate) u64);

/// Who commits. Without a membership: nobody in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) identity: Identity,
    pub(crate) group_instance_id: Option<Arc<str>>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct CommitQueue {
    group: Arc<str>,
    queue: VecDeque<Queued>,
    in_flight: Option<InFlight>,
    numbers: u64,
    failures: u32,
    not_before: Option<Instant>,
    backoff: Backoff,
    results: Vec<(CommitId, Result<(), Error>)>,
}

#[derive(Debug)]
struct Queued {
    id: CommitId,
    stamp: Stamp,
    offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    topic_ids: BTreeMap<Arc<str>, TopicId>,
    timeout: Duration,
    deadline: Instant,
    /// What the last attempt failed with.
    failure: Option<Error>,
}

#[derive(Debug)]
struct InFlight {
    number: u64,
    commits: Vec<Queued>,
}

/// A request that is to be sent.
#[derive(Debug)]
pub(crate) struct NextCommit {
    pub(crate) number: u64,
    pub(crate) request: OffsetCommitRequest,
}

/// What an answer says beside the commits' results.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Consequences {
    pub(crate) is_coordinator_unknown: bool,
    /// The membership that the commits were made for is over.
    pub(crate) membership_refused: Option<ErrorCode>,
    pub(crate) is_rebalance_needed: bool,
    /// Topics that the coordinator does not know as they were named.
    pub(crate) stale_topics: Vec<Arc<str>>,
}

impl CommitQueue {
    pub(crate) fn new(group: Arc<str>, backoff: Backoff) -> Self {
        Self {
            group,
            queue: VecDeque::new(),
            in_flight: None,
            numbers: 0,
            failures: 0,
            not_before: None,
            backoff,
            results: Vec::new(),
        }
    }

    /// Queues a commit. Its result comes out of [`take_results`](Self::take_results), by `timeout` at the latest.
    pub(crate) fn enqueue(
        &mut self,
        now: Instant,
        stamp: Stamp,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        topic_ids: BTreeMap<Arc<str>, TopicId>,
        timeout: Duration,
    ) -> CommitId {
        let id = self.next_id();
        let deadline = now + timeout;
        self.queue.push_back(Queued { id, stamp, offsets, topic_ids, timeout, deadline, failure: None });
        id
    }

    /// The number of the next commit.
    pub(crate) fn next_id(&mut self) -> CommitId {
        self.numbers += 1;
        CommitId(self.numbers)
    }

    /// The last commit so far.
    pub(crate) fn last_id(&self) -> CommitId {
        CommitId(self.numbers)
    }

    /// Whether that commit and all before it have their results.
    pub(crate) fn is_done(&self, id: CommitId) -> bool {
        self.open().map(|commit| commit.id).min().is_none_or(|first| first > id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open().next().is_none()
    }

    fn open(&self) -> impl Iterator<Item = &Queued> {
        self.in_flight.iter().flat_map(|in_flight| &in_flight.commits).chain(&self.queue)
    }

    pub(crate) fn take_results(&mut self) -> Vec<(CommitId, Result<(), Error>)> {
        std::mem::take(&mut self.results)
    }

    /// The request to be sent now, if there is one.
    pub(crate) fn next_request(&mut self, now: Instant) -> Option<NextCommit> {
        if self.in_flight.is_some() || self.not_before.is_some_and(|due| due > now) {
            return None;
        }
        let first = self.queue.pop_front()?;
        let (stamp, mut ids) = (first.stamp.clone(), first.topic_ids.clone());
        let mut commits = vec![first];
        while let Some(next) = self.queue.front()
            && next.may_go_with(&stamp, &ids)
        {
            ids.extend(next.topic_ids.iter().map(|(topic, id)| (Arc::clone(topic), *id)));
            commits.extend(self.queue.pop_front());
        }
        let request = self.request(&commits);
        self.numbers += 1;
        let number = self.numbers;
        self.in_flight = Some(InFlight { number, commits });
        Some(NextCommit { number, request })
    }

    fn request(&self, commits: &[Queued]) -> OffsetCommitRequest {
        let mut offsets = BTreeMap::new();
        for commit in commits {
            offsets.extend(commit.offsets.iter());
        }
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (name, offset) in offsets {
            let partition = OffsetCommitRequestPartition {
                partition_index: name.partition,
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch.unwrap_or(LeaderEpoch::NONE),
                committed_metadata: Some(offset.metadata.clone()),
            };
            match topics.last_mut().filter(|topic| *topic.name == *name.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(OffsetCommitRequestTopic {
                    name: name.topic.as_ref().to_owned(),
                    topic_id: commits.iter().find_map(|commit| commit.topic_id(&name.topic)).unwrap_or(TopicId::NONE),
                    partitions: vec![partition],
                }),
            }
        }
        let stamp = commits.first().map(|commit| commit.stamp.clone()).unwrap_or_default();
        OffsetCommitRequest {
            group_id: self.group.as_ref().to_owned(),
            generation_id_or_member_epoch: stamp.identity.generation_id.0,
            member_id: stamp.identity.member_id.as_ref().to_owned(),
            group_instance_id: stamp.group_instance_id.as_deref().map(ToOwned::to_owned),
            topics,
            ..OffsetCommitRequest::default()
        }
    }

    /// Takes in an answer; `Err`: there is none. `view` says how the membership stands to the commits'.
    pub(crate) fn handle_answer(
        &mut self,
        now: Instant,
        number: u64,
        node: NodeId,
        answer: Result<OffsetCommitResponse, Error>,
        view: impl Fn(&Stamp) -> MembershipView,
    ) -> Consequences {
        let mut consequences = Consequences::default();
        let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.number == number) else {
            return consequences;
        };
        let mut retried = Vec::new();
        match answer {
            Ok(response) => {
                let codes = read(&in_flight.commits, response);
                let view = in_flight.commits.first().map_or(MembershipView::Over, |commit| view(&commit.stamp));
                for commit in in_flight.commits {
                    retried.extend(self.judge(commit, node, &codes, view, &mut consequences));
                }
            }
            Err(error) => {
                for mut commit in in_flight.commits {
                    if error.is_retriable() {
                        commit.failure = Some(error.clone());
                        retried.push(commit);
                    } else {
                        self.results.push((commit.id, Err(error.clone())));
                    }
                }
            }
        }
        if retried.is_empty() {
            (self.failures, self.not_before) = (0, None);
        } else {
            self.failures = self.failures.saturating_add(1);
            self.not_before = Some(now + self.backoff.next_delay(self.failures));
        }
        for commit in retried.into_iter().rev() {
            self.queue.push_front(commit);
        }
        self.handle_timeout(now);
        consequences
    }

    /// Gives a commit its result, or gives it back to be retried.
    fn judge(
        &mut self,
        mut commit: Queued,
        node: NodeId,
        codes: &BTreeMap<TopicPartition, ErrorCode>,
        view: MembershipView,
        consequences: &mut Consequences,
    ) -> Option<Queued> {
        let (mut permanent, mut retriable) = (None, None);
        commit.offsets.retain(|partition, _| {
            let attempted = "OffsetCommit";
            let (group, partition) = (Arc::clone(&self.group), partition.clone());
            let Some(&error_code) = codes.get(&partition) else {
                retriable.get_or_insert(Error::PartitionMissing { attempted, group, node, partition });
                return true;
            };
            match error_code {
                ErrorCode::None => return false,
                ErrorCode::RequestTimedOut => consequences.is_coordinator_unknown = true,
                code if code.invalidates_coordinator() => consequences.is_coordinator_unknown = true,
                code if code.invalidates_metadata() => consequences.stale_topics.push(Arc::clone(&partition.topic)),
                _ => {}
            }
            let is_retriable = error_code.is_retriable();
            let error = match error_code {
                ErrorCode::GroupAuthorizationFailed => Error::Refused { attempted, group, node, error_code },
                _ => Error::PartitionRefused { attempted, group, node, partition, error_code },
            };
            if is_retriable {
                retriable.get_or_insert(error)
            } else {
                permanent.get_or_insert(error)
            };
            true
        });
        match (permanent, retriable) {
            (Some(error), _) => {
                let result = self.explain(error, &commit.stamp, view, consequences);
                self.results.push((commit.id, Err(result)));
                None
            }
            (None, Some(error)) => {
                commit.failure = Some(error);
                Some(commit)
            }
            (None, None) => {
                self.results.push((commit.id, Ok(())));
                None
            }
        }
    }

    /// What an error of the membership means to the commit, and to the membership.
    fn explain(&self, error: Error, stamp: &Stamp, view: MembershipView, consequences: &mut Consequences) -> Error {
        let group = Arc::clone(&self.group);
        let error_code = error.error_code();
        let stale = |group| match view {
            MembershipView::Rebalancing => Error::RebalanceInProgress { group },
            MembershipView::Current | MembershipView::Over => Error::CommitFailed { group, error_code },
        };
        match error_code {
            Some(ErrorCode::RebalanceInProgress) => {
                consequences.is_rebalance_needed |= view == MembershipView::Current;
                Error::RebalanceInProgress { group }
            }
            Some(error_code @ (ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration)) => {
                if view == MembershipView::Current {
                    consequences.membership_refused = Some(error_code);
                }
                stale(group)
            }
            Some(ErrorCode::FencedInstanceId) => match &stamp.group_instance_id {
                Some(group_instance_id) if view == MembershipView::Current => {
                    Error::FencedInstanceId { group, group_instance_id: Arc::clone(group_instance_id) }
                }
                _ => stale(group),
            },
            _ => error,
        }
    }

    /// Ends commits whose time is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let group = &self.group;
        let results = &mut self.results;
        let mut end = |commit: &mut Queued| {
            let is_over = commit.deadline <= now;
            if is_over {
                let source = commit.failure.take().map(Box::new);
                let (attempted, timeout) = ("OffsetCommit", commit.timeout);
                let error = Error::TimedOut { attempted, group: Arc::clone(group), timeout, source };
                results.push((commit.id, Err(error)));
            }
            !is_over
        };
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.commits.retain_mut(&mut end);
        }
        self.queue.retain_mut(&mut end);
    }

    /// The coordinator cannot be had, for a reason that does not go away.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        for commit in self.queue.drain(..) {
            self.results.push((commit.id, Err(error.clone())));
        }
    }

    /// What failed is sent again at once: there is somebody else to send it to.
    pub(crate) fn end_back_off(&mut self) {
        (self.failures, self.not_before) = (0, None);
    }

    /// When something is to be done. `is_sendable`: whether there is a coordinator to send to.
    pub(crate) fn next_deadline(&self, is_sendable: bool) -> Option<Instant> {
        let retry = self.not_before.filter(|_| is_sendable && self.in_flight.is_none() && !self.queue.is_empty());
        self.open().map(|commit| commit.deadline).chain(retry).min()
    }
}

impl Queued {
    fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.topic_ids.get(topic).copied()
    }

    /// Whether it can be said in the request of those that bear that stamp, and know topics by these ids.
    fn may_go_with(&self, stamp: &Stamp, ids: &BTreeMap<Arc<str>, TopicId>) -> bool {
        let is_same_topic = |(topic, id): (&Arc<str>, &TopicId)| ids.get(topic).is_none_or(|known| known == id);
        self.stamp == *stamp && self.topic_ids.iter().all(is_same_topic)
    }
}

/// What the answer says of each partition, whichever way it names the topics.
fn read(commits: &[Queued], response: OffsetCommitResponse) -> BTreeMap<TopicPartition, ErrorCode> {
    let ids = commits.iter().flat_map(|commit| &commit.topic_ids);
    let names: BTreeMap<TopicId, &Arc<str>> = ids.map(|(name, id)| (*id, name)).collect();
    let mut codes = BTreeMap::new();
    for topic in response.topics {
        let name = match names.get(&topic.topic_id) {
            Some(name) => Arc::clone(name),
            None => topic.name.into(),
        };
        for partition in topic.partitions {
            codes.insert(TopicPartition::new(Arc::clone(&name), partition.partition_index), partition.error_code);
        }
    }
    codes
}
