//! Who stays keeps what they had, as far as the balance allows.

use std::collections::{BTreeMap, BTreeSet};

use super::random::{Shape, group, member, settled};
use super::{assign_all, counts};
use crate::assignor::{GroupMember, MemberAssignment, StickyAssignor, TopicPartition, Topics};

fn partitions(assigned: &MemberAssignment) -> BTreeSet<&TopicPartition> {
    assigned.partitions.iter().collect()
}

/// How many partitions went from one member to another: both are in both assignments, by their places.
fn moved(before: &[MemberAssignment], after: &[MemberAssignment]) -> usize {
    let moved =
        before.iter().zip(after).map(|(before, after)| partitions(before).difference(&partitions(after)).count());
    moved.sum()
}

#[test]
fn nothing_moves_where_nothing_changed() {
    for seed in 0..2000 {
        let (topics, members) = group(seed, Shape { equal: seed % 2 == 0, ..Shape::default() });
        let before = assign_all(&StickyAssignor, &topics, &members);
        let after = assign_all(&StickyAssignor, &topics, &settled(&StickyAssignor, &members, &before, 1));
        assert_eq!(moved(&before, &after), 0, "seed {seed}");
    }
}

#[test]
fn with_equal_subscriptions_only_what_a_member_had_moves_when_it_leaves() {
    for seed in 0..1000 {
        let (topics, members) = group(seed, Shape { equal: true, ..Shape::default() });
        let before = assign_all(&StickyAssignor, &topics, &members);
        let left = seed as usize % members.len();
        let mut members = settled(&StickyAssignor, &members, &before, 1);
        members.remove(left);
        let mut before = before;
        before.remove(left);
        let after = assign_all(&StickyAssignor, &topics, &members);
        assert_eq!(moved(&before, &after), 0, "seed {seed}");
    }
}

#[test]
fn with_equal_subscriptions_only_what_it_gets_moves_when_a_member_joins() {
    for seed in 0..1000 {
        let (topics, members) = group(seed, Shape { equal: true, ..Shape::default() });
        let before = assign_all(&StickyAssignor, &topics, &members);
        let mut members = settled(&StickyAssignor, &members, &before, 1);
        members.push(member("m-new", members[0].subscription.topics.iter().collect::<Vec<_>>()));
        let after = assign_all(&StickyAssignor, &topics, &members);
        let joined = &after[after.len() - 1];
        assert_eq!(moved(&before, &after), joined.partitions.len(), "seed {seed}");
    }
}

/// Whether no partition would make two members more even by moving.
fn cannot_be_more_even(members: &[GroupMember], assigned: &[MemberAssignment]) -> bool {
    let counts = counts(assigned);
    assigned.iter().zip(&counts).all(|(assigned, count)| {
        let topics: BTreeSet<&str> = assigned.partitions.iter().map(|partition| &*partition.topic).collect();
        members.iter().zip(&counts).all(|(other, other_count)| {
            *count <= other_count + 1 || !other.subscription.topics.iter().any(|topic| topics.contains(topic))
        })
    })
}

#[test]
fn with_different_subscriptions_no_move_makes_the_first_assignment_more_even() {
    for seed in 0..2000 {
        let (topics, members) = group(seed, Shape::default());
        let assigned = assign_all(&StickyAssignor, &topics, &members);
        assert!(cannot_be_more_even(&members, &assigned), "seed {seed}: {:?}", counts(&assigned));
    }
}

#[test]
fn with_different_subscriptions_no_two_members_swap_partitions_of_a_topic() {
    for seed in 0..2000 {
        let (topics, members) = group(seed, Shape::default());
        let before = assign_all(&StickyAssignor, &topics, &members);
        let mut members = settled(&StickyAssignor, &members, &before, 1);
        let mut before = before;
        if seed % 2 == 0 {
            before.remove(0);
            members.remove(0);
        } else {
            members.push(member("m-new", topics.0.keys()));
        }
        let after = assign_all(&StickyAssignor, &topics, &members);
        let owners: BTreeMap<&TopicPartition, usize> = by_owner(&before);
        let moves: BTreeSet<(&str, usize, usize)> = by_owner(&after)
            .into_iter()
            .filter_map(|(partition, to)| Some((&*partition.topic, *owners.get(partition)?, to)))
            .filter(|(_, from, to)| from != to)
            .collect();
        let swapped = moves.iter().find(|(topic, from, to)| moves.contains(&(*topic, *to, *from)));
        assert_eq!(swapped, None, "seed {seed}");
    }
}

fn by_owner(assigned: &[MemberAssignment]) -> BTreeMap<&TopicPartition, usize> {
    let owned = assigned
        .iter()
        .enumerate()
        .flat_map(|(owner, assigned)| assigned.partitions.iter().map(move |partition| (partition, owner)));
    owned.collect()
}

#[test]
fn a_claim_of_a_newer_generation_wins() {
    let topics = Topics([("t".into(), crate::assignor::TopicPartitions::new(4))].into());
    let had = |partitions: &[i32]| {
        MemberAssignment::new(partitions.iter().map(|partition| TopicPartition::new("t", *partition)).collect())
    };
    let fresh = [member("a", ["t"]), member("b", ["t"])];
    let older = settled(&StickyAssignor, &fresh[..1], &[had(&[0, 1])], 4);
    let newer = settled(&StickyAssignor, &fresh[1..], &[had(&[1, 2])], 5);
    let assigned = assign_all(&StickyAssignor, &topics, &[older[0].clone(), newer[0].clone()]);
    assert_eq!(assigned, [had(&[0, 3]), had(&[1, 2])]);
}
