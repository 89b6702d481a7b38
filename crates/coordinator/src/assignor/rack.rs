//! Which members and which partitions' replicas stand in the same rack (KIP-881).
//!
//! Racks are interned like topics and members. Nothing is read of partitions' racks unless some member has one. An
//! empty rack of a member counts as none.

use std::collections::BTreeMap;

use super::group::Group;

/// The racks of a group.
#[derive(Debug, Default)]
pub(super) struct Racks {
    /// Of each member; empty if no member has one.
    members: Vec<Option<u32>>,
    /// How many members stand in each rack.
    member_counts: Vec<u32>,
    /// Of each partition's replicas, sorted, without repetition: `replicas[starts[p]..starts[p + 1]]`.
    replicas: Vec<u32>,
    starts: Vec<usize>,
}

impl Racks {
    /// The racks of `group`.
    pub(super) fn new(group: &Group<'_>) -> Self {
        let rack = |place: usize| {
            let rack = group.members[place].given.subscription.rack_id.as_deref();
            rack.filter(|rack| !rack.is_empty())
        };
        let mut names: BTreeMap<&str, u32> = BTreeMap::new();
        let mut racks = Self::default();
        if (0..group.members.len()).all(|place| rack(place).is_none()) {
            return racks;
        }
        for place in 0..group.members.len() {
            let rack = rack(place).map(|name| intern(&mut names, name));
            racks.members.push(rack);
        }
        racks.starts.push(0);
        let mut of_partition = Vec::new();
        for topic in &group.topics {
            for index in 0..topic.count as usize {
                let known = topic.racks.get(index).into_iter().flatten();
                of_partition.extend(known.map(|name| intern(&mut names, name)));
                of_partition.sort_unstable();
                of_partition.dedup();
                racks.replicas.append(&mut of_partition);
                racks.starts.push(racks.replicas.len());
            }
        }
        racks.member_counts.resize(names.len(), 0);
        for &rack in racks.members.iter().flatten() {
            racks.member_counts[rack as usize] += 1;
        }
        racks
    }

    /// The racks of `group` if they make a difference to its assignment as a whole; else none.
    pub(super) fn that_matter(group: &Group<'_>) -> Self {
        let racks = Self::new(group);
        let members = 0..group.members.len() as u32;
        if racks.matter(members, 0..group.partition_count() as u32) { racks } else { Self::default() }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many racks there are: they are numbered from 0.
    pub(super) fn count(&self) -> usize {
        self.member_counts.len()
    }

    /// The rack of a member.
    pub(super) fn of_member(&self, member: u32) -> Option<u32> {
        self.members.get(member as usize).copied().flatten()
    }

    /// The racks of a partition's replicas, ascending.
    pub(super) fn of_partition(&self, partition: u32) -> &[u32] {
        let partition = partition as usize;
        match (self.starts.get(partition), self.starts.get(partition + 1)) {
            (Some(&start), Some(&end)) => &self.replicas[start..end],
            _ => &[],
        }
    }

    /// Whether the member has a rack in which the partition has no replica.
    pub(super) fn mismatch(&self, member: u32, partition: u32) -> bool {
        self.of_member(member).is_some_and(|rack| self.of_partition(partition).binary_search(&rack).is_err())
    }

    /// How many members stand in a rack of the partition.
    pub(super) fn members_near(&self, partition: u32) -> u32 {
        self.of_partition(partition).iter().map(|rack| self.member_counts[*rack as usize]).sum()
    }

    /// Whether racks make a difference: some of the members stand in a rack of some of the partitions, and not every
    /// partition is in all of the racks.
    pub(super) fn matter(
        &self,
        members: impl IntoIterator<Item = u32>,
        partitions: impl IntoIterator<Item = u32> + Clone,
    ) -> bool {
        let mut members = members.into_iter().filter_map(|member| self.of_member(member)).peekable();
        if members.peek().is_none() {
            return false;
        }
        let mut has_replicas = vec![false; self.count()];
        for partition in partitions.clone() {
            self.of_partition(partition).iter().for_each(|rack| has_replicas[*rack as usize] = true);
        }
        let all = has_replicas.iter().filter(|has| **has).count();
        members.any(|rack| has_replicas[rack as usize])
            && partitions.into_iter().any(|partition| self.of_partition(partition).len() != all)
    }
}

fn intern<'a>(names: &mut BTreeMap<&'a str, u32>, name: &'a str) -> u32 {
    let next = names.len() as u32;
    *names.entry(name).or_insert(next)
}
