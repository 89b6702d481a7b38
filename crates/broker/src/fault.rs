//! Faults to be injected: which requests they hit, how often, and what they do.
//!
//! A fault is looked for once a request has been read, in the order in which faults were injected; the first that
//! matches and is not used up is what happens to the request. Those that only [alter](crate::alteration) its answer stand
//! beside it, as many as match: a broker that is not quite Kafka is so in several ways at once. The plan is shared between the nodes' connections and
//! whoever injects, behind a lock that is held for the look-up only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_wire::{ApiKey, ErrorCode, NodeId, ProducerId};

use crate::alteration::{Alteration, Altered};

/// What to do to a request, and to which.
///
/// By default it hits the next request of any API on any node, once, before it is handled.
///
/// ```
/// use std::time::Duration;
/// use ottla_broker::Fault;
/// use ottla_wire::{ApiKey, ErrorCode, NodeId};
///
/// // The third and the fourth Produce on node 1 are appended, but answered with an error.
/// let fault = Fault::error(ErrorCode::RequestTimedOut)
///     .on_api(ApiKey::Produce)
///     .on_node(NodeId(1))
///     .after_handling()
///     .skip(2)
///     .times(2);
/// # let _ = fault;
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    effect: Effect,
    after_handling: bool,
    api: Option<ApiKey>,
    min_version: i16,
    node: Option<NodeId>,
    target: Target,
    skip: u32,
    times: Option<u32>,
}

/// Where in a request an error code is to appear: everywhere, in one topic, or in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    topic: Option<Arc<str>>,
    partition: Option<i32>,
}

/// What a fault does to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Delay(Duration),
    CloseConnection,
    BlackHole,
    Error(ErrorCode),
    Alter(Alteration),
}

impl Fault {
    /// The request is answered with an error: in every partition or topic where the API has codes there, else at its
    /// top level, or for every group or id that it names. OffsetFetch has it for the groups from version 2 on, and in
    /// partitions where they are named by [`on_topic`](Self::on_topic) or [`on_partition`](Self::on_partition). Nothing is
    /// done, unless [`after_handling`](Self::after_handling) is said.
    pub fn error(code: ErrorCode) -> Self {
        Self::new(Effect::Error(code))
    }

    /// The request is handled so much later; everything behind it on its connection waits, as behind a slow broker.
    pub fn delay(delay: Duration) -> Self {
        Self::new(Effect::Delay(delay))
    }

    /// The connection is closed instead of handling the request, or instead of answering it.
    pub fn close_connection() -> Self {
        Self::new(Effect::CloseConnection)
    }

    /// The request is never answered, nor is any that follows on its connection, which stays open.
    pub fn black_hole() -> Self {
        Self::new(Effect::BlackHole)
    }

    /// The answer asks the client to leave the connection alone for so long (KIP-219). The broker itself does not wait, so
    /// that a client which does not listen is found out. A Fetch brings nothing then, as Kafka's does: it names no
    /// partition, and no error.
    pub fn throttle(time: Duration) -> Self {
        Self::new(Effect::Alter(Alteration::Throttle(time)))
    }

    /// Answers tell no leader epoch (-1), nor do the batches in them, as Azure Event Hubs' do in every version.
    pub fn hide_leader_epochs() -> Self {
        Self::new(Effect::Alter(Alteration::HideLeaderEpochs))
    }

    /// Metadata tells no topic id, as that of a broker which has none yet: of any topic, or of that of
    /// [`on_topic`](Self::on_topic).
    pub fn hide_topic_ids() -> Self {
        Self::new(Effect::Alter(Alteration::HideTopicIds))
    }

    /// Fetch and ListOffsets take every partition for empty: its high watermark and its last offset are 0, whatever its
    /// records' offsets are.
    pub fn zero_high_watermarks() -> Self {
        Self::new(Effect::Alter(Alteration::ZeroHighWatermarks))
    }

    /// Fetch lists these transactions as aborted, each by its producer and its first offset, in this order and under
    /// either isolation level.
    pub fn list_aborted(transactions: impl IntoIterator<Item = (ProducerId, i64)>) -> Self {
        Self::new(Effect::Alter(Alteration::ListAborted(transactions.into_iter().collect())))
    }

    /// A Produce with acks=0 is answered all the same, as by Azure Event Hubs.
    pub fn answer_unasked() -> Self {
        Self::new(Effect::Alter(Alteration::AnswerUnasked))
    }

    /// The request takes effect first: what is lost, late or wrong is its answer.
    pub fn after_handling(self) -> Self {
        Self { after_handling: true, ..self }
    }

