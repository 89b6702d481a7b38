//! Kafka's textual names of a consumer's settings.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::assignor::{self, Assignor};
use ottla_fetcher::{AutoOffsetReset, IsolationLevel, OnTruncation};

use crate::{ConsumerBuilder, Error, iso_duration};

impl ConsumerBuilder {
    /// The names that [`properties`](Self::properties) knows: Kafka's, and Ottla's own.
    pub const PROPERTIES: &'static [&'static str] = &[
        "auto.commit.interval.ms",
        "auto.offset.reset",
        "check.crcs",
        "client.rack",
        "default.api.timeout.ms",
        "enable.auto.commit",
        "fetch.buffer.max.bytes",
        "fetch.max.bytes",
        "fetch.max.wait.ms",
        "fetch.min.bytes",
        "fetch.sessions",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "heartbeat.interval.ms",
        "isolation.level",
        "max.decompressed.batch.bytes",
        "max.partition.fetch.bytes",
        "max.poll.bytes",
        "max.poll.interval.ms",
        "on.truncation",
        "partition.assignment.strategy",
        "partition.drain.timeout.ms",
        "session.timeout.ms",
    ];

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
                    _ => AutoOffsetReset::ByDuration(duration("auto.offset.reset", value)?),
                }
            }
            "on.truncation" => {
                fetcher.on_truncation = match value {
                    "reset" => OnTruncation::Reset,
                    "tell" => OnTruncation::Tell,
                    _ => return unreadable("on.truncation", value, "reset or tell"),
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
            "fetch.sessions" => fetcher.fetch_sessions = boolean("fetch.sessions", value)?,
            "fetch.max.wait.ms" => fetcher.fetch_max_wait = milliseconds("fetch.max.wait.ms", value)?,
            "max.partition.fetch.bytes" => {
                fetcher.max_partition_fetch_bytes = Some(number("max.partition.fetch.bytes", value)?);
            }
            "check.crcs" => fetcher.check_crcs = boolean("check.crcs", value)?,
            "fetch.buffer.max.bytes" => fetcher.fetch_buffer_max_bytes = number("fetch.buffer.max.bytes", value)?,
            "max.decompressed.batch.bytes" => {
                fetcher.max_decompressed_batch_bytes = number("max.decompressed.batch.bytes", value)?;
            }
            "max.poll.bytes" => fetcher.max_poll_bytes = number("max.poll.bytes", value)?,
            "default.api.timeout.ms" => self.default_api_timeout = Some(milliseconds("default.api.timeout.ms", value)?),
            _ => return self.group_property(setting, value),
        }
        Ok(self)
    }

    /// Those that have to do with the group.
    fn group_property(mut self, setting: &str, value: &str) -> Result<Self, Error> {
        let group = &mut self.group;
        match setting {
            "group.id" => value.clone_into(&mut group.group_id),
            "group.instance.id" => group.group_instance_id = Some(value.to_owned()),
            "partition.assignment.strategy" => group.assignors = assignors(value)?,
            "session.timeout.ms" => group.session_timeout = milliseconds("session.timeout.ms", value)?,
            "heartbeat.interval.ms" => group.heartbeat_interval = milliseconds("heartbeat.interval.ms", value)?,
            "max.poll.interval.ms" => group.max_poll_interval = milliseconds("max.poll.interval.ms", value)?,
            "client.rack" => group.client_rack = Some(value.to_owned()).filter(|rack| !rack.is_empty()),
            "enable.auto.commit" => self.enable_auto_commit = Some(boolean("enable.auto.commit", value)?),
            "auto.commit.interval.ms" => {
                self.auto_commit_interval = milliseconds("auto.commit.interval.ms", value)?;
            }
            "partition.drain.timeout.ms" => {
                self.partition_drain_timeout = milliseconds("partition.drain.timeout.ms", value)?;
            }
            "group.protocol" if value.eq_ignore_ascii_case("classic") => {}
            "group.protocol" => return unreadable("group.protocol", value, "classic, the one that is supported"),
            _ => return Err(Error::UnknownSetting { setting: setting.to_owned() }),
        }
        Ok(self)
    }
}

/// Assignors by their names, or by those of Java's classes.
fn assignors(value: &str) -> Result<Vec<Arc<dyn Assignor>>, Error> {
    let named = |name: &str| match assignor::built_in(name.trim()) {
        Some(assignor) => Ok(assignor),
        None => unreadable("partition.assignment.strategy", value, "a list of assignors that exist"),
    };
    value.split(',').map(named).collect()
}

fn number<N: std::str::FromStr>(setting: &'static str, value: &str) -> Result<N, Error> {
    value.trim().parse().or_else(|_| unreadable(setting, value, "a number in its range"))
}

fn milliseconds(setting: &'static str, value: &str) -> Result<Duration, Error> {
    number(setting, value).map(Duration::from_millis)
}

/// How far back a reset goes, which is a policy by itself.
fn duration(setting: &'static str, value: &str) -> Result<Duration, Error> {
    let duration = value.strip_prefix("by_duration:").and_then(iso_duration::parse);
    let expected = "one of earliest, latest, none, or by_duration:PnDTnHnMn.nS of a duration that is not negative";
    duration.map_or_else(|| unreadable(setting, value, expected), Ok)
}

