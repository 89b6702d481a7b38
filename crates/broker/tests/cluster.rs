//! The embedded cluster as its users see it: over the in-memory network with paused time, and over TCP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_broker::{EmbeddedCluster, EmbeddedClusterBuilder, Error, Fault, Loss, Transport};
use ottla_connection::{Address, Connection, ConnectionConfig, MemoryNetwork};
use ottla_wire::compression::{Compression, CompressionLevel, Compressor};
use ottla_wire::messages::{
    ApiVersionsResponse, CreatableTopic, CreateTopicsRequest, DeleteTopicsRequest, FetchPartition, FetchPartitionData,
    FetchRequest, FetchTopic, InitProducerIdRequest, LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsRequest,
    ListOffsetsTopic, MetadataRequest, MetadataResponse, OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
    OffsetForLeaderTopic, ProducePartitionData, ProducePartitionResponse, ProduceRequest, ProduceTopicData,
};
use ottla_wire::records::{BatchBuilder, ProducerState, RecordBatches};
use ottla_wire::{ApiKey, ErrorCode, NodeId, Request, RequestHeader, TopicId, Writer, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const TOPIC: &str = "topic";

fn in_memory() -> EmbeddedClusterBuilder {
    EmbeddedCluster::builder().transport(Transport::Memory(MemoryNetwork::new())).start_time_ms(1_000_000)
}

async fn connect(cluster: &EmbeddedCluster, node: i32) -> Result<Connection, ottla_connection::Error> {
    let address = cluster.address(NodeId(node)).unwrap().clone();
    let config = ConnectionConfig::default().request_timeout(Duration::from_secs(5));
    Connection::open(&*cluster.connector(), &address, config).await
}

fn batch(value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(0, None, Some(value), []).unwrap();
    builder.build(&mut Compressor::new(CompressionLevel::from(Compression::None)), ProducerState::NONE).unwrap()
}

fn produce(acks: i16, records: Bytes) -> ProduceRequest {
    let partition_data = vec![ProducePartitionData { index: 0, records: Some(records) }];
    let topic = ProduceTopicData { name: TOPIC.to_owned(), partition_data, ..Default::default() };
    ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

fn fetch(fetch_offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition { partition: 0, fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_wait_ms, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

async fn send(connection: &Connection, request: &ProduceRequest) -> ProducePartitionResponse {
    let mut response = connection.request(request).await.unwrap();
    response.responses.remove(0).partition_responses.into_vec().remove(0)
}

async fn read(connection: &Connection, request: &FetchRequest) -> FetchPartitionData {
    let mut response = connection.request(request).await.unwrap();
    response.responses.remove(0).partitions.remove(0)
}

async fn data_path(cluster: EmbeddedCluster) {
    let connection = connect(&cluster, 0).await.unwrap();
    let topic = CreatableTopic { name: TOPIC.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let created = connection.request(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }).await.unwrap();
    assert_eq!(created.topics[0].error_code, ErrorCode::None);

    let metadata = connection.request(&MetadataRequest::of_names([TOPIC])).await.unwrap();
    assert_eq!(metadata.topics[0].topic_id, created.topics[0].topic_id);
    let leader = metadata.topics[0].partitions[0].leader_id.0;
    let connection = connect(&cluster, leader).await.unwrap();

    let producer = connection.request(&InitProducerIdRequest::default()).await.unwrap();
    assert_eq!((producer.error_code, producer.producer_epoch.0), (ErrorCode::None, 0));

    // Large enough to be shared and to take more than one write.
    let value = vec![b'x'; 600_000];
    for expected in 0..3 {
        assert_eq!(send(&connection, &produce(-1, batch(&value))).await.base_offset, expected);
    }
    let mut offset = 0;
    while offset < 3 {
        let data = read(&connection, &fetch(offset, 0)).await;
        assert_eq!(data.high_watermark, 3);
        for batch in RecordBatches::new(data.records.unwrap()) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            assert_eq!(batch.base_offset(), offset);
            offset = batch.next_offset();
        }
    }

    let latest = ListOffsetsPartition { timestamp: LATEST_TIMESTAMP, ..Default::default() };
    let topic = ListOffsetsTopic { name: TOPIC.to_owned(), partitions: vec![latest] };
    let listed = connection.request(&ListOffsetsRequest { topics: vec![topic], ..Default::default() }).await.unwrap();
    assert_eq!(listed.topics[0].partitions[0].offset, 3);

    let deletion = DeleteTopicsRequest { timeout_ms: 1000, ..DeleteTopicsRequest::of_names([TOPIC]) };
    let deleted = connection.request(&deletion).await.unwrap();
    assert_eq!(deleted.responses[0].error_code, ErrorCode::None);
    let gone = connection.request(&fetch(0, 1000)).await.unwrap();
    assert_ne!(gone.responses[0].partitions[0].error_code, ErrorCode::None);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_data_path_works_in_memory() {
    data_path(in_memory().nodes(3).start().await.unwrap()).await;
}

#[tokio::test]
async fn the_data_path_works_over_tcp() {
    data_path(EmbeddedCluster::builder().nodes(3).start().await.unwrap()).await;
}

/// Sends one frame and returns the one that answers it, `None` where the connection is closed instead.
async fn exchange(cluster: &EmbeddedCluster, frame: &[u8]) -> Option<Bytes> {
    let address = cluster.address(NodeId(0)).unwrap().clone();
    let mut stream = cluster.connector().connect(&address).await.unwrap();
    stream.write_all(&(frame.len() as i32).to_be_bytes()).await.unwrap();
    stream.write_all(frame).await.unwrap();
    let length = stream.read_i32().await.ok()?;
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await.unwrap();
    Some(answer.into())
}

fn header(api_key: ApiKey, api_version: i16) -> Bytes {
    let mut writer = Writer::new();
    let header = RequestHeader { api_key: api_key.number(), api_version, correlation_id: 77, client_id: None };
    header.write(&mut writer, true).unwrap();
    writer.into_bytes()
}

/// A frame that asks node 0 for what it does not have yet, and would wait for it for minutes.
fn long_fetch() -> Vec<u8> {
    let partition = FetchPartition { partition_max_bytes: 1000, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_wait_ms: 120_000, min_bytes: 1, topics: vec![topic], ..Default::default() };
    let frame = encode_request(&request, 12, 77, None).unwrap();
    frame.segments.concat()
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_client_has_gone_waits_no_longer() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let address = cluster.address(NodeId(0)).unwrap().clone();
    let mut stream = cluster.connector().connect(&address).await.unwrap();
    let start = Instant::now();
    stream.write_all(&long_fetch()).await.unwrap();
    // What comes behind it is not its end.
    stream.write_all(&long_fetch()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_mins(1), stream.read_u8()).await.is_err());
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0, "the node has closed the connection");
    assert_eq!(start.elapsed(), Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_its_side_still_gets_the_answer_that_there_is() {
    let cluster = in_memory().start().await.unwrap();
    let address = cluster.address(NodeId(0)).unwrap().clone();
    let mut stream = cluster.connector().connect(&address).await.unwrap();
    let frame = encode_request(&MetadataRequest::all_topics(), 12, 77, None).unwrap();
    stream.write_all(&frame.segments.concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > 8, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_request_in_its_frame_is_ignored() {
    let cluster = in_memory().start().await.unwrap();
    // Metadata 13 of all topics, as librdkafka 2.16 asks for it: with three bytes too many.
    let mut writer = Writer::new();
    RequestHeader { api_key: 3, api_version: 13, correlation_id: 77, client_id: None }
        .write(&mut writer, true)
        .unwrap();
    writer.slice(&[0, 0, 0, 0, 1, 0, 0]);
    let answer = exchange(&cluster, &writer.into_bytes()).await.unwrap();
    let (_, response) = decode_response::<MetadataResponse>(answer, 13).unwrap();
    assert_eq!((response.error_code, response.brokers.len()), (ErrorCode::None, 1));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_version_of_api_versions_is_answered_in_the_form_of_version_0() {
    let cluster = in_memory().start().await.unwrap();
    let answer = exchange(&cluster, &header(ApiKey::ApiVersions, 99)).await.unwrap();
    let (header, response) = decode_response::<ApiVersionsResponse>(answer, 0).unwrap();
    assert_eq!((header.correlation_id, response.error_code), (77, ErrorCode::UnsupportedVersion));
    let fetch = response.api_keys.iter().find(|api| api.api_key == ApiKey::Fetch.number()).unwrap();
    assert_eq!((fetch.min_version, fetch.max_version), (4, 18));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_answered_closes_the_connection() {
    let cluster = in_memory().start().await.unwrap();
    assert_eq!(exchange(&cluster, &header(ApiKey::Fetch, 99)).await, None, "a version that is not spoken");
    assert_eq!(exchange(&cluster, &header(ApiKey::AlterConfigs, 2)).await, None, "an API that is not there");
    assert_eq!(exchange(&cluster, &header(ApiKey::Metadata, 12)).await, None, "a request without a body");
    assert_eq!(exchange(&cluster, &[1, 2, 3]).await, None, "a frame without a header");
}

#[tokio::test(start_paused = true)]
async fn a_frame_over_the_limit_closes_the_connection() {
    let cluster = in_memory().max_frame_bytes(1000).start().await.unwrap();
    let address = cluster.address(NodeId(0)).unwrap().clone();
    for length in [1001, i32::MAX, -1] {
        let mut stream = cluster.connector().connect(&address).await.unwrap();
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        assert!(stream.read_i32().await.is_err(), "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_can_be_made_to_look_older() {
    let cluster =
        in_memory().api_versions(ApiKey::Fetch, 4, 11).without_api(ApiKey::CreateTopics).start().await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    assert_eq!(connection.versions().range(ApiKey::Fetch).map(|range| (range.min, range.max)), Some((4, 11)));
    assert_eq!(connection.versions().range(ApiKey::CreateTopics), None);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_lasts_as_long_as_it_was_asked_to() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    let asked = Instant::now();
    assert_eq!(read(&connection, &fetch(0, 700)).await.error_code, ErrorCode::None);
    assert_eq!(asked.elapsed(), Duration::from_millis(700));
}

#[tokio::test(start_paused = true)]
async fn one_request_of_a_connection_is_handled_at_a_time_and_other_connections_do_not_wait() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let (busy, other) = (connect(&cluster, 0).await.unwrap(), connect(&cluster, 0).await.unwrap());
    let asked = Instant::now();
    let parked = busy.send(&fetch(0, 700), Duration::from_secs(5));
    let behind = busy.send(&MetadataRequest::all_topics(), Duration::from_secs(5));
    other.request(&MetadataRequest::all_topics()).await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    behind.await.unwrap();
    assert_eq!(asked.elapsed(), Duration::from_millis(700));
    parked.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_asked_for_is_made_and_known_the_next_time() {
    let cluster = in_memory().default_partitions(4).start().await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    let mut request = MetadataRequest::of_names(["wanted"]);
    let mut ask = async |allow| {
        request.allow_auto_topic_creation = allow;
        connection.request(&request).await.unwrap().topics.remove(0)
    };
    for allow in [false, true] {
        assert_eq!(ask(allow).await.error_code, ErrorCode::UnknownTopicOrPartition);
    }
    let topic = ask(false).await;
    assert_eq!((topic.error_code, topic.partitions.len()), (ErrorCode::None, 4));
}

#[tokio::test(start_paused = true)]
async fn without_auto_creation_a_topic_stays_unknown() {
    let cluster = in_memory().auto_create_topics(false).start().await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    for _ in 0..2 {
        let response = connection.request(&MetadataRequest::of_names(["wanted"])).await.unwrap();
        assert_eq!(response.topics[0].error_code, ErrorCode::UnknownTopicOrPartition);
    }
}

#[tokio::test(start_paused = true)]
async fn acks_0_is_not_answered_and_what_follows_is() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    connection.send_unanswered(&produce(0, batch(b"unheard"))).await.unwrap();
    assert_eq!(send(&connection, &produce(1, batch(b"heard"))).await.base_offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_node_hands_over_its_leaders_and_comes_back_at_its_address() {
    let cluster = in_memory().nodes(3).start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 3).await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    send(&connection, &produce(-1, batch(b"before"))).await;
    cluster.stop_node(NodeId(0)).await.unwrap();
    assert!(connection.request(&MetadataRequest::all_topics()).await.is_err());
    assert!(connect(&cluster, 0).await.is_err());
    assert!(matches!(cluster.stop_node(NodeId(0)).await, Err(Error::NodeState { .. })));

    let next = connect(&cluster, 1).await.unwrap();
    let metadata = next.request(&MetadataRequest::of_names([TOPIC])).await.unwrap();
    assert_eq!(metadata.brokers.len(), 2);
    let partition = &metadata.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.leader_epoch.0), (NodeId(1), 1));
    assert_eq!(*partition.replicas.offline(), [NodeId(0)]);
    assert_eq!(send(&next, &produce(-1, batch(b"after"))).await.base_offset, 1);

    cluster.start_node(NodeId(0)).await.unwrap();
    connect(&cluster, 0).await.unwrap();
    let description = cluster.describe_partition(TOPIC, 0).await.unwrap();
    assert_eq!(description.in_sync_replicas, [0, 1, 2].map(NodeId));
    assert_eq!((description.leader, description.high_watermark), (Some(NodeId(1)), 2));
}

#[tokio::test]
async fn a_tcp_port_stays_with_its_node() {
    let cluster = EmbeddedCluster::builder().nodes(2).start().await.unwrap();
    let address = cluster.address(NodeId(1)).unwrap().to_string();
    for _ in 0..3 {
        let connection = connect(&cluster, 1).await.unwrap();
        cluster.kill_node(NodeId(1), Loss::Nothing).await.unwrap();
        connection.closed().await;
        let refused = tokio::net::TcpStream::connect(&address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let taken = tokio::net::TcpListener::bind(&address).await.and_then(|listener| listener.local_addr());
        assert!(taken.is_err(), "the port was free to take: {taken:?}");
        cluster.start_node(NodeId(1)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_waits_there() {
    let cluster = in_memory().nodes(2).start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 2).await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    let waiting = connection.send(&fetch(0, 4000), Duration::from_secs(5));
    // The request has been read when its node has counted it.
    while cluster.faults().requests(NodeId(0), ApiKey::Fetch) == 0 {
        tokio::task::yield_now().await;
    }
    let stopping = Instant::now();
    cluster.stop_node(NodeId(0)).await.unwrap();
    assert_eq!(stopping.elapsed(), Duration::ZERO);
    // From version 11 on a follower serves, so the request is not refused but ended: either way nobody waits on.
    let ended = waiting.await;
    assert!(ended.is_err() || ended.unwrap().responses[0].partitions[0].error_code != ErrorCode::None);
}

#[tokio::test(start_paused = true)]
async fn the_death_of_a_leader_is_noticed_after_the_session_timeout() {
    let cluster = in_memory().nodes(2).broker_session_timeout(Duration::from_secs(9)).start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 2).await.unwrap();
    cluster.kill_node(NodeId(0), Loss::Nothing).await.unwrap();
    let leader = async || cluster.describe_partition(TOPIC, 0).await.unwrap().leader;
    tokio::time::sleep(Duration::from_millis(8999)).await;
    assert_eq!(leader().await, Some(NodeId(0)));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(leader().await, Some(NodeId(1)));
}

#[tokio::test(start_paused = true)]
async fn acks_all_survives_the_death_of_the_leader_and_acks_1_may_not() {
    let cluster = in_memory().nodes(2).replication_delay(Duration::from_millis(10)).start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 2).await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    assert_eq!(send(&connection, &produce(-1, batch(b"safe"))).await.base_offset, 0);
    assert_eq!(send(&connection, &produce(1, batch(b"not safe"))).await.base_offset, 1);
    cluster.kill_node(NodeId(0), Loss::Nothing).await.unwrap();
    assert_eq!(cluster.describe_partition(TOPIC, 0).await.unwrap().log_end_offset, 1);
    assert_eq!(cluster.batches(TOPIC, 0).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_lost_before_or_after_the_request_took_effect() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    for (fault, appended) in [(Fault::close_connection(), 0), (Fault::close_connection().after_handling(), 1)] {
        let id = cluster.faults().inject(fault.on_api(ApiKey::Produce));
        let connection = connect(&cluster, 0).await.unwrap();
        assert!(connection.request(&produce(1, batch(b"?"))).await.is_err());
        assert_eq!(cluster.faults().hits(id), 1);
        assert_eq!(cluster.describe_partition(TOPIC, 0).await.unwrap().log_end_offset, appended);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_is_late_by_that_much() {
    let cluster = in_memory().start().await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    cluster.faults().inject(Fault::delay(Duration::from_secs(3)).on_api(ApiKey::Metadata));
    let asked = Instant::now();
    connection.request(&MetadataRequest::all_topics()).await.unwrap();
    assert_eq!(asked.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_answers_nothing_and_keeps_the_connection() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    cluster.faults().inject(Fault::black_hole().after_handling().on_api(ApiKey::Produce));
    let asked = Instant::now();
    let error = connection.request(&produce(1, batch(b"!"))).await.unwrap_err();
    assert!(matches!(error, ottla_connection::Error::TimedOut { .. }), "{error}");
    assert_eq!(asked.elapsed(), Duration::from_secs(5));
    assert_eq!(cluster.describe_partition(TOPIC, 0).await.unwrap().log_end_offset, 1);
}

#[tokio::test(start_paused = true)]
async fn corrupt_bytes_can_be_put_into_a_log_and_are_served_as_they_are() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic(TOPIC, 1, 1).await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    send(&connection, &produce(1, batch(b"good"))).await;
    let mut damaged = BytesMut::from(&batch(b"bad")[..]);
    damaged.truncate(damaged.len() - 1);
    damaged.put_u8(0xee);
    assert_eq!(cluster.append_unchecked(TOPIC, 0, damaged.freeze(), 1).await.unwrap(), 1);
    let data = read(&connection, &fetch(0, 0)).await;
    let batches: Vec<_> = RecordBatches::new(data.records.unwrap()).map(Result::unwrap).collect();
    assert_eq!(batches[1].base_offset(), 1);
    assert!(batches[0].check_crc().is_ok() && batches[1].check_crc().is_err());
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_and_after_a_drop_nothing_is_left() {
    for dropped in [false, true] {
        let network = MemoryNetwork::new();
        let cluster = in_memory().transport(Transport::Memory(network.clone())).start().await.unwrap();
        let connection = connect(&cluster, 0).await.unwrap();
        if dropped {
            drop(cluster);
        } else {
            cluster.shutdown().await;
        }
        connection.closed().await;
        let address: Address = "broker-0:9092".parse().unwrap();
        assert!(network.connector().connect(&address).await.is_err());
        let metrics = tokio::runtime::Handle::current().metrics();
        drop(connection);
        while metrics.num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_draws_the_same_ids() {
    let ids = async |seed| {
        let cluster = in_memory().seed(seed).start().await.unwrap();
        let topic = cluster.create_topic(TOPIC, 1, 1).await.unwrap();
        let connection = connect(&cluster, 0).await.unwrap();
        (topic, connection.request(&MetadataRequest::all_topics()).await.unwrap().cluster_id)
    };
    assert_eq!(ids(1).await, ids(1).await);
    assert_ne!(ids(1).await, ids(2).await);
}

#[tokio::test]
async fn bad_settings_name_themselves() {
    let refused = async |builder: EmbeddedClusterBuilder| match builder.start().await {
        Err(Error::Setting { setting, .. }) => setting,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(in_memory().nodes(0)).await, "nodes");
    assert_eq!(refused(in_memory().default_replication_factor(2)).await, "default_replication_factor");
    assert_eq!(refused(in_memory().topic_default("no.such", "1")).await, "topic_default");
}

/// Asks in every one of those versions, by having the cluster list only that one. `check` sees each answer.
async fn in_every_version<R: Request>(
    node: i32,
    range: std::ops::RangeInclusive<i16>,
    request: impl Fn(TopicId) -> R,
    check: impl Fn(i16, R::Response),
) {
    for version in range {
        let cluster = in_memory().nodes(2).api_versions(R::API_KEY, version, version).start().await.unwrap();
        let topic = cluster.create_topic(TOPIC, 1, 1).await.unwrap();
        cluster.append_unchecked(TOPIC, 0, batch(b"there"), 1).await.unwrap();
        let connection = connect(&cluster, node).await.unwrap();
        let answer = connection.request(&request(topic)).await;
        check(version, answer.unwrap_or_else(|error| panic!("{} {version}: {error:?}", R::NAME)));
    }
}

/// The codes of the leader, node 0, and of the other, which has no replica.
const ANSWERS: [(i32, ErrorCode); 2] = [(0, ErrorCode::None), (1, ErrorCode::NotLeaderOrFollower)];

#[tokio::test(start_paused = true)]
async fn every_version_of_produce_is_answered_by_the_leader_and_by_others() {
    for (node, code) in ANSWERS {
        let request = |topic_id| {
            let mut request = produce(-1, batch(b"new"));
            request.topic_data[0].topic_id = topic_id;
            request
        };
        in_every_version(node, 3..=13, request, |version, response| {
            let partition = &response.responses[0].partition_responses[0];
            assert_eq!(partition.error_code, code, "version {version}");
            let hint = (node == 1 && version >= 10).then_some(NodeId(0));
            assert_eq!(partition.current_leader.leader_id.known(), hint, "version {version}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_version_of_fetch_is_answered_by_the_leader_and_by_others() {
    for (node, code) in ANSWERS {
        let request = |topic_id| {
            let mut request = fetch(0, 0);
            request.topics[0].topic_id = topic_id;
            request
        };
        in_every_version(node, 4..=18, request, |version, response| {
            let partition = &response.responses[0].partitions[0];
            assert_eq!(partition.error_code, code, "version {version}");
            let hint = (node == 1 && version >= 16).then_some(NodeId(0));
            assert_eq!(partition.current_leader.leader_id.known(), hint, "version {version}");
            assert_eq!(partition.records.as_ref().unwrap().is_empty(), node == 1, "version {version}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_version_of_list_offsets_is_answered_by_the_leader_and_by_others() {
    for (node, code) in ANSWERS {
        let request = |_| {
            let latest = ListOffsetsPartition { timestamp: LATEST_TIMESTAMP, ..Default::default() };
            let topic = ListOffsetsTopic { name: TOPIC.to_owned(), partitions: vec![latest] };
            ListOffsetsRequest { topics: vec![topic], ..Default::default() }
        };
        in_every_version(node, 1..=11, request, |version, response| {
            assert_eq!(response.topics[0].partitions[0].error_code, code, "version {version}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_version_of_offset_for_leader_epoch_is_answered_by_the_leader_and_by_others() {
    for (node, code) in ANSWERS {
        let request = |_| {
            let partitions = vec![OffsetForLeaderPartition::default()];
            let topic = OffsetForLeaderTopic { topic: TOPIC.to_owned(), partitions };
            OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() }
        };
        in_every_version(node, 2..=4, request, |version, response| {
            assert_eq!(response.topics[0].partitions[0].error_code, code, "version {version}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_version_of_metadata_is_answered() {
    let request = |_| MetadataRequest::of_names([TOPIC, "../no"]);
    in_every_version(0, 0..=13, request, |version, response| {
        let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [ErrorCode::None, ErrorCode::InvalidTopicException], "version {version}");
    })
    .await;
    let request = |_| MetadataRequest::of_ids([TopicId([7; 16])]);
    in_every_version(0, 12..=13, request, |version, response| {
        assert_eq!(response.topics[0].error_code, ErrorCode::UnknownTopicId, "version {version}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_version_of_init_producer_id_is_answered() {
    in_every_version(
        0,
        0..=5,
        |_| InitProducerIdRequest::default(),
        |version, response| {
            assert_eq!(response.error_code, ErrorCode::None, "version {version}");
        },
    )
    .await;
    let transactional = |_| InitProducerIdRequest { transactional_id: Some("no".to_owned()), ..Default::default() };
    in_every_version(0, 0..=5, transactional, |version, response| {
        assert_eq!(response.error_code, ErrorCode::UnsupportedVersion, "version {version}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_megabytes_arrives_whole() {
    let cluster = in_memory().start().await.unwrap();
    cluster.create_topic_with(TOPIC, 1, 1, [("max.message.bytes", "20000000")]).await.unwrap();
    let connection = connect(&cluster, 0).await.unwrap();
    let sent = batch(&vec![b'x'; 5_000_000]);
    assert_eq!(send(&connection, &produce(1, sent.clone())).await.base_offset, 0);
    let data = read(&connection, &fetch(0, 0)).await;
    let stored = data.records.unwrap();
    // All but the leader's epoch, which only the broker knows.
    assert_eq!((&stored[..12], &stored[16..]), (&sent[..12], &sent[16..]));
}
