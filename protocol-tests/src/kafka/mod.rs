//! A real Apache Kafka for tests: started, broken and stopped by the tests themselves, on loopback only.
//!
//! [`Toolbox::find`] says whether this machine can run one (`java`, `mvn`, `bash`); [`KafkaClusterBuilder::start`] starts one to
//! three brokers (KRaft, each of them broker and controller) on free ports; [`JavaPeer`] is one long-lived Java process
//! that produces, consumes and administers on request, because starting a JVM for each question costs more than the
//! question. Kafka's jars come from Maven Central once and stay in a cache (`kafka/jars`).
//!
//! Invariant: no process outlives the tests. Brokers belong to `kafka/supervise`, which kills them when its standard input
//! ends; that pipe is held by the test process alone, so a panic, `exit` and SIGKILL all end it.

mod cluster;
mod peer;
mod supervisor;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, io};

use tokio::io::AsyncWriteExt as _;

pub use cluster::{KafkaCluster, KafkaClusterBuilder};
pub use peer::{GroupMember, JavaPeer};
pub use supervisor::{Signal, Supervisor};

/// The version that tests run against unless `OTTLA_KAFKA_VERSION` names another.
pub const DEFAULT_VERSION: &str = "4.3.0";

/// The version of Kafka under test: `OTTLA_KAFKA_VERSION`, or [`DEFAULT_VERSION`].
pub fn version() -> String {
    env::var("OTTLA_KAFKA_VERSION").unwrap_or_else(|_| DEFAULT_VERSION.to_owned())
}

/// How many brokers the cluster under test has: `OTTLA_KAFKA_BROKERS`, 1 or 3, by default 3.
pub fn brokers() -> usize {
    match env::var("OTTLA_KAFKA_BROKERS").ok().as_deref() {
        None | Some("3") => 3,
        Some("1") => 1,
        Some(other) => panic!("OTTLA_KAFKA_BROKERS is 1 or 3, not {other}"),
    }
}

/// Whether a missing Kafka is a failure rather than a reason to skip: `OTTLA_REQUIRE_KAFKA=1`, as CI sets it.
pub fn is_required() -> bool {
    env::var("OTTLA_REQUIRE_KAFKA").is_ok_and(|value| value == "1")
}

/// The folder of the scripts and Java sources that stand beside this crate.
pub(crate) fn package_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is needed to run Kafka: a JVM and the jars of one version.
#[derive(Debug, Clone)]
pub struct Toolbox {
    version: String,
    jars: PathBuf,
}

