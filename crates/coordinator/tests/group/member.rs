//! A cluster, and members of its group that do what a consumer does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::{EmbeddedCluster, EmbeddedClusterBuilder, Transport};
use ottla_cluster::{Address, Cluster, ClusterConfig};
use ottla_connection::MemoryNetwork;
use ottla_coordinator::assignor::{Assignor, AssignorError, GroupMember, MemberAssignment, RebalanceProtocol, Topics};
use ottla_coordinator::{
    Assigned, Coordinator, CoordinatorHandle, GroupConfig, GroupEvent, LostReason, OffsetAndMetadata, RebalanceReason,
};
use ottla_wire::TopicPartition;
use tokio::time::Instant;

pub(crate) const GROUP: &str = "group";
pub(crate) const TOPIC: &str = "topic";

/// Longer than anything takes that is to come about.
pub(crate) const SOON: Duration = Duration::from_mins(10);

/// Kafka's default.
pub(crate) const MAX_POLL_INTERVAL: Duration = Duration::from_mins(5);

pub(crate) fn in_memory() -> EmbeddedClusterBuilder {
    EmbeddedCluster::builder().transport(Transport::Memory(MemoryNetwork::new())).start_time_ms(1_000_000).seed(1)
}

/// Three nodes, and a topic of six partitions.
pub(crate) async fn start(builder: EmbeddedClusterBuilder) -> EmbeddedCluster {
    let cluster = builder.nodes(3).start().await.unwrap();
    cluster.create_topic(TOPIC, 6, 3).await.unwrap();
    cluster
}

pub(crate) fn client_with(
    cluster: &EmbeddedCluster,
    seed: u64,
    configure: impl FnOnce(ClusterConfig) -> ClusterConfig,
) -> Cluster {
    let servers = cluster.bootstrap_servers();
    let servers = servers.split(',').map(|server| server.parse::<Address>().unwrap());
    let config = ClusterConfig::new(servers).connector(cluster.connector()).seed(seed);
    Cluster::new(configure(config)).unwrap()
}

pub(crate) fn client(cluster: &EmbeddedCluster) -> Cluster {
    client_with(cluster, 1, |config| config)
}

/// Gives out the partitions of each topic in turn, in the order of the members.
#[derive(Debug)]
pub(crate) struct InTurn {
    pub(crate) name: &'static str,
    pub(crate) protocol: RebalanceProtocol,
}

impl Assignor for InTurn {
    fn name(&self) -> &str {
        self.name
    }

    fn rebalance_protocol(&self) -> RebalanceProtocol {
        self.protocol
    }

    fn assign(&self, topics: &Topics, members: &[GroupMember]) -> Result<Vec<MemberAssignment>, AssignorError> {
        let mut results = vec![MemberAssignment::default(); members.len()];
        let owned = |member: &GroupMember, partition: &TopicPartition| {
            let mut owned = member.subscription.owned_partitions.partitions();
            owned.any(|(topic, index)| (topic, index) == (&*partition.topic, partition.partition))
        };
        for (topic, partitions) in &topics.0 {
            let wants = |member: &GroupMember| member.subscription.topics.iter().any(|wanted| wanted == &**topic);
            let wanting: Vec<usize> = (0..members.len()).filter(|index| wants(&members[*index])).collect();
            for partition in 0..partitions.count {
                let to = wanting[partition as usize % wanting.len()];
                let partition = TopicPartition::new(Arc::clone(topic), partition);
                let is_withheld = self.protocol == RebalanceProtocol::Cooperative
                    && members.iter().enumerate().any(|(index, member)| index != to && owned(member, &partition));
                if !is_withheld {
                    results[to].partitions.push(partition);
                }
            }
        }
        Ok(results)
    }
}

/// Kafka's defaults, and an eager assignor.
pub(crate) fn config() -> GroupConfig {
    let mut config = GroupConfig::new(GROUP);
    config.assignors = vec![Arc::new(InTurn { name: "in-turn", protocol: RebalanceProtocol::Eager })];
    config
}

pub(crate) fn topics(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

pub(crate) fn partitions(indexes: impl IntoIterator<Item = i32>) -> BTreeSet<TopicPartition> {
    indexes.into_iter().map(|index| TopicPartition::new(TOPIC, index)).collect()
}

pub(crate) fn offsets(offsets: &[(i32, i64)]) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
    let offset =
        |(partition, offset): &(i32, i64)| (TopicPartition::new(TOPIC, *partition), OffsetAndMetadata::new(*offset));
    offsets.iter().map(offset).collect()
}

