//! LeaveGroup: when it goes, and what became of it. Does no I/O and reads no clock.
//!
//! Commits that were made before go first, for a part of its time: one that is tried again and again must not keep
//! the member in the group. It is sent once, whatever comes of it. Each leave has one result, by its deadline at the
//! latest; those that nobody asks about are dropped by whoever takes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
    results: Vec<(u64, Result<(), Error>)>,
}

/// A LeaveGroup under way.
#[derive(Debug)]
struct Leaving {
    number: u64,
    leave: Leave,
    /// It is not sent before this commit has its result, ..
    after: CommitId,
    /// .. or this time has come.
    send_by: Instant,
    timeout: Duration,
    deadline: Instant,
    is_sent: bool,
}

impl Leaves {
    pub(crate) fn new(group: Arc<str>) -> Self {
        Self { group, under_way: Vec::new(), numbers: 0, results: Vec::new() }
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
        let (number, send_by, deadline) = (self.numbers, now + for_commits, now + timeout);
        self.under_way.push(Leaving { number, leave, after, send_by, timeout, deadline, is_sent: false });
        number
    }

    /// The next to be sent now, if there is one.
    pub(crate) fn next_request(&mut self, now: Instant, is_done: impl Fn(CommitId) -> bool) -> Option<(u64, Leave)> {
        let is_due = |leaving: &Leaving| !leaving.is_sent && (leaving.send_by <= now || is_done(leaving.after));
        let leaving = self.under_way.iter_mut().find(|leaving| is_due(leaving))?;
        leaving.is_sent = true;
        Some((leaving.number, leaving.leave.clone()))
    }

    /// Takes in an answer; `Err`: there is none.
    pub(crate) fn handle_answer(&mut self, number: u64, node: NodeId, answer: Result<LeaveGroupResponse, Error>) {
        let result = answer.and_then(|response| match code_of(&response) {
            // Who is not known is no member.
            ErrorCode::None | ErrorCode::UnknownMemberId => Ok(()),
            error_code => {
                Err(Error::Refused { attempted: ATTEMPTED, group: Arc::clone(&self.group), node, error_code })
            }
        });
        if let Err(error) = &result {
            tracing::warn!(group = %self.group, error = error as &dyn std::error::Error, "LeaveGroup failed");
        }
        self.end(|leaving| leaving.number == number, |_| result.clone());
    }

    /// The coordinator cannot be had, for a reason that does not go away.
    pub(crate) fn fail_unsent(&mut self, error: &Error) {
        self.end(|leaving| !leaving.is_sent, |_| Err(error.clone()));
    }

    /// Ends those whose time is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let group = Arc::clone(&self.group);
        let timed_out =
            |timeout| Error::TimedOut { attempted: ATTEMPTED, group: Arc::clone(&group), timeout, source: None };
        self.end(|leaving| leaving.deadline <= now, |leaving| Err(timed_out(leaving.timeout)));
    }

    fn end(&mut self, is_over: impl Fn(&Leaving) -> bool, result: impl Fn(&Leaving) -> Result<(), Error>) {
        let over = self.under_way.extract_if(.., |leaving| is_over(leaving));
        self.results.extend(over.map(|leaving| (leaving.number, result(&leaving))));
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
