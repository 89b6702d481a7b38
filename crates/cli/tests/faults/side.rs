//! A producer and a group of three members, of Java's programs or of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use protocol_tests::history::{History, What};
use protocol_tests::kafka::{JavaTool, Signal, Toolbox};
use protocol_tests::verifiable::{Event, Program};
use tokio::time::Instant;

use crate::cluster::{Brokers, PARTITIONS};
use crate::settings::{self, SettingsFiles};

/// How many members a group has.
pub(crate) const MEMBERS: usize = 3;
/// How long a program may take to begin or to end. A JVM on a busy machine needs its time.
const PROGRAM_TIMEOUT: Duration = Duration::from_mins(1);
/// A partition whose last record is not older flows.
const FLOWING: Duration = Duration::from_secs(1);

/// Whose programs they are.
#[derive(Debug)]
pub(crate) enum Kind {
    Java(Toolbox),
    Ottla,
}

/// One side.
#[derive(Debug)]
pub(crate) struct Side {
    kind: Kind,
    topic: String,
    bootstrap_servers: String,
    settings: SettingsFiles,
    producer: Listened,
    members: Vec<Option<Listened>>,
    /// What those had to say that are gone.
    gone: Vec<(String, Vec<Event>)>,
    started: usize,
    so_far: SoFar,
}

/// What has been heard of.
#[derive(Debug, Default)]
struct SoFar {
    /// When each partition was last read.
    last_read: BTreeMap<i32, Instant>,
    /// By partition and number, what was acknowledged, and what was read.
    acknowledged: BTreeSet<(i32, u64)>,
    read: BTreeSet<(i32, u64)>,
}

/// A program, how far it has been listened to, and what it holds by then.
#[derive(Debug)]
struct Listened {
    program: Program,
    heard: usize,
    held: BTreeSet<i32>,
}

