//! TCP.
//!
//! A name may stand for several addresses (KIP-302, `client.dns.lookup=use_all_dns_ips`): each is tried in turn, with a
//! timeout of its own, in the order in which the resolver gave them, and the error tells what each of them said.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::{BoxedStream, ConnectFuture, Connector};
use crate::Address;

/// Connects over TCP.
#[derive(Clone, Debug)]
#[must_use]
pub struct TcpConnector {
    connect_timeout: Duration,
    keep_alive: Option<Duration>,
}

impl TcpConnector {
    /// With a connect timeout of 10 s an address and keep-alive probes after 60 s of silence.
    pub fn new() -> Self {
        Self { connect_timeout: Duration::from_secs(10), keep_alive: Some(Duration::from_mins(1)) }
    }

    /// How long each address may take to connect. Kafka's `socket.connection.setup.timeout.ms`; 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// After how much silence the system begins to probe whether the peer is still there; `None`: never. 60 s by
    /// default, because load balancers drop what is silent for some four minutes without telling.
    pub fn keep_alive(mut self, after: Option<Duration>) -> Self {
        self.keep_alive = after;
        self
    }

    async fn connect_any(&self, address: &Address) -> io::Result<BoxedStream> {
        let mut failures = Vec::new();
        for socket_address in tokio::net::lookup_host((address.host(), address.port())).await? {
            match self.connect_one(socket_address).await {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => {
                    tracing::debug!(%address, %socket_address, %error, "address did not connect");
                    failures.push((socket_address, error));
                }
            }
        }
        // Where the address was no name, whoever tells of the error names it already.
        if let [(only, _)] = failures.as_slice()
            && only.ip().to_string() == address.host()
            && let Some((_, error)) = failures.pop()
        {
            return Err(error);
        }
        Err(AddressesFailed::into_error(failures))
    }

    async fn connect_one(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream =
            tokio::time::timeout(self.connect_timeout, TcpStream::connect(address)).await.map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {:?}", self.connect_timeout))
            })??;
        stream.set_nodelay(true)?;
        if let Some(after) = self.keep_alive {
            // Three probes, ten seconds apart, then the system gives up; half a minute more than the silence itself.
            let keep_alive =
                TcpKeepalive::new().with_time(after).with_interval(Duration::from_secs(10)).with_retries(3);
            SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
        }
        Ok(stream)
    }
}

impl Default for TcpConnector {
    fn default() -> Self {
        Self::new()
    }
}

impl Connector for TcpConnector {
    fn connect<'a>(&'a self, address: &'a Address) -> ConnectFuture<'a> {
        Box::pin(self.connect_any(address))
    }
}

/// What each address of a name said, in one error whose kind is that of the first.
#[derive(Debug)]
struct AddressesFailed {
    failures: Vec<(SocketAddr, io::Error)>,
}

impl AddressesFailed {
    fn into_error(failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
        match failures.first() {
            Some((_, first)) => io::Error::new(first.kind(), Self { failures }),
            None => io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        }
    }
}

impl fmt::Display for AddressesFailed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, error)) in self.failures.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for AddressesFailed {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn every_address_of_a_name_is_tried_in_turn() {
        // A listener on IPv4 only: where the name also stands for ::1, that address fails first.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::new("localhost", listener.local_addr().unwrap().port());
        let mut stream = TcpConnector::new().connect(&address).await.unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        accepted.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
    }

    #[tokio::test]
    async fn a_refusal_names_the_address_that_refused_where_the_caller_gave_a_name() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        for (host, named) in [("localhost", true), ("127.0.0.1", false)] {
            let Err(error) = TcpConnector::new().connect(&Address::new(host, port)).await else {
                panic!("nobody listens there");
            };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(error.to_string().contains(&format!("127.0.0.1:{port}: ")), named, "{error}");
        }
    }

    #[tokio::test]
    async fn sockets_have_no_delay_and_keep_alive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpConnector::new().connect_one(listener.local_addr().unwrap()).await.unwrap();
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        // Who is gone is known well before anybody drops what is idle.
        #[cfg(target_os = "linux")]
        {
            let probes = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
            assert_eq!(socket.tcp_keepalive_time().unwrap() + probes, Duration::from_secs(90));
        }
    }

    #[test]
    fn all_causes_are_told_and_the_first_gives_the_kind() {
        let failures = vec![
            ("[::1]:9092".parse().unwrap(), io::ErrorKind::NetworkUnreachable.into()),
            ("127.0.0.1:9092".parse().unwrap(), io::ErrorKind::ConnectionRefused.into()),
        ];
        let error = AddressesFailed::into_error(failures);
        assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable);
        assert_eq!(error.to_string(), "[::1]:9092: network unreachable; 127.0.0.1:9092: connection refused");
    }
}
