//! Kafka's textual names of the client's settings.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::{Address, Cluster, ClusterConfig, MetadataRecoveryStrategy};
use ottla_consumer::ConsumerBuilder;
use ottla_producer::ProducerBuilder;

use crate::BuildError;

/// The names of the client's own settings, as [`ClientBuilder::property`](crate::ClientBuilder::property) takes them.
pub(crate) const OF_CLIENT: &[&str] = &[
    "allow.auto.create.topics",
    "bootstrap.servers",
    "client.id",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "max.in.flight.requests.per.connection",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
];

/// Sets what Kafka calls `name`; tells whether it is a setting of the client.
pub(crate) fn apply_to_cluster(config: &mut ClusterConfig, name: &str, value: &str) -> Result<bool, BuildError> {
    let duration = match name {
        "connections.max.idle.ms" => Some(("connections.max.idle.ms", &mut config.connections_max_idle)),
        "default.api.timeout.ms" => Some(("default.api.timeout.ms", &mut config.default_api_timeout)),
        "metadata.max.age.ms" => Some(("metadata.max.age.ms", &mut config.metadata_max_age)),
        "metadata.max.idle.ms" => Some(("metadata.max.idle.ms", &mut config.metadata_max_idle)),
        "metadata.recovery.rebootstrap.trigger.ms" => {
            Some(("metadata.recovery.rebootstrap.trigger.ms", &mut config.metadata_recovery_rebootstrap_trigger))
        }
        "reconnect.backoff.max.ms" => Some(("reconnect.backoff.max.ms", &mut config.reconnect_backoff_max)),
        "reconnect.backoff.ms" => Some(("reconnect.backoff.ms", &mut config.reconnect_backoff)),
        "request.timeout.ms" => Some(("request.timeout.ms", &mut config.request_timeout)),
        "retry.backoff.max.ms" => Some(("retry.backoff.max.ms", &mut config.retry_backoff_max)),
        "retry.backoff.ms" => Some(("retry.backoff.ms", &mut config.retry_backoff)),
        "socket.connection.setup.timeout.max.ms" => {
            Some(("socket.connection.setup.timeout.max.ms", &mut config.socket_connection_setup_timeout_max))
        }
        "socket.connection.setup.timeout.ms" => {
            Some(("socket.connection.setup.timeout.ms", &mut config.socket_connection_setup_timeout))
        }
        _ => None,
    };
    if let Some((setting, duration)) = duration {
        *duration = Duration::from_millis(parsed(setting, value, "a number of milliseconds")?);
        return Ok(true);
    }
    match name {
        "allow.auto.create.topics" => {
            // As Kafka has it, in whatever case.
            let value = value.to_ascii_lowercase();
            config.allow_auto_create_topics = parsed("allow.auto.create.topics", &value, "true or false")?;
        }
        "max.in.flight.requests.per.connection" => {
            config.max_in_flight_requests = parsed("max.in.flight.requests.per.connection", value, "a number")?;
        }
        "metadata.recovery.strategy" => config.metadata_recovery_strategy = strategy(value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Whether producers have a setting of that name; an error for a value that they refuse.
pub(crate) fn check_for_producer(name: &str, value: &str) -> Result<bool, BuildError> {
    match ProducerBuilder::new(nowhere()?).property(name, value) {
        Ok(_) => Ok(true),
        Err(ottla_producer::Error::UnknownSetting { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether consumers have a setting of that name; an error for a value that they refuse.
pub(crate) fn check_for_consumer(name: &str, value: &str) -> Result<bool, BuildError> {
    match ConsumerBuilder::new(nowhere()?).properties([(name, value)]) {
        Ok(_) => Ok(true),
        Err(ottla_consumer::Error::UnknownSetting { .. }) => Ok(false),
        Err(error) => Err(BuildError::Consumer(Arc::new(error))),
    }
}

/// Sets what was given to the client for its producers.
pub(crate) fn apply_to_producer(mut builder: ProducerBuilder, properties: &[(String, String)]) -> ProducerBuilder {
    for (name, value) in properties {
        // Each was checked when it was set; those of consumers are unknown here.
        builder = builder.clone().property(name, value).unwrap_or(builder);
    }
    builder
}

/// Sets what was given to the client for its consumers.
pub(crate) fn apply_to_consumer(mut builder: ConsumerBuilder, properties: &[(String, String)]) -> ConsumerBuilder {
    for (name, value) in properties {
        builder = builder.clone().properties([(name.as_str(), value.as_str())]).unwrap_or(builder);
    }
    builder
}

/// Why a name is not taken. Somebody who brings Kafka's properties along is to see that the name is right.
pub(crate) fn refused(name: &str) -> BuildError {
    let name = name.to_owned();
    let family = ["sasl.", "ssl.", "metric.", "metrics."].iter().any(|family| name.starts_with(family));
    if family || NOT_SUPPORTED.contains(&name.as_str()) {
        BuildError::UnsupportedSetting { name }
    } else {
        BuildError::UnknownSetting { name }
    }
}

/// Settings of Java's clients 4.3 that are not here, beside the families of [`refused`].
const NOT_SUPPORTED: [&str; 23] = [
    "client.dns.lookup",
    "config.providers",
    "enable.metrics.push",
    "exclude.internal.topics",
    "group.remote.assignor",
    "interceptor.classes",
    "key.deserializer",
    "key.serializer",
    "max.poll.records",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "partitioner.class",
    "receive.buffer.bytes",
    "security.protocol",
    "security.providers",
    "send.buffer.bytes",
    "share.acknowledgement.mode",
    "share.acquire.mode",
    "transaction.timeout.ms",
    "transaction.two.phase.commit.enable",
    "transactional.id",
    "value.deserializer",
    "value.serializer",
];

/// A cluster that is never used: the builders need one to begin with, and nothing is connected before its use.
fn nowhere() -> Result<Cluster, BuildError> {
    Ok(Cluster::new(ClusterConfig::new([Address::new("localhost", 1)]))?)
}

fn parsed<T: FromStr>(setting: &'static str, value: &str, expected: &'static str) -> Result<T, BuildError> {
    value.trim().parse().map_err(|_| BuildError::InvalidValue { setting, value: value.to_owned(), expected })
}

fn strategy(value: &str) -> Result<MetadataRecoveryStrategy, BuildError> {
    match value {
        "none" => Ok(MetadataRecoveryStrategy::None),
        "rebootstrap" => Ok(MetadataRecoveryStrategy::Rebootstrap),
        _ => Err(BuildError::InvalidValue {
            setting: "metadata.recovery.strategy",
            value: value.to_owned(),
            expected: "none or rebootstrap",
        }),
    }
}
