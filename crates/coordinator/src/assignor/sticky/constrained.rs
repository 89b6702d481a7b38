//! The algorithm for members that all subscribe to the same topics: each gets its quota.
//!
//! With `p` partitions and `m` members the lesser quota is `p / m` rounded down, and `p % m` members get one more.
//!
//! 1. Members keep what they claim, up to their quota: the greater one as long as some are to get it. What stands in
//!    another rack than its member is not kept.
//! 2. Where racks matter, what is left goes in turn to members that stand in the partition's racks.
//! 3. The rest goes in turn to members below the lesser quota, then to those exactly at it.
//!
//! All partitions find a member: after step 1 nobody has more than the greater quota and no more than `p % m` have
//! that, so the room of members below the lesser quota and of those at it is what is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::group::{Group, NOBODY};
use super::super::rack::Racks;
use super::{Claims, Placed};

/// Assigns by quotas. There is at least one member.
pub(super) fn assign(group: &Group<'_>, racks: &Racks, claims: &Claims) -> Placed {
    let mut assignment = Assignment::new(group, racks, claims);
    assignment.keep_claimed();
    let mut unassigned: Vec<u32> =
        (0..).zip(&assignment.is_kept).filter(|(_, kept)| !**kept).map(|(id, _)| id).collect();
    if !racks.is_empty() {
        // Those that fewer members stand near to have the first choice.
        unassigned.sort_by_key(|partition| racks.members_near(*partition));
        assignment.assign_within_racks(&mut unassigned);
    }
    assignment.assign_in_turn(&unassigned);
    Placed { partitions: assignment.partitions, transferring: Some(assignment.transferring) }
}

#[derive(Debug)]
struct Assignment<'a> {
    group: &'a Group<'a>,
    racks: &'a Racks,
    claims: &'a Claims,
    lesser_quota: usize,
    greater_quota: usize,
    /// How many more members are to get the greater quota where that differs from the lesser one.
    greater_left: usize,
    partitions: Vec<Vec<u32>>,
    is_kept: Vec<bool>,
    /// Whose claim to a partition was not granted in full.
    revoked_from: Vec<u32>,
    transferring: Vec<bool>,
    /// Members with less than the lesser quota, ascending.
    below: Vec<u32>,
    /// Members with exactly the lesser quota that may get one more, in their turn.
    at_lesser: VecDeque<u32>,
}

impl<'a> Assignment<'a> {
    fn new(group: &'a Group<'a>, racks: &'a Racks, claims: &'a Claims) -> Self {
        let (partitions, members) = (group.partition_count(), group.members.len());
        let greater_quota = partitions.div_ceil(members);
        Self {
            group,
            racks,
            claims,
            lesser_quota: partitions / members,
            greater_quota,
            greater_left: partitions % members,
            partitions: (0..members).map(|_| Vec::with_capacity(greater_quota)).collect(),
            is_kept: vec![false; partitions],
            revoked_from: vec![NOBODY; partitions],
            transferring: vec![false; partitions],
            below: Vec::new(),
            at_lesser: VecDeque::new(),
        }
    }

    fn keep_claimed(&mut self) {
        let mut claimed = vec![Vec::new(); self.group.members.len()];
        for (partition, &owner) in (0..).zip(&self.claims.owners) {
            if owner == NOBODY {
                continue;
            }
            if self.racks.mismatch(owner, partition) {
                self.revoked_from[partition as usize] = owner;
            } else if !self.claims.doubly_claimed[partition as usize] {
                claimed[owner as usize].push(partition);
            }
        }
        for (member, mut claimed) in (0..).zip(claimed) {
            // By index first: what goes beyond the quota is of all topics.
            claimed.sort_unstable_by_key(|id| (self.group.index_in_topic(*id), self.group.topic_of(*id)));
            self.keep(member, claimed);
        }
    }

    fn keep(&mut self, member: u32, mut claimed: Vec<u32>) {
        let quota = if claimed.len() < self.lesser_quota {
            self.below.push(member);
            self.lesser_quota
        } else if claimed.len() >= self.greater_quota && self.greater_left > 0 {
            self.has_greater();
            self.greater_quota
        } else {
            if self.greater_left > 0 {
                self.at_lesser.push_back(member);
            }
            self.lesser_quota
        };
        let kept = quota.min(claimed.len());
        for revoked in claimed.drain(kept..) {
            self.revoked_from[revoked as usize] = member;
        }
        for partition in &claimed {
            self.is_kept[*partition as usize] = true;
        }
        self.partitions[member as usize].append(&mut claimed);
    }

