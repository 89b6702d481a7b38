//! What other members send is anything: it never panics, and takes no longer than its size warrants.

use std::sync::Arc;

use ottla_wire::GenerationId;
use ottla_wire::consumer_protocol::{PartitionsByTopic, StickyUserData};

use super::random::{Shape, group, member, noise};
use super::{all_assignors, assign, assign_all, owned};
use crate::assignor::{GroupMember, StickyAssignor, TopicPartitions, Topics};

fn topics(count: usize, partitions: i32) -> Topics {
    let topic = |index| (Arc::from(format!("t-{index}")), TopicPartitions::new(partitions));
    Topics((0..count).map(topic).collect())
}

fn claims(member: &mut GroupMember, generation: i32, partitions: PartitionsByTopic) {
    let generation_id = GenerationId(generation);
    member.subscription.owned_partitions = partitions.clone();
    member.subscription.generation_id = generation_id;
    let user_data = StickyUserData { partitions, generation_id: Some(generation_id) };
    member.subscription.user_data = Some(user_data.encode().expect("its topics are short"));
}

#[test]
fn user_data_that_means_nothing_is_no_claim() {
    for seed in 0..2000 {
        let (topics, mut members) = group(seed, Shape { claims: true, ..Shape::default() });
        let random = &mut fastrand::Rng::with_seed(seed);
        for member in &mut members {
            member.subscription.user_data = Some(noise(random));
        }
        for assignor in all_assignors() {
            assign(&*assignor, &topics, &members, &owned(&members));
        }
    }
}

#[test]
fn members_that_share_an_id_are_members_each() {
    let topics = topics(3, 5);
    let members: Vec<GroupMember> = (0..4).map(|_| member("same", topics.0.keys())).collect();
    for assignor in all_assignors() {
        assign_all(&*assignor, &topics, &members);
    }
}

#[test]
fn claims_by_the_hundred_thousand_come_to_nothing_but_what_exists() {
    let topics = topics(10, 20);
    let mut members: Vec<GroupMember> = (0..20).map(|index| member(format!("m-{index}"), topics.0.keys())).collect();
    let extremes = [i32::MIN, -1, 0, 0, 19, 20, i32::MAX];
    for (index, member) in members.iter_mut().enumerate().take(4) {
        let many = (0..300_000).map(|claim| (format!("t-{}", claim % 12), claim / 12));
        let some = extremes.iter().map(|claim| ("t-1".to_owned(), *claim));
        let partitions = if index == 0 { many.collect() } else { some.collect() };
        claims(member, index as i32, partitions);
    }
    for assignor in all_assignors() {
        assign(&*assignor, &topics, &members, &owned(&members));
    }
}

/// Each member shares a topic with the next one only, and the first had everything that it could: the balance has to
/// travel along the chain.
#[test]
fn a_chain_of_members_is_balanced_in_the_end() {
    let count = 200;
    let topics = topics(count + 1, 20);
    let mut members: Vec<GroupMember> = (0..count)
        .map(|index| member(format!("m-{index:04}"), [format!("t-{index}"), format!("t-{}", index + 1)]))
        .collect();
    for (index, member) in members.iter_mut().enumerate().skip(100) {
        let everything = (0..20).flat_map(|partition| [0, 1].map(|next| (format!("t-{}", index + next), partition)));
        claims(member, index as i32, everything.collect());
    }
    let assigned = assign_all(&StickyAssignor, &topics, &members);
    let counts = super::counts(&assigned);
    let steps = counts.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
    assert!(steps <= Some(1), "{counts:?}");
}

#[test]
fn thousands_of_topics_of_a_partition_each_are_assigned() {
    let topics = topics(2000, 1);
    let members: Vec<GroupMember> = (0..100)
        .map(|index| {
            let mut member = member(format!("m-{index}"), topics.0.keys().skip(index % 3));
            member.subscription.rack_id = Some(format!("rack-{index}"));
            member
        })
        .collect();
    for assignor in all_assignors() {
        assign_all(&*assignor, &topics, &members);
    }
}
