//! What a seed decides: the cluster, the members and how each of them reads and commits, and everything that happens to them.
//!
//! All of it is drawn before the run begins, so that it can be printed, and so that what a member does cannot change what
//! befalls another. The plan keeps to what a cluster may be asked to survive: one node is away at a time, and what kills
//! it takes nothing that was acknowledged.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use ottla::NodeId;
use ottla_broker::{Fault, Loss};

use crate::faults::fault;

/// The nodes of the cluster.
pub(crate) const NODES: i32 = 3;
/// The topics that there are.
pub(crate) const TOPICS: [&str; 2] = ["letters", "parcels"];
/// The group.
pub(crate) const GROUP: &str = "readers";

/// A run, from beginning to end.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) timing: Timing,
    /// The partitions that each of [`TOPICS`] begins with.
    pub(crate) partitions: [i32; 2],
    /// The members that there may be.
    pub(crate) members: Vec<MemberPlan>,
    /// What happens, in order.
    pub(crate) actions: Vec<(Duration, Action)>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) session_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) max_poll_interval: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) default_api_timeout: Duration,
    pub(crate) metadata_max_age: Duration,
    pub(crate) partition_drain_timeout: Duration,
    pub(crate) fetch_max_wait: Duration,
    pub(crate) initial_rebalance_delay: Duration,
    pub(crate) coordinator_load_time: Duration,
    pub(crate) broker_session_timeout: Duration,
    pub(crate) replication_delay: Duration,
}

impl Timing {
    /// The longest that the group may take to come to rest once nothing goes wrong any more.
    ///
    /// Members that are gone are removed after their session, and so are those that an answer was lost of. A JoinGroup that
    /// was swallowed is given up after the rebalance timeout (`max.poll.interval.ms`) and 5 s. Until then the others may
    /// wait for it: another rebalance timeout. Partitions that a topic has got more are seen within the age of metadata, and
    /// cause a further rebalance; so do those that are given up cooperatively. What was asked of a node that is silent fails
    /// after the request timeout, and commits before a revocation go on for `default.api.timeout.ms`. An application that is
    /// slow then is so for 1.5 of its poll intervals at the most. In the end each member's next heartbeat is waited for. The
    /// rest is back-off.
    pub(crate) fn settle_bound(&self) -> Duration {
        let stuck = self.max_poll_interval + Duration::from_secs(5);
        let given_up = self.default_api_timeout + self.request_timeout + self.partition_drain_timeout;
        let rest =
            self.metadata_max_age + self.broker_session_timeout + self.coordinator_load_time + self.heartbeat_interval;
        let slow = self.max_poll_interval.mul_f64(1.5);
        slow + stuck + given_up + self.session_timeout + 2 * self.max_poll_interval + rest + Duration::from_secs(10)
    }
}

/// A member, in all of its lives.
#[derive(Clone, Debug)]
pub(crate) struct MemberPlan {
    /// Its randomness.
    pub(crate) seed: u64,
    /// Whether it is a static member.
    pub(crate) is_static: bool,
    /// The names of its assignors.
    pub(crate) assignors: &'static [&'static str],
    pub(crate) application: Application,
    /// The topics that it subscribes to when it starts.
    pub(crate) topics: BTreeSet<&'static str>,
    /// The longest that it takes for a record.
    pub(crate) pace: Duration,
    /// How often it drops what it waits for, of 100.
    pub(crate) drops_percent: u32,
    pub(crate) max_poll_bytes: usize,
    pub(crate) auto_commit_interval: Duration,
    /// Whether its listener takes its time.
    pub(crate) slow_listener: bool,
}

/// How a member reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    /// A loop over polls.
    Polls(Commits),
    /// `stream`, whose records are marked out of order; commits are automatic, or asked for now and then.
    Stream { automatic: bool },
    /// `run`: a task for each partition; commits are automatic, or by each partition's stream.
    Partitions { automatic: bool },
}

/// How a loop over polls commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commits {
    Automatic,
    /// After each poll's records, waiting.
    Sync,
    /// After each poll's records, without waiting.
    Async,
    /// An offset of its own for each partition that it has read.
    Offsets,
}

impl Application {
    pub(crate) fn is_automatic(self) -> bool {
        match self {
            Self::Polls(commits) => commits == Commits::Automatic,
            Self::Stream { automatic } | Self::Partitions { automatic } => automatic,
        }
    }
}

