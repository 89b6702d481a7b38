use super::*;
use crate::api::AnyRequest;
use crate::fault::Fault;
use crate::settings::{Loss, Settings};
use crate::test_cluster::{TOPIC, TestCluster, batch, produce, sequenced};

fn replicating_after(delay: Duration) -> TestCluster {
    TestCluster::with(Settings { replication_delay: delay, ..Settings::default() }, &[])
}

const DELAY: Duration = Duration::from_millis(10);

#[test]
fn offsets_count_on() {
    let mut cluster = TestCluster::new();
    assert_eq!(cluster.produce(batch(&[0, 0, 0])), 0);
    assert_eq!(cluster.produce(batch(&[0])), 3);
}

#[test]
fn acks_all_is_answered_when_every_in_sync_replica_has_the_batch() {
    let mut cluster = replicating_after(DELAY);
    cluster.send_produce(0, -1, batch(&[0]));
    cluster.pass(Duration::from_millis(9));
    assert!(cluster.answer().is_none());
    cluster.pass(Duration::from_millis(1));
    assert_eq!((cluster.produced().base_offset, cluster.partition().high_watermark()), (0, 1));
}

#[test]
fn acks_all_times_out_while_a_follower_lags() {
    let mut cluster = TestCluster::new();
    let now = cluster.now;
    cluster.change(|state| state.set_replicates(NodeId(2), false, now));
    cluster.send_produce(0, -1, batch(&[0]));
    cluster.pass(Duration::from_millis(999));
    assert!(cluster.answer().is_none());
    cluster.pass(Duration::from_millis(1));
    assert_eq!(cluster.produced().error_code, ErrorCode::RequestTimedOut);
}

#[test]
fn acks_all_is_answered_once_the_laggard_has_left_the_in_sync_replicas() {
    let settings = Settings { replica_lag_time_max: Duration::from_millis(500), ..Settings::default() };
    let mut cluster = TestCluster::with(settings, &[]);
    let now = cluster.now;
    cluster.change(|state| state.set_replicates(NodeId(2), false, now));
    cluster.send_produce(0, -1, batch(&[0]));
    cluster.pass(Duration::from_millis(499));
    assert!(cluster.answer().is_none());
    cluster.pass(Duration::from_millis(1));
    assert_eq!(cluster.produced().error_code, ErrorCode::None);
    assert_eq!(cluster.partition().in_sync(), [NodeId(0), NodeId(1)]);
}

#[test]
fn a_leader_that_dies_with_an_unreplicated_batch_has_lost_it() {
    let mut cluster = replicating_after(DELAY);
    assert_eq!(cluster.produce(batch(&[0])), 0);
    let now = cluster.now;
    cluster.change(|state| state.kill(NodeId(0), Loss::Nothing, now));
    assert_eq!((cluster.partition().leader(), cluster.partition().log.end_offset()), (Some(NodeId(1)), 0));
}

#[test]
fn a_waiting_acks_all_learns_that_the_leader_has_moved() {
    let mut cluster = replicating_after(DELAY);
    cluster.send_produce(0, -1, batch(&[0]));
    let (key, now) = (cluster.key, cluster.now);
    cluster.change(|state| state.move_leader(key, NodeId(1), now)).unwrap();
    let produced = cluster.produced();
    assert_eq!(produced.error_code, ErrorCode::NotLeaderOrFollower);
    assert_eq!(produced.current_leader.leader_id, NodeId(1));
}

#[test]
fn acks_all_needs_the_minimum_of_in_sync_replicas() {
    let mut cluster = TestCluster::with(Settings::default(), &[("min.insync.replicas", "3")]);
    let now = cluster.now;
    cluster.change(|state| state.stop(NodeId(2), now));
    cluster.send_produce(0, -1, batch(&[0]));
    assert_eq!(cluster.produced().error_code, ErrorCode::NotEnoughReplicas);
    assert_eq!(cluster.partition().log.end_offset(), 0);
    cluster.send_produce(0, 1, batch(&[0]));
    assert_eq!(cluster.produced().error_code, ErrorCode::None, "acks=1 does not care");
}

#[test]
fn acks_all_learns_that_the_in_sync_replicas_became_too_few() {
    let settings = Settings { replication_delay: DELAY, ..Settings::default() };
    let mut cluster = TestCluster::with(settings, &[("min.insync.replicas", "3")]);
    cluster.send_produce(0, -1, batch(&[0]));
    let now = cluster.now;
    cluster.change(|state| state.stop(NodeId(2), now));
    assert_eq!(cluster.produced().error_code, ErrorCode::NotEnoughReplicasAfterAppend);
}

