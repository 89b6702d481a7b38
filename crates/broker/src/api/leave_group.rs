//! LeaveGroup, of one member or of several.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{LeaveGroupMemberResponse, LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};

use super::{AnyResponse, Context, Outcome};
use crate::group::Leave;
use crate::state::{ClusterState, Now};

pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, mut request: LeaveGroupRequest) -> Outcome {
    if context.version < 3 {
        let member_id = std::mem::take(&mut request.member_id);
        request.members = vec![MemberIdentity { member_id, ..Default::default() }];
    }
    let left = context.whole_refused_before().map_or_else(|| leave(state, now, context, &request), Err);
    let (mut error_code, codes) = match left {
        Ok(codes) => (ErrorCode::None, codes),
        Err(code) => (code, Vec::new()),
    };
    let member = |(identity, error_code): (MemberIdentity, ErrorCode)| LeaveGroupMemberResponse {
        member_id: identity.member_id,
        group_instance_id: identity.group_instance_id,
        error_code,
    };
    let mut members = request.members.into_iter().zip(codes).map(member).collect::<Vec<_>>();
    if context.version < 3 {
        // There is one code for the one member.
        error_code = members.first().map_or(error_code, |member| member.error_code);
        members.clear();
    }
    if let Some(code) = context.whole_answered_with() {
        (error_code, members) = (code, Vec::new());
    }
    Outcome::Answer(AnyResponse::LeaveGroup(LeaveGroupResponse { error_code, members, ..Default::default() }))
}

fn leave(
    state: &mut ClusterState,
    now: Now,
    context: &Context,
    request: &LeaveGroupRequest,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let key = state.coordinated_by(context.node, &request.group_id, now.instant)?;
    let leaving = request
        .members
        .iter()
        .map(|member| Leave { member_id: member.member_id.clone(), instance_id: member.group_instance_id.clone() });
    let leaving = leaving.collect::<Vec<_>>();
    let left = state.with_group(key, now, &request.group_id, |group| group.handle_leave(now.instant, &leaving));
    left.unwrap_or_else(|| Ok(vec![ErrorCode::UnknownMemberId; leaving.len()]))
}
