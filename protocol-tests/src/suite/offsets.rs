//! Where reading begins and goes on: offsets by time, seek, pause, and what happens without a position.

use std::time::Duration;

use ottla::{AutoOffsetReset, StartAt, TopicPartition};

use super::io::{read, read_from_start, send_all, take};
use super::{TestCluster, case_table};
use crate::record::PlainRecord;

case_table![sharing:
    offsets_are_found_by_time,
    beginning_and_end_are_what_was_written,
    a_seek_discards_what_was_buffered,
    a_paused_partition_gives_nothing_and_loses_nothing,
    earliest_reads_all_and_latest_reads_what_comes_after,
    without_a_reset_policy_an_unknown_position_is_an_error,
    a_position_beyond_the_end_is_reset,
    a_partition_newly_assigned_does_not_wait_for_anothers_long_poll,
    many_partitions_are_read_in_order_through_pauses_and_seeks_and_rests;
    breaking:
];

/// Record `i` has this time.
fn time_of(i: i64) -> i64 {
    1_700_000_000_000 + i * 1000
}

async fn write(cluster: &TestCluster, topic: &str, partition: i32, range: std::ops::Range<i64>) {
    let records = range.map(|i| PlainRecord::new("k", i.to_string()).to_partition(partition).at(time_of(i)));
    let producer = cluster.client().producer().build().unwrap();
    send_all(&producer, topic, &records.collect::<Vec<_>>()).await;
}

async fn offsets_are_found_by_time(cluster: TestCluster) {
    let topic = cluster.topic("by-time", 2).await;
    write(&cluster, &topic, 0, 0..10).await;
    let client = cluster.client();
    let consumer = client.consumer().build().unwrap();
    let partition = TopicPartition::new(&*topic, 0);
    let empty = TopicPartition::new(&*topic, 1);
    consumer.assign([partition.clone(), empty.clone()]).unwrap();
    for (time, expected) in [
        (0, Some((0, Some(time_of(0))))),
        (time_of(3), Some((3, Some(time_of(3))))),
        (time_of(3) + 1, Some((4, Some(time_of(4))))),
        (time_of(9), Some((9, Some(time_of(9))))),
        (time_of(9) + 1, None),
    ] {
        let found = consumer.offsets_for_times([(partition.clone(), time), (empty.clone(), time)]).await.unwrap();
        let offset = |partition| found.get(partition).copied().flatten().map(|found| (found.offset, found.timestamp));
        assert_eq!(offset(&partition), expected, "at {time}");
        assert_eq!(offset(&empty), None, "an empty partition has no record at {time}");
    }
    let mut consumer = client.consumer().build().unwrap();
    consumer.assign_at([(partition, StartAt::Timestamp(time_of(6) - 1))]).unwrap();
    assert_eq!(
        read(&mut consumer, 4).await[0].offset,
        Some(6),
        "reading begins at the first record at or after the time"
    );
}

async fn beginning_and_end_are_what_was_written(cluster: TestCluster) {
    let topic = cluster.topic("ends", 2).await;
    write(&cluster, &topic, 1, 0..25).await;
    let client = cluster.client();
    let consumer = client.consumer().build().unwrap();
    let partitions = [0, 1].map(|partition| TopicPartition::new(&*topic, partition));
    let beginnings = consumer.beginning_offsets(partitions.clone()).await.unwrap();
    let ends = consumer.end_offsets(partitions.clone()).await.unwrap();
    assert_eq!(partitions.each_ref().map(|partition| (beginnings[partition], ends[partition])), [(0, 0), (0, 25)]);
}

