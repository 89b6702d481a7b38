//! The assignors: how long the leader of a group takes over who reads what.
//!
//! A group is named by members x partitions, which are those of topics that have as many each. In *uniform* groups all
//! members subscribe to all topics, in *different* ones each to three tenths of them. `from_scratch` is the first
//! assignment; `one_left` and `one_joined` are the one after it, with everybody saying what they have. Throughput is in
//! partitions. What a member says is already decoded from its subscription, as the coordinator has it, except for user
//! data.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla_coordinator::assignor::{
    Assignor, GroupMember, LastAssignment, MemberAssignment, TopicPartitions, Topics, built_in,
};
use ottla_wire::GenerationId;
use ottla_wire::consumer_protocol::Subscription;

fn assignors(criterion: &mut Criterion) {
    for shape in SHAPES {
        for name in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
            let assignor = built_in(name).expect("it is built in");
            let subscribed = if shape.different { "different" } else { "uniform" };
            let partitions = shape.topics * shape.partitions;
            let mut group = criterion.benchmark_group(format!("{name}/{subscribed}/{}x{partitions}", shape.members));
            group.throughput(Throughput::Elements(partitions as u64));
            group.sample_size(20);
            for (phase, (topics, members)) in shape.phases(&*assignor) {
                group.bench_function(phase, |bencher| {
                    // The result's own drop is not the leader's concern until later.
                    bencher.iter_with_large_drop(|| {
                        assignor.assign(black_box(&topics), black_box(&members)).expect("it assigns")
                    });
                });
            }
            group.finish();
        }
    }
}

struct Shape {
    members: usize,
    topics: usize,
    /// Of each topic.
    partitions: usize,
    different: bool,
}

const SHAPES: [Shape; 5] = [
    Shape { members: 100, topics: 20, partitions: 100, different: false },
    Shape { members: 100, topics: 20, partitions: 100, different: true },
    Shape { members: 1000, topics: 100, partitions: 100, different: false },
    Shape { members: 1000, topics: 100, partitions: 1000, different: false },
    Shape { members: 500, topics: 200, partitions: 50, different: true },
];

impl Shape {
    /// What the assignor is given in each phase.
    fn phases(&self, assignor: &dyn Assignor) -> Vec<(&'static str, (Topics, Vec<GroupMember>))> {
        let topics = Topics(
            (0..self.topics)
                .map(|topic| (Arc::from(topic_name(topic)), TopicPartitions::new(self.partitions as i32)))
                .collect(),
        );
        let fresh: Vec<GroupMember> = (0..self.members).map(|member| self.member(member)).collect();
        let assigned = assignor.assign(&topics, &fresh).expect("it assigns");
        let mut phases = vec![("from_scratch", (topics.clone(), fresh.clone()))];
        if assignor.name().ends_with("sticky") {
            let settled = settled(assignor, &fresh, &assigned);
            phases.push(("one_left", (topics.clone(), settled[1..].to_vec())));
            let mut joined = settled;
            joined.push(self.member(self.members));
            phases.push(("one_joined", (topics, joined)));
        }
        phases
    }

    fn member(&self, member: usize) -> GroupMember {
        let subscribes = |topic: &usize| !self.different || (topic * 31 + member * 17) % 10 < 3;
        let topics = (0..self.topics).filter(subscribes).map(topic_name).collect();
        GroupMember::new(member_id(member), None, Subscription { topics, ..Subscription::default() })
    }
}

/// The members once they have what they were assigned.
fn settled(assignor: &dyn Assignor, members: &[GroupMember], assigned: &[MemberAssignment]) -> Vec<GroupMember> {
    let settle = |(member, assigned): (&GroupMember, &MemberAssignment)| {
        let last = LastAssignment::new(assigned.partitions.clone(), GenerationId(1));
        let mut member = member.clone();
        member.subscription.user_data = assignor.user_data(&last);
        member.subscription.owned_partitions =
            last.partitions.iter().map(|partition| (&*partition.topic, partition.partition)).collect();
        member.subscription.generation_id = GenerationId(1);
        member
    };
    members.iter().zip(assigned).map(settle).collect()
}

fn topic_name(topic: usize) -> String {
    format!("topic-{topic}")
}

/// As Java's clients have them: the client's id and a uuid.
fn member_id(member: usize) -> String {
    let scattered = (member as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    format!("consumer-group-1-{scattered:032x}")
}

criterion_group!(benches, assignors);
criterion_main!(benches);
