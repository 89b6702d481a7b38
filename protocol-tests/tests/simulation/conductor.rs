//! A run: the cluster, the members and the producer of one scenario, in one runtime whose time jumps, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use ottla::{Client, NodeId, TopicPartition};
use ottla_broker::{EmbeddedCluster, GroupState, Transport};
use ottla_connection::MemoryNetwork;
use ottla_wire::compression::Decompressor;
use ottla_wire::records::RecordBatches;
use tokio::time::Instant;

use crate::checker::Logs;
use crate::history::{Event, History, Name, Partitions};
use crate::member::{Command, Home, Running};
use crate::sabotage::Sabotage;
use crate::scenario::{Action, GROUP, NODES, Scenario, TOPICS};
use crate::workload::{DELIVERY_TIMEOUT, PartitionCounts, Workload, sequence_of};

/// What a run needs to be judged.
#[derive(Debug)]
pub(crate) struct World {
    scenario: Scenario,
    history: History,
    cluster: EmbeddedCluster,
    network: MemoryNetwork,
    home: Home,
    partitions: PartitionCounts,
    /// The members that run, and how many lives each has had.
    running: BTreeMap<usize, Running>,
    lives: Vec<u32>,
    /// Those that were told to close, and may be at it.
    closing: Vec<Running>,
    away: Option<NodeId>,
}

/// Runs a scenario to its end; what the logs held then. Needs a paused runtime of its own.
pub(crate) async fn conduct(scenario: Scenario, sabotage: Option<Sabotage>, history: History) -> Logs {
    let mut world = World::start(scenario, sabotage, history).await;
    let workload = world.start_workload();
    world.act().await;
    world.heal().await;
    world.settle().await;
    workload.finish().await;
    world.drain().await;
    world.close().await
}

impl World {
    async fn start(scenario: Scenario, sabotage: Option<Sabotage>, history: History) -> Self {
        let (network, timing) = (MemoryNetwork::new(), scenario.timing);
        let cluster = EmbeddedCluster::builder()
            .nodes(NODES)
            .seed(scenario.seed)
            .start_time_ms(START_TIME_MS)
            .transport(Transport::Memory(network.clone()))
            .default_replication_factor(NODES as i16)
            .group_initial_rebalance_delay(timing.initial_rebalance_delay)
            .coordinator_load_time(timing.coordinator_load_time)
            .broker_session_timeout(timing.broker_session_timeout)
            .replication_delay(timing.replication_delay)
            .start()
            .await
            .unwrap();
        let mut names = BTreeMap::new();
        for (topic, partitions) in TOPICS.into_iter().zip(scenario.partitions) {
            let id = cluster.create_topic(topic, partitions, NODES as i16).await.unwrap();
            names.insert(id, Arc::from(topic));
        }
        let home = Home {
            bootstrap_servers: cluster.bootstrap_servers(),
            connector: cluster.connector(),
            topic_names: Arc::new(names),
            timing,
            history: history.clone(),
            sabotage,
        };
        let partitions = Arc::new(Mutex::new(scenario.partitions));
        let lives = vec![0; scenario.members.len()];
        let (running, closing) = (BTreeMap::new(), Vec::new());
        Self { scenario, history, cluster, network, home, partitions, running, lives, closing, away: None }
    }

    fn start_workload(&self) -> Workload {
        let timing = &self.scenario.timing;
        let client = Client::builder()
            .bootstrap_servers(self.home.bootstrap_servers.as_str())
            .connector(Arc::clone(&self.home.connector))
            .client_id("writer")
            .seed(self.scenario.seed)
            .request_timeout(timing.request_timeout)
            .metadata_max_age(timing.metadata_max_age)
            .build()
            .unwrap();
        let random = Rng::with_seed(!self.scenario.seed);
        Workload::start(client, self.history.clone(), Arc::clone(&self.partitions), random)
    }

    async fn act(&mut self) {
        let started = Instant::now();
        for (at, action) in self.scenario.actions.clone() {
            tokio::time::sleep_until(started + at).await;
            self.take(action).await;
        }
    }

