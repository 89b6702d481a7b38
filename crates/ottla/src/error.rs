//! What can be wrong with a client's settings.

/// A client that cannot be built.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no setting of that name.
    #[error("there is no setting {name:?}")]
    UnknownSetting {
        /// The name.
        name: String,
    },

    /// Kafka has a setting of that name, and Ottla does not, or not yet.
    #[error("Kafka's setting {name:?} is not supported")]
    UnsupportedSetting {
        /// The name.
        name: String,
    },

    /// A setting's value cannot be.
    #[error("{setting} is {value:?}, which is not {expected}")]
    InvalidValue {
        /// Kafka's name of the setting.
        setting: &'static str,
        /// The value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },

    /// `bootstrap.servers` has something that is no address.
    #[error("bootstrap.servers cannot be read")]
    BootstrapServers(#[from] ottla_connection::InvalidAddress),

    /// A setting of producers cannot be.
    #[error("a setting of the producer is invalid")]
    Producer(#[from] ottla_producer::Error),

    /// A setting of consumers cannot be.
    #[error("a setting of the consumer is invalid")]
    Consumer(#[source] std::sync::Arc<ottla_consumer::Error>),

    /// The settings are at odds, or one is out of its range.
    #[error("a setting of the client is invalid")]
    Cluster(#[from] ottla_cluster::Error),
}
