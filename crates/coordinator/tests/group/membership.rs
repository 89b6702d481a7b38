//! Joining, rebalancing and leaving.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::assignor::{RebalanceProtocol, built_in};
use ottla_coordinator::{GroupConfig, GroupEvent, LostReason, RebalanceReason};

use crate::member::{
    InTurn, MAX_POLL_INTERVAL, Member, SOON, TOPIC, client, client_with, config, in_memory, offsets, partitions,
    poll_all, settle, start, topics,
};
use ottla_wire::{ApiKey, ErrorCode};

#[tokio::test(start_paused = true)]
async fn a_first_member_leads_and_is_assigned_all() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    assert!(member.handle().is_joining() && member.handle().membership().is_none());
    member.poll_until_assigned(1).await;
    assert_eq!(member.assignment, partitions(0..6));
    let membership = member.handle().membership().unwrap();
    assert_eq!((&*membership.assignor, membership.generation_id.0), ("in-turn", 1));
    assert_eq!(membership.leader_id, membership.member_id);
    let group = member.assigned[0].group.clone().unwrap();
    assert_eq!((group.len(), &group[0].member_id), (1, &membership.member_id));
    assert_eq!(group[0].partitions, partitions(0..6));
    assert_eq!(member.assigned[0].reason, RebalanceReason::NotMember);
    member.coordinator.close(Some("done"), Duration::from_secs(5)).await.unwrap();
    assert_eq!(cluster.describe_group("group").await.unwrap().members.len(), 0, "it has left");
}

