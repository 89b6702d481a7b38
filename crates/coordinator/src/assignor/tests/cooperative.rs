//! No partition has two owners while a group rebalances cooperatively.

use std::collections::BTreeSet;

use super::random::{Shape, group, member, settled};
use super::{assign, assign_all, owned};
use crate::assignor::{CooperativeStickyAssignor, GroupMember, MemberAssignment, StickyAssignor, TopicPartition};

/// What a member owns by its subscription.
fn owned_by(member: &GroupMember) -> BTreeSet<TopicPartition> {
    owned(std::slice::from_ref(member))
}

fn total(assigned: &[MemberAssignment]) -> usize {
    assigned.iter().map(|member| member.partitions.len()).sum()
}

#[test]
fn what_moves_is_withheld_first_and_handed_out_by_the_second_rebalance() {
    let assignor = &CooperativeStickyAssignor;
    let mut withheld_once = 0;
    for seed in 0..2000 {
        let shape = Shape { equal: seed % 2 == 0, racks: seed % 3 == 0, claims: false };
        let (topics, members) = group(seed, shape);
        let before = assign_all(assignor, &topics, &members);
        let mut members = settled(assignor, &members, &before, 1);
        if seed % 4 < 2 && members.len() > 1 {
            members.remove(0);
        }
        members.push(member("m-new", topics.0.keys()));

        let first = assign(assignor, &topics, &members, &owned(&members));
        for (place, assigned) in first.iter().enumerate() {
            for partition in &assigned.partitions {
                let others = members.iter().enumerate().filter(|(other, _)| *other != place);
                let owner = others.map(|(_, other)| other).find(|other| owned_by(other).contains(partition));
                assert_eq!(owner.map(|owner| &owner.member_id), None, "seed {seed}: {partition} is still owned");
            }
        }
        let handed_out: BTreeSet<&TopicPartition> = first.iter().flat_map(|assigned| &assigned.partitions).collect();
        withheld_once += usize::from(owned(&members).iter().any(|partition| !handed_out.contains(partition)));

        // Those that lost something have given it up when they join again. Racks can make more partitions move then.
        let mut members = settled(assignor, &members, &first, 2);
        let most_rounds = if shape.racks { 5 } else { 1 };
        let everything = total(&assign_all(&StickyAssignor, &topics, &members));
        let settled_in = (1..=most_rounds).find(|round| {
            let assigned = assign(assignor, &topics, &members, &owned(&members));
            members = settled(assignor, &members, &assigned, round + 2);
            total(&assigned) == everything
        });
        assert!(settled_in.is_some(), "seed {seed}");
    }
    assert!(withheld_once > 500, "{withheld_once}");
}
