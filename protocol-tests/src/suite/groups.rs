//! Groups: members that join, leave, crash and come back, what they commit, and a coordinator that dies.
//!
//! What holds throughout: every record is handed to some member, and only what a member that crashed had been handed is
//! handed out again.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::{AutoOffsetReset, LeaderEpoch, OffsetAndMetadata, StartAt, TopicPartition};

use super::io::read;
use super::member::{Group, Numbers};
use super::{TestCluster, case_table};

case_table![sharing:
    members_that_come_and_go_lose_nothing_whatever_the_assignor,
    a_static_member_comes_back_to_its_partitions,
    a_group_goes_on_where_it_had_committed,
    an_explicit_map_of_offsets_is_kept_with_metadata_and_leader_epoch;
    breaking:
    #[several_nodes] a_group_whose_coordinator_dies_goes_on_with_another,
    a_group_lives_through_the_end_of_its_whole_cluster,
];

const PARTITIONS: i32 = 12;

async fn members_that_come_and_go_lose_nothing_whatever_the_assignor(cluster: TestCluster) {
    let topic = cluster.topic("shared", PARTITIONS).await;
    let groups = ["range", "roundrobin", "sticky", "cooperative-sticky"]
        .map(|assignor| Group::new(&cluster, &topic, PARTITIONS, assignor));
    let (client, stop) = (cluster.client(), tokio::sync::watch::channel(false).0);
    let mut numbers = Numbers::new(&client, &topic, PARTITIONS);
    let mut stopped = stop.subscribe();
    let writing = async {
        while !*stopped.borrow_and_update() {
            numbers.send(60).await;
            // The writer's pace, so that there is always something to read.
            let _: Result<_, _> = tokio::time::timeout(Duration::from_millis(100), stopped.changed()).await;
        }
        numbers.sent
    };
    let coming_and_going = async {
        let [range, round_robin, sticky, cooperative] = &groups;
        tokio::join!(come_and_go(range), come_and_go(round_robin), come_and_go(sticky), come_and_go(cooperative));
        stop.send_replace(true);
    };
    let (sent, ()) = tokio::join!(writing, coming_and_going);
    for group in &groups {
        let last = group.member("last");
        group.has_read(sent).await;
        last.leave().await;
        group.has_committed_all().await;
        let again = group.read_again();
        assert!(
            again.iter().all(|(_, readers)| readers.len() == 2 && readers.first() == Some(&"crashes")),
            "{again:?}"
        );
    }
}

async fn come_and_go(group: &Group) {
    let (first, crashes, third) = (group.member("first"), group.member("crashes"), group.member("third"));
    let (_, shares) = group.shared_by(&[&first, &crashes, &third]).await;
    assert!(shares.iter().all(|share| share.len() == 4), "{}: {shares:?}", group.name);
    crashes.crash().await;
    group.shared_by(&[&first, &third]).await;
    let joins = group.member("joins");
    group.shared_by(&[&first, &third, &joins]).await;
    first.leave().await;
    group.shared_by(&[&third, &joins]).await;
    let returns = group.member("first");
    let (_, shares) = group.shared_by(&[&third, &joins, &returns]).await;
    assert!(shares.iter().all(|share| share.len() == 4), "{}: {shares:?}", group.name);
    tokio::join!(third.leave(), joins.leave(), returns.leave());
}

async fn a_static_member_comes_back_to_its_partitions(cluster: TestCluster) {
    let topic = cluster.topic("static", PARTITIONS).await;
    let group = Group::new(&cluster, &topic, PARTITIONS, "range");
    let mut numbers = Numbers::new(&cluster.client(), &topic, PARTITIONS);
    let (stays, mut goes) = (group.static_member("stays"), group.static_member("goes"));
    let before = group.shared_by(&[&stays, &goes]).await;
    for is_crash in [false, true] {
        numbers.send(120).await;
        group.has_read(numbers.sent).await;
        group.has_committed_all().await;
        if is_crash {
            goes.crash().await;
        } else {
            goes.leave().await;
        }
        numbers.send(120).await;
        goes = group.static_member("goes");
        let after = group.shared_by(&[&stays, &goes]).await;
        assert_eq!(after, before, "the same generation, and the same partitions for each");
        group.has_read(numbers.sent).await;
    }
    assert_eq!(group.read_again(), []);
    tokio::join!(stays.leave(), goes.leave());
    group.has_committed_all().await;
}