    /// Requests of that API only.
    pub fn on_api(self, api: ApiKey) -> Self {
        Self { api: Some(api), ..self }
    }

    /// Requests in that version or a later one only.
    pub fn from_version(self, version: i16) -> Self {
        Self { min_version: version, ..self }
    }

    /// Requests to that node only.
    pub fn on_node(self, node: NodeId) -> Self {
        Self { node: Some(node), ..self }
    }

    /// For [`error`](Self::error): only that topic gets the code; the rest of the request is handled. A request that
    /// does not name the topic is not hit by the code, but counts.
    pub fn on_topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.target.topic = Some(topic.into());
        self
    }

    /// For [`error`](Self::error): only that partition gets the code; the rest of the request is handled.
    pub fn on_partition(self, topic: impl Into<Arc<str>>, partition: i32) -> Self {
        let mut fault = self.on_topic(topic);
        fault.target.partition = Some(partition);
        fault
    }

    /// Lets so many matching requests pass first.
    pub fn skip(self, requests: u32) -> Self {
        Self { skip: requests, ..self }
    }

    /// Hits so many requests; 1 where nothing is said.
    pub fn times(self, requests: u32) -> Self {
        Self { times: Some(requests), ..self }
    }

    /// Hits requests until it is withdrawn.
    pub fn always(self) -> Self {
        Self { times: None, ..self }
    }

    fn new(effect: Effect) -> Self {
        let target = Target::default();
        let (min_version, skip) = (i16::MIN, 0);
        Self { effect, after_handling: false, api: None, min_version, node: None, target, skip, times: Some(1) }
    }

    fn matches(&self, node: NodeId, api: ApiKey, version: i16) -> bool {
        self.api.is_none_or(|wanted| wanted == api)
            && self.min_version <= version
            && self.node.is_none_or(|wanted| wanted == node)
    }
}

/// Names an injected fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(u64);

/// The faults of a cluster. A clone is the same plan.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    next_id: u64,
    /// In the order of injection, with how often each has hit.
    faults: BTreeMap<FaultId, (Fault, u32)>,
    requests: BTreeMap<(NodeId, ApiKey), u64>,
}

impl Faults {
    /// Injects a fault. It holds for requests read from now on.
    pub fn inject(&self, fault: Fault) -> FaultId {
        let mut plan = self.plan();
        let id = FaultId(plan.next_id);
        plan.next_id += 1;
        plan.faults.insert(id, (fault, 0));
        id
    }

    /// How many requests a fault has hit. What a test waits for before it goes on.
    pub fn hits(&self, id: FaultId) -> u32 {
        self.plan().faults.get(&id).map_or(0, |(_, hits)| *hits)
    }

    /// Withdraws a fault.
    pub fn withdraw(&self, id: FaultId) {
        self.plan().faults.remove(&id);
    }

    /// Withdraws all.
    pub fn clear(&self) {
        self.plan().faults.clear();
    }

    /// How many requests of an API a node has read since the cluster started, those that were hit included.
    pub fn requests(&self, node: NodeId, api: ApiKey) -> u64 {
        self.plan().requests.get(&(node, api)).copied().unwrap_or(0)
    }

    /// What happens to a request that was just read.
    pub(crate) fn next(&self, node: NodeId, api: ApiKey, version: i16) -> Hits {
        let mut plan = self.plan();
        *plan.requests.entry((node, api)).or_default() += 1;
        let mut all = Hits::default();
        for (fault, hits) in plan.faults.values_mut() {
            let is_used_up = fault.times.is_some_and(|times| *hits >= times);
            let is_alteration = matches!(fault.effect, Effect::Alter(_));
            if is_used_up || !fault.matches(node, api, version) || (!is_alteration && all.fault.is_some()) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            *hits = hits.saturating_add(1);
            let (effect, target) = (fault.effect.clone(), fault.target.clone());
            match effect {
                Effect::Alter(alteration) => all.alterations.push(Altered { alteration, target }),
                effect => all.fault = Some(Hit { effect, after_handling: fault.after_handling, target }),
            }
        }
        all
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // The plan is whole between any two statements: a panic elsewhere has not broken it.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that happens to a request.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    pub(crate) fault: Option<Hit>,
    pub(crate) alterations: Vec<Altered>,
}

/// A fault that hits a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) effect: Effect,
    pub(crate) after_handling: bool,
    target: Target,
}

impl Hit {
    /// The part that the handlers of the APIs apply.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self.effect {
            Effect::Error(code) => {
                Some(Refusal { code, after_handling: self.after_handling, target: self.target.clone() })
            }
            Effect::Delay(_) | Effect::CloseConnection | Effect::BlackHole | Effect::Alter(_) => None,
        }
    }
}

