//! The rules by example.

use bytes::Bytes;
use ottla_wire::GenerationId;
use ottla_wire::consumer_protocol::{CooperativeUserData, StickyUserData};

use super::random::member;
use super::{NAMES, assign_all};
use crate::assignor::{
    Assignor, CooperativeStickyAssignor, GroupMember, LastAssignment, MemberAssignment, RangeAssignor,
    RebalanceProtocol, RoundRobinAssignor, StickyAssignor, TopicPartition, TopicPartitions, Topics, built_in,
};

/// Topics with so many partitions each.
fn topics(partitions: &[(&str, i32)]) -> Topics {
    Topics(partitions.iter().map(|(name, count)| ((*name).into(), TopicPartitions::new(*count))).collect())
}

/// A topic whose partitions have replicas in these racks.
fn in_racks(topics: Topics, name: &str, racks: &[&[&str]]) -> Topics {
    let mut topics = topics;
    let racks: Vec<_> = racks.iter().map(|racks| racks.iter().map(|rack| (*rack).into()).collect()).collect();
    topics.0.insert(name.into(), TopicPartitions::new(racks.len() as i32).racks(racks));
    topics
}

fn member_in(rack: &str, id: &str, topics: &[&str]) -> GroupMember {
    let mut member = member(id, topics);
    member.subscription.rack_id = Some(rack.to_owned());
    member
}

/// As Kafka's tools print it, such as `a-0 a-1`.
fn listed(assigned: &[MemberAssignment]) -> Vec<String> {
    let list = |member: &MemberAssignment| {
        let partitions: Vec<String> = member.partitions.iter().map(TopicPartition::to_string).collect();
        partitions.join(" ")
    };
    assigned.iter().map(list).collect()
}

#[test]
fn range_cuts_each_topic_and_the_first_get_one_more() {
    let members = [member("1", ["a", "b"]), member("2", ["a", "b"])];
    let assigned = assign_all(&RangeAssignor, &topics(&[("a", 3), ("b", 3)]), &members);
    assert_eq!(listed(&assigned), ["a-0 a-1 b-0 b-1", "a-2 b-2"]);
}

#[test]
fn round_robin_passes_over_who_does_not_subscribe() {
    let members = [member("1", ["a"]), member("2", ["a", "b"]), member("3", ["a", "b", "c"])];
    let assigned = assign_all(&RoundRobinAssignor, &topics(&[("a", 1), ("b", 2), ("c", 3)]), &members);
    assert_eq!(listed(&assigned), ["a-0", "b-0", "b-1 c-0 c-1 c-2"]);
}

#[test]
fn static_members_come_first_by_their_instance_id() {
    let mut members = [member("1", ["a"]), member("2", ["a"]), member("3", ["a"])];
    members[2].group_instance_id = Some("x".to_owned());
    members[1].group_instance_id = Some("y".to_owned());
    for assignor in [&RangeAssignor as &dyn Assignor, &RoundRobinAssignor] {
        let assigned = assign_all(assignor, &topics(&[("a", 3)]), &members);
        assert_eq!(listed(&assigned), ["a-2", "a-1", "a-0"]);
    }
}

#[test]
fn range_goes_by_racks_within_the_same_numbers() {
    let topics = in_racks(Topics::default(), "a", &[&["r2"], &["r1"], &["r2"], &["r1"], &["r1"]]);
    let members = [member_in("r1", "1", &["a"]), member_in("r2", "2", &["a"])];
    assert_eq!(listed(&assign_all(&RangeAssignor, &topics, &members)), ["a-1 a-3 a-4", "a-0 a-2"]);
}

#[test]
fn range_keeps_topics_co_partitioned_even_against_racks() {
    let topics = in_racks(Topics::default(), "a", &[&["r2"], &["r1"]]);
    let topics = in_racks(topics, "b", &[&["r1"], &["r1", "r2"]]);
    let members = [member_in("r1", "1", &["a", "b"]), member_in("r2", "2", &["a", "b"])];
    assert_eq!(listed(&assign_all(&RangeAssignor, &topics, &members)), ["a-1 b-1", "a-0 b-0"]);
}

