use super::*;
use crate::api::AnyRequest;
use crate::test_cluster::TestCluster;

fn topic(name: String, num_partitions: i32) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions, replication_factor: -1, ..Default::default() }
}

fn codes(cluster: &mut TestCluster, topics: Vec<CreatableTopic>) -> Vec<ErrorCode> {
    let request = CreateTopicsRequest { topics, ..Default::default() };
    let AnyResponse::CreateTopics(response) = cluster.ask(0, 7, AnyRequest::CreateTopics(request)) else {
        panic!("no answer to CreateTopics")
    };
    response.topics.iter().map(|topic| topic.error_code).collect()
}

#[test]
fn a_request_makes_no_more_partitions_than_a_kraft_controller_would() {
    let mut cluster = TestCluster::new();
    let topics = (0..200).map(|index| topic(format!("large-{index}"), 100_000)).collect();
    assert_eq!(codes(&mut cluster, topics), [ErrorCode::PolicyViolation; 200]);
    let (half, rest) = (topic("half".to_owned(), 5_000), |count| topic("rest".to_owned(), count));
    assert_eq!(codes(&mut cluster, vec![half.clone(), rest(5_001)]), [ErrorCode::PolicyViolation; 2]);
    assert_eq!(codes(&mut cluster, vec![half, rest(5_000)]), [ErrorCode::None; 2]);
}

#[test]
fn a_topic_named_twice_is_made_neither_time() {
    let mut cluster = TestCluster::new();
    let topics = ["twice", "once", "twice"].map(|name| topic(name.to_owned(), 1)).to_vec();
    let expected = [ErrorCode::InvalidRequest, ErrorCode::None, ErrorCode::InvalidRequest];
    assert_eq!(codes(&mut cluster, topics), expected);
}

#[test]
fn a_replica_list_of_any_length_is_refused_at_once() {
    let mut cluster = TestCluster::new();
    let broker_ids = (0..500_000).map(NodeId).collect();
    let assignments = Box::new([CreatableReplicaAssignment { partition_index: 0, broker_ids }]);
    let assigned = CreatableTopic { assignments, ..topic("assigned".to_owned(), -1) };
    // Compared one with another they would take minutes.
    assert_eq!(codes(&mut cluster, vec![assigned]), [ErrorCode::InvalidReplicaAssignment]);
}
