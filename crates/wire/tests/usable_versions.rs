//! Which versions can carry a request, and which of them is chosen.

use bytes::Bytes;
use ottla_wire::messages::*;
use ottla_wire::{BrokerVersions, Message, Request, SecretBytes, TopicId, VersionRange, Within};

const ID: TopicId = TopicId([7; 16]);

fn fetch(topics: &[(&str, TopicId)]) -> FetchRequest {
    let topic =
        |&(name, topic_id): &(&str, TopicId)| FetchTopic { topic: name.to_owned(), topic_id, ..Default::default() };
    FetchRequest { topics: topics.iter().map(topic).collect(), ..Default::default() }
}

#[test]
fn a_fetch_goes_by_id_only_where_every_topic_has_one() {
    assert_eq!(fetch(&[("a", ID), ("b", ID)]).usable_versions(), VersionRange::new(4, 18));
    assert_eq!(fetch(&[("a", ID), ("b", TopicId::NONE)]).usable_versions(), VersionRange::new(4, 12));
    assert_eq!(fetch(&[("a", ID), ("", ID)]).usable_versions(), VersionRange::new(13, 18));
    let neither = fetch(&[("a", TopicId::NONE), ("", ID)]).usable_versions();
    assert!(neither.min > neither.max, "{neither}");
}

#[test]
fn a_forgotten_topic_counts_as_well() {
    let mut request = fetch(&[("a", ID)]);
    request.forgotten_topics_data.push(ForgottenTopic {
        topic: "b".to_owned(),
        partitions: vec![0],
        ..Default::default()
    });
    // Before version 7 there are no sessions that a topic could be taken out of.
    assert_eq!(request.usable_versions(), VersionRange::new(7, 12));
}

#[test]
fn a_session_goes_on_in_the_versions_in_which_it_began() {
    let request = Within { request: fetch(&[]), versions: VersionRange::new(4, 12) };
    assert_eq!(fetch(&[]).usable_versions(), VersionRange::new(4, 18));
    assert_eq!(request.usable_versions(), VersionRange::new(4, 12));
}

#[test]
fn a_batch_is_produced_by_id_only_where_every_topic_has_one() {
    let topic = |name: &str, topic_id| ProduceTopicData { name: name.to_owned(), topic_id, ..Default::default() };
    let both = ProduceRequest { topic_data: vec![topic("a", ID)], ..Default::default() };
    assert_eq!(both.usable_versions(), VersionRange::new(3, 13));
    let one = ProduceRequest { topic_data: vec![topic("a", ID), topic("b", TopicId::NONE)], ..Default::default() };
    assert_eq!(one.usable_versions(), VersionRange::new(3, 12));
}

#[test]
fn metadata_is_asked_by_id_from_version_12_on() {
    assert_eq!(MetadataRequest::of_ids([ID]).usable_versions(), VersionRange::new(12, 13));
    assert_eq!(MetadataRequest::of_names(["a"]).usable_versions(), VersionRange::new(0, 13));
    assert_eq!(MetadataRequest::all_topics().usable_versions(), VersionRange::new(1, 13));
    let none = MetadataRequest::of_names(Vec::<String>::new());
    assert_eq!(none.usable_versions(), VersionRange::new(1, 13), "version 0 would answer with all topics");
    let without_creating = MetadataRequest { allow_auto_topic_creation: false, ..MetadataRequest::of_names(["a"]) };
    assert_eq!(without_creating.usable_versions(), VersionRange::new(4, 13));
}

#[test]
fn a_place_that_a_version_takes_for_a_timestamp_needs_a_later_one() {
    for (timestamp, least) in [
        (LATEST_TIMESTAMP, 1),
        (EARLIEST_TIMESTAMP, 1),
        (MAX_TIMESTAMP, 7),
        (EARLIEST_LOCAL_TIMESTAMP, 8),
        (LATEST_TIERED_TIMESTAMP, 9),
        (EARLIEST_PENDING_UPLOAD_TIMESTAMP, 11),
    ] {
        let partitions = vec![ListOffsetsPartition { timestamp, ..Default::default() }];
        let topics = vec![ListOffsetsTopic { name: "a".to_owned(), partitions }];
        let request = ListOffsetsRequest { topics, ..Default::default() };
        assert_eq!(request.usable_versions(), VersionRange::new(least, 11), "{timestamp}");
    }
    let committed = ListOffsetsRequest { isolation_level: 1, ..Default::default() };
    assert_eq!(committed.usable_versions().min, 2, "version 1 would answer for uncommitted reads");
}

