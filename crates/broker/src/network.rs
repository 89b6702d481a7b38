//! Where nodes listen: TCP on loopback, or a network in memory.
//!
//! A TCP port stays with its node while the node is stopped: a socket that is bound and does not listen keeps it, so
//! that connecting is refused and nobody else can take it in the meantime.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ottla_connection::{Address, BoxedStream, Connector, MemoryListener, MemoryNetwork, TcpConnector};
use ottla_wire::NodeId;
use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The port of every node of a network in memory, where each has a host of its own.
const MEMORY_PORT: u16 = 9092;

/// How clients reach the nodes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Transport {
    /// TCP, on 127.0.0.1 only.
    Tcp {
        /// The first node's port; the others have those that follow. 0: any that are free.
        port: u16,
    },
    /// A network in memory, on which the nodes are `broker-0:9092`, `broker-1:9092` and so on. Its own faults (cut,
    /// black-hole, latency) come on top of the cluster's.
    Memory(MemoryNetwork),
}

impl Transport {
    /// What opens connections to the nodes.
    pub(crate) fn connector(&self) -> Arc<dyn Connector> {
        match self {
            Self::Tcp { .. } => Arc::new(TcpConnector::default()),
            Self::Memory(network) => network.connector(),
        }
    }

    /// A place for a node, reserved, and not yet listened at.
    pub(crate) fn endpoint(&self, node: NodeId) -> Result<Endpoint, (Address, io::Error)> {
        match self {
            Self::Tcp { port } => {
                let port =
                    if *port == 0 { Some(0) } else { port.checked_add(u16::try_from(node.0).unwrap_or(u16::MAX)) };
                let wanted = Address::new("127.0.0.1", port.unwrap_or(u16::MAX));
                let failed = |source| (wanted.clone(), source);
                let none_left = || io::Error::new(io::ErrorKind::AddrNotAvailable, "the nodes need ports above 65535");
                let port = port.ok_or_else(|| failed(none_left()))?;
                let reserved = reserve(port).map_err(failed)?;
                let port = reserved.local_addr().map_err(failed)?.port();
                Ok(Endpoint::Tcp { port, reserved: Some(reserved) })
            }
            Self::Memory(network) => {
                let address = Address::new(format!("broker-{node}"), MEMORY_PORT);
                Ok(Endpoint::Memory { network: network.clone(), address })
            }
        }
    }
}

/// A node's place on its network.
#[derive(Debug)]
pub(crate) enum Endpoint {
    Tcp { port: u16, reserved: Option<TcpSocket> },
    Memory { network: MemoryNetwork, address: Address },
}

impl Endpoint {
    /// Where clients find the node.
    pub(crate) fn address(&self) -> Address {
        match self {
            Self::Tcp { port, .. } => Address::new("127.0.0.1", *port),
            Self::Memory { address, .. } => address.clone(),
        }
    }

    /// Starts to listen.
    pub(crate) fn listen(&mut self) -> io::Result<Listener> {
        match self {
            Self::Tcp { port, reserved } => {
                let socket = match reserved.take() {
                    Some(socket) => socket,
                    None => reserve(*port)?,
                };
                share_with_the_past(&socket, true)?;
                Ok(Listener::Tcp(socket.listen(BACKLOG)?))
            }
            Self::Memory { network, address } => Ok(Listener::Memory(network.listen(address.clone())?)),
        }
    }

    /// Keeps the place, now that nobody listens there any more.
    pub(crate) fn keep(&mut self) {
        if let Self::Tcp { port, reserved } = self {
            // Where that fails, the place is not kept, and `listen` tries again.
            *reserved = reserve(*port).ok();
        }
    }
}

/// Where connections come in.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Memory(MemoryListener),
}

impl Listener {
    /// The next connection. Cancel safe.
    pub(crate) async fn accept(&mut self) -> io::Result<BoxedStream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Memory(listener) => listener.accept().await,
        }
    }
}

/// Takes a port, and keeps others from taking it, too.
fn reserve(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    share_with_the_past(&socket, true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    share_with_the_past(&socket, false)?;
    Ok(socket)
}

/// Whether the port may be one that connections of an earlier listener still hold (in TIME_WAIT). While that is allowed,
/// sockets that allow it, too, can take a port that is not listened at; so it is allowed only where it is needed. On
/// Windows it needs no permission, and giving it would mean something else.
#[cfg_attr(not(unix), allow(unused_variables, clippy::unnecessary_wraps, reason = "nothing is to be done there"))]
fn share_with_the_past(socket: &TcpSocket, share: bool) -> io::Result<()> {
    #[cfg(unix)]
    socket.set_reuseaddr(share)?;
    Ok(())
}
