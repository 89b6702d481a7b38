//! The handle of a connection, and how it is opened.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::{BrokerVersions, Reader, Request, ResponseHeader, decode_response, encode_request, throttle_time};
use tokio::sync::{mpsc, oneshot};

use crate::clock::now;
use crate::driver::{Command, Driver, Failure, Io, IoEvent, LoadGuard, PendingRequest, ThrottleTime};
use crate::handshake::{Handshake, Step};
use crate::in_flight::LONGEST_TIMEOUT;
use crate::incoming::{Arrival, Incoming};
use crate::{Address, CloseCause, ConnectionConfig, Connector, Error, HandshakeError, watch};

/// A connection to one broker. Cloning it gives another handle to the same one.
///
/// One task owns the socket. Requests are queued in the order of the calls and answered in that order; up to
/// `max_in_flight_requests` are on their way at a time. The queue is as long as callers make it: each entry belongs to
/// a future that somebody holds, and is dropped with it unless it has begun to be written.
///
/// A broker that throttles (KIP-219) is not sent anything over it for as long as it asks, a minute at most. Of Produce, whose
/// answer says so at its end, that is left to whoever asks.
///
/// When the last handle is dropped, requests in flight finish (each has its deadline) and the connection closes.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: Address,
    round_trip: Duration,
    versions: BrokerVersions,
    client_id: Option<Arc<str>>,
    request_timeout: Duration,
    commands: mpsc::UnboundedSender<Command>,
    /// Taken while a request is numbered and queued, so that correlation ids ascend in the queue.
    next_correlation_id: Mutex<i32>,
    closed: watch::Receiver<Option<CloseCause>>,
    is_closing: AtomicBool,
    load: Arc<AtomicUsize>,
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

impl Connection {
    /// Connects to `address` and learns what the broker speaks, with ApiVersions (KIP-511) from version 3 down; a
    /// broker that closes the connection over that is connected to again, twice at most.
    ///
    /// The connection's task runs on the current runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`], [`Error::ConnectTimedOut`] or [`Error::Handshake`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    pub async fn open(connector: &dyn Connector, address: &Address, config: ConnectionConfig) -> Result<Self, Error> {
        let mut handshake = Handshake::new(&config);
        let (io, versions, asked_at) = loop {
            let mut io = connect(connector, address, &config).await?;
            let asked_at = now();
            let timeout = config.request_timeout.min(LONGEST_TIMEOUT);
            let outcome = tokio::time::timeout(timeout, shake_hands(&mut handshake, &mut io)).await;
            match outcome.unwrap_or(Err(HandshakeError::TimedOut { timeout })) {
                Ok(Some(versions)) => break (io, versions, asked_at),
                Ok(None) => tracing::debug!(%address, "closed during ApiVersions, connecting anew"),
                Err(source) => return Err(Error::Handshake { address: address.clone(), source }),
            }
        };
        let (commands, received) = mpsc::unbounded_channel();
        let (closing, closed) = watch::channel(None);
        let mut driver = Driver::new(address.clone(), io, received, closing, &config);
        driver.mute(handshake.throttle_time());
        tokio::spawn(driver.run());
        let shared = Shared {
            address: address.clone(),
            round_trip: now().saturating_duration_since(asked_at),
            versions,
            client_id: config.client_id,
            request_timeout: config.request_timeout,
            commands,
            next_correlation_id: Mutex::new(handshake.next_correlation_id()),
            closed,
            is_closing: AtomicBool::new(false),
            load: Arc::new(AtomicUsize::new(0)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Where it leads to.
    pub fn address(&self) -> &Address {
        &self.shared.address
    }

    /// What the broker speaks, as it said when this connection was opened.
    pub fn versions(&self) -> &BrokerVersions {
        &self.shared.versions
    }

    /// How long the broker took to answer when this connection was opened: the way there and back, and little else.
    pub fn round_trip(&self) -> Duration {
        self.shared.round_trip
    }

    /// Asks, in the highest version that both sides speak, and waits for the answer for `request_timeout`.
    ///
    /// # Errors
    ///
    /// Every [`Error`] but those of connecting. After [`Error::TimedOut`] of a request that was sent, the connection is
    /// closed: answers come in order, and none could be had any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future withdraws a request that has not begun to be written. Otherwise it takes its course, and the
    /// answer is dropped.
    pub async fn request<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        self.send(request, self.shared.request_timeout).await
    }

    /// Queues a request now; the future resolves to its answer, which may take until `timeout` from now.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    ///
    /// # Cancel safety
    ///
    /// As [`request`](Self::request).
    pub fn send<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> impl Future<Output = Result<R::Response, Error>> + Send + 'static + use<R> {
        let (version, answer) = self.submit(request, timeout, true);
        let address = self.shared.address.clone();
        async move {
            let frame = answer.await?;
            let decoded = decode_response::<R::Response>(frame, version);
            decoded.map(|(_, response)| response).map_err(|source| Error::Decode {
                api: R::API_KEY,
                version,
                address,
                source,
            })
        }
    }

