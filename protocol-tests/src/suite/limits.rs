//! Sizes at their limits, and connections at theirs.

use std::time::Duration;

use ottla::{AutoOffsetReset, Compression, ErrorCode, TopicPartition};

use super::io::{contents, read, read_from_start, send_all, to_send};
use super::{TestCluster, case_table};
use crate::record::PlainRecord;

case_table![sharing:
    a_record_above_the_producers_limit_is_refused_before_it_is_sent,
    a_record_above_the_topics_limit_is_refused_by_the_broker_and_the_next_one_is_not,
    large_records_come_back,
    a_batch_above_the_fetch_limits_is_delivered_all_the_same,
    a_small_buffer_reads_everything_in_turn,
    of_what_is_fetched_less_than_a_hundredth_is_cut_and_fetched_again,
    the_memory_bound_makes_the_producer_wait_and_not_fail,
    a_connection_left_idle_is_opened_again;
    breaking:
];

fn noise(size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(size as u64);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

async fn a_record_above_the_producers_limit_is_refused_before_it_is_sent(cluster: TestCluster) {
    let topic = cluster.topic("refused", 1).await;
    let client = cluster.client();
    let producer = client.producer().max_request_size(10_000).build().unwrap();
    let error =
        producer.send(to_send(&topic, &PlainRecord::new("k", noise(20_000)).to_partition(0))).await.unwrap_err();
    assert!(!error.error().is_retriable(), "{error}");
    let kept = PlainRecord::new("k", noise(5000)).to_partition(0);
    assert_eq!(producer.send(to_send(&topic, &kept)).await.unwrap().offset, Some(0), "nothing was written before it");
}

async fn a_record_above_the_topics_limit_is_refused_by_the_broker_and_the_next_one_is_not(cluster: TestCluster) {
    let topic = cluster.topic_with("limited", 1, &[("max.message.bytes", "10000")]).await;
    let client = cluster.client();
    let producer = client.producer().build().unwrap();
    let error =
        producer.send(to_send(&topic, &PlainRecord::new("k", noise(20_000)).to_partition(0))).await.unwrap_err();
    assert_eq!(error.error().error_code(), Some(ErrorCode::MessageTooLarge), "{error}");
    let kept = PlainRecord::new("k", noise(5000)).to_partition(0);
    assert_eq!(producer.send(to_send(&topic, &kept)).await.unwrap().offset, Some(0));
    // Records that only together are too large are split and written.
    let producer = client.producer().linger(Duration::from_millis(100)).batch_size(100_000).build().unwrap();
    let many = (0..10).map(|_| PlainRecord::new("k", noise(4000)).to_partition(0)).collect::<Vec<_>>();
    let metadata = send_all(&producer, &topic, &many).await;
    assert!(metadata.iter().map(|metadata| metadata.offset).eq((1..=10).map(Some)));
}

async fn large_records_come_back(cluster: TestCluster) {
    let topic = cluster.topic_with("large", 1, &[("max.message.bytes", "20000000")]).await;
    let client = cluster.client();
    let mut sent = Vec::new();
    for codec in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let producer = client.producer().compression(codec).max_request_size(20 << 20).build().unwrap();
        let record = PlainRecord::new("k", noise(8 << 20)).to_partition(0);
        send_all(&producer, &topic, std::slice::from_ref(&record)).await;
        sent.push(record);
    }
    assert_eq!(contents(&read_from_start(&client, &topic, 0, sent.len()).await), sent);
}

async fn a_batch_above_the_fetch_limits_is_delivered_all_the_same(cluster: TestCluster) {
    let topic = cluster.topic("above", 2).await;
    let client = cluster.client();
    let sent =
        (0..6).map(|i| PlainRecord::new("k", noise(300_000 + i as usize)).to_partition(i % 2)).collect::<Vec<_>>();
    send_all(&client.producer().build().unwrap(), &topic, &sent).await;
    let mut consumer = client
        .consumer()
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .fetch_max_bytes(50_000)
        .max_partition_fetch_bytes(10_000)
        .build()
        .unwrap();
    consumer.assign([0, 1].map(|partition| TopicPartition::new(&*topic, partition))).unwrap();
    let records = read(&mut consumer, sent.len()).await;
    for partition in 0..2 {
        let of = |records: &[PlainRecord]| super::io::of_partition(records, partition);
        assert_eq!(contents(&of(&records)), of(&sent), "partition {partition}");
    }
}

