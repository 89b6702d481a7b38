//! A setting that cannot be, of the cluster or of what is built on it.

use std::time::Duration;

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

impl InvalidSetting {
    /// A setting by Kafka's name, its value, and why that cannot be.
    pub fn new(setting: &'static str, value: impl Into<String>, reason: &'static str) -> Self {
        Self { setting, value: value.into(), reason }
    }

    /// The same of one that is a duration.
    pub fn of_duration(setting: &'static str, value: Duration, reason: &'static str) -> Self {
        Self::new(setting, format!("{} ms", value.as_millis()), reason)
    }
}
