//! What must hold for every group, tried on random ones: each seed is a group, and its number stands in the message of
//! a failure.
//!
//! That the results are Java's is tested against Java's vectors, elsewhere.

mod cooperative;
mod examples;
mod hostile;
mod random;
mod sticky;

use std::collections::{BTreeMap, BTreeSet};

use random::{Shape, group};

use super::{Assignor, GroupMember, MemberAssignment, TopicPartition, Topics, built_in};

const NAMES: [&str; 4] = ["range", "roundrobin", "sticky", "cooperative-sticky"];

fn all_assignors() -> impl Iterator<Item = std::sync::Arc<dyn Assignor>> {
    NAMES.into_iter().map(|name| built_in(name).expect("it is built in"))
}

/// Assigns, and checks that each partition of a known topic with subscribers has gone to one of them, and to nobody
/// else. Those in `withheld` may have gone to nobody.
fn assign(
    assignor: &dyn Assignor,
    topics: &Topics,
    members: &[GroupMember],
    withheld: &BTreeSet<TopicPartition>,
) -> Vec<MemberAssignment> {
    let assigned = assignor.assign(topics, members).expect("it assigns");
    assert_eq!(assigned.len(), members.len());
    let subscribed: Vec<BTreeSet<&str>> =
        members.iter().map(|member| member.subscription.topics.iter().collect()).collect();
    let mut left: BTreeSet<TopicPartition> = BTreeSet::new();
    for (topic, partitions) in &topics.0 {
        if subscribed.iter().any(|topics| topics.contains(&**topic)) {
            left.extend((0..partitions.count).map(|partition| TopicPartition::new(topic.clone(), partition)));
        }
    }
    for (subscribed, assigned) in subscribed.iter().zip(&assigned) {
        for partition in &assigned.partitions {
            assert!(subscribed.contains(&*partition.topic), "{partition}: to a member that does not subscribe");
            assert!(left.remove(partition), "{partition}: it does not exist, or is assigned twice");
        }
    }
    assert!(left.is_subset(withheld), "to nobody: {:?}", left.difference(withheld).collect::<Vec<_>>());
    assigned
}

fn assign_all(assignor: &dyn Assignor, topics: &Topics, members: &[GroupMember]) -> Vec<MemberAssignment> {
    assign(assignor, topics, members, &BTreeSet::new())
}

/// What the members own by their subscriptions.
fn owned(members: &[GroupMember]) -> BTreeSet<TopicPartition> {
    let owned = members.iter().flat_map(|member| member.subscription.owned_partitions.partitions());
    owned.map(|(topic, partition)| TopicPartition::new(topic, partition)).collect()
}

fn counts(assigned: &[MemberAssignment]) -> Vec<usize> {
    assigned.iter().map(|member| member.partitions.len()).collect()
}

fn assert_within_one(counts: impl IntoIterator<Item = usize>, seed: u64) {
    let counts: Vec<usize> = counts.into_iter().collect();
    let (least, most) = (counts.iter().min(), counts.iter().max());
    assert!(least.zip(most).is_none_or(|(least, most)| most - least <= 1), "seed {seed}: {counts:?}");
}

#[test]
fn every_partition_goes_to_one_subscriber_whatever_members_claim() {
    for seed in 0..3000 {
        let (topics, members) = group(seed, Shape { racks: true, claims: true, ..Shape::default() });
        for assignor in all_assignors() {
            let may_withhold = assignor.name() == "cooperative-sticky";
            let withheld = if may_withhold { owned(&members) } else { BTreeSet::new() };
            assign(&*assignor, &topics, &members, &withheld);
        }
    }
}

#[test]
fn the_order_in_which_members_are_given_decides_nothing() {
    for seed in 0..1000 {
        let (topics, members) = group(seed, Shape { racks: true, claims: true, ..Shape::default() });
        let mut shuffled: Vec<usize> = (0..members.len()).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let others: Vec<GroupMember> = shuffled.iter().map(|place| members[*place].clone()).collect();
        for assignor in all_assignors() {
            let assigned = assignor.assign(&topics, &members).expect("it assigns");
            let again = assignor.assign(&topics, &others).expect("it assigns");
            for (place, again) in shuffled.iter().zip(&again) {
                assert_eq!(&assigned[*place], again, "seed {seed}: {}", assignor.name());
            }
        }
    }
}

#[test]
fn members_with_equal_subscriptions_get_as_many_within_one() {
    for seed in 0..1000 {
        let (topics, members) = group(seed, Shape { equal: true, racks: true, claims: true });
        for name in ["roundrobin", "sticky"] {
            let assignor = built_in(name).expect("it is built in");
            assert_within_one(counts(&assign_all(&*assignor, &topics, &members)), seed);
        }
    }
}

#[test]
fn range_gives_each_subscriber_as_many_of_a_topic_within_one() {
    let range = built_in("range").expect("it is built in");
    for seed in 0..1000 {
        let (topics, members) = group(seed, Shape { racks: true, ..Shape::default() });
        let assigned = assign_all(&*range, &topics, &members);
        for topic in topics.0.keys() {
            let of_topic = members.iter().zip(&assigned).filter_map(|(member, assigned)| {
                let subscribes = member.subscription.topics.iter().any(|name| name == &**topic);
                subscribes.then(|| assigned.partitions.iter().filter(|partition| partition.topic == *topic).count())
            });
            assert_within_one(of_topic, seed);
        }
    }
}

#[test]
fn no_members_are_assigned_nothing() {
    for assignor in all_assignors() {
        assert_eq!(assignor.assign(&Topics::default(), &[]).expect("it assigns"), []);
    }
}

#[test]
fn more_partitions_than_can_be_are_refused() {
    let topics = ["a", "b"].map(|name| (name.into(), super::TopicPartitions::new(i32::MAX)));
    let topics = Topics(BTreeMap::from(topics));
    let member = random::member("member", ["a", "b"]);
    for assignor in all_assignors() {
        assert!(assignor.assign(&topics, std::slice::from_ref(&member)).is_err(), "{}", assignor.name());
    }
}
