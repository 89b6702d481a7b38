//! The algorithm for members that subscribe to different topics.
//!
//! 1. Members keep what they claim, but for topics that they do not subscribe to, and, where racks matter, what stands
//!    in another rack.
//! 2. What is left goes, topic by topic, to the subscriber with the fewest partitions; where racks matter, first to one
//!    that stands in the partition's racks. Topics with few subscribers go first.
//! 3. Partitions move to members that have at least two fewer, until none can. If something was kept and the outcome is
//!    no more even than it was after step 2, it is not taken.
//!
//! Step 3 is where Java takes its time: it looks through the whole assignment before each partition. Here a topic is
//! looked at again only after one of its subscribers has got more or less, and its [`LeastLoaded`] subscriber is always
//! known. Neither changes what moves.
//!
//! Moves by the rule alone make the assignment more even and so come to an end, but [`Movements`] may have another
//! partition moved than the one that was to. So, and because a group could be made up to need very many moves,
//! balancing ends after [`MOST_STEPS`]: what there is then is valid, if less even.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::super::group::{Group, NOBODY, Topic};
use super::super::rack::Racks;
use super::least_loaded::LeastLoaded;
use super::movements::Movements;
use super::{Claims, Placed};

/// How often balancing looks at a partition or a subscriber: takes about a second.
const MOST_STEPS: u64 = 100_000_000;
/// What a move costs, in steps.
const MOVE_STEPS: u64 = 100;

/// Assigns to members with different subscriptions.
pub(super) fn assign(group: &Group<'_>, racks: &Racks, claims: Claims) -> Placed {
    let mut assignment = Assignment::new(group, claims);
    let revoked = assignment.revoke_claimed(racks);
    let from_nothing = assignment.current.counts.iter().all(|count| *count == 0);
    let all = assignment.all_by_topic();
    let unassigned = assignment.unassigned(&all);
    if !racks.is_empty() {
        assignment.assign_to_least_loaded(&unassigned, racks);
    }
    let left = assignment.unassigned(&unassigned);
    assignment.assign_to_least_loaded(&left, &Racks::default());
    assignment.balance(&all, &unassigned, revoked, from_nothing);
    Placed { partitions: assignment.current.into_partitions(group.members.len()), transferring: None }
}

/// Who has what.
#[derive(Clone, Debug)]
struct Current {
    /// Each partition's owner.
    owners: Vec<u32>,
    /// When it came to its owner: the order in which the owner is told of it.
    order: Vec<u64>,
    /// How many each member has.
    counts: Vec<u32>,
}

impl Current {
    fn into_partitions(self, members: usize) -> Vec<Vec<u32>> {
        let mut partitions = vec![Vec::new(); members];
        for ((partition, owner), order) in (0..).zip(self.owners).zip(self.order) {
            if owner != NOBODY {
                partitions[owner as usize].push((order, partition));
            }
        }
        let in_order = |mut partitions: Vec<(u64, u32)>| {
            partitions.sort_unstable();
            partitions.into_iter().map(|(_, partition)| partition).collect()
        };
        partitions.into_iter().map(in_order).collect()
    }
}

#[derive(Debug)]
struct Assignment<'a> {
    group: &'a Group<'a>,
    current: Current,
    /// Who had each partition in an older generation; empty if there was none.
    previous: Vec<u32>,
    missing: Vec<(u32, u32)>,
    movements: Movements,
    /// Counts what was given to somebody.
    clock: u64,
    /// When each member got more or less.
    changed_at: Vec<u64>,
    steps: u64,
}

impl<'a> Assignment<'a> {
    /// Everybody has what they claim.
    fn new(group: &'a Group<'a>, claims: Claims) -> Self {
        let previous = claims.previous_owners(group);
        let clock = claims.order.iter().max().map_or(0, |order| *order) + 1;
        let mut counts = vec![0; group.members.len()];
        for &owner in claims.owners.iter().filter(|owner| **owner != NOBODY) {
            counts[owner as usize] += 1;
        }
        let movements = Movements::new(group.partition_count());
        let changed_at = vec![clock; group.members.len()];
        let Claims { owners, order, missing, .. } = claims;
        let current = Current { owners, order, counts };
        Self { group, current, previous, missing, movements, clock, changed_at, steps: 0 }
    }

