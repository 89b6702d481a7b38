//! Settings by Kafka's textual names, as they stand in a properties file.

use std::str::FromStr;
use std::time::Duration;

use ottla_wire::compression::{Compression, CompressionLevel};

use crate::config::invalid;
use crate::{Error, ProducerBuilder};

impl ProducerBuilder {
    /// The names that [`property`](Self::property) knows, all of them Kafka's.
    pub const PROPERTIES: &'static [&'static str] = &[
        "acks",
        "batch.size",
        "buffer.memory",
        "compression.gzip.level",
        "compression.lz4.level",
        "compression.type",
        "compression.zstd.level",
        "delivery.timeout.ms",
        "enable.idempotence",
        "linger.ms",
        "max.block.ms",
        "max.in.flight.requests.per.connection",
        "max.request.size",
        "partitioner.ignore.keys",
        "request.timeout.ms",
        "retries",
    ];

    /// Sets what Kafka calls `name`. A name that is not known, or a value that cannot be, is an error that names it.
    ///
    /// `enable.idempotence` may only be `false`: producers here are not idempotent yet, and silence would promise it.
    pub fn property(mut self, name: &str, value: &str) -> Result<Self, Error> {
        let Some(&name) = Self::PROPERTIES.iter().find(|known| **known == name) else {
            return Err(Error::UnknownSetting { name: name.to_owned() });
        };
        let config = &mut self.config;
        match name {
            "acks" => config.acks = value.parse()?,
            "batch.size" => config.batch_size = number(name, value)?,
            "buffer.memory" => config.buffer_memory = number(name, value)?,
            "compression.gzip.level" => return self.level(name, Compression::Gzip, value),
            "compression.lz4.level" => return self.level(name, Compression::Lz4, value),
            "compression.zstd.level" => return self.level(name, Compression::Zstd, value),
            "compression.type" => {
                let compression: Compression = value.parse().map_err(|_| {
                    invalid(name, format!("is {value:?}, which is none of none, gzip, snappy, lz4, zstd"))
                })?;
                let set = self.levels.iter().find(|level| level.compression() == compression);
                config.compression = set.copied().unwrap_or_else(|| compression.into());
            }
            "delivery.timeout.ms" => config.delivery_timeout = milliseconds(name, value)?,
            "enable.idempotence" => {
                if boolean(name, value)? {
                    return Err(invalid(name, "is true, which is not supported yet"));
                }
            }
            "linger.ms" => config.linger = milliseconds(name, value)?,
            "max.block.ms" => config.max_block = milliseconds(name, value)?,
            "max.in.flight.requests.per.connection" => {
                config.max_in_flight_requests_per_connection = number(name, value)?;
            }
            "max.request.size" => config.max_request_size = number(name, value)?,
            "partitioner.ignore.keys" => config.partitioner_ignore_keys = boolean(name, value)?,
            "request.timeout.ms" => config.request_timeout = milliseconds(name, value)?,
            "retries" => config.retries = number(name, value)?,
            _ => return Err(Error::UnknownSetting { name: name.to_owned() }),
        }
        Ok(self)
    }

    /// A level holds for its type, whichever of the two is set first.
    fn level(mut self, name: &'static str, compression: Compression, value: &str) -> Result<Self, Error> {
        let level = CompressionLevel::new(compression, number(name, value)?);
        let level = level.map_err(|_| invalid(name, format!("is {value}, which is out of its range")))?;
        if self.config.compression.compression() == compression {
            self.config.compression = level;
        }
        self.levels.retain(|known| known.compression() != compression);
        self.levels.push(level);
        Ok(self)
    }
}

fn number<N: FromStr>(name: &'static str, value: &str) -> Result<N, Error> {
    value.trim().parse().map_err(|_| invalid(name, format!("is {value:?}, which is no number in its range")))
}

fn milliseconds(name: &'static str, value: &str) -> Result<Duration, Error> {
    number(name, value).map(Duration::from_millis)
}

fn boolean(name: &'static str, value: &str) -> Result<bool, Error> {
    // As Kafka has it, in whatever case.
    let parsed = value.trim().to_ascii_lowercase().parse();
    parsed.map_err(|_| invalid(name, format!("is {value:?}, which is neither true nor false")))
}

#[cfg(test)]
mod tests {
    use ottla_cluster::{Address, Cluster, ClusterConfig};

    use super::*;
    use crate::Acks;

    fn builder() -> ProducerBuilder {
        ProducerBuilder::new(Cluster::new(ClusterConfig::new([Address::new("broker", 9092)])).unwrap())
    }

    #[test]
    fn every_known_name_is_taken() {
        for name in ProducerBuilder::PROPERTIES {
            let value = match *name {
                "compression.type" => "zstd",
                "enable.idempotence" | "partitioner.ignore.keys" => "False",
                _ => "1",
            };
            assert!(builder().property(name, value).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_it() {
        let error = builder().property("lingerms", "5").unwrap_err();
        assert!(error.to_string().contains("lingerms"), "{error}");
    }

    #[test]
    fn a_value_that_cannot_be_is_an_error_that_names_its_setting() {
        for (name, value) in [
            ("acks", "2"),
            ("batch.size", "-1"),
            ("linger.ms", "soon"),
            ("compression.type", "rar"),
            ("compression.gzip.level", "10"),
            ("enable.idempotence", "true"),
            ("partitioner.ignore.keys", "yes"),
        ] {
            let error = builder().property(name, value).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn values_are_taken_by_their_kafka_meaning() {
        let config = builder()
            .property("acks", "1")
            .and_then(|builder| builder.property("linger.ms", "20"))
            .and_then(|builder| builder.property("batch.size", "100"))
            .unwrap()
            .config;
        assert_eq!((config.acks, config.linger, config.batch_size), (Acks::Leader, Duration::from_millis(20), 100));
    }

    #[test]
    fn a_level_holds_for_its_type_whichever_is_set_first() {
        let level_first =
            builder().property("compression.zstd.level", "7").unwrap().property("compression.type", "zstd");
        let type_first =
            builder().property("compression.type", "zstd").unwrap().property("compression.zstd.level", "7");
        for built in [level_first, type_first] {
            assert_eq!(built.unwrap().config.compression, CompressionLevel::new(Compression::Zstd, 7).unwrap());
        }
        let other = builder().property("compression.zstd.level", "7").unwrap().property("compression.type", "lz4");
        assert_eq!(other.unwrap().config.compression, CompressionLevel::from(Compression::Lz4));
    }
}
