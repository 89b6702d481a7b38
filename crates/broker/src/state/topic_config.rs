//! Topic configurations: Kafka's names and defaults, and those of them that the embedded broker heeds.
//!
//! Heeded: `max.message.bytes`, `message.timestamp.type`, `min.insync.replicas`, `unclean.leader.election.enable`, and
//! of `cleanup.policy` that a compacted topic needs keys. The others are checked, kept and described, without effect:
//! nothing is ever deleted, compacted or recompressed.

use std::collections::BTreeMap;

use ottla_wire::ErrorCode;

use super::Refused;

/// The kind of a configuration's value, numbered as in DescribeConfigs (KIP-569).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigType {
    Boolean = 1,
    String = 2,
    Integer = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// A configuration that topics have: its name, its default, its type, and the values it may have, where it is a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfigKey {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) kind: ConfigType,
    choices: &'static [&'static str],
}

const fn key(name: &'static str, default: &'static str, kind: ConfigType) -> ConfigKey {
    ConfigKey { name, default, kind, choices: &[] }
}

const fn choice(
    name: &'static str,
    default: &'static str,
    kind: ConfigType,
    choices: &'static [&'static str],
) -> ConfigKey {
    ConfigKey { name, default, kind, choices }
}

/// Kafka 4.3's topic configurations, by name.
pub(crate) const CONFIG_KEYS: &[ConfigKey] = &[
    choice("cleanup.policy", "delete", ConfigType::List, &["compact", "delete"]),
    choice(
        "compression.type",
        "producer",
        ConfigType::String,
        &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"],
    ),
    key("delete.retention.ms", "86400000", ConfigType::Long),
    key("file.delete.delay.ms", "60000", ConfigType::Long),
    key("flush.messages", "9223372036854775807", ConfigType::Long),
    key("flush.ms", "9223372036854775807", ConfigType::Long),
    key("follower.replication.throttled.replicas", "", ConfigType::List),
    key("index.interval.bytes", "4096", ConfigType::Integer),
    key("leader.replication.throttled.replicas", "", ConfigType::List),
    key("local.retention.bytes", "-2", ConfigType::Long),
    key("local.retention.ms", "-2", ConfigType::Long),
    key("max.compaction.lag.ms", "9223372036854775807", ConfigType::Long),
    key("max.message.bytes", "1048588", ConfigType::Integer),
    key("message.timestamp.after.max.ms", "3600000", ConfigType::Long),
    key("message.timestamp.before.max.ms", "9223372036854775807", ConfigType::Long),
    choice("message.timestamp.type", "CreateTime", ConfigType::String, &["CreateTime", "LogAppendTime"]),
    key("min.cleanable.dirty.ratio", "0.5", ConfigType::Double),
    key("min.compaction.lag.ms", "0", ConfigType::Long),
    key("min.insync.replicas", "1", ConfigType::Integer),
    key("preallocate", "false", ConfigType::Boolean),
    key("remote.storage.enable", "false", ConfigType::Boolean),
    key("retention.bytes", "-1", ConfigType::Long),
    key("retention.ms", "604800000", ConfigType::Long),
    key("segment.bytes", "1073741824", ConfigType::Integer),
    key("segment.index.bytes", "10485760", ConfigType::Integer),
    key("segment.jitter.ms", "0", ConfigType::Long),
    key("segment.ms", "604800000", ConfigType::Long),
    key("unclean.leader.election.enable", "false", ConfigType::Boolean),
];

impl ConfigKey {
    /// Looks a configuration up.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        CONFIG_KEYS.iter().find(|key| key.name == name)
    }

    fn check(&self, value: &str) -> bool {
        let is_choice = |value: &str| self.choices.is_empty() || self.choices.contains(&value);
        match self.kind {
            ConfigType::Boolean => value.parse::<bool>().is_ok(),
            ConfigType::Integer => value.parse::<i32>().is_ok(),
            ConfigType::Long => value.parse::<i64>().is_ok(),
            ConfigType::Double => value.parse::<f64>().is_ok(),
            ConfigType::String => is_choice(value),
            ConfigType::List => value.is_empty() || value.split(',').map(str::trim).all(is_choice),
        }
    }
}

/// What timestamps of a topic's records mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// A topic's configuration: what was set for it, over what the cluster sets for all, over Kafka's defaults.
#[derive(Clone, Debug)]
pub(crate) struct TopicConfig {
    set: BTreeMap<String, String>,
    pub(crate) max_message_bytes: usize,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) min_in_sync_replicas: usize,
    pub(crate) unclean_leader_election: bool,
    pub(crate) compacted: bool,
    /// Whether old records may be deleted.
    pub(crate) deletes: bool,
}

/// A change of one configuration, as of KIP-339.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigChange {
    Set(String),
    /// Back to the default.
    Delete,
    /// Entries are added to a list.
    Append(String),
    /// Entries are taken out of a list.
    Subtract(String),
}

