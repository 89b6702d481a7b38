//! Java's program and ours, started with the same arguments.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use protocol_tests::kafka::{JavaTool, Signal};
use protocol_tests::suite::TestCluster;
use protocol_tests::verifiable::{Ended, Event, Program};

/// How long a program may take to say or do what is expected of it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Whose program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Java,
    Ours,
}

pub(crate) const SIDES: [Side; 2] = [Side::Java, Side::Ours];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Producer,
    Consumer,
}

impl Side {
    /// What `{side}` stands for in arguments, where both need topics or groups of their own.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Java => "java",
            Self::Ours => "ours",
        }
    }

    /// How a program of this side ends that was told to by SIGTERM: a JVM says so.
    pub(crate) fn status_when_told_to_end(self) -> i32 {
        match self {
            Self::Java => 143,
            Self::Ours => 0,
        }
    }

    /// A program of this side, with its arguments.
    pub(crate) fn command(self, cluster: &TestCluster, tool: Tool, arguments: &[&str]) -> Command {
        let mut command = match (self, tool) {
            (Self::Java, Tool::Producer) => java(cluster, JavaTool::VerifiableProducer),
            (Self::Java, Tool::Consumer) => java(cluster, JavaTool::VerifiableConsumer),
            (Self::Ours, Tool::Producer) => ottla("verifiable-producer"),
            (Self::Ours, Tool::Consumer) => ottla("verifiable-consumer"),
        };
        command.args(arguments.iter().map(|argument| argument.replace("{side}", self.name())));
        command
    }

    pub(crate) async fn start(self, cluster: &TestCluster, tool: Tool, arguments: &[&str]) -> Program {
        let label = format!("{}'s {tool:?} {arguments:?}", self.name());
        Program::start(label, &self.command(cluster, tool, arguments)).await.expect("it starts")
    }
}

fn java(cluster: &TestCluster, tool: JavaTool) -> Command {
    cluster.real_kafka().expect("a real Kafka").cluster().toolbox().command(tool)
}

fn ottla(subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.arg(subcommand);
    command
}

/// Both.
#[derive(Debug)]
pub(crate) struct Pair([Program; 2]);

impl Pair {
    /// Starts both, with `--bootstrap-server` beside the arguments.
    pub(crate) async fn start(cluster: &TestCluster, tool: Tool, arguments: &[&str]) -> Self {
        let bootstrap_servers = cluster.bootstrap_servers();
        let arguments = [&["--bootstrap-server", &*bootstrap_servers], arguments].concat();
        let [java, ours] = SIDES;
        Self([java.start(cluster, tool, &arguments).await, ours.start(cluster, tool, &arguments).await])
    }

    /// Runs both to their end.
    pub(crate) async fn run(cluster: &TestCluster, tool: Tool, arguments: &[&str]) -> [Ended; 2] {
        Self::start(cluster, tool, arguments).await.ended().await
    }

    /// Waits until `condition` holds of what each has said.
    pub(crate) async fn wait_for(&self, what: &str, condition: impl Fn(&[Event]) -> bool) {
        for program in &self.0 {
            program.wait_for(what, PATIENCE, |events| condition(events).then_some(())).await;
        }
    }

    /// Whether `condition` holds of what each has said so far.
    pub(crate) fn has(&self, condition: impl Fn(&[Event]) -> bool) -> bool {
        self.0.iter().all(|program| condition(&program.events()))
    }

    pub(crate) async fn ended(self) -> [Ended; 2] {
        let [java, ours] = self.0;
        [java.ended(PATIENCE).await.unwrap(), ours.ended(PATIENCE).await.unwrap()]
    }

    /// Tells both to end, and waits for it.
    pub(crate) async fn terminate(self) -> [Ended; 2] {
        for program in &self.0 {
            assert!(program.signal(Signal::Terminate).unwrap(), "{} is gone", program.label());
        }
        let ended = self.ended().await;
        for (side, ended) in SIDES.iter().zip(&ended) {
            assert_eq!(ended.status.code(), Some(side.status_when_told_to_end()), "{side:?}: {}", ended.errors);
        }
        ended
    }
}

/// Asserts that both have ended by themselves, without a failure.
pub(crate) fn assert_success(ended: &[Ended; 2]) {
    for (side, ended) in SIDES.iter().zip(ended) {
        assert!(ended.status.success(), "{side:?}: {:?}\n{}", ended.status, ended.errors);
    }
}

/// A properties file. Its name tells whose it is.
pub(crate) fn properties_file(cluster: &TestCluster, name: &str, text: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("verifiable");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{}.properties", cluster.topic_name(name)));
    fs::write(&path, text).unwrap();
    path.to_str().expect("the target's folder has a name in UTF-8").to_owned()
}
