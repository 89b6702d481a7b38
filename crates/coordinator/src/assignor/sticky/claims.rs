//! What members say they had, and who is believed where two say the same.
//!
//! Claims come from other members, of any client and in any state: they may name topics that nobody subscribes to,
//! partitions that do not exist, or one partition twice. The claim of the newer generation wins. Of two in the same
//! generation neither is believed, and the partition counts as *doubly claimed*.
//!
//! As in Java, a claim's generation is the one in the member's data, while that of the earlier claim with which it is
//! compared is the one in the subscription itself. Where the two differ it matters who is asked first, which in Java
//! the order of a hash map decides. Here it is the newest generation; but before all, members that claim what does not
//! exist: with as much as possible of their other claims granted, Java too comes to a valid assignment.

use std::cmp::{Ordering, Reverse};

use ottla_wire::consumer_protocol::PartitionsByTopic;

use super::super::group::{Group, NOBODY};

/// The generation of a member that knows none.
const NO_GENERATION: i32 = -1;

/// What a member had.
#[derive(Debug, Default)]
pub(in super::super) struct MemberData {
    pub(in super::super) partitions: PartitionsByTopic,
    /// `None` if it is too old to say.
    pub(in super::super) generation: Option<i32>,
}

impl MemberData {
    /// The partitions that exist and whose topic some member subscribes to.
    fn existing(&self, group: &Group<'_>) -> impl Iterator<Item = u32> {
        self.partitions.topics().flat_map(move |(topic, indexes)| {
            let topic = group.topic(topic);
            indexes.filter_map(move |index| group.partition(topic?, index))
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(in super::super) struct Claims {
    /// Each partition's owner by its claim.
    pub(super) owners: Vec<u32>,
    /// When it was claimed: orders the partitions of an owner.
    pub(super) order: Vec<u64>,
    pub(super) doubly_claimed: Vec<bool>,
    /// Members and topics of which they claim partitions that do not exist, by member.
    pub(super) missing: Vec<(u32, u32)>,
    data: Vec<MemberData>,
}

impl Claims {
    /// Decides about what each member of `group` claims.
    pub(super) fn resolve(group: &Group<'_>, data: Vec<MemberData>) -> Self {
        let partitions = group.partition_count();
        let mut claims = Self {
            owners: vec![NOBODY; partitions],
            order: vec![0; partitions],
            doubly_claimed: vec![false; partitions],
            missing: Vec::new(),
            data: Vec::new(),
        };
        let data_of = |member: u32| &data[member as usize];
        let generation_of = |member: u32| data_of(member).generation.unwrap_or(NO_GENERATION);
        let mut members: Vec<u32> = (0..data.len() as u32).collect();
        for &member in &members {
            claims.note_missing(group, member, data_of(member));
        }
        let claims_missing = |member| claims.missing.binary_search_by_key(&member, |(member, _)| *member).is_ok();
        members.sort_by_cached_key(|member| Reverse((claims_missing(*member), generation_of(*member))));

        // Who claimed a partition last with success, even if only to take it from another.
        let mut claimants = vec![NOBODY; partitions];
        let mut next = 0;
        for member in members {
            let generation = generation_of(member);
            for partition in data_of(member).existing(group) {
                let place = partition as usize;
                let order = match claimants[place] {
                    NOBODY => Ordering::Greater,
                    earlier => generation.cmp(&subscribed_generation(group, earlier)),
                };
                match order {
                    Ordering::Greater => (claimants[place], claims.owners[place]) = (member, member),
                    Ordering::Equal => {
                        (claimants[place], claims.owners[place]) = (member, NOBODY);
                        claims.doubly_claimed[place] = true;
                    }
                    Ordering::Less => continue,
                }
                claims.order[place] = next;
                next += 1;
            }
        }
        claims.data = data;
        claims
    }

    fn note_missing(&mut self, group: &Group<'_>, member: u32, data: &MemberData) {
        for (topic, mut indexes) in data.partitions.topics() {
            let Some(topic) = group.topic(topic) else { continue };
            if indexes.any(|index| group.partition(topic, index).is_none()) {
                self.missing.push((member, topic));
            }
        }
    }

    /// Who had each partition before the newest generation, by the newest claim that is older. Of claims in one
    /// generation the first counts. Empty if nobody's is older.
    pub(super) fn previous_owners(&self, group: &Group<'_>) -> Vec<u32> {
        let generations = self.data.iter().filter_map(|data| data.generation);
        let newest = generations.max().unwrap_or(NO_GENERATION).max(NO_GENERATION);
        let older = |data: &MemberData| data.generation.unwrap_or(NO_GENERATION) < newest;
        if !self.data.iter().any(older) {
            return Vec::new();
        }
        let mut previous = vec![(NOBODY, 0); group.partition_count()];
        for (member, data) in (0..).zip(&self.data).filter(|(_, data)| older(data)) {
            let generation = data.generation.unwrap_or(NO_GENERATION);
            for partition in data.existing(group) {
                let known = &mut previous[partition as usize];
                if known.0 == NOBODY || generation > known.1 {
                    *known = (member, generation);
                }
            }
        }
        previous.into_iter().map(|(member, _)| member).collect()
    }
}

fn subscribed_generation(group: &Group<'_>, member: u32) -> i32 {
    group.members[member as usize].given.subscription.generation_id.0.max(NO_GENERATION)
}
