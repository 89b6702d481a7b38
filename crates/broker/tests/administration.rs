//! Topics, their configurations and the cluster, as administrators of every age ask for them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeMap;

use ottla_broker::{EmbeddedCluster, EmbeddedClusterBuilder, Fault, Loss, Transport};
use ottla_connection::{Connection, ConnectionConfig, MemoryNetwork};
use ottla_wire::guarded::{CONTROLLER_ENDPOINTS, DescribeClusterRequest};
use ottla_wire::messages::*;
use ottla_wire::{ApiKey, ErrorCode, NodeId, TopicId};

const TOPIC: &str = "topic";
const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;
const GROUP_RESOURCE: i8 = 32;

fn in_memory() -> EmbeddedClusterBuilder {
    EmbeddedCluster::builder().transport(Transport::Memory(MemoryNetwork::new())).start_time_ms(1_000_000)
}

async fn connect(cluster: &EmbeddedCluster, node: i32) -> Connection {
    let address = cluster.address(NodeId(node)).unwrap().clone();
    Connection::open(&*cluster.connector(), &address, ConnectionConfig::default()).await.unwrap()
}

/// A cluster of one node that speaks an API in one version only, and a connection to it.
async fn speaking(api: ApiKey, version: i16) -> (EmbeddedCluster, Connection) {
    let cluster = in_memory().api_versions(api, version, version).start().await.unwrap();
    let connection = connect(&cluster, 0).await;
    (cluster, connection)
}

