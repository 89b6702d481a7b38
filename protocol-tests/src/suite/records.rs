//! What is written comes back: byte for byte, in order, from the partition that it belongs to.

use std::time::{Duration, SystemTime};

use ottla::{Acks, AutoOffsetReset, Compression, TopicPartition};
use ottla_wire::hashing::partition_for_key;

use super::io::{contents, of_partition, read, read_from_start, send_all, to_send};
use super::{TestCluster, case_table};
use crate::record::{PlainRecord, assorted};

case_table![sharing:
    every_codec_and_size_comes_back_byte_for_byte,
    times_of_the_producer_are_kept,
    log_append_time_replaces_the_producers_time,
    records_of_every_acks_setting_are_written,
    keys_decide_partitions_as_java_does,
    records_without_a_key_spread_over_all_partitions,
    a_partition_keeps_the_order_of_sending,
    what_nobody_waits_for_is_written_by_flush_and_close,
    batches_outlive_their_consumer,
    many_partitions_are_read_by_one_consumer;
    breaking:
];

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

async fn every_codec_and_size_comes_back_byte_for_byte(cluster: TestCluster) {
    let topic = cluster.topic("codecs", CODECS.len() as i32).await;
    let client = cluster.client();
    for (partition, codec) in CODECS.into_iter().enumerate() {
        let partition = partition as i32;
        // Around the sizes at which varints grow, xerial and LZ4 blocks end, and one that fills a batch of its own.
        let sizes = [0, 1, 63, 64, 100, 8191, 8192, 32_767, 32_768, 65_536, 65_537, 200_000, 900_000];
        let sent = assorted(partition as u64, partition, &sizes);
        let producer = client.producer().compression(codec).linger(Duration::from_millis(5)).build().unwrap();
        let metadata = send_all(&producer, &topic, &sent).await;
        let offsets = metadata.iter().map(|metadata| metadata.offset).collect::<Vec<_>>();
        assert_eq!(
            offsets,
            (0..sent.len() as i64).map(Some).collect::<Vec<_>>(),
            "{codec:?}: offsets follow the order of sending"
        );
        let read = read_from_start(&client, &topic, partition, sent.len()).await;
        assert_eq!(contents(&read), contents(&sent), "{codec:?}");
        let timestamps = |records: &[PlainRecord]| records.iter().map(|record| record.timestamp_ms).collect::<Vec<_>>();
        assert_eq!(timestamps(&read), timestamps(&sent), "{codec:?}");
    }
}

async fn times_of_the_producer_are_kept(cluster: TestCluster) {
    let topic = cluster.topic("times", 1).await;
    let client = cluster.client();
    let producer = client.producer().build().unwrap();
    // Out of order, and as far apart as a batch's deltas allow for.
    let times = [1_700_000_000_000, 0, 1_699_999_999_999, 1];
    let sent = times.map(|time| PlainRecord::new("k", "v").to_partition(0).at(time));
    send_all(&producer, &topic, &sent).await;
    let before = milliseconds_now();
    send_all(&producer, &topic, &[PlainRecord::new("k", "now").to_partition(0)]).await;
    let read = read_from_start(&client, &topic, 0, 5).await;
    let read_times = read.iter().map(|record| record.timestamp_ms.unwrap()).collect::<Vec<_>>();
    assert_eq!(read_times[..4], times);
    assert!((before..=milliseconds_now()).contains(&read_times[4]), "{} is the time of sending", read_times[4]);
}

