//! Injected faults reach the requests of groups, where their answers have codes.

use std::time::Duration;

use ottla_broker::{Fault, GroupState};
use ottla_wire::messages::{FindCoordinatorRequest, LeaveGroupRequest, MemberIdentity};
use ottla_wire::{ApiKey, ErrorCode, TopicPartition};
use tokio::time::Instant;

use crate::member::{GROUP, Member, TOPIC, connect_to_coordinator, in_memory};
use crate::offsets::{commit, committed, fetch, fetched};

const CODE: ErrorCode = ErrorCode::NotCoordinator;

#[tokio::test(start_paused = true)]
async fn a_code_takes_the_place_of_handling_or_of_the_answer() {
    let cluster = in_memory().start().await.unwrap();
    let mut member = Member::new(&cluster).await;
    let inject = |api, after: bool| {
        let fault = Fault::error(CODE).on_api(api);
        cluster.faults().inject(if after { fault.after_handling() } else { fault });
    };
    inject(ApiKey::JoinGroup, false);
    assert_eq!(member.try_join().await.error_code, CODE);
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::Dead);
    assert_eq!(member.try_join().await.error_code, ErrorCode::MemberIdRequired);
    inject(ApiKey::JoinGroup, true);
    assert_eq!(member.try_join().await.error_code, CODE);
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::CompletingRebalance);
    assert_eq!(member.try_join().await.error_code, ErrorCode::None);

    inject(ApiKey::SyncGroup, false);
    assert_eq!(member.try_sync(&[]).await.error_code, CODE);
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::CompletingRebalance);
    inject(ApiKey::SyncGroup, true);
    assert_eq!(member.try_sync(&[]).await.error_code, CODE);
    assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, GroupState::Stable);

    inject(ApiKey::Heartbeat, false);
    assert_eq!(member.heartbeat().await, CODE);
    let request = LeaveGroupRequest {
        group_id: GROUP.to_owned(),
        members: vec![MemberIdentity { member_id: member.id.clone(), ..Default::default() }],
        ..Default::default()
    };
    for (after, state) in [(false, GroupState::Stable), (true, GroupState::Empty)] {
        inject(ApiKey::LeaveGroup, after);
        assert_eq!(member.connection.request(&request).await.unwrap().error_code, CODE);
        assert_eq!(cluster.describe_group(GROUP).await.unwrap().state, state);
    }
    inject(ApiKey::FindCoordinator, false);
    let find = FindCoordinatorRequest { coordinator_keys: vec![GROUP.to_owned()], ..Default::default() };
    assert_eq!(member.connection.request(&find).await.unwrap().coordinators[0].error_code, CODE);
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_hit_partition_by_partition() {
    let cluster = in_memory().start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 2, 1).await.unwrap();
    let connection = connect_to_coordinator(&cluster).await;
    let mut request = commit(topic, 0, 7);
    let mut second = request.topics[0].partitions[0].clone();
    second.partition_index = 1;
    request.topics[0].partitions.push(second);
    let codes = async || {
        let response = connection.request(&request).await.unwrap();
        [0, 1].map(|index: usize| response.topics[0].partitions[index].error_code)
    };
    cluster.faults().inject(Fault::error(CODE).on_api(ApiKey::OffsetCommit));
    assert_eq!(codes().await, [CODE, CODE]);
    assert!(cluster.committed_offsets(GROUP).await.unwrap().is_empty());
    cluster.faults().inject(Fault::error(CODE).on_api(ApiKey::OffsetCommit).on_partition(TOPIC, 1));
    assert_eq!(codes().await, [ErrorCode::None, CODE]);
    let known = cluster.committed_offsets(GROUP).await.unwrap();
    assert_eq!(known.into_keys().collect::<Vec<_>>(), [TopicPartition::new(TOPIC, 0)]);
    cluster.faults().inject(Fault::error(CODE).on_api(ApiKey::OffsetCommit).after_handling());
    assert_eq!(codes().await, [CODE, CODE]);
    assert_eq!(cluster.committed_offsets(GROUP).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_of_offsets_is_hit_as_a_whole_or_in_one_partition() {
    let cluster = in_memory().start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let connection = connect_to_coordinator(&cluster).await;
    assert_eq!(committed(&connection, &commit(topic, 0, 7)).await, ErrorCode::None);
    cluster.faults().inject(Fault::error(CODE).on_api(ApiKey::OffsetFetch));
    let response = connection.request(&fetch(topic, 0)).await.unwrap();
    assert_eq!(response.groups[0].error_code, CODE);
    cluster.faults().inject(Fault::error(CODE).on_api(ApiKey::OffsetFetch).on_partition(TOPIC, 0));
    let partition = fetched(&connection, &fetch(topic, 0)).await;
    assert_eq!((partition.error_code, partition.committed_offset), (CODE, -1));
    assert_eq!(fetched(&connection, &fetch(topic, 0)).await.committed_offset, 7);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_delayed_and_a_commit_is_lost_with_its_connection() {
    let cluster = in_memory().start().await.unwrap();
    let topic = cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let mut member = Member::new(&cluster).await;
    member.join_alone().await;
    cluster.faults().inject(Fault::delay(Duration::from_secs(2)).on_api(ApiKey::Heartbeat));
    let asked = Instant::now();
    assert_eq!(member.heartbeat().await, ErrorCode::None);
    assert_eq!(asked.elapsed(), Duration::from_secs(2));
    assert_eq!(member.leave().await, ErrorCode::None);
    for (fault, committed) in [(Fault::close_connection(), 0), (Fault::close_connection().after_handling(), 1)] {
        cluster.faults().inject(fault.on_api(ApiKey::OffsetCommit));
        let connection = connect_to_coordinator(&cluster).await;
        assert!(connection.request(&commit(topic, 0, 7)).await.is_err());
        assert_eq!(cluster.committed_offsets(GROUP).await.unwrap().len(), committed);
    }
}
