//! `range`: each topic's partitions are cut into as many ranges as it has subscribers, the first of which are longer by
//! one where it does not come out even.
//!
//! Members stand as [`by_instance_id`] orders them. Topics with the same subscribers and as many partitions are cut
//! alike, so that a member has the same partitions of all of them (co-partitioning).
//!
//! Where racks matter (KIP-881), a first pass assigns what stands in the member's rack, within the same numbers per
//! member; co-partitioned topics only by partitions that match in all of them. What is left goes by range. A
//! partition's first taker in the order of the members is found through a queue per rack, never by a search, as what is
//! gone stays gone.

use std::collections::{BTreeMap, HashMap};

use super::group::{Group, Topic, by_instance_id};
use super::rack::Racks;
use super::{Assignor, AssignorError, GroupMember, MemberAssignment, Topics};

/// Kafka's `RangeAssignor`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "an assignor keeps nothing")]
pub struct RangeAssignor;

impl Assignor for RangeAssignor {
    fn name(&self) -> &'static str {
        "range"
    }

    fn assign(&self, topics: &Topics, members: &[GroupMember]) -> Result<Vec<MemberAssignment>, AssignorError> {
        let group = Group::new(topics, members, by_instance_id)?;
        let racks = Racks::new(&group);
        let mut assigned = vec![Vec::new(); members.len()];
        let rack_aware = group.topics.iter().any(|topic| matter(&racks, topic));
        let mut shares: Vec<Shares<'_>> = group.topics.iter().map(|topic| Shares::new(topic, rack_aware)).collect();
        if rack_aware {
            match_racks(&racks, &mut shares, &mut assigned);
        }
        for topic in &mut shares {
            topic.assign_ranges(&mut assigned);
        }
        if rack_aware {
            for partitions in &mut assigned {
                partitions.sort_unstable();
            }
        }
        Ok(group.assignments(&assigned))
    }
}

/// How much of a topic each of its subscribers may still be given.
#[derive(Debug)]
struct Shares<'a> {
    topic: &'a Topic<'a>,
    /// How many each subscriber has been given, by its place among them. Empty without racks, as each is then asked
    /// about once.
    given: Vec<u32>,
    /// Which of the partitions have been given away. Empty without racks.
    taken: Vec<bool>,
    /// What each of them gets at least.
    least: u32,
    /// How many of them may still be given one more.
    extra: u32,
}

impl<'a> Shares<'a> {
    fn new(topic: &'a Topic<'a>, rack_aware: bool) -> Self {
        let subscribers = topic.subscribers.len() as u32;
        let (given, taken) = if rack_aware {
            (vec![0; topic.subscribers.len()], vec![false; topic.count as usize])
        } else {
            (Vec::new(), Vec::new())
        };
        let least = topic.count.checked_div(subscribers).unwrap_or(0);
        let extra = topic.count.checked_rem(subscribers).unwrap_or(0);
        Self { topic, given, taken, least, extra }
    }

    /// How many more the subscriber at that place may have.
    fn room(&self, place: usize) -> u32 {
        let given = self.given.get(place).copied().unwrap_or(0);
        (self.least + u32::from(self.extra > 0)).saturating_sub(given)
    }

    fn give(&mut self, place: usize, index: u32, assigned: &mut [Vec<u32>]) {
        assigned[self.topic.subscribers[place] as usize].push(self.topic.partitions().start + index);
        self.taken[index as usize] = true;
        self.given[place] += 1;
        if self.given[place] > self.least {
            self.extra = self.extra.saturating_sub(1);
        }
    }

    fn is_taken(&self, index: u32) -> bool {
        self.taken.get(index as usize).copied().unwrap_or(false)
    }

    /// Gives each subscriber in turn the first partitions that are left.
    fn assign_ranges(&mut self, assigned: &mut [Vec<u32>]) {
        let first = self.topic.partitions().start;
        let mut next = 0;
        for place in 0..self.topic.subscribers.len() {
            let room = self.room(place);
            let partitions = &mut assigned[self.topic.subscribers[place] as usize];
            let mut count = 0;
            while count < room && next < self.topic.count {
                if !self.is_taken(next) {
                    partitions.push(first + next);
                    count += 1;
                }
                next += 1;
            }
            if count + self.given.get(place).copied().unwrap_or(0) > self.least && count > 0 {
                self.extra = self.extra.saturating_sub(1);
            }
        }
    }