    /// Takes away what cannot be kept, and says whether there was any.
    fn revoke_claimed(&mut self, racks: &Racks) -> bool {
        // Where racks matter, a partition that does not exist is in nobody's.
        let cannot_keep = |(member, topic): &(u32, u32)| {
            !self.group.subscribes(*member, *topic) || racks.of_member(*member).is_some()
        };
        let mut any = self.missing.iter().any(cannot_keep);
        for (partition, owner) in (0..).zip(&mut self.current.owners).filter(|(_, owner)| **owner != NOBODY) {
            let subscribes = self.group.subscribes(*owner, self.group.topic_of(partition));
            if !subscribes || racks.mismatch(*owner, partition) {
                self.current.counts[*owner as usize] -= 1;
                *owner = NOBODY;
                any = true;
            }
        }
        any
    }

    /// All partitions: those of topics with few subscribers first.
    fn all_by_topic(&self) -> Vec<u32> {
        let mut topics: Vec<&Topic<'_>> = self.group.topics.iter().collect();
        topics.sort_by_key(|topic| topic.subscribers.len());
        topics.into_iter().flat_map(Topic::partitions).collect()
    }

    fn unassigned(&self, of: &[u32]) -> Vec<u32> {
        of.iter().copied().filter(|partition| self.current.owners[*partition as usize] == NOBODY).collect()
    }

    /// Gives each of the partitions to whoever of its subscribers has the fewest, out of those that stand in its racks
    /// or have none. Without racks nobody is in one.
    fn assign_to_least_loaded(&mut self, partitions: &[u32], racks: &Racks) {
        for partitions in self.by_topic(partitions) {
            let mut by_rack: BTreeMap<Option<u32>, BinaryHeap<Reverse<(u32, u32)>>> = BTreeMap::new();
            for &member in self.subscribers(partitions) {
                let count = self.current.counts[member as usize];
                by_rack.entry(racks.of_member(member)).or_default().push(Reverse((count, member)));
            }
            for &partition in partitions {
                let near = racks.of_partition(partition).iter().map(|rack| Some(*rack)).chain([None]);
                let first = near.filter_map(|rack| Some((by_rack.get(&rack)?.peek()?.0, rack))).min();
                let Some(((count, member), rack)) = first else { continue };
                self.give(partition, member);
                if let Some(mut first) = by_rack.get_mut(&rack).and_then(BinaryHeap::peek_mut) {
                    *first = Reverse((count + 1, member));
                }
            }
        }
    }

    fn give(&mut self, partition: u32, member: u32) {
        self.clock += 1;
        self.current.owners[partition as usize] = member;
        self.current.order[partition as usize] = self.clock;
        self.current.counts[member as usize] += 1;
        self.changed_at[member as usize] = self.clock;
    }

    /// Moves partitions until no move makes the assignment more even: first only those that were new, unless some have
    /// to move anyway, then all.
    fn balance(&mut self, all: &[u32], unassigned: &[u32], revoked: bool, from_nothing: bool) {
        let has_choice = |partition: &u32| self.subscribers(&[*partition]).len() > 1;
        let movable = |of: &[u32]| of.iter().copied().filter(has_choice).collect();
        let (all, unassigned): (Vec<u32>, Vec<u32>) = (movable(all), movable(unassigned));
        let before = self.current.clone();
        if !revoked {
            self.even_out(&unassigned);
        }
        let moved = self.even_out(&all);
        if moved && !from_nothing && self.unevenness(&self.current) >= self.unevenness(&before) {
            self.current = before;
        }
    }

