//! One group: its topics, its members, and what its coordinator and its members say of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ottla::{Consumer, Producer, ProducerRecord, TopicPartition};
use protocol_tests::kafka::Signal;
use protocol_tests::suite::TestCluster;
use protocol_tests::verifiable::{Event, Program};

use crate::member::{Client, Membership};
use crate::readings::Readings;
use crate::rules::{Shares, Strategy, Topics};
use crate::shared::Means;

/// The shortest session that brokers allow by default.
const SESSION: Duration = Duration::from_secs(6);
/// A static member is back by then.
const STATIC_SESSION: Duration = Duration::from_mins(1);
/// Until a member has ended; a JVM takes its time.
const END: Duration = Duration::from_secs(30);

/// The number of the next group's topics: names that failures can show.
static NEXT: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct Group {
    means: Means,
    cluster: TestCluster,
    name: String,
    pub(crate) strategy: Strategy,
    /// Whether its members are static.
    is_static: bool,
    pub(crate) topics: Topics,
    /// Who is in it, by the labels with which their member ids begin.
    pub(crate) members: BTreeMap<String, Program>,
    /// What those who were in it had told.
    past: Vec<(String, Vec<Event>)>,
    client: ottla::Client,
    producer: Producer,
    /// Asks what the group has committed.
    offsets: Consumer,
    acknowledged: RefCell<BTreeMap<TopicPartition, i64>>,
}

/// A group as its coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// The members' shares, by member id.
    pub(crate) shares: Shares,
    /// The leader's member id.
    pub(crate) leader: String,
    pub(crate) generation: i32,
}

impl Group {
    /// A group without members, and its two topics.
    pub(crate) async fn new(means: &Means, name: &str, strategy: Strategy) -> Self {
        let name = name.replace("::", ".");
        let cluster = TestCluster::kafka("mixed", means.kafka.clone());
        let mut topics = Topics::new();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        for (suffix, partitions) in [("wide", 5), ("narrow", 2)] {
            topics.insert(cluster.topic(&format!("{number}.{suffix}"), partitions).await, partitions);
        }
        let client = cluster.client();
        Self {
            means: means.clone(),
            producer: client.producer().build().expect("the settings are valid"),
            offsets: client.consumer().group_id(&name).build().expect("the settings are valid"),
            acknowledged: RefCell::new(partitions(&topics).map(|partition| (partition, 0)).collect()),
            cluster,
            name,
            strategy,
            is_static: false,
            topics,
            client,
            members: BTreeMap::new(),
            past: Vec::new(),
        }
    }

    /// The group, whose members are to be static.
    pub(crate) fn of_static_members(self) -> Self {
        Self { is_static: true, ..self }
    }

    /// Starts a member.
    pub(crate) async fn join(&mut self, client: Client, label: String) {
        let topics: Vec<_> = self.topics.keys().cloned().collect();
        let membership = Membership {
            bootstrap_servers: &self.cluster.bootstrap_servers(),
            group: &self.name,
            topics: &topics,
            strategy: self.strategy,
            session_timeout: if self.is_static { STATIC_SESSION } else { SESSION },
            is_static: self.is_static,
        };
        let program = self.means.programs.start(client, &label, &membership).await.expect("the member starts");
        self.members.insert(label, program);
    }

    /// Ends a member, and waits until its process is gone; so many records are sent to each partition meanwhile.
    pub(crate) async fn leave(&mut self, label: &str, signal: Signal, records: usize) {
        let program = self.members.remove(label).expect("it is a member");
        assert!(program.signal(signal).expect("there is a `kill`"), "{label} has ended by itself");
        self.send(records).await;
        let ended = program.ended(END).await.expect("the member ends");
        let has_closed = ended.events.iter().any(|event| event.name() == "shutdown_complete");
        assert_eq!(has_closed, signal == Signal::Terminate, "{label} ended: {}", ended.errors);
        self.past.push((label.to_owned(), ended.events));
    }

