//! What the members of a group say when others come, go and hang: a group of Java's, and one of ours.

use std::collections::BTreeSet;

use ottla::TopicPartition;
use protocol_tests::kafka::Signal;
use protocol_tests::suite::TestCluster;
use protocol_tests::verifiable::{Ended, Event, Program, assignment, partitions};

use crate::consumer::{filled_topic, has_read};
use crate::pair::{PATIENCE, SIDES, Side, Tool};
use crate::shared::tests;

tests![
    a_member_comes_and_goes_under_range,
    a_member_comes_and_goes_under_cooperative_sticky,
    a_member_that_hung_has_lost_its_partitions,
];

const PARTITIONS: i32 = 4;

/// A group of one side.
struct Group<'c> {
    cluster: &'c TestCluster,
    side: Side,
    topic: &'c str,
    id: String,
    strategy: &'static str,
}

/// What was told of an assignment: the event, and how many partitions.
type Change = (String, usize);

impl Group<'_> {
    async fn start_member(&self) -> Program {
        let bootstrap_servers = self.cluster.bootstrap_servers();
        let strategy = format!("org.apache.kafka.clients.consumer.{}", self.strategy);
        let arguments = [
            ["--bootstrap-server", &*bootstrap_servers],
            ["--topic", self.topic],
            ["--group-id", &*self.id],
            ["--assignment-strategy", &*strategy],
            ["--session-timeout", "6000"],
        ];
        self.side.start(self.cluster, Tool::Consumer, &arguments.concat()).await
    }
}

/// Waits until a member holds so many partitions.
async fn holds(member: &Program, count: usize) -> BTreeSet<TopicPartition> {
    let what = format!("it holds {count} partitions");
    let held = |events: &[Event]| Some(assignment(events)).filter(|held| held.len() == count);
    member.wait_for(&what, PATIENCE, held).await
}

async fn terminate(side: Side, member: Program) -> Ended {
    assert!(member.signal(Signal::Terminate).unwrap());
    let ended = member.ended(PATIENCE).await.unwrap();
    assert_eq!(ended.status.code(), Some(side.status_when_told_to_end()), "{}", ended.errors);
    ended
}

/// How the assignment of a member changed. A rebalance that brought nothing is left out: how many there are depends on who is
/// faster.
fn changes(events: &[Event]) -> Vec<Change> {
    let told = events.iter().map(|event| (event.name().to_owned(), partitions(event).count()));
    told.filter(|(name, count)| name.starts_with("partitions_") && *count > 0).collect()
}

async fn a_member_comes_and_goes_under_range(cluster: TestCluster) {
    let changes = come_and_go(&cluster, "RangeAssignor").await;
    let first = [("assigned", 4), ("revoked", 4), ("assigned", 2), ("revoked", 2), ("assigned", 4), ("revoked", 4)];
    assert_eq!(changes, [told(&first), told(&[("assigned", 2), ("revoked", 2)])]);
}

async fn a_member_comes_and_goes_under_cooperative_sticky(cluster: TestCluster) {
    let changes = come_and_go(&cluster, "CooperativeStickyAssignor").await;
    let first = [("assigned", 4), ("revoked", 2), ("assigned", 2), ("revoked", 4)];
    assert_eq!(changes, [told(&first), told(&[("assigned", 2), ("revoked", 2)])]);
}

fn told(changes: &[(&str, usize)]) -> Vec<Change> {
    changes.iter().map(|(what, count)| (format!("partitions_{what}"), *count)).collect()
}

/// A second member comes to a first one, and goes again. What both told, which is the same on each side.
async fn come_and_go(cluster: &TestCluster, strategy: &'static str) -> [Vec<Change>; 2] {
    let topic = filled_topic(cluster, "four", PARTITIONS, 5).await;
    let mut sides = Vec::new();
    for side in SIDES {
        let id = cluster.topic_name(side.name());
        let group = Group { cluster, side, topic: &topic, id, strategy };
        let first = group.start_member().await;
        holds(&first, 4).await;
        first.wait_for("it has read all", PATIENCE, |events| has_read(events, 20).then_some(())).await;
        let second = group.start_member().await;
        let (seconds, firsts) = (holds(&second, 2).await, holds(&first, 2).await);
        assert!(firsts.is_disjoint(&seconds), "{side:?}: {firsts:?}, {seconds:?}");
        let second = terminate(side, second).await;
        holds(&first, 4).await;
        let first = terminate(side, first).await;
        sides.push([changes(&first.events), changes(&second.events)]);
    }
    let ours = sides.pop().unwrap();
    assert_eq!(ours, sides[0], "ours, and Java's");
    ours
}

async fn a_member_that_hung_has_lost_its_partitions(cluster: TestCluster) {
    let topic = filled_topic(&cluster, "four", PARTITIONS, 5).await;
    let mut sides = Vec::new();
    for side in SIDES {
        let id = cluster.topic_name(side.name());
        let group = Group { cluster: &cluster, side, topic: &topic, id, strategy: "RangeAssignor" };
        let first = group.start_member().await;
        holds(&first, 4).await;
        first.wait_for("it has read all", PATIENCE, |events| has_read(events, 20).then_some(())).await;
        assert!(first.signal(Signal::Stop).unwrap());
        let second = group.start_member().await;
        // It gets them when the group has missed the first for longer than its session.
        holds(&second, 4).await;
        assert!(first.signal(Signal::Continue).unwrap());
        holds(&first, 2).await;
        holds(&second, 2).await;
        let (second, first) = (terminate(side, second).await, terminate(side, first).await);
        sides.push([changes(&first.events)[..3].to_vec(), changes(&second.events)]);
    }
    let ours = sides.pop().unwrap();
    assert_eq!(ours, sides[0], "ours, and Java's");
    // What is lost is told of as what is revoked.
    assert_eq!(ours[0], told(&[("assigned", 4), ("revoked", 4), ("assigned", 2)]));
}
