use std::collections::BTreeMap;

use super::*;
use crate::api::AnyRequest;
use crate::machine::Answer;
use crate::settings::{Loss, Settings};
use crate::test_cluster::{TestCluster, batch, fetch};

const DELAY: Duration = Duration::from_millis(10);

/// A batch's size with one record of the tests' form.
fn batch_bytes() -> usize {
    batch(&[0]).len()
}

fn with_batches(batches: usize) -> TestCluster {
    let mut cluster = TestCluster::new();
    for _ in 0..batches {
        cluster.produce(batch(&[0]));
    }
    cluster
}

fn records(data: &FetchPartitionData) -> usize {
    data.records.as_ref().unwrap().len()
}

#[test]
fn an_empty_partition_is_waited_for_as_long_as_was_asked() {
    let mut cluster = TestCluster::new();
    cluster.send(0, 12, AnyRequest::Fetch(fetch(0)));
    cluster.pass(Duration::from_millis(999));
    assert!(cluster.answer().is_none());
    cluster.pass(Duration::from_millis(1));
    let data = cluster.fetched();
    assert_eq!((records(&data), data.error_code, data.high_watermark), (0, ErrorCode::None, 0));
}

#[test]
fn a_waiting_fetch_is_answered_by_the_next_batch() {
    let mut cluster = TestCluster::new();
    cluster.send(0, 12, AnyRequest::Fetch(fetch(0)));
    cluster.send_produce(0, 1, batch(&[0]));
    assert_eq!(cluster.produced().base_offset, 0);
    assert_eq!(records(&cluster.fetched()), batch_bytes());
}

#[test]
fn a_waiting_fetch_counts_up_to_its_min_bytes() {
    let mut cluster = TestCluster::new();
    let min_bytes = batch_bytes() as i32 + 1;
    cluster.send(0, 12, AnyRequest::Fetch(FetchRequest { min_bytes, ..fetch(0) }));
    cluster.produce(batch(&[0]));
    assert!(cluster.answer().is_none());
    cluster.send_produce(0, 1, batch(&[0]));
    cluster.produced();
    assert_eq!(records(&cluster.fetched()), 2 * batch_bytes());
}

#[test]
fn more_than_the_answer_may_hold_is_not_waited_for() {
    let mut cluster = with_batches(2);
    let max_bytes = 2 * batch_bytes() as i32;
    let request = FetchRequest { min_bytes: 10 * max_bytes, max_bytes, ..fetch(0) };
    assert_eq!(records(&cluster.fetch_with(0, request)), 2 * batch_bytes());
}

#[test]
fn what_is_not_replicated_is_not_served() {
    let mut cluster = TestCluster::with(Settings { replication_delay: DELAY, ..Settings::default() }, &[]);
    cluster.produce(batch(&[0]));
    assert_eq!(records(&cluster.fetch(0, 0)), 0);
    cluster.send(0, 12, AnyRequest::Fetch(fetch(0)));
    assert!(cluster.answer().is_none());
    cluster.pass(DELAY);
    assert_eq!(records(&cluster.fetched()), batch_bytes());
}

#[test]
fn offsets_beyond_the_log_are_out_of_range() {
    let mut cluster = with_batches(3);
    let key = cluster.key;
    cluster.machine.state.partition_mut(key).unwrap().log.delete_before(1);
    let code = |cluster: &mut TestCluster, offset| cluster.fetch(0, offset).error_code;
    assert_eq!(code(&mut cluster, 0), ErrorCode::OffsetOutOfRange);
    assert_eq!(code(&mut cluster, 1), ErrorCode::None);
    assert_eq!(code(&mut cluster, 3), ErrorCode::None);
    assert_eq!(code(&mut cluster, 4), ErrorCode::OffsetOutOfRange);
    assert_eq!(code(&mut cluster, -1), ErrorCode::OffsetOutOfRange);
}

#[test]
fn an_error_is_answered_without_waiting() {
    let mut cluster = TestCluster::new();
    let data = cluster.fetch_with(0, fetch(7));
    assert_eq!(data.error_code, ErrorCode::OffsetOutOfRange);
}

