//! Static members (KIP-345): they come back to their partitions, or are fenced by whoever took their place.

use std::time::Duration;

use ottla_consumer::{Error, GroupError};
use ottla_wire::ApiKey;

use crate::group::{HEARTBEAT, Polled, SESSION, eventually, join_alone, owned, pair};
use crate::setup::{LONG, Setup};

#[tokio::test(start_paused = true)]
async fn a_static_member_that_comes_back_in_time_finds_its_partitions_without_a_rebalance() {
    let setup = Setup::start(1, 4).await;
    for index in 0..4 {
        setup.append(index, 3).await;
    }
    let one = || setup.member().group_instance_id("one");
    let [first, other] = pair(&setup, one(), setup.member().group_instance_id("two"), 4).await;
    let (ours, generation) = (owned(&first), other.group_metadata().unwrap().generation_id);
    let other = Polled::start(other);
    first.close().await.unwrap();
    assert_eq!(setup.requests(ApiKey::LeaveGroup), 0, "closing leaves it in the group");
    assert_eq!(setup.group().await.members.len(), 2);
    tokio::time::sleep(SESSION / 2).await;

    let joins = setup.requests(ApiKey::JoinGroup);
    let mut first = one().build().unwrap();
    join_alone(&mut first, 2).await;
    assert_eq!(owned(&first), ours);
    assert_eq!(first.group_metadata().unwrap().generation_id, generation);
    tokio::time::sleep(SESSION).await;
    assert_eq!(setup.requests(ApiKey::JoinGroup), joins + 1, "nobody else had to join again");
    assert_eq!(other.handle.group_metadata().unwrap().generation_id, generation);

    first.close().await.unwrap();
    eventually(async || owned(&other.handle).len() == 4).await;
    assert_eq!(setup.group().await.members.len(), 1, "once its session is over its partitions are given to others");
}

#[tokio::test(start_paused = true)]
async fn a_fenced_static_member_is_told_so_at_each_poll() {
    let setup = Setup::start(1, 2).await;
    setup.append(0, 3).await;
    let build = || setup.member().group_instance_id("one").build().unwrap();
    let mut first = build();
    join_alone(&mut first, 2).await;
    let mut second = build();
    join_alone(&mut second, 2).await;
    tokio::time::sleep(HEARTBEAT * 2).await;
    for _ in 0..3 {
        let error = first.poll(Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(&error, Error::Group(GroupError::FencedInstanceId { .. })), "{error}");
        assert!(error.is_fatal() && !error.is_retriable());
        assert_eq!(error.to_string(), "another consumer has joined group group as one");
    }
    assert!(owned(&first).is_empty());
    first.close().await.unwrap();
    assert_eq!(owned(&second), [0, 1]);
    setup.append(0, 2).await;
    assert!(!second.poll(LONG).await.unwrap().is_empty(), "the one that took over goes on");
    assert_eq!(setup.group().await.members.len(), 1);
}
