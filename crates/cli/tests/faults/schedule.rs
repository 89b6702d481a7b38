//! What goes wrong, and when the next thing may.
//!
//! A trouble is a pair of faults: something breaks, for both sides at the same moment, and comes back. It stays broken until all
//! partitions flow again on both sides, or for as long as there is patience: a hung broker may hold a client up for its whole
//! request timeout. The next trouble begins when the brokers are whole again and both groups share their partitions.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use protocol_tests::kafka::Signal;
use tokio::time::Instant;

use crate::LOOK_EVERY;
use crate::cluster::{BROKERS, Brokers};
use crate::side::{MEMBERS, Side};

/// What can break.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    BrokerKilled(usize),
    BrokerPaused(usize),
    MemberKilled(usize),
    MemberPaused(usize),
}

/// One moment of a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    BrokerKilled,
    BrokerStarted,
    BrokerPaused,
    BrokerContinued,
    MemberKilled,
    MemberStarted,
    MemberPaused,
    MemberContinued,
}

/// A fault that has happened.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// Which broker or member.
    which: usize,
    at: Instant,
    /// When the next came.
    until: Instant,
}

/// What has happened and is to happen.
#[derive(Debug)]
pub(crate) struct Schedule {
    time: Duration,
    /// How long something may stay broken.
    patience: Duration,
    faults: Vec<Fault>,
}

impl Schedule {
    /// Goes on for about `time`.
    pub(crate) fn new(time: Duration) -> Self {
        // A hung broker holds Java up for the request timeout of 30 s: long runs see the end of it.
        let patience = (time / 8).clamp(Duration::from_secs(10), Duration::from_secs(45));
        Self { time, patience, faults: Vec::new() }
    }

    pub(crate) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    pub(crate) async fn run(&mut self, brokers: &Brokers, sides: &mut [Side]) {
        whole(brokers, sides).await;
        let end = Instant::now() + self.time;
        for trouble in (0..).flat_map(round) {
            if Instant::now() >= end {
                break;
            }
            self.suffer(trouble, brokers, sides).await;
            whole(brokers, sides).await;
        }
        if let Some(last) = self.faults.last_mut() {
            last.until = Instant::now();
        }
    }

    async fn suffer(&mut self, trouble: Trouble, brokers: &Brokers, sides: &mut [Side]) {
        let processes = brokers.processes();
        match trouble {
            Trouble::BrokerKilled(broker) => {
                self.begin(FaultKind::BrokerKilled, broker);
                processes.kill_node(broker).await.expect("the broker dies");
                self.bear(sides).await;
                self.begin(FaultKind::BrokerStarted, broker);
                processes.start_node(broker).await.expect("the broker starts");
            }
            Trouble::BrokerPaused(broker) => {
                self.begin(FaultKind::BrokerPaused, broker);
                processes.pause_node(broker).expect("the broker pauses");
                self.bear(sides).await;
                self.begin(FaultKind::BrokerContinued, broker);
                processes.resume_node(broker).expect("the broker goes on");
            }
            Trouble::MemberKilled(member) => {
                self.begin(FaultKind::MemberKilled, member);
                signal_members(sides, member, Signal::Kill);
                for side in &mut *sides {
                    side.bury_member(member).await;
                }
                self.bear(sides).await;
                self.begin(FaultKind::MemberStarted, member);
                for side in &mut *sides {
                    side.start_member(member).await;
                }
            }
            Trouble::MemberPaused(member) => {
                self.begin(FaultKind::MemberPaused, member);
                signal_members(sides, member, Signal::Stop);
                self.bear(sides).await;
                self.begin(FaultKind::MemberContinued, member);
                signal_members(sides, member, Signal::Continue);
            }
        }
    }

    fn begin(&mut self, kind: FaultKind, which: usize) {
        let now = Instant::now();
        if let Some(last) = self.faults.last_mut() {
            last.until = now;
        }
        self.faults.push(Fault { kind, which, at: now, until: now });
    }

    /// Waits until everything flows in spite of what is broken, or the patience ends.
    async fn bear(&self, sides: &mut [Side]) {
        let begun = Instant::now();
        while begun.elapsed() < self.patience {
            tokio::time::sleep(LOOK_EVERY).await;
            if flow(sides) && begun.elapsed() > AT_LEAST {
                return;
            }
        }
    }
}

/// Each broker is killed and paused, and between them members, by turns: others in each round.
fn round(number: usize) -> impl Iterator<Item = Trouble> {
    (0..BROKERS).flat_map(move |broker| {
        let turn = number * BROKERS + broker;
        let member = (turn / 2 + turn) % MEMBERS;
        let of_member =
            if turn.is_multiple_of(2) { Trouble::MemberKilled(member) } else { Trouble::MemberPaused(member) };
        [Trouble::BrokerKilled(broker), Trouble::BrokerPaused((broker + 1) % BROKERS), of_member]
    })
}

/// The same member of each side, at the same moment.
fn signal_members(sides: &[Side], member: usize, signal: Signal) {
    for side in sides {
        side.signal_member(member, signal);
    }
}

fn flow(sides: &mut [Side]) -> bool {
    sides.iter_mut().all(Side::flows)
}

/// Waits until the brokers are whole, both groups balanced, and everything flows.
async fn whole(brokers: &Brokers, sides: &mut [Side]) {
    let topics: Vec<String> = sides.iter().map(|side| side.topic().to_owned()).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    brokers.whole(&topics).await;
    let begun = Instant::now();
    loop {
        let is_balanced = sides.iter_mut().all(Side::is_balanced);
        if is_balanced && flow(sides) && begun.elapsed() > AT_LEAST {
            return;
        }
        let states = || sides.iter().map(Side::state).collect::<Vec<_>>().join("\n");
        assert!(begun.elapsed() < Duration::from_mins(2), "the groups do not come back:\n{}", states());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Longer than a partition counts as flowing after its last record.
const AT_LEAST: Duration = Duration::from_secs(2);

impl FaultKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BrokerKilled => "broker killed",
            Self::BrokerStarted => "broker started again",
            Self::BrokerPaused => "broker paused",
            Self::BrokerContinued => "broker continued",
            Self::MemberKilled => "member killed",
            Self::MemberStarted => "member started again",
            Self::MemberPaused => "member paused",
            Self::MemberContinued => "member continued",
        }
    }

    /// Whether a producer may lose an answer by it.
    pub(crate) fn cuts_brokers_off(self) -> bool {
        match self {
            Self::BrokerKilled | Self::BrokerStarted | Self::BrokerPaused | Self::BrokerContinued => true,
            Self::MemberKilled | Self::MemberStarted | Self::MemberPaused | Self::MemberContinued => false,
        }
    }
}

impl Fault {
    /// From the fault to the next.
    pub(crate) fn window(&self) -> Range<Instant> {
        self.at..self.until
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {:.1} s", self.kind.name(), self.which, (self.until - self.at).as_secs_f64())
    }
}