async fn a_seek_discards_what_was_buffered(cluster: TestCluster) {
    let topic = cluster.topic("seek", 1).await;
    write(&cluster, &topic, 0, 0..100).await;
    let client = cluster.client();
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    let partition = TopicPartition::new(&*topic, 0);
    consumer.assign([partition.clone()]).unwrap();
    assert_eq!(read(&mut consumer, 1).await[0].offset, Some(0));
    for target in [90, 3, 50, 99] {
        consumer.seek(&partition, target).unwrap();
        assert_eq!(consumer.position(&partition).await.unwrap(), target);
        let records = read(&mut consumer, (100 - target) as usize).await;
        let offsets = records.iter().map(|record| record.offset.unwrap()).collect::<Vec<_>>();
        assert_eq!(offsets, (target..100).collect::<Vec<_>>(), "nothing before {target} and nothing twice");
        assert_eq!(consumer.position(&partition).await.unwrap(), 100);
    }
}

async fn a_paused_partition_gives_nothing_and_loses_nothing(cluster: TestCluster) {
    let topic = cluster.topic("pause", 2).await;
    write(&cluster, &topic, 0, 0..50).await;
    write(&cluster, &topic, 1, 0..50).await;
    let client = cluster.client();
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    let [first, second] = [0, 1].map(|partition| TopicPartition::new(&*topic, partition));
    consumer.assign([first.clone(), second.clone()]).unwrap();
    consumer.pause([&first]).unwrap();
    let records = read(&mut consumer, 50).await;
    assert!(records.iter().all(|record| record.partition == Some(1)), "the paused partition gives nothing");
    write(&cluster, &topic, 1, 50..60).await;
    assert_eq!(read(&mut consumer, 10).await.len(), 10, "the other one goes on");
    consumer.resume([&first]).unwrap();
    let offsets = read(&mut consumer, 50).await.into_iter().map(|record| (record.partition, record.offset));
    assert!(offsets.eq((0..50).map(|offset| (Some(0), Some(offset)))), "all of the resumed partition, in order");
}

async fn earliest_reads_all_and_latest_reads_what_comes_after(cluster: TestCluster) {
    let topic = cluster.topic("reset", 1).await;
    write(&cluster, &topic, 0, 0..10).await;
    let client = cluster.client();
    assert_eq!(read_from_start(&client, &topic, 0, 10).await.len(), 10);
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Latest).build().unwrap();
    let partition = TopicPartition::new(&*topic, 0);
    consumer.assign([partition.clone()]).unwrap();
    // The position is known once the broker was asked for the end, which a poll waits for.
    super::eventually("the consumer is at the end", async || {
        assert!(consumer.poll(Duration::from_millis(100)).await.unwrap().is_empty(), "nothing that was there before");
        (consumer.position_now(&partition).unwrap() == Some(10)).then_some(())
    })
    .await;
    write(&cluster, &topic, 0, 10..13).await;
    let offsets = read(&mut consumer, 3).await.into_iter().map(|record| record.offset);
    assert!(offsets.eq([Some(10), Some(11), Some(12)]));
}

async fn without_a_reset_policy_an_unknown_position_is_an_error(cluster: TestCluster) {
    let topic = cluster.topic("no-reset", 2).await;
    write(&cluster, &topic, 0, 0..10).await;
    write(&cluster, &topic, 1, 0..10).await;
    let client = cluster.client();
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::None).build().unwrap();
    let [beyond, within] = [0, 1].map(|partition| TopicPartition::new(&*topic, partition));
    consumer.assign_at([(beyond.clone(), StartAt::Offset(1000)), (within.clone(), StartAt::Offset(4))]).unwrap();
    let mut records = Vec::new();
    let mut error = None;
    super::eventually("the error of one partition and the records of the other", async || {
        match consumer.poll(Duration::from_millis(200)).await {
            Ok(batches) => take(&batches, &mut records),
            Err(failure) => error = Some(failure),
        }
        (error.is_some() && records.len() == 6).then_some(())
    })
    .await;
    let error = error.unwrap();
    assert!(error.to_string().contains(&topic), "the error names its partition: {error}");
    assert!(records.iter().all(|record| record.partition == Some(1)), "the other partition is not concerned");
    // The application decides, and the partition goes on.
    consumer.seek(&beyond, 8).unwrap();
    assert_eq!(read(&mut consumer, 2).await.len(), 2);
}