    /// Moves some of the partitions, time and again, as long as that makes the assignment more even. Says whether it
    /// moved any.
    fn even_out(&mut self, partitions: &[u32]) -> bool {
        let start = self.clock;
        let mut looked_at: Vec<Option<u64>> = vec![None; self.group.topics.len()];
        loop {
            let round = self.clock;
            for partitions in self.by_topic(partitions) {
                let [first, ..] = partitions else { continue };
                let looked_at = &mut looked_at[self.group.topic_of(*first) as usize];
                let subscribers = self.subscribers(partitions);
                self.steps += subscribers.len() as u64;
                let changed = |since| subscribers.iter().any(|member| self.changed_at[*member as usize] > since);
                if looked_at.is_none_or(changed) {
                    *looked_at = Some(self.clock);
                    self.even_out_topic(partitions);
                }
            }
            if self.clock == round || self.steps > MOST_STEPS {
                return self.clock > start;
            }
        }
    }

    /// Moves each of the partitions, all of one topic, that another member should rather have: the one that had it in
    /// an older generation, else the least loaded.
    fn even_out_topic(&mut self, partitions: &[u32]) {
        let subscribers = self.subscribers(partitions);
        let mut least_loaded = LeastLoaded::new(subscribers, &self.current.counts);
        self.steps += partitions.len() as u64;
        for &partition in partitions {
            let owner = self.current.owners[partition as usize];
            let count = |member: u32| self.current.counts[member as usize];
            let is_better = |member: &u32| count(owner) > count(*member) + 1;
            let previous = self.previous.get(partition as usize).copied();
            let previous = previous.filter(|member| subscribers.binary_search(member).is_ok() && is_better(member));
            if let Some(to) = previous.or(least_loaded.first().filter(is_better)) {
                let from = self.move_to(partition, to);
                for member in [from, to] {
                    if let Ok(place) = subscribers.binary_search(&member) {
                        least_loaded.set(place, self.current.counts[member as usize]);
                    }
                }
                self.steps += MOVE_STEPS;
            }
        }
    }

    /// Moves the partition, or one of its topic in its place, to that member. Says where it came from.
    fn move_to(&mut self, partition: u32, to: u32) -> u32 {
        let topic = self.group.topic_of(partition);
        let owner = self.current.owners[partition as usize];
        let partition = self.movements.to_be_moved(topic, partition, owner, to);
        let from = self.current.owners[partition as usize];
        self.movements.add(topic, partition, from, to);
        self.current.counts[from as usize] -= 1;
        self.give(partition, to);
        self.changed_at[from as usize] = self.clock;
        from
    }

    /// By how much the members differ that have to do with others: the sum over all pairs.
    fn unevenness(&self, current: &Current) -> u64 {
        let shares = |topic: &u32| self.group.topics[*topic as usize].subscribers.len() > 1;
        let members = self.group.members.iter().zip(&current.counts);
        let sharing = members.filter(|(member, _)| member.topics.iter().any(shares));
        let mut counts: Vec<u64> = sharing.map(|(_, count)| u64::from(*count)).collect();
        counts.sort_unstable();
        let mut sum_of_lesser = 0;
        let mut unevenness = 0;
        for (lesser, count) in (0..).zip(counts) {
            unevenness += count * lesser - sum_of_lesser;
            sum_of_lesser += count;
        }
        unevenness
    }

    /// Cuts partitions, grouped by topic, into those of each.
    fn by_topic<'p>(&self, partitions: &'p [u32]) -> impl Iterator<Item = &'p [u32]> + use<'p, 'a> {
        let group = self.group;
        partitions.chunk_by(|one, other| group.topic_of(*one) == group.topic_of(*other))
    }

    /// The subscribers of the topic of the first of the partitions.
    fn subscribers(&self, partitions: &[u32]) -> &'a [u32] {
        let group = self.group;
        partitions.first().map_or(&[], |first| &group.topics[group.topic_of(*first) as usize].subscribers)
    }
}
