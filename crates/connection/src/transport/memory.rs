//! A network in memory, with links that fail when told to.
//!
//! Streams are pairs of pipes of bounded capacity. Everything about a link (does it refuse, is it a black hole, how
//! long do bytes take) is a setting of the address that is connected to, and applies to its open connections, too.
//! There is no randomness and no clock but tokio's, so a current-thread runtime with paused time replays exactly.
//!
//! What the faults look like from the client's side is what TCP shows: a cut link resets; a black hole is silent, takes
//! writes until its buffers are full, and goes on where it stopped once healed; the client of a half-open connection
//! never learns that its server has gone.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Sleep};

use super::{BoxedStream, ConnectFuture, Connector};
use crate::Address;

/// How many bytes a direction of a stream holds before writes wait.
const PIPE_BYTES: usize = 256 * 1024;

/// How many connections may wait to be accepted.
const BACKLOG: usize = 128;

/// A network in memory. Cloning it gives another handle to the same one.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    links: Mutex<BTreeMap<Address, Link>>,
    /// Told whenever a link changes, for those who wait to connect through a black hole.
    changed: Notify,
}

/// What is known of one address.
#[derive(Debug, Default)]
struct Link {
    listener: Option<mpsc::Sender<MemoryStream>>,
    refuses: bool,
    black_hole: bool,
    latency: Duration,
    wires: Vec<Weak<Wire>>,
}

impl MemoryNetwork {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens at `address`; an error if somebody does already. Dropping the listener stops it.
    pub fn listen(&self, address: Address) -> io::Result<MemoryListener> {
        let mut links = self.links();
        let link = links.entry(address.clone()).or_default();
        if link.listener.as_ref().is_some_and(|listener| !listener.is_closed()) {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{address} is listened at already")));
        }
        let (sender, incoming) = mpsc::channel(BACKLOG);
        link.listener = Some(sender);
        Ok(MemoryListener { address, incoming })
    }

