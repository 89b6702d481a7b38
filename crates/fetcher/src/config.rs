//! How much is fetched at once, how long a broker may wait, and what is done where there is no position.
//!
//! The names and defaults are Kafka's. [`FetcherConfig::check`] is what makes a configuration one that cannot be wrong;
//! [`Fetcher::new`](crate::Fetcher::new) calls it.

use std::time::Duration;

use ottla_cluster::{InvalidSetting, WallClock};

use crate::ask::Limits;
use crate::buffer_pool::longest_within;
use crate::{AutoOffsetReset, OnTruncation};

/// Which records of transactions are handed out (`isolation.level`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the protocol knows these two")]
pub enum IsolationLevel {
    /// All records, those of open and of aborted transactions included. Kafka's default.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset, and without the records of aborted transactions.
    ReadCommitted,
}

impl IsolationLevel {
    /// Its number in requests.
    pub fn number(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// The settings of a [`Fetcher`](crate::Fetcher).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetcherConfig {
    /// `fetch.min.bytes`: a broker answers once it has this many bytes. Default 1.
    pub fetch_min_bytes: i32,
    /// `fetch.max.bytes`: the most that one answer is asked to hold. Default 50 MiB. A single batch may be larger. Less is asked
    /// for where more is not worth it: 2 MiB of a broker near by, as such answers stay in a CPU's cache.
    pub fetch_max_bytes: i32,
    /// `fetch.max.wait.ms`: how long a broker waits for `fetch_min_bytes`. Default 500 ms.
    pub fetch_max_wait: Duration,
    /// `max.partition.fetch.bytes`: the most that one answer is asked to hold of a partition, but for a single batch that
    /// is larger. Default 1 MiB, and up to half of `fetch_buffer_max_bytes` where batches are large and differ in size, so
    /// that less than a hundredth of what is fetched is a batch that the broker cut and that is fetched again.
    pub max_partition_fetch_bytes: Option<i32>,
    /// `auto.offset.reset`: where to start where there is no position, or one that is out of range. Default latest.
    pub auto_offset_reset: AutoOffsetReset,
    /// Whether brokers are asked to remember what is read, so that requests and answers name only what has changed
    /// (incremental fetch sessions, KIP-227). Default true.
    pub fetch_sessions: bool,
    /// `client.rack`: where the consumer stands, to be sent to a replica there (KIP-392). Default none.
    pub client_rack: Option<String>,
    /// `on.truncation`, Ottla's own: what to do where the log was truncated before the position. Default reset.
    pub on_truncation: OnTruncation,
    /// `isolation.level`. Default read_uncommitted.
    pub isolation_level: IsolationLevel,
    /// `check.crcs`: whether the checksum of each batch is compared. Default true.
    pub check_crcs: bool,
    /// `fetch.buffer.max.bytes`, Ottla's own: the one bound on memory for data, over what is in flight, buffered,
    /// decompressed, and handed out and still held. Default 32 MiB.
    pub fetch_buffer_max_bytes: usize,
    /// The most that one batch may decompress to. Default 128 MiB. A batch beyond it is an error of its partition.
    pub max_decompressed_batch_bytes: usize,
    /// About how many bytes of records one poll opens and hands out: few enough to stay in a CPU's cache. Default
    /// 512 KiB. A poll that has a larger batch hands out that one.
    pub max_poll_bytes: usize,
    /// What [`AutoOffsetReset::ByDuration`] and the like count back from. Default the system's clock.
    pub wall_clock: WallClock,
}

impl Default for FetcherConfig {
    fn default() -> Self {
        Self {
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 * 1024 * 1024,
            fetch_max_wait: Duration::from_millis(500),
            max_partition_fetch_bytes: None,
            auto_offset_reset: AutoOffsetReset::default(),
            fetch_sessions: true,
            client_rack: None,
            on_truncation: OnTruncation::default(),
            isolation_level: IsolationLevel::default(),
            check_crcs: true,
            fetch_buffer_max_bytes: 32 * 1024 * 1024,
            max_decompressed_batch_bytes: 128 * 1024 * 1024,
            max_poll_bytes: 512 * 1024,
            wall_clock: WallClock::default(),
        }
    }
}

impl FetcherConfig {
    /// The first setting that cannot be, if there is one.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let invalid = |setting, value: String, reason| Err(InvalidSetting::new(setting, value, reason));
        if self.fetch_min_bytes < 0 {
            return invalid("fetch.min.bytes", self.fetch_min_bytes.to_string(), "which is negative");
        }
        if self.fetch_max_bytes < 1 {
            return invalid("fetch.max.bytes", self.fetch_max_bytes.to_string(), "which is not positive");
        }
        if self.fetch_min_bytes > self.fetch_max_bytes {
            let value = self.fetch_min_bytes.to_string();
            return invalid("fetch.min.bytes", value, "which is more than fetch.max.bytes");
        }
        if let Some(bytes) = self.max_partition_fetch_bytes
            && bytes < 1
        {
            return invalid("max.partition.fetch.bytes", bytes.to_string(), "which is not positive");
        }
        if self.fetch_max_wait > MAX_FETCH_WAIT {
            let (setting, reason) = ("fetch.max.wait.ms", "which is more than an hour");
            return Err(InvalidSetting::of_duration(setting, self.fetch_max_wait, reason));
        }
        if self.fetch_buffer_max_bytes < MIN_FETCH_BUFFER_BYTES {
            let value = self.fetch_buffer_max_bytes.to_string();
            return invalid("fetch.buffer.max.bytes", value, "which is less than 64 KiB");
        }
        if self.max_decompressed_batch_bytes == 0 {
            return invalid("max.decompressed.batch.bytes", "0".to_owned(), "which is not positive");
        }
        if self.max_poll_bytes == 0 {
            return invalid("max.poll.bytes", "0".to_owned(), "which is not positive");
        }
        Ok(())
    }

    /// What may be asked for of one partition.
    pub(crate) fn partition_limits(&self) -> Limits {
        let set = self.max_partition_fetch_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(1));
        let usual = set.unwrap_or(USUAL_PARTITION_BYTES);
        let most = set.unwrap_or_else(|| longest_within(self.fetch_buffer_max_bytes / 2));
        Limits { usual, most: most.max(usual) }
    }
}

/// Kafka's default of `max.partition.fetch.bytes`.
const USUAL_PARTITION_BYTES: usize = 1024 * 1024;

/// Long enough for any use, and short enough to be added to any clock.
const MAX_FETCH_WAIT: Duration = Duration::from_hours(1);
/// Below it every fetch would be a tiny one.
const MIN_FETCH_BUFFER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contradiction_names_the_setting() {
        let config = FetcherConfig { fetch_min_bytes: 2, fetch_max_bytes: 1, ..FetcherConfig::default() };
        let error = config.check().unwrap_err();
        assert_eq!(error.setting, "fetch.min.bytes");
        assert_eq!(error.to_string(), "fetch.min.bytes is 2, which is more than fetch.max.bytes");
    }

    #[test]
    fn the_defaults_are_kafkas() {
        let config = FetcherConfig::default();
        assert_eq!(config.check(), Ok(()));
        assert_eq!((config.fetch_min_bytes, config.fetch_max_bytes), (1, 52_428_800));
        assert_eq!(config.partition_limits().usual, 1_048_576);
        assert_eq!(config.fetch_max_wait, Duration::from_millis(500));
    }
}
