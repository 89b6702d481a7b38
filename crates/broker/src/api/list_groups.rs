//! ListGroups: the groups that the node coordinates.
//!
//! What the filters name need not exist: then it is in no group's way, and in none's favour.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use super::{AnyResponse, Context, Outcome};
use crate::group::Group;
use crate::state::{ClusterState, Now};

/// The type of all groups here, by Kafka's name.
const CLASSIC: &str = "classic";

#[allow(clippy::needless_pass_by_value, reason = "the form of all handlers")]
pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, request: ListGroupsRequest) -> Outcome {
    let listed = match context.whole_refused() {
        Some(code) => Err(code),
        None => list(state, now, context, &request),
    };
    let (error_code, groups) = match listed {
        Ok(groups) => (ErrorCode::None, groups),
        Err(code) => (code, Vec::new()),
    };
    Outcome::Answer(AnyResponse::ListGroups(ListGroupsResponse { error_code, groups, ..Default::default() }))
}

fn list(
    state: &ClusterState,
    now: Now,
    context: &Context,
    request: &ListGroupsRequest,
) -> Result<Vec<ListedGroup>, ErrorCode> {
    let is_wanted = |wanted: &[String], name: &str| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let listed = |group: &Group| {
        let state = group.state().to_string();
        let wanted = is_wanted(&request.states_filter, &state) && is_wanted(&request.types_filter, CLASSIC);
        wanted.then(|| ListedGroup::new(&group.id, group.protocol_type().unwrap_or_default(), &state, CLASSIC))
    };
    Ok(state.groups_of(context.node, now.instant)?.filter_map(listed).collect())
}
