//! How a consumer is configured: by methods, or by Kafka's textual names.

use std::time::Duration;

use ottla_cluster::Cluster;
use ottla_fetcher::{AutoOffsetReset, Fetcher, FetcherConfig, IsolationLevel};

use crate::{Consumer, Error};

/// The settings of a [`Consumer`]. The names and defaults are Kafka's.
#[derive(Clone, Debug)]
pub struct ConsumerBuilder {
    cluster: Cluster,
    fetcher: FetcherConfig,
    default_api_timeout: Option<Duration>,
}

impl ConsumerBuilder {
    /// A consumer of `cluster`, with the default settings.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, fetcher: FetcherConfig::default(), default_api_timeout: None }
    }

    /// `auto.offset.reset`: where to start where there is no position, or one that the log does not have. Default
    /// latest.
    pub fn auto_offset_reset(mut self, policy: AutoOffsetReset) -> Self {
        self.fetcher.auto_offset_reset = policy;
        self
    }

    /// `isolation.level`: whether records of open and aborted transactions are handed out. Default read_uncommitted:
    /// they are.
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.fetcher.isolation_level = level;
        self
    }

    /// `fetch.min.bytes`: a broker answers once it has this many bytes. Default 1.
    pub fn fetch_min_bytes(mut self, bytes: i32) -> Self {
        self.fetcher.fetch_min_bytes = bytes;
        self
    }

    /// `fetch.max.bytes`: the most that one answer is asked to hold. Default 50 MiB. A single batch may be larger.
    pub fn fetch_max_bytes(mut self, bytes: i32) -> Self {
        self.fetcher.fetch_max_bytes = bytes;
        self
    }

    /// `fetch.max.wait.ms`: how long a broker waits for `fetch_min_bytes`. Default 500 ms.
    pub fn fetch_max_wait(mut self, wait: Duration) -> Self {
        self.fetcher.fetch_max_wait = wait;
        self
    }

    /// `max.partition.fetch.bytes`: the most that one answer is asked to hold of a partition. Default 1 MiB.
    pub fn max_partition_fetch_bytes(mut self, bytes: i32) -> Self {
        self.fetcher.max_partition_fetch_bytes = bytes;
        self
    }

    /// `check.crcs`: whether the checksum of each batch is compared. Default true.
    pub fn check_crcs(mut self, check: bool) -> Self {
        self.fetcher.check_crcs = check;
        self
    }

    /// `fetch.buffer.max.bytes`, Ottla's own: the one bound on memory for data, over what is in flight, buffered,
    /// decompressed, and handed out and still held. Default 32 MiB, at least 64 KiB. A batch that is larger still gets
    /// through, alone.
    pub fn fetch_buffer_max_bytes(mut self, bytes: usize) -> Self {
        self.fetcher.fetch_buffer_max_bytes = bytes;
        self
    }

    /// `max.decompressed.batch.bytes`, Ottla's own: the most that one batch may decompress to. Default 128 MiB. A batch
    /// beyond it is an error of its partition.
    pub fn max_decompressed_batch_bytes(mut self, bytes: usize) -> Self {
        self.fetcher.max_decompressed_batch_bytes = bytes;
        self
    }

    /// `max.poll.bytes`, Ottla's own: about how many bytes of records one poll hands out. Default 512 KiB: few enough
    /// to stay in a CPU's cache until they are read.
    pub fn max_poll_bytes(mut self, bytes: usize) -> Self {
        self.fetcher.max_poll_bytes = bytes;
        self
    }

    /// `default.api.timeout.ms`: how long `beginning_offsets`, `end_offsets`, `offsets_for_times` and `position` try.
    /// Default: the client's.
    pub fn default_api_timeout(mut self, timeout: Duration) -> Self {
        self.default_api_timeout = Some(timeout);
        self
    }

    /// Sets what Kafka's textual names say, such as `("fetch.min.bytes", "1")`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSetting`] and [`Error::UnreadableSetting`] name the setting.
    pub fn properties<'p>(self, properties: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Self, Error> {
        properties.into_iter().try_fold(self, |builder, (setting, value)| builder.property(setting, value))
    }

    fn property(mut self, setting: &str, value: &str) -> Result<Self, Error> {
        let fetcher = &mut self.fetcher;
        match setting {
            "auto.offset.reset" => {
                fetcher.auto_offset_reset = match value {
                    "earliest" => AutoOffsetReset::Earliest,
                    "latest" => AutoOffsetReset::Latest,
                    "none" => AutoOffsetReset::None,
                    _ => return unreadable("auto.offset.reset", value, "one of earliest, latest, none"),
                }
            }
            "isolation.level" => {
                fetcher.isolation_level = match value {
                    "read_uncommitted" => IsolationLevel::ReadUncommitted,
                    "read_committed" => IsolationLevel::ReadCommitted,
                    _ => return unreadable("isolation.level", value, "read_uncommitted or read_committed"),
                }
            }
            "fetch.min.bytes" => fetcher.fetch_min_bytes = number("fetch.min.bytes", value)?,
            "fetch.max.bytes" => fetcher.fetch_max_bytes = number("fetch.max.bytes", value)?,
            "fetch.max.wait.ms" => {
                fetcher.fetch_max_wait = Duration::from_millis(number("fetch.max.wait.ms", value)?);
            }
            "max.partition.fetch.bytes" => {
                fetcher.max_partition_fetch_bytes = number("max.partition.fetch.bytes", value)?;
            }
            "check.crcs" => {
                fetcher.check_crcs = match value {
                    "true" => true,
                    "false" => false,
                    _ => return unreadable("check.crcs", value, "true or false"),
                }
            }
            "fetch.buffer.max.bytes" => fetcher.fetch_buffer_max_bytes = number("fetch.buffer.max.bytes", value)?,
            "max.decompressed.batch.bytes" => {
                fetcher.max_decompressed_batch_bytes = number("max.decompressed.batch.bytes", value)?;
            }
            "max.poll.bytes" => fetcher.max_poll_bytes = number("max.poll.bytes", value)?,
            "default.api.timeout.ms" => {
                self.default_api_timeout = Some(Duration::from_millis(number("default.api.timeout.ms", value)?));
            }
            _ => return Err(Error::UnknownSetting { setting: setting.to_owned() }),
        }
        Ok(self)
    }

    /// The consumer. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] names a setting that cannot be, or that contradicts another.
    pub fn build(self) -> Result<Consumer, Error> {
        let timeout = self.default_api_timeout.unwrap_or(self.cluster.config().default_api_timeout);
        let fetcher = Fetcher::new(self.cluster.clone(), self.fetcher)?;
        Ok(Consumer::new(self.cluster, fetcher, timeout))
    }
}

