//! A run: the cluster, its logs and the readers of one scenario, in one runtime whose time jumps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ottla::{Compression, ConsumerHandle, NodeId, StartAt, TopicPartition};
use ottla_broker::{EmbeddedCluster, Error, Fault, Transport};
use ottla_connection::MemoryNetwork;
use ottla_wire::ApiKey;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::history::{Event, History, LogName, Name, Start};
use crate::logs::Logs;
use crate::reader::{Home, Running};
use crate::sabotage::Sabotage;
use crate::scenario::{Action, BatchPlan, LONGEST_SLOW, NODES, Place, RACKS, Scenario, TOPICS};

/// Everything of a run.
#[derive(Debug)]
struct World {
    scenario: Scenario,
    history: History,
    cluster: Arc<EmbeddedCluster>,
    /// Nodes that finish what they are at.
    stopping: JoinSet<Result<(), Error>>,
    network: MemoryNetwork,
    home: Home,
    logs: Logs,
    /// How many partitions each topic has by now.
    partitions: [i32; 2],
    readers: Vec<Running>,
    away: Vec<NodeId>,
    /// When the sessions of those that were killed end.
    sessions_end: Vec<Instant>,
    /// For what is decided as it goes.
    random: Rng,
}

/// Runs a scenario to its end. Needs a paused runtime of its own.
pub(crate) async fn conduct(scenario: Scenario, sabotage: Option<Sabotage>, history: History) {
    let mut world = World::start(scenario, sabotage, history).await;
    world.act().await;
    world.heal().await;
    world.catch_up().await;
    world.close().await;
}

impl World {
    async fn start(scenario: Scenario, sabotage: Option<Sabotage>, history: History) -> Self {
        let network = MemoryNetwork::new();
        let cluster = Arc::new(cluster(&scenario, &network).await);
        let mut logs = Logs::new(history.clone());
        for (topic, partitions) in TOPICS.into_iter().zip(scenario.partitions) {
            cluster.create_topic(topic, partitions, NODES as i16).await.unwrap();
            logs.made(topic);
        }
        if sabotage == Some(Sabotage::HideLeaderEpochs) {
            cluster.faults().inject(Fault::hide_leader_epochs().always());
        }
        let home = Home {
            bootstrap_servers: cluster.bootstrap_servers(),
            connector: cluster.connector(),
            timing: scenario.timing,
            history: history.clone(),
            largest_batch_bytes: largest_batch_bytes(&scenario),
            sabotage,
        };
        let readers = (0..).zip(&scenario.readers);
        let readers = readers.map(|(reader, plan)| Running::start(&home, Name { reader, life: 1 }, plan)).collect();
        let (partitions, random) = (scenario.partitions, Rng::with_seed(!scenario.seed));
        let (away, sessions_end) = (Vec::new(), Vec::new());
        Self {
            scenario,
            history,
            cluster,
            stopping: JoinSet::new(),
            network,
            home,
            logs,
            partitions,
            readers,
            away,
            sessions_end,
            random,
        }
    }

    async fn act(&mut self) {
        let started = Instant::now();
        for (at, action) in self.scenario.actions.clone() {
            self.wait_until(started + at).await;
            if !matches!(action, Action::Write { .. }) {
                self.history.record(Event::did(format!("{action:?}")));
            }
            self.take(action).await;
        }
    }

    /// Whoever leads instead of a node that was killed is known when its session has ended.
    async fn wait_until(&mut self, at: Instant) {
        while let Some(ends) = self.sessions_end.first().copied().filter(|ends| *ends <= at) {
            tokio::time::sleep_until(ends).await;
            self.sessions_end.remove(0);
            self.look_at_all().await;
        }
        tokio::time::sleep_until(at).await;
    }

