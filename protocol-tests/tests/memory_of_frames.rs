//! How much memory frames decode to: honest large ones fit the allowance, and those made to take much are refused.

use allocation_counter::{Allocated, CountingAllocator, measure};
use bytes::{Bytes, BytesMut};
use ottla_wire::guard::DEFAULT_MAX_GUARDED_BYTES;
use ottla_wire::guarded::any::{self, AnyMessage, Direction};
use ottla_wire::messages::*;
use ottla_wire::{LeaderEpoch, Message, NodeId, Reader, TopicId, Writer};
use protocol_tests::golden;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn body<M: Message>(message: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).unwrap_or_else(|error| panic!("{} {version}: {error}", M::NAME));
    writer.into_bytes()
}

/// The message decodes, and takes at most four times its frame, the frame included.
fn fits<M: Message + PartialEq + std::fmt::Debug>(message: &M, version: i16) {
    let frame = body(message, version);
    let length = frame.len();
    let (read, Allocated { peak_bytes, .. }) = measure(|| M::decode(&mut Reader::new(frame), version));
    let read = read.unwrap_or_else(|error| panic!("{} {version}, {length} bytes: {error}", M::NAME));
    assert!(read == *message, "{} {version}", M::NAME);
    assert!(length + peak_bytes <= 4 * length, "{} {version}: {peak_bytes} for {length} bytes", M::NAME);
    println!("{} {version}: {length} bytes, {:.2} times that", M::NAME, peak_bytes as f64 / length as f64);
}

fn partitions(count: i32, replicas: i32) -> Box<[MetadataPartition]> {
    let partition = |partition_index| {
        let nodes: Vec<NodeId> = (0..replicas).map(NodeId).collect();
        MetadataPartition {
            partition_index,
            leader_id: NodeId(1),
            replicas: PartitionReplicas::new(&nodes, &nodes, &[]),
            ..Default::default()
        }
    };
    (0..count).map(partition).collect()
}

fn metadata(topics: Vec<MetadataTopic>) -> MetadataResponse {
    let broker =
        |id| MetadataBroker { node_id: NodeId(id), host: format!("broker-{id}.example.com"), port: 9092, rack: None };
    MetadataResponse { brokers: (0..3).map(broker).collect(), topics, ..Default::default() }
}

#[test]
fn metadata_of_ten_thousand_partitions_fits() {
    for replicas in [1, 3] {
        let topic = MetadataTopic {
            name: Some("orders".to_owned()),
            partitions: partitions(10_000, replicas),
            ..Default::default()
        };
        let one_topic = metadata(vec![topic]);
        for version in 0..=13 {
            fits(&one_topic, version);
        }
    }
}

/// Topics by the thousand, of one partition each. In the versions of old brokers a topic has little more on the wire
/// than its name and flags: there the shortest names that fit the allowance are those tried here.
#[test]
fn metadata_of_ten_thousand_topics_fits() {
    let response = |name: &dyn Fn(usize) -> String, replicas| {
        let topic = |index| MetadataTopic {
            name: Some(name(index)),
            partitions: partitions(1, replicas),
            ..Default::default()
        };
        metadata((0..10_000).map(topic).collect())
    };
    for version in 0..=13 {
        for replicas in [1, 3] {
            fits(&response(&|index| format!("orders-{index:05}"), replicas), version);
        }
    }
    for version in [7, 8, 10, 11, 12, 13] {
        fits(&response(&|index| format!("{index:x}"), 1), version);
    }
}

/// What answers a request for many topics of one partition each. Before version 5, of brokers older than Kafka 1.0, an
/// answer has little more than the name, which is therefore not of the shortest there.
#[test]
fn produce_responses_for_a_thousand_topics_fit() {
    let response = |version: i16| {
        let topic = |index: i32| ProduceTopicResponse {
            name: if version >= 13 { String::new() } else { format!("orders-{index:03}") },
            topic_id: if version >= 13 { id(index) } else { TopicId::NONE },
            partition_responses: Box::new([ProducePartitionResponse { base_offset: 7, ..Default::default() }]),
        };
        ProduceResponse { responses: (0..1_000).map(topic).collect(), ..Default::default() }
    };
    for version in 3..=13 {
        fits(&response(version), version);
    }
}

#[test]
fn join_group_responses_of_a_thousand_members_fit() {
    let member = |index: usize| JoinGroupResponseMember {
        member_id: format!("consumer-orders-{index}-5e1b7c4e-6a3c-4c5c-9d0f-1f0c7d1c1a{index:04}"),
        metadata: Bytes::from_static(b"\0\x01\0\0\0\x01\0\x06orders\xff\xff\xff\xff\0\0\0\0"),
        ..Default::default()
    };
    let response = JoinGroupResponse {
        protocol_name: Some("range".to_owned()),
        members: (0..1_000).map(member).collect(),
        ..Default::default()
    };
    for version in 0..=9 {
        fits(&response, version);
    }
}

