//! Three readers of a Fetch response agree on random ones: the structure, the view that reads in place, and the
//! `kafka-protocol` crate; and on damaged ones the first two.

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use kafka_protocol::messages as kafka;
use kafka_protocol::protocol::{Decodable, Encodable};
use ottla_wire::messages::*;
use ottla_wire::{DecodeError, ErrorCode, LeaderEpoch, Message, NodeId, ProducerId, Reader, TopicId, Writer};

const VERSIONS: std::ops::RangeInclusive<i16> = 4..=18;

fn several<T>(random: &mut Rng, most: usize, mut one: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    let count = random.usize(0..=most);
    (0..count).map(|_| one(random)).collect()
}

fn text(random: &mut Rng) -> String {
    let length = random.usize(0..20);
    (0..length).map(|_| random.choice(['a', '.', '-', '_', 'Z', '9', 'é', '主', '🦀']).expect("a choice")).collect()
}

/// Numbers at the edges more often than not.
fn number(random: &mut Rng) -> i64 {
    let edges = [-1, 0, 1, 127, 128, i64::MIN, i64::MAX, random.i64(..)];
    edges[random.usize(0..edges.len())]
}

fn epoch(random: &mut Rng) -> LeaderEpoch {
    LeaderEpoch(number(random) as i32)
}

fn partition(random: &mut Rng, version: i16) -> FetchPartitionData {
    let mut data = FetchPartitionData {
        partition_index: number(random) as i32,
        error_code: ErrorCode::from(number(random) as i16),
        high_watermark: number(random),
        last_stable_offset: number(random),
        records: random.bool().then(|| several(random, 300, |random| random.u8(..)).into()),
        ..Default::default()
    };
    data.aborted_transactions = random.bool().then(|| {
        several(random, 4, |random| AbortedTransaction {
            producer_id: ProducerId(number(random)),
            first_offset: number(random),
        })
    });
    if version >= 5 {
        data.log_start_offset = number(random);
    }
    if version >= 11 {
        data.preferred_read_replica = NodeId(number(random) as i32);
    }
    if version >= 12 {
        if random.bool() {
            data.diverging_epoch = DivergingEpoch { epoch: epoch(random), end_offset: number(random) };
        }
        if random.bool() {
            let leader_id = NodeId(number(random) as i32);
            data.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch: epoch(random) };
        }
        if random.bool() {
            data.snapshot_id = SnapshotId { end_offset: number(random), epoch: epoch(random) };
        }
    }
    data
}

fn response(random: &mut Rng, version: i16) -> FetchResponse {
    let mut response = FetchResponse { throttle_time_ms: number(random) as i32, ..Default::default() };
    if version >= 7 {
        response.error_code = ErrorCode::from(number(random) as i16);
        response.session_id = number(random) as i32;
    }
    response.responses = several(random, 4, |random| FetchableTopicResponse {
        topic: if version < 13 { text(random) } else { String::new() },
        topic_id: if version < 13 { TopicId::NONE } else { TopicId(random.u128(..).to_be_bytes()) },
        partitions: several(random, 5, |random| partition(random, version)),
    });
    if version >= 16 && random.bool() {
        response.node_endpoints = several(random, 3, |random| NodeEndpoint {
            node_id: NodeId(number(random) as i32),
            host: text(random),
            port: number(random) as i32,
            rack: random.bool().then(|| text(random)),
        });
    }
    response
}

fn encode(response: &FetchResponse, version: i16) -> Bytes {
    let mut writer = Writer::new();
    response.encode(&mut writer, version).expect("what the version carries");
    writer.into_bytes()
}

/// A partition with the topic that it is of.
type OfTopic = (String, TopicId, FetchPartitionData);

fn partitions_of(response: &FetchResponse) -> Vec<OfTopic> {
    let of_topic = |topic: &FetchableTopicResponse| -> Vec<OfTopic> {
        topic.partitions.iter().map(|partition| (topic.topic.clone(), topic.topic_id, partition.clone())).collect()
    };
    response.responses.iter().flat_map(of_topic).collect()
}

fn shown(partition: FetchedPartition<'_>) -> OfTopic {
    let data = FetchPartitionData {
        partition_index: partition.partition_index,
        error_code: partition.error_code,
        high_watermark: partition.high_watermark,
        last_stable_offset: partition.last_stable_offset,
        log_start_offset: partition.log_start_offset,
        aborted_transactions: partition.aborted_transactions().map(Iterator::collect),
        preferred_read_replica: partition.preferred_read_replica,
        diverging_epoch: partition.diverging_epoch,
        current_leader: partition.current_leader,
        snapshot_id: partition.snapshot_id,
        records: partition.records,
    };
    (partition.topic.name.to_owned(), partition.topic.id, data)
}

fn assert_view_agrees(body: &Bytes, version: i16, structure: &FetchResponse) {
    let view = FetchResponseView::parse(body.clone(), version).expect("what the structure reads");
    let count: usize = structure.responses.iter().map(|topic| topic.partitions.len()).sum();
    assert_eq!(view.partition_count(), count);
    assert_eq!(view.partitions().len(), count);
    assert_eq!(view.partitions().map(shown).collect::<Vec<_>>(), partitions_of(structure), "version {version}");
    assert_eq!(view.throttle_time_ms, structure.throttle_time_ms);
    assert_eq!(view.error_code, structure.error_code);
    assert_eq!(view.session_id, structure.session_id);
    assert_eq!(view.node_endpoints, structure.node_endpoints);
}