    async fn take(&mut self, action: Action) {
        self.history.record(Event::did(format!("{action:?}")));
        match action {
            Action::Start { member } => self.start_member(member),
            Action::Close { member } => {
                if let Some(running) = self.running.remove(&member) {
                    running.tell(Command::Close { calm: false });
                    if self.scenario.members[member].is_static {
                        // Two at a time of one instance id would fence each other.
                        running.ended().await;
                    } else {
                        // It goes on beside what comes next, and may be gone before or after its next life begins.
                        self.closing.push(running);
                    }
                }
            }
            Action::Crash { member } => {
                if let Some(running) = self.running.remove(&member) {
                    let name = running.name;
                    running.crash().await;
                    self.history.record(Event::Ended { member: name, how: "crashed" });
                }
            }
            Action::Slow { member, lasting } => self.tell(member, Command::Slow { lasting }),
            Action::Subscribe { member, topics } => self.tell(member, Command::Subscribe { topics }),
            Action::Resubscribe { member } => {
                let topics = self.scenario.members[member].topics.clone();
                self.tell(member, Command::Resubscribe { topics });
            }
            Action::SeekBack { member } => self.tell(member, Command::SeekBack),
            Action::EnforceRebalance { member } => self.tell(member, Command::EnforceRebalance),
            Action::Cut { node } => self.network.cut(self.cluster.address(node).unwrap()),
            Action::HalfOpen { node } => self.network.half_open(self.cluster.address(node).unwrap()),
            Action::Inject { fault } => {
                self.cluster.faults().inject(fault);
            }
            action => self.change_cluster(action).await,
        }
    }

    /// What the cluster may have reason to refuse: leaders move to replicas in sync only.
    async fn change_cluster(&mut self, action: Action) {
        let changed = match action {
            Action::MoveCoordinator { to } => self.cluster.move_coordinator(GROUP, to).await,
            Action::MoveLeader { topic, partition, to } => self.cluster.move_leader(topic, partition, to).await,
            Action::Stop { node } => {
                self.away = Some(node);
                self.cluster.stop_node(node).await
            }
            Action::Kill { node, loss } => {
                self.away = Some(node);
                self.cluster.kill_node(node, loss).await
            }
            Action::StartNode { node } => {
                self.away = None;
                self.cluster.start_node(node).await
            }
            Action::AddPartitions { topic, count } => {
                let added = self.cluster.add_partitions(topic, count).await;
                if added.is_ok() {
                    let place = TOPICS.iter().position(|name| *name == topic).unwrap();
                    self.partitions.lock().unwrap_or_else(PoisonError::into_inner)[place] = count;
                }
                added
            }
            _ => Ok(()),
        };
        if let Err(error) = changed {
            self.history.record(Event::did(format!("which was refused: {error}")));
        }
    }

    fn start_member(&mut self, member: usize) {
        self.lives[member] += 1;
        let name = Name { member, life: self.lives[member] };
        let running = Running::start(&self.home, name, &self.scenario.members[member]);
        self.running.insert(member, running);
    }

    fn tell(&self, member: usize, command: Command) {
        if let Some(running) = self.running.get(&member) {
            running.tell(command);
        }
    }

    /// From here on nothing goes wrong; and everybody wants everything, so that each partition finds an owner.
    async fn heal(&mut self) {
        self.cluster.faults().clear();
        if let Some(node) = self.away.take() {
            self.cluster.start_node(node).await.unwrap();
        }
        if self.running.is_empty() {
            self.start_member(0);
        }
        for running in self.running.values() {
            running.tell(Command::Quick);
            running.tell(Command::Subscribe { topics: BTreeSet::from(TOPICS) });
        }
        self.history.record(Event::Healed { bound: self.scenario.timing.settle_bound() });
    }

