//! DescribeGroups: the state of groups, and their members.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};

use super::{AnyResponse, Context, Outcome, authorized_operations};
use crate::group::{Group, GroupDescription, GroupState, MemberDescription};
use crate::state::{ClusterState, Now};

pub(super) fn handle(state: &mut ClusterState, now: Now, context: &Context, request: DescribeGroupsRequest) -> Outcome {
    let operations = authorized_operations::of_group(request.include_authorized_operations);
    let group = |group_id: Box<str>| {
        let described = match context.whole_refused() {
            Some(code) => Err(code),
            None => find(state, now, context, &group_id),
        };
        match described {
            Ok(description) => match describe(context, group_id, description) {
                found if found.error_code == ErrorCode::None => {
                    DescribedGroup { authorized_operations: operations, ..found }
                }
                missing => missing,
            },
            Err(error_code) => DescribedGroup { error_code, group_id, ..Default::default() },
        }
    };
    let groups = request.groups.into_iter().map(group).collect();
    Outcome::Answer(AnyResponse::DescribeGroups(DescribeGroupsResponse { groups, ..Default::default() }))
}

fn find(state: &ClusterState, now: Now, context: &Context, group_id: &str) -> Result<GroupDescription, ErrorCode> {
    let key = state.coordinated_by(context.node, group_id, now.instant)?;
    Ok(state.group(key, group_id).map_or_else(GroupDescription::dead, Group::describe))
}

fn describe(context: &Context, group_id: Box<str>, description: GroupDescription) -> DescribedGroup {
    let is_stable = description.state == GroupState::Stable;
    // Before, a group that does not exist is told by its state (KIP-1043).
    let is_missing = description.state == GroupState::Dead && context.version >= 6;
    let member = |member: MemberDescription| DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        // While the group has no protocol in common, there is none to say anything for.
        member_metadata: if is_stable { member.metadata } else { bytes::Bytes::new() },
        member_assignment: member.assignment,
    };
    DescribedGroup {
        error_code: if is_missing { ErrorCode::GroupIdNotFound } else { ErrorCode::None },
        error_message: is_missing.then(|| Box::new(format!("Group {group_id} not found."))),
        group_id,
        group_state: description.state.to_string().into(),
        protocol_type: description.protocol_type.unwrap_or_default().into(),
        protocol_data: description.protocol_name.filter(|_| is_stable).unwrap_or_default().into(),
        members: description.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}
