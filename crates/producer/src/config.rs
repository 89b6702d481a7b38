//! The producer's settings, checked once when it is built.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::WallClock;
use ottla_wire::compression::{Compression, CompressionLevel};

use crate::{Error, Partitioner};

/// Whose word a record counts as written on (Kafka's `acks`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "Kafka has these three")]
pub enum Acks {
    /// `0`: nobody's. The broker does not answer, records have no offset, and losses go unnoticed.
    None,
    /// `1`: the leader's. What it had not passed on when it fails is lost.
    Leader,
    /// `all`: the leader's, once all in-sync replicas have it.
    #[default]
    All,
}

impl Acks {
    /// The number on the wire.
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "0",
            Self::Leader => "1",
            Self::All => "all",
        })
    }
}

impl FromStr for Acks {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err(invalid("acks", format!("is {text:?}, which is none of 0, 1, all"))),
        }
    }
}

/// What a producer is told; see [`ProducerBuilder`](crate::ProducerBuilder) for what each setting means.
#[derive(Clone, Debug)]
pub(crate) struct ProducerConfig {
    pub(crate) acks: Acks,
    pub(crate) batch_size: usize,
    pub(crate) buffer_memory: usize,
    pub(crate) clock: WallClock,
    pub(crate) compression: CompressionLevel,
    pub(crate) delivery_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) max_block: Duration,
    pub(crate) max_in_flight_requests_per_connection: usize,
    pub(crate) max_request_size: usize,
    pub(crate) partitioner: Option<Arc<dyn Partitioner>>,
    pub(crate) partitioner_ignore_keys: bool,
    pub(crate) request_timeout: Duration,
    pub(crate) retries: u32,
}

impl ProducerConfig {
    pub(crate) fn new(request_timeout: Duration) -> Self {
        Self {
            acks: Acks::default(),
            batch_size: 16 * 1024,
            buffer_memory: 32 * 1024 * 1024,
            clock: WallClock::system(),
            compression: Compression::None.into(),
            delivery_timeout: Duration::from_mins(2),
            linger: Duration::from_millis(5),
            max_block: Duration::from_mins(1),
            max_in_flight_requests_per_connection: 5,
            max_request_size: 1024 * 1024,
            partitioner: None,
            partitioner_ignore_keys: false,
            request_timeout,
            retries: i32::MAX.unsigned_abs(),
        }
    }

    /// Refuses settings that cannot be, and caps durations so that no clock overflows.
    pub(crate) fn checked(mut self) -> Result<Self, Error> {
        for (setting, value) in [
            ("batch.size", self.batch_size),
            ("buffer.memory", self.buffer_memory),
            ("max.request.size", self.max_request_size),
            ("max.in.flight.requests.per.connection", self.max_in_flight_requests_per_connection),
        ] {
            if value == 0 {
                return Err(invalid(setting, "is 0, and must be at least 1"));
            }
        }
        // A batch's length, a request's and a permit's are 32-bit numbers.
        for (setting, value) in [("batch.size", self.batch_size), ("max.request.size", self.max_request_size)] {
            if value > MAX_REQUEST_SIZE {
                return Err(invalid(setting, format!("is {value}, over the limit of {MAX_REQUEST_SIZE}")));
            }
        }
        if self.batch_size > self.buffer_memory {
            let reason = format!("is {}, more than buffer.memory, which is {}", self.batch_size, self.buffer_memory);
            return Err(invalid("batch.size", reason));
        }
        for duration in [&mut self.delivery_timeout, &mut self.linger, &mut self.max_block, &mut self.request_timeout] {
            *duration = (*duration).min(MAX_DURATION);
        }
        if self.delivery_timeout < self.linger.saturating_add(self.request_timeout) {
            let reason = format!(
                "is {:?}, less than linger.ms and request.timeout.ms together, which are {:?} and {:?}",
                self.delivery_timeout, self.linger, self.request_timeout
            );
            return Err(invalid("delivery.timeout.ms", reason));
        }
        Ok(self)
    }
}

pub(crate) fn invalid(setting: &'static str, reason: impl Into<String>) -> Error {
    Error::InvalidSetting { setting, reason: reason.into() }
}

/// A year: longer than anybody waits, and far from where an `Instant` overflows.
const MAX_DURATION: Duration = Duration::from_hours(365 * 24);

/// What a 32-bit frame length can hold, with room for the request around the batches.
const MAX_REQUEST_SIZE: usize = (i32::MAX - 64 * 1024) as usize;