impl TopicConfig {
    /// Checks what was set for a topic. `defaults` are the cluster's, checked before.
    pub(crate) fn new(set: BTreeMap<String, String>, defaults: &BTreeMap<String, String>) -> Result<Self, Refused> {
        for (name, value) in &set {
            let valid = ConfigKey::named(name).map(|key| key.check(value));
            let reason = match valid {
                Some(true) => continue,
                Some(false) => format!("Invalid value {value} for configuration {name}"),
                None => format!("Unknown topic config name: {name}"),
            };
            return Err(Refused { code: ErrorCode::InvalidConfig, reason });
        }
        let value = |name: &str| {
            let chosen = set.get(name).or_else(|| defaults.get(name)).map(String::as_str);
            chosen.or_else(|| ConfigKey::named(name).map(|key| key.default)).unwrap_or_default().to_owned()
        };
        let cleans_up_by = |wanted: &str| value("cleanup.policy").split(',').any(|policy| policy.trim() == wanted);
        let timestamp_type = match value("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        };
        Ok(Self {
            max_message_bytes: value("max.message.bytes").parse().unwrap_or(usize::MAX),
            timestamp_type,
            min_in_sync_replicas: value("min.insync.replicas").parse().unwrap_or(1),
            unclean_leader_election: value("unclean.leader.election.enable") == "true",
            compacted: cleans_up_by("compact"),
            deletes: cleans_up_by("delete"),
            set,
        })
    }

    /// The configuration after changes to what was set for the topic.
    pub(crate) fn changed(
        &self,
        changes: impl IntoIterator<Item = (String, ConfigChange)>,
        defaults: &BTreeMap<String, String>,
    ) -> Result<Self, Refused> {
        let mut set = self.set.clone();
        for (name, change) in changes {
            match change {
                ConfigChange::Set(value) => drop(set.insert(name, value)),
                ConfigChange::Delete => drop(set.remove(&name)),
                ConfigChange::Append(entries) => {
                    let mut list = self.list(&name, defaults)?;
                    list.extend(entries_of(&entries).filter(|entry| !list.contains(entry)).collect::<Vec<_>>());
                    set.insert(name, list.join(","));
                }
                ConfigChange::Subtract(entries) => {
                    let mut list = self.list(&name, defaults)?;
                    list.retain(|entry| entries_of(&entries).all(|removed| removed != *entry));
                    set.insert(name, list.join(","));
                }
            }
        }
        Self::new(set, defaults)
    }

    /// The entries of a configuration that is a list.
    fn list(&self, name: &str, defaults: &BTreeMap<String, String>) -> Result<Vec<String>, Refused> {
        match ConfigKey::named(name) {
            Some(key) if key.kind == ConfigType::List => Ok(entries_of(self.describe(key, defaults).0).collect()),
            // What is not known is refused as such when it is set.
            None => Ok(Vec::new()),
            Some(_) => {
                let reason = format!("Can't append to or subtract from {name}, which is no list");
                Err(Refused { code: ErrorCode::InvalidConfig, reason })
            }
        }
    }

    /// A configuration's value, and where it comes from.
    pub(crate) fn describe<'c>(
        &'c self,
        key: &ConfigKey,
        defaults: &'c BTreeMap<String, String>,
    ) -> (&'c str, ConfigSource) {
        let own = self.set.get(key.name).map(|value| (value.as_str(), ConfigSource::Topic));
        let of_cluster = || defaults.get(key.name).map(|value| (value.as_str(), ConfigSource::StaticBroker));
        own.or_else(of_cluster).unwrap_or((key.default, ConfigSource::Default))
    }
}

fn entries_of(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned)
}

/// Where a configuration's value comes from, numbered as in DescribeConfigs (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigSource {
    Topic = 1,
    StaticBroker = 4,
    Default = 5,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entries: &[(&str, &str)]) -> Result<TopicConfig, Refused> {
        let set = entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TopicConfig::new(set, &BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]))
    }

    #[test]
    fn what_a_topic_sets_wins_over_the_cluster_and_that_over_kafka() {
        let of_kafka = config(&[]).unwrap();
        assert_eq!((of_kafka.max_message_bytes, of_kafka.min_in_sync_replicas), (1_048_588, 2));
        assert_eq!(config(&[("min.insync.replicas", "3")]).unwrap().min_in_sync_replicas, 3);
    }

    #[test]
    fn unknown_names_and_bad_values_are_refused() {
        assert_eq!(config(&[("no.such", "1")]).unwrap_err().code, ErrorCode::InvalidConfig);
        assert_eq!(config(&[("retention.ms", "soon")]).unwrap_err().code, ErrorCode::InvalidConfig);
        assert_eq!(config(&[("cleanup.policy", "compact,shred")]).unwrap_err().code, ErrorCode::InvalidConfig);
        assert!(config(&[("cleanup.policy", "compact,delete")]).unwrap().compacted);
    }

    #[test]
    fn what_was_set_is_changed_one_by_one() {
        let before = config(&[("retention.ms", "1"), ("cleanup.policy", "delete")]).unwrap();
        let changed = |name: &str, change: ConfigChange| {
            let changed = before.changed([(name.to_owned(), change)], &BTreeMap::new())?;
            let key = ConfigKey::named(name).unwrap();
            Ok::<_, Refused>(changed.describe(key, &BTreeMap::new()).0.to_owned())
        };
        assert_eq!(changed("retention.ms", ConfigChange::Set("5".to_owned())).unwrap(), "5");
        assert_eq!(changed("retention.ms", ConfigChange::Delete).unwrap(), "604800000");
        let policy =
            |change: fn(String) -> ConfigChange, entries: &str| changed("cleanup.policy", change(entries.to_owned()));
        assert_eq!(policy(ConfigChange::Append, "compact,delete").unwrap(), "delete,compact");
        assert_eq!(policy(ConfigChange::Subtract, "delete, compact").unwrap(), "");
        assert_eq!(
            changed("retention.ms", ConfigChange::Append("5".to_owned())).unwrap_err().code,
            ErrorCode::InvalidConfig
        );
        let unknown = before.changed([("no.such".to_owned(), ConfigChange::Append("x".to_owned()))], &BTreeMap::new());
        assert_eq!(unknown.unwrap_err().code, ErrorCode::InvalidConfig);
    }
}
