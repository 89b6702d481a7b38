//! Groups in bad times: members come, go, crash and dawdle, the coordinator moves and stops, requests and answers are
//! lost, late or refused, all as a seed says. What must hold throughout: a partition has one owner in a generation. And
//! when the bad times are over, the group settles, and commits. A seed that fails is printed; `OTTLA_GROUP_SEED` runs
//! that one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ottla_broker::{EmbeddedCluster, Fault};
use ottla_cluster::Cluster;
use ottla_coordinator::GroupConfig;
use ottla_coordinator::assignor::RebalanceProtocol;
use ottla_wire::{ApiKey, ErrorCode, GenerationId, TopicPartition};
use tokio::time::Instant;

use crate::member::{
    GROUP, InTurn, Member, client_with, config, in_memory, offsets, partitions, poll_all, settle, start,
};

const SEEDS: std::ops::Range<u64> = 0..25;
const BAD_TIMES: Duration = Duration::from_mins(4);

#[tokio::test(start_paused = true)]
async fn eager_members_survive_bad_times() {
    run_all(RebalanceProtocol::Eager).await;
}

#[tokio::test(start_paused = true)]
async fn cooperative_members_survive_bad_times() {
    run_all(RebalanceProtocol::Cooperative).await;
}

async fn run_all(protocol: RebalanceProtocol) {
    let (mut generations, mut lost) = (0, 0);
    for seed in seeds() {
        let seen = Run::new(seed, protocol).await.run().await;
        generations += seen.0;
        lost += seen.1;
    }
    // Times that are not bad prove nothing.
    assert!(generations > 4 && lost > 0, "{generations} generations, {lost} memberships lost");
}

fn seeds() -> std::ops::Range<u64> {
    let one = std::env::var("OTTLA_GROUP_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    one.map_or(SEEDS, |seed| seed..seed + 1)
}

/// Prints the seed of a run that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with OTTLA_GROUP_SEED={}", self.0);
        }
    }
}

struct Run {
    seed: Seed,
    random: Rng,
    cluster: EmbeddedCluster,
    client: Cluster,
    config: GroupConfig,
    members: Vec<Member>,
    /// Members that nobody polls for now, and until when.
    asleep: Vec<(Instant, Member)>,
    owners: BTreeMap<(GenerationId, TopicPartition), Arc<str>>,
    checked: BTreeMap<Arc<str>, GenerationId>,
}

impl Run {
    async fn new(seed: u64, protocol: RebalanceProtocol) -> Self {
        let cluster = start(in_memory().seed(seed)).await;
        let client = client_with(&cluster, seed, |config| config.request_timeout(Duration::from_secs(10)));
        let mut config = config();
        config.session_timeout = Duration::from_secs(10);
        config.max_poll_interval = Duration::from_secs(30);
        config.assignors = vec![Arc::new(InTurn { name: "in-turn", protocol })];
        Self {
            seed: Seed(seed),
            random: Rng::with_seed(seed),
            members: (0..3).map(|_| Member::join(&client, config.clone())).collect(),
            cluster,
            client,
            config,
            asleep: Vec::new(),
            owners: BTreeMap::new(),
            checked: BTreeMap::new(),
        }
    }

    /// Gives how many generations there were, and how many memberships were lost.
    async fn run(mut self) -> (usize, usize) {
        let end = Instant::now() + BAD_TIMES;
        while Instant::now() < end {
            self.happen().await;
            let next = Instant::now() + Duration::from_millis(self.random.u64(100..15_000));
            while Instant::now() < next {
                self.poll().await;
            }
        }
        self.cluster.faults().clear();
        for node in self.cluster.nodes().collect::<Vec<_>>() {
            // An error: it is running.
            let _: Result<_, _> = self.cluster.start_node(node).await;
        }
        self.members.extend(self.asleep.drain(..).map(|(_, member)| member));
        let before = Instant::now();
        // Whoever was removed meanwhile learns of it with the next heartbeat that is answered.
        while before.elapsed() < Duration::from_secs(30) {
            self.poll().await;
        }
        settle(&mut self.members).await;
        self.check();
        assert!(before.elapsed() < Duration::from_mins(2), "seed {}: {:?}", self.seed.0, before.elapsed());
        for (index, member) in self.members.iter().enumerate() {
            let owned = member.assignment.iter().map(|owned| (owned.partition, 1000 + index as i64));
            member.handle().commit(offsets(&owned.collect::<Vec<_>>())).await.unwrap();
        }
        let found = self.members[0].handle().committed(partitions(0..6), Duration::from_secs(5)).await.unwrap();
        assert!(found.values().all(|found| found.as_ref().is_some_and(|found| found.offset >= 1000)), "{found:?}");
        let generations: BTreeSet<_> = self.owners.keys().map(|(generation, _)| generation).collect();
        (generations.len(), self.members.iter().map(|member| member.lost.len()).sum())
    }