    /// The same, of partitions that stand in the subscriber's rack; of any, for a subscriber without one.
    fn assign_within_racks(&mut self, racks: &Racks, assigned: &mut [Vec<u32>]) {
        let mut by_rack: BTreeMap<Option<u32>, Queue> = BTreeMap::new();
        for (index, partition) in (0..).zip(self.topic.partitions()) {
            let near = racks.of_partition(partition).iter().map(|rack| Some(*rack));
            near.chain([None]).for_each(|rack| by_rack.entry(rack).or_default().waiting.push(index));
        }
        for place in 0..self.topic.subscribers.len() {
            let rack = racks.of_member(self.topic.subscribers[place]);
            let Some(queue) = by_rack.get_mut(&rack) else { continue };
            for _ in 0..self.room(place) {
                let Some(index) = queue.first(|index| self.is_taken(index)) else { break };
                self.give(place, index, assigned);
            }
        }
    }
}

/// What waits for its turn in an order. What is gone stays gone, so each is passed over once.
#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<u32>,
    next: usize,
}

impl Queue {
    fn first(&mut self, is_gone: impl Fn(u32) -> bool) -> Option<u32> {
        let gone = self.waiting[self.next..].iter().take_while(|one| is_gone(**one)).count();
        self.next += gone;
        self.waiting.get(self.next).copied()
    }
}

fn matter(racks: &Racks, topic: &Topic<'_>) -> bool {
    !racks.is_empty() && racks.matter(topic.subscribers.iter().copied(), topic.partitions())
}

/// Topics with the same subscribers and as many partitions go together; a topic by itself goes by racks only if they
/// matter for it.
fn match_racks(racks: &Racks, shares: &mut [Shares<'_>], assigned: &mut [Vec<u32>]) {
    let mut alike: Vec<Vec<usize>> = Vec::new();
    let mut places: HashMap<(&[u32], u32), usize> = HashMap::new();
    for (index, share) in shares.iter().enumerate() {
        let subscribers = share.topic.subscribers.as_slice();
        if subscribers.iter().any(|member| racks.of_member(*member).is_some()) {
            let place = *places.entry((subscribers, share.topic.count)).or_insert(alike.len());
            match alike.get_mut(place) {
                Some(topics) => topics.push(index),
                None => alike.push(vec![index]),
            }
        }
    }
    for topics in alike {
        match topics[..] {
            [topic] if matter(racks, shares[topic].topic) => shares[topic].assign_within_racks(racks, assigned),
            [_] => {}
            _ => match_co_partitioned(racks, shares, &topics, assigned),
        }
    }
}

/// Gives each partition, of all `topics` together, to the first subscriber that has room and stands in one of its
/// racks in all topics, or has no rack.
fn match_co_partitioned(racks: &Racks, shares: &mut [Shares<'_>], topics: &[usize], assigned: &mut [Vec<u32>]) {
    let [first, others @ ..] = topics else { return };
    let mut by_rack: BTreeMap<Option<u32>, Queue> = BTreeMap::new();
    for (place, &member) in (0..).zip(&shares[*first].topic.subscribers) {
        by_rack.entry(racks.of_member(member)).or_default().waiting.push(place);
    }
    let mut common = Vec::new();
    for index in 0..shares[*first].topic.count {
        common.clear();
        common.extend_from_slice(racks.of_partition(shares[*first].topic.partitions().start + index));
        for &topic in others {
            let of_partition = racks.of_partition(shares[topic].topic.partitions().start + index);
            common.retain(|rack| of_partition.binary_search(rack).is_ok());
        }
        // All topics have given the same so far: the first speaks for all. Room never grows.
        let is_full = |place: u32| shares[*first].room(place as usize) == 0;
        let near = common.iter().map(|rack| Some(*rack)).chain([None]);
        let takers = near.filter_map(|rack| by_rack.get_mut(&rack)?.first(is_full));
        if let Some(place) = takers.min() {
            for &topic in topics {
                shares[topic].give(place as usize, index, assigned);
            }
        }
    }
}