    /// One more member has the greater quota.
    fn has_greater(&mut self) {
        self.greater_left = self.greater_left.saturating_sub(1);
        if self.greater_left == 0 {
            self.at_lesser.clear();
        }
    }

    /// Assigns what finds a member in its racks, and leaves the rest in `unassigned`.
    fn assign_within_racks(&mut self, unassigned: &mut Vec<u32>) {
        let mut below = InTurn::new(&self.below, self.racks);
        let mut at_lesser = Waiting::new(&self.at_lesser, self.racks);
        unassigned.retain(|&partition| {
            let near = self.racks.of_partition(partition);
            if let Some(member) = below.next(near) {
                if self.give(partition, member) >= self.lesser_quota {
                    below.remove(member, self.racks);
                    if self.greater_left > 0 {
                        at_lesser.push(member, self.racks);
                    }
                }
                return false;
            }
            let Some(member) = at_lesser.take(near) else { return true };
            self.give(partition, member);
            self.has_greater();
            if self.greater_left == 0 {
                at_lesser = Waiting::default();
            }
            false
        });
        self.below.retain(|member| self.partitions[*member as usize].len() < self.lesser_quota);
        self.at_lesser = at_lesser.into_left();
    }

    fn assign_in_turn(&mut self, unassigned: &[u32]) {
        let mut below: VecDeque<u32> = std::mem::take(&mut self.below).into();
        for &partition in unassigned {
            if let Some(member) = below.pop_front() {
                let queue =
                    if self.give(partition, member) < self.lesser_quota { &mut below } else { &mut self.at_lesser };
                queue.push_back(member);
            } else if let Some(member) = self.at_lesser.pop_front() {
                self.give(partition, member);
            }
        }
    }

    /// Gives a member a partition, and says how many it has then.
    fn give(&mut self, partition: u32, member: u32) -> usize {
        let place = partition as usize;
        let revoked_from = self.revoked_from[place];
        self.transferring[place] =
            (revoked_from != NOBODY && revoked_from != member) || self.claims.doubly_claimed[place];
        let partitions = &mut self.partitions[member as usize];
        partitions.push(partition);
        partitions.len()
    }
}

/// Members with racks, each in its turn: the turn goes round by member and passes over those that stand elsewhere.
#[derive(Debug)]
struct InTurn {
    by_rack: BTreeMap<u32, BTreeSet<u32>>,
    turn: u32,
}

impl InTurn {
    fn new(members: &[u32], racks: &Racks) -> Self {
        let mut by_rack: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for &member in members {
            if let Some(rack) = racks.of_member(member) {
                by_rack.entry(rack).or_default().insert(member);
            }
        }
        Self { by_rack, turn: 0 }
    }

    /// The next member in one of these racks.
    fn next(&mut self, near: &[u32]) -> Option<u32> {
        let groups = || near.iter().filter_map(|rack| self.by_rack.get(rack));
        let ahead = groups().filter_map(|members| members.range(self.turn..).next()).min();
        let member = *ahead.or_else(|| groups().filter_map(BTreeSet::first).min())?;
        self.turn = member + 1;
        Some(member)
    }

    fn remove(&mut self, member: u32, racks: &Racks) {
        if let Some(members) = racks.of_member(member).and_then(|rack| self.by_rack.get_mut(&rack)) {
            members.remove(&member);
        }
    }
}

/// Members in a queue, of which the first in a rack can be taken.
#[derive(Debug, Default)]
struct Waiting {
    /// Those not taken, by when they came.
    left: BTreeMap<u32, u32>,
    by_rack: BTreeMap<u32, VecDeque<u32>>,
    arrivals: u32,
}

impl Waiting {
    fn new(members: &VecDeque<u32>, racks: &Racks) -> Self {
        let mut waiting = Self::default();
        for &member in members {
            waiting.push(member, racks);
        }
        waiting
    }

    fn push(&mut self, member: u32, racks: &Racks) {
        self.left.insert(self.arrivals, member);
        if let Some(rack) = racks.of_member(member) {
            self.by_rack.entry(rack).or_default().push_back(self.arrivals);
        }
        self.arrivals += 1;
    }

    /// Takes the first that stands in one of these racks.
    fn take(&mut self, near: &[u32]) -> Option<u32> {
        let first = near.iter().filter_map(|rack| Some((*self.by_rack.get(rack)?.front()?, *rack)));
        let (arrival, rack) = first.min()?;
        self.by_rack.get_mut(&rack)?.pop_front();
        self.left.remove(&arrival)
    }

    fn into_left(self) -> VecDeque<u32> {
        self.left.into_values().collect()
    }
}
