//! The batched pull path of the Ottla Kafka client: positions, byte budget, zero-copy batches.
//!
//! A [`Fetcher`] is told which partitions to read and from where ([`FetcherHandle::assign`]); tasks of its own keep one
//! Fetch in flight to each broker, and [`Fetcher::poll`] hands out what has come, batch by batch. Nothing is copied,
//! allocated or locked for a record. All memory for data counts against one bound, `fetch_buffer_max_bytes`.
//!
//! # Reading the code
//!
//! [`state`] holds all that is known; beside it, without I/O and with the time as an argument: [`position`] (one
//! partition), [`offset_reset`] (where it starts), [`changed`] (which are to be looked at), [`plan`] (what the next
//! Fetch asks for), [`session`] (what the broker knows of that), [`fetch_size`], [`budget`] and [`ask`] (how much),
//! [`answer`] (what an answer changes), [`lookup`] (ListOffsets), [`truncation`] and [`validation`] (whether a new
//! leader has what was read), [`lost_position`] (what follows if not), [`replica`] (the closest one), [`buffered`]
//! (what waits), [`hand_out`] and [`handed_out`] (a poll, and how far the application has come with it), [`opener`] and
//! [`aborted`] (checksums, decompression, transactions). [`metrics`] is what can be asked about all that. [`driver`]
//! has the tasks, [`buffer_pool`] the memory, [`make_room`] what is done where that is too little, [`batch`] and
//! [`record`] what the application gets.
#![forbid(unsafe_code)]

mod aborted;
mod answer;
mod ask;
mod batch;
mod budget;
mod buffer_pool;
mod buffered;
mod changed;
mod config;
mod driver;
mod error;
mod fetch_size;
mod fetcher;
mod hand_out;
mod handed_out;
mod lookup;
mod lost_position;
mod make_room;
mod metrics;
mod offset_reset;
mod opener;
mod plan;
mod position;
mod record;
mod replica;
mod session;
mod silence;
mod state;
#[cfg(test)]
mod tests;
mod truncation;
mod validation;

pub use batch::{Batch, BatchProgress, Batches};
pub use config::{FetcherConfig, IsolationLevel};
pub use error::{CorruptRecord, Error};
pub use fetcher::{Fetcher, FetcherHandle};
pub use handed_out::Completed;
pub use lookup::OffsetAndTimestamp;
pub use metrics::{FetchMemory, FetchMetrics, FetchTotals};
pub use offset_reset::{AutoOffsetReset, Lookup, OnTruncation, StartAt};
pub use ottla_cluster::{InvalidSetting, WallClock};
pub use position::Course;
pub use record::{Header, Headers, OwnedRecord, Record, Records, TimestampType};
pub use truncation::DivergingOffset;