    /// As [`send`](Self::send), with the answer's body left as it is: the fetch path parses it in place.
    ///
    /// # Cancel safety
    ///
    /// As [`request`](Self::request).
    pub fn send_raw<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> impl Future<Output = Result<RawResponse, Error>> + Send + 'static + use<R> {
        let (version, answer) = self.submit(request, timeout, true);
        let address = self.shared.address.clone();
        async move {
            let mut reader = Reader::new(answer.await?);
            match ResponseHeader::read(&mut reader, ResponseHeader::is_flexible::<R::Response>(version)) {
                Ok(_) => Ok(RawResponse { version, body: reader.into() }),
                Err(source) => Err(Error::Decode { api: R::API_KEY, version, address, source }),
            }
        }
    }

    /// Queues a request that the broker does not answer (Produce with `acks=0`); resolves once it is written, or fails
    /// after `request_timeout`. A broker that answers all the same does no harm.
    ///
    /// # Cancel safety
    ///
    /// As [`request`](Self::request).
    pub fn send_unanswered<R: Request>(
        &self,
        request: &R,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static + use<R> {
        let (_, written) = self.submit(request, self.shared.request_timeout, false);
        async move { written.await.map(drop) }
    }

    /// How many requests are queued or in flight.
    pub fn load(&self) -> usize {
        self.shared.load.load(Ordering::Relaxed)
    }

    /// Whether it has closed, or is about to: no request succeeds any more.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closing.load(Ordering::Relaxed) || self.shared.commands.is_closed() || self.cause().is_some()
    }

    /// Waits until it has closed, and says why.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub async fn closed(&self) -> CloseCause {
        let mut closed = self.shared.closed.clone();
        let cause = closed.wait_for(Option::is_some).await.ok().flatten();
        cause.unwrap_or(CloseCause::RuntimeEnded)
    }

    /// Closes it in an orderly way: takes no more requests, lets those in flight finish for at most `request_timeout`,
    /// and waits until it has closed.
    ///
    /// # Cancel safety
    ///
    /// It closes even if the future is dropped, once that has been polled.
    pub async fn close(&self) {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        // An error means that it has closed already.
        let _: Result<_, _> = self.shared.commands.send(Command::Close);
        self.closed().await;
    }

    /// Closes it at once; what is in flight fails.
    pub fn abort(&self) {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        // An error means that it has closed already.
        let _: Result<_, _> = self.shared.commands.send(Command::Abort);
    }

    fn cause(&self) -> Option<CloseCause> {
        self.shared.closed.borrow().clone()
    }

    /// Queues `request`. Gives the version chosen and what resolves to the answer's frame.
    fn submit<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
        is_answered: bool,
    ) -> (i16, impl Future<Output = Result<Bytes, Error>> + Send + 'static + use<R>) {
        let submitted = self.try_submit(request, timeout, is_answered);
        let version = submitted.as_ref().map_or(0, |(version, _)| *version);
        let address = self.shared.address.clone();
        let mut closed = self.shared.closed.clone();
        let answer = async move {
            let failure = match submitted?.1.await {
                Ok(Ok(frame)) => return Ok(frame),
                Ok(Err(failure)) => failure,
                // The driver fails every request that it knows. One that it does not know came after its end; or the
                // driver has been dropped with its runtime, and then nothing is known.
                Err(_) => match closed.borrow_and_update().clone() {
                    Some(cause) => Failure::Closed { written: false, cause },
                    None => Failure::Closed { written: true, cause: CloseCause::RuntimeEnded },
                },
            };
            Err(match failure {
                Failure::TimedOut { written } => Error::TimedOut { api: R::API_KEY, address, timeout, written },
                Failure::Closed { written, cause } => Error::Closed { api: R::API_KEY, address, written, cause },
            })
        };
        (version, answer)
    }

    fn try_submit<R: Request>(&self, request: &R, timeout: Duration, is_answered: bool) -> Result<Submitted, Error> {
        let Shared { address, versions, client_id, load, .. } = &*self.shared;
        let version = versions
            .choose(request)
            .map_err(|source| Error::UnsupportedVersion { address: address.clone(), source })?;
        let (reply, answer) = oneshot::channel();
        let deadline = now() + timeout.min(LONGEST_TIMEOUT);
        let mut next = self.shared.next_correlation_id.lock().unwrap_or_else(PoisonError::into_inner);
        let correlation_id = *next;
        let frame = encode_request(request, version, correlation_id, client_id.as_deref())
            .map_err(|source| Error::Encode { api: R::API_KEY, address: address.clone(), source })?;
        *next = correlation_id.wrapping_add(1);
        let (api, load) = (R::API_KEY, LoadGuard::new(load));
        let throttle_time = ThrottleTime { find: throttle_time::<R::Response>, version };
        let pending =
            PendingRequest { api, correlation_id, is_answered, throttle_time, timeout, deadline, frame, reply, load };
        // An error drops the reply's sender, which says the same.
        let _: Result<_, _> = self.shared.commands.send(Command::Request(pending));
        Ok((version, answer))
    }
}

