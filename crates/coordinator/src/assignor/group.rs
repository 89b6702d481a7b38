//! The group in numbers: members, topics and partitions as indexes into vectors, so that the algorithms compare and
//! look up integers. Names are interned once, here, and come back when the result is put together.
//!
//! Members stand in the order that the assignor wants, topics in the order of their names, and the partitions of all
//! topics are numbered through: topic by topic, by index. Only topics that the cluster knows and that some member
//! subscribes to have partitions here. A name that a member subscribes to twice counts once.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use ottla_wire::TopicPartition;
use ottla_wire::consumer_protocol::TopicNames;

use super::utf16::by_utf16;
use super::{GroupMember, MemberAssignment, Topics};

/// Stands for no member where a partition's member is kept.
pub(super) const NOBODY: u32 = u32::MAX;

/// More partitions than this are no group's: far above what a cluster can have, and low enough for 32-bit numbers.
const MOST_PARTITIONS: u64 = 1 << 26;

/// More partitions than can be assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the group subscribes to {0} partitions, more than can be assigned ({MOST_PARTITIONS})")]
pub(super) struct TooManyPartitions(u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) members: Vec<Member<'a>>,
    pub(super) topics: Vec<Topic<'a>>,
    /// The topic of each partition.
    topic_of: Vec<u32>,
    /// Only looked up, never iterated.
    places: HashMap<&'a str, u32>,
}

#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) given: &'a GroupMember,
    /// Where it stands in the slice that was given.
    place: usize,
    /// The known topics that it subscribes to, ascending.
    pub(super) topics: Rc<[u32]>,
}

#[derive(Debug)]
pub(super) struct Topic<'a> {
    name: &'a Arc<str>,
    pub(super) racks: &'a [Vec<Arc<str>>],
    /// The number of its first partition.
    first: u32,
    pub(super) count: u32,
    /// The members that subscribe to it, ascending. It has no partitions if there are none.
    pub(super) subscribers: Vec<u32>,
}

impl Topic<'_> {
    /// The numbers of its partitions.
    pub(super) fn partitions(&self) -> Range<u32> {
        self.first..self.first + self.count
    }
}

impl<'a> Group<'a> {
    /// The group, its members in `order`.
    pub(super) fn new(
        topics: &'a Topics,
        members: &'a [GroupMember],
        order: impl Fn(&GroupMember, &GroupMember) -> Ordering,
    ) -> Result<Self, TooManyPartitions> {
        let known = topics.0.iter().filter(|(_, partitions)| partitions.count > 0);
        let mut topics: Vec<Topic<'a>> = known
            .map(|(name, partitions)| {
                let (first, count, subscribers) = (0, partitions.count.unsigned_abs(), Vec::new());
                Topic { name, racks: &partitions.racks, first, count, subscribers }
            })
            .collect();
        topics.sort_by(|one, other| by_utf16(one.name, other.name));
        let places = topics.iter().zip(0..).map(|(topic, place)| (&**topic.name, place)).collect();

        let no_topics: Rc<[u32]> = Rc::default();
        let member = |(place, given)| Member { given, place, topics: no_topics.clone() };
        let members = members.iter().enumerate().map(member).collect();
        let mut group = Self { members, topics, topic_of: Vec::new(), places };
        group.members.sort_by(|one, other| order(one.given, other.given));
        group.intern_subscriptions();
        group.number_partitions()?;
        Ok(group)
    }

    fn intern_subscriptions(&mut self) {
        // Most groups subscribe to the same: what the last one did need not be looked up again.
        let mut last: Option<(&TopicNames, Rc<[u32]>)> = None;
        for (index, member) in (0..).zip(&mut self.members) {
            let names = &member.given.subscription.topics;
            member.topics = match last {
                Some((last_names, topics)) if last_names == names => topics,
                _ => {
                    let mut topics: Vec<u32> = names.iter().filter_map(|name| self.places.get(name).copied()).collect();
                    topics.sort_unstable();
                    topics.dedup();
                    topics.into()
                }
            };
            for &topic in &*member.topics {
                self.topics[topic as usize].subscribers.push(index);
            }
            last = Some((names, member.topics.clone()));
        }
    }

