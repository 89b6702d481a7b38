//! Leader epochs of -1.

use ottla::NodeId;
use ottla_broker::Fault;

use crate::setup::{GROUP, Seen, Setup, all_at, live_through};

/// Azure Event Hubs speaks versions that have leader epochs, and says -1 for all of them.
#[tokio::test(start_paused = true)]
async fn a_group_lives_without_leader_epochs() {
    let setup = Setup::start().await;
    setup.cluster.faults().inject(Fault::hide_leader_epochs().always());
    live_through(&setup).await;
    let committed = setup.cluster.committed_offsets(GROUP).await.unwrap();
    assert!(committed.values().all(|committed| committed.leader_epoch.is_none()), "{committed:?}");
}

/// The same behind a proxy, or while a cluster is being replaced: what is known of epochs is not compared with -1.
#[tokio::test(start_paused = true)]
async fn leaders_are_followed_where_epochs_vanish_and_come_back() {
    let setup = Setup::start().await;
    let (mut member, mut seen) = (setup.member(), Seen::default());
    let mut end = 0;
    for is_hidden in [false, true, false, true] {
        if is_hidden {
            setup.cluster.faults().inject(Fault::hide_leader_epochs().always());
        } else {
            setup.cluster.faults().clear();
        }
        // Each node in turn, so that each change of leader is one of epoch, too.
        for node in (0..3).map(NodeId) {
            setup.move_all_to(node).await;
            setup.produce(1).await;
            end += 1;
            seen.read_to(&mut member, end).await;
            member.commit_sync().await.unwrap();
            assert_eq!(setup.committed().await, all_at(end));
        }
    }
    member.close().await.unwrap();
}