async fn log_append_time_replaces_the_producers_time(cluster: TestCluster) {
    let topic = cluster.topic_with("append-time", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let client = cluster.client();
    let producer = client.producer().compression(Compression::Lz4).build().unwrap();
    let sent = [PlainRecord::new("a", "1").to_partition(0).at(1), PlainRecord::new("b", "2").to_partition(0).at(2)];
    let metadata = send_all(&producer, &topic, &sent).await;
    // Not compared with the clock: a broker in memory has one of its own.
    for (record, metadata) in read_from_start(&client, &topic, 0, 2).await.iter().zip(&metadata) {
        let time = record.timestamp_ms.unwrap();
        assert!(time > 1_600_000_000_000, "{time} is when the broker appended the record");
        assert_eq!(metadata.timestamp_ms, time, "the producer learns the time");
    }
}

#[allow(clippy::disallowed_methods, reason = "the test compares with the clock of the machine that brokers run on")]
fn milliseconds_now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

async fn records_of_every_acks_setting_are_written(cluster: TestCluster) {
    let topic = cluster.topic("acks", 3).await;
    let client = cluster.client();
    for (partition, acks) in [Acks::None, Acks::Leader, Acks::All].into_iter().enumerate() {
        let sent = assorted(7, partition as i32, &[10, 1000, 100_000]);
        let producer = client.producer().acks(acks).build().unwrap();
        let metadata = send_all(&producer, &topic, &sent).await;
        let answered = metadata.iter().filter(|metadata| metadata.offset.is_some()).count();
        // Without acknowledgements nobody says which offset a record got.
        assert_eq!(answered, if matches!(acks, Acks::None) { 0 } else { sent.len() }, "{acks:?}");
        producer.close(Duration::from_secs(10)).await;
        assert_eq!(
            contents(&read_from_start(&client, &topic, partition as i32, sent.len()).await),
            contents(&sent),
            "{acks:?}"
        );
    }
}

async fn keys_decide_partitions_as_java_does(cluster: TestCluster) {
    let topic = cluster.topic("keys", 7).await;
    let client = cluster.client();
    let producer = client.producer().linger(Duration::from_millis(2)).build().unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let keys = (0..300).map(|i| std::iter::repeat_with(|| random.u8(..)).take(i % 40).collect::<Vec<_>>());
    let sent = keys.map(|key| PlainRecord::new(key, "v")).collect::<Vec<_>>();
    let metadata = send_all(&producer, &topic, &sent).await;
    let expected =
        sent.iter().map(|record| partition_for_key(record.key.as_deref().unwrap(), 7).unwrap()).collect::<Vec<_>>();
    assert_eq!(metadata.iter().map(|metadata| metadata.topic_partition.partition).collect::<Vec<_>>(), expected);
    if let Some(kafka) = cluster.real_kafka() {
        let java = kafka.peer().await.produce(&cluster.bootstrap_servers(), &topic, &[], &sent).await.unwrap();
        assert_eq!(
            java.iter().map(|(partition, _)| *partition).collect::<Vec<_>>(),
            expected,
            "Java's own partitioner"
        );
    }
}

async fn records_without_a_key_spread_over_all_partitions(cluster: TestCluster) {
    let topic = cluster.topic("sticky", 4).await;
    let client = cluster.client();
    let producer = client.producer().batch_size(1000).build().unwrap();
    let record = PlainRecord { value: Some(vec![7; 100]), ..PlainRecord::default() };
    let mut per_partition = [0; 4];
    for metadata in send_all(&producer, &topic, &vec![record; 2000]).await {
        per_partition[metadata.topic_partition.partition as usize] += 1;
    }
    assert!(per_partition.iter().all(|count| *count > 0), "every partition has its share: {per_partition:?}");
}

async fn a_partition_keeps_the_order_of_sending(cluster: TestCluster) {
    let topic = cluster.topic("order", 4).await;
    let client = cluster.client();
    // Small batches, many requests: whatever could overtake has its chance.
    let producer = client.producer().batch_size(2000).linger(Duration::from_millis(1)).build().unwrap();
    let sent = (0..10_000).map(|i| PlainRecord::new(i.to_string(), i.to_string())).collect::<Vec<_>>();
    let metadata = send_all(&producer, &topic, &sent).await;
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    consumer.assign((0..4).map(|partition| TopicPartition::new(&*topic, partition))).unwrap();
    let records = read(&mut consumer, sent.len()).await;
    assert_eq!(records.len(), sent.len(), "nothing twice");
    for partition in 0..4 {
        let expected =
            sent.iter().zip(&metadata).filter(|(_, metadata)| metadata.topic_partition.partition == partition);
        let expected = expected.map(|(record, _)| record.value.clone()).collect::<Vec<_>>();
        let read = of_partition(&records, partition).into_iter().map(|record| record.value).collect::<Vec<_>>();
        assert_eq!(read, expected, "partition {partition}");
    }
}

async fn what_nobody_waits_for_is_written_by_flush_and_close(cluster: TestCluster) {
    let topic = cluster.topic("forgotten", 1).await;
    let client = cluster.client();
    // A linger that outlasts the test: only flush and close can send these.
    let producer =
        client.producer().linger(Duration::from_mins(10)).delivery_timeout(Duration::from_mins(20)).build().unwrap();
    let sent = (0..100).map(|i| PlainRecord::new("k", i.to_string()).to_partition(0)).collect::<Vec<_>>();
    for record in &sent[..50] {
        drop(producer.enqueue(to_send(&topic, record)).await.unwrap());
    }
    producer.flush().await.unwrap();
    assert_eq!(contents(&read_from_start(&client, &topic, 0, 50).await), contents(&sent[..50]));
    for record in &sent[50..] {
        drop(producer.enqueue(to_send(&topic, record)).await.unwrap());
    }
    producer.close(Duration::from_secs(30)).await;
    assert_eq!(contents(&read_from_start(&client, &topic, 0, 100).await), contents(&sent));
}

async fn batches_outlive_their_consumer(cluster: TestCluster) {
    let topic = cluster.topic("kept", 1).await;
    let client = cluster.client();
    let sent = assorted(11, 0, &[100, 1000]);
    send_all(&client.producer().compression(Compression::Zstd).build().unwrap(), &topic, &sent).await;
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    consumer.assign([TopicPartition::new(&*topic, 0)]).unwrap();
    let mut kept = Vec::new();
    let mut count = 0;
    while count < sent.len() {
        let batches = consumer.poll(Duration::from_secs(1)).await.unwrap();
        count += (&batches).into_iter().flat_map(|batch| batch.records()).count();
        kept.push(batches);
    }
    consumer.close().await.expect("the consumer closes");
    drop(client);
    // On another task: batches are owned and may be sent.
    let read = tokio::spawn(async move {
        let mut records = Vec::new();
        for batches in &kept {
            super::io::take(batches, &mut records);
        }
        records
    });
    assert_eq!(contents(&read.await.unwrap()), contents(&sent));
}

async fn many_partitions_are_read_by_one_consumer(cluster: TestCluster) {
    let topic = cluster.topic("many", 200).await;
    let client = cluster.client();
    let producer = client.producer().linger(Duration::from_millis(20)).build().unwrap();
    let sent = (0..2000).map(|i| PlainRecord::new("k", i.to_string()).to_partition(i % 200)).collect::<Vec<_>>();
    send_all(&producer, &topic, &sent).await;
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    consumer.assign_topic(&topic).await.unwrap();
    let records = read(&mut consumer, sent.len()).await;
    assert_eq!(records.len(), sent.len(), "nothing twice");
    for partition in 0..200 {
        let expected = of_partition(&sent, partition);
        assert_eq!(contents(&of_partition(&records, partition)), contents(&expected), "partition {partition}");
    }
}
