//! Programs that tell what they do in lines of JSON, as Kafka's `VerifiableProducer` and `VerifiableConsumer` do: Java's, ours,
//! and our programs over other clients.
//!
//! [`Program`] starts one, collects its lines with the time at which each came, and sends it signals. It is killed when it is
//! dropped, or when the test ends in any other way (`clients/leash`). [`assignment`] and [`records`] read what the lines of a
//! consumer say.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla::TopicPartition;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::kafka::{Signal, package_folder};

/// A line of a program's output.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it was read.
    pub at: Instant,
    /// The line as it stands.
    pub line: String,
    /// What it says; null where it is no JSON.
    pub json: Value,
}

impl Event {
    /// A line that was read now.
    pub fn new(line: String) -> Self {
        let json = serde_json::from_str(&line).unwrap_or(Value::Null);
        Self { at: Instant::now(), line, json }
    }

    /// The field `name`, which says what kind of event this is; empty where there is none.
    pub fn name(&self) -> &str {
        self.json["name"].as_str().unwrap_or_default()
    }
}

/// A running program.
#[derive(Debug)]
pub struct Program {
    label: String,
    pid: u32,
    process: Child,
    /// The program is killed when this end is closed.
    leash: Option<ChildStdin>,
    output: Arc<Mutex<Vec<Event>>>,
    length: watch::Receiver<usize>,
    errors: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    /// Starts `command`; `label` is what failures call it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(label: impl Into<String>, command: &Command) -> io::Result<Self> {
        let mut leashed = tokio::process::Command::new(package_folder().join("clients/leash"));
        leashed.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => leashed.env(name, value),
                None => leashed.env_remove(name),
            };
        }
        let mut process = leashed.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let leash = process.stdin.take();
        let mut lines = BufReader::new(process.stdout.take().expect("standard output is piped")).lines();
        let first = lines.next_line().await?.unwrap_or_default();
        let pid = first.strip_prefix("pid ").and_then(|pid| pid.parse().ok());
        let pid = pid.ok_or_else(|| io::Error::other(format!("no process id: {first}")))?;

        let output = Arc::new(Mutex::new(Vec::new()));
        let (sender, length) = watch::channel(0);
        let collected = output.clone();
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut events = collected.lock().unwrap_or_else(PoisonError::into_inner);
                events.push(Event::new(line));
                sender.send_replace(events.len());
            }
        });
        let errors = Arc::new(Mutex::new(String::new()));
        let error_reader =
            tokio::spawn(collect(process.stderr.take().expect("standard error is piped"), errors.clone()));
        Ok(Self {
            label: label.into(),
            pid,
            process,
            leash,
            output,
            length,
            errors,
            readers: vec![reader, error_reader],
        })
    }

    /// What failures call it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// All lines so far.
    pub fn events(&self) -> Vec<Event> {
        self.events_from(0)
    }

    /// The lines from that one on.
    pub fn events_from(&self, first: usize) -> Vec<Event> {
        let events = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        events.get(first..).unwrap_or_default().to_vec()
    }

    /// What it has written to standard error so far.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `condition` finds in the lines so far what it looks for.
    ///
    /// # Panics
    /// With all that the program has said, when that does not come within `limit` or the program has ended without it.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&[Event]) -> Option<T>,
    ) -> T {
        let mut length = self.length.clone();
        let found = async {
            loop {
                length.borrow_and_update();
                if let Some(found) = condition(&self.output.lock().unwrap_or_else(PoisonError::into_inner)) {
                    return Some(found);
                }
                // An error: there is no writer any more, and no line will come.
                length.changed().await.ok()?;
            }
        };
        let why = match tokio::time::timeout(limit, found).await.ok() {
            Some(Some(found)) => return found,
            Some(None) => "it has ended",
            None => "its time is over",
        };
        panic!("{}, {why} ({limit:?}) without this: {what}\n{}", self.label, self.said())
    }

    /// Sends it a signal. False: it is gone.
    ///
    /// # Errors
    /// When `kill` cannot be run.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        if self.length.has_changed().is_err() {
            return Ok(false); // its output has ended: the process id may be another's by now
        }
        let status = Command::new("kill").arg(format!("-{}", signal.name())).arg(self.pid.to_string()).status()?;
        Ok(status.success())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it does not within `limit`. It is killed then.
    pub async fn ended(mut self, limit: Duration) -> io::Result<Ended> {
        let status = tokio::time::timeout(limit, self.process.wait()).await.map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{} is still there after {limit:?}\n{}", self.label, self.said()),
            )
        })??;
        for reader in self.readers.drain(..) {
            reader.await.map_err(io::Error::other)?;
        }
        Ok(Ended { status, events: self.events(), errors: self.errors() })
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub async fn kill(mut self) -> io::Result<()> {
        drop(self.leash.take());
        self.process.wait().await.map(drop)
    }

    /// The end of what it has said, for failures.
    fn said(&self) -> String {
        let events = self.events();
        let lines =
            events[events.len().saturating_sub(60)..].iter().map(|event| &*event.line).collect::<Vec<_>>().join("\n");
        format!("--- {} said, at the end:\n{lines}\n--- and on standard error:\n{}", self.label, self.errors())
    }
}

