//! Leaders that are none.

use std::time::Duration;

use ottla_wire::ApiKey;

use crate::setup::{Seen, Setup, all_at};

/// WarpStream: any agent serves any partition, and each answer to Metadata may name another.
#[tokio::test(start_paused = true)]
async fn leaders_that_differ_each_time_are_followed_without_asking_more_often() {
    let setup = Setup::start_with(
        |cluster| cluster.leaders_take_turns(true),
        |client| client.metadata_max_age(Duration::from_mins(1)),
    )
    .await;
    let (mut member, mut seen) = (setup.member(), Seen::default());
    setup.produce(1).await;
    seen.read_to(&mut member, 1).await;
    let before = setup.requests(ApiKey::Metadata);
    for end in 2..=31 {
        setup.produce(1).await;
        seen.read_to(&mut member, end).await;
        member.commit_sync().await.unwrap();
        assert_eq!(setup.committed().await, all_at(end));
        assert_eq!(seen.poll_for(&mut member, Duration::from_mins(1)).await, 0);
    }
    let asked = setup.requests(ApiKey::Metadata) - before;
    assert!(asked <= 35, "once a minute, and hardly more: {asked} times in half an hour");
    member.close().await.unwrap();
}
