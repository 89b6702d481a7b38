//! What a case gives to the assignor.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinator::assignor::{GroupMember, TopicPartitions, Topics};
use ottla_wire::GenerationId;
use ottla_wire::consumer_protocol::{PartitionsByTopic, Subscription};
use protocol_tests::golden::{self, Line};
use serde_json::Value;

/// A case, its topics also by their place in the record.
pub(crate) struct Case {
    pub(crate) topics: Topics,
    pub(crate) members: Vec<GroupMember>,
    /// Each topic's name and how many partitions it has.
    pub(crate) by_place: Vec<(Arc<str>, i32)>,
}

impl Case {
    pub(crate) fn read(line: &Line) -> Self {
        let racks = racks(line.array("brokers"));
        let mut topics = Topics::default();
        let mut by_place = Vec::new();
        for topic in line.array("topics") {
            let name: Arc<str> = text(&topic[0]).into();
            by_place.push((name.clone(), if topic[1].is_null() { 0 } else { integer(&topic[1]) }));
            if !topic[1].is_null() {
                let mut partitions = TopicPartitions::new(integer(&topic[1]));
                if let Some(replicas) = topic.get(2) {
                    let rack = |broker: &Value| racks[&integer(broker)].clone();
                    let of_partition = |brokers: &Value| array(brokers).iter().filter_map(rack).collect();
                    partitions = partitions.racks(array(replicas).iter().map(of_partition).collect());
                }
                topics.0.insert(name, partitions);
            }
        }
        let members = line.array("members").iter().map(|record| member(line, record, &by_place)).collect();
        Self { topics, members, by_place }
    }

    /// The partitions of runs `[topic, [partitions]]`.
    pub(crate) fn partitions(&self, runs: &Value) -> Vec<(Arc<str>, i32)> {
        partitions(runs, &self.by_place)
    }
}

fn racks(brokers: &[Value]) -> BTreeMap<i32, Option<Arc<str>>> {
    brokers.iter().map(|broker| (integer(&broker[0]), broker[1].as_str().map(Arc::from))).collect()
}

fn member(line: &Line, record: &Value, topics: &[(Arc<str>, i32)]) -> GroupMember {
    let user_data = |text: &str| Bytes::from(golden::decode_base64(text).expect("base64"));
    let subscription = Subscription {
        topics: array(&record["topics"]).iter().map(|place| &topics[integer(place) as usize].0).collect(),
        user_data: record["user_data"].as_str().map(user_data),
        owned_partitions: record
            .get("owned")
            .map_or_else(PartitionsByTopic::default, |runs| partitions(runs, topics).into_iter().collect()),
        generation_id: record
            .get("generation")
            .map_or(GenerationId::NONE, |generation| GenerationId(integer(generation))),
        rack_id: record["rack"].as_str().map(str::to_owned),
    };
    let known = ["id", "instance", "version", "topics", "owned", "generation", "rack", "user_data"];
    let unknown = record.as_object().expect("a member").keys().find(|name| !known.contains(&name.as_str()));
    assert_eq!(unknown, None, "{line}: a member that is not read");
    GroupMember::new(text(&record["id"]), record["instance"].as_str().map(str::to_owned), subscription)
}

fn partitions(runs: &Value, topics: &[(Arc<str>, i32)]) -> Vec<(Arc<str>, i32)> {
    let of_run = |run: &Value| {
        let topic = topics[integer(&run[0]) as usize].0.clone();
        array(&run[1]).iter().map(|index| (topic.clone(), integer(index))).collect::<Vec<_>>()
    };
    array(runs).iter().flat_map(of_run).collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn integer(value: &Value) -> i32 {
    i32::try_from(value.as_i64().expect("an integer")).expect("an int32")
}
