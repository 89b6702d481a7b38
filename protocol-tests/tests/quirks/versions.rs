//! Sets of versions that no release of Kafka has.

use ottla_broker::EmbeddedClusterBuilder;
use ottla_wire::ApiKey;

use crate::setup::{Setup, live_through};

async fn live_with(versions: &[(ApiKey, i16, i16)]) {
    let capped = |cluster: EmbeddedClusterBuilder| {
        versions.iter().fold(cluster, |cluster, (api, min, max)| cluster.api_versions(*api, *min, *max))
    };
    live_through(&Setup::start_with(capped, |client| client).await).await;
}

/// Azure Event Hubs: old ones of what brings records, new ones of what concerns groups.
#[tokio::test(start_paused = true)]
async fn a_group_lives_with_the_versions_of_event_hubs() {
    live_with(&[
        (ApiKey::Produce, 3, 7),
        (ApiKey::Fetch, 4, 6),
        (ApiKey::ListOffsets, 0, 7),
        (ApiKey::Metadata, 0, 5),
        (ApiKey::OffsetCommit, 0, 8),
        (ApiKey::OffsetFetch, 0, 8),
        (ApiKey::FindCoordinator, 0, 3),
        (ApiKey::JoinGroup, 0, 7),
        (ApiKey::Heartbeat, 0, 4),
        (ApiKey::LeaveGroup, 0, 4),
        (ApiKey::SyncGroup, 0, 5),
        (ApiKey::ApiVersions, 0, 3),
    ])
    .await;
}

/// Azure Event Hubs, and proxies (franz-go #1312): all versions of what goes by topic ids, and none of Metadata that tells them.
#[tokio::test(start_paused = true)]
async fn versions_that_go_by_topic_ids_are_not_used_where_nobody_tells_any() {
    live_with(&[(ApiKey::Metadata, 0, 9)]).await;
}

/// Redpanda, and Kafka before 3.0: a coordinator is asked for one group at a time.
#[tokio::test(start_paused = true)]
async fn coordinators_are_found_one_at_a_time_where_versions_are_old() {
    for max in [3, 2, 0] {
        live_with(&[(ApiKey::FindCoordinator, 0, max)]).await;
    }
}

/// Kafka 2.1, the oldest that is promised: static members, member ids before joining and reasons are all later.
#[tokio::test(start_paused = true)]
async fn a_group_lives_with_the_versions_of_kafka_2_1() {
    live_with(&[
        (ApiKey::Produce, 0, 7),
        (ApiKey::Fetch, 0, 10),
        (ApiKey::ListOffsets, 0, 4),
        (ApiKey::Metadata, 0, 7),
        (ApiKey::OffsetCommit, 0, 6),
        (ApiKey::OffsetFetch, 0, 5),
        (ApiKey::FindCoordinator, 0, 2),
        (ApiKey::JoinGroup, 0, 3),
        (ApiKey::Heartbeat, 0, 2),
        (ApiKey::LeaveGroup, 0, 2),
        (ApiKey::SyncGroup, 0, 2),
        (ApiKey::ApiVersions, 0, 2),
    ])
    .await;
}
