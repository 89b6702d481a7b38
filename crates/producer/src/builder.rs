//! How a producer is made.

use std::sync::Arc;
use std::time::Duration;

use ottla_cluster::Cluster;
use ottla_wire::compression::CompressionLevel;

use crate::config::ProducerConfig;
use crate::{Acks, Error, Partitioner, Producer, WallClock};

/// Makes a [`Producer`]. Names and defaults are Kafka's.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ProducerBuilder {
    cluster: Cluster,
    pub(crate) config: ProducerConfig,
    /// Levels that were set by name, for whichever type is set.
    pub(crate) levels: Vec<CompressionLevel>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        impl ProducerBuilder {
            $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self {
                self.config.$name = $name;
                self
            })*
        }
    };
}

setters! {
    /// Whose word a record counts as written on. `acks`; all by default.
    acks: Acks,
    /// How large a batch may become before the next is begun, in bytes before compression. `batch.size`; 16 KiB by
    /// default.
    batch_size: usize,
    /// How much memory records may take up until they are acknowledged, in bytes; what would take more waits.
    /// `buffer.memory`; 32 MiB by default.
    buffer_memory: usize,
    /// Where creation times of records come from. The system's clock by default.
    clock: WallClock,
    /// How long a record may take to be acknowledged, from the moment it is enqueued, retries included.
    /// `delivery.timeout.ms`; 2 minutes by default.
    delivery_timeout: Duration,
    /// How long a batch that is not full waits for more records. `linger.ms`; 5 ms by default.
    linger: Duration,
    /// How long enqueueing may wait for memory or for the topic's metadata. `max.block.ms`; 1 minute by default.
    max_block: Duration,
    /// How many requests may be under way to a broker. `max.in.flight.requests.per.connection`; 5 by default. A partition
    /// has one batch under way, whatever this says.
    max_in_flight_requests_per_connection: usize,
    /// How large a request may become, in bytes, and so the largest record. `max.request.size`; 1 MiB by default.
    max_request_size: usize,
    /// Whether keys are ignored by the partitioner, so that records with a key are spread as those without.
    /// `partitioner.ignore.keys`; false by default.
    partitioner_ignore_keys: bool,
    /// How long a broker may take to answer. `request.timeout.ms`; the client's by default.
    request_timeout: Duration,
    /// How often a batch is sent again after a failure that another attempt may mend. `retries`; 2147483647 by default:
    /// [`delivery_timeout`](Self::delivery_timeout) is the bound that counts.
    retries: u32,
}

impl ProducerBuilder {
    /// A producer for that cluster, with Kafka's defaults.
    pub fn new(cluster: Cluster) -> Self {
        let config = ProducerConfig::new(cluster.config().request_timeout);
        Self { cluster, config, levels: Vec::new() }
    }

    /// What batches are compressed with: a [`Compression`](ottla_wire::compression::Compression) at its default level,
    /// or a [`CompressionLevel`]. `compression.type` and `compression.<type>.level`; none by default.
    pub fn compression(mut self, compression: impl Into<CompressionLevel>) -> Self {
        self.config.compression = compression.into();
        self
    }

    /// Chooses partitions in the application's own way. `partitioner.class`; keys by their hash, and other records
    /// uniformly, by default.
    pub fn partitioner(mut self, partitioner: Arc<dyn Partitioner>) -> Self {
        self.config.partitioner = Some(partitioner);
        self
    }

    /// Checks the settings and starts the producer's task, on the client's runtime or the one that is current.
    pub fn build(self) -> Result<Producer, Error> {
        Producer::start(self.cluster, self.config.checked()?)
    }
}