    async fn settle(&mut self) {
        let bound = self.scenario.timing.settle_bound();
        let (deadline, mut patience_ends) = (Instant::now() + bound, Some(Instant::now() + bound / 2));
        loop {
            self.restart_those_that_ended();
            if patience_ends.take_if(|end| *end <= Instant::now()).is_some() {
                self.ask_for_a_rebalance();
            }
            match self.settled().await {
                Ok(generation) => {
                    let members = self.running.values().map(|running| running.name).collect();
                    return self.history.record(Event::Settled { generation, members });
                }
                Err(state) if Instant::now() >= deadline => return self.history.record(Event::Unsettled { state }),
                Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    }

    /// A static member may be fenced through no fault of its own; all that ended otherwise are in the history.
    fn restart_those_that_ended(&mut self) {
        let ended = |(member, running): (&usize, &Running)| running.has_ended().then_some(*member);
        for member in self.running.iter().filter_map(ended).collect::<Vec<_>>() {
            self.history.record(Event::did(format!("restarts member {member}")));
            self.start_member(member);
            self.tell(member, Command::Subscribe { topics: BTreeSet::from(TOPICS) });
        }
    }

    /// A static member that comes back with other topics is given what it had: brokers rebalance for it only if that changes
    /// the assignor. So somebody has to ask for a rebalance then, and then only.
    fn ask_for_a_rebalance(&self) {
        let is_static = |member: &usize| self.scenario.members[*member].is_static;
        if let Some((_, running)) = self.running.iter().find(|(member, _)| is_static(member)) {
            self.history.record(Event::did(format!("{} asks for a rebalance", running.name)));
            running.tell(Command::EnforceRebalance);
        }
    }

    /// The generation that all agree on, or what stands against it.
    async fn settled(&self) -> Result<i32, String> {
        let group = self.cluster.describe_group(GROUP).await.map_err(|error| error.to_string())?;
        let generation = group.generation_id;
        if group.state != GroupState::Stable || group.members.len() != self.running.len() {
            let (members, state) = (group.members.len(), group.state);
            let wanted = self.running.len();
            return Err(format!("{state:?} in generation {generation} with {members} members, of {wanted} that run"));
        }
        let mut assigned = Partitions::new();
        for running in self.running.values() {
            let (name, consumer) = (running.name, &running.consumer);
            if !running.has_obeyed() {
                return Err(format!("{name} is still busy"));
            }
            let Some(membership) = consumer.group_metadata() else { return Err(format!("{name} is no member")) };
            let is_known = group.members.iter().any(|known| *known.member_id == *membership.member_id);
            if !is_known || membership.generation_id.0 != generation {
                let theirs = membership.generation_id;
                return Err(format!("{name} is in generation {theirs}, the group in {generation}; known: {is_known}"));
            }
            if !self.is_alive(name) {
                return Err(format!("{name} has not heard from its coordinator since all was healed"));
            }
            if consumer.rebalance_pending() {
                return Err(format!("{name} is to rejoin generation {generation}"));
            }
            let (in_generation, owned) = self.told(name);
            if in_generation != generation {
                return Err(format!("{name} has not taken over generation {generation}"));
            }
            assigned.extend(owned);
        }
        let missing = self.all_partitions().difference(&assigned).cloned().collect::<Vec<_>>();
        if missing.is_empty() { Ok(generation) } else { Err(format!("nobody has {missing:?}")) }
    }

    /// Whether a heartbeat of the member's was answered since nothing goes wrong any more. What went wrong just before is
    /// not known to everybody yet, such as a coordinator that has moved, or a connection that leads nowhere.
    fn is_alive(&self, name: Name) -> bool {
        let healed = |event: &Event| matches!(event, Event::Healed { .. });
        let alive = |event: &Event| matches!(event, Event::Alive { member } if *member == name);
        self.history.with(|entries| {
            let since = entries.iter().rev().map(|entry| &entry.event).take_while(|event| !healed(event));
            since.into_iter().any(alive)
        })
    }

    /// What the member's listener was told last: the generation, and all that is assigned to the member.
    fn told(&self, name: Name) -> (i32, Partitions) {
        self.history.with(|entries| {
            let last = entries.iter().rev().find_map(|entry| match &entry.event {
                Event::Assigned { member, generation, assignment, .. } if *member == name => {
                    Some((*generation, assignment.clone()))
                }
                Event::Revoked { member, .. } | Event::Lost { member, .. } if *member == name => {
                    Some((-1, Partitions::new()))
                }
                _ => None,
            });
            last.unwrap_or((-1, Partitions::new()))
        })
    }

    fn all_partitions(&self) -> Partitions {
        let counts = *self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let topics = TOPICS.into_iter().zip(counts);
        topics.flat_map(|(topic, count)| (0..count).map(move |index| TopicPartition::new(topic, index))).collect()
    }

    /// What consumers may read of each partition.
    async fn logs(&self) -> Logs {
        let mut logs = Logs::new();
        let mut decompressor = Decompressor::new(1 << 20);
        for partition in self.all_partitions() {
            let mut log = Vec::new();
            for bytes in self.cluster.batches(&partition.topic, partition.partition).await.unwrap() {
                for batch in RecordBatches::new(bytes) {
                    let open = batch.unwrap().open(&mut decompressor).unwrap();
                    log.extend(open.records().map(|record| sequence_of(record.unwrap().value())));
                }
            }
            logs.insert(partition, log);
        }
        logs
    }

    /// Waits until all has been processed, and what is committed automatically is.
    async fn drain(&self) {
        let deadline = Instant::now() + DRAIN_BOUND;
        // What a producer has given up on may be written yet: the logs are looked at again and again.
        while self.unprocessed(&self.logs().await) > 0 && Instant::now() < deadline {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        self.history.record(Event::Drained { in_time: self.unprocessed(&self.logs().await) == 0 });
        let deadline = Instant::now() + COMMIT_BOUND;
        while !self.all_is_committed(&self.logs().await).await && Instant::now() < deadline {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        self.note_committed().await;
    }

    fn unprocessed(&self, logs: &Logs) -> usize {
        let offsets =
            |(partition, log): (&TopicPartition, &Vec<_>)| (partition.clone(), (0..log.len() as i64).collect());
        let mut left: BTreeMap<TopicPartition, BTreeSet<i64>> = logs.iter().map(offsets).collect();
        self.history.with(|entries| {
            for entry in entries {
                if let Event::Processed { partition, offset, .. } = &entry.event
                    && let Some(left) = left.get_mut(partition)
                {
                    left.remove(offset);
                }
            }
        });
        left.values().map(BTreeSet::len).sum()
    }

    async fn all_is_committed(&self, logs: &Logs) -> bool {
        let Ok(committed) = self.cluster.committed_offsets(GROUP).await else { return false };
        let is_committed = |partition: &TopicPartition| {
            let end = logs.get(partition).map_or(0, |log| log.len() as i64);
            end == committed.get(partition).map_or(0, |committed| committed.offset)
        };
        let automatic = self.running.values().filter(|running| self.is_automatic(running.name));
        automatic.flat_map(|running| self.told(running.name).1).all(|partition| is_committed(&partition))
    }

    fn is_automatic(&self, name: Name) -> bool {
        self.scenario.members[name.member].application.is_automatic()
    }

    async fn note_committed(&self) {
        match self.cluster.committed_offsets(GROUP).await {
            Ok(committed) => {
                for (partition, committed) in committed {
                    self.history.record(Event::CommittedAtEnd { partition, offset: committed.offset });
                }
            }
            Err(error) => self.history.record(Event::did(format!("the committed offsets cannot be had: {error}"))),
        }
    }

    /// All members in good order, one after the other or all at once; then the cluster.
    async fn close(mut self) -> Logs {
        let at_once = self.scenario.seed.is_multiple_of(2);
        if at_once {
            self.running.values().for_each(|running| running.tell(Command::Close { calm: true }));
        }
        while let Some((_, running)) = self.running.pop_first() {
            running.tell(Command::Close { calm: true });
            running.ended().await;
        }
        for running in std::mem::take(&mut self.closing) {
            running.ended().await;
        }
        self.note_committed().await;
        let logs = self.logs().await;
        self.cluster.shutdown().await;
        logs
    }
}

/// 2025, in the clock of the brokers.
const START_TIME_MS: i64 = 1_735_689_600_000;
/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long the rest may take to be read once the group has settled: backlogs, at the slowest pace of one reader.
const DRAIN_BOUND: Duration = Duration::from_mins(1);
/// How long automatic commits may take once there is nothing more to read.
const COMMIT_BOUND: Duration = Duration::from_secs(10);
/// The longest that any run takes. Only something that hangs takes longer.
pub(crate) const RUN_BOUND: Duration = Duration::from_mins(30).saturating_add(DELIVERY_TIMEOUT);