#[test]
fn an_unstable_version_is_chosen_only_for_what_it_adds() {
    assert_eq!(InitProducerIdRequest::default().usable_versions(), VersionRange::new(0, 5));
    let two_phase = InitProducerIdRequest { enable_2pc: true, ..Default::default() };
    assert_eq!(two_phase.usable_versions(), VersionRange::new(6, 6));
}

#[test]
fn a_static_member_needs_the_versions_that_know_of_them() {
    let group_instance_id = Some("instance".to_owned());
    let join = JoinGroupRequest { group_instance_id: group_instance_id.clone(), ..Default::default() };
    assert_eq!(join.usable_versions(), VersionRange::new(5, 9));
    let heartbeat = HeartbeatRequest { group_instance_id, ..Default::default() };
    assert_eq!(heartbeat.usable_versions(), VersionRange::new(3, 4));
    assert_eq!(JoinGroupRequest::default().usable_versions(), JoinGroupRequest::VERSIONS);
}

#[test]
fn offsets_of_all_partitions_can_be_asked_for_from_version_2_on() {
    let of_one_group = OffsetFetchRequest { group_id: "group".to_owned(), ..Default::default() };
    assert_eq!(of_one_group.usable_versions(), VersionRange::new(2, 7));
    let groups = vec![OffsetFetchRequestGroup { group_id: "group".to_owned(), ..Default::default() }];
    let of_many = OffsetFetchRequest { groups, ..Default::default() };
    assert_eq!(of_many.usable_versions(), VersionRange::new(8, 10));
}

#[test]
fn a_topic_is_deleted_by_id_from_version_6_on() {
    assert_eq!(DeleteTopicsRequest::of_names(["a"]).usable_versions(), VersionRange::new(1, 6));
    assert_eq!(DeleteTopicsRequest::of_ids([ID]).usable_versions(), VersionRange::new(6, 6));
    let in_one_list_only = DeleteTopicsRequest { topics: Vec::new(), ..DeleteTopicsRequest::of_names(["a"]) };
    assert_eq!(in_one_list_only.usable_versions(), VersionRange::new(1, 5), "version 6 would delete nothing");
    let in_the_other = DeleteTopicsRequest { topic_names: Vec::new(), ..DeleteTopicsRequest::of_names(["a"]) };
    assert_eq!(in_the_other.usable_versions(), VersionRange::new(6, 6), "earlier versions would delete nothing");
}

#[test]
fn a_topic_is_created_with_the_brokers_defaults_from_version_4_on() {
    let topic = |num_partitions, assignments: &[CreatableReplicaAssignment]| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: "a".into(),
            num_partitions,
            replication_factor: -1,
            assignments: assignments.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(topic(3, &[]).usable_versions(), VersionRange::new(4, 7));
    assert_eq!(topic(-1, &[CreatableReplicaAssignment::default()]).usable_versions(), VersionRange::new(2, 7));
}

#[test]
fn the_highest_version_that_both_know_is_chosen() {
    let broker = |min_version, max_version| {
        BrokerVersions::from_response(&ApiVersionsResponse {
            api_keys: vec![ApiVersion { api_key: 1, min_version, max_version }],
            ..Default::default()
        })
    };
    assert_eq!(broker(0, 11).choose(&fetch(&[("a", ID)])), Ok(11));
    assert_eq!(broker(4, 99).choose(&fetch(&[("a", ID)])), Ok(18));
    assert_eq!(broker(4, 99).choose(&fetch(&[("a", TopicId::NONE)])), Ok(12));
    let refused = broker(0, 3).choose(&fetch(&[("a", ID)])).unwrap_err();
    assert_eq!(refused.to_string(), "Fetch is needed in version 4 to 18, the broker speaks 0 to 3");
    let neither = broker(0, 18).choose(&fetch(&[("a", TopicId::NONE), ("", ID)])).unwrap_err();
    assert_eq!(neither.to_string(), "no version of Fetch can carry all that the request holds");
}

#[test]
fn sasl_messages_do_not_print_what_they_hold() {
    let auth_bytes = SecretBytes::from(Bytes::from_static(b"\0user\0hunter2"));
    let request = SaslAuthenticateRequest { auth_bytes: auth_bytes.clone() };
    let response = SaslAuthenticateResponse { auth_bytes, ..Default::default() };
    for printed in [format!("{request:?}"), format!("{request:#?}"), format!("{response:?}")] {
        assert!(printed.contains("13 bytes not shown"), "{printed}");
        assert!(!printed.contains("hunter2") && !printed.contains("104, 117"), "{printed}");
    }
}
