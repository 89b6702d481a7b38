//! Joining, staying, leaving.

use std::time::Duration;

use ottla_broker::GroupState;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{LeaveGroupRequest, MemberIdentity};
use tokio::time::{Instant, sleep};

use crate::member::{GROUP, Member, REBALANCE_TIMEOUT, SESSION_TIMEOUT, assignments, in_memory, two_members};

#[tokio::test(start_paused = true)]
async fn members_join_are_assigned_and_leave() {
    let cluster = in_memory().nodes(3).start().await.unwrap();
    let (leader, other) = two_members(&cluster).await;
    let described = cluster.describe_group(GROUP).await.unwrap();
    assert_eq!((described.state, described.generation_id), (GroupState::Stable, 2));
    assert_eq!(described.protocol_name.as_deref(), Some("range"));
    assert_eq!(described.leader.as_ref(), Some(&leader.member_id));
    assert_eq!(described.members[0].client_host, "/127.0.0.1");
    assert_eq!(assignments(&cluster).await[&other.member_id], b"two"[..]);
    assert_eq!((leader.heartbeat().await, other.heartbeat().await), (ErrorCode::None, ErrorCode::None));

    assert_eq!(leader.leave().await, ErrorCode::None);
    assert_eq!(other.heartbeat().await, ErrorCode::RebalanceInProgress);
    assert_eq!(leader.heartbeat().await, ErrorCode::UnknownMemberId);
    assert_eq!(leader.leave().await, ErrorCode::UnknownMemberId);
    assert_eq!(other.leave().await, ErrorCode::None);
    let described = cluster.describe_group(GROUP).await.unwrap();
    assert_eq!((described.state, described.generation_id), (GroupState::Empty, 3));
}