    /// Connects to this network's listeners.
    pub fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(self.clone())
    }

    /// Whether new connections to `address` are refused; open ones are left alone.
    pub fn refuse(&self, address: &Address, refuses: bool) {
        self.change(address, |link| link.refuses = refuses);
    }

    /// Whether `address` is a black hole: bytes of open connections, and attempts to connect, wait until it is none.
    pub fn black_hole(&self, address: &Address, black_hole: bool) {
        self.change(address, |link| {
            link.black_hole = black_hole;
            link.each_wire(|wire| wire.change(|ends| ends.black_hole = black_hole));
        });
    }

    /// How long bytes to and from `address` take, from now on; a connection is made in twice that.
    pub fn set_latency(&self, address: &Address, latency: Duration) {
        self.change(address, |link| {
            link.latency = latency;
            link.each_wire(|wire| wire.change(|ends| ends.latency = latency));
        });
    }

    /// Resets the open connections to `address`, on both sides, now. What was on its way is lost.
    pub fn cut(&self, address: &Address) {
        self.change(address, |link| {
            link.each_wire(|wire| {
                wire.change(|ends| {
                    ends.client_fate = Fate::Reset;
                    ends.server_fate = Fate::Reset;
                });
            });
        });
    }

    /// Makes the open connections to `address` half-open: the server's side is reset, the client's hears nothing more
    /// and writes into the void.
    pub fn half_open(&self, address: &Address) {
        self.change(address, |link| {
            link.each_wire(|wire| {
                wire.change(|ends| {
                    ends.client_fate = Fate::Silent;
                    ends.server_fate = Fate::Reset;
                });
            });
        });
    }

    /// How many connections to `address` are open: both of whose ends still exist.
    pub fn open_connections(&self, address: &Address) -> usize {
        let links = self.links();
        let wires = links.get(address).map_or(&[][..], |link| &link.wires);
        wires.iter().filter_map(Weak::upgrade).filter(|wire| wire.is_open()).count()
    }

    async fn connect_to(&self, address: &Address) -> io::Result<BoxedStream> {
        let latency = self.links().get(address).map_or(Duration::ZERO, |link| link.latency);
        if !latency.is_zero() {
            tokio::time::sleep(latency.saturating_mul(2)).await;
        }
        loop {
            let changed = self.shared.changed.notified();
            if let Some(outcome) = self.try_connect(address) {
                return outcome.map(|stream| Box::new(stream) as BoxedStream);
            }
            changed.await;
        }
    }

    /// `None`: a black hole; ask again when the link has changed.
    fn try_connect(&self, address: &Address) -> Option<io::Result<MemoryStream>> {
        let refused = || Some(Err(io::ErrorKind::ConnectionRefused.into()));
        let mut links = self.links();
        let Some(link) = links.get_mut(address) else { return refused() };
        if link.black_hole {
            return None;
        }
        let Some(listener) = link.listener.as_ref().filter(|_| !link.refuses) else { return refused() };
        let wire = Arc::new(Wire::new(link.latency));
        let [client, server] = [Side::Client, Side::Server].map(|side| MemoryStream::new(Arc::clone(&wire), side));
        // A full backlog refuses, as a system does that is told to.
        if listener.try_send(server).is_err() {
            return refused();
        }
        link.wires.retain(|wire| wire.strong_count() > 0);
        link.wires.push(Arc::downgrade(&wire));
        Some(Ok(client))
    }

    fn change(&self, address: &Address, change: impl FnOnce(&mut Link)) {
        change(self.links().entry(address.clone()).or_default());
        self.shared.changed.notify_waiters();
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<Address, Link>> {
        self.shared.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connector for MemoryNetwork {
    fn connect<'a>(&'a self, address: &'a Address) -> ConnectFuture<'a> {
        Box::pin(self.connect_to(address))
    }
}

impl Link {
    fn each_wire(&self, change: impl Fn(&Wire)) {
        self.wires.iter().filter_map(Weak::upgrade).for_each(|wire| change(&wire));
    }
}

/// Takes connections at one address of a [`MemoryNetwork`]. Dropping it resets those that were not accepted.
#[derive(Debug)]
pub struct MemoryListener {
    address: Address,
    incoming: mpsc::Receiver<MemoryStream>,
}

impl MemoryListener {
    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost if the future is dropped.
    pub async fn accept(&mut self) -> io::Result<BoxedStream> {
        match self.incoming.recv().await {
            Some(stream) => Ok(Box::new(stream)),
            None => Err(io::Error::new(io::ErrorKind::NotConnected, "another listener has taken the address")),
        }
    }
}

/// One end of a connection in memory.
#[derive(Debug)]
pub struct MemoryStream {
    wire: Arc<Wire>,
    side: Side,
    /// Wakes the reader when the next bytes arrive, where the link has a latency.
    arrival: Option<Pin<Box<Sleep>>>,
}

impl MemoryStream {
    fn new(wire: Arc<Wire>, side: Side) -> Self {
        Self { wire, side, arrival: None }
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let arrives_at = {
                let mut ends = self.wire.lock();
                match ends.read(self.side, context.waker(), into) {
                    Poll::Ready(done) => return Poll::Ready(done),
                    Poll::Pending => ends.next_arrival(self.side),
                }
            };
            let Some(arrives_at) = arrives_at else { return Poll::Pending };
            let sleep = self.arrival.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(arrives_at)));
            if sleep.deadline() != arrives_at {
                sleep.as_mut().reset(arrives_at);
            }
            std::task::ready!(sleep.as_mut().poll(context));
        }
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.lock().write(self.side, context.waker(), &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.lock().write(self.side, context.waker(), slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let side = self.side;
        self.wire.change(|ends| ends.outgoing(side).finished = true);
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        let side = self.side;
        self.wire.change(|ends| {
            ends.outgoing(side).finished = true;
            ends.incoming(side).reader_gone = true;
        });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// A connection: two pipes and what befell the link.
#[derive(Debug)]
struct Wire {
    ends: Mutex<Ends>,
}

#[derive(Debug)]
struct Ends {
    to_server: Pipe,
    to_client: Pipe,
    black_hole: bool,
    latency: Duration,
    client_fate: Fate,
    server_fate: Fate,
}

/// What an end of a connection sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Connected,
    Reset,
    Silent,
}

#[derive(Debug, Default)]
struct Pipe {
    /// Bytes on their way, each with the time of its arrival.
    chunks: VecDeque<(Instant, Bytes)>,
    length: usize,
    finished: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Wire {
    fn new(latency: Duration) -> Self {
        let (to_server, to_client) = (Pipe::default(), Pipe::default());
        let (client_fate, server_fate) = (Fate::Connected, Fate::Connected);
        let ends = Ends { to_server, to_client, black_hole: false, latency, client_fate, server_fate };
        Self { ends: Mutex::new(ends) }
    }

    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what befell the link and wakes whoever waits on it, to look again.
    fn change(&self, change: impl FnOnce(&mut Ends)) {
        let mut ends = self.lock();
        change(&mut ends);
        let wakers = ends.take_wakers();
        drop(ends);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn is_open(&self) -> bool {
        let ends = self.lock();
        let fates = [ends.client_fate, ends.server_fate];
        fates == [Fate::Connected; 2] && !ends.to_server.reader_gone && !ends.to_client.reader_gone
    }
}

impl Ends {
    fn incoming(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Client => &mut self.to_client,
            Side::Server => &mut self.to_server,
        }
    }

    fn outgoing(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Client => &mut self.to_server,
            Side::Server => &mut self.to_client,
        }
    }

    fn fate(&self, side: Side) -> Fate {
        match side {
            Side::Client => self.client_fate,
            Side::Server => self.server_fate,
        }
    }

    fn take_wakers(&mut self) -> [Option<Waker>; 4] {
        let Self { to_server, to_client, .. } = self;
        [to_server.reader.take(), to_server.writer.take(), to_client.reader.take(), to_client.writer.take()]
    }

    fn read(&mut self, side: Side, waker: &Waker, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.fate(side) == Fate::Reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let silent = self.black_hole || self.fate(side) == Fate::Silent;
        let pipe = self.incoming(side);
        let before = into.remaining();
        if !silent {
            pipe.take_arrived(into);
        }
        if into.remaining() < before || before == 0 || (!silent && pipe.finished && pipe.chunks.is_empty()) {
            return Poll::Ready(Ok(()));
        }
        pipe.reader = Some(waker.clone());
        Poll::Pending
    }

    /// When the next bytes arrive that `side` waits for.
    fn next_arrival(&mut self, side: Side) -> Option<Instant> {
        if self.black_hole || self.fate(side) != Fate::Connected {
            return None;
        }
        self.incoming(side).chunks.front().map(|(arrives_at, _)| *arrives_at)
    }

    fn write(&mut self, side: Side, waker: &Waker, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let (fate, latency) = (self.fate(side), self.latency);
        let pipe = self.outgoing(side);
        match fate {
            Fate::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Fate::Silent => return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum())),
            Fate::Connected if pipe.reader_gone || pipe.finished => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            Fate::Connected => {}
        }
        let room = PIPE_BYTES.saturating_sub(pipe.length);
        if room == 0 {
            pipe.writer = Some(waker.clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(pipe.put(room, Instant::now() + latency, slices)))
    }
}

impl Pipe {
    /// Takes in as much of `slices` as there is `room` for.
    fn put(&mut self, room: usize, arrives_at: Instant, slices: &[io::IoSlice<'_>]) -> usize {
        let mut written = 0;
        for slice in slices {
            let fits = slice.len().min(room - written);
            if fits > 0 {
                self.chunks.push_back((arrives_at, Bytes::copy_from_slice(&slice[..fits])));
                written += fits;
            }
        }
        self.length += written;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        written
    }

    /// Gives out what has arrived.
    fn take_arrived(&mut self, into: &mut ReadBuf<'_>) {
        let now = Instant::now();
        while let Some((arrives_at, chunk)) = self.chunks.front_mut() {
            if *arrives_at > now || into.remaining() == 0 {
                break;
            }
            let fits = chunk.len().min(into.remaining());
            into.put_slice(&chunk[..fits]);
            chunk.advance(fits);
            self.length -= fits;
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
        if let Some(writer) = self.writer.take_if(|_| self.length < PIPE_BYTES) {
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests;
