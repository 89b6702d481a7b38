//! Topics: made, described, grown and removed, and what clients see of it.

use std::time::Duration;

use ottla::AutoOffsetReset;
use ottla::ErrorCode;
use ottla::admin::{NewPartitions, NewTopic, TopicResults};

use super::io::{contents, read, send_all};
use super::{TestCluster, case_table, eventually};
use crate::record::PlainRecord;

case_table![sharing:
    a_topic_is_made_listed_described_and_removed,
    what_exists_is_not_made_again_and_what_does_not_is_not_removed,
    partitions_are_added_and_the_consumer_notices,
    an_unknown_topic_is_an_error_that_names_it,
    a_topic_made_while_a_producer_waits_is_written;
    breaking:
];

async fn a_topic_is_made_listed_described_and_removed(cluster: TestCluster) {
    let topic = cluster.topic("life", 5).await;
    let client = cluster.client();
    let admin = client.admin();
    assert!(admin.list_topics().await.unwrap().iter().any(|listed| listed.name == topic), "it is listed");
    let description = admin.describe_topics([&topic]).await.unwrap().all().unwrap().remove(0);
    assert_eq!(description.name, topic);
    assert_eq!(description.partitions.len(), 5);
    for (i, partition) in description.partitions.iter().enumerate() {
        assert_eq!(partition.partition, i as i32);
        assert_eq!(partition.replicas.len(), cluster.nodes() as usize);
        assert!(partition.replicas.contains(&partition.leader.unwrap()), "a replica leads");
    }
    admin.delete_topics([&topic]).await.unwrap().all().unwrap();
    eventually("the topic is gone", async || {
        admin.list_topics().await.unwrap().iter().all(|listed| listed.name != topic).then_some(())
    })
    .await;
}

async fn what_exists_is_not_made_again_and_what_does_not_is_not_removed(cluster: TestCluster) {
    let topic = cluster.topic("twice", 1).await;
    let client = cluster.client();
    let admin = client.admin();
    let error = admin.create_topics([NewTopic::new(&topic, 1, 1)]).await.and_then(TopicResults::all).unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::TopicAlreadyExists), "{error}");
    assert!(error.to_string().contains(&topic), "{error}");
    let error = admin.delete_topics([cluster.topic_name("never-made")]).await.and_then(TopicResults::all).unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition), "{error}");
    let wide = NewTopic::new(cluster.topic_name("wide"), 1, 100);
    let error = admin.create_topics([wide]).await.and_then(TopicResults::all).unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::InvalidReplicationFactor), "{error}");
    let fewer = NewPartitions::increase_to(&topic, 1);
    let error = admin.create_partitions([fewer]).await.and_then(TopicResults::all).unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::InvalidPartitions), "{error}");
}

async fn partitions_are_added_and_the_consumer_notices(cluster: TestCluster) {
    let topic = cluster.topic("grows", 1).await;
    let client = cluster.client_builder().metadata_max_age(Duration::from_millis(500)).build().unwrap();
    let mut consumer = client.consumer().auto_offset_reset(AutoOffsetReset::Earliest).build().unwrap();
    consumer.assign_topic(&topic).await.unwrap();
    let producer = client.producer().build().unwrap();
    let first = [PlainRecord::new("k", "before").to_partition(0)];
    send_all(&producer, &topic, &first).await;
    assert_eq!(contents(&read(&mut consumer, 1).await), first);
    let more = NewPartitions::increase_to(&topic, 3);
    client.admin().create_partitions([more]).await.and_then(TopicResults::all).unwrap();
    let second = [1, 2].map(|partition| PlainRecord::new("k", "after").to_partition(partition));
    eventually("the producer knows the new partitions", async || {
        match producer.send(super::io::to_send(&topic, &second[0])).await {
            Ok(_) => Some(()),
            Err(error) => panic!("a partition that was added is written: {error}"),
        }
    })
    .await;
    send_all(&producer, &topic, &second[1..]).await;
    // Reading the whole topic anew takes them in, and goes on where it was in the one that it had.
    eventually("the consumer knows the new partitions", async || {
        consumer.assign_topic(&topic).await.unwrap();
        (consumer.assignment().len() == 3).then_some(())
    })
    .await;
    let mut records = contents(&read(&mut consumer, 2).await);
    records.sort_by_key(|record| record.partition);
    assert_eq!(records, second);
}

async fn an_unknown_topic_is_an_error_that_names_it(cluster: TestCluster) {
    let topic = cluster.topic_name("unknown");
    let client = cluster.client_builder();
    let client =
        client.request_timeout(Duration::from_secs(2)).default_api_timeout(Duration::from_secs(2)).build().unwrap();
    let producer = client.producer().max_block(Duration::from_secs(2)).build().unwrap();
    let record = PlainRecord::new("k", "v");
    let error = producer.send(super::io::to_send(&topic, &record)).await.unwrap_err();
    assert!(error.to_string().contains(&topic), "{error}");
    let consumer = client.consumer().build().unwrap();
    let error = consumer.assign_topic(&topic).await.unwrap_err();
    assert!(error.to_string().contains(&topic), "{error}");
    let error = client.admin().describe_topics([&topic]).await.and_then(TopicResults::all).unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition), "{error}");
}

async fn a_topic_made_while_a_producer_waits_is_written(cluster: TestCluster) {
    let topic = cluster.topic_name("late");
    let client = cluster.client();
    let producer = client.producer().build().unwrap();
    let record = PlainRecord::new("k", "v").to_partition(0);
    let (sent, ()) = tokio::join!(producer.send(super::io::to_send(&topic, &record)), async {
        // By then the producer has asked for the topic at least once and was told that there is none.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(cluster.topic("late", 1).await, topic);
    });
    assert_eq!(sent.expect("the record is written").offset, Some(0));
}
