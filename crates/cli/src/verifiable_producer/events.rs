//! What the producer tells, in the order of Java's fields.

use ottla::RecordMetadata;
use ottla::producer::Error;
use serde::Serialize;

use super::java_exception;
use crate::json_lines::Event;

/// The producer is there; nothing has been sent.
#[derive(Serialize)]
pub(super) struct StartupComplete {}

/// A message was written, as far as `acks` says.
#[derive(Serialize)]
pub(super) struct SuccessfulSend<'a> {
    key: Option<&'a str>,
    value: &'a str,
    /// -1 where no broker says.
    offset: i64,
    topic: &'a str,
    partition: i32,
}

/// A message was not written, or nobody knows.
#[derive(Serialize)]
pub(super) struct FailedSend<'a> {
    topic: &'a str,
    key: Option<&'a str>,
    value: &'a str,
    /// What Java's producer would have thrown.
    exception: String,
    message: String,
}

/// Everything has been told of.
#[derive(Serialize)]
pub(super) struct ShutdownComplete {}

/// The summary, at the very end.
#[derive(Serialize)]
pub(super) struct ToolData {
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) target_throughput: i64,
    /// In messages a second.
    pub(super) avg_throughput: f64,
}

impl<'a> SuccessfulSend<'a> {
    pub(super) fn new(key: Option<&'a str>, value: &'a str, written: &'a RecordMetadata) -> Self {
        let (topic, partition) = (written.topic(), written.partition());
        Self { key, value, offset: written.offset.unwrap_or(-1), topic, partition }
    }
}

impl<'a> FailedSend<'a> {
    pub(super) fn new(topic: &'a str, key: Option<&'a str>, value: &'a str, error: &Error) -> Self {
        let exception = format!("class {}", java_exception::class(error));
        Self { topic, key, value, exception, message: crate::chain(error) }
    }
}

impl Event for StartupComplete {
    const NAME: &'static str = "startup_complete";
}

impl Event for SuccessfulSend<'_> {
    const NAME: &'static str = "producer_send_success";
}

impl Event for FailedSend<'_> {
    const NAME: &'static str = "producer_send_error";
}

impl Event for ShutdownComplete {
    const NAME: &'static str = "shutdown_complete";
}

impl Event for ToolData {
    const NAME: &'static str = "tool_data";
}
