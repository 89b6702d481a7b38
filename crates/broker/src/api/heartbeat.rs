//! Heartbeat.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::{AnyResponse, Context, Outcome};
use crate::state::{ClusterState, Now};

#[allow(clippy::needless_pass_by_value, reason = "the form of all handlers")]
pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, request: HeartbeatRequest) -> Outcome {
    let answer = context.whole_refused_before().map_or_else(|| beat(state, now, context, &request), Err);
    let error_code = context.whole_answered_with().or(answer.err()).unwrap_or(ErrorCode::None);
    Outcome::Answer(AnyResponse::Heartbeat(HeartbeatResponse { error_code, ..Default::default() }))
}

fn beat(state: &mut ClusterState, now: Now, context: &Context, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let key = match state.coordinated_by(context.node, &request.group_id, now.instant) {
        // The coordinator does not know yet who is there: it says yes to all.
        Err(ErrorCode::CoordinatorLoadInProgress) => return Ok(()),
        found => found?,
    };
    let (member_id, instance_id) = (&request.member_id, request.group_instance_id.as_deref());
    let beat = state.with_group(key, now, &request.group_id, |group| {
        group.handle_heartbeat(now.instant, member_id, instance_id, request.generation_id.0)
    });
    beat.unwrap_or(Err(ErrorCode::UnknownMemberId))
}
