//! Random groups, and what becomes of a group's members once they have been assigned.

use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::GenerationId;
use ottla_wire::consumer_protocol::Subscription;

use super::super::{Assignor, GroupMember, LastAssignment, MemberAssignment, TopicPartitions, Topics};

/// What there is in a random group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// All members subscribe to the same topics.
    pub(super) equal: bool,
    pub(super) racks: bool,
    /// Members claim partitions: existing ones and others, some of them together.
    pub(super) claims: bool,
}

const RACKS: [&str; 4] = ["r1", "r2", "r3", ""];

/// The group of a seed.
pub(super) fn group(seed: u64, shape: Shape) -> (Topics, Vec<GroupMember>) {
    let random = &mut fastrand::Rng::with_seed(seed);
    let names: Vec<String> = (0..random.usize(1..6)).map(|topic| format!("topic-{topic}")).collect();
    let mut topics = Topics::default();
    for name in &names {
        // Some topics are not known to the cluster, and some have no partitions.
        if random.u8(..8) > 0 {
            topics.0.insert(name.as_str().into(), partitions(random, shape.racks));
        }
    }
    let common: Vec<&String> = names.iter().filter(|_| random.u8(..4) > 0).collect();
    let mut members = Vec::new();
    for index in 0..random.usize(1..10) {
        let own: Vec<&String> = names.iter().filter(|_| random.bool()).collect();
        let mut member = member(format!("m-{:02}", (index * 7) % 10), if shape.equal { &common } else { &own });
        if random.u8(..4) == 0 {
            member.group_instance_id = Some(format!("i-{}", 9 - index));
        }
        if shape.racks && random.u8(..5) > 0 {
            member.subscription.rack_id = random.choice(RACKS).map(str::to_owned);
        }
        if shape.claims {
            claim(random, &mut member, &names);
        }
        members.push(member);
    }
    (topics, members)
}

fn partitions(random: &mut fastrand::Rng, racks: bool) -> TopicPartitions {
    let count = random.i32(0..12);
    let partitions = TopicPartitions::new(count);
    if !racks {
        return partitions;
    }
    // Not every partition's racks are known.
    let known = random.i32(0..=count);
    let of_partition = |_| RACKS.iter().filter(|_| random.bool()).map(|rack| Arc::from(*rack)).collect();
    partitions.racks((0..known).map(of_partition).collect())
}

fn claim(random: &mut fastrand::Rng, member: &mut GroupMember, names: &[String]) {
    let generation_id = GenerationId(random.i32(-2..4));
    let claims: Vec<(&str, i32)> = (0..random.usize(..12))
        .map(|_| {
            let topic = random.choice(names).map_or("nowhere", |name| name.as_str());
            (if random.u8(..20) == 0 { "nowhere" } else { topic }, random.i32(-1..14))
        })
        .collect();
    member.subscription.owned_partitions = claims.iter().copied().collect();
    member.subscription.generation_id = if random.bool() { generation_id } else { GenerationId::NONE };
    let user_data = ottla_wire::consumer_protocol::StickyUserData {
        partitions: claims.into_iter().collect(),
        generation_id: random.bool().then_some(generation_id),
    };
    let user_data = user_data.encode().expect("its topics are short");
    let length = if random.u8(..4) == 0 { random.usize(..=user_data.len()) } else { user_data.len() };
    member.subscription.user_data = Some(user_data.slice(..length));
}

/// A member that subscribes to these topics, and has nothing.
pub(super) fn member<T: AsRef<str>>(id: impl Into<String>, topics: impl IntoIterator<Item = T>) -> GroupMember {
    let topics = topics.into_iter().collect();
    GroupMember::new(id, None, Subscription { topics, ..Subscription::default() })
}

/// The members as they join again, with what they were assigned in that generation.
pub(super) fn settled(
    assignor: &dyn Assignor,
    members: &[GroupMember],
    assigned: &[MemberAssignment],
    generation: i32,
) -> Vec<GroupMember> {
    let settle = |(member, assigned): (&GroupMember, &MemberAssignment)| {
        let last = LastAssignment::new(assigned.partitions.clone(), GenerationId(generation));
        let mut member = member.clone();
        member.subscription.user_data = assignor.user_data(&last);
        member.subscription.generation_id = last.generation_id;
        member.subscription.owned_partitions =
            last.partitions.iter().map(|partition| (&*partition.topic, partition.partition)).collect();
        member
    };
    members.iter().zip(assigned).map(settle).collect()
}

/// Bytes that mean nothing.
pub(super) fn noise(random: &mut fastrand::Rng) -> Bytes {
    (0..random.usize(..60)).map(|_| random.u8(..8)).collect::<Vec<u8>>().into()
}
