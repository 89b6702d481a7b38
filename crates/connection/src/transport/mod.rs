//! What carries the bytes: a [`Connector`] opens [`ByteStream`]s. TCP, and a network in memory for tests.
//!
//! TLS will be a connector over another connector; nothing above knows which one it is.

mod memory;
mod tcp;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::Address;

pub use memory::{MemoryListener, MemoryNetwork, MemoryStream};
pub use tcp::TcpConnector;

/// Bytes in both directions, in order, without loss.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Any byte stream.
pub type BoxedStream = Box<dyn ByteStream>;

/// What [`Connector::connect`] returns.
pub type ConnectFuture<'a> = Pin<Box<dyn Future<Output = io::Result<BoxedStream>> + Send + 'a>>;

/// Opens byte streams to addresses. One is shared by all connections of a client.
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Connects. A name that stands for several addresses is the connector's to resolve and to try in turn.
    fn connect<'a>(&'a self, address: &'a Address) -> ConnectFuture<'a>;
}