    /// Sends so many records to every partition, and waits until all are acknowledged.
    pub(crate) async fn send(&self, records: usize) {
        let mut sent = Vec::new();
        for partition in partitions(&self.topics).flat_map(|partition| std::iter::repeat_n(partition, records)) {
            let record = ProducerRecord::new(&*partition.topic).partition(partition.partition).value("v");
            sent.push(self.producer.enqueue(record).await.expect("the record is taken"));
        }
        for sent in sent {
            let metadata = sent.await.expect("the record is acknowledged");
            let mut acknowledged = self.acknowledged.borrow_mut();
            let end = acknowledged.entry(metadata.topic_partition).or_default();
            *end = (*end).max(metadata.offset.expect("with an offset") + 1);
        }
    }

    /// One beyond the last offset that was acknowledged, of each partition.
    pub(crate) fn acknowledged(&self) -> BTreeMap<TopicPartition, i64> {
        self.acknowledged.borrow().clone()
    }

    /// Who has read what so far.
    pub(crate) fn readings(&self) -> Readings {
        let mut readings = Readings::default();
        for (label, events) in &self.past {
            readings.add(label, events);
        }
        for (label, program) in &self.members {
            readings.add(label, &program.events());
        }
        readings
    }

    /// All that each member has told so far.
    pub(crate) fn told(&self) -> BTreeMap<String, Vec<Event>> {
        self.members.iter().map(|(label, program)| (label.clone(), program.events())).collect()
    }

    /// What the coordinator says of the group; `None` where it knows of no assignment yet.
    pub(crate) async fn described(&self) -> Option<Described> {
        let kafka = &self.means.kafka;
        let members = kafka.peer().await.members(&self.cluster.bootstrap_servers(), &self.name).await.ok()?;
        let shares = members.into_iter().map(|member| (member.member_id, member.partitions)).collect();
        let log = kafka.cluster().log(0).expect("the broker has a log");
        // "Assignment received from leader LEADER for group GROUP for generation GENERATION. The group has ..."
        let for_group = format!(" for group {} for generation ", self.name);
        let (before, after) = log.rsplit_once(&for_group).filter(|(before, _)| before.contains(RECEIVED))?;
        let (_, leader) = before.rsplit_once(RECEIVED)?;
        let generation = after.split_once('.')?.0.parse().ok()?;
        Some(Described { shares, leader: leader.to_owned(), generation })
    }

    /// The partitions of which the group has not committed the end, as far as records were acknowledged.
    pub(crate) async fn uncommitted(&self) -> Vec<TopicPartition> {
        let committed = self.offsets.committed(partitions(&self.topics)).await.expect("the coordinator tells");
        let committed =
            |partition: &_| committed.get(partition).and_then(Option::as_ref).map_or(0, |found| found.offset);
        let mut uncommitted = self.acknowledged();
        uncommitted.retain(|partition, end| committed(partition) != *end);
        uncommitted.into_keys().collect()
    }

    /// Waits until `holds` says nothing against it. A minute later, what it says is a failure, with what the members have
    /// told.
    pub(crate) async fn until<T>(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> Result<T, String>) -> T {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        loop {
            match holds(self).await {
                Ok(found) => return found,
                Err(objection) => {
                    let is_over = tokio::time::Instant::now() > deadline;
                    assert!(!is_over, "not within a minute: {what}: {objection}\n{}", self.said());
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the members have told last, for failures.
    pub(crate) fn said(&self) -> String {
        let mut said = String::new();
        let running = self.members.iter().map(|(label, program)| (label, program.events(), program.errors()));
        let gone = self.past.iter().map(|(label, events)| (label, events.clone(), "(gone)".to_owned()));
        for (label, events, errors) in gone.chain(running) {
            let last = &events[events.len().saturating_sub(40)..];
            let lines = last.iter().map(|event| &*event.line).chain([&*errors]);
            said.extend(["--- ", label].into_iter().chain(lines.flat_map(|line| ["\n", line])).chain(["\n"]));
        }
        said
    }

    pub(crate) async fn close(self) {
        self.offsets.close().await.expect("it closes");
        self.client.close().await;
    }
}

const RECEIVED: &str = "Assignment received from leader ";

fn partitions(topics: &Topics) -> impl Iterator<Item = TopicPartition> {
    topics.iter().flat_map(|(topic, count)| (0..*count).map(|index| TopicPartition::new(&**topic, index)))
}