#[tokio::test(start_paused = true)]
async fn two_members_share_and_one_that_leaves_gives_all_to_the_other() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let mut members = vec![Member::join(&client, config())];
    settle(&mut members).await;
    members.push(Member::join(&client, config()));
    settle(&mut members).await;
    assert_eq!(members[0].assignment.len(), 3);
    assert_eq!(members[0].reasons, [RebalanceReason::GroupRebalances]);
    assert!(members.iter().all(|member| member.lost.is_empty()));
    let followers: Vec<_> = members.iter().filter(|member| member.assigned.last().unwrap().group.is_none()).collect();
    assert_eq!(followers.len(), 1, "the leader alone is told of all");

    let left = members.pop().unwrap();
    left.coordinator.close(Some("done"), Duration::from_secs(5)).await.unwrap();
    let before = tokio::time::Instant::now();
    settle(&mut members).await;
    assert!(before.elapsed() < Duration::from_secs(10), "without waiting for its session to end");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_is_missed_after_its_session_timeout() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let mut members = vec![Member::join(&client, config()), Member::join(&client, config())];
    settle(&mut members).await;
    drop(members.pop());
    let before = tokio::time::Instant::now();
    settle(&mut members).await;
    let took = before.elapsed();
    assert!(took > Duration::from_secs(40) && took < Duration::from_mins(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn cooperative_members_keep_what_does_not_move() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let mut cooperative = config();
    cooperative.assignors = vec![Arc::new(InTurn { name: "together", protocol: RebalanceProtocol::Cooperative })];
    let mut members = vec![Member::join(&client, cooperative.clone())];
    settle(&mut members).await;
    members.push(Member::join(&client, cooperative));
    settle(&mut members).await;
    // It was given less, gave that up, and joined once more so that the other could have it.
    assert_eq!(members[0].assigned.len(), 3);
    assert_eq!(members[0].assigned[1].partitions.len(), 3);
    let kept = members[0].assigned[1].partitions.clone();
    assert_eq!(members[0].assignment, kept, "what it kept in the first rebalance stays in the second");
    assert!(members[0].assigned[0].partitions.is_superset(&kept));
    let reason = RebalanceReason::Requested { reason: "gave up partitions".into() };
    assert_eq!(members[0].assigned[2].reason, reason);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_kept_alive_however_long_a_poll_takes() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    for _ in 0..10 {
        member.handle().poll_begins();
        tokio::time::sleep(MAX_POLL_INTERVAL / 2).await;
    }
    assert!(member.handle().next_event().is_none());
    assert_eq!(cluster.describe_group("group").await.unwrap().members.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_not_driven_any_more_is_late_although_it_has_not_ended() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    member.handle().poll_begins();
    let before = tokio::time::Instant::now();
    tokio::time::timeout(SOON, member.handle().event_ready()).await.expect("it is found out");
    assert_eq!(before.elapsed(), MAX_POLL_INTERVAL);
    let lost = member.handle().next_event();
    assert!(matches!(lost, Some(GroupEvent::Lost { reason: LostReason::MaxPollIntervalExceeded })), "{lost:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.describe_group("group").await.unwrap().members.len(), 0, "others can have its partitions");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_not_polled_leaves_and_comes_back() {
    let cluster = start(in_memory()).await;
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    let first = member.handle().membership().unwrap();
    let before = tokio::time::Instant::now();
    member.handle().event_ready().await;
    assert_eq!(before.elapsed().as_secs(), 300);
    assert!(member.handle().membership().is_none());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.describe_group("group").await.unwrap().members.len(), 0, "it has left");
    member.poll_until_assigned(2).await;
    assert_eq!(member.lost, [LostReason::MaxPollIntervalExceeded]);
    assert_ne!(member.handle().membership().unwrap().member_id, first.member_id);
}

#[tokio::test(start_paused = true)]
async fn the_leader_asks_for_a_rebalance_when_a_topic_gets_partitions() {
    let cluster = start(in_memory()).await;
    let client = client_with(&cluster, 1, |config| config.metadata_max_age(Duration::from_secs(30)));
    let mut members = vec![Member::join(&client, config()), Member::join(&client, config())];
    settle(&mut members).await;
    cluster.add_partitions(TOPIC, 8).await.unwrap();
    let all = |members: &[Member]| members.iter().map(|member| member.assignment.len()).sum::<usize>();
    while all(&members) < 8 {
        poll_all(&mut members).await;
    }
    let reasons: Vec<_> = members.iter().flat_map(|member| &member.reasons).cloned().collect();
    assert!(reasons.contains(&RebalanceReason::MetadataChanged { topic: TOPIC.into() }), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn another_subscription_makes_a_member_rejoin() {
    let cluster = start(in_memory()).await;
    cluster.create_topic("other", 2, 1).await.unwrap();
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    member.handle().subscribe(topics(&[TOPIC]));
    assert!(!member.handle().is_rebalance_pending(), "the same topics");
    member.handle().subscribe(topics(&[TOPIC, "other"]));
    assert!(member.handle().is_rebalance_pending() && member.handle().membership().is_some());
    member.poll_until_assigned(2).await;
    assert_eq!(member.assignment.len(), 8);
    assert_eq!(member.reasons, [RebalanceReason::SubscriptionChanged]);
}

#[tokio::test(start_paused = true)]
async fn members_follow_a_coordinator_that_moves() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let mut members = vec![Member::join(&client, config()), Member::join(&client, config())];
    settle(&mut members).await;
    let coordinator = cluster.coordinator("group").await.unwrap();
    let other = cluster.nodes().find(|node| *node != coordinator).unwrap();
    cluster.move_coordinator("group", other).await.unwrap();
    let before = tokio::time::Instant::now();
    while before.elapsed() < Duration::from_mins(2) {
        poll_all(&mut members).await;
    }
    settle(&mut members).await;
    assert!(members.iter().all(|member| member.lost.is_empty()), "the group moved with its members");
    assert!(members.iter().all(|member| member.assigned.len() <= 2), "and did not rebalance");
    members[0].handle().commit(offsets(&[(0, 5)])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn members_outlive_their_coordinator() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let mut members = vec![Member::join(&client, config()), Member::join(&client, config())];
    settle(&mut members).await;
    let coordinator = cluster.coordinator("group").await.unwrap();
    cluster.stop_node(coordinator).await.unwrap();
    let before = tokio::time::Instant::now();
    while before.elapsed() < Duration::from_mins(1) {
        poll_all(&mut members).await;
    }
    settle(&mut members).await;
    assert!(members.iter().all(|member| member.lost.is_empty()));
    members[0].handle().commit(offsets(&[(0, 5)])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_static_member_finds_its_partitions_again() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let fixed = |id: &str| {
        let mut config = config();
        config.group_instance_id = Some(id.to_owned());
        config
    };
    let mut members = vec![Member::join(&client, fixed("one")), Member::join(&client, fixed("two"))];
    settle(&mut members).await;
    let generation = members[0].handle().membership().unwrap().generation_id;
    let assignments: Vec<_> = members.iter().map(|member| member.assignment.clone()).collect();
    for (index, id) in ["one", "two"].into_iter().enumerate() {
        let gone = std::mem::replace(&mut members[index], Member::join(&client, fixed(id)));
        gone.coordinator.close(Some("a restart"), Duration::from_secs(5)).await.unwrap();
        settle(&mut members).await;
        assert_eq!(members[index].assignment, assignments[index]);
    }
    assert_eq!(members[0].handle().membership().unwrap().generation_id, generation, "no rebalance");
}

#[tokio::test(start_paused = true)]
async fn of_two_static_members_of_one_name_the_older_is_fenced() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let mut fixed = config();
    fixed.group_instance_id = Some("one".to_owned());
    let mut older = Member::join(&client, fixed.clone());
    older.poll_until_assigned(1).await;
    older.handle().poll_begins();
    let mut newer = Member::join(&client, fixed);
    newer.poll_until_assigned(1).await;
    older.handle().event_ready().await;
    let lost = older.handle().next_event().unwrap();
    let reason = LostReason::Refused { attempted: "Heartbeat", error_code: ErrorCode::FencedInstanceId };
    assert!(matches!(&lost, GroupEvent::Lost { reason: told } if *told == reason), "{lost:?}");
    let failed = older.handle().next_event().unwrap();
    assert!(matches!(&failed, GroupEvent::Failed(error) if error.is_fatal()), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_can_come_back_with_another_subscription() {
    let cluster = start(in_memory()).await;
    cluster.create_topic("other", 2, 1).await.unwrap();
    let mut member = Member::join(&client(&cluster), config());
    member.poll_until_assigned(1).await;
    assert!(member.handle().leave("unsubscribed", Duration::from_secs(5)).await);
    assert_eq!(cluster.describe_group("group").await.unwrap().members.len(), 0);
    assert!(member.handle().membership().is_none() && !member.handle().is_joining());
    member.handle().join(Vec::new());
    assert!(!member.handle().is_joining(), "there is nothing to join with");
    member.assignment.clear();
    member.handle().subscribe(topics(&["other"]));
    member.handle().join(Vec::new());
    member.poll_until_assigned(2).await;
    assert_eq!(member.assignment.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_while_its_join_is_parked_does_not_hold_up_the_group() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    let mut first = Member::join(&client, config());
    first.poll_until_assigned(1).await;
    // The first one does not rejoin: the second waits for it at the coordinator.
    let second = Member::join(&client, config());
    first.handle().event_ready().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(second.handle().is_joining());
    let before = tokio::time::Instant::now();
    assert!(second.handle().leave("changed its mind", Duration::from_secs(30)).await);
    assert!(before.elapsed() < Duration::from_secs(1), "nothing waits behind what is parked");
    // And joins anew, past what was parked.
    second.handle().subscribe(topics(&[TOPIC]));
    second.handle().join(Vec::new());
    let mut members = vec![first, second];
    settle(&mut members).await;
}

#[tokio::test(start_paused = true)]
async fn old_brokers_are_spoken_to_in_their_versions() {
    let old = [
        (ApiKey::FindCoordinator, 2),
        (ApiKey::JoinGroup, 3),
        (ApiKey::SyncGroup, 2),
        (ApiKey::Heartbeat, 2),
        (ApiKey::LeaveGroup, 2),
        (ApiKey::OffsetCommit, 6),
        (ApiKey::OffsetFetch, 5),
    ];
    let builder = old.into_iter().fold(in_memory(), |builder, (api, max)| builder.api_versions(api, 0, max));
    let cluster = start(builder).await;
    let client = client(&cluster);
    let mut members = vec![Member::join(&client, config()), Member::join(&client, config())];
    settle(&mut members).await;
    members[0].handle().commit(offsets(&[(0, 7)])).await.unwrap();
    let committed = members[1].handle().committed(partitions([0, 1]), Duration::from_secs(5)).await.unwrap();
    assert_eq!(
        committed.values().map(|found| found.as_ref().map(|found| found.offset)).collect::<Vec<_>>(),
        [Some(7), None]
    );
    let left = members.pop().unwrap();
    left.coordinator.close(Some("done"), Duration::from_secs(5)).await.unwrap();
    let before = tokio::time::Instant::now();
    settle(&mut members).await;
    assert!(before.elapsed() < Duration::from_secs(10), "it has left");
}

#[tokio::test(start_paused = true)]
async fn javas_assignors_share_a_group_whoever_leads() {
    let cluster = start(in_memory()).await;
    let client = client(&cluster);
    for name in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
        let mut config = GroupConfig::new(format!("group-of-{name}"));
        config.assignors = vec![built_in(name).unwrap()];
        let mut members = vec![Member::join(&client, config.clone()), Member::join(&client, config.clone())];
        settle(&mut members).await;
        members.push(Member::join(&client, config));
        settle(&mut members).await;
        let left = members.swap_remove(0);
        left.coordinator.close(Some("done"), Duration::from_secs(5)).await.unwrap();
        settle(&mut members).await;
        assert!(members.iter().all(|member| member.assignment.len() == 3 && member.lost.is_empty()), "{name}");
    }
}
