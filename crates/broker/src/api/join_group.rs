//! JoinGroup: waits until the group has its members.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{JoinGroupRequest, JoinGroupResponse};

use super::awaited_reply::{AwaitedReply, joined};
use super::{AnyResponse, CLIENT_HOST, Context, Outcome};
use crate::group::{Join, duration};
use crate::state::{ClusterState, Now};

pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, request: JoinGroupRequest) -> Outcome {
    let JoinGroupRequest { group_id, member_id, session_timeout_ms, rebalance_timeout_ms, group_instance_id, .. } =
        request;
    let session_timeout = duration(session_timeout_ms);
    let sessions = state.settings.group_min_session_timeout..=state.settings.group_max_session_timeout;
    let refused = match context.whole_refused_before() {
        Some(code) => Some(code),
        None if group_id.is_empty() => Some(ErrorCode::InvalidGroupId),
        None if !sessions.contains(&session_timeout) => Some(ErrorCode::InvalidSessionTimeout),
        None => None,
    };
    if let Some(code) = refused {
        return refuse(context, member_id, code);
    }
    let key = match state.coordinated_by(context.node, &group_id, now.instant) {
        Ok(key) => key,
        Err(code) => return refuse(context, String::new(), code),
    };
    if state.group(key, &group_id).is_none() {
        if !member_id.is_empty() {
            return refuse(context, member_id, ErrorCode::UnknownMemberId);
        }
        state.create_group(key, now, &group_id);
    }
    let named = group_instance_id.as_ref().unwrap_or(&context.client_id);
    let new_member_id = if member_id.is_empty() { format!("{named}-{}", state.new_uuid()) } else { String::new() };
    let reply = state.new_reply();
    let join = Join {
        reply,
        member_id,
        new_member_id,
        instance_id: group_instance_id,
        client_id: context.client_id.clone(),
        client_host: CLIENT_HOST.to_owned(),
        session_timeout,
        // Version 0 has none, and means the session's.
        rebalance_timeout: if context.version == 0 { session_timeout } else { duration(rebalance_timeout_ms) },
        protocol_type: request.protocol_type,
        protocols: request.protocols,
        requires_known_member_id: context.version >= 4,
        can_skip_assignment: context.version >= 9,
    };
    state.with_group(key, now, &group_id, |group| group.handle_join(now.instant, join));
    AwaitedReply::wait(context, reply)
}

fn refuse(context: &Context, member_id: String, error_code: ErrorCode) -> Outcome {
    let response = JoinGroupResponse { error_code, member_id, ..Default::default() };
    Outcome::Answer(AnyResponse::JoinGroup(joined(context.version, response)))
}
