//! A node's connections: requests are read, passed to the cluster, and answered in order.
//!
//! As a Kafka broker, a node handles one request of a connection at a time: the next is read when the last one's answer
//! has been written, so a parked Fetch delays all that is behind it.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ottla_connection::{BoxedStream, watch};
use ottla_wire::{Frame, NodeId, frame_length};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::api::{AnyRequest, Context, read_request};
use crate::fault::{Effect, Faults, Hit, Hits};
use crate::machine::Answer;
use crate::network::Listener;
use crate::settings::Settings;

/// A request on its way to the machine, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) context: Context,
    pub(crate) request: AnyRequest,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What all connections of a node share.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) node: NodeId,
    /// Bounded: a full queue makes connections wait, and TCP makes their clients wait.
    pub(crate) calls: mpsc::Sender<Call>,
    pub(crate) faults: Faults,
    pub(crate) settings: Arc<Settings>,
    /// Becomes true when the node is to finish what it is at and go.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Service {
    /// Serves until told to stop, and ends when the last connection has ended. Dropping the future closes them all.
    pub(crate) async fn run(mut self, mut listener: Listener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased; // stopping first: a stopped node accepts nothing more
                () = stopped(&mut self.stopping) => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok(stream) => drop(connections.spawn(self.clone().serve(stream))),
                    // The client has gone before it was accepted, or file descriptors are short: both pass.
                    Err(error) => {
                        tracing::debug!(node = %self.node, ?error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                },
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn serve(mut self, mut stream: BoxedStream) {
        let node = self.node;
        match self.answer_requests(&mut stream).await {
            Ok(()) => {}
            Err(error) => tracing::debug!(%node, ?error, "a connection has ended"),
        }
    }

    async fn answer_requests(&mut self, stream: &mut BoxedStream) -> io::Result<()> {
        loop {
            let frame = tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => return Ok(()),
                frame = read_frame(stream, self.settings.max_frame_bytes) => frame?,
            };
            let Some(frame) = frame else { return Ok(()) };
            let incoming = read_request(frame, self.node, &self.settings).map_err(io::Error::other)?;
            let Hits { fault, alterations } = self.faults.next(self.node, incoming.api, incoming.version);
            let before = fault.as_ref().filter(|hit| !hit.after_handling);
            if !let_pass(stream, before).await? {
                return Ok(());
            }
            let refusal = fault.as_ref().and_then(Hit::refusal);
            let context =
                Context { node: self.node, version: incoming.version, client_id: incoming.client_id, refusal };
            let Some(mut answer) = self.ask(context, incoming.request).await else { return Ok(()) };
            for altered in &alterations {
                altered.apply(&mut answer);
            }
            let after = fault.as_ref().filter(|hit| hit.after_handling);
            if !let_pass(stream, after).await? {
                return Ok(());
            }
            match answer {
                Answer::Response(response) => {
                    let frame = response.encode(incoming.version, incoming.correlation_id).map_err(io::Error::other)?;
                    write_frame(stream, frame).await?;
                }
                Answer::Nothing => {}
                Answer::Close => return Ok(()),
            }
        }
    }

    /// What the cluster answers; `None` when it is gone.
    async fn ask(&self, context: Context, request: AnyRequest) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(Call { context, request, answer }).await.ok()?;
        answered.await.ok()
    }
}

/// Applies what a fault does to a connection. False: the connection ends here.
async fn let_pass(stream: &mut BoxedStream, hit: Option<&Hit>) -> io::Result<bool> {
    match hit.map(|hit| &hit.effect) {
        None | Some(Effect::Error(_) | Effect::Alter(_)) => Ok(true),
        Some(Effect::Delay(delay)) => {
            tokio::time::sleep(*delay).await;
            Ok(true)
        }
        Some(Effect::CloseConnection) => Ok(false),
        Some(Effect::BlackHole) => {
            // Takes in whatever comes, until the client gives up.
            let mut swallowed = [0; 4096];
            while stream.read(&mut swallowed).await? > 0 {}
            Ok(false)
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that whoever would tell is gone: that is the end, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// The next frame without its length, `None` where the client has closed the connection between two.
async fn read_frame(stream: &mut BoxedStream, max_bytes: usize) -> io::Result<Option<Bytes>> {
    let mut prefix = [0; 4];
    if stream.read(&mut prefix[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut prefix[1..]).await?;
    let length = frame_length(prefix, max_bytes).map_err(io::Error::other)?;
    // What is announced is believed as it arrives: nobody gets 100 MiB for four bytes.
    let mut frame = BytesMut::with_capacity(length.min(BELIEVED_BYTES));
    while frame.len() < length {
        if frame.len() == frame.capacity() {
            frame.reserve((length - frame.len()).min(frame.len()));
        }
        let mut rest = (&mut *stream).take((length - frame.len()) as u64);
        if rest.read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(frame.freeze()))
}

/// Writes a frame, its segments in one go where the transport can do that.
async fn write_frame(stream: &mut BoxedStream, frame: Frame) -> io::Result<()> {
    let mut segments: std::collections::VecDeque<Bytes> = frame.segments.into();
    while !segments.is_empty() {
        let slices: Vec<IoSlice<'_>> = segments.iter().take(MAX_SLICES).map(|bytes| IoSlice::new(bytes)).collect();
        let mut written = stream.write_vectored(&slices).await?;
        if written == 0 && segments.iter().any(|segment| !segment.is_empty()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = segments.front_mut() {
            if first.len() > written {
                first.advance(written);
                break;
            }
            written -= first.len();
            segments.pop_front();
        }
    }
    stream.flush().await
}

/// How long a node that cannot accept a connection waits before it tries again.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(20);

/// Room for so much of a frame is made before any of it has arrived; then as much again as has.
const BELIEVED_BYTES: usize = 1024 * 1024;

/// How many segments are handed to the system at once.
const MAX_SLICES: usize = 64;