/// The version chosen, and where the answer comes.
type Submitted = (i16, oneshot::Receiver<Result<Bytes, Failure>>);

async fn connect(connector: &dyn Connector, address: &Address, config: &ConnectionConfig) -> Result<Io, Error> {
    let timeout = config.connection_setup_timeout.min(LONGEST_TIMEOUT);
    let stream = tokio::time::timeout(timeout, connector.connect(address))
        .await
        .map_err(|_| Error::ConnectTimedOut { address: address.clone(), timeout })?
        .map_err(|source| Error::Connect { address: address.clone(), source: Arc::new(source) })?;
    Ok(Io::new(stream, Incoming::new(config.max_frame_bytes, config.response_buffers.clone())))
}

/// Runs the handshake over one connection; `None`: it closed, and another is to be made.
async fn shake_hands(handshake: &mut Handshake, io: &mut Io) -> Result<Option<BrokerVersions>, HandshakeError> {
    let mut step = handshake.start();
    loop {
        match step {
            Step::Send(frame) => io.push(frame),
            Step::Reconnect => return Ok(None),
            Step::Ready(versions) => return Ok(Some(versions)),
            Step::Failed(error) => return Err(error),
        }
        step = loop {
            match poll_fn(|context| io.poll_event(context)).await {
                IoEvent::Arrived(Arrival::Frame(frame)) => break handshake.handle_response(frame),
                IoEvent::Failed(cause) => break handshake.handle_closed(cause),
                IoEvent::Written(_) | IoEvent::Arrived(Arrival::MemoryWanted | Arrival::MemoryGranted) => {}
            }
        };
    }
}