    /// Something happens.
    async fn happen(&mut self) {
        let nodes: Vec<_> = self.cluster.nodes().collect();
        match self.random.u32(0..12) {
            0 | 1 if self.members.len() < 5 => self.members.push(Member::join(&self.client, self.config.clone())),
            2 if self.members.len() > 1 => drop(self.members.swap_remove(self.random.usize(0..self.members.len()))),
            3 if self.members.len() > 1 => {
                let member = self.members.swap_remove(self.random.usize(0..self.members.len()));
                // It may fail: these are bad times.
                let _: Result<_, _> = member.coordinator.close(Some("done"), Duration::from_secs(2)).await;
            }
            4 if self.members.len() > 1 => {
                let member = self.members.swap_remove(self.random.usize(0..self.members.len()));
                let until = Instant::now() + Duration::from_secs(self.random.u64(1..60));
                self.asleep.push((until, member));
            }
            5 => {
                let to = self.random.choice(&nodes).copied().unwrap();
                // It may be moving already, or the node be down.
                let _: Result<_, _> = self.cluster.move_coordinator(GROUP, to).await;
            }
            6 => {
                let node = self.random.choice(&nodes).copied().unwrap();
                // Whether it was running or not.
                let _: Result<_, _> = self.cluster.stop_node(node).await;
            }
            7 | 8 => {
                for node in nodes {
                    // Whether it was running or not.
                    let _: Result<_, _> = self.cluster.start_node(node).await;
                }
            }
            _ => {
                let fault = self.fault();
                self.cluster.faults().inject(fault);
            }
        }
    }

    fn fault(&mut self) -> Fault {
        let codes = [
            ErrorCode::NotCoordinator,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::RebalanceInProgress,
            ErrorCode::UnknownMemberId,
            ErrorCode::IllegalGeneration,
        ];
        let apis = [ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::Heartbeat, ApiKey::OffsetCommit, ApiKey::LeaveGroup];
        let fault = match self.random.u32(0..6) {
            0 => Fault::black_hole(),
            1 => Fault::close_connection(),
            2 => Fault::close_connection().after_handling(),
            3 => Fault::delay(Duration::from_millis(self.random.u64(100..12_000))),
            _ => {
                let code = self.random.choice(&codes).copied().unwrap();
                let fault = Fault::error(code);
                // JoinGroup does not know that code.
                let api = if code == ErrorCode::IllegalGeneration { ApiKey::SyncGroup } else { ApiKey::JoinGroup };
                return fault.on_api(api);
            }
        };
        let api = self.random.choice(&apis).copied().unwrap();
        fault.on_api(api).times(self.random.u32(1..4))
    }

    async fn poll(&mut self) {
        let now = Instant::now();
        let (awake, asleep) = self.asleep.drain(..).partition(|(until, _)| *until <= now);
        self.asleep = asleep;
        let awake: Vec<(Instant, Member)> = awake;
        self.members.extend(awake.into_iter().map(|(_, member)| member));
        poll_all(&mut self.members).await;
        tokio::time::sleep(Duration::from_millis(self.random.u64(1..500))).await;
        for member in &self.members {
            let owned = member.assignment.iter().next().filter(|_| self.random.u32(0..10) == 0);
            if let Some(owned) = owned {
                drop(member.handle().commit(offsets(&[(owned.partition, 1)])));
            }
        }
        self.check();
    }

    fn check(&mut self) {
        for member in &self.members {
            let Some(assigned) = member.assigned.last() else { continue };
            if self.checked.insert(Arc::clone(&assigned.member_id), assigned.generation_id)
                == Some(assigned.generation_id)
            {
                continue;
            }
            for partition in &assigned.partitions {
                let key = (assigned.generation_id, partition.clone());
                let owner = self.owners.entry(key).or_insert_with(|| Arc::clone(&assigned.member_id));
                assert_eq!(*owner, assigned.member_id, "{partition} in generation {}", assigned.generation_id);
            }
        }
        let members: BTreeSet<_> = self
            .members
            .iter()
            .filter_map(|member| member.handle().membership())
            .map(|member| member.member_id)
            .collect();
        self.checked.retain(|member_id, _| members.contains(member_id) || !self.asleep.is_empty());
    }
}