async fn a_small_buffer_reads_everything_in_turn(cluster: TestCluster) {
    let topic = cluster.topic("small-buffer", 8).await;
    let client = cluster.client();
    let sent = (0..400).map(|i| PlainRecord::new("k", noise(20_000)).to_partition(i % 8)).collect::<Vec<_>>();
    let producer = client.producer().linger(Duration::from_millis(5)).batch_size(100_000).build().unwrap();
    send_all(&producer, &topic, &sent).await;
    // Eight megabytes through one: only what was handed out and dropped makes room for more.
    let mut consumer =
        client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).fetch_buffer_max_bytes(1 << 20).build().unwrap();
    consumer.assign((0..8).map(|partition| TopicPartition::new(&*topic, partition))).unwrap();
    let records = read(&mut consumer, sent.len()).await;
    assert_eq!(records.len(), sent.len(), "nothing twice");
    for partition in 0..8 {
        let offsets = super::io::of_partition(&records, partition).into_iter().map(|record| record.offset);
        assert!(offsets.eq((0..50).map(Some)), "partition {partition}");
    }
}

async fn of_what_is_fetched_less_than_a_hundredth_is_cut_and_fetched_again(cluster: TestCluster) {
    let topic = cluster.topic_with("cut", 2, &[("max.message.bytes", "1000000")]).await;
    let client = cluster.client();
    let producer = client.producer().batch_size(200_000).linger(Duration::from_millis(50)).build().unwrap();
    // Full batches of about 200 kB: a MiB ends in the middle of the sixth.
    let sent = (0..3000).map(|i| PlainRecord::new("k", noise(10_000)).to_partition(i % 2)).collect::<Vec<_>>();
    send_all(&producer, &topic, &sent).await;
    let mut consumer =
        client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).fetch_buffer_max_bytes(8 << 20).build().unwrap();
    consumer.assign((0..2).map(|partition| TopicPartition::new(&*topic, partition))).unwrap();
    // What the first answers teach is used from the second third on.
    let first = read(&mut consumer, 1000).await;
    let early = consumer.fetch_metrics().totals;
    read(&mut consumer, 3000 - first.len()).await;
    let late = consumer.fetch_metrics().totals;
    let (cut, delivered) = (late.cut_bytes - early.cut_bytes, late.delivered_bytes - early.delivered_bytes);
    assert!(cut * 100 < delivered, "{cut} bytes were cut for {delivered} that were delivered");
    assert_eq!((late.unwanted_bytes, late.given_up_bytes, late.waiting_bytes()), (0, 0, 0));
}

async fn the_memory_bound_makes_the_producer_wait_and_not_fail(cluster: TestCluster) {
    let topic = cluster.topic("bound", 1).await;
    let client = cluster.client();
    let producer = client.producer().buffer_memory(200_000).batch_size(16_384).build().unwrap();
    let sent = (0..500).map(|_| PlainRecord::new("k", noise(10_000)).to_partition(0)).collect::<Vec<_>>();
    let metadata = send_all(&producer, &topic, &sent).await;
    assert!(metadata.iter().map(|metadata| metadata.offset).eq((0..500).map(Some)));
}

async fn a_connection_left_idle_is_opened_again(cluster: TestCluster) {
    let topic = cluster.topic("idle", 1).await;
    let client = cluster.client_builder().connections_max_idle(Duration::from_millis(200)).build().unwrap();
    let producer = client.producer().build().unwrap();
    for i in 0..3 {
        let metadata = send_all(&producer, &topic, &[PlainRecord::new("k", i.to_string()).to_partition(0)]).await;
        assert_eq!(metadata[0].offset, Some(i));
        // Longer than connections.max.idle.ms: there is nothing to observe from here but the time itself.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(read_from_start(&client, &topic, 0, 3).await.len(), 3);
}
