//! What a producer and the members of a group told of one topic, as plain data: what was acknowledged, and step by step what
//! each member was assigned, read and committed.
//!
//! [`verdict`](crate::verdict) judges it, [`recovery`](crate::recovery) times it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio::time::Instant;

use crate::verifiable::{Event, partitions};

/// A producer and a group.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// In the order in which they were told.
    pub writes: Vec<Write>,
    /// Why sends failed, as the producer said.
    pub failed_sends: Vec<String>,
    /// A process each: one that was started again is another member.
    pub members: Vec<Member>,
}

/// A record that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The producer counts its records up.
    pub value: u64,
    /// Where it was written.
    pub partition: i32,
    /// And at which offset.
    pub offset: i64,
    /// When the acknowledgement was told.
    pub at: Instant,
}

/// One process of the group.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// What failures call it.
    pub name: String,
    /// In its own order.
    pub steps: Vec<Step>,
}

/// Something that a member told.
#[derive(Debug, Clone)]
pub struct Step {
    /// When it was told.
    pub at: Instant,
    /// The member's own clock, in milliseconds: unlike `at` it tells the order of two members' steps however late either is read.
    pub timestamp_ms: i64,
    /// What.
    pub what: What,
}

/// What a member told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no more that the programs tell")]
pub enum What {
    /// It holds these partitions from now on.
    Assigned(BTreeSet<i32>),
    /// It holds them no longer.
    Revoked(BTreeSet<i32>),
    /// A record.
    Read {
        /// Where it stood.
        partition: i32,
        /// And at which offset.
        offset: i64,
        /// The number that it was sent with.
        value: u64,
    },
    /// By partition the offset of the next record; the group's coordinator has acknowledged it.
    Committed(BTreeMap<i32, i64>),
}

impl History {
    /// Reads what `producer` and the members, each with its name, have told of `topic`. Lines that say nothing of it are passed over:
    /// programs have more to tell, and the last line of one that was killed may be cut short.
    pub fn read<'e>(
        topic: &str,
        producer: &[Event],
        members: impl IntoIterator<Item = (&'e str, &'e [Event])>,
    ) -> Self {
        let failure = |event: &&Event| event.name() == "producer_send_error";
        let member = |(name, events): (&str, &[Event])| Member {
            name: name.to_owned(),
            steps: events.iter().filter_map(|event| step(topic, event)).collect(),
        };
        Self {
            writes: producer.iter().filter_map(|event| write(topic, event)).collect(),
            failed_sends: producer.iter().filter(failure).map(|event| event.line.clone()).collect(),
            members: members.into_iter().map(member).collect(),
        }
    }

    /// Each partition's reads over all members, by time, and only the first of each record.
    pub fn first_reads(&self) -> BTreeMap<i32, Vec<(Instant, u64)>> {
        let mut reads: BTreeMap<i32, Vec<(Instant, u64)>> = BTreeMap::new();
        for step in self.members.iter().flat_map(|member| &member.steps) {
            if let What::Read { partition, value, .. } = step.what {
                reads.entry(partition).or_default().push((step.at, value));
            }
        }
        for reads in reads.values_mut() {
            reads.sort();
            let mut seen = BTreeSet::new();
            reads.retain(|(_, value)| seen.insert(*value));
        }
        reads
    }
}

fn write(topic: &str, event: &Event) -> Option<Write> {
    let is_write = event.name() == "producer_send_success" && event.json["topic"] == topic;
    let (partition, offset) = (is_write.then(|| partition(&event.json))??, event.json["offset"].as_i64()?);
    Some(Write { value: number(&event.json)?, partition, offset, at: event.at })
}

fn step(topic: &str, event: &Event) -> Option<Step> {
    let held = || partitions(event).filter(|held| *held.topic == *topic).map(|held| held.partition).collect();
    let what = match event.name() {
        "partitions_assigned" => What::Assigned(held()),
        "partitions_revoked" => What::Revoked(held()),
        "record_data" if event.json["topic"] == topic => What::Read {
            partition: partition(&event.json)?,
            offset: event.json["offset"].as_i64()?,
            value: number(&event.json)?,
        },
        "offsets_committed" if event.json["success"] == true => {
            let offsets = event.json["offsets"].as_array()?.iter().filter(|offset| offset["topic"] == topic);
            What::Committed(
                offsets.filter_map(|offset| Some((partition(offset)?, offset["offset"].as_i64()?))).collect(),
            )
        }
        _ => return None,
    };
    Some(Step { at: event.at, timestamp_ms: event.json["timestamp"].as_i64()?, what })
}

fn partition(json: &Value) -> Option<i32> {
    json["partition"].as_i64().and_then(|partition| i32::try_from(partition).ok())
}

/// The producer counts up, and may put a prefix and a dot before the number.
fn number(json: &Value) -> Option<u64> {
    json["value"].as_str()?.rsplit('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programs_print_is_read() {
        let at = Instant::now();
        let event =
            |line: &str| Event { at, line: line.to_owned(), json: serde_json::from_str(line).unwrap_or(Value::Null) };
        let producer = [
            r#"{"timestamp":1,"name":"startup_complete"}"#,
            r#"{"timestamp":2,"name":"producer_send_success","key":"0","value":"7.3","topic":"t","partition":1,"offset":5}"#,
            r#"{"timestamp":2,"name":"producer_send_error","key":"0","value":"7.4","topic":"t","exception":"class X","message":"no"}"#,
        ]
        .map(event);
        let member = [
            r#"{"timestamp":3,"name":"partitions_assigned","partitions":[{"topic":"t","partition":1}]}"#,
            r#"{"timestamp":4,"name":"record_data","key":"0","value":"7.3","topic":"t","partition":1,"offset":5}"#,
            r#"{"timestamp":4,"name":"records_consumed","count":1,"partitions":[]}"#,
            r#"{"timestamp":5,"name":"offsets_committed","offsets":[{"topic":"t","partition":1,"offset":6}],"success":true}"#,
            r#"{"timestamp":6,"name":"offsets_committed","offsets":[{"topic":"t","partition":1,"offset":7}],"success":false}"#,
            r#"{"timestamp":7,"name":"partitions_revoked","partitions":[{"topic":"t","partition":1}]}"#,
            r#"{"timestamp":8,"name":"record_da"#,
        ]
        .map(event);
        let history = History::read("t", &producer, [("a", &member[..])]);
        assert_eq!(history.writes, [Write { value: 3, partition: 1, offset: 5, at }]);
        assert_eq!(history.failed_sends, [producer[2].line.clone()]);
        let steps: Vec<_> =
            history.members[0].steps.iter().map(|step| (step.timestamp_ms, step.what.clone())).collect();
        assert_eq!(
            steps,
            [
                (3, What::Assigned([1].into())),
                (4, What::Read { partition: 1, offset: 5, value: 3 }),
                (5, What::Committed([(1, 6)].into())),
                (7, What::Revoked([1].into())),
            ]
        );
        assert_eq!(history.first_reads(), [(1, vec![(at, 3)])].into());
    }
}
