//! Topic ids that are not there, or not for every topic, or not from every node.

use std::time::Duration;

use ottla::NodeId;
use ottla_broker::Fault;
use ottla_wire::ApiKey;

use crate::setup::{GROUP, NODES, PARTITIONS, Seen, Setup, TOPIC, all_at};

const OTHER: &str = "parcels";

/// Redpanda gave its topics ids in the middle of its clusters' lives, as an upgraded Kafka does.
#[tokio::test(start_paused = true)]
async fn topic_ids_may_come_late_and_go_again() {
    let setup = Setup::start_with(|cluster| cluster, |client| client.metadata_max_age(Duration::from_secs(10))).await;
    let (mut member, mut seen) = (setup.member(), Seen::default());
    let mut end = 0;
    for is_hidden in [true, false, true, false] {
        if is_hidden {
            setup.cluster.faults().inject(Fault::hide_topic_ids().always());
        } else {
            setup.cluster.faults().clear();
        }
        for _ in 0..2 {
            setup.produce(1).await;
            end += 1;
            seen.read_to(&mut member, end).await;
            member.commit_sync().await.unwrap();
            assert_eq!(setup.committed().await, all_at(end));
            // Longer than metadata is believed: the second time, the client knows how it is.
            assert_eq!(seen.poll_for(&mut member, Duration::from_secs(15)).await, 0);
        }
    }
    member.close().await.unwrap();
}

/// Redpanda again: some topics have ids, and others have none yet. What a version by ids cannot say goes by names.
#[tokio::test(start_paused = true)]
async fn topics_with_and_without_ids_stand_in_one_request() {
    let setup = Setup::start().await;
    setup.cluster.create_topic(OTHER, PARTITIONS, NODES as i16).await.unwrap();
    setup.cluster.faults().inject(Fault::hide_topic_ids().on_topic(OTHER).always());
    let mut member = setup.consumer().build().unwrap();
    member.subscribe([TOPIC, OTHER]).unwrap();
    let mut seen = Seen::default();
    for end in 1..4 {
        setup.produce_to(TOPIC, 1).await;
        setup.produce_to(OTHER, 1).await;
        seen.read_topics_to(&mut member, &[TOPIC, OTHER], end).await;
        member.commit_sync().await.unwrap();
        let committed = setup.cluster.committed_offsets(GROUP).await.unwrap();
        assert_eq!(committed.len(), 2 * PARTITIONS as usize);
        assert!(committed.values().all(|committed| committed.offset == end), "{committed:?}");
    }
    member.close().await.unwrap();
}

/// A Kafka cluster of which one node has not been upgraded, and knows no topic ids.
#[tokio::test(start_paused = true)]
async fn a_node_that_knows_no_topic_ids_is_spoken_to_without() {
    let old = NodeId(0);
    let without_ids = [
        (ApiKey::Metadata, 9),
        (ApiKey::Fetch, 12),
        (ApiKey::Produce, 12),
        (ApiKey::OffsetCommit, 9),
        (ApiKey::OffsetFetch, 9),
    ];
    let half_upgraded = |mut cluster: ottla_broker::EmbeddedClusterBuilder| {
        for (api, max) in without_ids {
            cluster = cluster.node_api_versions(old, api, 1, max);
        }
        cluster
    };
    let setup = Setup::start_with(half_upgraded, |client| client.metadata_max_age(Duration::from_secs(10))).await;
    let (mut member, mut seen) = (setup.member(), Seen::default());
    let mut end = 0;
    for _ in 0..3 {
        for node in (0..NODES).map(NodeId) {
            setup.move_all_to(node).await;
            setup.produce(1).await;
            end += 1;
            seen.read_to(&mut member, end).await;
            member.commit_sync().await.unwrap();
            assert_eq!(setup.committed().await, all_at(end));
            assert_eq!(seen.poll_for(&mut member, Duration::from_secs(7)).await, 0);
        }
    }
    member.close().await.unwrap();
}