/// A program that has ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// All its lines.
    pub events: Vec<Event>,
    /// What it wrote to standard error.
    pub errors: String,
}

/// What a consumer holds after these lines: all that it was assigned and not revoked again.
pub fn assignment(events: &[Event]) -> BTreeSet<TopicPartition> {
    let mut assignment = BTreeSet::new();
    for event in events {
        match event.name() {
            "partitions_assigned" => assignment.extend(partitions(event)),
            "partitions_revoked" => {
                for partition in partitions(event) {
                    assignment.remove(&partition);
                }
            }
            _ => {}
        }
    }
    assignment
}

/// The partitions that an event names.
pub fn partitions(event: &Event) -> impl Iterator<Item = TopicPartition> {
    event.json["partitions"].as_array().into_iter().flatten().filter_map(topic_partition)
}

/// How many records a consumer has read of each partition.
pub fn records(events: &[Event]) -> BTreeMap<TopicPartition, u64> {
    let mut records = BTreeMap::new();
    for event in events.iter().filter(|event| event.name() == "records_consumed") {
        for partition in event.json["partitions"].as_array().into_iter().flatten() {
            if let Some(topic_partition) = topic_partition(partition) {
                *records.entry(topic_partition).or_default() += partition["count"].as_u64().unwrap_or_default();
            }
        }
    }
    records
}

/// What an event says of records that a consumer has read: of each partition, the offsets.
///
/// # Panics
/// When it counts other than as many as lie between the first and the last: the partitions of tests have no gaps.
pub fn consumed(event: &Event) -> impl Iterator<Item = (TopicPartition, Range<i64>)> {
    let partitions = event.json["partitions"].as_array().filter(|_| event.name() == "records_consumed");
    partitions.into_iter().flatten().filter_map(|partition| {
        let [count, first, last] = ["count", "minOffset", "maxOffset"].map(|field| partition[field].as_i64());
        let offsets = first?..last? + 1;
        assert_eq!(count, Some(offsets.end - offsets.start), "{}", event.line);
        Some((topic_partition(partition)?, offsets))
    })
}

/// The partition that a JSON object names by `topic` and `partition`.
pub(crate) fn topic_partition(json: &Value) -> Option<TopicPartition> {
    let partition = json["partition"].as_i64().and_then(|partition| i32::try_from(partition).ok())?;
    Some(TopicPartition::new(json["topic"].as_str()?, partition))
}

async fn collect(output: impl AsyncRead + Unpin, into: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn bash(script: &str) -> Command {
        let mut command = Command::new("bash");
        command.arg("-c").arg(script);
        command
    }

    /// Whether the process is there and is no zombie.
    fn exists(pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn lines_come_as_events_and_the_end_with_its_status() {
        let script = r#"echo '{"name":"startup_complete"}'; echo no json; echo oh >&2; exit 3"#;
        let ended = Program::start("a", &bash(script)).await.unwrap().ended(LIMIT).await.unwrap();
        let names: Vec<_> = ended.events.iter().map(|event| (event.name(), &*event.line)).collect();
        assert_eq!(names, [("startup_complete", r#"{"name":"startup_complete"}"#), ("", "no json")]);
        assert_eq!((ended.status.code(), &*ended.errors), (Some(3), "oh\n"));
    }

    #[tokio::test]
    async fn a_signal_reaches_the_program_itself() {
        let script =
            r#"trap 'echo "{\"name\":\"told\"}"; exit 0' TERM; echo '{"name":"up"}'; while :; do sleep 0.05; done"#;
        let program = Program::start("a", &bash(script)).await.unwrap();
        program.wait_for("it is up", LIMIT, |events| events.first().map(drop)).await;
        assert!(program.signal(Signal::Terminate).unwrap());
        program.wait_for("it was told", LIMIT, |events| (events.last()?.name() == "told").then_some(())).await;
        assert!(program.ended(LIMIT).await.unwrap().status.success());
    }

    #[tokio::test]
    async fn a_stopped_program_ends_when_it_is_dropped() {
        let program = Program::start("a", &bash("exec sleep 600")).await.unwrap();
        let pid = program.pid();
        program.signal(Signal::Stop).unwrap();
        drop(program);
        crate::suite::eventually("it is gone", async || (!exists(pid)).then_some(())).await;
    }

    #[tokio::test]
    async fn an_assignment_is_what_was_assigned_and_not_revoked() {
        let events = [
            r#"{"name":"partitions_assigned","partitions":[{"topic":"t","partition":0},{"topic":"t","partition":1}]}"#,
            r#"{"name":"partitions_revoked","partitions":[{"topic":"t","partition":0}]}"#,
            r#"{"name":"records_consumed","count":3,"partitions":[{"topic":"t","partition":1,"count":3,"minOffset":4,"maxOffset":6}]}"#,
        ]
        .map(|line| Event::new(line.to_owned()));
        assert_eq!(assignment(&events), [TopicPartition::new("t", 1)].into());
        assert_eq!(records(&events), [(TopicPartition::new("t", 1), 3)].into());
        assert_eq!(events.iter().flat_map(consumed).collect::<Vec<_>>(), [(TopicPartition::new("t", 1), 4..7)]);
    }
}
