//! The cluster without its sockets: calls and the time go in, answers come out.
//!
//! A call that cannot be answered at once waits, known by everything that it waits for, and is looked at again when
//! one of them has changed, and when its time is up.
//!
//! Invariant: every call that came in leaves as exactly one [`Answer`], unless it was [cancelled](Machine::cancel_call).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use ottla_wire::NodeId;

use crate::api::{AnyRequest, AnyResponse, Context, Outcome, Waiting};
use crate::state::{Awaited, ClusterState, Now, TimerId, Timers};

/// Names a request that is being handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// What a connection is told about the request that it passed on.
#[derive(Debug)]
pub(crate) enum Answer {
    /// To be sent.
    Response(AnyResponse),
    /// There is nothing to be sent.
    Nothing,
    /// The connection is to be closed.
    Close,
}

/// The cluster's state, and the calls that wait.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) state: ClusterState,
    waiting: BTreeMap<CallId, (NodeId, Option<TimerId>, Waiting)>,
    waiting_for: BTreeMap<Awaited, BTreeSet<CallId>>,
    timers: Timers<CallId>,
    answers: VecDeque<(CallId, Answer)>,
}

impl Machine {
    pub(crate) fn new(state: ClusterState) -> Self {
        Self {
            state,
            waiting: BTreeMap::new(),
            waiting_for: BTreeMap::new(),
            timers: Timers::default(),
            answers: VecDeque::new(),
        }
    }

    /// Takes in a request.
    pub(crate) fn handle_call(&mut self, now: Now, call: CallId, context: &Context, request: AnyRequest) {
        match request.handle(&mut self.state, now, context) {
            Outcome::Answer(response) => self.answers.push_back((call, Answer::Response(response))),
            Outcome::NoAnswer => self.answers.push_back((call, Answer::Nothing)),
            Outcome::Close => self.answers.push_back((call, Answer::Close)),
            Outcome::Wait(waiting) => self.wait(call, context.node, waiting),
        }
        self.look_at_changed(now);
    }

    /// Changes the state from outside of any API, and answers what that makes answerable.
    pub(crate) fn change<T>(&mut self, now: Now, change: impl FnOnce(&mut ClusterState) -> T) -> T {
        let result = change(&mut self.state);
        self.look_at_changed(now);
        result
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.state.next_deadline(), self.timers.next_deadline()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.state.handle_timeout(now);
        self.look_at_changed(now);
        while let Some(call) = self.timers.take_due(now.instant) {
            self.try_answer(call, true);
        }
    }

    /// The next answer to be passed on.
    pub(crate) fn next_answer(&mut self) -> Option<(CallId, Answer)> {
        self.answers.pop_front()
    }

    /// Forgets a call, if it waits: its client is gone. What it was about goes on.
    pub(crate) fn cancel_call(&mut self, call: CallId) {
        self.forget(call);
    }

    /// Forgets what waits on a node: its connections are gone.
    pub(crate) fn cancel(&mut self, node: NodeId) {
        let calls = self.waiting.iter().filter(|(_, (on, ..))| *on == node).map(|(call, _)| *call).collect::<Vec<_>>();
        for call in calls {
            self.forget(call);
            self.answers.push_back((call, Answer::Close));
        }
    }

    fn wait(&mut self, call: CallId, node: NodeId, waiting: Waiting) {
        let timer = waiting.until.map(|until| self.timers.set(until, call));
        for awaited in &waiting.awaited {
            self.waiting_for.entry(*awaited).or_default().insert(call);
        }
        self.waiting.insert(call, (node, timer, waiting));
        // What it waits for may have happened while it was handled: the append itself advances the high watermark.
        self.try_answer(call, false);
    }

    fn look_at_changed(&mut self, now: Now) {
        self.state.settle(now);
        let mut calls = BTreeSet::new();
        for awaited in self.state.take_changed() {
            calls.extend(self.waiting_for.get(&awaited).into_iter().flatten().copied());
        }
        for call in calls {
            self.try_answer(call, false);
        }
    }

    fn try_answer(&mut self, call: CallId, overdue: bool) {
        let Some((.., waiting)) = self.waiting.get(&call) else { return };
        let Some(response) = waiting.request.try_answer(&mut self.state, overdue) else { return };
        self.forget(call);
        self.answers.push_back((call, Answer::Response(response)));
    }

    fn forget(&mut self, call: CallId) {
        let Some((_, timer, waiting)) = self.waiting.remove(&call) else { return };
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
        for awaited in waiting.awaited {
            if let Some(calls) = self.waiting_for.get_mut(&awaited) {
                calls.remove(&call);
                if calls.is_empty() {
                    self.waiting_for.remove(&awaited);
                }
            }
            if let Awaited::Reply(id) = awaited {
                self.state.forget_reply(id);
            }
        }
    }
}
