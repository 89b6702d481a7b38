//! For tests: a member without I/O, its time in hand, and a coordinator that answers what the test says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use ottla_cluster::{Backoff, Metadata};
use ottla_connection::{Address, CloseCause};
use ottla_wire::consumer_protocol::Assignment;
use ottla_wire::messages::{HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, SyncGroupResponse};
use ottla_wire::{ApiKey, ErrorCode, GenerationId, NodeId, TopicPartition};

use super::{Action, State, Timeouts};
use crate::assignor::{Assignor, AssignorError, GroupMember, MemberAssignment, RebalanceProtocol, Topics};
use crate::classic::AssignJob;
use crate::find::Found;
use crate::request::{Incoming, Outgoing};
use crate::{Error, GroupConfig, GroupEvent};

pub(crate) const NODE: NodeId = NodeId(1);
pub(crate) const OTHER_NODE: NodeId = NodeId(2);
pub(crate) const TOPIC: &str = "topic";

/// Gives all to the first member.
#[derive(Debug)]
pub(crate) struct AllToOne(pub(crate) RebalanceProtocol);

impl Assignor for AllToOne {
    fn name(&self) -> &'static str {
        "all-to-one"
    }

    fn rebalance_protocol(&self) -> RebalanceProtocol {
        self.0
    }

    fn assign(&self, topics: &Topics, members: &[GroupMember]) -> Result<Vec<MemberAssignment>, AssignorError> {
        let partitions = topics.0.iter().flat_map(|(topic, partitions)| {
            (0..partitions.count).map(|partition| TopicPartition::new(Arc::clone(topic), partition))
        });
        let mut results = vec![MemberAssignment::default(); members.len()];
        results[0].partitions = partitions.collect();
        Ok(results)
    }
}

pub(crate) fn config() -> GroupConfig {
    let mut config = GroupConfig::new("group");
    config.assignors = vec![Arc::new(AllToOne(RebalanceProtocol::Cooperative))];
    config
}

#[allow(clippy::disallowed_methods, reason = "a test's origin of time")]
pub(crate) fn origin() -> Instant {
    Instant::now()
}

/// See the [module](self).
pub(crate) struct Harness {
    pub(crate) state: State,
    pub(crate) now: Instant,
    /// What was sent and has not been answered.
    pub(crate) sent: VecDeque<(Found, Outgoing)>,
    /// What is to be done beside.
    pub(crate) jobs: Vec<(u64, AssignJob)>,
    pub(crate) asks: usize,
    pub(crate) disconnects: usize,
    pub(crate) abandoned: usize,
}

impl Harness {
    pub(crate) fn new(config: GroupConfig) -> Self {
        let mut seed = 0;
        let backoff = || {
            seed += 1;
            Backoff::new(Duration::from_millis(100), Duration::from_secs(1), Rng::with_seed(seed))
        };
        let now = origin();
        let timeouts = Timeouts { request: Duration::from_secs(30), api: Duration::from_mins(1) };
        let pace = Backoff::new(Duration::from_millis(100), Duration::from_millis(500), Rng::with_seed(0));
        let state = State::new(config, timeouts, backoff, pace, now);
        Self { state, now, sent: VecDeque::new(), jobs: Vec::new(), asks: 0, disconnects: 0, abandoned: 0 }
    }

    /// One that has joined, as a follower, and been assigned a partition.
    pub(crate) fn stable(config: GroupConfig) -> Self {
        let mut harness = Self::completing(config, &[]);
        harness.answer_sync(ErrorCode::None);
        assert!(matches!(harness.event(), Some(GroupEvent::Assigned(_))));
        harness
    }

    /// One whose SyncGroup is in flight.
    pub(crate) fn completing(config: GroupConfig, owned: &[i32]) -> Self {
        let mut harness = Self::preparing(config, owned);
        harness.answer_join(ErrorCode::None);
        harness
    }

    /// One that has a member id, and whose JoinGroup is in flight.
    pub(crate) fn preparing(config: GroupConfig, owned: &[i32]) -> Self {
        let mut harness = Self::new(config);
        harness.state.group.subscribe([Arc::from(TOPIC)].into());
        harness.state.group.join(owned.iter().map(|index| TopicPartition::new(TOPIC, *index)).collect());
        harness.run();
        harness.found();
        harness.answer_join(ErrorCode::MemberIdRequired);
        harness
    }

