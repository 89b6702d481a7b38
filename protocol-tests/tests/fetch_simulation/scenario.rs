//! What a seed decides: the cluster, the readers and how each of them reads, and everything that happens to them.
//!
//! All of it is drawn before the run begins, so that it can be printed, and so that what a reader does cannot change what
//! befalls another.

use std::time::Duration;

use fastrand::Rng;
use ottla::{AutoOffsetReset, Compression, NodeId, OnTruncation};
use ottla_broker::{Fault, Loss};

use crate::plan::Plan;

/// The nodes of the cluster.
pub(crate) const NODES: i32 = 3;
/// The topics that there are.
pub(crate) const TOPICS: [&str; 2] = ["letters", "parcels"];
/// The racks of the nodes.
pub(crate) const RACKS: [&str; NODES as usize] = ["north", "east", "south"];

/// The longest that an application does nothing.
pub(crate) const LONGEST_SLOW: Duration = Duration::from_secs(8);

/// A run, from beginning to end.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) weather: Weather,
    pub(crate) timing: Timing,
    pub(crate) cluster: ClusterPlan,
    /// The partitions that each of [`TOPICS`] begins with.
    pub(crate) partitions: [i32; 2],
    pub(crate) readers: Vec<ReaderPlan>,
    /// What happens, in order.
    pub(crate) actions: Vec<(Duration, Action)>,
}

/// How bad it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing goes wrong, nobody seeks or pauses: everything is to be read once.
    Calm,
    /// Anything goes wrong, and no log loses what could be read.
    Rough,
    /// Logs lose what could be read, too.
    Wild,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) request_timeout: Duration,
    pub(crate) metadata_max_age: Duration,
    pub(crate) fetch_max_wait: Duration,
    pub(crate) broker_session_timeout: Duration,
    pub(crate) replication_delay: Duration,
    pub(crate) replica_lag_time_max: Duration,
}

impl Timing {
    /// The longest that readers may take to read everything once nothing goes wrong any more: what was asked of a node that is
    /// silent fails after the request timeout, and so may what is asked then over another connection; what the cluster has
    /// become is known within the age of metadata; a replica that lags leaves those in sync; the rest is back-off, and reading.
    pub(crate) fn catch_up_bound(&self) -> Duration {
        let known = self.metadata_max_age + self.broker_session_timeout + self.replica_lag_time_max;
        2 * self.request_timeout + known + self.fetch_max_wait + Duration::from_secs(20)
    }
}

/// How the cluster is set up.
#[derive(Clone, Debug)]
pub(crate) struct ClusterPlan {
    pub(crate) fetch_from_closest_replica: bool,
    pub(crate) leader_hints: bool,
    pub(crate) fetch_session_slots: usize,
    /// The newest version of Fetch that the nodes have; all, where nothing is said.
    pub(crate) fetch_version: Option<i16>,
}

/// A reader, in all of its lives.
#[derive(Clone, Debug)]
pub(crate) struct ReaderPlan {
    /// Its randomness.
    pub(crate) seed: u64,
    pub(crate) application: Application,
    pub(crate) policy: AutoOffsetReset,
    pub(crate) on_truncation: OnTruncation,
    /// The rack that it says it stands in.
    pub(crate) rack: Option<&'static str>,
    pub(crate) fetch_buffer_max_bytes: usize,
    pub(crate) fetch_max_bytes: i32,
    pub(crate) max_partition_fetch_bytes: i32,
    pub(crate) fetch_min_bytes: i32,
    pub(crate) max_poll_bytes: usize,
    /// The longest that it takes over a poll's batches.
    pub(crate) pace: Duration,
    /// How often it drops what it waits for, of 100.
    pub(crate) drops_percent: u32,
    /// Over how many polls it holds batches at the most.
    pub(crate) holds: usize,
}

/// How a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    /// A loop over polls.
    Polls,
    /// Record by record.
    Stream,
    /// A task for each partition.
    Partitions,
}

/// Where in a log, as it is by then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Beginning,
    End,
    /// So far between its beginning and its end.
    Within(f64),
    /// So many offsets before the beginning, which may be none of the log's.
    Before(i64),
    /// So many behind the end.
    Beyond(i64),
}