#[test]
fn acks_0_is_not_answered_and_an_error_closes_the_connection() {
    let mut cluster = TestCluster::new();
    cluster.send_produce(0, 0, batch(&[0]));
    assert!(matches!(cluster.answer(), Some((_, crate::machine::Answer::Nothing))));
    assert_eq!(cluster.partition().log.end_offset(), 1);
    cluster.send_produce(1, 0, batch(&[0]));
    assert!(matches!(cluster.answer(), Some((_, crate::machine::Answer::Close))));
}

#[test]
fn other_acks_do_not_exist() {
    let mut cluster = TestCluster::new();
    cluster.send_produce(0, 2, batch(&[0]));
    assert_eq!(cluster.produced().error_code, ErrorCode::InvalidRequiredAcks);
}

#[test]
fn a_duplicate_is_answered_with_its_first_offset() {
    let mut cluster = TestCluster::new();
    cluster.produce(batch(&[0]));
    assert_eq!(cluster.produce(sequenced(0, 0, 3)), 1);
    assert_eq!(cluster.produce(sequenced(0, 3, 1)), 4);
    assert_eq!(cluster.produce(sequenced(0, 0, 3)), 1);
    assert_eq!(cluster.partition().log.end_offset(), 5);
}

#[test]
fn a_gap_in_the_sequence_is_refused() {
    let mut cluster = TestCluster::new();
    cluster.produce(sequenced(0, 0, 3));
    cluster.send_produce(0, 1, sequenced(0, 4, 1));
    assert_eq!(cluster.produced().error_code, ErrorCode::OutOfOrderSequenceNumber);
}

#[test]
fn an_older_epoch_of_a_producer_is_refused() {
    let mut cluster = TestCluster::new();
    cluster.produce(sequenced(1, 0, 1));
    cluster.send_produce(0, 1, sequenced(0, 0, 1));
    assert_eq!(cluster.produced().error_code, ErrorCode::InvalidProducerEpoch);
}

#[test]
fn the_next_leader_knows_the_producers_and_no_batch_is_appended_twice() {
    let mut cluster = TestCluster::new();
    assert_eq!(cluster.produce(sequenced(0, 0, 3)), 0);
    let now = cluster.now;
    cluster.change(|state| state.kill(NodeId(0), Loss::Nothing, now));
    assert_eq!(cluster.produce(sequenced(0, 0, 3)), 0);
    assert_eq!(cluster.produce(sequenced(0, 3, 1)), 3);
}

#[test]
fn only_the_leader_takes_batches_and_it_is_named() {
    let mut cluster = TestCluster::new();
    cluster.send_produce(1, 1, batch(&[0]));
    let AnyResponse::Produce(response) = cluster.response() else { panic!("no answer to Produce") };
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower);
    assert_eq!((partition.current_leader.leader_id, partition.current_leader.leader_epoch.0), (NodeId(0), 0));
    assert_eq!(response.node_endpoints[0].host, "broker-0");
}

#[test]
fn topics_are_known_by_id_from_version_13_on() {
    let mut cluster = TestCluster::new();
    let mut request = produce(1, batch(&[0]));
    request.topic_data[0].name.clear();
    request.topic_data[0].topic_id = cluster.key.topic;
    cluster.send(0, 13, AnyRequest::Produce(request.clone()));
    assert_eq!(cluster.produced().base_offset, 0);
    request.topic_data[0].topic_id = TopicId([9; 16]);
    cluster.send(0, 13, AnyRequest::Produce(request));
    assert_eq!(cluster.produced().error_code, ErrorCode::UnknownTopicId);
}

#[test]
fn an_injected_error_takes_the_place_of_the_append_or_of_its_answer() {
    let mut cluster = TestCluster::new();
    cluster.fault = Some(Fault::error(ErrorCode::KafkaStorageError).on_partition(TOPIC, 0));
    cluster.send_produce(0, 1, batch(&[0]));
    assert_eq!(cluster.produced().error_code, ErrorCode::KafkaStorageError);
    assert_eq!(cluster.partition().log.end_offset(), 0);
    cluster.fault = Some(Fault::error(ErrorCode::RequestTimedOut).after_handling());
    cluster.send_produce(0, -1, batch(&[0]));
    assert_eq!(cluster.produced().error_code, ErrorCode::RequestTimedOut);
    assert_eq!(cluster.partition().log.end_offset(), 1);
}

#[test]
fn a_topic_that_is_deleted_under_a_waiting_request_answers_it() {
    let mut cluster = replicating_after(DELAY);
    cluster.send_produce(0, -1, batch(&[0]));
    let topic = cluster.key.topic;
    cluster.change(|state| state.delete_topic(topic)).unwrap();
    assert_eq!(cluster.produced().error_code, ErrorCode::UnknownTopicOrPartition);
}
