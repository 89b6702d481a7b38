//! Positions in logs that change under the reader: truncated, shortened, compacted, made anew; and from which replica they are read.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::admin::{NewTopic, TopicResults};
use ottla::{Acks, AutoOffsetReset, Client, Consumer, NodeId, StartAt, TopicPartition, WallClock};

use super::cluster::describe;
use super::io::{contents, read, send_all};
use super::{TestCluster, case_table, eventually};
use crate::record::PlainRecord;

case_table![sharing:
    a_topic_made_anew_is_read_from_its_start,
    what_is_deleted_before_the_position_is_for_the_policy,
    what_compaction_leaves_is_read_over_its_gaps,
    a_reset_by_duration_begins_with_what_is_not_older,
    #[several_nodes] the_replica_in_the_consumers_rack_is_read_from,
    #[several_nodes] a_committed_offset_is_gone_on_with_under_the_next_leader;
    breaking:
    #[several_nodes] an_unclean_election_takes_the_reader_back_to_where_the_logs_parted,
];

fn records(values: std::ops::Range<i64>) -> Vec<PlainRecord> {
    values.map(|i| PlainRecord::new("k", i.to_string()).to_partition(0)).collect()
}

async fn write(client: &Client, topic: &str, values: std::ops::Range<i64>) {
    let producer = client.producer().acks(Acks::All).build().unwrap();
    send_all(&producer, topic, &records(values)).await;
}

fn earliest(client: &Client, topic: &str) -> Consumer {
    let consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    consumer.assign([TopicPartition::new(topic, 0)]).unwrap();
    consumer
}

fn offsets(records: &[PlainRecord]) -> Vec<i64> {
    records.iter().map(|record| record.offset.unwrap()).collect()
}

async fn a_topic_made_anew_is_read_from_its_start(cluster: TestCluster) {
    let topic = cluster.topic("anew", 1).await;
    let client = cluster.client();
    write(&client, &topic, 0..10).await;
    let mut consumer = earliest(&client, &topic);
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    let admin = client.admin();
    admin.delete_topics([&topic]).await.unwrap().all().unwrap();
    eventually("the topic is made anew", async || {
        let anew = NewTopic::new(&topic, 1, cluster.nodes() as i16);
        admin.create_topics([anew]).await.and_then(TopicResults::all).ok()
    })
    .await;
    // A client of its own: it has never known the former.
    let other = cluster.client();
    eventually("the topic has a leader", async || describe(&other, &topic).await?.partitions.first()?.leader).await;
    write(&other, &topic, 100..120).await;
    let read = read(&mut consumer, 20).await;
    assert_eq!(contents(&read), records(100..120), "also at the offsets that were read in the former");
    let told = consumer.take_error().expect("the application is told").error;
    assert!(told.to_string().contains("was made anew"), "{told}");
}

async fn what_is_deleted_before_the_position_is_for_the_policy(cluster: TestCluster) {
    let topic = cluster.topic("shortened", 1).await;
    let client = cluster.client();
    write(&client, &topic, 0..30).await;
    cluster.delete_records(&topic, 0, 20).await;
    let partition = TopicPartition::new(&*topic, 0);
    for (policy, first) in [(AutoOffsetReset::Earliest, Some(20)), (AutoOffsetReset::None, None)] {
        let mut consumer = client.consumer().auto_offset_reset(policy).build().unwrap();
        consumer.assign_at([(partition.clone(), StartAt::Offset(5))]).unwrap();
        if let Some(first) = first {
            assert_eq!(offsets(&read(&mut consumer, 10).await), (first..30).collect::<Vec<_>>());
            continue;
        }
        let refused = async || consumer.poll(Duration::from_millis(200)).await.err();
        let error = eventually("the position is refused", refused).await;
        assert!(error.to_string().contains("does not have offset 5"), "{error}");
    }
}

async fn what_compaction_leaves_is_read_over_its_gaps(cluster: TestCluster) {
    let configs = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")];
    let topic = cluster.topic_with("compacted", 1, &configs).await;
    let client = cluster.client();
    let producer = client.producer().batch_size(2000).build().unwrap();
    let keyed = |i: i64| PlainRecord::new(format!("key-{}", i % 10), i.to_string()).to_partition(0);
    let sent = (0..1000).map(keyed).collect::<Vec<_>>();
    send_all(&producer, &topic, &sent).await;
    let mut end = 1000;
    // A log's last segment is not compacted, and a new one begins with what is written after `segment.ms`.
    let read_now = eventually("the log has gaps", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        send_all(&producer, &topic, &[keyed(end)]).await;
        end += 1;
        let mut consumer = earliest(&client, &topic);
        let mut records = Vec::new();
        while records.last().is_none_or(|last: &PlainRecord| last.offset != Some(end - 1)) {
            super::io::take(&consumer.poll(Duration::from_secs(1)).await.unwrap(), &mut records);
        }
        assert_eq!(consumer.position(&TopicPartition::new(&*topic, 0)).await.unwrap(), end);
        // The embedded broker keeps all that it is told not to delete.
        (records.len() < 1000 || !cluster.is_kafka()).then_some(records)
    })
    .await;
    assert!(offsets(&read_now).is_sorted_by(|before, after| before < after), "in order, and nothing twice");
    let mut newest = BTreeMap::new();
    for record in &read_now {
        assert_eq!(record.value, Some(record.offset.unwrap().to_string().into_bytes()), "each at its offset");
        newest.insert(record.key.clone(), record.offset.unwrap());
    }
    let newest = newest.into_values().collect::<std::collections::BTreeSet<_>>();
    assert!(newest.into_iter().eq(end - 10..end), "the newest of every key");
}

