//! The handle of a connection.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::{BrokerVersions, Request};

use crate::{Address, ConnectionConfig, Connector, Error};

/// A connection to one broker. Cloning it gives another handle to the same one.
#[derive(Clone, Debug)]
pub struct Connection {
    address: Address,
}

/// An answer that has not been decoded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RawResponse {
    /// The version that it was asked in, and stands in.
    pub version: i16,
    /// The body, after the response header.
    pub body: Bytes,
}

#[allow(clippy::todo, clippy::missing_panics_doc, unused_variables, clippy::unused_async)]
impl Connection {
    /// Connects to `address` and learns what the broker speaks.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    pub async fn open(connector: &dyn Connector, address: &Address, config: ConnectionConfig) -> Result<Self, Error> {
        todo!()
    }

    /// Where it leads to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What the broker speaks.
    pub fn versions(&self) -> &BrokerVersions {
        todo!()
    }

    /// Asks, and waits for the answer for `request_timeout`.
    pub async fn request<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        todo!()
    }

    /// Asks.
    pub fn send<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> impl Future<Output = Result<R::Response, Error>> + Send + 'static + use<R> {
        async { todo!() }
    }

    /// As [`send`](Self::send), without decoding the answer's body.
    pub fn send_raw<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> impl Future<Output = Result<RawResponse, Error>> + Send + 'static + use<R> {
        async { todo!() }
    }

    /// Sends a request that the broker does not answer (Produce with `acks=0`); resolves once it is written.
    pub fn send_unanswered<R: Request>(
        &self,
        request: &R,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static + use<R> {
        async { todo!() }
    }

    /// How many requests are queued or in flight.
    pub fn load(&self) -> usize {
        todo!()
    }

    /// Whether it has closed, or is about to: no request will be accepted any more.
    pub fn is_closed(&self) -> bool {
        todo!()
    }

    /// Waits until it has closed, and says why.
    pub async fn closed(&self) -> crate::CloseCause {
        todo!()
    }

    /// Closes it in an orderly way.
    pub async fn close(&self) {
        todo!()
    }

    /// Closes it at once.
    pub fn abort(&self) {
        todo!()
    }
}