impl Side {
    /// Creates the topic and starts all programs.
    pub(crate) async fn start(kind: Kind, brokers: &Brokers) -> Self {
        let topic = kind.name().to_owned();
        brokers.create_topic(&topic).await;
        let (bootstrap_servers, settings) = (brokers.bootstrap_servers(), SettingsFiles::write(kind.name()));
        let command = kind.producer(&topic, &bootstrap_servers, &settings);
        let producer = Listened::start(format!("{topic}-producer"), &command).await;
        let mut side = Self {
            kind,
            topic,
            bootstrap_servers,
            settings,
            producer,
            members: (0..MEMBERS).map(|_| None).collect(),
            gone: Vec::new(),
            started: 0,
            so_far: SoFar::default(),
        };
        for member in 0..MEMBERS {
            side.start_member(member).await;
        }
        side
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Starts a member that is not there (any more).
    pub(crate) async fn start_member(&mut self, member: usize) {
        self.started += 1;
        let name = format!("{}-member-{member}.{}", self.topic, self.started);
        let command = self.kind.consumer(&self.topic, &self.bootstrap_servers, &self.settings);
        self.members[member] = Some(Listened::start(name, &command).await);
    }

    pub(crate) fn signal_member(&self, member: usize, signal: Signal) {
        let listened = self.members[member].as_ref().expect("it was started");
        assert!(listened.program.signal(signal).unwrap(), "{} is gone", listened.program.label());
    }

    /// Waits until a member that was told to end is gone, and keeps what it said.
    pub(crate) async fn bury_member(&mut self, member: usize) {
        let Listened { program, heard, .. } = self.members[member].take().expect("it was started");
        let name = program.label().to_owned();
        let events = program.ended(PROGRAM_TIMEOUT).await.expect("it ends").events;
        self.so_far.take(&History::read(&self.topic, &[], [("", &events[heard..])]));
        self.gone.push((name, events));
    }

    /// Whether every partition was read a moment ago.
    pub(crate) fn flows(&mut self) -> bool {
        self.listen();
        let now = Instant::now();
        let recent = self.so_far.last_read.values().filter(|read| now.duration_since(**read) < FLOWING).count();
        recent == PARTITIONS as usize
    }

    /// Whether the members share the partitions, each as many.
    pub(crate) fn is_balanced(&mut self) -> bool {
        self.listen();
        let held = |member: &Listened| member.held.len() == PARTITIONS as usize / MEMBERS;
        self.members.iter().all(|member| member.as_ref().is_some_and(held))
    }

    pub(crate) fn has_read_everything(&mut self) -> bool {
        self.listen();
        self.so_far.acknowledged.is_subset(&self.so_far.read)
    }

    /// Has the producer finish what it has begun, and no more.
    pub(crate) async fn finish_producing(&mut self) {
        self.producer.program.signal(Signal::Terminate).unwrap();
        let is_complete = |events: &[Event]| events.iter().any(|event| event.name() == "shutdown_complete");
        let program = &self.producer.program;
        program.wait_for("it ends", PROGRAM_TIMEOUT, |events| is_complete(events).then_some(())).await;
    }

    /// Ends the members, and gives all that was said.
    pub(crate) async fn finish_reading(&mut self) -> History {
        for member in 0..MEMBERS {
            self.signal_member(member, Signal::Terminate);
        }
        for member in 0..MEMBERS {
            self.bury_member(member).await;
        }
        let members = self.gone.iter().map(|(name, events)| (name.as_str(), events.as_slice()));
        History::read(&self.topic, &self.producer.program.events(), members)
    }

    /// In a line, for failures.
    pub(crate) fn state(&self) -> String {
        let ages = self.so_far.last_read.iter().map(|(partition, read)| format!("{partition}: {:.1?}", read.elapsed()));
        let held = self.members.iter().map(|member| member.as_ref().map(|member| &member.held));
        format!("{}: members hold {:?}, last read {:?}", self.topic, held.collect::<Vec<_>>(), ages.collect::<Vec<_>>())
    }

    fn listen(&mut self) {
        self.so_far.take(&History::read(&self.topic, &self.producer.listen(), []));
        for member in self.members.iter_mut().flatten() {
            let history = History::read(&self.topic, &[], [("", &*member.listen())]);
            for step in history.members.iter().flat_map(|told| &told.steps) {
                match &step.what {
                    What::Assigned(partitions) => member.held.extend(partitions),
                    What::Revoked(partitions) => member.held.retain(|partition| !partitions.contains(partition)),
                    What::Read { .. } | What::Committed(_) => {}
                }
            }
            self.so_far.take(&history);
        }
    }
}

impl SoFar {
    fn take(&mut self, history: &History) {
        self.acknowledged.extend(history.writes.iter().map(|write| (write.partition, write.value)));
        for step in history.members.iter().flat_map(|member| &member.steps) {
            if let What::Read { partition, value, .. } = step.what {
                self.read.insert((partition, value));
                let last = self.last_read.entry(partition).or_insert(step.at);
                *last = step.at.max(*last);
            }
        }
    }
}

impl Listened {
    async fn start(name: String, command: &Command) -> Self {
        let program = Program::start(name, command).await.expect("it starts");
        Self { program, heard: 0, held: BTreeSet::new() }
    }

    /// What is new.
    fn listen(&mut self) -> Vec<Event> {
        let events = self.program.events_from(self.heard);
        self.heard += events.len();
        events
    }
}

impl Kind {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Java(_) => "java",
            Self::Ottla => "ottla",
        }
    }

    fn producer(&self, topic: &str, bootstrap_servers: &str, settings: &SettingsFiles) -> Command {
        let mut command = match self {
            Self::Java(toolbox) => toolbox.command(JavaTool::VerifiableProducer),
            Self::Ottla => ottla("verifiable-producer"),
        };
        command.args(["--topic", topic, "--bootstrap-server", bootstrap_servers]);
        command.args(settings::PRODUCER_OPTIONS);
        // By the name that every version has.
        command.arg("--producer.config").arg(settings.producer());
        command
    }

    fn consumer(&self, topic: &str, bootstrap_servers: &str, settings: &SettingsFiles) -> Command {
        let mut command = match self {
            Self::Java(toolbox) => toolbox.command(JavaTool::VerifiableConsumer),
            Self::Ottla => ottla("verifiable-consumer"),
        };
        command.args(["--topic", topic, "--group-id", topic, "--bootstrap-server", bootstrap_servers]);
        command.args(settings::CONSUMER_OPTIONS);
        command.arg("--consumer.config").arg(settings.consumer());
        command
    }
}

fn ottla(subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.arg(subcommand);
    command
}
