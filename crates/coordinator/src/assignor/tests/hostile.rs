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

/// Each member shares a topic with the next one only, and the first had everything that it could: the balance has to travel
/// along the chain.
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

#[test]
fn tmp_times() {
    let time = |name: &str, topics: &Topics, members: &[GroupMember]| {
        for assignor in all_assignors() {
            #[allow(clippy::disallowed_methods)]
            let start = std::time::Instant::now();
            let r = assignor.assign(topics, members).unwrap();
            let c: Vec<usize> = super::counts(&r);
            println!("{name} {}: {:?} {:?}..{:?}", assignor.name(), start.elapsed(), c.iter().min(), c.iter().max());
        }
    };
    for (count, partitions) in [(300, 100), (1000, 20), (1000, 200)] {
        let topics = topics(count + 1, partitions);
        for forward in [true, false] {
            let mut members: Vec<GroupMember> = (0..count)
                .map(|index| {
                    member(
                        format!("m-{:04}", if forward { index } else { count - index }),
                        [format!("t-{index:04}"), format!("t-{:04}", index + 1)],
                    )
                })
                .collect();
            let topics = Topics(
                topics
                    .0
                    .iter()
                    .map(|(k, v)| (Arc::from(format!("t-{:04}", k[2..].parse::<usize>().unwrap())), v.clone()))
                    .collect(),
            );
            for (index, member) in members.iter_mut().enumerate().skip(count / 2) {
                let everything = (0..partitions)
                    .flat_map(|partition| [0, 1].map(|next| (format!("t-{:04}", index + next), partition)));
                claims(member, index as i32, everything.collect());
            }
            time(&format!("chain {count} {partitions} {forward}"), &topics, &members);
        }
    }
    let topics = topics(2000, 50);
    let random = &mut fastrand::Rng::with_seed(1);
    let mut members: Vec<GroupMember> = (0..2000)
        .map(|index| {
            let t: Vec<String> = (0..5).map(|_| format!("t-{}", random.usize(..2000))).collect();
            let mut m = member(format!("m-{index}"), &t);
            if index < 300 {
                claims(&mut m, index as i32, t.iter().flat_map(|t| (0..50).map(move |p| (t.clone(), p))).collect());
            }
            m
        })
        .collect();
    time("sparse", &topics, &members);
    for (index, m) in members.iter_mut().enumerate() {
        m.subscription.rack_id = Some(format!("r{}", index % 500));
    }
    time("sparse", &topics, &members);
    let all: Vec<GroupMember> = (0..2000)
        .map(|index| {
            let mut m = member(format!("m-{index}"), topics.0.keys().skip(index % 2));
            if index < 300 {
                claims(
                    &mut m,
                    index as i32,
                    topics.0.keys().skip(1).flat_map(|t| (0..50).map(move |p| (t.clone(), p))).collect(),
                );
            }
            m
        })
        .collect();
    time("dense", &topics, &all);
}