async fn a_group_goes_on_where_it_had_committed(cluster: TestCluster) {
    let topic = cluster.topic("resumed", 1).await;
    let group = Group::new(&cluster, &topic, 1, "cooperative-sticky");
    let client = cluster.client();
    Numbers::new(&client, &topic, 1).send(100).await;
    let partition = TopicPartition::new(&*topic, 0);

    let mut consumer = group.consumer(&client).enable_auto_commit(false).build().unwrap();
    consumer.subscribe([&*topic]).unwrap();
    assert_eq!(read(&mut consumer, 100).await.len(), 100);
    consumer.commit_sync().await.unwrap();
    consumer.commit_sync_offsets([(partition.clone(), OffsetAndMetadata::new(40))]).await.unwrap();
    consumer.seek_to(&partition, StartAt::Committed).unwrap();
    assert_eq!(consumer.position(&partition).await.unwrap(), 40);
    let first = read(&mut consumer, 60).await;
    assert_eq!(first.iter().filter_map(|record| record.offset).collect::<Vec<_>>(), (40..100).collect::<Vec<_>>());
    consumer.close().await.unwrap();

    // Nothing was committed since: the next member goes on at 40, wherever others would begin.
    let latest = group.consumer(&client).auto_offset_reset(AutoOffsetReset::Latest);
    let mut consumer = latest.build().unwrap();
    consumer.subscribe([&*topic]).unwrap();
    let second = read(&mut consumer, 60).await;
    assert_eq!(second, first);
    consumer.close().await.unwrap();
    group.has_committed_all().await;

    let mut consumer = group.consumer(&client).build().unwrap();
    consumer.assign([partition.clone()]).unwrap();
    assert_eq!(consumer.position(&partition).await.unwrap(), 100, "who assigns to itself starts there, too");
    assert!(consumer.poll(Duration::from_millis(100)).await.unwrap().is_empty());
    consumer.close().await.unwrap();
}

async fn an_explicit_map_of_offsets_is_kept_with_metadata_and_leader_epoch(cluster: TestCluster) {
    let topic = cluster.topic("explicit", 3).await;
    let group = Group::new(&cluster, &topic, 3, "range");
    let client = cluster.client();
    Numbers::new(&client, &topic, 3).send(30).await;
    let partition = |index| TopicPartition::new(&*topic, index);
    let consumer = group.consumer(&client).build().unwrap();
    let committed = BTreeMap::from([
        (partition(0), OffsetAndMetadata::new(7).metadata("seven of ten").leader_epoch(Some(LeaderEpoch(0)))),
        (partition(1), OffsetAndMetadata::new(0)),
    ]);
    consumer.commit_sync_offsets(committed.clone()).await.unwrap();
    let found = consumer.committed((0..3).map(partition)).await.unwrap();
    let expected: BTreeMap<_, _> = committed.into_iter().map(|(partition, offset)| (partition, Some(offset))).collect();
    assert_eq!(found, expected.into_iter().chain([(partition(2), None)]).collect());

    let mut commits = Vec::new();
    for offset in [3, 9, 4] {
        commits.push(consumer.commit_async_offsets([(partition(2), OffsetAndMetadata::new(offset))]));
    }
    for commit in commits {
        commit.await.unwrap();
    }
    let found = consumer.committed([partition(2)]).await.unwrap();
    assert_eq!(found.get(&partition(2)), Some(&Some(OffsetAndMetadata::new(4))), "the last one counts");
    let too_much = OffsetAndMetadata::new(1).metadata("m".repeat(5000));
    let refused = consumer.commit_sync_offsets([(partition(2), too_much)]).await.unwrap_err();
    assert_eq!(refused.error_code(), Some(ottla::ErrorCode::OffsetMetadataTooLarge), "{refused}");
    assert_eq!(refused.partition(), Some(&partition(2)));
    consumer.close().await.unwrap();
}

async fn a_group_whose_coordinator_dies_goes_on_with_another(cluster: TestCluster) {
    let topic = cluster.topic("orphaned", PARTITIONS).await;
    let group = Group::new(&cluster, &topic, PARTITIONS, "cooperative-sticky");
    let mut numbers = Numbers::new(&cluster.client(), &topic, PARTITIONS);
    let (one, two) = (group.member("one"), group.member("two"));
    group.shared_by(&[&one, &two]).await;
    numbers.send(240).await;
    group.has_read(240).await;
    let node = cluster.coordinator(&group.name).await;
    let ((), ()) = tokio::join!(cluster.kill_node(node), numbers.send(600));
    group.has_read(840).await;
    group.has_committed_all().await;
    assert_ne!(cluster.coordinator(&group.name).await, node);
    let three = group.member("three");
    group.shared_by(&[&one, &two, &three]).await;
    let ((), ()) = tokio::join!(cluster.start_node(node), numbers.send(600));
    group.has_read(1440).await;
    for member in [one, two, three] {
        member.leave().await;
    }
    group.has_committed_all().await;
}

async fn a_group_lives_through_the_end_of_its_whole_cluster(cluster: TestCluster) {
    let topic = cluster.topic("alone", PARTITIONS).await;
    let group = Group::new(&cluster, &topic, PARTITIONS, "range");
    let mut numbers = Numbers::new(&cluster.client(), &topic, PARTITIONS);
    let (one, two) = (group.member("one"), group.member("two"));
    group.shared_by(&[&one, &two]).await;
    numbers.send(240).await;
    group.has_read(240).await;
    for node in 0..cluster.nodes() {
        cluster.kill_node(node).await;
    }
    // The time is what is tested: sessions end, and whatever is tried is tried many times.
    let down_for = if cluster.is_kafka() { Duration::from_mins(1) } else { Duration::from_secs(10) };
    tokio::time::sleep(down_for).await;
    let ((), ()) = tokio::join!(cluster.start_all(), numbers.send(240));
    group.has_read(480).await;
    group.shared_by(&[&one, &two]).await;
    numbers.send(240).await;
    group.has_read(720).await;
    one.leave().await;
    two.leave().await;
    group.has_committed_all().await;
}