    /// Does what is to be done now.
    pub(crate) fn run(&mut self) {
        loop {
            let actions = self.state.next_actions(self.now, &Metadata::default());
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::FindCoordinator => self.asks += 1,
                    Action::Send { to, request, .. } => self.sent.push_back((to, request)),
                    Action::Join { to, attempt, job, .. } => {
                        let request = job.run().expect("its assignor has nothing to say");
                        self.sent.push_back((to, Outgoing::JoinGroup { attempt, request }));
                    }
                    Action::Assign { attempt, job } => self.jobs.push((attempt, *job)),
                    Action::AbandonJoin => {
                        self.abandoned += 1;
                        self.cut(true);
                    }
                    Action::Disconnect => {
                        self.disconnects += 1;
                        self.cut(true);
                        self.cut(false);
                    }
                    Action::Refresh(_) => {}
                }
            }
        }
    }

    /// What was sent over that connection has no answer, as when the driver cuts it.
    fn cut(&mut self, is_parked: bool) {
        let (cut, rest) = self.sent.drain(..).partition(|(_, request)| request.is_parked() == is_parked);
        self.sent = rest;
        let cut: VecDeque<(Found, Outgoing)> = cut;
        for (from, request) in cut {
            self.state.handle(self.now, from, request.fail(no_answer_by(CloseCause::Aborted)));
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.run();
    }

    /// Leaves, with half of the time for commits.
    pub(crate) fn leave(&mut self, timeout: Duration) {
        self.state.leave(self.now, "done", timeout, timeout / 2);
        self.run();
    }

    /// The coordinator is found.
    pub(crate) fn found(&mut self) {
        self.state.handle_coordinator(self.now, Ok(NODE));
        self.run();
    }

    pub(crate) fn event(&mut self) -> Option<GroupEvent> {
        self.state.group.next_event()
    }

    /// What was sent by that name, first.
    pub(crate) fn take(&mut self, name: &str) -> (Found, Outgoing) {
        let place = self.sent.iter().position(|(_, request)| request.name() == name);
        let place = place.unwrap_or_else(|| panic!("no {name} was sent, but {:?}", self.sent));
        self.sent.remove(place).unwrap()
    }

    pub(crate) fn is_sent(&self, name: &str) -> bool {
        self.sent.iter().any(|(_, request)| request.name() == name)
    }

    /// The first request of that name has no answer.
    pub(crate) fn fail(&mut self, name: &str, error: Error) {
        let (from, request) = self.take(name);
        self.state.handle(self.now, from, request.fail(error));
        self.run();
    }

    pub(crate) fn answer(&mut self, from: Found, incoming: Incoming) {
        self.state.handle(self.now, from, incoming);
        self.run();
    }

    pub(crate) fn answer_join(&mut self, error_code: ErrorCode) {
        let ok = error_code == ErrorCode::None;
        self.answer_join_with(JoinGroupResponse {
            error_code,
            generation_id: if ok { GenerationId(5) } else { GenerationId::NONE },
            protocol_type: ok.then(|| "consumer".to_owned()),
            protocol_name: ok.then(|| "all-to-one".to_owned()),
            leader: if ok { "leader".to_owned() } else { String::new() },
            member_id: "member".to_owned(),
            ..JoinGroupResponse::default()
        });
    }

    pub(crate) fn answer_join_with(&mut self, response: JoinGroupResponse) {
        let (from, request) = self.take("JoinGroup");
        let Outgoing::JoinGroup { attempt, .. } = request else { unreachable!() };
        self.answer(from, Incoming::JoinGroup { attempt, answer: Ok(response) });
    }

    pub(crate) fn answer_sync(&mut self, error_code: ErrorCode) {
        let assignment = Assignment { partitions: [(TOPIC, 0)].into_iter().collect(), user_data: None };
        let assignment = if error_code == ErrorCode::None { assignment.encode(3).unwrap() } else { Bytes::new() };
        self.answer_sync_with(SyncGroupResponse { error_code, assignment, ..SyncGroupResponse::default() });
    }

    pub(crate) fn answer_sync_with(&mut self, response: SyncGroupResponse) {
        let (from, request) = self.take("SyncGroup");
        let Outgoing::SyncGroup { attempt, .. } = request else { unreachable!() };
        self.answer(from, Incoming::SyncGroup { attempt, answer: Ok(response) });
    }

    pub(crate) fn answer_heartbeat(&mut self, error_code: ErrorCode) {
        let (from, request) = self.take("Heartbeat");
        let Outgoing::Heartbeat { number, .. } = request else { unreachable!() };
        let response = HeartbeatResponse { error_code, ..HeartbeatResponse::default() };
        self.answer(from, Incoming::Heartbeat { number, answer: Ok(response) });
    }

    pub(crate) fn answer_leave(&mut self, error_code: ErrorCode) {
        let (from, request) = self.take("LeaveGroup");
        let Outgoing::LeaveGroup { number, .. } = request else { unreachable!() };
        let response = LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
        self.answer(from, Incoming::LeaveGroup { number, answer: Ok(response) });
    }

    /// All that matters about where the member stands, in words. Takes the events.
    pub(crate) fn describe(&mut self) -> String {
        let mut words = vec![self.state.group.describe().to_owned()];
        if self.state.group.describe() == "PreparingRebalance" {
            let known = self.state.coordinator.known().is_some();
            words.push(match (self.is_sent("JoinGroup"), known) {
                (true, _) => "at once".to_owned(),
                (false, true) => "later".to_owned(),
                (false, false) => "once it is found".to_owned(),
            });
        }
        let member_id = &self.state.group.identity().member_id;
        words.push(if member_id.is_empty() { "no id" } else { "id kept" }.to_owned());
        if self.state.coordinator.known().is_none() {
            words.push("find".to_owned());
        }
        while let Some(event) = self.event() {
            words.push(match event {
                GroupEvent::RebalanceNeeded { reason } => format!("needed ({reason})"),
                GroupEvent::Assigned(_) => "assigned".to_owned(),
                GroupEvent::Lost { .. } => "lost".to_owned(),
                GroupEvent::Failed(error) => format!("failed{}", if error.is_fatal() { " for good" } else { "" }),
            });
        }
        words.join(", ")
    }
}

/// The coordinator closed the connection before there was an answer.
pub(crate) fn no_answer() -> Error {
    no_answer_by(CloseCause::EndOfStream)
}

fn no_answer_by(cause: CloseCause) -> Error {
    let address = Address::new("broker-1", 9092);
    let source = ottla_connection::Error::Closed { api: ApiKey::JoinGroup, address, written: true, cause };
    Error::NoAnswer { attempted: "request", group: "group".into(), node: NODE, source: Arc::new(source) }
}
