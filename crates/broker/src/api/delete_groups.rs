//! DeleteGroups: groups without members go, and what they have committed goes along.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use super::written::WrittenRecords;
use super::{Context, Outcome, Waiting, WaitingRequest};
use crate::group::Group;
use crate::state::{ClusterState, Now, WRITE_TIMEOUT};

pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, request: DeleteGroupsRequest) -> Outcome {
    let answered_with = context.whole_answered_with();
    let group = |group_id: Box<str>| {
        let deleted = match context.whole_refused_before() {
            Some(code) => Err(code),
            None => delete(state, now, context, &group_id),
        };
        GroupResult { group_id, deleted, answered_with }
    };
    let awaited = AwaitedDeletion { groups: request.groups_names.into_iter().map(group).collect() };
    Outcome::Wait(Waiting {
        until: Some(now.instant + WRITE_TIMEOUT),
        awaited: awaited.written().map(WrittenRecords::awaited).collect(),
        request: WaitingRequest::DeleteGroups(awaited),
    })
}

fn delete(state: &mut ClusterState, now: Now, context: &Context, group_id: &str) -> Result<WrittenRecords, ErrorCode> {
    let key = state.coordinated_by(context.node, group_id, now.instant)?;
    state.group(key, group_id).map_or(Err(ErrorCode::GroupIdNotFound), Group::check_deletion)?;
    let required = state.delete_group(key, now, group_id)?;
    Ok(WrittenRecords::new(state, context.node, key, required))
}

/// A request whose deletions have been written and have to be replicated.
#[derive(Debug)]
pub(crate) struct AwaitedDeletion {
    groups: Vec<GroupResult>,
}

#[derive(Debug)]
struct GroupResult {
    group_id: Box<str>,
    deleted: Result<WrittenRecords, ErrorCode>,
    /// An injected error that takes the place of the answer.
    answered_with: Option<ErrorCode>,
}

impl AwaitedDeletion {
    /// The answer, if every deletion is safe, lost or overdue.
    pub(super) fn try_answer(&self, state: &ClusterState, overdue: bool) -> Option<DeleteGroupsResponse> {
        let result = |group: &GroupResult| {
            let fate = match &group.deleted {
                Ok(written) => written.fate(state, overdue)?,
                Err(code) => *code,
            };
            let error_code = group.answered_with.unwrap_or(fate);
            Some(DeletableGroupResult { group_id: group.group_id.clone(), error_code })
        };
        let results = self.groups.iter().map(result).collect::<Option<Vec<_>>>()?;
        Some(DeleteGroupsResponse { results, ..Default::default() })
    }

    fn written(&self) -> impl Iterator<Item = &WrittenRecords> {
        self.groups.iter().filter_map(|group| group.deleted.as_ref().ok())
    }
}
