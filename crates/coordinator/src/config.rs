//! The settings of a group member, by Kafka's names and with Kafka's defaults.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::InvalidSetting;

use crate::assignor::{Assignor, CooperativeStickyAssignor, RangeAssignor, RebalanceProtocol};

/// The settings of a [`Coordinator`](crate::Coordinator).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupConfig {
    /// `group.id`: the group.
    pub group_id: String,
    /// `group.instance.id`: makes the member a static one (KIP-345), which keeps its partitions while it is away for
    /// less than the session timeout. None by default.
    pub group_instance_id: Option<String>,
    /// `partition.assignment.strategy`: who may assign, the most wanted first. All members of a group have to have one
    /// in common. Whoever only commits and looks up offsets needs none. Default range, then cooperative-sticky.
    pub assignors: Vec<Arc<dyn Assignor>>,
    /// `session.timeout.ms`: the coordinator removes a member of which it has not heard for so long. Default 45 s.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`: how often a member shows that it is alive. Default 3 s.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: a member that is not polled for so long leaves the group. Also how long the members
    /// have to rejoin when the group rebalances. Default 5 min.
    pub max_poll_interval: Duration,
    /// `client.rack`: where the member stands, for assignors that mind (KIP-881). None by default.
    pub client_rack: Option<String>,
    /// Whether a lookup of committed offsets waits for transactions that are about to commit some (KIP-447). Default
    /// true, as in Java's consumer.
    pub require_stable: bool,
}

impl GroupConfig {
    /// A member of that group, with Kafka's defaults.
    pub fn new(group_id: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            group_instance_id: None,
            assignors: vec![Arc::new(RangeAssignor), Arc::new(CooperativeStickyAssignor)],
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_mins(5),
            client_rack: None,
            require_stable: true,
        }
    }

    /// How the group rebalances: by the most advanced protocol that all assignors have in common. One that can let
    /// members keep their partitions can also do without, so one that cannot makes all go the eager way.
    pub fn rebalance_protocol(&self) -> RebalanceProtocol {
        let protocols = self.assignors.iter().map(|assignor| assignor.rebalance_protocol());
        protocols.min().unwrap_or(RebalanceProtocol::Eager)
    }

    /// The first setting that cannot be, if there is one.
    ///
    /// # Errors
    ///
    /// Names the setting.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let invalid = |setting, value: String, reason| Err(InvalidSetting::new(setting, value, reason));
        if self.group_id.is_empty() {
            return invalid("group.id", "empty".to_owned(), "which is no group");
        }
        if i16::try_from(self.group_id.len()).is_err() {
            let value = format!("{} bytes long", self.group_id.len());
            return invalid("group.id", value, "which does not fit into a request");
        }
        if let Some(reason) = self.group_instance_id.as_deref().and_then(refuse_instance_id) {
            let value = self.group_instance_id.as_deref().map_or(String::new(), |id| format!("{id:?}"));
            return invalid("group.instance.id", value, reason);
        }
        let mut names = BTreeSet::new();
        for assignor in &self.assignors {
            if i16::try_from(assignor.name().len()).is_err() {
                let value = format!("{} bytes long", assignor.name().len());
                return invalid("partition.assignment.strategy", value, "which does not fit into a request");
            }
            if !names.insert(assignor.name()) {
                let value = assignor.name().to_owned();
                return invalid("partition.assignment.strategy", value, "which is named twice");
            }
        }
        for (setting, value) in [
            ("session.timeout.ms", self.session_timeout),
            ("heartbeat.interval.ms", self.heartbeat_interval),
            ("max.poll.interval.ms", self.max_poll_interval),
        ] {
            if value < Duration::from_millis(1) {
                return Err(InvalidSetting::of_duration(setting, value, "which is not positive"));
            }
            if value > LONGEST {
                return Err(InvalidSetting::of_duration(setting, value, "which is more than 24 days"));
            }
        }
        if self.heartbeat_interval >= self.session_timeout {
            let (setting, reason) = ("heartbeat.interval.ms", "which is not less than session.timeout.ms");
            return Err(InvalidSetting::of_duration(setting, self.heartbeat_interval, reason));
        }
        Ok(())
    }
}

/// The broker's rules for a group's instance id, which are those for a topic's name.
fn refuse_instance_id(id: &str) -> Option<&'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match id {
        "" => Some("which is empty"),
        "." | ".." => Some("which is not allowed"),
        _ if id.len() > 249 => Some("which is longer than 249 characters"),
        _ if !id.bytes().all(is_allowed) => Some("which has characters other than letters, digits, '.', '_' and '-'"),
        _ => None,
    }
}

/// What fits into an `i32` of milliseconds, as requests have it.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_kafkas() {
        let config = GroupConfig::new("group");
        assert_eq!(config.check(), Ok(()));
        assert_eq!((config.session_timeout.as_secs(), config.heartbeat_interval.as_secs()), (45, 3));
        assert_eq!(config.max_poll_interval.as_secs(), 300);
        let names: Vec<&str> = config.assignors.iter().map(|assignor| assignor.name()).collect();
        assert_eq!(names, ["range", "cooperative-sticky"]);
    }

    #[test]
    fn a_group_rebalances_as_all_its_assignors_can() {
        let mut config = GroupConfig::new("group");
        assert_eq!(config.rebalance_protocol(), RebalanceProtocol::Eager, "range can do no other");
        config.assignors.remove(0);
        assert_eq!(config.rebalance_protocol(), RebalanceProtocol::Cooperative);
        config.assignors.clear();
        assert_eq!(config.rebalance_protocol(), RebalanceProtocol::Eager);
    }

    #[test]
    fn a_setting_that_cannot_be_names_itself() {
        let mut config = GroupConfig::new("group");
        config.group_instance_id = Some("a b".to_owned());
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with("group.instance.id is \"a b\", which has characters other than"), "{error}");
        config.group_instance_id = None;
        config.heartbeat_interval = config.session_timeout;
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "heartbeat.interval.ms is 45000 ms, which is not less than session.timeout.ms");
    }
}
