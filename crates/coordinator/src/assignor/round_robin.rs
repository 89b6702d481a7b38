//! `roundrobin`: all partitions of all topics are dealt out in turn, like cards.
//!
//! Topics go by name, partitions by index, members as [`by_instance_id`] orders them. A member that does not subscribe
//! to the topic is passed over. Without equal subscriptions the result can be uneven. Racks play no part, as in Java.

use super::group::{Group, by_instance_id};
use super::{Assignor, AssignorError, GroupMember, MemberAssignment, Topics};

/// Kafka's `RoundRobinAssignor`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "an assignor keeps nothing")]
pub struct RoundRobinAssignor;

impl Assignor for RoundRobinAssignor {
    fn name(&self) -> &'static str {
        "roundrobin"
    }

    fn assign(&self, topics: &Topics, members: &[GroupMember]) -> Result<Vec<MemberAssignment>, AssignorError> {
        let group = Group::new(topics, members, by_instance_id)?;
        let mut assigned = vec![Vec::new(); members.len()];
        // Whose turn it is: every member, not only the topic's.
        let mut turn = 0;
        for topic in &group.topics {
            // A whole round passes each subscriber once, so that others never have to be looked at.
            let subscribers = &topic.subscribers;
            let start = subscribers.partition_point(|member| *member < turn);
            let dealt = subscribers.iter().cycle().skip(start);
            for (partition, &member) in topic.partitions().zip(dealt) {
                assigned[member as usize].push(partition);
                turn = member + 1;
            }
        }
        Ok(group.assignments(&assigned))
    }
}