async fn a_position_beyond_the_end_is_reset(cluster: TestCluster) {
    let topic = cluster.topic("out-of-range", 1).await;
    write(&cluster, &topic, 0, 0..10).await;
    let client = cluster.client();
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    consumer.assign_at([(TopicPartition::new(&*topic, 0), StartAt::Offset(1000))]).unwrap();
    assert_eq!(read(&mut consumer, 10).await[0].offset, Some(0), "as auto.offset.reset says");
}

async fn a_partition_newly_assigned_does_not_wait_for_anothers_long_poll(cluster: TestCluster) {
    let topic = cluster.topic("parked", 2).await;
    // One node leads both: only then could one wait for the other.
    cluster.move_leader(&topic, 0, 0).await;
    cluster.move_leader(&topic, 1, 0).await;
    write(&cluster, &topic, 1, 0..10).await;
    let client = cluster.client_builder().request_timeout(Duration::from_mins(1)).build().unwrap();
    // A long poll that outlasts the bound by far.
    let mut consumer = client
        .consumer()
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .fetch_max_wait(Duration::from_secs(30))
        .build()
        .unwrap();
    let [empty, full] = [0, 1].map(|partition| TopicPartition::new(&*topic, partition));
    consumer.assign([empty.clone()]).unwrap();
    assert!(consumer.poll(Duration::from_secs(1)).await.unwrap().is_empty(), "its fetch is parked at the broker now");
    let assigned = tokio::time::Instant::now();
    consumer.assign([empty, full]).unwrap();
    // More than ten may come: the leader has just moved, and what the old one could not confirm was sent again.
    read(&mut consumer, 10).await;
    let waited = assigned.elapsed();
    assert!(waited < Duration::from_secs(5), "the new partition's records came after {waited:?}");
}

async fn many_partitions_are_read_in_order_through_pauses_and_seeks_and_rests(cluster: TestCluster) {
    const PARTITIONS: i32 = 40;
    let topic = cluster.topic("many", PARTITIONS).await;
    let client = cluster.client();
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    let all: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(&*topic, partition)).collect();
    consumer.assign(all.iter().cloned()).unwrap();
    let producer = client.producer().build().unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let mut next = vec![0; all.len()];
    for round in 1..=15 {
        // Some are paused, some sought, and some of either have records; then all rests, so that a session has to tell it.
        let mut paused = Vec::new();
        for partition in &all {
            match random.u32(0..5) {
                0 => paused.push(partition),
                1 => {
                    let offset = random.i64(0..round);
                    consumer.seek(partition, offset).unwrap();
                    next[partition.partition as usize] = offset;
                }
                _ => {}
            }
        }
        consumer.pause(paused.iter().copied()).unwrap();
        let records = all.iter().map(|partition| PlainRecord::new("k", "v").to_partition(partition.partition));
        send_all(&producer, &topic, &records.collect::<Vec<_>>()).await;
        let is_paused = |partition: i32| paused.iter().any(|paused| paused.partition == partition);
        let due: i64 = (0..PARTITIONS)
            .filter(|partition| !is_paused(*partition))
            .map(|partition| round - next[partition as usize])
            .sum();
        for record in read(&mut consumer, due as usize).await {
            let partition = record.partition.unwrap();
            assert!(!is_paused(partition), "partition {partition} gives records though it is paused");
            assert_eq!(record.offset, Some(next[partition as usize]), "of partition {partition} in round {round}");
            next[partition as usize] += 1;
        }
        assert!(consumer.poll(Duration::from_millis(50)).await.unwrap().is_empty(), "there is no more");
        consumer.resume(paused).unwrap();
        let due: i64 = next.iter().map(|next| round - next).sum();
        for record in read(&mut consumer, due as usize).await {
            let partition = record.partition.unwrap();
            assert_eq!(record.offset, Some(next[partition as usize]), "of partition {partition} in round {round}");
            next[partition as usize] += 1;
        }
    }
}
