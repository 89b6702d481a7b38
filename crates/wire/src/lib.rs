//! What the bytes of the Kafka protocol mean: frames, versions, messages, record batches, compression, error codes.
//!
//! Nothing here does I/O or knows a runtime. Bytes go in, typed values or a [`DecodeError`] come out, and back.
//! No length that came from the network is believed beyond what remains of its frame: see [`Reader`].
//!
//! Start with [`Request`] (what ties a request to its response and versions), then [`messages`] and [`records`].
#![forbid(unsafe_code)]

pub mod compression;
pub mod consumer_protocol;
pub mod guard;
pub mod guarded;
pub mod hashing;
pub mod messages;
pub mod records;

mod api;
mod error_code;
mod frame;
mod header;
mod ids;
#[cfg(feature = "inspect")]
mod inspect;
mod primitives;
mod reader;
mod throttle;
mod writer;

pub use api::{ApiKey, BrokerVersions, Message, Request, UnsupportedVersion, VersionRange, Within};
pub use error_code::ErrorCode;
pub use frame::{DEFAULT_MAX_FRAME_BYTES, Frame, FrameTooLarge, frame_length};
pub use header::{RequestHeader, ResponseHeader, decode_response, encode_request, encode_response};
pub use ids::{
    GenerationId, LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition,
};
#[cfg(feature = "inspect")]
pub use inspect::{Inspect, Value};
pub use primitives::{Encoding, Field, SecretBytes};
pub use reader::{DecodeError, Reader};
pub use throttle::{throttle_duration, throttle_time};
pub use writer::{EncodeError, Writer};
