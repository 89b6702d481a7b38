//! SyncGroup: waits until the leader has assigned.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use super::awaited_reply::AwaitedReply;
use super::{AnyResponse, Context, Outcome};
use crate::group::Sync;
use crate::state::{ClusterState, Now};

pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, request: SyncGroupRequest) -> Outcome {
    let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    let refused = match context.whole_refused_before() {
        Some(code) => Some(code),
        None if context.version >= 5 && !says_protocol => Some(ErrorCode::InconsistentGroupProtocol),
        None if request.group_id.is_empty() => Some(ErrorCode::InvalidGroupId),
        None => None,
    };
    let key = match refused.map_or_else(|| state.coordinated_by(context.node, &request.group_id, now.instant), Err) {
        Ok(key) => key,
        Err(code) => return refuse(code),
    };
    if state.group(key, &request.group_id).is_none() {
        return refuse(ErrorCode::UnknownMemberId);
    }
    let reply = state.new_reply();
    let assignments = request.assignments.into_iter().map(|given| (given.member_id, given.assignment));
    let sync = Sync {
        reply,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation_id: request.generation_id.0,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments: assignments.collect(),
    };
    state.with_group(key, now, &request.group_id, |group| group.handle_sync(sync));
    AwaitedReply::wait(context, reply)
}

fn refuse(error_code: ErrorCode) -> Outcome {
    Outcome::Answer(AnyResponse::SyncGroup(SyncGroupResponse { error_code, ..Default::default() }))
}