#[test]
fn the_view_and_the_structure_agree_on_random_responses() {
    for seed in 0..3_000 {
        let random = &mut Rng::with_seed(seed);
        let version = random.i16(VERSIONS);
        let response = response(random, version);
        let body = encode(&response, version);
        let read = FetchResponse::decode(&mut Reader::new(body.clone()), version).unwrap();
        assert_eq!(read, response, "seed {seed}, version {version}");
        assert_view_agrees(&body, version, &response);
    }
}

#[test]
fn kafka_protocol_agrees_on_random_responses() {
    let mut partitions = 0;
    for seed in 0..3_000 {
        let random = &mut Rng::with_seed(seed);
        let version = random.i16(VERSIONS);
        let response = response(random, version);
        let mut body = encode(&response, version);
        let original = body.clone();
        let theirs = kafka::FetchResponse::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "seed {seed}, version {version}");
        partitions += assert_same(&response, &theirs);
        let mut written = BytesMut::new();
        theirs.encode(&mut written, version).unwrap();
        assert_eq!(written, original, "seed {seed}, version {version}");
    }
    assert!(partitions > 5_000, "{partitions}");
}

/// Field by field, and how many partitions that were.
fn assert_same(ours: &FetchResponse, theirs: &kafka::FetchResponse) -> usize {
    assert_eq!(ours.throttle_time_ms, theirs.throttle_time_ms);
    assert_eq!(i16::from(ours.error_code), theirs.error_code);
    assert_eq!(ours.session_id, theirs.session_id);
    assert_eq!(ours.responses.len(), theirs.responses.len());
    assert_eq!(ours.node_endpoints.len(), theirs.node_endpoints.len());
    for (ours, theirs) in ours.node_endpoints.iter().zip(&theirs.node_endpoints) {
        assert_eq!(ours.node_id.0, theirs.node_id.0);
        assert_eq!((&*ours.host, ours.port), (&*theirs.host, theirs.port));
        assert_eq!(ours.rack.as_deref(), theirs.rack.as_deref());
    }
    let mut partitions = 0;
    for (ours, theirs) in ours.responses.iter().zip(&theirs.responses) {
        assert_eq!(ours.topic, theirs.topic.as_str());
        assert_eq!(ours.topic_id.0, theirs.topic_id.into_bytes());
        assert_eq!(ours.partitions.len(), theirs.partitions.len());
        for (ours, theirs) in ours.partitions.iter().zip(&theirs.partitions) {
            assert_same_partition(ours, theirs);
            partitions += 1;
        }
    }
    partitions
}

fn assert_same_partition(ours: &FetchPartitionData, theirs: &kafka::fetch_response::PartitionData) {
    assert_eq!(ours.partition_index, theirs.partition_index);
    assert_eq!(i16::from(ours.error_code), theirs.error_code);
    assert_eq!(ours.high_watermark, theirs.high_watermark);
    assert_eq!(ours.last_stable_offset, theirs.last_stable_offset);
    assert_eq!(ours.log_start_offset, theirs.log_start_offset);
    assert_eq!(ours.preferred_read_replica.0, theirs.preferred_read_replica.0);
    assert_eq!(ours.records, theirs.records);
    assert_eq!(ours.diverging_epoch.epoch.0, theirs.diverging_epoch.epoch);
    assert_eq!(ours.diverging_epoch.end_offset, theirs.diverging_epoch.end_offset);
    assert_eq!(ours.current_leader.leader_id.0, theirs.current_leader.leader_id.0);
    assert_eq!(ours.current_leader.leader_epoch.0, theirs.current_leader.leader_epoch);
    assert_eq!(ours.snapshot_id.end_offset, theirs.snapshot_id.end_offset);
    assert_eq!(ours.snapshot_id.epoch.0, theirs.snapshot_id.epoch);
    let aborted = |transactions: &Vec<AbortedTransaction>| {
        transactions.iter().map(|transaction| (transaction.producer_id.0, transaction.first_offset)).collect::<Vec<_>>()
    };
    let their_aborted = |transactions: &Vec<kafka::fetch_response::AbortedTransaction>| {
        transactions.iter().map(|transaction| (transaction.producer_id.0, transaction.first_offset)).collect::<Vec<_>>()
    };
    assert_eq!(
        ours.aborted_transactions.as_ref().map(aborted),
        theirs.aborted_transactions.as_ref().map(their_aborted)
    );
}

#[test]
fn the_view_and_the_structure_agree_on_damaged_responses() {
    let (mut read, mut refused) = (0, 0);
    for seed in 0..30_000 {
        let random = &mut Rng::with_seed(seed);
        let version = random.i16(VERSIONS);
        let mut body = encode(&response(random, version), version).to_vec();
        for _ in 0..random.usize(1..=3) {
            let place = random.usize(0..body.len());
            match random.u8(0..5) {
                0 => body[place] = random.u8(..),
                1 => body[place] ^= 1 << random.u8(0..8),
                2 => body.truncate(place.max(1)),
                3 => body.insert(place, random.u8(..)),
                _ => drop(body.remove(place)),
            }
            if body.is_empty() {
                body.push(0);
            }
        }
        let body = Bytes::from(body);
        let view = FetchResponseView::parse(body.clone(), version);
        match FetchResponse::decode(&mut Reader::new(body.clone()), version) {
            Ok(structure) => {
                assert_view_agrees(&body, version, &structure);
                read += 1;
            }
            // The view needs no allowance.
            Err(DecodeError::MemoryBeyondAllowance { .. }) => {}
            Err(error) => {
                assert!(view.is_err(), "seed {seed}, version {version}: {error}");
                refused += 1;
            }
        }
    }
    assert!(read > 3_000 && refused > 3_000, "{read} read, {refused} refused");
}
