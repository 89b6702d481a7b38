//! `ottla verifiable-consumer`: the consumer that Kafka's system tests drive, `org.apache.kafka.tools.VerifiableConsumer`, with
//! its options and its lines of JSON.
//!
//! It reads a topic as the member of a group, commits what it has told of and waits for that, and tells of every change of
//! its assignment. A first SIGTERM or SIGINT, or the last message, ends it in order.

mod events;
mod polled;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use ottla::{
    AssignmentChange, Batches, Consumer, ConsumerHandle, ListenerResult, OffsetAndMetadata, RebalanceListener,
    TopicPartition,
};
use tokio::sync::watch;

use crate::ending::Ending;
use crate::json_lines::JsonLines;
use crate::settings::{Kind, Setting, Settings};
use crate::{chain, complain};
use events::{
    OffsetsCommitted, PartitionsAssigned, PartitionsRevoked, RecordData, RecordsConsumed, ShutdownComplete,
    ShutdownRequested, StartupComplete,
};
use polled::{Chunk, Polled};

/// Reads a topic as the member of a group, and prints a line of JSON for whatever happens.
#[derive(Debug, clap::Args)]
#[command(infer_long_args = true, args_override_self = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to read: a topic, or, which Java's cannot, several with commas between them.
    #[arg(long)]
    topic: String,
    /// The brokers to ask first.
    #[arg(long, alias = "broker-list", value_name = "HOST1:PORT1[,HOST2:PORT2[...]]")]
    bootstrap_server: String,
    /// The protocol of the group: classic.
    #[arg(long, default_value = "classic")]
    group_protocol: String,
    /// The assignor on the broker. Only the group protocol "consumer" has one.
    #[arg(long)]
    group_remote_assignor: Option<String>,
    /// The group.
    #[arg(long)]
    group_id: String,
    /// Makes this a static member, by this id.
    #[arg(long)]
    group_instance_id: Option<String>,
    /// How many messages. -1: until told to end.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    max_messages: i32,
    /// After how many milliseconds of silence the group removes this member. By default the client's 45 s.
    #[arg(long, value_name = "TIMEOUT_MS", allow_negative_numbers = true)]
    session_timeout: Option<i32>,
    /// Print a line for each message, too.
    #[arg(long)]
    verbose: bool,
    /// Commit on the clock, instead of what was printed, and without a line for it.
    #[arg(long)]
    enable_autocommit: bool,
    /// Where to start where nothing is committed: earliest, latest, or none.
    #[arg(long, default_value = "earliest")]
    reset_policy: String,
    /// The assignors, by the names of Java's classes or their own (range, roundrobin, sticky, cooperative-sticky), with
    /// commas between them.
    #[arg(long, default_value = "org.apache.kafka.clients.consumer.RangeAssignor")]
    assignment_strategy: String,
    /// A properties file with the consumer's settings. Options go before them.
    #[arg(long, value_name = "CONFIG_FILE")]
    command_config: Option<PathBuf>,
    /// The same, by its older name.
    #[arg(long = "consumer.config", value_name = "CONFIG_FILE", conflicts_with = "command_config")]
    consumer_config: Option<PathBuf>,
}

impl Arguments {
    fn settings(&self) -> Result<Settings, Box<dyn Error>> {
        let mut settings = Settings::default();
        if let Some(path) = self.command_config.as_ref().or(self.consumer_config.as_ref()) {
            settings.load(path)?;
        }
        settings.set("bootstrap.servers", &self.bootstrap_server, "--bootstrap-server");
        settings.set("group.protocol", &self.group_protocol, "--group-protocol");
        settings.set("group.id", &self.group_id, "--group-id");
        if let Some(id) = &self.group_instance_id {
            settings.set("group.instance.id", id, "--group-instance-id");
        }
        if let Some(timeout_ms) = self.session_timeout {
            settings.set("session.timeout.ms", timeout_ms.to_string(), "--session-timeout");
        }
        settings.set("enable.auto.commit", self.enable_autocommit.to_string(), "--enable-autocommit");
        settings.set("auto.offset.reset", &self.reset_policy, "--reset-policy");
        settings.set("partition.assignment.strategy", &self.assignment_strategy, "--assignment-strategy");
        Ok(settings)
    }
}

/// Runs until all messages are read, or until told to end.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let ending = Ending::new()?;
    let lines = JsonLines::to_stdout();
    let mut settings = arguments.settings()?;
    let max_poll_records = max_poll_records(settings.take("max.poll.records"))?;
    let client = settings.client(Kind::Consumer)?;
    let consumer = client.consumer().rebalance_listener(Listener(lines.clone())).build()?;
    consumer.subscribe(arguments.topic.split(','))?;
    if arguments.consumer_config.is_some() {
        lines.write_text("Option --consumer.config is deprecated, use --command-config instead.");
    }
    lines.write(&StartupComplete {});
    let stop = stop_on(ending, lines.clone());
    let reading = Reading {
        max_messages: u64::try_from(arguments.max_messages).ok(),
        max_poll_records,
        commits: !arguments.enable_autocommit,
        is_verbose: arguments.verbose,
        lines: lines.clone(),
        stop: stop.clone(),
        consumed: 0,
    };
    reading.read_and_close(consumer).await;
    lines.write(&ShutdownComplete {});
    if !*stop.borrow() {
        // Java's hook, which runs at the end in any case.
        lines.write(&ShutdownRequested {});
    }
    Ok(lines.finish()?)
}

