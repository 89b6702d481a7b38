//! The task that owns a connection's socket.
//!
//! It takes requests from the handles, writes and reads as far as the socket goes, and gives each request its answer.
//! Whatever ends it ends it in one place: the cause is published, then everything in flight fails with it. A caller
//! that goes away takes nothing along: what is half written is finished here, and its answer is read and dropped.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::{ApiKey, Frame};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use crate::clock::now;
use crate::in_flight::{Answer, InFlight, LONGEST_TIMEOUT, Overdue};
use crate::incoming::{Arrival, Incoming};
use crate::outgoing::Outgoing;
use crate::{Address, BoxedStream, CloseCause, watch};

/// What a handle sends to the driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Ask.
    Request(PendingRequest),
    /// Close once everything submitted before is answered.
    Close,
    /// Close now.
    Abort,
}

/// A request from its submission to its answer.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    pub(crate) api: ApiKey,
    pub(crate) correlation_id: i32,
    pub(crate) is_answered: bool,
    /// Finds in the answer how long it asks for quiet.
    pub(crate) throttle_time: ThrottleTime,
    pub(crate) timeout: Duration,
    pub(crate) deadline: Instant,
    pub(crate) frame: Frame,
    pub(crate) reply: oneshot::Sender<Result<Bytes, Failure>>,
    pub(crate) load: LoadGuard,
}

/// [`ottla_wire::throttle_time`] of the request's response, and the version that it comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThrottleTime {
    pub(crate) find: fn(&Bytes, i16) -> Duration,
    pub(crate) version: i16,
}

/// Why a request has no answer.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    TimedOut { written: bool },
    Closed { written: bool, cause: CloseCause },
}

/// Counts a request for as long as it is queued or in flight.
#[derive(Debug)]
pub(crate) struct LoadGuard(Arc<AtomicUsize>);

impl LoadGuard {
    pub(crate) fn new(load: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The socket with what is on its way in and out.
#[derive(Debug)]
pub(crate) struct Io {
    stream: StreamField,
    incoming: Incoming,
    outgoing: Outgoing,
    write_failed: Option<CloseCause>,
}

/// What the socket has to tell.
#[derive(Debug)]
pub(crate) enum IoEvent {
    /// That many more frames are written.
    Written(usize),
    Arrived(Arrival),
    Failed(CloseCause),
}

impl Io {
    pub(crate) fn new(stream: BoxedStream, incoming: Incoming) -> Self {
        Self { stream: StreamField(stream), incoming, outgoing: Outgoing::default(), write_failed: None }
    }

    pub(crate) fn push(&mut self, frame: Frame) {
        self.outgoing.push(frame);
    }

    /// Writes and reads as far as the socket goes, up to the next thing worth telling.
    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<IoEvent> {
        if self.write_failed.is_none() {
            match self.outgoing.poll_written(&mut self.stream.0, context) {
                Poll::Ready(Ok(frames)) => return Poll::Ready(IoEvent::Written(frames)),
                Poll::Ready(Err(error)) => self.write_failed = Some(CloseCause::Transport(Arc::new(error))),
                Poll::Pending => {}
            }
        }
        match (self.incoming.poll_arrival(&mut self.stream.0, context), &self.write_failed) {
            (Poll::Ready(Ok(arrival)), _) => Poll::Ready(IoEvent::Arrived(arrival)),
            // A broker that closed may have answered before: only what it has already sent is worth reading.
            (_, Some(cause)) => Poll::Ready(IoEvent::Failed(cause.clone())),
            (Poll::Ready(Err(cause)), None) => Poll::Ready(IoEvent::Failed(cause)),
            (Poll::Pending, None) => Poll::Pending,
        }
    }
}

/// The state of one connection's task.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) address: Address,
    pub(crate) io: Io,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) closed: watch::Sender<Option<CloseCause>>,
    pub(crate) close_timeout: Duration,
    in_flight: InFlight<PendingRequest>,
    timer: Pin<Box<Sleep>>,
    /// Set once no more requests are taken: until when those that are in flight may finish.
    close_by: Option<Instant>,
    handles_gone: bool,
}

impl Driver {
    pub(crate) fn new(
        address: Address,
        io: Io,
        commands: mpsc::UnboundedReceiver<Command>,
        closed: watch::Sender<Option<CloseCause>>,
        config: &crate::ConnectionConfig,
    ) -> Self {
        let in_flight = InFlight::new(now(), config.max_in_flight_requests, config.connections_max_idle);
        let timer = Box::pin(tokio::time::sleep_until(in_flight.next_deadline().into()));
        let close_timeout = config.request_timeout.min(LONGEST_TIMEOUT);
        Self { address, io, commands, closed, close_timeout, in_flight, timer, close_by: None, handles_gone: false }
    }

    /// The broker has asked for nothing to be sent for so long, which has been bounded.
    pub(crate) fn mute(&mut self, throttle_time: Duration) {
        if !throttle_time.is_zero() {
            tracing::debug!(address = %self.address, ?throttle_time, "the broker throttles");
            self.in_flight.mute(now(), throttle_time);
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) {
        let cause = self.serve().await;
        tracing::debug!(address = %self.address, cause = &cause as &dyn std::error::Error, "connection closed");
        // Published first: whoever learns that a request failed finds the connection closed.
        self.closed.send_replace(Some(cause.clone()));
        for (request, written) in self.in_flight.drain() {
            fail(request, Failure::Closed { written, cause: cause.clone() });
        }
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Request(request) = command {
                fail(request, Failure::Closed { written: false, cause: cause.clone() });
            }
        }
    }

