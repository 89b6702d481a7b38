//! Joining, staying, leaving.

use std::time::Duration;

use ottla_broker::{Error, GroupState};
use ottla_wire::messages::{JoinGroupRequest, LeaveGroupRequest, MemberIdentity, SyncGroupRequest};
use ottla_wire::{ErrorCode, GenerationId, NodeId};
use tokio::time::{Instant, sleep};

use crate::member::{
    GROUP, Member, REBALANCE_TIMEOUT, SESSION_TIMEOUT, assignments, in_memory, just_under, two_members,
};

#[tokio::test(start_paused = true)]
async fn members_join_are_assigned_and_leave() {
    let cluster = in_memory().nodes(3).start().await.unwrap();
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::Dead);
    let (leader, other) = two_members(&cluster).await;
    let described = cluster.describe_group(GROUP).await.unwrap();
    assert_eq!((described.state, described.generation_id), (GroupState::Stable, 2));
    assert_eq!(described.protocol_name.as_deref(), Some("range"));
    assert_eq!(described.leader.as_ref(), Some(&leader.id));
    assert_eq!(described.members[0].client_host, "/127.0.0.1");
    assert_eq!(assignments(&cluster).await[&other.id], b"two"[..]);
    assert_eq!((leader.heartbeat().await, other.heartbeat().await), (ErrorCode::None, ErrorCode::None));

    assert_eq!(leader.leave().await, ErrorCode::None);
    assert_eq!(other.heartbeat().await, ErrorCode::RebalanceInProgress);
    assert_eq!(leader.heartbeat().await, ErrorCode::UnknownMemberId);
    assert_eq!(leader.leave().await, ErrorCode::UnknownMemberId);
    assert_eq!(other.leave().await, ErrorCode::None);
    let described = cluster.describe_group(GROUP).await.unwrap();
    assert_eq!((described.state, described.generation_id), (GroupState::Empty, 3));
}

#[tokio::test(start_paused = true)]
async fn without_heartbeats_a_member_is_removed_when_its_session_ends() {
    let cluster = in_memory().start().await.unwrap();
    let mut member = Member::new(&cluster).await;
    member.join_alone().await;
    sleep(just_under(SESSION_TIMEOUT)).await;
    assert_eq!(member.heartbeat().await, ErrorCode::None);
    sleep(just_under(SESSION_TIMEOUT)).await;
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::Stable);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::Empty);
    assert_eq!(member.heartbeat().await, ErrorCode::UnknownMemberId);
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_connection_is_gone_stays_until_its_session_ends() {
    let cluster = in_memory().start().await.unwrap();
    let (leader, mut other) = two_members(&cluster).await;
    // It joins, which has it wait for the other, and goes away.
    let parked = leader.connection.send(&leader.join_request(), Duration::from_mins(10));
    while cluster.describe_group(GROUP).await.unwrap().state != GroupState::PreparingRebalance {
        tokio::task::yield_now().await;
    }
    leader.connection.abort();
    assert!(parked.await.is_err());
    sleep(SESSION_TIMEOUT / 2).await;
    let joined = other.join().await;
    assert_eq!((joined.generation_id, &joined.leader), (GenerationId(3), &leader.id));
    let synced = other.connection.send(&other.sync_request(&[]), Duration::from_mins(10));
    sleep(just_under(SESSION_TIMEOUT)).await;
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().members.len(), 2);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().members.len(), 1);
    assert_eq!(synced.await.unwrap().error_code, ErrorCode::RebalanceInProgress);
}

#[tokio::test(start_paused = true)]
async fn those_who_do_not_rejoin_are_left_behind_after_the_rebalance_timeout() {
    let cluster = in_memory().start().await.unwrap();
    let (leader, mut other) = two_members(&cluster).await;
    let mut third = Member::new(&cluster).await;
    assert_eq!(third.try_join().await.error_code, ErrorCode::MemberIdRequired);
    let asked = Instant::now();
    let heartbeats = async {
        loop {
            assert_eq!(leader.heartbeat().await, ErrorCode::RebalanceInProgress);
            sleep(SESSION_TIMEOUT / 2).await;
        }
    };
    let joins = async { tokio::join!(third.join(), other.join()) };
    let (of_third, of_other) = tokio::select! {
        biased;
        joined = joins => joined,
        () = heartbeats => unreachable!("heartbeats go on"),
    };
    assert_eq!(asked.elapsed(), REBALANCE_TIMEOUT);
    assert_eq!((of_third.generation_id, of_other.generation_id), (GenerationId(3), GenerationId(3)));
    assert_eq!(leader.heartbeat().await, ErrorCode::UnknownMemberId);
}

#[tokio::test(start_paused = true)]
async fn an_empty_group_waits_as_long_as_it_is_set_to() {
    let delay = Duration::from_secs(3);
    let cluster = in_memory().group_initial_rebalance_delay(delay).start().await.unwrap();
    let (mut first, mut second) = (Member::new(&cluster).await, Member::new(&cluster).await);
    let asked = Instant::now();
    let (of_first, of_second) = tokio::join!(first.join(), second.join());
    assert_eq!(of_first.generation_id, of_second.generation_id);
    assert_eq!(asked.elapsed(), 2 * delay, "the second extends the delay once");
}