/// Something that happens to the cluster or to a member.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Start {
        member: usize,
    },
    Close {
        member: usize,
    },
    /// Its task and its sockets go, and nobody is told.
    Crash {
        member: usize,
    },
    /// Its application does nothing for so long.
    Slow {
        member: usize,
        lasting: Duration,
    },
    Subscribe {
        member: usize,
        topics: BTreeSet<&'static str>,
    },
    /// It unsubscribes, and subscribes again.
    Resubscribe {
        member: usize,
    },
    /// It goes back to an earlier offset of one of its partitions.
    SeekBack {
        member: usize,
    },
    /// It asks for a rebalance.
    EnforceRebalance {
        member: usize,
    },
    MoveCoordinator {
        to: NodeId,
    },
    MoveLeader {
        topic: &'static str,
        partition: i32,
        to: NodeId,
    },
    Stop {
        node: NodeId,
    },
    Kill {
        node: NodeId,
        loss: Loss,
    },
    StartNode {
        node: NodeId,
    },
    /// Resets the connections to a node.
    Cut {
        node: NodeId,
    },
    /// Connections to a node lose their other end, and never learn it.
    HalfOpen {
        node: NodeId,
    },
    Inject {
        fault: Fault,
    },
    AddPartitions {
        topic: &'static str,
        count: i32,
    },
}

impl Scenario {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let timing = timing(&mut random);
        let partitions = [random.i32(1..=6), random.i32(1..=4)];
        let members = members(&mut random);
        let actions = Plan::new(&timing, partitions, &members, random).draw();
        Self { seed, timing, partitions, members, actions }
    }
}

fn timing(random: &mut Rng) -> Timing {
    let seconds = Duration::from_secs;
    let session_timeout = seconds(random.u64(6..=10));
    let some = |random: &mut Rng, longest: u64| Duration::from_millis(random.u64(0..=longest));
    let now_and_then = |random: &mut Rng, longest| if random.bool() { some(random, longest) } else { Duration::ZERO };
    Timing {
        session_timeout,
        heartbeat_interval: session_timeout / random.u32(3..=6),
        max_poll_interval: seconds(random.u64(8..=20)),
        request_timeout: seconds(random.u64(3..=6)),
        default_api_timeout: seconds(random.u64(8..=15)),
        metadata_max_age: seconds(random.u64(5..=15)),
        partition_drain_timeout: seconds(random.u64(1..=5)),
        fetch_max_wait: Duration::from_millis([500, 1000, 3000][random.usize(0..3)]),
        initial_rebalance_delay: now_and_then(random, 3000),
        coordinator_load_time: now_and_then(random, 2000),
        broker_session_timeout: now_and_then(random, 5000),
        replication_delay: now_and_then(random, 10),
    }
}

/// Assignors that the members of a group choose from. Those of one line agree on one, whoever of them is there: a group
/// that was loaded by another coordinator knows of each member only the assignor that was chosen, and refuses whoever comes
/// without it.
const ASSIGNORS: &[&[&[&str]]] = &[
    &[&["range", "cooperative-sticky"]],
    &[&["range", "cooperative-sticky"]],
    &[&["range"]],
    &[&["roundrobin"]],
    &[&["sticky"]],
    &[&["cooperative-sticky"]],
    &[&["cooperative-sticky"]],
    &[&["cooperative-sticky", "range"], &["cooperative-sticky"]],
    &[&["range", "roundrobin"], &["range", "sticky"], &["range"]],
];

fn members(random: &mut Rng) -> Vec<MemberPlan> {
    let choice = ASSIGNORS[random.usize(0..ASSIGNORS.len())];
    let uniform = random.u32(0..3) == 0;
    let first = application(random);
    (0..random.usize(2..=5))
        .map(|_| MemberPlan {
            seed: random.u64(..),
            is_static: random.u32(0..4) == 0,
            assignors: choice[random.usize(0..choice.len())],
            application: if uniform { first } else { application(random) },
            topics: topics(random),
            pace: Duration::from_millis([0, 5, 40][random.usize(0..3)]),
            drops_percent: [0, 0, 10, 40][random.usize(0..4)],
            max_poll_bytes: [1, 300, 512 * 1024][random.usize(0..3)],
            auto_commit_interval: Duration::from_millis(random.u64(300..=5000)),
            slow_listener: random.u32(0..4) == 0,
        })
        .collect()
}

fn application(random: &mut Rng) -> Application {
    let automatic = random.bool();
    match random.u32(0..8) {
        0 | 1 => Application::Polls(Commits::Automatic),
        2 => Application::Polls(Commits::Sync),
        3 => Application::Polls(Commits::Async),
        4 => Application::Polls(Commits::Offsets),
        5 => Application::Stream { automatic },
        _ => Application::Partitions { automatic },
    }
}

