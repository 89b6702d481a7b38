//! What a connection is told when it is opened.

use std::sync::Arc;
use std::time::Duration;

use ottla_wire::DEFAULT_MAX_FRAME_BYTES;

use crate::ResponseBuffers;

/// The settings of one connection. Fill in with [`Default`] and the setters.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionConfig {
    /// Who is asking, sent with each request and shown in the broker's logs and quotas. Kafka's `client.id`; `None` by
    /// default.
    pub client_id: Option<Arc<str>>,
    /// The client library's name, told to the broker in ApiVersions (KIP-511). `ottla` by default.
    pub client_software_name: Arc<str>,
    /// The client library's version (KIP-511). This crate's by default.
    pub client_software_version: Arc<str>,
    /// How long [`Connection::request`](crate::Connection::request) waits for an answer, and how long the handshake and
    /// an orderly close may take. Kafka's `request.timeout.ms`; 30 s by default.
    pub request_timeout: Duration,
    /// How long connecting may take, over all the addresses of a name. Kafka's
    /// `socket.connection.setup.timeout.max.ms`; 30 s by default.
    pub connection_setup_timeout: Duration,
    /// The longest frame that is accepted from the broker, in bytes. 100 MiB by default.
    pub max_frame_bytes: usize,
    /// How many requests may be written and not yet answered; further ones wait in the order of the calls. Kafka's
    /// `max.in.flight.requests.per.connection`; 5 by default.
    pub max_in_flight_requests: usize,
    /// A connection without requests for this long closes. Kafka's `connections.max.idle.ms`; 9 minutes by default.
    pub connections_max_idle: Duration,
    /// Where the bodies of large responses go. `None` by default: into memory of the connection's own.
    pub response_buffers: Option<Arc<dyn ResponseBuffers>>,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            client_id: None,
            client_software_name: "ottla".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
            request_timeout: Duration::from_secs(30),
            connection_setup_timeout: Duration::from_secs(30),
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            max_in_flight_requests: 5,
            connections_max_idle: Duration::from_mins(9),
            response_buffers: None,
        }
    }
}

impl ConnectionConfig {
    /// Sets [`client_id`](Self::client_id).
    pub fn client_id(mut self, client_id: impl Into<Arc<str>>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Sets [`client_software_name`](Self::client_software_name) and
    /// [`client_software_version`](Self::client_software_version).
    pub fn client_software(mut self, name: impl Into<Arc<str>>, version: impl Into<Arc<str>>) -> Self {
        self.client_software_name = name.into();
        self.client_software_version = version.into();
        self
    }

    /// Sets [`request_timeout`](Self::request_timeout).
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets [`connection_setup_timeout`](Self::connection_setup_timeout).
    pub fn connection_setup_timeout(mut self, timeout: Duration) -> Self {
        self.connection_setup_timeout = timeout;
        self
    }

    /// Sets [`max_frame_bytes`](Self::max_frame_bytes).
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// Sets [`max_in_flight_requests`](Self::max_in_flight_requests); at least one.
    pub fn max_in_flight_requests(mut self, requests: usize) -> Self {
        self.max_in_flight_requests = requests.max(1);
        self
    }

    /// Sets [`connections_max_idle`](Self::connections_max_idle).
    pub fn connections_max_idle(mut self, idle: Duration) -> Self {
        self.connections_max_idle = idle;
        self
    }

    /// Sets [`response_buffers`](Self::response_buffers).
    pub fn response_buffers(mut self, buffers: Arc<dyn ResponseBuffers>) -> Self {
        self.response_buffers = Some(buffers);
        self
    }
}