    async fn serve(&mut self) -> CloseCause {
        loop {
            while let Some(request) = self.in_flight.next_to_write(now(), |request| request.reply.is_closed()) {
                self.io.push(std::mem::take(&mut request.frame));
            }
            if self.close_by.is_some() && self.in_flight.is_empty() {
                return self.shut_down().await;
            }
            self.arm_timer();
            let Self { io, commands, timer, handles_gone, .. } = self;
            // The socket first: what it delivers is bounded by what was asked, so it cannot hold up the commands.
            let ended = tokio::select! {
                biased;
                event = poll_fn(|context| io.poll_event(context)) => self.handle_io(event),
                command = commands.recv(), if !*handles_gone => self.handle_command(command),
                () = timer.as_mut() => self.handle_timeout(),
            };
            if let Err(cause) = ended {
                return cause;
            }
        }
    }

    fn handle_command(&mut self, command: Option<Command>) -> Result<(), CloseCause> {
        match command {
            Some(Command::Request(request)) if self.close_by.is_some() => {
                fail(request, Failure::Closed { written: false, cause: CloseCause::Closed });
                Ok(())
            }
            Some(Command::Request(request)) => {
                let PendingRequest { correlation_id, is_answered, deadline, .. } = request;
                self.in_flight.submit(correlation_id, is_answered, deadline, request);
                Ok(())
            }
            Some(Command::Abort) => Err(CloseCause::Aborted),
            Some(Command::Close) | None => {
                self.handles_gone = command.is_none();
                self.close_by.get_or_insert(now() + self.close_timeout);
                Ok(())
            }
        }
    }

    fn handle_io(&mut self, event: IoEvent) -> Result<(), CloseCause> {
        match event {
            IoEvent::Written(frames) => {
                for _ in 0..frames {
                    if let Some(unanswered) = self.in_flight.handle_written(now()) {
                        let _: Result<_, _> = unanswered.reply.send(Ok(Bytes::new()));
                    }
                }
                Ok(())
            }
            IoEvent::Arrived(Arrival::Frame(frame)) => self.handle_frame(frame),
            IoEvent::Arrived(Arrival::MemoryWanted) => {
                self.in_flight.hold(now());
                Ok(())
            }
            IoEvent::Arrived(Arrival::MemoryGranted) => {
                self.in_flight.release(now());
                Ok(())
            }
            IoEvent::Failed(cause) => Err(cause),
        }
    }

    fn handle_frame(&mut self, frame: Bytes) -> Result<(), CloseCause> {
        let correlation_id = ottla_wire::Reader::new(frame.clone()).i32().map_err(CloseCause::MalformedHeader)?;
        match self.in_flight.handle_response(now(), correlation_id) {
            Ok(Answer::To(PendingRequest { reply, load, throttle_time, .. })) => {
                drop(load);
                let throttle_time = (throttle_time.find)(&frame, throttle_time.version);
                self.mute(throttle_time);
                // Nobody may be waiting any more: then the answer is dropped.
                let _: Result<_, _> = reply.send(Ok(frame));
                Ok(())
            }
            Ok(Answer::Unexpected) => {
                tracing::debug!(address = %self.address, correlation_id, "answer to a request that expected none");
                Ok(())
            }
            Err(mismatch) => {
                let (expected, received) = (mismatch.expected, mismatch.received);
                Err(CloseCause::CorrelationMismatch { expected, received })
            }
        }
    }

    fn handle_timeout(&mut self) -> Result<(), CloseCause> {
        let now = now();
        while let Some(overdue) = self.in_flight.next_overdue(now) {
            match overdue {
                Overdue::Waiting(request) => fail(request, Failure::TimedOut { written: false }),
                Overdue::Sent(request, written) => {
                    let cause = CloseCause::Overdue { api: request.api, timeout: request.timeout };
                    fail(request, Failure::TimedOut { written });
                    return Err(cause);
                }
                Overdue::Idle => return Err(CloseCause::Idle),
            }
        }
        match self.close_by {
            Some(close_by) if close_by <= now => Err(CloseCause::Closed),
            _ => Ok(()),
        }
    }

    /// The timer is only ever set back where something is due earlier: a wake-up too many is cheaper than setting it
    /// forward with every answer.
    fn arm_timer(&mut self) {
        let next = self.in_flight.next_deadline();
        let next = self.close_by.map_or(next, |close_by| close_by.min(next)).into();
        if self.timer.is_elapsed() || next < self.timer.deadline() {
            self.timer.as_mut().reset(next);
        }
    }

    /// Says goodbye, for as long as that may take.
    async fn shut_down(&mut self) -> CloseCause {
        let close_by = self.close_by.unwrap_or_else(now);
        let _: Result<_, _> = tokio::time::timeout_at(close_by.into(), self.io.stream.0.shutdown()).await;
        CloseCause::Closed
    }
}

fn fail(request: PendingRequest, failure: Failure) {
    let PendingRequest { reply, load, .. } = request;
    drop(load);
    let _: Result<_, _> = reply.send(Err(failure));
}

/// A stream that can stand in a structure with `Debug`.
struct StreamField(BoxedStream);

impl std::fmt::Debug for StreamField {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("stream")
    }
}

#[cfg(test)]
mod tests;
