//! A topic that is replayed, as clients see it: by every API as any other, without end, and from the same memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_broker::{EmbeddedCluster, Error, Replay, Transport};
use ottla_connection::{Connection, ConnectionConfig, MemoryNetwork};
use ottla_wire::compression::{Compression, CompressionLevel, Compressor};
use ottla_wire::messages::{
    EARLIEST_TIMESTAMP, FetchPartition, FetchRequest, FetchResponse, FetchTopic, LATEST_TIMESTAMP,
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_wire::records::{BatchBuilder, ProducerState, RecordBatches};
use ottla_wire::{NodeId, TopicId};

const TOPIC: &str = "topic";
const BATCHES: i64 = 4;
const LAPS: i64 = 3;

/// One record, at a second of its own.
fn batch(second: i64) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(second * 1000, None, Some(b"value"), []).unwrap();
    builder.build(&mut Compressor::new(CompressionLevel::from(Compression::None)), ProducerState::NONE).unwrap()
}

async fn cluster() -> (EmbeddedCluster, TopicId, Connection) {
    let network = MemoryNetwork::new();
    let cluster = EmbeddedCluster::builder().transport(Transport::Memory(network)).start().await.unwrap();
    let mut batches = BytesMut::new();
    (0..BATCHES).for_each(|second| batches.extend_from_slice(&batch(second)));
    let replay = Replay::new(batches.freeze()).unwrap().laps(LAPS as u64);
    let topic = cluster.create_replayed_topic(TOPIC, 2, &replay).await.unwrap();
    let config = ConnectionConfig::default().request_timeout(Duration::from_secs(5));
    let address = cluster.address(NodeId(0)).unwrap().clone();
    let connection = Connection::open(&*cluster.connector(), &address, config).await.unwrap();
    (cluster, topic, connection)
}

fn fetch(topic_id: TopicId, session: (i32, i32), partitions: &[(i32, i64)]) -> FetchRequest {
    let partition = |(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let partitions = partitions.iter().map(partition).collect();
    let topic = FetchTopic { topic: TOPIC.to_owned(), topic_id, partitions };
    let (session_id, session_epoch) = session;
    FetchRequest { min_bytes: 1, session_id, session_epoch, topics: vec![topic], ..Default::default() }
}

/// The offsets that each partition of an answer begins and ends with.
fn offsets(response: FetchResponse) -> Vec<(i32, i64, i64)> {
    let partitions = response.responses.into_iter().flat_map(|topic| topic.partitions);
    let range = |records: Bytes| {
        let batches: Vec<_> = RecordBatches::new(records).map(Result::unwrap).collect();
        (batches[0].base_offset(), batches[batches.len() - 1].last_offset())
    };
    partitions
        .map(|partition| {
            let (first, last) = range(partition.records.unwrap());
            (partition.partition_index, first, last)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_fetch_session_reads_lap_after_lap_up_to_the_end() {
    let (cluster, topic, connection) = cluster().await;
    let first = connection.request(&fetch(topic, (0, 0), &[(0, 0), (1, 2)])).await.unwrap();
    let session = first.session_id;
    assert_ne!(session, 0);
    assert_eq!(offsets(first), [(0, 0, 3), (1, 2, 3)]);
    let second = connection.request(&fetch(topic, (session, 1), &[(0, 4), (1, 4)])).await.unwrap();
    assert_eq!(offsets(second), [(0, 4, 7), (1, 4, 7)]);
    let third = connection.request(&fetch(topic, (session, 2), &[(0, 11), (1, 8)])).await.unwrap();
    assert_eq!(offsets(third), [(0, 11, 11), (1, 8, 11)]);
    let at_the_end = connection.request(&fetch(topic, (session, 3), &[(0, 12), (1, 12)])).await.unwrap();
    assert!(at_the_end.responses.is_empty(), "nothing is new");
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn offsets_are_listed_by_place_and_by_time() {
    let (cluster, _, connection) = cluster().await;
    for (timestamp, offset) in [(EARLIEST_TIMESTAMP, 0), (LATEST_TIMESTAMP, BATCHES * LAPS), (2000, 2), (2001, 3)] {
        let partition = ListOffsetsPartition { partition_index: 1, timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: TOPIC.to_owned(), partitions: vec![partition] };
        let request = ListOffsetsRequest { topics: vec![topic], ..Default::default() };
        let answer = connection.request(&request).await.unwrap();
        assert_eq!(answer.topics[0].partitions[0].offset, offset, "{timestamp}");
    }
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_written_stands_behind_what_is_replayed() {
    let (cluster, topic, connection) = cluster().await;
    let end = BATCHES * LAPS;
    assert_eq!(cluster.append_unchecked(TOPIC, 0, batch(9), 1).await.unwrap(), end);
    let described = cluster.describe_partition(TOPIC, 0).await.unwrap();
    assert_eq!((described.log_start_offset, described.high_watermark), (0, end + 1));
    let response = connection.request(&fetch(topic, (0, -1), &[(0, end), (1, end - 1)])).await.unwrap();
    assert_eq!(offsets(response), [(0, end, end), (1, end - 1, end - 1)]);
    cluster.delete_records(TOPIC, 0, 5).await.unwrap();
    let response = connection.request(&fetch(topic, (0, -1), &[(0, 5)])).await.unwrap();
    assert_eq!(offsets(response), [(0, 5, 7)]);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_made_once() {
    let (cluster, ..) = cluster().await;
    let replay = Replay::new(batch(0)).unwrap().endless();
    let again = cluster.create_replayed_topic(TOPIC, 1, &replay).await.unwrap_err();
    assert!(matches!(again, Error::Refused { .. }), "{again:?}");
    cluster.shutdown().await;
}