fn boolean(setting: &'static str, value: &str) -> Result<bool, Error> {
    // As Kafka has it, in whatever case.
    value.trim().to_ascii_lowercase().parse().or_else(|_| unreadable(setting, value, "true or false"))
}

fn unreadable<T>(setting: &'static str, value: &str, expected: &'static str) -> Result<T, Error> {
    Err(Error::UnreadableSetting { setting, value: value.to_owned(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_cluster::{Cluster, ClusterConfig};

    fn builder() -> ConsumerBuilder {
        let address = "127.0.0.1:9092".parse().unwrap();
        ConsumerBuilder::new(Cluster::new(ClusterConfig::new([address])).unwrap())
    }

    #[test]
    fn properties_are_read_by_kafkas_names() {
        let properties = [
            ("auto.offset.reset", "none"),
            ("isolation.level", "read_committed"),
            ("on.truncation", "tell"),
            ("fetch.min.bytes", "7"),
            ("fetch.max.bytes", "1000000"),
            ("fetch.sessions", "false"),
            ("fetch.max.wait.ms", "20"),
            ("max.partition.fetch.bytes", "9"),
            ("check.crcs", "False"),
            ("fetch.buffer.max.bytes", "1048576"),
            ("max.decompressed.batch.bytes", "5"),
            ("max.poll.bytes", "6"),
            ("default.api.timeout.ms", "8"),
            ("group.id", "readers"),
            ("group.instance.id", "reader-1"),
            ("partition.assignment.strategy", "org.apache.kafka.clients.consumer.StickyAssignor, roundrobin"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "2000"),
            ("max.poll.interval.ms", "60000"),
            ("client.rack", "east"),
            ("enable.auto.commit", "false"),
            ("auto.commit.interval.ms", "1000"),
            ("partition.drain.timeout.ms", "9000"),
            ("group.protocol", "classic"),
        ];
        let mut names = properties.map(|(name, _)| name);
        names.sort_unstable();
        assert_eq!(names, ConsumerBuilder::PROPERTIES);
        let builder = builder().properties(properties).unwrap();
        let fetcher = &builder.fetcher;
        assert_eq!(fetcher.auto_offset_reset, AutoOffsetReset::None);
        assert_eq!(fetcher.isolation_level, IsolationLevel::ReadCommitted);
        assert_eq!(fetcher.on_truncation, OnTruncation::Tell);
        assert_eq!((fetcher.fetch_min_bytes, fetcher.fetch_max_bytes), (7, 1_000_000));
        assert_eq!((fetcher.fetch_max_wait, fetcher.fetch_sessions), (Duration::from_millis(20), false));
        assert_eq!((fetcher.max_partition_fetch_bytes, fetcher.check_crcs), (Some(9), false));
        assert_eq!((fetcher.fetch_buffer_max_bytes, fetcher.max_decompressed_batch_bytes), (1_048_576, 5));
        assert_eq!((fetcher.max_poll_bytes, builder.default_api_timeout), (6, Some(Duration::from_millis(8))));
        let group = &builder.group;
        assert_eq!((&*group.group_id, group.group_instance_id.as_deref()), ("readers", Some("reader-1")));
        let assignors: Vec<_> = group.assignors.iter().map(|assignor| assignor.name()).collect();
        assert_eq!(assignors, ["sticky", "roundrobin"]);
        assert_eq!((group.session_timeout, group.heartbeat_interval), (Duration::from_secs(6), Duration::from_secs(2)));
        assert_eq!((group.max_poll_interval, group.client_rack.as_deref()), (Duration::from_mins(1), Some("east")));
        assert_eq!((builder.enable_auto_commit, builder.auto_commit_interval), (Some(false), Duration::from_secs(1)));
        assert_eq!(builder.partition_drain_timeout, Duration::from_secs(9));
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
    fn a_reset_by_duration_is_read_as_java_reads_it() {
        let builder_with = |value| builder().properties([("auto.offset.reset", value)]);
        let read = builder_with("by_duration:P1DT1H").unwrap();
        assert_eq!(read.fetcher.auto_offset_reset, AutoOffsetReset::ByDuration(Duration::from_hours(25)));
        for wrong in ["by_duration:-PT1H", "by_duration:PT1", "by_duration:", "by_duration", "PT1H"] {
            let error = builder_with(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("auto.offset.reset is {wrong:?}, which is not")), "{error}");
        }
    }

    #[test]
    fn assignors_that_do_not_exist_are_refused() {
        let error = builder().properties([("partition.assignment.strategy", "range,best")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "partition.assignment.strategy is \"range,best\", which is not a list of assignors that exist"
        );
    }

    #[test]
    fn what_needs_a_group_says_so() {
        let error = builder().enable_auto_commit(true).build().unwrap_err();
        assert_eq!(error.to_string(), "enable.auto.commit is true, which needs a group.id");
        let error = builder().group_instance_id("a").build().unwrap_err();
        assert_eq!(error.to_string(), "group.instance.id is a, which needs a group.id");
        let consumer = builder().build().unwrap();
        assert_eq!(
            consumer.subscribe(["letters"]).unwrap_err().to_string(),
            "subscribing to topics needs a group: set group.id"
        );
    }

    #[test]
    fn a_contradiction_is_found_when_building() {
        let error = builder().fetch_min_bytes(100).fetch_max_bytes(10).build().unwrap_err();
        assert_eq!(error.to_string(), "fetch.min.bytes is 100, which is more than fetch.max.bytes");
    }
}