impl Toolbox {
    /// Looks for Java and the jars of `version`, which `mvn` fetches on first use.
    ///
    /// # Errors
    /// A sentence that says what this machine lacks.
    pub fn find(version: &str) -> Result<Self, String> {
        // Single-file programs are compiled at start, which takes a JDK; a JRE has no `javac`.
        for (tool, argument) in [("bash", "--version"), ("java", "-version"), ("javac", "-version")] {
            let found = Command::new(tool).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !found.is_ok_and(|status| status.success()) {
                return Err(format!("`{tool}` was not found"));
            }
        }
        let output = Command::new(package_folder().join("kafka/jars"))
            .arg(version)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("kafka/jars did not start: {error}"))?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("the jars of Kafka {version} could not be fetched with `mvn`: {reason}"));
        }
        let jars = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        Ok(Self { version: version.to_owned(), jars })
    }

    /// The version of Kafka that the jars are of.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The class path, in the form that `java -cp` takes.
    pub fn class_path(&self) -> String {
        format!("{}/*", self.jars.display())
    }

    /// Compiles `java/<name>.java` into `folder`.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn compile(&self, name: &str, folder: &Path) -> io::Result<()> {
        let source = package_folder().join(format!("java/{name}.java"));
        let compiled = Command::new("javac")
            .args(["-cp", &self.class_path(), "-d"])
            .arg(folder)
            .arg(source)
            .stdin(Stdio::null())
            .output()?;
        if !compiled.status.success() {
            let reason = String::from_utf8_lossy(&compiled.stderr).into_owned();
            return Err(io::Error::other(format!("java/{name}.java does not compile: {reason}")));
        }
        Ok(())
    }

    /// A command that runs what was [compiled](Self::compile) into `folder`; its arguments are to follow.
    pub fn program(&self, name: &str, folder: &Path) -> Command {
        java(&format!("{}:{}", self.class_path(), folder.display()), name)
    }

    /// A main class of Kafka's own (`kafka-console-producer` and its kin), which differ in name between versions.
    pub fn class(&self, tool: JavaTool) -> &'static str {
        let is_old = self.version.starts_with("3.");
        match tool {
            JavaTool::ConsoleProducer if is_old => "kafka.tools.ConsoleProducer",
            JavaTool::ConsoleProducer => "org.apache.kafka.tools.ConsoleProducer",
            JavaTool::ConsoleConsumer if self.version.starts_with("3.3.") => "kafka.tools.ConsoleConsumer",
            JavaTool::ConsoleConsumer => "org.apache.kafka.tools.consumer.ConsoleConsumer",
            JavaTool::Topics if self.version.starts_with("3.3.") => "kafka.admin.TopicCommand",
            JavaTool::Topics => "org.apache.kafka.tools.TopicCommand",
            JavaTool::VerifiableProducer => "org.apache.kafka.tools.VerifiableProducer",
            JavaTool::VerifiableConsumer => "org.apache.kafka.tools.VerifiableConsumer",
            JavaTool::GetOffsets if self.version.starts_with("3.3.") => "kafka.tools.GetOffsetShell",
            JavaTool::GetOffsets => "org.apache.kafka.tools.GetOffsetShell",
            JavaTool::ConsumerGroups if self.version.starts_with("3.3.") => "kafka.admin.ConsumerGroupCommand",
            JavaTool::ConsumerGroups => "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            JavaTool::ProducerPerformance => "org.apache.kafka.tools.ProducerPerformance",
            JavaTool::ConsumerPerformance if self.version.starts_with("3.3.") => "kafka.tools.ConsumerPerformance",
            JavaTool::ConsumerPerformance => "org.apache.kafka.tools.ConsumerPerformance",
            JavaTool::Configs => "kafka.admin.ConfigCommand",
            JavaTool::DeleteRecords if self.version.starts_with("3.3.") => "kafka.admin.DeleteRecordsCommand",
            JavaTool::DeleteRecords => "org.apache.kafka.tools.DeleteRecordsCommand",
            JavaTool::BrokerApiVersions if is_old => "kafka.admin.BrokerApiVersionsCommand",
            JavaTool::BrokerApiVersions => "org.apache.kafka.tools.BrokerApiVersionsCommand",
        }
    }

    /// A command that runs one of Kafka's tools; its arguments are to follow.
    pub fn command(&self, tool: JavaTool) -> Command {
        java(&self.class_path(), self.class(tool))
    }

    /// Runs one of Kafka's tools to its end, with `input` on its standard input.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than `timeout`; it is killed then. A failing tool is not an error here: its
    /// exit status is in the output.
    ///
    /// # Cancel safety
    /// Dropping the future kills the tool.
    pub async fn run<A: AsRef<OsStr>>(
        &self,
        tool: JavaTool,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
        timeout: Duration,
    ) -> io::Result<std::process::Output> {
        let mut child = tokio::process::Command::from(self.command(tool))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().expect("standard input is piped");
        let run = async {
            // A tool that stops early closes its end, which shows in its exit status and not here.
            let _ = stdin.write_all(input).await;
            drop(stdin);
            child.wait_with_output().await
        };
        tokio::time::timeout(timeout, run).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("{tool:?} did not end in {timeout:?}")))
        })
    }
}

/// A small JVM, quick to start.
fn java(class_path: &str, class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .args(["-cp", class_path, class]);
    command
}

/// Kafka's own command-line tools, by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JavaTool {
    /// `kafka-console-producer`: a line of input, a record.
    ConsoleProducer,
    /// `kafka-console-consumer`: a record, a line of output.
    ConsoleConsumer,
    /// `kafka-topics`.
    Topics,
    /// `kafka-verifiable-producer`.
    VerifiableProducer,
    /// `kafka-verifiable-consumer`.
    VerifiableConsumer,
    /// `kafka-get-offsets`.
    GetOffsets,
    /// `kafka-consumer-groups`.
    ConsumerGroups,
    /// `kafka-producer-perf-test`.
    ProducerPerformance,
    /// `kafka-consumer-perf-test`.
    ConsumerPerformance,
    /// `kafka-configs`.
    Configs,
    /// `kafka-delete-records`.
    DeleteRecords,
    /// `kafka-broker-api-versions`.
    BrokerApiVersions,
}
