//! The settings of a group member, by Kafka's names and with Kafka's defaults.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::assignor::{Assignor, RebalanceProtocol};

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
    /// in common. Whoever only commits and looks up offsets needs none.
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
    /// A member of that group, with Kafka's defaults, and without assignors.
    pub fn new(group_id: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            group_instance_id: None,
            assignors: Vec::new(),
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
        let invalid = |setting, value: String, reason| Err(InvalidSetting { setting, value, reason });
        let milliseconds = |duration: Duration| format!("{} ms", duration.as_millis());
        if self.group_id.is_empty() {
            return invalid("group.id", "empty".to_owned(), "which is no group");
        }
        if i16::try_from(self.group_id.len()).is_err() {
            let value = format!("{} bytes long", self.group_id.len());
            return invalid("group.id", value, "which does not fit into a request");
        }
        if let Some(reason) = self.group_instance_id.as_deref().and_then(refuse_instance_id) {
            return invalid("group.instance.id", format!("{:?}", self.group_instance_id.as_deref()), reason);
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
                return invalid(setting, milliseconds(value), "which is not positive");
            }
            if value > LONGEST {
                return invalid(setting, milliseconds(value), "which is more than 24 days");
            }
        }
        if self.heartbeat_interval >= self.session_timeout {
            let value = milliseconds(self.heartbeat_interval);
            return invalid("heartbeat.interval.ms", value, "which is not less than session.timeout.ms");
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

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}, {reason}")]
#[non_exhaustive]
pub struct InvalidSetting {
    /// Kafka's name for it.
    pub setting: &'static str,
    /// What it was set to.
    pub value: String,
    /// Why that cannot be.
    pub reason: &'static str,
}
