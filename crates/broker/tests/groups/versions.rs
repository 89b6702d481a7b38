//! Every version of every API of groups, as old clients and new ones speak them.

use ottla_broker::EmbeddedCluster;
use ottla_wire::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, ListedGroup, MemberIdentity, OffsetCommitRequest, OffsetFetchRequest,
    OffsetFetchRequestTopic, SyncGroupRequest,
};
use ottla_wire::{ApiKey, ErrorCode, LeaderEpoch, NodeId, TopicId};

use crate::member::{GROUP, Member, TOPIC, connect, in_memory};
use crate::offsets::{commit, fetch};

/// A cluster of two nodes that speaks an API in one version only, with a topic; and, of these, the coordinator and the
/// other.
async fn speaking(api: ApiKey, version: i16) -> (EmbeddedCluster, TopicId, [NodeId; 2]) {
    let cluster = in_memory().nodes(2).api_versions(api, version, version).start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let coordinator = cluster.coordinator(GROUP).await.unwrap();
    (cluster, topic, [coordinator, NodeId(1 - coordinator.0)])
}

#[tokio::test(start_paused = true)]
async fn find_coordinator() {
    for version in 0..=6 {
        let (cluster, _, [coordinator, other]) = speaking(ApiKey::FindCoordinator, version).await;
        let connection = connect(&cluster, other).await;
        let request = if version < 4 {
            FindCoordinatorRequest { key: GROUP.to_owned(), ..Default::default() }
        } else {
            FindCoordinatorRequest { coordinator_keys: vec![GROUP.to_owned()], ..Default::default() }
        };
        let response = connection.request(&request).await.unwrap();
        let port = i32::from(cluster.address(coordinator).unwrap().port());
        let (found, code, message) = match response.coordinators.first() {
            Some(found) => ((found.node_id, found.port), found.error_code, found.error_message.clone()),
            None => ((response.node_id, response.port), response.error_code, response.error_message.clone()),
        };
        assert_eq!((found, code), ((coordinator, port), ErrorCode::None), "version {version}");
        let expected = match version {
            0 => None,
            1..=3 => Some("NONE"),
            _ => Some(""),
        };
        assert_eq!(message.as_deref(), expected, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn join_group() {
    for version in 0..=9 {
        let (cluster, _, [_, other]) = speaking(ApiKey::JoinGroup, version).await;
        let mut member = Member::new(&cluster).await;
        let request = JoinGroupRequest { reason: Some("test".to_owned()), ..member.join_request() };
        let first = member.connection.request(&request).await.unwrap();
        let name_of_none = if version < 7 { Some("") } else { None };
        if version >= 4 {
            assert_eq!(first.error_code, ErrorCode::MemberIdRequired, "version {version}");
            assert_eq!(
                (first.generation_id.0, first.protocol_name.as_deref()),
                (-1, name_of_none),
                "version {version}"
            );
            member.id.clone_from(&first.member_id);
        } else {
            assert_eq!(first.error_code, ErrorCode::None, "version {version}");
        }
        let joined = if version >= 4 { member.try_join().await } else { first };
        assert_eq!((joined.error_code, joined.generation_id.0), (ErrorCode::None, 1), "version {version}");
        assert_eq!(joined.protocol_type.as_deref(), (version >= 7).then_some("consumer"), "version {version}");
        assert_eq!(joined.protocol_name.as_deref(), Some("range"), "version {version}");
        assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1), "version {version}");

        member.id = joined.member_id;
        member.connection = connect(&cluster, other).await;
        let refused = member.connection.request(&member.join_request()).await.unwrap();
        assert_eq!(refused.error_code, ErrorCode::NotCoordinator, "version {version}");
        assert_eq!(refused.protocol_name.as_deref(), name_of_none, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn join_group_of_a_static_leader_that_comes_back() {
    for version in 5..=9 {
        let (cluster, ..) = speaking(ApiKey::JoinGroup, version).await;
        let mut former = Member::new_static(&cluster, "instance").await;
        former.join_alone().await;
        let mut returned = Member::new_static(&cluster, "instance").await;
        let joined = returned.join().await;
        assert_eq!(joined.generation_id, former.generation_id, "version {version}");
        if version >= 9 {
            assert!(joined.skip_assignment && joined.members.len() == 1 && joined.leader == returned.id);
        } else {
            assert!(joined.members.is_empty() && joined.leader == former.id, "version {version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sync_group() {
    for version in 0..=5 {
        let (cluster, _, [_, other]) = speaking(ApiKey::SyncGroup, version).await;
        let mut member = Member::new(&cluster).await;
        member.join_alone().await;
        let response = member.try_sync(&[]).await;
        assert_eq!(
            (response.error_code, &response.assignment[..]),
            (ErrorCode::None, &b"all"[..]),
            "version {version}"
        );
        assert_eq!(response.protocol_name.as_deref(), (version >= 5).then_some("range"), "version {version}");
        let unspoken = SyncGroupRequest {
            group_id: GROUP.to_owned(),
            member_id: member.id.clone(),
            generation_id: member.generation_id,
            ..Default::default()
        };
        let code = member.connection.request(&unspoken).await.unwrap().error_code;
        let expected = if version >= 5 { ErrorCode::InconsistentGroupProtocol } else { ErrorCode::None };
        assert_eq!(code, expected, "version {version}");
        member.connection = connect(&cluster, other).await;
        assert_eq!(member.try_sync(&[]).await.error_code, ErrorCode::NotCoordinator, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeat() {
    for version in 0..=4 {
        let (cluster, _, [_, other]) = speaking(ApiKey::Heartbeat, version).await;
        let mut member = Member::new(&cluster).await;
        member.join_alone().await;
        assert_eq!(member.heartbeat().await, ErrorCode::None, "version {version}");
        let nobody = HeartbeatRequest { group_id: String::new(), ..Default::default() };
        let code = member.connection.request(&nobody).await.unwrap().error_code;
        assert_eq!(code, ErrorCode::InvalidGroupId, "version {version}");
        member.connection = connect(&cluster, other).await;
        assert_eq!(member.heartbeat().await, ErrorCode::NotCoordinator, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn leave_group() {
    for version in 0..=5 {
        let (cluster, _, [_, other]) = speaking(ApiKey::LeaveGroup, version).await;
        let mut member = Member::new(&cluster).await;
        member.join_alone().await;
        let request = |member_id: String| {
            let group_id = GROUP.to_owned();
            if version < 3 {
                return LeaveGroupRequest { group_id, member_id, ..Default::default() };
            }
            let members = vec![MemberIdentity { member_id, ..Default::default() }];
            LeaveGroupRequest { group_id, members, ..Default::default() }
        };
        let elsewhere = connect(&cluster, other).await;
        let response = elsewhere.request(&request(member.id.clone())).await.unwrap();
        assert_eq!((response.error_code, response.members.len()), (ErrorCode::NotCoordinator, 0), "version {version}");
        for code in [ErrorCode::None, ErrorCode::UnknownMemberId] {
            let response = member.connection.request(&request(member.id.clone())).await.unwrap();
            let codes = (response.error_code, response.members.first().map(|member| member.error_code));
            let expected = if version < 3 { (code, None) } else { (ErrorCode::None, Some(code)) };
            assert_eq!(codes, expected, "version {version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn offset_commit() {
    for version in 2..=10 {
        let (cluster, topic, [coordinator, other]) = speaking(ApiKey::OffsetCommit, version).await;
        let code = async |node, request: OffsetCommitRequest| {
            let response = connect(&cluster, node).await.request(&request).await.unwrap();
            let topic = &response.topics[0];
            assert_eq!((topic.name.is_empty(), topic.topic_id == TopicId::NONE), (version >= 10, version < 10));
            topic.partitions[0].error_code
        };
        assert_eq!(code(other, commit(topic, 0, 7)).await, ErrorCode::NotCoordinator, "version {version}");
        assert_eq!(code(coordinator, commit(topic, 0, 7)).await, ErrorCode::None, "version {version}");
        let mut unknown = commit(TopicId([9; 16]), 0, 7);
        unknown.topics[0].name = "unknown".to_owned();
        let expected = if version >= 10 { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        assert_eq!(code(coordinator, unknown).await, expected, "version {version}");
        let known = cluster.committed_offsets(GROUP).await.unwrap();
        let (_, offset) = known.into_iter().next().unwrap();
        let epoch = (version >= 6).then_some(LeaderEpoch(5));
        assert_eq!((offset.offset, offset.leader_epoch), (7, epoch), "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn offset_fetch() {
    for version in 1..=10 {
        let (cluster, topic, [coordinator, other]) = speaking(ApiKey::OffsetFetch, version).await;
        connect(&cluster, coordinator).await.request(&commit(topic, 0, 7)).await.unwrap();
        let by_name = || OffsetFetchRequestTopic { name: TOPIC.to_owned(), partition_indexes: vec![0, 1] };
        let unbatched = |topics| OffsetFetchRequest { group_id: GROUP.to_owned(), topics, ..Default::default() };
        let (some, all) = if version < 8 {
            (unbatched(Some(vec![by_name()])), (version >= 2).then(|| unbatched(None)))
        } else {
            let (mut some, mut all) = (fetch(topic, 0), fetch(topic, 0));
            if let Some(topics) = &mut some.groups[0].topics {
                topics[0].partition_indexes = vec![0, 1];
            }
            all.groups[0].topics = None;
            (some, Some(all))
        };
        let ask = async |node, request: &OffsetFetchRequest| {
            let response = connect(&cluster, node).await.request(request).await.unwrap();
            if let Some(group) = response.groups.into_iter().next() {
                let topic = group.topics.into_iter().next();
                return (group.error_code, topic.map(|topic| topic.partitions).unwrap_or_default());
            }
            let topic = response.topics.into_iter().next();
            (response.error_code, topic.map(|topic| topic.partitions).unwrap_or_default())
        };
        let (code, partitions) = ask(coordinator, &some).await;
        assert_eq!(code, ErrorCode::None, "version {version}");
        let offsets = partitions.iter().map(|partition| (partition.error_code, partition.committed_offset));
        let expected = [(ErrorCode::None, 7), (ErrorCode::None, -1)];
        assert_eq!(offsets.collect::<Vec<_>>(), expected, "version {version}");
        let epoch = if version >= 5 { LeaderEpoch(5) } else { LeaderEpoch::NONE };
        assert_eq!(partitions[0].committed_leader_epoch, epoch, "version {version}");
        if let Some(all) = all {
            let (code, partitions) = ask(coordinator, &all).await;
            assert_eq!((code, partitions.len()), (ErrorCode::None, 1), "version {version}");
        }
        let (code, partitions) = ask(other, &some).await;
        if version < 2 {
            assert!(partitions.iter().all(|partition| partition.error_code == ErrorCode::NotCoordinator));
        } else {
            assert_eq!((code, partitions.len()), (ErrorCode::NotCoordinator, 0), "version {version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn describe_groups() {
    for version in 0..=6 {
        let (cluster, _, [coordinator, other]) = speaking(ApiKey::DescribeGroups, version).await;
        let mut member = Member::new_static(&cluster, "instance").await;
        member.join_alone().await;
        let ask = async |node, group: &str| {
            let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
            connect(&cluster, node).await.request(&request).await.unwrap().groups.remove(0)
        };
        let known = ask(coordinator, GROUP).await;
        assert_eq!((known.error_code, &*known.group_state), (ErrorCode::None, "Stable"), "version {version}");
        assert_eq!(known.authorized_operations, i32::MIN, "version {version}: not asked for");
        let instance_id = known.members[0].group_instance_id.as_deref();
        assert_eq!(instance_id, (version >= 4).then_some("instance"), "version {version}");
        let names = (0..).map(|number| format!("unknown-{number}"));
        let mut of_coordinator = None;
        for name in names {
            if cluster.coordinator(&name).await.unwrap() == coordinator {
                of_coordinator = Some(name);
                break;
            }
        }
        let unknown = ask(coordinator, &of_coordinator.unwrap()).await;
        let code = if version >= 6 { ErrorCode::GroupIdNotFound } else { ErrorCode::None };
        assert_eq!((unknown.error_code, &*unknown.group_state), (code, "Dead"), "version {version}");
        assert_eq!(unknown.error_message.is_some(), version >= 6, "version {version}");
        if version >= 3 {
            let request = DescribeGroupsRequest { groups: vec![unknown.group_id], include_authorized_operations: true };
            let unknown = connect(&cluster, coordinator).await.request(&request).await.unwrap().groups.remove(0);
            assert_eq!(unknown.authorized_operations == i32::MIN, version >= 6, "version {version}");
        }
        assert_eq!(ask(other, GROUP).await.error_code, ErrorCode::NotCoordinator, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn list_groups() {
    for version in 0..=5 {
        let (cluster, ..) = speaking(ApiKey::ListGroups, version).await;
        let mut member = Member::new(&cluster).await;
        member.join_alone().await;
        let response = member.connection.request(&ListGroupsRequest::default()).await.unwrap();
        let state = if version >= 4 { "Stable" } else { "" };
        let kind = if version >= 5 { "classic" } else { "" };
        assert_eq!(response.groups, [ListedGroup::new(GROUP, "consumer", state, kind)], "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn delete_groups() {
    for version in 0..=2 {
        let (cluster, topic, [coordinator, other]) = speaking(ApiKey::DeleteGroups, version).await;
        connect(&cluster, coordinator).await.request(&commit(topic, 0, 7)).await.unwrap();
        let request = DeleteGroupsRequest { groups_names: vec![GROUP.into()] };
        for (node, code) in [
            (other, ErrorCode::NotCoordinator),
            (coordinator, ErrorCode::None),
            (coordinator, ErrorCode::GroupIdNotFound),
        ] {
            let response = connect(&cluster, node).await.request(&request).await.unwrap();
            assert_eq!(response.results[0].error_code, code, "version {version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_listed_is_what_these_tests_ask() {
    let cluster = in_memory().start().await.unwrap();
    let connection = connect(&cluster, NodeId(0)).await;
    for (api, min, max) in [
        (ApiKey::FindCoordinator, 0, 6),
        (ApiKey::JoinGroup, 0, 9),
        (ApiKey::SyncGroup, 0, 5),
        (ApiKey::Heartbeat, 0, 4),
        (ApiKey::LeaveGroup, 0, 5),
        (ApiKey::OffsetCommit, 2, 10),
        (ApiKey::OffsetFetch, 1, 10),
        (ApiKey::DescribeGroups, 0, 6),
        (ApiKey::ListGroups, 0, 5),
        (ApiKey::DeleteGroups, 0, 2),
        (ApiKey::OffsetDelete, 0, 0),
    ] {
        assert_eq!(connection.versions().range(api).map(|range| (range.min, range.max)), Some((min, max)), "{api}");
    }
}
