//! ListGroups (16): the groups that a broker coordinates. To be sent to every broker.
//!
//! A large cluster has groups by the ten thousand. The texts of one stand in one piece of memory: with a string for each,
//! an honest answer of an old broker, which has little more than the group's name, would decode to more than four times its
//! size.

use super::macros::{field_as_table, message, wire_struct};
use crate::ErrorCode;

wire_struct! {
    /// Asks for groups.
    pub struct ListGroupsRequest {
        /// Only groups in these states, by Kafka's names; empty: in any (KIP-518).
        states_filter: Vec<String> [4..],
        /// Only groups of these types, `classic` and `consumer` for example; empty: of any (KIP-848).
        types_filter: Vec<String> [5..],
    }
}

wire_struct! {
    /// Names groups.
    pub struct ListGroupsResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [1..; ignorable],
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The groups.
        groups: Vec<ListedGroup> [0..],
    }
}

/// A group, as a list names it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ListedGroup {
    /// All four, one after the other.
    texts: Box<str>,
    /// Where each ends, but for the last.
    ends: [u32; 3],
}

impl ListedGroup {
    /// From the schema's fields. Versions up to 3 lack the state, versions up to 4 the type.
    pub fn new(group_id: &str, protocol_type: &str, group_state: &str, group_type: &str) -> Self {
        // No frame holds a text as long as an u32 counts.
        let ends = [group_id, protocol_type, group_state].map(str::len);
        let ends = [ends[0], ends[0] + ends[1], ends[0] + ends[1] + ends[2]].map(|end| end as u32);
        Self { texts: [group_id, protocol_type, group_state, group_type].concat().into(), ends }
    }

    /// Its id.
    pub fn group_id(&self) -> &str {
        self.text(0)
    }

    /// What kind of group it is, such as `consumer`; empty where it never had members.
    pub fn protocol_type(&self) -> &str {
        self.text(1)
    }

    /// Its state by Kafka's name, such as `Stable`; empty where the broker does not say.
    pub fn group_state(&self) -> &str {
        self.text(2)
    }

    /// Its type by Kafka's name, such as `classic`; empty where the broker does not say.
    pub fn group_type(&self) -> &str {
        self.text(3)
    }

    fn text(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        let end = self.ends.get(index).map_or(self.texts.len(), |end| *end as usize);
        self.texts.get(start..end).unwrap_or_default()
    }
}

impl std::fmt::Debug for ListedGroup {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ListedGroup")
            .field("group_id", &self.group_id())
            .field("protocol_type", &self.protocol_type())
            .field("group_state", &self.group_state())
            .field("group_type", &self.group_type())
            .finish()
    }
}

wire_struct! {
    /// The group as it stands on the wire.
    pub struct Table {
        /// Its id.
        group_id: String [0..],
        /// What kind of group it is.
        protocol_type: String [0..],
        /// Its state.
        group_state: String [4..; ignorable],
        /// Its type.
        group_type: String [5..; ignorable],
    }
}

impl From<Table> for ListedGroup {
    fn from(table: Table) -> Self {
        Self::new(&table.group_id, &table.protocol_type, &table.group_state, &table.group_type)
    }
}

impl From<&ListedGroup> for Table {
    fn from(group: &ListedGroup) -> Self {
        Self {
            group_id: group.group_id().to_owned(),
            protocol_type: group.protocol_type().to_owned(),
            group_state: group.group_state().to_owned(),
            group_type: group.group_type().to_owned(),
        }
    }
}

// What the texts were charged for is what they take once they are in one piece.
field_as_table! { ListedGroup as Table }

message! { ListGroupsRequest => ListGroupsResponse: ListGroups, 0..=5, flexible 3 }