#[test]
fn lists_of_ten_thousand_groups_fit() {
    for version in 0..=5 {
        let state = if version < 4 { "" } else { "Stable" };
        let kind = if version < 5 { "" } else { "classic" };
        let group = |index| ListedGroup::new(&format!("orders-{index:05}"), "consumer", state, kind);
        fits(&ListGroupsResponse { groups: (0..10_000).map(group).collect(), ..Default::default() }, version);
    }
}

#[test]
fn descriptions_of_a_thousand_groups_fit() {
    let member = |index: usize| DescribedGroupMember {
        member_id: format!("consumer-orders-{index}-5e1b7c4e-6a3c-4c5c-9d0f-1f0c7d1c1a{index:04}"),
        client_id: "orders".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        member_metadata: Bytes::from_static(b"\0\x01\0\0\0\x01\0\x06orders\xff\xff\xff\xff\0\0\0\0"),
        member_assignment: Bytes::from_static(b"\0\x01\0\0\0\x01\0\x06orders\0\0\0\x01\0\0\0\x01\0\0\0\0"),
        ..Default::default()
    };
    for (state, members) in [("Empty", 0), ("Stable", 1), ("Stable", 10)] {
        let group = |index| DescribedGroup {
            group_id: format!("orders-consumers-{index:03}").into(),
            group_state: state.into(),
            protocol_type: "consumer".into(),
            protocol_data: if members == 0 { "".into() } else { "range".into() },
            members: (0..members).map(member).collect(),
            ..Default::default()
        };
        let response = DescribeGroupsResponse { groups: (0..1_000).map(group).collect(), ..Default::default() };
        for version in 0..=6 {
            fits(&response, version);
        }
    }
}