    fn number_partitions(&mut self) -> Result<(), TooManyPartitions> {
        for topic in self.topics.iter_mut().filter(|topic| topic.subscribers.is_empty()) {
            topic.count = 0;
        }
        let total = self.topics.iter().map(|topic| u64::from(topic.count)).sum();
        if total > MOST_PARTITIONS {
            return Err(TooManyPartitions(total));
        }
        self.topic_of.reserve_exact(total as usize);
        for (place, topic) in (0..).zip(&mut self.topics) {
            topic.first = self.topic_of.len() as u32;
            self.topic_of.extend((0..topic.count).map(|_| place));
        }
        Ok(())
    }

    /// How many partitions all topics have.
    pub(super) fn partition_count(&self) -> usize {
        self.topic_of.len()
    }

    /// The topic of that name, if it has partitions here.
    pub(super) fn topic(&self, name: &str) -> Option<u32> {
        let place = *self.places.get(name)?;
        (self.topics[place as usize].count > 0).then_some(place)
    }

    /// The topic of a partition.
    pub(super) fn topic_of(&self, partition: u32) -> u32 {
        self.topic_of[partition as usize]
    }

    /// The partition's index in its topic.
    pub(super) fn index_in_topic(&self, partition: u32) -> u32 {
        partition - self.topics[self.topic_of(partition) as usize].first
    }

    /// The number of a topic's partition, if the topic has it.
    pub(super) fn partition(&self, topic: u32, index: i32) -> Option<u32> {
        let topic = &self.topics[topic as usize];
        u32::try_from(index).ok().filter(|index| *index < topic.count).map(|index| topic.first + index)
    }

    /// Whether a member subscribes to a topic.
    pub(super) fn subscribes(&self, member: u32, topic: u32) -> bool {
        self.members[member as usize].topics.binary_search(&topic).is_ok()
    }

    /// Whether all members subscribe to the same topics, those that the cluster does not know included.
    pub(super) fn subscriptions_are_equal(&self) -> bool {
        let Some((first, others)) = self.members.split_first() else { return true };
        let first = &first.given.subscription.topics;
        let sorted = |names: &'a TopicNames| {
            let mut names: Vec<&str> = names.iter().collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let mut first_sorted = None;
        others
            .iter()
            .map(|member| &member.given.subscription.topics)
            .all(|names| names == first || sorted(names) == *first_sorted.get_or_insert_with(|| sorted(first)))
    }

    /// The result in the order in which the members were given, from each member's partitions in this group's order.
    pub(super) fn assignments(&self, partitions: &[Vec<u32>]) -> Vec<MemberAssignment> {
        let mut assignments = vec![MemberAssignment::default(); self.members.len()];
        for (member, partitions) in self.members.iter().zip(partitions) {
            let named = partitions.iter().map(|&partition| {
                let topic = &self.topics[self.topic_of(partition) as usize];
                TopicPartition { topic: topic.name.clone(), partition: (partition - topic.first) as i32 }
            });
            assignments[member.place].partitions = named.collect();
        }
        assignments
    }
}

/// Static members first, by their instance id, then the others by member id: a static member keeps its place when it
/// comes back with a new member id.
pub(super) fn by_instance_id(one: &GroupMember, other: &GroupMember) -> Ordering {
    match (&one.group_instance_id, &other.group_instance_id) {
        (Some(one_id), Some(other_id)) => by_utf16(one_id, other_id).then_with(|| by_member_id(one, other)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => by_member_id(one, other),
    }
}

/// By member id.
pub(super) fn by_member_id(one: &GroupMember, other: &GroupMember) -> Ordering {
    by_utf16(&one.member_id, &other.member_id)
}
