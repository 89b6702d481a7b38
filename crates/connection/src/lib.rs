//! One connection to a Kafka broker: transport, handshake, pipelining, deadlines.
//!
//! [`Connection::open`] connects through a [`Connector`] (TCP or in memory), learns what the broker speaks
//! (ApiVersions, KIP-35, KIP-511) and starts one task that owns the socket from then on. The handle is a cheap clone:
//! requests are queued in the order of the calls, written one after the other without waiting for answers, and answered
//! in the same order. A request that is overdue, an answer that belongs to none, or a frame over the limit closes the
//! connection and fails everything in flight, once, with the cause.
//!
//! Read in this order: [`Connection`], the machines (`handshake`, `in_flight`), `driver`, then the transports.
#![forbid(unsafe_code)]

mod address;
pub mod clock;
mod config;
mod connection;
mod driver;
mod error;
mod handshake;
mod in_flight;
mod incoming;
mod outgoing;
mod response_buffers;
mod transport;
pub mod watch;

pub use address::{Address, InvalidAddress};
pub use config::ConnectionConfig;
pub use connection::{Connection, RawResponse};
pub use error::{CloseCause, Error, HandshakeError};
pub use response_buffers::{LARGE_RESPONSE_BYTES, ResponseBuffer, ResponseBuffers};
pub use transport::{
    BoxedStream, ByteStream, ConnectFuture, Connector, MemoryListener, MemoryNetwork, MemoryStream, TcpConnector,
};