#[tokio::test(start_paused = true)]
async fn bad_requests_to_join_are_refused() {
    let cluster =
        in_memory().group_max_session_timeout(Duration::from_mins(1)).group_max_size(1).start().await.unwrap();
    let member = Member::new(&cluster).await;
    let request = member.join_request();
    let join = async |request: JoinGroupRequest| member.connection.request(&request).await.unwrap().error_code;
    let with = |change: fn(&mut JoinGroupRequest)| {
        let mut request = request.clone();
        change(&mut request);
        request
    };
    assert_eq!(join(with(|request| request.group_id = String::new())).await, ErrorCode::InvalidGroupId);
    assert_eq!(join(with(|request| request.session_timeout_ms = 5_999)).await, ErrorCode::InvalidSessionTimeout);
    assert_eq!(join(with(|request| request.session_timeout_ms = 60_001)).await, ErrorCode::InvalidSessionTimeout);
    assert_eq!(join(with(|request| request.session_timeout_ms = -1)).await, ErrorCode::InvalidSessionTimeout);
    assert_eq!(join(with(|request| request.member_id = "stranger".to_owned())).await, ErrorCode::UnknownMemberId);
    assert_eq!(join(with(|request| request.protocols.clear())).await, ErrorCode::InconsistentGroupProtocol);
    Member::new(&cluster).await.join_alone().await;
    assert_eq!(join(request).await, ErrorCode::GroupMaxSizeReached);
}

#[tokio::test(start_paused = true)]
async fn an_assignment_is_given_only_to_those_who_say_by_what_they_go() {
    let cluster = in_memory().start().await.unwrap();
    let mut member = Member::new(&cluster).await;
    member.join_alone().await;
    let request = SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: member.generation_id,
        member_id: member.id.clone(),
        ..Default::default()
    };
    let sync = async |request: SyncGroupRequest| member.connection.request(&request).await.unwrap().error_code;
    assert_eq!(sync(request.clone()).await, ErrorCode::InconsistentGroupProtocol);
    let (protocol_type, protocol_name) = (Some("consumer".to_owned()), Some("range".to_owned()));
    let said = SyncGroupRequest { protocol_type, protocol_name, ..request };
    assert_eq!(sync(said.clone()).await, ErrorCode::None);
    assert_eq!(sync(SyncGroupRequest { group_id: String::new(), ..said.clone() }).await, ErrorCode::InvalidGroupId);
    let stranger = SyncGroupRequest { group_id: "never seen".to_owned(), ..said };
    assert_eq!(sync(stranger).await, ErrorCode::UnknownMemberId);
}

#[tokio::test(start_paused = true)]
async fn a_static_member_comes_back_without_a_rebalance_and_fences_its_former_self() {
    let cluster = in_memory().start().await.unwrap();
    let mut former = Member::new_static(&cluster, "instance").await;
    former.join_alone().await;
    assert!(former.id.starts_with("instance-"), "{}", former.id);
    let mut returned = Member::new_static(&cluster, "instance").await;
    let joined = returned.join().await;
    assert_eq!((joined.generation_id, joined.skip_assignment), (former.generation_id, true));
    assert_ne!(returned.id, former.id);
    assert_eq!(returned.sync(&[]).await, b"all"[..]);
    assert_eq!((former.heartbeat().await, returned.heartbeat().await), (ErrorCode::FencedInstanceId, ErrorCode::None));
    assert_eq!(former.try_join().await.error_code, ErrorCode::FencedInstanceId);
    assert_eq!(former.try_sync(&[]).await.error_code, ErrorCode::FencedInstanceId);
}

#[tokio::test(start_paused = true)]
async fn several_members_are_taken_out_at_once() {
    let cluster = in_memory().start().await.unwrap();
    let mut member = Member::new_static(&cluster, "instance").await;
    member.join_alone().await;
    let identity = |member_id: &str, instance_id: Option<&str>| MemberIdentity {
        member_id: member_id.to_owned(),
        group_instance_id: instance_id.map(str::to_owned),
        reason: Some("test".to_owned()),
    };
    let members = vec![identity("stranger", None), identity("", Some("nobody")), identity("", Some("instance"))];
    let request = LeaveGroupRequest { group_id: GROUP.to_owned(), members, ..Default::default() };
    let response = member.connection.request(&request).await.unwrap();
    let codes = response.members.iter().map(|member| member.error_code).collect::<Vec<_>>();
    assert_eq!(codes, [ErrorCode::UnknownMemberId, ErrorCode::UnknownMemberId, ErrorCode::None]);
    assert_eq!(response.members[2].group_instance_id.as_deref(), Some("instance"));
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::Empty);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_member_ids() {
    let member_id = async |seed| {
        let cluster = in_memory().seed(seed).start().await.unwrap();
        let mut member = Member::new(&cluster).await;
        member.join_alone().await;
        member.id
    };
    assert_eq!(member_id(1).await, member_id(1).await);
    assert_ne!(member_id(1).await, member_id(2).await);
}

#[tokio::test]
async fn durations_that_no_clock_can_count_are_refused() {
    for builder in [
        in_memory().group_initial_rebalance_delay(Duration::MAX),
        in_memory().group_max_session_timeout(Duration::MAX),
        in_memory().coordinator_load_time(Duration::MAX),
    ] {
        assert!(matches!(builder.start().await, Err(Error::Setting { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn an_assignment_that_is_not_replicated_in_time_is_not_given() {
    let cluster = in_memory().nodes(3).start().await.unwrap();
    let coordinator = cluster.coordinator(GROUP).await.unwrap();
    let mut member = Member::new(&cluster).await;
    member.join().await;
    let follower = NodeId((coordinator.0 + 1) % 3);
    cluster.pause_replication(follower).await.unwrap();
    let asked = Instant::now();
    assert_eq!(member.try_sync(&[]).await.error_code, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(asked.elapsed(), Duration::from_secs(5));
    assert_eq!(member.heartbeat().await, ErrorCode::RebalanceInProgress);
    cluster.resume_replication(follower).await.unwrap();
    member.join_alone().await;
    assert_eq!(member.generation_id, GenerationId(2));
}
