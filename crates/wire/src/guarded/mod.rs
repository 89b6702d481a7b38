//! Admin messages that the `kafka-protocol` crate reads and writes behind the [guard](crate::guard): those of which no client
//! speaks a version that is not flexible. What is spoken in others, too, is written by hand
//! ([`messages`](crate::messages)).
//!
//! The structures are our own, so that no type of that crate leaves this one. Reading requests, as a broker does, takes
//! the cargo feature `broker`.

#[cfg(feature = "any-message")]
pub mod any;
mod describe_cluster;

pub use describe_cluster::*;

use kafka_protocol::protocol::StrBytes;

/// Implements [`Message`](crate::Message) for a request and its response by way of the crate's types, to and from
/// which `From` converts. A request is [`Encodable`](kafka_protocol::protocol::Encodable) for clients and
/// [`Decodable`](kafka_protocol::protocol::Decodable) for brokers only, a response the other way round.
macro_rules! guarded_message {
    ($request:ident, $response:ident: $api:ident, $versions:expr) => {
        guarded_message!(@message $request, $api, $versions,
            read: $crate::guarded::broker_only!({ |reader, version| {
                let (request, version): (kafka::$request, i16) =
                    ($crate::guarded::read(stringify!($request), reader, version)?, version);
                Ok($crate::guarded::FromGuarded::from_guarded(request, version))
            } } else { |_, _| Err($crate::guarded::NEEDS_BROKER_TO_READ) }),
            write: |message: &$request, writer, version| {
                let request: kafka::$request = $crate::guarded::ToGuarded::to_guarded(message, version)?;
                writer.shared(&$crate::guard::encode(stringify!($request), &request, version)?);
                Ok(())
            });
        guarded_message!(@message $response, $api, $versions,
            read: |reader, version| {
                let response: kafka::$response = $crate::guarded::read(stringify!($response), reader, version)?;
                Ok($crate::guarded::FromGuarded::from_guarded(response, version))
            },
            write: $crate::guarded::broker_only!({ |message: &$response, writer, version| {
                let response: kafka::$response = $crate::guarded::ToGuarded::to_guarded(message, version)?;
                writer.shared(&$crate::guard::encode(stringify!($response), &response, version)?);
                Ok(())
            } } else { |_, _, _| Err($crate::guarded::needs_broker_to_write(stringify!($response))) }));
    };
    (@message $name:ident, $api:ident, $versions:expr, read: $read:expr, write: $write:expr) => {
        impl $crate::Message for $name {
            const NAME: &'static str = stringify!($name);
            const API_KEY: $crate::ApiKey = $crate::ApiKey::$api;
            const VERSIONS: $crate::VersionRange = $crate::VersionRange::new(*$versions.start(), *$versions.end());

            fn encoding(version: i16) -> $crate::Encoding {
                $crate::Encoding::new(version, true)
            }

            fn read_body(reader: &mut $crate::Reader, version: i16) -> Result<Self, $crate::DecodeError> {
                let read: fn(&mut $crate::Reader, i16) -> Result<Self, $crate::DecodeError> = $read;
                read(reader, version)
            }

            fn write_body(&self, writer: &mut $crate::Writer, version: i16) -> Result<(), $crate::EncodeError> {
                let write: fn(&Self, &mut $crate::Writer, i16) -> Result<(), $crate::EncodeError> = $write;
                write(self, writer, version)
            }
        }
    };
}

#[cfg(feature = "broker")]
macro_rules! broker_only {
    ({ $with:expr } else { $without:expr }) => {
        $with
    };
}
#[cfg(not(feature = "broker"))]
macro_rules! broker_only {
    ({ $with:expr } else { $without:expr }) => {
        $without
    };
}

use {broker_only, guarded_message};

/// Our own form of a message of the `kafka-protocol` crate.
trait FromGuarded<K> {
    fn from_guarded(message: K, version: i16) -> Self;
}

/// A message in the form that the `kafka-protocol` crate writes.
trait ToGuarded<K> {
    fn to_guarded(&self, version: i16) -> Result<K, crate::EncodeError>;
}

fn read<K: kafka_protocol::protocol::Decodable>(
    message: &'static str,
    reader: &mut crate::Reader,
    version: i16,
) -> Result<K, crate::DecodeError> {
    let limit = reader.guarded_limit();
    let (read, length) = crate::guard::decode(message, reader.rest(), version, crate::guard::ByteFields::Small, limit)?;
    reader.skip(length)?;
    Ok(read)
}

#[cfg(not(feature = "broker"))]
const NEEDS_BROKER_TO_READ: crate::DecodeError = crate::DecodeError::NeedsBrokerFeature;

#[cfg(not(feature = "broker"))]
fn needs_broker_to_write(message: &'static str) -> crate::EncodeError {
    crate::EncodeError::NeedsBrokerFeature { message }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn optional_text(optional: Option<&String>) -> Option<StrBytes> {
    optional.map(|optional| text(optional))
}