/// How many messages one line tells of, at most.
fn max_poll_records(setting: Option<Setting>) -> Result<usize, String> {
    let Some(Setting { value, origin }) = setting else { return Ok(500) };
    match value.trim().parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{origin}: max.poll.records is {value:?}, which is no number from 1 on")),
    }
}

/// True as soon as the program is to end.
fn stop_on(mut ending: Ending, lines: JsonLines) -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            biased; // either ends it
            () = ending.told() => lines.write(&ShutdownRequested {}),
            () = lines.broken() => {}
        }
        stop.send_replace(true);
    });
    stopped
}

/// Tells of what is assigned, and of what is taken away.
struct Listener(JsonLines);

impl RebalanceListener for Listener {
    async fn on_assigned(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.0.write(&PartitionsAssigned::new(&change.partitions));
        Ok(())
    }

    async fn on_revoked(&self, change: AssignmentChange, _: ConsumerHandle) -> ListenerResult {
        self.0.write(&PartitionsRevoked::new(&change.partitions));
        Ok(())
    }
}

/// The loop: poll, tell, commit.
struct Reading {
    max_messages: Option<u64>,
    max_poll_records: usize,
    commits: bool,
    is_verbose: bool,
    lines: JsonLines,
    stop: watch::Receiver<bool>,
    consumed: u64,
}

impl Reading {
    /// Reads to the end, whatever that is. What ends it is told on standard error, and no failure of the program: as in
    /// Java.
    async fn read_and_close(mut self, mut consumer: Consumer) {
        tokio::spawn(complain_of_failures(consumer.handle()));
        if let Err(error) = self.read(&mut consumer).await {
            complain(&format!("reading has ended: {}", chain(&error)));
        }
        // Beside the last automatic commit there is only leaving, which ends with the session at the latest.
        let limit = if self.commits { LEAVING } else { COMMITTING };
        if let Err(error) = consumer.close_within(limit).await {
            complain(&format!("closing: {}", chain(&error)));
        }
    }

    async fn read(&mut self, consumer: &mut Consumer) -> Result<(), ottla::consumer::Error> {
        let mut stop = self.stop.clone();
        while !self.is_finished() {
            let polled = tokio::select! {
                biased; // told to end, it reads nothing more
                _ = stop.wait_for(|is_stopped| *is_stopped) => return Ok(()),
                polled = consumer.poll(POLL) => polled,
            };
            match polled {
                Ok(batches) => self.take(consumer, &batches).await?,
                Err(error) if error.is_retriable() => complain(&format!("reading goes on: {}", chain(&error))),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        *self.stop.borrow() || self.lines.is_broken() || self.messages_left() == Some(0)
    }

    fn messages_left(&self) -> Option<u64> {
        Some(self.max_messages?.saturating_sub(self.consumed))
    }

    /// Tells of what was polled, as many messages at once as a poll of Java's has. As between polls of Java's, the group has
    /// its turn between them.
    async fn take(&mut self, consumer: &Consumer, batches: &Batches) -> Result<(), ottla::consumer::Error> {
        let mut polled = Polled::new(batches);
        while !self.is_finished() {
            let chunk = polled.next(self.max_poll_records, self.messages_left())?;
            if chunk.count == 0 {
                return Ok(());
            }
            self.tell(&chunk);
            if self.lines.is_broken() {
                rewind(consumer, chunk.first_offsets());
                return Ok(());
            }
            rewind(consumer, chunk.left_out.iter().copied());
            if self.commits {
                self.commit(consumer, &chunk).await?;
            }
            if consumer.rebalance_pending() || consumer.group_metadata().is_none() {
                rewind(consumer, polled.rest());
                return Ok(());
            }
        }
        Ok(())
    }

    fn tell(&mut self, chunk: &Chunk<'_>) {
        for (partition, records) in &chunk.records {
            if self.is_verbose {
                for record in records {
                    self.lines.write(&RecordData::new(partition, record));
                }
            }
            self.consumed += records.len() as u64;
        }
        self.lines.write(&RecordsConsumed::new(chunk));
    }

    /// Commits, and tells how that went. An error only where there is no way on.
    async fn commit(&self, consumer: &Consumer, chunk: &Chunk<'_>) -> Result<(), ottla::consumer::Error> {
        let offsets: Vec<_> = chunk.next_offsets().collect();
        let commit = offsets.iter().map(|(partition, offset)| ((*partition).clone(), OffsetAndMetadata::new(*offset)));
        let result = consumer.commit_sync_offsets(commit).await;
        if let Err(error) = &result
            && error.is_fatal()
        {
            return result;
        }
        self.lines.write(&OffsetsCommitted::new(&offsets, result.err().map(|error| chain(&error))));
        Ok(())
    }
}

/// Has these be read again: else the next poll, and automatic commits, count what was polled as done with.
fn rewind<'p>(consumer: &Consumer, offsets: impl IntoIterator<Item = (&'p TopicPartition, i64)>) {
    for (partition, offset) in offsets {
        // One that was lost is somebody else's, from what was committed on.
        let _ = consumer.seek(partition, offset);
    }
}

/// Tells people what the consumer tries again by itself, until it is closed.
async fn complain_of_failures(consumer: ConsumerHandle) {
    while let Some(failure) = consumer.next_error().await {
        complain(&format!("going on after a failure: {}", chain(&failure.error)));
    }
}

/// How long closing may take where all is committed.
const LEAVING: Duration = Duration::from_secs(10);

/// How long closing may take where it has to commit: as long as Java's.
const COMMITTING: Duration = Duration::from_secs(30);

/// How long a poll may wait; there is always another.
const POLL: Duration = Duration::from_hours(1);