async fn a_reset_by_duration_begins_with_what_is_not_older(cluster: TestCluster) {
    let topic = cluster.topic("by-duration", 1).await;
    let client = cluster.client();
    let noon = 1_700_000_000_000;
    let at_minutes = records(0..60).into_iter().zip(0..).map(|(record, minute)| record.at(noon + minute * 60_000));
    send_all(&client.producer().build().unwrap(), &topic, &at_minutes.collect::<Vec<_>>()).await;
    let mut consumer = client
        .consumer()
        .properties([("auto.offset.reset", "by_duration:PT15M")])
        .unwrap()
        .wall_clock(WallClock::new(move || noon + 3_600_000))
        .build()
        .unwrap();
    consumer.assign([TopicPartition::new(&*topic, 0)]).unwrap();
    assert_eq!(offsets(&read(&mut consumer, 15).await), (45..60).collect::<Vec<_>>());
}

async fn the_replica_in_the_consumers_rack_is_read_from(cluster: TestCluster) {
    let topic = cluster.topic("closest", 1).await;
    cluster.move_leader(&topic, 0, 0).await;
    cluster.all_in_sync(&topic).await;
    let client = cluster.client();
    let partition = TopicPartition::new(&*topic, 0);
    let consumer = client.consumer().client_rack(cluster.rack(1)).auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = consumer.build().unwrap();
    consumer.assign([partition.clone()]).unwrap();
    let mut next = 0;
    for round in 0..5 {
        write(&client, &topic, round * 10..round * 10 + 10).await;
        read_on(&mut consumer, &mut next).await;
    }
    assert_eq!(consumer.fetched_from(&partition), Some(NodeId(1)));
    // Another leader, which stands in the rack itself.
    cluster.move_leader(&topic, 0, 1).await;
    write(&client, &topic, 50..60).await;
    read_on(&mut consumer, &mut next).await;
    assert_eq!(consumer.fetched_from(&partition), Some(NodeId(1)));
}

/// Reads ten records or more, each where it is to be. More may come: what a leader that moves could not confirm was sent again.
async fn read_on(consumer: &mut Consumer, next: &mut i64) {
    let offsets = offsets(&read(consumer, 10).await);
    let end = *next + offsets.len() as i64;
    assert_eq!(offsets, (*next..end).collect::<Vec<_>>());
    *next = end;
}

async fn a_committed_offset_is_gone_on_with_under_the_next_leader(cluster: TestCluster) {
    let topic = cluster.topic("epochs", 1).await;
    let client = cluster.client();
    let group = cluster.topic_name("group");
    let mut next = 0;
    for round in 0..3 {
        cluster.move_leader(&topic, 0, round).await;
        write(&client, &topic, 0..10).await;
        // With `none`, a truncation that is none would be an error.
        let consumer = client.consumer().group_id(&group).auto_offset_reset(AutoOffsetReset::None);
        let mut consumer = consumer.build().unwrap();
        let start = if round == 0 { StartAt::Earliest } else { StartAt::Committed };
        consumer.assign_at([(TopicPartition::new(&*topic, 0), start)]).unwrap();
        read_on(&mut consumer, &mut next).await;
        consumer.close().await.expect("the consumer closes, and commits");
    }
}

async fn an_unclean_election_takes_the_reader_back_to_where_the_logs_parted(cluster: TestCluster) {
    let configs = [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")];
    let topic = cluster.topic_of_replicas("unclean", 2, &configs).await;
    let client = cluster.client();
    let replicas = describe(&client, &topic).await.expect("the topic is described").partitions.remove(0).replicas;
    let leader = cluster.leader(&topic, 0).await;
    let follower = replicas.into_iter().map(|node| node.0).find(|node| *node != leader).expect("two replicas");

    let mut consumer = earliest(&client, &topic);
    write(&client, &topic, 0..10).await;
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    cluster.all_in_sync_of(&topic, 2).await;
    cluster.kill_node(follower).await;
    cluster.all_in_sync_of(&topic, 1).await;
    // These the leader alone has.
    write(&client, &topic, 10..20).await;
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    cluster.kill_node(leader).await;
    cluster.start_node(follower).await;
    eventually("the follower leads", async || {
        cluster.elect_uncleanly(&topic, 0).await;
        (describe(&client, &topic).await?.partitions.first()?.leader == Some(NodeId(follower))).then_some(())
    })
    .await;
    write(&client, &topic, 100..115).await;
    let read = read(&mut consumer, 15).await;
    assert_eq!(contents(&read), records(100..115), "those at the offsets that were lost, too");
    assert_eq!(offsets(&read), (10..25).collect::<Vec<_>>());
    let told = consumer.take_error().expect("the application is told").error;
    assert!(told.to_string().contains("was truncated before offset 20: it parted"), "{told}");
}
