//! A group from its first member to its last.

use std::collections::BTreeMap;

use protocol_tests::verifiable::{assignment, partitions};

use crate::group::{Described, Group};
use crate::member::Client;
use crate::plan::Plan;
use crate::rules::{Shares, Strategy};
use crate::shared::Means;

/// How many records each partition gets once the group has settled.
const WHILE_SETTLED: usize = 4;

/// A group that has settled.
pub(crate) struct Settled {
    pub(crate) described: Described,
    /// The members' shares, by label.
    pub(crate) shares: Shares,
    /// How much each member had told by then.
    pub(crate) told: BTreeMap<String, usize>,
}

/// Runs a group through its plan.
///
/// # Panics
/// When something is not as it should be.
pub(crate) async fn walk(means: &Means, plan: Plan) {
    let mut group = Group::new(means, &plan.name(), plan.strategy).await;
    let label = |number: usize| format!("m{number}-{}", plan.joins[number].name());
    let mut settled = None;
    for (number, client) in plan.joins.iter().enumerate() {
        group.join(*client, label(number)).await;
        settled = Some(change(&group, settled, &label(0)).await);
    }
    let mut leader = label(0);
    let (last, others) = plan.leaves.split_last().expect("members leave");
    for leave in others {
        let leaving = label(leave.member);
        group.leave(&leaving, leave.signal, 1).await;
        // Who leads when the leader has gone is the coordinator's choice.
        let expected = if leader == leaving { "" } else { &leader };
        let now = change(&group, settled, expected).await;
        leader = label_of(&now.described.leader, &now.shares);
        settled = Some(now);
    }
    group.leave(&label(last.member), last.signal, 0).await;
    finish(group).await;
}

/// After somebody has come or gone: the group settles, and has moved no more than it had to.
async fn change(group: &Group, before: Option<Settled>, leader: &str) -> Settled {
    let settled = settle(group).await;
    assert!(settled.described.leader.starts_with(leader), "{leader} leads: {:?}", settled.described);
    if let Some(before) = before {
        let remembers = |label: &str| remembers(label, group.strategy);
        let flaw = group.strategy.needless_move(&before.shares, &settled.shares, remembers);
        assert_eq!(flaw, None, "{}", group.said());
        if group.strategy == Strategy::CooperativeSticky {
            check_kept(group, &before, &settled);
        }
    }
    read(group, &settled).await;
    settled
}

/// Whether a member tells the leader what it had. franz-go's member that revokes all before it joins (`sticky`) has forgotten
/// by then what that was.
fn remembers(label: &str, strategy: Strategy) -> bool {
    strategy != Strategy::Sticky || !label.ends_with(Client::Franz.name())
}

/// Waits, while records keep arriving, until members and coordinator agree on an assignment that is right.
pub(crate) async fn settle(group: &Group) -> Settled {
    let settled = group.until("the group has settled", async |group| {
        group.send(1).await;
        look(group).await
    });
    settled.await
}

/// The group if it has settled; otherwise what speaks against it.
async fn look(group: &Group) -> Result<Settled, String> {
    let told = group.told();
    let shares: Shares = told.iter().map(|(label, events)| (label.clone(), assignment(events))).collect();
    // The labels stand in the same order as the member ids that begin with them.
    if let Some(flaw) = group.strategy.flaw(&group.topics, &shares) {
        return Err(format!("as the members tell, {flaw}"));
    }
    let described = group.described().await.ok_or("the coordinator knows of no assignment")?;
    let by_label: Shares = described.shares.iter().map(|(id, share)| (label_of(id, &shares), share.clone())).collect();
    if by_label == shares {
        Ok(Settled { described, shares, told: told.into_iter().map(|(label, events)| (label, events.len())).collect() })
    } else {
        Err(format!("the coordinator says {described:?}, the members say {shares:?}"))
    }
}

fn label_of(member_id: &str, shares: &Shares) -> String {
    shares.keys().find(|label| member_id.starts_with(&***label)).map_or_else(|| member_id.to_owned(), Clone::clone)
}

/// Cooperative members keep what they keep: they are not even told of it.
fn check_kept(group: &Group, before: &Settled, now: &Settled) {
    for (label, share) in &now.shares {
        let (Some(had), Some(told)) = (before.shares.get(label), before.told.get(label)) else { continue };
        for event in group.members[label].events().split_off(*told) {
            if let "partitions_assigned" | "partitions_revoked" = event.name() {
                let kept = partitions(&event).find(|partition| had.contains(partition) && share.contains(partition));
                assert_eq!(kept, None, "{label} keeps this throughout: {}\n{}", event.line, group.said());
            }
        }
    }
}

/// All that was written is read, and what is written now is read once, by its owner; then all of it is committed.
async fn read(group: &Group, settled: &Settled) {
    group.until("what came while the group changed is read", all_read).await;
    let begins = group.acknowledged();
    group.send(WHILE_SETTLED).await;
    group.until("what came since is read", all_read).await;
    group.until("all that was read is committed", all_committed).await;
    let (readings, ends) = (group.readings(), group.acknowledged());
    for (partition, begin) in begins {
        let owner = settled.shares.iter().find(|(_, share)| share.contains(&partition)).map(|(label, _)| label.clone());
        for offset in begin..ends[&partition] {
            let readers = readings.readers(&partition, offset);
            assert_eq!(readers, owner.as_slice(), "{partition} at {offset}\n{}", group.said());
        }
    }
    let now = group.described().await.expect("it is settled");
    assert_eq!(now, settled.described, "nothing has happened to the group since\n{}", group.said());
}

pub(crate) async fn all_read(group: &Group) -> Result<(), String> {
    let readings = group.readings();
    match group.acknowledged().iter().find_map(|(one, end)| Some((one, readings.unread(one, 0..*end)?))) {
        Some((partition, offset)) => Err(format!("nobody has read {partition} at {offset}")),
        None => Ok(()),
    }
}

async fn all_committed(group: &Group) -> Result<(), String> {
    let uncommitted = group.uncommitted().await;
    if uncommitted.is_empty() { Ok(()) } else { Err(format!("not committed to the end: {uncommitted:?}")) }
}

/// When the last member has gone: nothing is left to read, and nothing was read that was not written.
async fn finish(group: Group) {
    assert_eq!(all_read(&group).await, Ok(()), "{}", group.said());
    assert_eq!(all_committed(&group).await, Ok(()), "{}", group.said());
    assert_eq!(group.readings().ends(), group.acknowledged(), "{}", group.said());
    group.close().await;
}
