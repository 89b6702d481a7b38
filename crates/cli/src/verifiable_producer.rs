//! `ottla verifiable-producer`: the producer that Kafka's system tests drive, `org.apache.kafka.tools.VerifiableProducer`, with
//! its options and its lines of JSON.
//!
//! It sends numbers that count up, and tells of each whether it was written. A first SIGTERM or SIGINT, or the last
//! message, ends it in order: what is under way is told of before `shutdown_complete`.

mod deliveries;
mod events;
mod java_exception;
mod throughput;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;
use ottla::producer::Error as ProducerError;
use ottla::{Producer, ProducerRecord};
use tokio::time::Instant;

use crate::ending::Ending;
use crate::json_lines::JsonLines;
use crate::settings::{Kind, Settings};
use deliveries::Deliveries;
use events::{FailedSend, ShutdownComplete, StartupComplete, ToolData};
use throughput::Throttle;

/// Sends numbers that count up to a topic, and prints a line of JSON for each: whether, and where, it was written.
#[derive(Debug, clap::Args)]
#[command(infer_long_args = true, args_override_self = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Where the messages go.
    #[arg(long)]
    topic: String,
    /// The brokers to ask first.
    #[arg(long, alias = "broker-list", value_name = "HOST1:PORT1[,HOST2:PORT2[...]]")]
    bootstrap_server: String,
    /// How many messages. -1: until told to end.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    max_messages: i32,
    /// About how many messages a second, at most. -1: as many as go.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    throughput: i32,
    /// Whose acknowledgement a message needs: none, the leader's (1), that of all in-sync replicas (-1).
    #[arg(long, default_value = "-1", value_parser = ["0", "1", "-1"], allow_negative_numbers = true)]
    acks: String,
    /// The creation time of the first message, in milliseconds since 1970; that of the others grows from it. -1: the
    /// clock's.
    #[arg(long, default_value_t = -1, value_parser = value_parser!(i64).range(-1..), allow_negative_numbers = true, value_name = "CREATE_TIME")]
    message_create_time: i64,
    /// A number that goes before each value, with a dot behind it.
    #[arg(long, allow_negative_numbers = true)]
    value_prefix: Option<i32>,
    /// Give messages keys that count from 0 up to this number, exclusive, and begin again.
    #[arg(long, allow_negative_numbers = true)]
    repeating_keys: Option<i32>,
    /// A properties file with the producer's settings. They go before options.
    #[arg(long, value_name = "CONFIG_FILE")]
    command_config: Option<PathBuf>,
    /// The same, by its older name.
    #[arg(long = "producer.config", value_name = "CONFIG_FILE", conflicts_with = "command_config")]
    producer_config: Option<PathBuf>,
}

impl Arguments {
    fn settings(&self) -> Result<Settings, Box<dyn Error>> {
        let mut settings = Settings::default();
        settings.set("bootstrap.servers", &self.bootstrap_server, "--bootstrap-server");
        settings.set("acks", &self.acks, "--acks");
        // A failure is to be seen, not mended.
        settings.set("retries", "0", "the default");
        if let Some(path) = self.command_config.as_ref().or(self.producer_config.as_ref()) {
            settings.load(path)?;
        }
        Ok(settings)
    }
}

/// Runs until all messages are sent, or until told to end.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut ending = Ending::new()?;
    let lines = JsonLines::to_stdout();
    let client = arguments.settings()?.client(Kind::Producer)?;
    let producer = client.producer().build()?;
    if arguments.producer_config.is_some() {
        lines.write_text("Option --producer.config is deprecated, use --command-config instead.");
    }
    let started = Instant::now();
    lines.write(&StartupComplete {});
    let mut deliveries = Deliveries::new(lines.clone());
    let mut sending = Sending::new(&arguments, started);
    tokio::select! {
        biased; // told to end, it sends nothing more
        () = ending.told() => {}
        () = lines.broken() => {}
        () = sending.run(&producer, &lines, &mut deliveries) => {}
    }
    sending.give_up(&lines);
    // What is still under way has `delivery.timeout.ms`, and no more.
    producer.close(Duration::MAX).await;
    let acked = deliveries.all_told().await;
    lines.write(&ShutdownComplete {});
    let seconds = started.elapsed().as_secs_f64();
    lines.write(&ToolData {
        sent: sending.sent,
        acked,
        target_throughput: arguments.throughput.into(),
        avg_throughput: if acked == 0 { 0.0 } else { acked as f64 / seconds },
    });
    Ok(lines.finish()?)
}

/// The messages, one after the other.
struct Sending<'a> {
    arguments: &'a Arguments,
    started: Instant,
    throttle: Throttle,
    create_time_ms: Option<i64>,
    sent: u64,
    key: i32,
    /// What is on its way into the producer.
    entering: Option<(Option<String>, String)>,
}

impl<'a> Sending<'a> {
    fn new(arguments: &'a Arguments, started: Instant) -> Self {
        Self {
            arguments,
            started,
            throttle: Throttle::new(arguments.throughput, started.into_std()),
            create_time_ms: Some(arguments.message_create_time).filter(|time| *time != -1),
            sent: 0,
            key: 0,
            entering: None,
        }
    }

    async fn run(&mut self, producer: &Producer, lines: &JsonLines, deliveries: &mut Deliveries) {
        let max_messages = u64::try_from(self.arguments.max_messages).unwrap_or(u64::MAX);
        while self.sent < max_messages {
            let number = self.sent;
            let now = Instant::now();
            self.send(number, producer, lines, deliveries).await;
            // Where there is always room, nothing else would let anybody say that it is to end.
            tokio::task::coop::consume_budget().await;
            if let Some(pause) = self.throttle.after(number, now.into_std()) {
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn send(&mut self, number: u64, producer: &Producer, lines: &JsonLines, deliveries: &mut Deliveries) {
        let (key, value) = (self.next_key(), self.value(number));
        let mut record = ProducerRecord::new(&*self.arguments.topic).value(value.clone());
        if let Some(key) = &key {
            record = record.key(key.clone());
        }
        if let Some(create_time_ms) = &mut self.create_time_ms {
            record = record.timestamp_ms(*create_time_ms);
            // Java's grows by the time since the start with each message, not by that since the last.
            *create_time_ms += i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        }
        self.sent += 1;
        self.entering = Some((key, value));
        let enqueued = producer.enqueue(record).await;
        let Some((key, value)) = self.entering.take() else { return };
        match enqueued {
            Ok(delivery) => deliveries.await_one(delivery, key, value),
            Err(error) => lines.write(&FailedSend::new(&self.arguments.topic, key.as_deref(), &value, error.error())),
        }
    }

    /// Tells of a message that did not get into the producer before the end.
    fn give_up(&mut self, lines: &JsonLines) {
        if let Some((key, value)) = self.entering.take() {
            let closed = ProducerError::Closed { may_have_been_written: false };
            lines.write(&FailedSend::new(&self.arguments.topic, key.as_deref(), &value, &closed));
        }
    }

    fn next_key(&mut self) -> Option<String> {
        let repeating_keys = self.arguments.repeating_keys?;
        let key = self.key;
        self.key = self.key.wrapping_add(1);
        if self.key == repeating_keys {
            self.key = 0;
        }
        Some(key.to_string())
    }

    fn value(&self, number: u64) -> String {
        match self.arguments.value_prefix {
            Some(prefix) => format!("{prefix}.{number}"),
            None => number.to_string(),
        }
    }
}
