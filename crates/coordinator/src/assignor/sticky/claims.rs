//! What members say they had, and who is believed where two say the same.
//!
//! Claims come from other members, of any client and in any state: they may name topics that nobody subscribes to,
//! partitions that do not exist, or one partition twice. The claim of the newer generation wins. Of two in the same
//! generation neither is believed, and the partition counts as *doubly claimed*.
//!
//! As in Java, a claim's generation is the one in the member's data, while that of the earlier claim which it is compared with
//! is the one in the subscription itself. They differ for subscriptions of old versions.

use std::cmp::Ordering;

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

/// See the module.
#[derive(Debug)]
pub(in super::super) struct Claims {
    /// Each partition's owner by its claim.
    pub(super) owners: Vec<u32>,
    /// When it was claimed: orders the partitions of an owner.
    pub(super) order: Vec<u64>,
    pub(super) doubly_claimed: Vec<bool>,
    /// Members and topics of which they claim partitions that do not exist.
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
        // Who claimed a partition last with success, even if only to take it from another.
        let mut claimants = vec![NOBODY; partitions];
        let mut next = 0;
        for (member, data) in (0..).zip(&data) {
            let generation = data.generation.unwrap_or(NO_GENERATION);
            for (topic, indexes) in data.partitions.topics() {
                let Some(topic) = group.topic(topic) else { continue };
                for index in indexes {
                    let Some(partition) = group.partition(topic, index) else {
                        claims.add_missing(member, topic);
                        continue;
                    };
                    let place = partition as usize;
                    let earlier = claimants[place];
                    let order = match earlier {
                        NOBODY => Ordering::Greater,
                        _ => generation.cmp(&subscribed_generation(group, earlier)),
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
        }
        claims.data = data;
        claims
    }

    fn add_missing(&mut self, member: u32, topic: u32) {
        if self.missing.last() != Some(&(member, topic)) {
            self.missing.push((member, topic));
        }
    }

    /// Who had each partition before the newest generation, by the newest claim that is older. Of claims in one generation the first
    /// counts. Empty if nobody's is older.
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
            for (topic, indexes) in data.partitions.topics() {
                let Some(topic) = group.topic(topic) else { continue };
                for partition in indexes.filter_map(|index| group.partition(topic, index)) {
                    let known = &mut previous[partition as usize];
                    if known.0 == NOBODY || generation > known.1 {
                        *known = (member, generation);
                    }
                }
            }
        }
        previous.into_iter().map(|(member, _)| member).collect()
    }
}

fn subscribed_generation(group: &Group<'_>, member: u32) -> i32 {
    group.members[member as usize].given.subscription.generation_id.0.max(NO_GENERATION)
}