#[test]
fn sticky_goes_by_racks_and_gives_up_what_stands_elsewhere() {
    let topics = in_racks(Topics::default(), "a", &[&["r1"], &["r2"], &["r1"], &["r2"]]);
    let mut members = [member_in("r1", "1", &["a"]), member_in("r2", "2", &["a"])];
    assert_eq!(listed(&assign_all(&StickyAssignor, &topics, &members)), ["a-0 a-2", "a-1 a-3"]);
    let had = ["a"].iter().flat_map(|topic| [(*topic, 0), (*topic, 1)]).collect();
    let user_data = StickyUserData { partitions: had, generation_id: Some(GenerationId(1)) };
    members[0].subscription.user_data = user_data.encode().ok();
    assert_eq!(listed(&assign_all(&StickyAssignor, &topics, &members)), ["a-0 a-2", "a-1 a-3"]);
}

#[test]
fn racks_play_no_part_where_every_partition_is_in_all_of_them() {
    let everywhere: [&[&str]; 4] = [&["r1", "r2"]; 4];
    let topics = in_racks(Topics::default(), "a", &everywhere);
    let members = [member_in("r2", "1", &["a"]), member_in("r1", "2", &["a"])];
    assert_eq!(listed(&assign_all(&RangeAssignor, &topics, &members)), ["a-0 a-1", "a-2 a-3"]);
    assert_eq!(listed(&assign_all(&StickyAssignor, &topics, &members)), ["a-0 a-2", "a-1 a-3"]);
}

#[test]
fn an_assignor_is_found_by_its_name_and_by_that_of_its_class() {
    let classes = ["RangeAssignor", "RoundRobinAssignor", "StickyAssignor", "CooperativeStickyAssignor"];
    for (name, class) in NAMES.into_iter().zip(classes) {
        for named in [name.to_owned(), format!("org.apache.kafka.clients.consumer.{class}")] {
            assert_eq!(built_in(&named).expect("it is built in").name(), name);
        }
    }
    for unknown in ["", "Range", "org.apache.kafka.clients.consumer.range", "RangeAssignor", "com.RangeAssignor"] {
        assert!(built_in(unknown).is_none(), "{unknown}");
    }
}

#[test]
fn only_the_cooperative_assignor_lets_members_keep_partitions() {
    for name in NAMES {
        let protocol = built_in(name).expect("it is built in").rebalance_protocol();
        assert_eq!(protocol == RebalanceProtocol::Cooperative, name == "cooperative-sticky", "{name}");
    }
}

#[test]
fn user_data_says_what_the_member_had_and_when() {
    let last = LastAssignment::new(vec![TopicPartition::new("a", 2), TopicPartition::new("b", 0)], GenerationId(7));
    let user_data = StickyAssignor.user_data(&last).expect("there was an assignment");
    let expected = [("a", 2), ("b", 0)].into_iter().collect();
    let expected = StickyUserData { partitions: expected, generation_id: Some(GenerationId(7)) };
    assert_eq!(StickyUserData::decode(user_data), Ok(expected));
    assert_eq!(StickyAssignor.user_data(&LastAssignment::default()), None, "before the first");
    let nothing = LastAssignment::new(Vec::new(), GenerationId(7));
    assert!(StickyAssignor.user_data(&nothing).is_some(), "an assignment of nothing is one");

    let expected = CooperativeUserData { generation_id: GenerationId(7) };
    let user_data = CooperativeStickyAssignor.user_data(&last).expect("always");
    assert_eq!(CooperativeUserData::decode(user_data), Ok(expected));
    let before_the_first = Some(Bytes::from_static(&[0xff; 4]));
    assert_eq!(CooperativeStickyAssignor.user_data(&LastAssignment::default()), before_the_first);

    for assignor in [&RangeAssignor as &dyn Assignor, &RoundRobinAssignor] {
        assert_eq!(assignor.user_data(&last), None);
    }
}