/// An error code to be given as the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: ErrorCode,
    after_handling: bool,
    target: Target,
}

impl Refusal {
    /// The code to answer with instead of handling that topic or, if given, partition.
    pub(crate) fn before(&self, topic: &str, partition: Option<i32>) -> Option<ErrorCode> {
        (!self.after_handling && self.hits(topic, partition)).then_some(self.code)
    }

    /// The code to answer with although that topic or partition was handled.
    pub(crate) fn after(&self, topic: &str, partition: Option<i32>) -> Option<ErrorCode> {
        (self.after_handling && self.hits(topic, partition)).then_some(self.code)
    }

    /// The code to answer with at the top level instead of handling the request.
    pub(crate) fn whole_before(&self) -> Option<ErrorCode> {
        (!self.after_handling && self.target == Target::default()).then_some(self.code)
    }

    /// The code to answer with at the top level although the request was handled.
    pub(crate) fn whole_after(&self) -> Option<ErrorCode> {
        (self.after_handling && self.target == Target::default()).then_some(self.code)
    }

    /// Whether it is meant for one partition only.
    pub(crate) fn names_partition(&self) -> bool {
        self.target.partition.is_some()
    }

    fn hits(&self, topic: &str, partition: Option<i32>) -> bool {
        self.target.names(topic, partition)
    }
}

impl Target {
    /// Whether it is meant for that topic and, if given, partition.
    pub(crate) fn names(&self, topic: &str, partition: Option<i32>) -> bool {
        self.topic.as_deref().is_none_or(|wanted| wanted == topic)
            && self.partition.is_none_or(|wanted| partition.is_none_or(|partition| wanted == partition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_skips_then_hits_so_many_times() {
        let faults = Faults::default();
        let id = faults.inject(Fault::close_connection().on_api(ApiKey::Fetch).skip(1).times(2));
        let mut hit = |api| faults.next(NodeId(0), api, 0).fault.is_some();
        assert!(!hit(ApiKey::Produce));
        assert_eq!([ApiKey::Fetch; 4].map(&mut hit), [false, true, true, false]);
        assert_eq!(faults.hits(id), 2);
        assert_eq!(faults.requests(NodeId(0), ApiKey::Fetch), 4);
    }

    #[test]
    fn the_oldest_fault_that_matches_hits_first() {
        let faults = Faults::default();
        faults.inject(Fault::error(ErrorCode::None).on_node(NodeId(1)));
        faults.inject(Fault::black_hole().always());
        let effect = |node| faults.next(NodeId(node), ApiKey::Fetch, 0).fault.unwrap().effect;
        assert_eq!(effect(0), Effect::BlackHole);
        assert_eq!(effect(1), Effect::Error(ErrorCode::None));
        assert_eq!(effect(1), Effect::BlackHole);
    }

    #[test]
    fn what_only_alters_the_answer_stands_beside_what_else_happens() {
        let faults = Faults::default();
        faults.inject(Fault::hide_topic_ids().on_api(ApiKey::Metadata).always());
        faults.inject(Fault::delay(Duration::from_secs(1)));
        faults.inject(Fault::hide_leader_epochs().always());
        let hits = faults.next(NodeId(0), ApiKey::Metadata, 0);
        assert!(hits.fault.is_some() && hits.alterations.len() == 2);
        let hits = faults.next(NodeId(0), ApiKey::Fetch, 0);
        assert!(hits.fault.is_none() && hits.alterations.len() == 1);
    }

    #[test]
    fn a_fault_of_later_versions_leaves_the_earlier_ones_alone() {
        let faults = Faults::default();
        faults.inject(Fault::close_connection().from_version(3).always());
        let is_hit = |version| faults.next(NodeId(0), ApiKey::ApiVersions, version).fault.is_some();
        assert_eq!([0, 2, 3, 4].map(is_hit), [false, false, true, true]);
    }

    #[test]
    fn an_error_for_one_partition_leaves_the_others_alone() {
        let faults = Faults::default();
        faults.inject(Fault::error(ErrorCode::NotLeaderOrFollower).on_partition("t", 1));
        let refusal = faults.next(NodeId(0), ApiKey::Produce, 0).fault.unwrap().refusal().unwrap();
        assert_eq!(refusal.before("t", Some(1)), Some(ErrorCode::NotLeaderOrFollower));
        assert_eq!(refusal.before("t", Some(0)), None);
        assert_eq!(refusal.before("other", Some(1)), None);
        assert_eq!(refusal.after("t", Some(1)), None);
    }
}