#[test]
fn the_first_batch_comes_whatever_its_size() {
    let mut cluster = with_batches(2);
    let small = FetchRequest { max_bytes: 1, ..fetch(0) };
    assert_eq!(records(&cluster.fetch_with(0, small)), batch_bytes());
    let mut small = fetch(0);
    small.topics[0].partitions[0].partition_max_bytes = 1;
    assert_eq!(records(&cluster.fetch_with(0, small)), batch_bytes());
}

#[test]
fn only_the_first_partition_with_data_may_exceed_the_limits() {
    let mut cluster = with_batches(2);
    let mut request = FetchRequest { max_bytes: 1, ..fetch(0) };
    let again = request.topics[0].partitions[0].clone();
    request.topics[0].partitions.push(again);
    cluster.send(0, 12, AnyRequest::Fetch(request));
    let AnyResponse::Fetch(response) = cluster.response() else { panic!("no answer to Fetch") };
    let sizes: Vec<_> = response.responses[0].partitions.iter().map(records).collect();
    assert_eq!(sizes, [batch_bytes(), 0]);
}

#[test]
fn leader_epochs_are_checked() {
    let mut cluster = with_batches(1);
    let (key, now) = (cluster.key, cluster.now);
    cluster.change(|state| state.move_leader(key, NodeId(1), now)).unwrap();
    let mut code = |epoch| {
        let mut request = fetch(0);
        request.topics[0].partitions[0].current_leader_epoch = LeaderEpoch(epoch);
        cluster.fetch_with(1, request).error_code
    };
    assert_eq!(code(-1), ErrorCode::None);
    assert_eq!(code(0), ErrorCode::FencedLeaderEpoch);
    assert_eq!(code(1), ErrorCode::None);
    assert_eq!(code(2), ErrorCode::UnknownLeaderEpoch);
}

#[test]
fn a_waiting_fetch_learns_that_the_leader_has_died() {
    let mut cluster = TestCluster::new();
    let mut request = fetch(0);
    request.topics[0].partitions[0].current_leader_epoch = LeaderEpoch(0);
    cluster.send(1, 16, AnyRequest::Fetch(request));
    let now = cluster.now;
    cluster.change(|state| state.kill(NodeId(0), Loss::Nothing, now));
    let data = cluster.fetched();
    assert_eq!(data.error_code, ErrorCode::FencedLeaderEpoch);
    assert_eq!((data.current_leader.leader_id, data.current_leader.leader_epoch.0), (NodeId(1), 1));
}

#[test]
fn followers_serve_consumers_from_version_11_on() {
    let mut cluster = with_batches(1);
    assert_eq!(records(&cluster.fetch(1, 0)), batch_bytes());
    cluster.send(1, 10, AnyRequest::Fetch(fetch(0)));
    assert_eq!(cluster.fetched().error_code, ErrorCode::NotLeaderOrFollower);
}

#[test]
fn a_client_is_sent_to_the_replica_in_its_rack() {
    let racks = ["a", "b", "c"].map(str::to_owned).to_vec();
    let settings = Settings { racks, fetch_from_closest_replica: true, ..Settings::default() };
    let mut cluster = TestCluster::with(settings, &[]);
    cluster.produce(batch(&[0]));
    let from = |rack: &str| FetchRequest { rack_id: rack.to_owned(), ..fetch(0) };
    let data = cluster.fetch_with(0, from("c"));
    assert_eq!((data.preferred_read_replica, records(&data)), (NodeId(2), 0));
    assert_eq!(records(&cluster.fetch_with(2, from("c"))), batch_bytes());
    assert_eq!(cluster.fetch_with(0, from("a")).preferred_read_replica, NodeId::NONE);
    assert_eq!(cluster.fetch_with(0, from("elsewhere")).preferred_read_replica, NodeId::NONE);
}