/// A member that gives up what it has to and joins whenever it is told to, from within [`poll_until`](Self::poll_until).
pub(crate) struct Member {
    pub(crate) coordinator: Coordinator,
    pub(crate) assignment: BTreeSet<TopicPartition>,
    pub(crate) lost: Vec<LostReason>,
    pub(crate) reasons: Vec<RebalanceReason>,
    pub(crate) assigned: Vec<Assigned>,
}

impl Member {
    /// One that subscribes to the topic, and joins.
    pub(crate) fn join(cluster: &Cluster, config: GroupConfig) -> Self {
        let coordinator = Coordinator::new(cluster.clone(), config).unwrap();
        coordinator.handle().subscribe(topics(&[TOPIC]));
        coordinator.handle().join(Vec::new());
        let (assignment, lost, reasons, assigned) = (BTreeSet::new(), Vec::new(), Vec::new(), Vec::new());
        Self { coordinator, assignment, lost, reasons, assigned }
    }

    pub(crate) fn handle(&self) -> &CoordinatorHandle {
        self.coordinator.handle()
    }

    /// Polls until something is so.
    pub(crate) async fn poll_until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        let mut given_up_at = Instant::now() + SOON;
        while !is_so(self) {
            // A poll goes on for as long as it says so.
            self.handle().poll_begins();
            let ready = tokio::time::timeout(MAX_POLL_INTERVAL / 2, self.handle().event_ready());
            if ready.await.is_ok() {
                given_up_at = Instant::now() + SOON;
            }
            assert!(Instant::now() < given_up_at, "nothing happens: {:?} {:?}", self.assigned, self.lost);
            while let Some(event) = self.handle().next_event() {
                self.take(event);
            }
        }
        self.handle().poll_ends();
    }

    fn take(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::RebalanceNeeded { reason } => {
                self.reasons.push(reason);
                if self.handle().rebalance_protocol() == RebalanceProtocol::Eager {
                    self.assignment.clear();
                }
                self.handle().join(self.assignment.iter().cloned().collect());
            }
            GroupEvent::Assigned(assigned) => {
                let gives_up = self.assignment.iter().any(|owned| !assigned.partitions.contains(owned));
                self.assignment.clone_from(&assigned.partitions);
                self.assigned.push(assigned);
                if gives_up && self.handle().rebalance_protocol() == RebalanceProtocol::Cooperative {
                    self.handle().rejoin("gave up partitions");
                }
            }
            GroupEvent::Lost { reason } => {
                self.lost.push(reason);
                self.assignment.clear();
                self.handle().join(Vec::new());
            }
            GroupEvent::Failed(error) => panic!("failed: {error}"),
            event => panic!("unknown event {event:?}"),
        }
    }

    /// Until it has been assigned so many times.
    pub(crate) async fn poll_until_assigned(&mut self, times: usize) {
        self.poll_until(|member| member.assigned.len() >= times).await;
    }
}

/// Until all partitions are shared among all members, of one generation.
pub(crate) async fn settle(members: &mut [Member]) {
    let is_settled = |members: &[Member]| {
        let generation = |member: &Member| {
            let told = member.assigned.last()?.generation_id;
            member.handle().membership().map(|known| known.generation_id).filter(|known| *known == told)
        };
        let first = members.first().and_then(generation);
        let count: usize = members.iter().map(|member| member.assignment.len()).sum();
        first.is_some() && count == 6 && members.iter().all(|member| generation(member) == first)
    };
    let deadline = Instant::now() + SOON;
    while !is_settled(members) {
        assert!(
            Instant::now() < deadline,
            "not settled: {:?}",
            members.iter().map(|member| &member.assignment).collect::<Vec<_>>()
        );
        poll_all(members).await;
    }
}

/// Has each member do what is to be done now, and lets some time pass.
pub(crate) async fn poll_all(members: &mut [Member]) {
    for member in members {
        member.handle().poll_begins();
        while let Some(event) = member.handle().next_event() {
            member.take(event);
        }
        member.handle().poll_ends();
    }
    // Any of their events may be next; a member polls now and then as a consumer does.
    tokio::time::sleep(Duration::from_millis(20)).await;
}