/// Something that happens to the cluster, its logs, or a reader. The partition that a reader seeks, pauses or resumes is drawn as a
/// number, and taken modulo how many it reads by then.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Write {
        topic: usize,
        partition: usize,
        batch: BatchPlan,
    },
    MoveLeader {
        topic: usize,
        partition: usize,
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
    PauseReplication {
        node: NodeId,
    },
    ResumeReplication {
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
    /// What is sent to a node, and by it, takes so long.
    Latency {
        node: NodeId,
        latency: Duration,
    },
    Inject {
        fault: Fault,
    },
    /// Deletes so much of a log, from its beginning on.
    DeleteRecords {
        topic: usize,
        partition: usize,
        share: f64,
    },
    AddPartitions {
        topic: usize,
        count: i32,
    },
    /// Deletes a topic, and makes it anew.
    Recreate {
        topic: usize,
    },
    /// A reader is given another assignment: the partitions whose bit is set. Those that it had go on where they are.
    Assign {
        reader: usize,
        bits: u64,
        start: Place,
    },
    Seek {
        reader: usize,
        partition: usize,
        to: Place,
    },
    Pause {
        reader: usize,
        partition: usize,
    },
    Resume {
        reader: usize,
        partition: usize,
    },
    /// Its application does nothing for so long.
    Slow {
        reader: usize,
        lasting: Duration,
    },
    /// It ends, and another begins.
    Replace {
        reader: usize,
    },
}

/// A batch to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchPlan {
    pub(crate) records: u64,
    pub(crate) value_bytes: usize,
    pub(crate) compression: Compression,
    pub(crate) compressible: bool,
}

impl Scenario {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let weather = [Weather::Calm, Weather::Rough, Weather::Rough, Weather::Wild][random.usize(0..4)];
        let timing = timing(weather, &mut random);
        let cluster = cluster(weather, &mut random);
        let partitions = [random.i32(1..=6), random.i32(1..=3)];
        let readers: Vec<_> = (0..random.usize(1..=3)).map(|_| reader(weather, &mut random)).collect();
        let actions = Plan::new(weather, &timing, partitions, &readers, random).draw();
        Self { seed, weather, timing, cluster, partitions, readers, actions }
    }

    /// Whether an election may lead to a replica that lacks what others had.
    pub(crate) fn loses_records(&self) -> bool {
        self.weather == Weather::Wild
    }
}

fn timing(weather: Weather, random: &mut Rng) -> Timing {
    let is_calm = weather == Weather::Calm;
    let mut now_and_then = |longest: u64| {
        let some = Duration::from_millis(random.u64(0..=longest));
        if !is_calm && random.bool() { some } else { Duration::ZERO }
    };
    let (broker_session_timeout, replication_delay) = (now_and_then(4000), now_and_then(300));
    Timing {
        request_timeout: Duration::from_secs(random.u64(3..=6)),
        metadata_max_age: Duration::from_secs(random.u64(5..=15)),
        fetch_max_wait: Duration::from_millis([100, 500, 2000][random.usize(0..3)]),
        broker_session_timeout,
        replication_delay,
        replica_lag_time_max: Duration::from_secs(random.u64(2..=8)),
    }
}

fn cluster(weather: Weather, random: &mut Rng) -> ClusterPlan {
    let is_calm = weather == Weather::Calm;
    ClusterPlan {
        fetch_from_closest_replica: random.bool(),
        leader_hints: random.bool(),
        fetch_session_slots: if is_calm { 1000 } else { [0, 1, 2, 1000, 1000][random.usize(0..5)] },
        fetch_version: [None, None, None, Some(12), Some(11), Some(6)][random.usize(0..6)],
    }
}

fn reader(weather: Weather, random: &mut Rng) -> ReaderPlan {
    let is_calm = weather == Weather::Calm;
    let policies =
        [AutoOffsetReset::Earliest, AutoOffsetReset::Earliest, AutoOffsetReset::Latest, AutoOffsetReset::None];
    let applications = [Application::Polls, Application::Polls, Application::Stream, Application::Partitions];
    let fetch_max_bytes = [1, 5_000, 100_000, 50 << 20][random.usize(0..4)];
    let max_partition_fetch_bytes = [1, 2_000, 30_000, 1 << 20][random.usize(0..4)];
    // Whoever asks for less than it waits for waits each time.
    let may_wait = fetch_max_bytes >= 5_000 && max_partition_fetch_bytes >= 30_000;
    ReaderPlan {
        seed: random.u64(..),
        application: applications[random.usize(0..4)],
        policy: policies[random.usize(0..4)],
        on_truncation: if random.bool() { OnTruncation::Reset } else { OnTruncation::Tell },
        rack: random.bool().then(|| RACKS[random.usize(0..3)]),
        fetch_buffer_max_bytes: [64 << 10, 128 << 10, 1 << 20, 32 << 20][random.usize(0..4)],
        fetch_max_bytes,
        max_partition_fetch_bytes,
        fetch_min_bytes: if may_wait && random.bool() { 3_000 } else { 1 },
        max_poll_bytes: [1, 2_000, 64 << 10, 512 << 10][random.usize(0..4)],
        pace: Duration::from_millis([0, 5, 200][random.usize(0..3)]),
        drops_percent: [0, 0, 10, 40][random.usize(0..4)],
        holds: if is_calm { 0 } else { [0, 0, 1, 4][random.usize(0..4)] },
    }
}