#[test]
fn it_is_the_leader_who_says_that_an_offset_was_deleted() {
    let settings = Settings {
        racks: ["a", "b", "c"].map(str::to_owned).to_vec(),
        fetch_from_closest_replica: true,
        ..Settings::default()
    };
    let mut cluster = TestCluster::with(settings, &[]);
    cluster.produce(batch(&[0]));
    cluster.produce(batch(&[0]));
    let key = cluster.key;
    cluster.change(|state| state.delete_before(key, 1));
    let from_rack = |offset| FetchRequest { rack_id: "c".to_owned(), max_wait_ms: 0, ..fetch(offset) };
    assert_eq!(cluster.fetch_with(0, from_rack(0)).error_code, ErrorCode::OffsetOutOfRange);
    assert_eq!(cluster.fetch_with(0, from_rack(1)).preferred_read_replica, NodeId(2));
}

#[test]
fn a_follower_that_lags_serves_what_it_has_and_nothing_beyond() {
    let racks = ["a", "b", "c"].map(str::to_owned).to_vec();
    let settings = Settings { racks, fetch_from_closest_replica: true, ..Settings::default() };
    let mut cluster = TestCluster::with(settings, &[]);
    cluster.produce(batch(&[0]));
    let now = cluster.now;
    cluster.change(|state| state.set_replicates(NodeId(2), false, now));
    cluster.send_produce(0, 1, batch(&[0]));
    cluster.produced();
    let at_once = |offset| FetchRequest { max_wait_ms: 0, ..fetch(offset) };
    let code = |cluster: &mut TestCluster, node, offset| cluster.fetch_with(node, at_once(offset)).error_code;
    assert_eq!(code(&mut cluster, 2, 1), ErrorCode::None, "it has all up to there");
    assert_eq!(code(&mut cluster, 2, 2), ErrorCode::OffsetOutOfRange);
    let in_rack = |offset| FetchRequest { rack_id: "c".to_owned(), ..at_once(offset) };
    assert_eq!(cluster.fetch_with(0, in_rack(1)).preferred_read_replica, NodeId(2));
    assert_eq!(cluster.fetch_with(0, in_rack(2)).preferred_read_replica, NodeId::NONE, "who lacks it is not named");
}

#[test]
fn a_client_whose_records_were_truncated_is_told_where_the_logs_parted() {
    let mut cluster = TestCluster::with(Settings { replication_delay: DELAY, ..Settings::default() }, &[]);
    cluster.produce(batch(&[0, 0, 0]));
    cluster.pass(DELAY);
    cluster.produce(batch(&[0]));
    let (key, now) = (cluster.key, cluster.now);
    cluster.change(|state| state.move_leader(key, NodeId(1), now)).unwrap();
    cluster.produce(batch(&[0]));
    let mut request = fetch(4);
    request.topics[0].partitions[0].last_fetched_epoch = LeaderEpoch(0);
    let data = cluster.fetch_with(1, request);
    assert_eq!((data.diverging_epoch.epoch, data.diverging_epoch.end_offset), (LeaderEpoch(0), 3));
}

/// A request of a session that reads nothing else than before.
fn in_session(session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest { session_id, session_epoch, topics: Vec::new(), ..fetch(0) }
}

fn answered(cluster: &mut TestCluster) -> FetchResponse {
    match cluster.response() {
        AnyResponse::Fetch(response) => response,
        other => panic!("no answer to Fetch but {other:?}"),
    }
}

/// Begins a session on node 0 that has read up to `offset`.
fn begin_session(cluster: &mut TestCluster, offset: i64) -> i32 {
    let request = FetchRequest { session_epoch: 0, max_wait_ms: 0, ..fetch(offset) };
    cluster.send(0, 12, AnyRequest::Fetch(request));
    let response = answered(cluster);
    assert_eq!((response.error_code, response.responses.len()), (ErrorCode::None, 1));
    response.session_id
}

