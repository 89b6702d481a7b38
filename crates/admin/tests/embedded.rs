//! Administration of the embedded cluster, in memory and under paused time.
#![allow(clippy::unwrap_used, reason = "what a test needs and does not get has failed the test")]

use std::time::Duration;

use ottla_admin::{Admin, Error, NewPartitions, NewTopic};
use ottla_broker::{EmbeddedCluster, EmbeddedClusterBuilder, Fault, Transport};
use ottla_cluster::{Cluster, ClusterConfig};
use ottla_connection::MemoryNetwork;
use ottla_wire::{ApiKey, ErrorCode, NodeId};
use tokio::time::Instant;

async fn administered(builder: EmbeddedClusterBuilder) -> (EmbeddedCluster, Admin) {
    let embedded = builder.nodes(3).transport(Transport::Memory(MemoryNetwork::default())).seed(1).start();
    let embedded = embedded.await.unwrap();
    let bootstrap = embedded.bootstrap_servers();
    let config = ClusterConfig::new(bootstrap.split(',').map(|address| address.parse().unwrap()));
    let cluster = Cluster::new(config.connector(embedded.connector()).seed(1)).unwrap();
    (embedded, Admin::new(cluster))
}

#[tokio::test(start_paused = true)]
async fn topics_are_created_listed_described_grown_and_deleted() {
    let (_embedded, admin) = administered(EmbeddedCluster::builder()).await;
    let created = admin.create_topics([NewTopic::new("a", 2, 3), NewTopic::new("b", 1, 1)]).await.unwrap();
    let created = created.all().unwrap();
    assert_eq!(
        created.iter().map(|topic| (&*topic.name, topic.partitions)).collect::<Vec<_>>(),
        [("a", Some(2)), ("b", Some(1))]
    );

    let listed = admin.list_topics().await.unwrap();
    assert_eq!(listed.iter().map(|topic| &*topic.name).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(listed[0].id, created[0].id);

    admin.create_partitions([NewPartitions::increase_to("a", 5)]).await.unwrap().all().unwrap();
    let described = admin.describe_topics(["a", "a"]).await.unwrap().all().unwrap();
    assert_eq!(described.len(), 2, "an answer for each time of asking");
    assert_eq!(described[0].partitions.len(), 5);
    assert!(described[0].partitions.iter().all(|partition| partition.leader.is_some()));
    assert_eq!(described[0].partitions[0].replicas.len(), 3);

    admin.delete_topics(["a"]).await.unwrap().all().unwrap();
    let listed = admin.list_topics().await.unwrap();
    assert_eq!(listed.iter().map(|topic| &*topic.name).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn one_topic_that_fails_does_not_hide_the_others() {
    let (_embedded, admin) = administered(EmbeddedCluster::builder()).await;
    admin.create_topics([NewTopic::new("a", 1, 1)]).await.unwrap().all().unwrap();
    let created = admin.create_topics([NewTopic::new("a", 1, 1), NewTopic::new("b", 1, 1)]).await.unwrap();
    let error = created.of("a").unwrap().as_ref().unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::TopicAlreadyExists));
    assert!(error.to_string().contains("topic a"), "{error}");
    assert!(created.of("b").unwrap().is_ok());
    assert!(created.all().is_err());

    let deleted = admin.delete_topics(["absent", "b"]).await.unwrap();
    let codes: Vec<_> = deleted.iter().map(|(_, result)| result.as_ref().err().and_then(Error::error_code)).collect();
    assert_eq!(codes, [Some(ErrorCode::UnknownTopicOrPartition), None]);

    let described = admin.describe_topics(["absent", "a"]).await.unwrap();
    assert!(described.of("absent").unwrap().is_err() && described.of("a").unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_only_validated_is_not_done() {
    let (_embedded, admin) = administered(EmbeddedCluster::builder()).await;
    admin.create_topics([NewTopic::new("a", 1, 1)]).validate_only(true).await.unwrap().all().unwrap();
    assert!(admin.list_topics().await.unwrap().is_empty());
    let refused = admin.create_topics([NewTopic::new("a", 1, 99)]).validate_only(true).await.unwrap().all();
    assert_eq!(refused.unwrap_err().error_code(), Some(ErrorCode::InvalidReplicationFactor));
}

#[tokio::test(start_paused = true)]
async fn replicas_placed_by_hand_and_settings_are_passed_on() {
    let (_embedded, admin) = administered(EmbeddedCluster::builder()).await;
    let placed = [[NodeId(2), NodeId(0)], [NodeId(1), NodeId(2)]];
    let topic = NewTopic::with_assignments("a", placed).config("retention.ms", "1000");
    let created = admin.create_topics([topic]).await.unwrap().all().unwrap();
    assert_eq!(created[0].configs.get("retention.ms").map(String::as_str), Some("1000"));
    let described = admin.describe_topics(["a"]).await.unwrap().all().unwrap();
    let replicas: Vec<_> = described[0].partitions.iter().map(|partition| partition.replicas.clone()).collect();
    assert_eq!(replicas, placed);
    assert_eq!(described[0].partitions[0].leader, Some(NodeId(2)));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_the_controller_passes_us_on_to_who_is() {
    let (embedded, admin) = administered(EmbeddedCluster::builder().only_controller_changes_topics(true)).await;
    admin.create_topics([NewTopic::new("a", 1, 1)]).await.unwrap().all().unwrap();
    embedded.faults().inject(Fault::error(ErrorCode::NotController).on_api(ApiKey::DeleteTopics).times(2));
    let start = Instant::now();
    admin.delete_topics(["a"]).await.unwrap().all().unwrap();
    let took = start.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&took), "two back-offs: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_too_old_is_a_clear_error() {
    let builder = EmbeddedCluster::builder().api_versions(ApiKey::CreateTopics, 2, 3).without_api(ApiKey::DeleteTopics);
    let (_embedded, admin) = administered(builder).await;
    let error = admin.create_topics([NewTopic::with_defaults("a")]).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }) && !error.is_retriable(), "{error:?}");
    assert_eq!(error.to_string(), "creating topics needs a broker of Kafka 2.4 or later");
    let error = admin.delete_topics(["a"]).await.unwrap_err();
    assert_eq!(error.to_string(), "deleting topics needs a broker of Kafka 1.0 or later");
}

#[tokio::test(start_paused = true)]
async fn topics_are_changed_on_brokers_that_have_no_flexible_versions() {
    let builder = EmbeddedCluster::builder()
        .api_versions(ApiKey::CreateTopics, 2, 3)
        .api_versions(ApiKey::CreatePartitions, 0, 1)
        .api_versions(ApiKey::DeleteTopics, 1, 3);
    let (embedded, admin) = administered(builder).await;
    admin.create_topics([NewTopic::new("a", 1, 1)]).await.unwrap().all().unwrap();
    admin.create_partitions([NewPartitions::increase_to("a", 3)]).await.unwrap().all().unwrap();
    assert!(embedded.describe_partition("a", 2).await.is_ok());
    admin.delete_topics(["a"]).await.unwrap().all().unwrap();
    assert!(embedded.describe_partition("a", 0).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_is_given_up_in_time() {
    let (embedded, admin) = administered(EmbeddedCluster::builder()).await;
    admin.list_topics().await.unwrap();
    embedded.faults().inject(Fault::black_hole().on_api(ApiKey::Metadata).always());
    let start = Instant::now();
    let error = admin.list_topics().timeout(Duration::from_secs(7)).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    assert!(matches!(error, Error::TimedOut { .. }) && error.is_retriable(), "{error:?}");
}