fn topics(random: &mut Rng) -> BTreeSet<&'static str> {
    match random.u32(0..6) {
        0 => BTreeSet::from([TOPICS[0]]),
        1 => BTreeSet::from([TOPICS[1]]),
        _ => BTreeSet::from(TOPICS),
    }
}

/// Draws the actions, with an eye on what is up and what is down.
struct Plan<'p> {
    timing: &'p Timing,
    random: Rng,
    partitions: [i32; 2],
    running: Vec<bool>,
    /// Until when each member does nothing: what it is told meanwhile waits.
    slow_until: Vec<Duration>,
    /// The node that is away.
    away: Option<NodeId>,
    actions: Vec<(Duration, Action)>,
}

impl<'p> Plan<'p> {
    fn new(timing: &'p Timing, partitions: [i32; 2], members: &[MemberPlan], random: Rng) -> Self {
        let (running, slow_until) = (vec![false; members.len()], vec![Duration::ZERO; members.len()]);
        Self { timing, random, partitions, running, slow_until, away: None, actions: Vec::new() }
    }

    fn draw(mut self) -> Vec<(Duration, Action)> {
        let mut at = Duration::ZERO;
        for member in 0..self.running.len() {
            if member == 0 || self.random.u32(0..3) > 0 {
                self.actions.push((at, Action::Start { member }));
                self.running[member] = true;
                at += Duration::from_millis(self.random.u64(0..1500));
            }
        }
        let end = Duration::from_secs(self.random.u64(40..=90));
        let calm = self.random.u64(500..6000);
        loop {
            at += Duration::from_millis(self.random.u64(0..calm));
            if at >= end {
                return self.actions;
            }
            if let Some(action) = self.next(at) {
                self.actions.push((at, action));
            }
        }
    }

    fn next(&mut self, at: Duration) -> Option<Action> {
        Some(match self.random.u32(0..100) {
            0..20 => self.start_or_end()?,
            20..28 => self.slow(at)?,
            28..33 => Action::Subscribe { member: self.running_member()?, topics: topics(&mut self.random) },
            33..36 => Action::Resubscribe { member: self.running_member()? },
            36..39 => Action::SeekBack { member: self.running_member()? },
            39..41 => Action::EnforceRebalance { member: self.running_member()? },
            41..48 => Action::MoveCoordinator { to: self.node() },
            48..51 => self.move_leader(),
            51..61 => self.stop_or_start(),
            61..63 => Action::Cut { node: self.node() },
            63..65 => Action::HalfOpen { node: self.node() },
            65..68 => self.add_partitions()?,
            _ => Action::Inject { fault: fault(self.timing, &mut self.random) },
        })
    }

    fn start_or_end(&mut self) -> Option<Action> {
        let member = self.random.usize(0..self.running.len());
        let was_running = std::mem::replace(&mut self.running[member], true);
        if !was_running {
            return Some(Action::Start { member });
        }
        // Somebody stays.
        if self.running.iter().filter(|running| **running).count() < 2 {
            return None;
        }
        self.running[member] = false;
        Some(if self.random.bool() { Action::Close { member } } else { Action::Crash { member } })
    }

    fn slow(&mut self, at: Duration) -> Option<Action> {
        let member = self.running_member()?;
        if self.slow_until[member] > at {
            return None;
        }
        let lasting = self.timing.max_poll_interval.mul_f64(0.2 + 1.3 * self.random.f64());
        self.slow_until[member] = at + lasting;
        Some(Action::Slow { member, lasting })
    }

    fn running_member(&mut self) -> Option<usize> {
        let running: Vec<_> = (0..self.running.len()).filter(|member| self.running[*member]).collect();
        self.random.choice(running)
    }

    fn node(&mut self) -> NodeId {
        NodeId(self.random.i32(0..NODES))
    }

    fn move_leader(&mut self) -> Action {
        let topic = self.random.usize(0..2);
        let partition = self.random.i32(0..self.partitions[topic]);
        Action::MoveLeader { topic: TOPICS[topic], partition, to: self.node() }
    }

    fn stop_or_start(&mut self) -> Action {
        if let Some(node) = self.away.take() {
            return Action::StartNode { node };
        }
        let node = self.node();
        self.away = Some(node);
        match self.random.u32(0..3) {
            0 => Action::Stop { node },
            1 => Action::Kill { node, loss: Loss::Nothing },
            _ => Action::Kill { node, loss: Loss::Unreplicated },
        }
    }

    fn add_partitions(&mut self) -> Option<Action> {
        let topic = self.random.usize(0..2);
        if self.partitions[topic] >= 8 {
            return None;
        }
        self.partitions[topic] += self.random.i32(1..=2);
        Some(Action::AddPartitions { topic: TOPICS[topic], count: self.partitions[topic] })
    }
}
