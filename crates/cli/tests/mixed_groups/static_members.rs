//! Static members (KIP-345), killed and started again: each comes back to what it had, and nobody else hears of it.
//!
//! Ours leads. A leader of franz-go's assigns anew when it is back, without knowing who owns what, and has the group rebalance
//! where the result is another.

use protocol_tests::kafka::Signal;

use crate::group::Group;
use crate::member::Client;
use crate::rules::Strategy;
use crate::shared::Means;
use crate::walk::{all_read, settle};

/// Every client with every assignor, or with one.
pub(crate) fn groups() -> Vec<(Client, Strategy)> {
    let strategies = |other: Client| -> &[Strategy] {
        if crate::plan::is_every_order() { other.strategies() } else { &[Strategy::CooperativeSticky] }
    };
    let others = [Client::Java, Client::Librdkafka, Client::Franz].into_iter();
    others.flat_map(|other| strategies(other).iter().map(move |strategy| (other, *strategy))).collect()
}

pub(crate) fn name(other: Client, strategy: Strategy) -> String {
    format!("{}::{}::static_members_come_back_to_what_they_had", other.name(), strategy.name())
}

/// Runs such a group.
///
/// # Panics
/// When something is not as it should be.
pub(crate) async fn come_back(means: &Means, other: Client, strategy: Strategy) {
    let mut group = Group::new(means, &name(other, strategy), strategy).await.of_static_members();
    let members = [(Client::Ours, "m0-ours"), (other, "m1-theirs")];
    for (client, label) in members {
        group.join(client, label.to_owned()).await;
    }
    let before = settle(&group).await;
    group.until("all is read", all_read).await;
    for [(client, label), (_, other)] in [members, [members[1], members[0]]] {
        let heard = group.members[other].events().len();
        group.leave(label, Signal::Kill, 2).await;
        group.join(client, label.to_owned()).await;
        let after = settle(&group).await;
        assert_eq!(after.shares, before.shares, "{label} is back\n{}", group.said());
        assert_eq!(after.described.generation, before.described.generation, "without a rebalance\n{}", group.said());
        group.until("all is read", all_read).await;
        let mut since = group.members[other].events().split_off(heard).into_iter();
        let changed = since.find(|event| event.name().starts_with("partitions_"));
        assert!(changed.is_none(), "{other} has heard of {label}: {changed:?}");
    }
    group.close().await;
}