fn new_topic(name: &str) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: 2, replication_factor: 1, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn create_topics() {
    for version in 2..=7 {
        let (cluster, connection) = speaking(ApiKey::CreateTopics, version).await;
        let request = CreateTopicsRequest { topics: vec![new_topic(TOPIC), new_topic("a b")], ..Default::default() };
        let [made, refused]: [_; 2] = connection.request(&request).await.unwrap().topics.try_into().unwrap();
        assert_eq!((made.error_code, refused.error_code), (ErrorCode::None, ErrorCode::InvalidTopicException));
        assert!(refused.error_message.is_some(), "version {version}");
        assert_eq!(made.num_partitions, if version >= 5 { 2 } else { -1 }, "version {version}");
        assert_eq!(made.configs.is_some(), version >= 5, "version {version}");
        assert_eq!(made.topic_id != TopicId::NONE, version >= 7, "version {version}");
        assert!(cluster.describe_partition(TOPIC, 1).await.is_ok(), "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn delete_topics() {
    for version in 1..=6 {
        let (cluster, connection) = speaking(ApiKey::DeleteTopics, version).await;
        let id = cluster.create_topic(TOPIC, 1, 1).await.unwrap();
        let response = connection.request(&DeleteTopicsRequest::of_names([TOPIC, "none"])).await.unwrap();
        let [deleted, missing]: [_; 2] = response.responses.try_into().unwrap();
        assert_eq!((deleted.name.as_deref(), deleted.error_code), (Some(TOPIC), ErrorCode::None), "version {version}");
        assert_eq!(deleted.topic_id, if version >= 6 { id } else { TopicId::NONE }, "version {version}");
        assert_eq!(missing.error_code, ErrorCode::UnknownTopicOrPartition, "version {version}");
        assert_eq!(missing.error_message.is_some(), version >= 5, "version {version}");
        assert!(cluster.describe_partition(TOPIC, 0).await.is_err(), "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn create_partitions() {
    for version in 0..=3 {
        let (cluster, connection) = speaking(ApiKey::CreatePartitions, version).await;
        cluster.create_topic(TOPIC, 1, 1).await.unwrap();
        let topic = |name: &str| CreatePartitionsTopic { name: name.into(), count: 3, ..Default::default() };
        let request = CreatePartitionsRequest { topics: vec![topic(TOPIC), topic("none")], ..Default::default() };
        let response = connection.request(&request).await.unwrap();
        let codes = response.results.iter().map(|result| result.error_code).collect::<Vec<_>>();
        assert_eq!(codes, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition], "version {version}");
        assert!(cluster.describe_partition(TOPIC, 2).await.is_ok(), "version {version}");
    }
}

async fn describe(connection: &Connection, kind: i8, name: &str) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource { resource_type: kind, resource_name: name.into(), ..Default::default() };
    let request = DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    connection.request(&request).await.unwrap().results.remove(0)
}

/// What was set for the topic itself.
async fn own_configs(connection: &Connection) -> BTreeMap<String, String> {
    let described = describe(connection, TOPIC_RESOURCE, TOPIC).await;
    assert_eq!(described.error_code, ErrorCode::None);
    let own = described.configs.into_iter().filter(|config| config.config_source == 1);
    own.map(|config| (config.name.into(), config.value.unwrap().into())).collect()
}

fn configs(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn describe_configs() {
    for version in 1..=4 {
        let (cluster, connection) = speaking(ApiKey::DescribeConfigs, version).await;
        cluster.create_topic_with(TOPIC, 1, 1, [("retention.ms", "5")]).await.unwrap();
        let described = describe(&connection, TOPIC_RESOURCE, TOPIC).await;
        let retention = described.configs.iter().find(|config| &*config.name == "retention.ms").unwrap();
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5"), 1), "version {version}");
        assert_eq!(retention.config_type, if version >= 3 { 5 } else { 0 }, "version {version}");
        let sources = retention.synonyms.iter().map(|synonym| synonym.source).collect::<Vec<_>>();
        assert_eq!(sources, [1, 5], "version {version}");
        let missing = describe(&connection, TOPIC_RESOURCE, "none").await;
        assert_eq!(missing.error_code, ErrorCode::UnknownTopicOrPartition, "version {version}");
        for (kind, name) in [(BROKER_RESOURCE, "0"), (GROUP_RESOURCE, "group")] {
            let other = describe(&connection, kind, name).await;
            assert_eq!((other.error_code, other.configs.len()), (ErrorCode::None, 0), "version {version}");
        }
        assert_eq!(describe(&connection, 77, "0").await.error_code, ErrorCode::InvalidRequest, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn alter_configs() {
    for version in 0..=2 {
        let (cluster, connection) = speaking(ApiKey::AlterConfigs, version).await;
        cluster.create_topic_with(TOPIC, 1, 1, [("retention.ms", "5"), ("flush.ms", "6")]).await.unwrap();
        let alter = async |kind, name: &str, value: Option<&str>, validate_only| {
            let config = AlterableConfig { name: "retention.ms".into(), value: value.map(Into::into) };
            let resource =
                AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs: vec![config] };
            let request = AlterConfigsRequest { resources: vec![resource], validate_only };
            connection.request(&request).await.unwrap().responses.remove(0).error_code
        };
        let before = own_configs(&connection).await;
        for (kind, name, value, code) in [
            (TOPIC_RESOURCE, "none", Some("7"), ErrorCode::UnknownTopicOrPartition),
            (TOPIC_RESOURCE, TOPIC, Some("soon"), ErrorCode::InvalidConfig),
            (TOPIC_RESOURCE, TOPIC, None, ErrorCode::InvalidRequest),
            (BROKER_RESOURCE, "0", Some("7"), ErrorCode::InvalidConfig),
            (77, "0", Some("7"), ErrorCode::InvalidRequest),
        ] {
            assert_eq!(alter(kind, name, value, false).await, code, "version {version}");
        }
        assert_eq!(alter(TOPIC_RESOURCE, TOPIC, Some("7"), true).await, ErrorCode::None, "version {version}");
        assert_eq!(own_configs(&connection).await, before, "version {version}: it was only checked");
        assert_eq!(alter(TOPIC_RESOURCE, TOPIC, Some("7"), false).await, ErrorCode::None, "version {version}");
        let left = configs(&[("retention.ms", "7")]);
        assert_eq!(own_configs(&connection).await, left, "version {version}: the rest is gone");
    }
}

fn change(name: &str, config_operation: i8, value: Option<&str>) -> IncrementalAlterableConfig {
    IncrementalAlterableConfig { name: name.into(), config_operation, value: value.map(Into::into) }
}

async fn changed(connection: &Connection, changes: Vec<IncrementalAlterableConfig>) -> ErrorCode {
    let resource = IncrementalAlterConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: TOPIC.into(),
        configs: changes,
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    connection.request(&request).await.unwrap().responses.remove(0).error_code
}

#[tokio::test(start_paused = true)]
async fn incremental_alter_configs() {
    for version in 0..=1 {
        let (cluster, connection) = speaking(ApiKey::IncrementalAlterConfigs, version).await;
        cluster.create_topic_with(TOPIC, 1, 1, [("retention.ms", "5"), ("flush.ms", "6")]).await.unwrap();
        let changes = vec![
            change("retention.ms", 0, Some("7")),
            change("flush.ms", 1, None),
            change("cleanup.policy", 2, Some("compact")),
        ];
        assert_eq!(changed(&connection, changes).await, ErrorCode::None, "version {version}");
        let expected = configs(&[("retention.ms", "7"), ("cleanup.policy", "delete,compact")]);
        assert_eq!(own_configs(&connection).await, expected, "version {version}");
        for (refused, code) in [
            (vec![change("retention.ms", 3, Some("7"))], ErrorCode::InvalidConfig),
            (vec![change("retention.ms", 0, None)], ErrorCode::InvalidRequest),
            (vec![change("retention.ms", 9, Some("7"))], ErrorCode::InvalidRequest),
            (vec![change("flush.ms", 0, Some("1")), change("flush.ms", 0, Some("2"))], ErrorCode::InvalidRequest),
            (vec![change("flush.ms", 0, Some("1")), change("no.such", 0, Some("2"))], ErrorCode::InvalidConfig),
        ] {
            assert_eq!(changed(&connection, refused).await, code, "version {version}");
        }
        assert_eq!(own_configs(&connection).await, expected, "version {version}: all of a resource or nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_named_twice_is_changed_neither_time() {
    let (cluster, connection) = speaking(ApiKey::IncrementalAlterConfigs, 1).await;
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let resource = |value: &str| IncrementalAlterConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: TOPIC.into(),
        configs: vec![change("retention.ms", 0, Some(value))],
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource("1"), resource("2")], validate_only: false };
    let response = connection.request(&request).await.unwrap();
    let codes = response.responses.iter().map(|response| response.error_code).collect::<Vec<_>>();
    assert_eq!(codes, [ErrorCode::InvalidRequest; 2]);
    assert_eq!(own_configs(&connection).await, BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_the_brokers_heed_takes_effect_when_it_is_changed() {
    let cluster = in_memory().nodes(2).start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 2).await.unwrap();
    let (first, second) = (NodeId(0), NodeId(1));
    cluster.kill_node(second, Loss::Everything).await.unwrap();
    cluster.kill_node(first, Loss::Nothing).await.unwrap();
    cluster.start_node(second).await.unwrap();
    assert_eq!(cluster.describe_partition(TOPIC, 0).await.unwrap().leader, None, "it is not in sync");
    let connection = connect(&cluster, 1).await;
    let changes = vec![change("unclean.leader.election.enable", 0, Some("true"))];
    assert_eq!(changed(&connection, changes).await, ErrorCode::None);
    assert_eq!(cluster.describe_partition(TOPIC, 0).await.unwrap().leader, Some(second));
}

fn delete_records(topic: &str, partition_index: i32, offset: i64) -> DeleteRecordsRequest {
    let partitions = vec![DeleteRecordsPartition { partition_index, offset }];
    let topics = vec![DeleteRecordsTopic { name: topic.to_owned(), partitions }];
    DeleteRecordsRequest { topics, timeout_ms: 1000 }
}

async fn deleted(connection: &Connection, request: &DeleteRecordsRequest) -> (i64, ErrorCode) {
    let response = connection.request(request).await.unwrap();
    let partition = &response.topics[0].partitions[0];
    (partition.low_watermark, partition.error_code)
}

/// A cluster with a topic of one partition, led by node 0, that has so many batches of one record.
async fn with_records(builder: EmbeddedClusterBuilder, records: usize) -> EmbeddedCluster {
    let cluster = builder.start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    for _ in 0..records {
        cluster.append_unchecked(TOPIC, 0, bytes::Bytes::from_static(b"no batch at all"), 1).await.unwrap();
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn delete_records_up_to_an_offset() {
    for version in 0..=2 {
        let builder = in_memory().nodes(2).api_versions(ApiKey::DeleteRecords, version, version);
        let cluster = with_records(builder, 10).await;
        cluster.create_topic_with("compacted", 1, 1, [("cleanup.policy", "compact")]).await.unwrap();
        let (leader, other) = (connect(&cluster, 0).await, connect(&cluster, 1).await);
        for (request, answer) in [
            (delete_records(TOPIC, 0, 4), (4, ErrorCode::None)),
            (delete_records(TOPIC, 0, 2), (4, ErrorCode::None)),
            (delete_records(TOPIC, 0, 11), (-1, ErrorCode::OffsetOutOfRange)),
            (delete_records(TOPIC, 0, -2), (-1, ErrorCode::OffsetOutOfRange)),
            (delete_records(TOPIC, 1, 4), (-1, ErrorCode::UnknownTopicOrPartition)),
            (delete_records("none", 0, 4), (-1, ErrorCode::UnknownTopicOrPartition)),
            (delete_records("__consumer_offsets", 0, 0), (-1, ErrorCode::InvalidTopicException)),
            (delete_records(TOPIC, 0, -1), (10, ErrorCode::None)),
        ] {
            assert_eq!(deleted(&leader, &request).await, answer, "version {version}: {request:?}");
        }
        let elsewhere = deleted(&other, &delete_records(TOPIC, 0, 4)).await;
        assert_eq!(elsewhere, (-1, ErrorCode::NotLeaderOrFollower), "version {version}");
        let compacted = deleted(&other, &delete_records("compacted", 0, 0)).await;
        assert_eq!(compacted, (-1, ErrorCode::PolicyViolation), "version {version}");
        cluster.create_topic_with("kept", 1, 1, [("cleanup.policy", "")]).await.unwrap();
        let kept = deleted(&leader, &delete_records("kept", 0, 0)).await;
        assert_eq!(kept, (0, ErrorCode::None), "version {version}");
        assert_eq!(cluster.describe_partition(TOPIC, 0).await.unwrap().log_start_offset, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn an_injected_error_takes_the_place_of_a_deletion_or_of_its_answer() {
    let cluster = with_records(in_memory(), 10).await;
    let connection = connect(&cluster, 0).await;
    let fault = || Fault::error(ErrorCode::RequestTimedOut).on_api(ApiKey::DeleteRecords);
    for (fault, start) in [(fault(), 0), (fault().after_handling(), 4)] {
        cluster.faults().inject(fault);
        let answer = deleted(&connection, &delete_records(TOPIC, 0, 4)).await;
        assert_eq!(answer, (-1, ErrorCode::RequestTimedOut));
        assert_eq!(cluster.describe_partition(TOPIC, 0).await.unwrap().log_start_offset, start);
    }
}

#[tokio::test(start_paused = true)]
async fn describe_cluster() {
    for version in 0..=2 {
        let builder = in_memory().nodes(3).racks(["a", "b"]);
        let cluster = builder.api_versions(ApiKey::DescribeCluster, version, version).start().await.unwrap();
        cluster.stop_node(NodeId(1)).await.unwrap();
        let connection = connect(&cluster, 2).await;
        let request = DescribeClusterRequest::default();
        let response = connection.request(&request).await.unwrap();
        assert_eq!((response.error_code, response.controller_id), (ErrorCode::None, NodeId(0)), "version {version}");
        assert_eq!(response.cluster_authorized_operations, i32::MIN, "version {version}: not asked for");
        let brokers = response.brokers.iter().map(|broker| (broker.broker_id, broker.rack.as_deref()));
        assert_eq!(brokers.collect::<Vec<_>>(), [(NodeId(0), Some("a")), (NodeId(2), Some("a"))], "version {version}");
        let metadata = connection.request(&MetadataRequest::of_names(Vec::<String>::new())).await.unwrap();
        assert_eq!(Some(response.cluster_id), metadata.cluster_id, "version {version}");
        if version >= 1 {
            let request = DescribeClusterRequest { endpoint_type: CONTROLLER_ENDPOINTS, ..request.clone() };
            let response = connection.request(&request).await.unwrap();
            assert_eq!(response.error_code, ErrorCode::MismatchedEndpointType, "version {version}");
            let request = DescribeClusterRequest { endpoint_type: 9, ..request };
            let response = connection.request(&request).await.unwrap();
            assert_eq!(response.error_code, ErrorCode::UnsupportedEndpointType, "version {version}");
        }
        if version >= 2 {
            let request = DescribeClusterRequest { include_fenced_brokers: true, ..request };
            let response = connection.request(&request).await.unwrap();
            let fenced = response.brokers.iter().map(|broker| broker.is_fenced).collect::<Vec<_>>();
            assert_eq!(fenced, [false, true, false], "version {version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_is_told_that_everything_is_allowed() {
    let cluster = in_memory().api_versions(ApiKey::Metadata, 8, 10).start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let connection = connect(&cluster, 0).await;
    let asked = MetadataRequest {
        include_topic_authorized_operations: true,
        include_cluster_authorized_operations: true,
        ..MetadataRequest::of_names([TOPIC])
    };
    let response = connection.request(&asked).await.unwrap();
    assert_eq!(response.topics[0].topic_authorized_operations, 0b1101_1111_1000);
    assert_eq!(response.cluster_authorized_operations, 0b1_1111_1010_0000);
    let not_asked = connection.request(&MetadataRequest::of_names([TOPIC])).await.unwrap();
    assert_eq!(not_asked.topics[0].topic_authorized_operations, i32::MIN);
    assert_eq!(not_asked.cluster_authorized_operations, i32::MIN);
    let request =
        DescribeClusterRequest { include_cluster_authorized_operations: true, ..DescribeClusterRequest::default() };
    let described = connection.request(&request).await.unwrap();
    assert_eq!(described.cluster_authorized_operations, response.cluster_authorized_operations);
}

/// The page of the crate has a table of the APIs; it is what the brokers list.
#[tokio::test(start_paused = true)]
async fn what_is_listed_is_what_the_documentation_says() {
    let cluster = in_memory().start().await.unwrap();
    let request =
        ApiVersionsRequest { client_software_name: "test".to_owned(), client_software_version: "1".to_owned() };
    let listed = connect(&cluster, 0).await.request(&request).await.unwrap();
    let listed: BTreeMap<String, (i16, i16)> = listed
        .api_keys
        .iter()
        .map(|api| (ApiKey::from_number(api.api_key).unwrap().to_string(), (api.min_version, api.max_version)))
        .collect();
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("//! | ")?.split_once(" | ")?;
        let (min, max) = rest.split_once(" |")?.0.split_once(" to ")?;
        Some((name.to_owned(), (min.parse().ok()?, max.parse().ok()?)))
    };
    let mut documented: BTreeMap<String, (i16, i16)> = include_str!("../src/lib.rs").lines().filter_map(row).collect();
    // The one exception, which the page explains.
    documented.get_mut("Produce").unwrap().0 = 0;
    assert_eq!(documented, listed);
}

#[tokio::test(start_paused = true)]
async fn what_is_listed_is_what_these_tests_ask() {
    let cluster = in_memory().start().await.unwrap();
    let connection = connect(&cluster, 0).await;
    for (api, min, max) in [
        (ApiKey::CreateTopics, 2, 7),
        (ApiKey::DeleteTopics, 1, 6),
        (ApiKey::CreatePartitions, 0, 3),
        (ApiKey::DescribeConfigs, 1, 4),
        (ApiKey::AlterConfigs, 0, 2),
        (ApiKey::IncrementalAlterConfigs, 0, 1),
        (ApiKey::DeleteRecords, 0, 2),
        (ApiKey::DescribeCluster, 0, 2),
    ] {
        assert_eq!(connection.versions().range(api).map(|range| (range.min, range.max)), Some((min, max)), "{api}");
    }
}