#[test]
fn in_a_session_the_partitions_are_named_once_and_answered_when_there_is_news() {
    let mut cluster = with_batches(1);
    let id = begin_session(&mut cluster, 1);
    assert_ne!(id, 0);
    cluster.send(0, 12, AnyRequest::Fetch(in_session(id, 1)));
    assert!(cluster.answer().is_none(), "it waits for records");
    cluster.pass(Duration::from_secs(1));
    let nothing = answered(&mut cluster);
    assert_eq!((nothing.error_code, nothing.session_id, nothing.responses.len()), (ErrorCode::None, id, 0));
    cluster.send(0, 12, AnyRequest::Fetch(in_session(id, 2)));
    assert_eq!(cluster.produce(batch(&[0])), 1);
    let news = answered(&mut cluster);
    assert_eq!((news.session_id, news.responses.len()), (id, 1));
    assert_eq!(records(&news.responses[0].partitions[0]), batch_bytes());
}

#[test]
fn a_session_that_is_not_what_the_client_believes_is_answered_with_an_error_of_its_own() {
    let mut cluster = with_batches(1);
    let id = begin_session(&mut cluster, 1);
    let mut ask = |version, session_id, epoch| {
        cluster.send(0, version, AnyRequest::Fetch(in_session(session_id, epoch)));
        let response = answered(&mut cluster);
        (response.error_code, response.session_id, response.responses.len())
    };
    assert_eq!(ask(12, id, 7), (ErrorCode::InvalidFetchSessionEpoch, 0, 0));
    assert_eq!(ask(12, id ^ 1, 1), (ErrorCode::FetchSessionIdNotFound, 0, 0));
    assert_eq!(ask(13, id, 1), (ErrorCode::FetchSessionTopicIdError, 0, 0));
}

#[test]
fn a_request_that_waits_is_overtaken_by_the_next_of_its_session() {
    let mut cluster = with_batches(1);
    let id = begin_session(&mut cluster, 1);
    let first = cluster.send(0, 12, AnyRequest::Fetch(in_session(id, 1)));
    let second = cluster.send(0, 12, AnyRequest::Fetch(in_session(id, 2)));
    cluster.pass(Duration::from_secs(1));
    let mut codes = BTreeMap::new();
    while let Some((call, Answer::Response(AnyResponse::Fetch(response)))) = cluster.answer() {
        codes.insert(call, response.error_code);
    }
    assert_eq!(codes, BTreeMap::from([(first, ErrorCode::InvalidFetchSessionEpoch), (second, ErrorCode::None)]));
}

#[test]
fn a_session_does_not_outlive_its_node() {
    for dies in [false, true] {
        let mut cluster = with_batches(1);
        let (id, now) = (begin_session(&mut cluster, 1), cluster.now);
        cluster
            .change(|state| if dies { state.kill(NodeId(0), Loss::Nothing, now) } else { state.stop(NodeId(0), now) });
        cluster.change(|state| state.start(NodeId(0), now));
        cluster.send(0, 12, AnyRequest::Fetch(in_session(id, 1)));
        assert_eq!(answered(&mut cluster).error_code, ErrorCode::FetchSessionIdNotFound);
    }
}

#[test]
fn where_no_session_is_to_be_had_the_client_is_told_to_go_on_without() {
    let mut cluster = TestCluster::with(Settings { fetch_session_slots: 0, ..Settings::default() }, &[]);
    assert_eq!(begin_session(&mut cluster, 0), 0);
}

#[test]
fn topics_are_known_by_id_from_version_13_on() {
    let mut cluster = with_batches(1);
    let mut request = fetch(0);
    request.topics[0].topic.clear();
    request.topics[0].topic_id = cluster.key.topic;
    cluster.send(0, 13, AnyRequest::Fetch(request.clone()));
    assert_eq!(records(&cluster.fetched()), batch_bytes());
    request.topics[0].topic_id = ottla_wire::TopicId([9; 16]);
    cluster.send(0, 13, AnyRequest::Fetch(request));
    assert_eq!(cluster.fetched().error_code, ErrorCode::UnknownTopicId);
}

#[test]
fn a_deleted_topic_answers_what_waits_for_it() {
    let mut cluster = TestCluster::new();
    cluster.send(0, 12, AnyRequest::Fetch(fetch(0)));
    let topic = cluster.key.topic;
    cluster.change(|state| state.delete_topic(topic)).unwrap();
    assert_eq!(cluster.fetched().error_code, ErrorCode::UnknownTopicOrPartition);
}