/// Settings as Kafka's are: long names, short values.
const SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("min.insync.replicas", "1"),
    ("retention.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];

#[test]
fn a_thousand_topics_with_their_settings_fit() {
    let created = |index| CreatableTopicResult {
        name: format!("orders-{index:03}").into(),
        configs: Some(
            SETTINGS
                .iter()
                .map(|(name, value)| CreatableTopicConfigs {
                    name: (*name).into(),
                    value: Some((*value).into()),
                    ..Default::default()
                })
                .collect(),
        ),
        ..Default::default()
    };
    let response = CreateTopicsResponse { topics: (0..1_000).map(created).collect(), ..Default::default() };
    for version in 5..=7 {
        fits(&response, version);
    }
    let setting = |(name, value): &(&str, &str), synonyms| DescribeConfigsResourceResult {
        name: (*name).into(),
        value: Some((*value).into()),
        config_source: 5,
        synonyms: (0..synonyms)
            .map(|_| DescribeConfigsSynonym { name: (*name).into(), value: Some((*value).into()), source: 5 })
            .collect(),
        ..Default::default()
    };
    for (settings, synonyms) in [(1, 0), (4, 0), (4, 2)] {
        let described = |index| DescribeConfigsResult {
            resource_type: 2,
            resource_name: format!("orders-{index:05}").into(),
            configs: SETTINGS[..settings].iter().map(|entry| setting(entry, synonyms)).collect(),
            ..Default::default()
        };
        let response = DescribeConfigsResponse { results: (0..1_000).map(described).collect(), ..Default::default() };
        for version in 1..=4 {
            fits(&response, version);
        }
    }
}

#[test]
fn fetches_of_ten_thousand_idle_partitions_fit() {
    for topics in [1, 100] {
        for version in 4..=18 {
            fits(&fetch_request(version, topics, 10_000 / topics), version);
            fetch_response_fits(&fetch_response(version, topics, 10_000 / topics), version);
        }
    }
}

fn id(index: i32) -> TopicId {
    TopicId(std::array::from_fn(|place| if place == 0 { 7 } else { index as u8 }))
}

fn fetch_request(version: i16, topics: i32, partitions: i32) -> FetchRequest {
    let partition =
        |partition| FetchPartition { partition, fetch_offset: 5, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = |index| FetchTopic {
        topic: if version < 13 { format!("topic-{index}") } else { String::new() },
        topic_id: if version < 13 { TopicId::NONE } else { id(index) },
        partitions: (0..partitions).map(partition).collect(),
    };
    FetchRequest { topics: (0..topics).map(topic).collect(), ..Default::default() }
}

fn fetch_response(version: i16, topics: i32, partitions: i32) -> FetchResponse {
    let partition = |partition_index| FetchPartitionData {
        partition_index,
        records: Some(Bytes::new()),
        current_leader: if version >= 12 && partition_index % 2 == 0 {
            LeaderIdAndEpoch { leader_id: NodeId(3), leader_epoch: LeaderEpoch(4) }
        } else {
            LeaderIdAndEpoch::default()
        },
        ..Default::default()
    };
    let topic = |index| FetchableTopicResponse {
        topic: if version < 13 { format!("topic-{index}") } else { String::new() },
        topic_id: if version < 13 { TopicId::NONE } else { id(index) },
        partitions: (0..partitions).map(partition).collect(),
    };
    FetchResponse { responses: (0..topics).map(topic).collect(), ..Default::default() }
}

fn fetch_response_fits(response: &FetchResponse, version: i16) {
    let frame = body(response, version);
    let length = frame.len();
    let (count, Allocated { peak_bytes, .. }) = measure(|| {
        let view = FetchResponseView::parse(frame, version).expect("it was written here");
        view.partitions().filter(|partition| partition.records.as_ref().is_some_and(Bytes::is_empty)).count()
    });
    assert_eq!(count, 10_000);
    assert!(peak_bytes < 200, "version {version}: {peak_bytes} bytes for {length}");
}

/// What the `kafka-protocol` crate may take for a frame.
fn guarded_bound(length: usize) -> usize {
    200 * length + 16 * 1024 * 1024
}

fn guarded_decode_is_bounded(key: i16, direction: Direction, version: i16, frame: Bytes) -> bool {
    let length = frame.len();
    let (read, Allocated { peak_bytes, .. }) =
        measure(|| AnyMessage::decode(key, direction, version, frame, DEFAULT_MAX_GUARDED_BYTES).is_ok());
    let bound = guarded_bound(length);
    assert!(peak_bytes <= bound, "API {key} {direction:?} {version}: {peak_bytes} for {length} bytes, over {bound}");
    read
}

/// An unsigned variable-length integer.
fn integer(value: usize) -> Bytes {
    let mut writer = Writer::new();
    writer.unsigned_varint(u32::try_from(value).unwrap_or(u32::MAX));
    writer.into_bytes()
}

/// Wherever a count may stand in a message, it claims as much as the guard may just let pass, or far more; and then
/// another does, as in nested arrays.
#[test]
fn lying_counts_in_every_message_behind_the_guard_are_bounded() {
    let mut random = fastrand::Rng::with_seed(11);
    let (mut frames, mut accepted) = (0, 0);
    for line in golden::lines("wire_messages.jsonl.gz") {
        let number = |name| i16::try_from(line.integer(name)).expect("an int16");
        let (key, version) = (number("key"), number("version"));
        if line.text("kind") != "rich" || !any::flexible_versions(key).is_some_and(|range| range.contains(version)) {
            continue;
        }
        let direction = if line.text("dir") == "request" { Direction::Request } else { Direction::Response };
        let honest = line.bytes("bytes");
        for padded in [0, 1_000, 40_000, 300_000] {
            for _ in 0..12 {
                let first = random.usize(0..=honest.len());
                let second = random.usize(first..=honest.len());
                let mut frame = BytesMut::from(&honest[..first]);
                let claim = |random: &mut fastrand::Rng| {
                    let left = honest.len() + padded - first;
                    let claims = [left, left / 4, left.min(32_768), 43_000, 98_304, 1 << 24, u32::MAX as usize];
                    integer(claims[random.usize(0..claims.len())])
                };
                frame.extend_from_slice(&claim(&mut random));
                frame.extend_from_slice(&honest[first..second]);
                frame.extend_from_slice(&claim(&mut random));
                // Zeroes read on as empty elements, twos as arrays of one within one another.
                frame.resize(honest.len() + padded, [0, 2][random.usize(0..2)]);
                accepted += usize::from(guarded_decode_is_bounded(key, direction, version, frame.freeze()));
                frames += 1;
            }
        }
    }
    println!("{frames} lying frames, {accepted} of which were messages all the same");
    assert!(frames > 10_000);
}

/// The 69-byte Metadata frame that makes the crate ask for 451 GB, and the same in every API, version and direction.
#[test]
fn five_bytes_that_claim_four_billion_are_refused_everywhere() {
    let mut frames = 0;
    for &key in any::API_KEYS {
        let versions = any::flexible_versions(key).expect("an API that there is");
        for version in versions.min..=versions.max {
            for direction in [Direction::Request, Direction::Response] {
                for position in 0..60 {
                    let mut frame = vec![0; 60];
                    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];
                    let end = (position + claim.len()).min(frame.len());
                    frame[position..end].copy_from_slice(&claim[..end - position]);
                    guarded_decode_is_bounded(key, direction, version, frame.into());
                    frames += 1;
                }
            }
        }
    }
    println!("{frames} frames of 60 bytes");
    assert!(frames > 10_000);
}