    async fn take(&mut self, action: Action) {
        match action {
            Action::Write { topic, partition, batch } => self.write(topic, partition, batch).await,
            Action::Cut { node } => self.network.cut(self.cluster.address(node).unwrap()),
            Action::HalfOpen { node } => self.network.half_open(self.cluster.address(node).unwrap()),
            Action::Latency { node, latency } => {
                self.network.set_latency(self.cluster.address(node).unwrap(), latency);
            }
            Action::Inject { fault } => {
                self.cluster.faults().inject(fault);
            }
            Action::Assign { reader, bits, start } => self.assign(reader, bits, start).await,
            Action::Seek { reader, partition, to } => self.seek(reader, partition, to).await,
            Action::Pause { reader, partition } => self.pause_or_resume(reader, partition, true),
            Action::Resume { reader, partition } => self.pause_or_resume(reader, partition, false),
            Action::Slow { reader, lasting } => self.readers[reader].be_slow(lasting),
            Action::Replace { reader } => self.replace(reader).await,
            action => {
                if let Err(error) = self.change_cluster(action).await {
                    self.history.record(Event::did(format!("which was refused: {error}")));
                }
                self.look_at_all().await;
            }
        }
    }

    /// What the cluster may have reason to refuse: leaders move to replicas in sync only.
    async fn change_cluster(&mut self, action: Action) -> Result<(), Error> {
        match action {
            Action::MoveLeader { topic, partition, to } => {
                self.cluster.move_leader(TOPICS[topic], partition as i32, to).await
            }
            Action::Stop { node } => {
                self.away.push(node);
                let cluster = Arc::clone(&self.cluster);
                self.stopping.spawn(async move { cluster.stop_node(node).await });
                // Its leaders have moved then; it goes on with what it is at.
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(())
            }
            Action::Kill { node, loss } => {
                self.away.push(node);
                let session = self.scenario.timing.broker_session_timeout + Duration::from_millis(1);
                self.sessions_end.push(Instant::now() + session);
                self.cluster.kill_node(node, loss).await
            }
            Action::StartNode { node } => {
                self.away.retain(|away| *away != node);
                self.all_have_stopped().await;
                self.cluster.start_node(node).await
            }
            Action::PauseReplication { node } => self.cluster.pause_replication(node).await,
            Action::ResumeReplication { node } => self.cluster.resume_replication(node).await,
            Action::DeleteRecords { topic, partition, share } => {
                let log = self.logs.name(TOPICS[topic], partition as i32);
                let state = self.logs.look_at(&self.cluster, &log).await;
                let offset = state.start + ((state.readable - state.start) as f64 * share) as i64;
                self.cluster.delete_records(TOPICS[topic], partition as i32, offset).await
            }
            Action::AddPartitions { topic, count } => {
                self.cluster.add_partitions(TOPICS[topic], count).await?;
                self.partitions[topic] = count;
                Ok(())
            }
            // It is made where its replicas can be.
            Action::Recreate { topic } if self.away.is_empty() => {
                let name = TOPICS[topic];
                self.cluster.delete_topic(name).await?;
                // Told before it happens: whoever reads it notices in the same moment.
                self.logs.made(name);
                self.cluster.create_topic(name, self.partitions[topic], NODES as i16).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    async fn all_have_stopped(&mut self) {
        while let Some(stopped) = self.stopping.join_next().await {
            stopped.unwrap().unwrap();
        }
    }

    async fn write(&mut self, topic: usize, partition: usize, batch: BatchPlan) {
        let log = self.logs.name(TOPICS[topic], partition as i32);
        self.logs.write(&self.cluster, &log, batch, &self.away).await;
    }

    async fn look_at_all(&mut self) {
        for log in self.all_logs() {
            self.logs.look_at(&self.cluster, &log).await;
        }
    }

    fn all_logs(&self) -> Vec<LogName> {
        let topics = TOPICS.into_iter().zip(self.partitions);
        topics
            .flat_map(|(topic, count)| (0..count).map(move |index| (topic, index)))
            .map(|(topic, index)| self.logs.name(topic, index))
            .collect()
    }

    /// A place in a log as it is now.
    async fn start_at(&mut self, partition: &TopicPartition, place: Place) -> (StartAt, Start) {
        let log = self.logs.name(&partition.topic, partition.partition);
        let state = self.logs.look_at(&self.cluster, &log).await;
        let offset = match place {
            Place::Beginning => return (StartAt::Earliest, Start::Beginning),
            Place::End => return (StartAt::Latest, Start::End { readable: state.readable }),
            Place::Within(share) => state.start + ((state.end - state.start) as f64 * share) as i64,
            Place::Before(offsets) => (state.start - offsets).max(0),
            Place::Beyond(offsets) => state.end + offsets,
        };
        (StartAt::Offset(offset), Start::Offset(offset))
    }

    async fn assign(&mut self, reader: usize, bits: u64, place: Place) {
        let all = self.all_logs().into_iter().map(|log| log.partition);
        let mut chosen: BTreeSet<_> =
            all.clone().enumerate().filter(|(index, _)| bits >> (index % 64) & 1 == 1).map(|(_, name)| name).collect();
        if chosen.is_empty() {
            chosen = all.collect();
        }
        let mut starts = BTreeMap::new();
        for partition in &chosen {
            starts.insert(partition.clone(), self.start_at(partition, place).await);
        }
        let (name, handle) = (self.readers[reader].name, &self.readers[reader].handle);
        let before = handle.assignment();
        for partition in before.difference(&chosen).cloned() {
            self.history.record(Event::Unassigned { name, partition });
        }
        handle.assign(chosen.iter().cloned()).unwrap();
        for partition in chosen.difference(&before).cloned() {
            let (at, start) = starts[&partition];
            handle.seek_to(&partition, at).unwrap();
            self.history.record(Event::Assigned { name, partition, start });
        }
        self.history.record(Event::Paused { name, partitions: handle.paused() });
    }

    async fn seek(&mut self, reader: usize, partition: usize, place: Place) {
        let Some(partition) = self.assigned(reader, partition) else { return };
        let (at, start) = self.start_at(&partition, place).await;
        let Running { name, handle, .. } = &self.readers[reader];
        handle.seek_to(&partition, at).unwrap();
        self.history.record(Event::Sought { name: *name, partition, start });
    }

    fn pause_or_resume(&mut self, reader: usize, partition: usize, pauses: bool) {
        let Some(partition) = self.assigned(reader, partition) else { return };
        let Running { name, handle, .. } = &self.readers[reader];
        if pauses {
            handle.pause([&partition]).unwrap();
        } else {
            handle.resume([&partition]).unwrap();
        }
        let partitions = handle.paused();
        assert_eq!(partitions.contains(&partition), pauses, "{name} says whether {partition} is paused");
        self.history.record(Event::Paused { name: *name, partitions });
    }

    /// One of a reader's partitions.
    fn assigned(&self, reader: usize, partition: usize) -> Option<TopicPartition> {
        let assignment = self.readers[reader].handle.assignment();
        let place = partition.checked_rem(assignment.len())?;
        assignment.into_iter().nth(place)
    }

    /// The reader's consumer is closed, or dropped; the next one reads everything.
    async fn replace(&mut self, reader: usize) {
        let crashes = self.random.bool();
        let Name { life, .. } = self.readers[reader].name;
        let next = Running::start(&self.home, Name { reader, life: life + 1 }, &self.scenario.readers[reader]);
        let before = std::mem::replace(&mut self.readers[reader], next);
        if crashes {
            before.crash().await;
        } else {
            before.close().await;
        }
        self.assign(reader, u64::MAX, Place::Beginning).await;
    }

    /// From here on nothing goes wrong, and everybody reads.
    async fn heal(&mut self) {
        if self.home.sabotage != Some(Sabotage::HideLeaderEpochs) {
            self.cluster.faults().clear();
        }
        for node in self.cluster.nodes().collect::<Vec<_>>() {
            self.network.set_latency(self.cluster.address(node).unwrap(), Duration::ZERO);
            self.cluster.resume_replication(node).await.unwrap();
        }
        self.all_have_stopped().await;
        for node in std::mem::take(&mut self.away) {
            self.cluster.start_node(node).await.unwrap();
        }
        self.history.record(Event::Healed);
        self.look_at_all().await;
        for running in &self.readers {
            running.be_quick();
            let Running { name, handle, .. } = running;
            handle.resume(&handle.paused()).unwrap();
            self.history.record(Event::Paused { name: *name, partitions: handle.paused() });
        }
    }

    /// Waits until all is read: one record more of each log than there were when everybody knew where to read on. For
    /// whoever asks for the end may be told so late.
    async fn catch_up(&mut self) {
        let deadline = Instant::now() + self.scenario.timing.catch_up_bound();
        while !self.all_know_their_positions() && Instant::now() < deadline {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        for log in self.all_logs() {
            let batch = BatchPlan { records: 1, value_bytes: 0, compression: Compression::None, compressible: true };
            self.logs.write(&self.cluster, &log, batch, &[]).await;
        }
        loop {
            let missing = self.missing().await;
            if missing.is_empty() || Instant::now() >= deadline {
                // What has been received is about to be seen, by those whose application is slow still, too.
                tokio::time::sleep(LONGEST_SLOW + Duration::from_secs(1)).await;
                return self.history.record(Event::CaughtUp { missing });
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn all_know_their_positions(&self) -> bool {
        let knows_all = |handle: &ConsumerHandle| {
            let assignment = handle.assignment();
            assignment.iter().all(|partition| handle.position_now(partition).is_ok_and(|position| position.is_some()))
        };
        self.readers.iter().all(|running| knows_all(&running.handle))
    }

    /// What has not been read up to its end.
    async fn missing(&mut self) -> Vec<String> {
        let mut missing = Vec::new();
        for log in self.all_logs() {
            let state = self.logs.look_at(&self.cluster, &log).await;
            for Running { name, handle, reader, .. } in &self.readers {
                let position = handle.position_now(&log.partition);
                let is_at_end = matches!(position, Ok(Some(position)) if position == state.end);
                let is_assigned = handle.assignment().contains(&log.partition);
                if is_assigned && !is_at_end && reader.last_number(&log.partition) != state.last {
                    missing.push(format!("{name} is at {position:?} of {log}, which ends at {}", state.end));
                }
            }
        }
        missing
    }

    async fn close(mut self) {
        for log in self.all_logs() {
            let state = self.logs.look_at(&self.cluster, &log).await;
            let (start, end, last) = (state.start, state.end, state.last);
            self.history.record(Event::Remains { log, start, end, last });
        }
        for running in std::mem::take(&mut self.readers) {
            running.close().await;
        }
        let nodes = self.cluster.nodes().collect::<Vec<_>>();
        let fetches: u64 = nodes.iter().map(|node| self.cluster.faults().requests(*node, ApiKey::Fetch)).sum();
        self.history.record(Event::did(format!("{fetches} fetches in all")));
        Arc::into_inner(self.cluster).unwrap().shutdown().await;
    }
}

async fn cluster(scenario: &Scenario, network: &MemoryNetwork) -> EmbeddedCluster {
    let (plan, timing) = (&scenario.cluster, &scenario.timing);
    let mut builder = EmbeddedCluster::builder()
        .nodes(NODES)
        .seed(scenario.seed)
        .start_time_ms(START_TIME_MS)
        .transport(Transport::Memory(network.clone()))
        .racks(RACKS)
        .fetch_from_closest_replica(plan.fetch_from_closest_replica)
        .leader_hints(plan.leader_hints)
        .fetch_session_slots(plan.fetch_session_slots)
        .unclean_leader_election(scenario.loses_records())
        .broker_session_timeout(timing.broker_session_timeout)
        .replication_delay(timing.replication_delay)
        .replica_lag_time_max(timing.replica_lag_time_max);
    if let Some(newest) = plan.fetch_version {
        builder = builder.api_versions(ApiKey::Fetch, 4, newest);
    }
    builder.start().await.unwrap()
}

/// As large as any batch is in memory, or more.
fn largest_batch_bytes(scenario: &Scenario) -> usize {
    let bytes = |action: &Action| match action {
        Action::Write { batch, .. } => {
            batch.records as usize * (batch.value_bytes.max(crate::values::SHORTEST) + 20) + 100
        }
        _ => 0,
    };
    scenario.actions.iter().map(|(_, action)| bytes(action)).max().unwrap_or(0)
}

/// 2025, in the clock of the brokers.
const START_TIME_MS: i64 = 1_735_689_600_000;
/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// The longest that any run takes. Only something that hangs takes longer.
pub(crate) const RUN_BOUND: Duration = Duration::from_mins(15);