fn number<N: std::str::FromStr>(setting: &'static str, value: &str) -> Result<N, Error> {
    value.trim().parse().or_else(|_| unreadable(setting, value, "a number in its range"))
}

fn unreadable<T>(setting: &'static str, value: &str, expected: &'static str) -> Result<T, Error> {
    Err(Error::UnreadableSetting { setting, value: value.to_owned(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_cluster::ClusterConfig;

    fn builder() -> ConsumerBuilder {
        let address = "127.0.0.1:9092".parse().unwrap();
        ConsumerBuilder::new(Cluster::new(ClusterConfig::new([address])).unwrap())
    }

    #[test]
    fn properties_are_read_by_kafkas_names() {
        let properties = [
            ("auto.offset.reset", "none"),
            ("isolation.level", "read_committed"),
            ("fetch.min.bytes", "7"),
            ("fetch.max.bytes", "1000000"),
            ("fetch.max.wait.ms", "20"),
            ("max.partition.fetch.bytes", "9"),
            ("check.crcs", "false"),
            ("fetch.buffer.max.bytes", "1048576"),
            ("max.decompressed.batch.bytes", "5"),
            ("max.poll.bytes", "6"),
            ("default.api.timeout.ms", "8"),
        ];
        let builder = builder().properties(properties).unwrap();
        let fetcher = &builder.fetcher;
        assert_eq!(fetcher.auto_offset_reset, AutoOffsetReset::None);
        assert_eq!(fetcher.isolation_level, IsolationLevel::ReadCommitted);
        assert_eq!((fetcher.fetch_min_bytes, fetcher.fetch_max_bytes), (7, 1_000_000));
        assert_eq!(fetcher.fetch_max_wait, Duration::from_millis(20));
        assert_eq!((fetcher.max_partition_fetch_bytes, fetcher.check_crcs), (9, false));
        assert_eq!((fetcher.fetch_buffer_max_bytes, fetcher.max_decompressed_batch_bytes), (1_048_576, 5));
        assert_eq!((fetcher.max_poll_bytes, builder.default_api_timeout), (6, Some(Duration::from_millis(8))));
    }

    #[test]
    fn a_setting_that_does_not_exist_is_named() {
        let error = builder().properties([("fetch.mim.bytes", "1")]).unwrap_err();
        assert_eq!(error.to_string(), "there is no consumer setting fetch.mim.bytes");
    }

    #[test]
    fn a_text_that_cannot_be_read_is_named_with_its_setting() {
        let error = builder().properties([("fetch.min.bytes", "many")]).unwrap_err();
        assert_eq!(error.to_string(), "fetch.min.bytes is \"many\", which is not a number in its range");
        let error = builder().properties([("auto.offset.reset", "error")]).unwrap_err();
        assert!(error.to_string().starts_with("auto.offset.reset is \"error\""), "{error}");
    }

    #[test]
    fn a_contradiction_is_found_when_building() {
        let error = builder().fetch_min_bytes(100).fetch_max_bytes(10).build().unwrap_err();
        assert_eq!(error.to_string(), "fetch.min.bytes is 100, which is more than fetch.max.bytes");
    }
}
