use super::*;
use crate::api::AnyRequest;
use crate::test_cluster::{TOPIC, TestCluster, batch};

#[test]
fn a_partition_named_twice_is_refused_and_others_are_answered() {
    let mut cluster = TestCluster::new();
    cluster.produce(batch(&[5]));
    let asked = |partition_index| ListOffsetsPartition { partition_index, timestamp: 5, ..Default::default() };
    let ask = |cluster: &mut TestCluster, partitions: &[i32]| {
        let partitions = partitions.iter().map(|index| asked(*index)).collect();
        let topics = vec![ListOffsetsTopic { name: TOPIC.to_owned(), partitions }];
        let request = ListOffsetsRequest { topics, ..Default::default() };
        let AnyResponse::ListOffsets(response) = cluster.ask(0, 7, AnyRequest::ListOffsets(request)) else {
            panic!("no answer to ListOffsets")
        };
        response.topics[0].partitions.iter().map(|found| (found.error_code, found.offset)).collect::<Vec<_>>()
    };
    assert_eq!(ask(&mut cluster, &[0]), [(ErrorCode::None, 0)]);
    let (repeated, unknown) = ((ErrorCode::InvalidRequest, -1), (ErrorCode::UnknownTopicOrPartition, -1));
    assert_eq!(ask(&mut cluster, &[0, 7, 0]), [repeated, unknown, repeated]);
}
