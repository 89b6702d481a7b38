//! LeaveGroup: when it goes, and what became of it. Does no I/O and reads no clock.
//!
//! Commits that were made before go first, for a part of its time: one that is tried again and again must not keep
//! the member in the group. What can be retried is, after a back-off and for as long as there is time: the coordinator
//! may move at the very moment at which a member leaves, and the group would wait for the member's session to end. So
//! one that was taken in, and whose answer was lost, is sent twice, and the second time the member is not known any
//! more. Each leave has one result, by its deadline at the latest; those that nobody asks about are dropped by whoever
//! takes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_cluster::Backoff;
use ottla_wire::messages::LeaveGroupResponse;
use ottla_wire::{ErrorCode, NodeId};

use crate::Error;
use crate::classic::Leave;
use crate::offsets::CommitId;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Leaves {
    group: Arc<str>,
    under_way: Vec<Leaving>,
    numbers: u64,
    backoff: Backoff,
    results: Vec<(u64, Result<(), Error>)>,
}

/// A LeaveGroup under way.
#[derive(Debug)]
struct Leaving {
    number: u64,
    leave: Leave,
    /// It is sent once this commit has its result, where it waits for one, ..
    after: Option<CommitId>,
    /// .. and at this time otherwise.
    send_by: Instant,
    timeout: Duration,
    deadline: Instant,
    is_sent: bool,
    failures: u32,
    /// What the last attempt failed with.
    failure: Option<Error>,
}

impl Leaves {
    pub(crate) fn new(group: Arc<str>, backoff: Backoff) -> Self {
        Self { group, under_way: Vec::new(), numbers: 0, backoff, results: Vec::new() }
    }

    /// Leaves after that commit, for which there is so much of the `timeout`. The number goes with the result.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        leave: Leave,
        after: CommitId,
        timeout: Duration,
        for_commits: Duration,
    ) -> u64 {
        self.numbers += 1;
        self.under_way.push(Leaving {
            number: self.numbers,
            leave,
            after: Some(after),
            send_by: now + for_commits,
            timeout,
            deadline: now + timeout,
            is_sent: false,
            failures: 0,
            failure: None,
        });
        self.numbers
    }

    /// The next to be sent now, if there is one.
    pub(crate) fn next_request(&mut self, now: Instant, is_done: impl Fn(CommitId) -> bool) -> Option<(u64, Leave)> {
        let is_due = |leaving: &Leaving| leaving.send_by <= now || leaving.after.is_some_and(&is_done);
        let leaving = self.under_way.iter_mut().find(|leaving| !leaving.is_sent && is_due(leaving))?;
        leaving.is_sent = true;
        Some((leaving.number, leaving.leave.clone()))
    }

    /// Takes in an answer; `Err`: there is none. Says whether the coordinator has to be looked for again.
    pub(crate) fn handle_answer(
        &mut self,
        now: Instant,
        number: u64,
        node: NodeId,
        answer: Result<LeaveGroupResponse, Error>,
    ) -> bool {
        let result = answer.and_then(|response| match code_of(&response) {
            // Who is not known is no member.
            ErrorCode::None | ErrorCode::UnknownMemberId => Ok(()),
            error_code => {
                Err(Error::Refused { attempted: ATTEMPTED, group: Arc::clone(&self.group), node, error_code })
            }
        });
        let error_code = result.as_ref().err().and_then(Error::error_code);
        match result {
            Err(error) if error.is_retriable() => self.retry(now, number, error),
            result => self.end(|leaving| leaving.number == number, |_| result.clone()),
        }
        error_code.is_some_and(ErrorCode::invalidates_coordinator)
    }

    fn retry(&mut self, now: Instant, number: u64, error: Error) {
        let Some(leaving) = self.under_way.iter_mut().find(|leaving| leaving.number == number) else { return };
        leaving.failures = leaving.failures.saturating_add(1);
        leaving.send_by = now + self.backoff.next_delay(leaving.failures);
        (leaving.after, leaving.is_sent, leaving.failure) = (None, false, Some(error));
    }

    /// The coordinator cannot be had, for a reason that does not go away.
    pub(crate) fn fail_unsent(&mut self, error: &Error) {
        self.end(|leaving| !leaving.is_sent, |_| Err(error.clone()));
    }

    /// Ends those whose time is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let group = Arc::clone(&self.group);
        let timed_out = |leaving: &Leaving| Error::TimedOut {
            attempted: ATTEMPTED,
            group: Arc::clone(&group),
            timeout: leaving.timeout,
            source: leaving.failure.clone().map(Box::new),
        };
        self.end(|leaving| leaving.deadline <= now, |leaving| Err(timed_out(leaving)));
    }

    fn end(&mut self, is_over: impl Fn(&Leaving) -> bool, result: impl Fn(&Leaving) -> Result<(), Error>) {
        for leaving in self.under_way.extract_if(.., |leaving| is_over(leaving)) {
            let result = result(&leaving);
            if let Err(error) = &result {
                tracing::warn!(group = %self.group, error = error as &dyn std::error::Error, "LeaveGroup failed");
            }
            self.results.push((leaving.number, result));
        }
    }

    pub(crate) fn take_results(&mut self) -> Vec<(u64, Result<(), Error>)> {
        std::mem::take(&mut self.results)
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.under_way.iter().any(|leaving| !leaving.is_sent)
    }

    /// When something is to be done. `is_sendable`: whether there is a coordinator to send to.
    pub(crate) fn next_deadline(&self, is_sendable: bool) -> Option<Instant> {
        let send_by = |leaving: &Leaving| (is_sendable && !leaving.is_sent).then_some(leaving.send_by);
        self.under_way.iter().flat_map(|leaving| [Some(leaving.deadline), send_by(leaving)]).flatten().min()
    }
}

/// What went wrong with the whole, or else with the one member that leaves.
fn code_of(response: &LeaveGroupResponse) -> ErrorCode {
    let codes = response.members.iter().map(|member| member.error_code);
    [response.error_code].into_iter().chain(codes).find(|code| *code != ErrorCode::None).unwrap_or(ErrorCode::None)
}

const ATTEMPTED: &str = "LeaveGroup";
