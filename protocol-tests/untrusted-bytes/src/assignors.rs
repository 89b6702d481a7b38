//! What a group's leader makes of the subscriptions of its members, which the broker passes on unread.
//!
//! An input is one byte that chooses the assignor, one that chooses how many partitions topics have, and members: each
//! the length of its subscription in two bytes, and the subscription.
//!
//! - No assignor panics or takes more memory than what it was given allows for.
//! - Every partition of a known topic that somebody subscribes to goes to exactly one member, and that one subscribes to
//!   it; one may be withheld only by the cooperative assignor, and only where some member says that it owns it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinator::assignor::{
    Assignor, GroupMember, MemberAssignment, RebalanceProtocol, TopicPartitions, Topics, built_in,
};
use ottla_wire::TopicPartition;
use ottla_wire::consumer_protocol::Subscription;

const NAMES: [&str; 4] = ["range", "roundrobin", "sticky", "cooperative-sticky"];
/// More members than this teach nothing.
const MAX_MEMBERS: usize = 32;

/// Checks an input.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let [kind, counts, rest @ ..] = input else { return };
    let Some(assignor) = NAMES.get(usize::from(*kind) % NAMES.len()).and_then(|name| built_in(name)) else { return };
    let members = members(rest);
    let topics = topics(&members, *counts);
    let partitions: usize = topics.0.values().map(|topic| topic.count as usize).sum();

    let (assigned, allocated) = allocation_counter::measure(|| assignor.assign(&topics, &members));
    let bound = FLOOR_BYTES + BYTES_PER_BYTE * input.len() + BYTES_PER_PLACE * members.len() * partitions;
    assert!(allocated.peak_bytes <= bound, "{} bytes: {} taken, over {bound}", input.len(), allocated.peak_bytes);
    if let Ok(assigned) = assigned {
        check_assignment(&*assignor, &topics, &members, &assigned);
    }
}

/// The input of members with these subscriptions.
pub fn input<'s>(kind: u8, counts: u8, subscriptions: impl IntoIterator<Item = &'s [u8]>) -> Vec<u8> {
    let mut input = vec![kind, counts];
    for subscription in subscriptions {
        let length = u16::try_from(subscription.len()).unwrap_or(u16::MAX);
        input.extend_from_slice(&length.to_be_bytes());
        input.extend_from_slice(subscription.get(..usize::from(length)).unwrap_or_default());
    }
    input
}

fn members(mut rest: &[u8]) -> Vec<GroupMember> {
    let mut members = Vec::new();
    while let Some((length, bytes)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(bytes.len());
        let (subscription, behind) = bytes.split_at(length);
        rest = behind;
        // A member whose subscription does not decode is told of before anything is assigned.
        if let Ok(subscription) = Subscription::decode(Bytes::copy_from_slice(subscription)) {
            let instance = members.len().is_multiple_of(3).then(|| format!("instance-{}", members.len()));
            members.push(GroupMember::new(format!("member-{}", members.len()), instance, subscription));
        }
        if members.len() == MAX_MEMBERS {
            break;
        }
    }
    members
}

/// Up to seven partitions a topic; some topics are not known.
fn topics(members: &[GroupMember], counts: u8) -> Topics {
    let names: BTreeSet<&str> = members.iter().flat_map(|member| member.subscription.topics.iter()).collect();
    let known = names.into_iter().enumerate().filter_map(|(index, name)| {
        let count = (usize::from(counts) + index) % 8;
        (count > 0).then(|| (Arc::from(name), TopicPartitions::new(count as i32)))
    });
    Topics(known.collect())
}

fn check_assignment(assignor: &dyn Assignor, topics: &Topics, members: &[GroupMember], assigned: &[MemberAssignment]) {
    assert_eq!(assigned.len(), members.len(), "one result for each member");
    let mut owner: BTreeMap<&TopicPartition, &str> = BTreeMap::new();
    for (member, assignment) in members.iter().zip(assigned) {
        let subscribed: BTreeSet<&str> = member.subscription.topics.iter().collect();
        for partition in &assignment.partitions {
            assert!(subscribed.contains(&*partition.topic), "{} gets {partition} unasked", member.member_id);
            let count = topics.0.get(&partition.topic).map_or(0, |topic| topic.count);
            assert!((0..count).contains(&partition.partition), "there is no {partition}");
            let other = owner.insert(partition, &member.member_id);
            assert!(other.is_none(), "{partition} goes to {other:?} and to {}", member.member_id);
        }
    }
    let claimed: BTreeSet<(&str, i32)> =
        members.iter().flat_map(|member| member.subscription.owned_partitions.partitions()).collect();
    for (name, topic) in &topics.0 {
        for index in 0..topic.count {
            let partition = TopicPartition::new(Arc::clone(name), index);
            let may_be_withheld =
                assignor.rebalance_protocol() == RebalanceProtocol::Cooperative && claimed.contains(&(&**name, index));
            assert!(owner.contains_key(&partition) || may_be_withheld, "{partition} goes to nobody");
        }
    }
}

const FLOOR_BYTES: usize = 64 * 1024;
/// Claims are taken apart into structures: some hundred bytes for a claimed partition, which takes four on the wire.
const BYTES_PER_BYTE: usize = 100;
/// The general case looks at who could have which partition.
const BYTES_PER_PLACE: usize = 128;
