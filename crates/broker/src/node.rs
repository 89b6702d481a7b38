//! A node's connections: requests are read, passed to the cluster, and answered in order.
//!
//! As a Kafka broker, a node handles one request of a connection at a time: the next is read when the last one's answer
//! has been written, so a parked Fetch delays all that is behind it. What is parked is given up when its client goes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_connection::{BoxedStream, watch};
use ottla_wire::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::api::{AnyRequest, Context, read_request};
use crate::fault::{Effect, Faults, Hit, Hits};
use crate::frames::Frames;
use crate::machine::{Answer, CallId};
use crate::network::Listener;
use crate::settings::Settings;

/// What a connection tells the machine.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are requests")]
pub(crate) enum Call {
    /// A request has come. `answer` is where its answer goes.
    Request { id: CallId, context: Context, request: AnyRequest, answer: oneshot::Sender<Answer> },
    /// The client of a request has gone: if it still waits, it need not any more.
    Gone(CallId),
}

/// What all connections of a node share.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) node: NodeId,
    /// Bounded: a full queue makes connections wait, and TCP makes their clients wait.
    pub(crate) calls: mpsc::Sender<Call>,
    /// Numbers the calls of all nodes.
    pub(crate) next_call: Arc<AtomicU64>,
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

    async fn serve(mut self, stream: BoxedStream) {
        let node = self.node;
        match self.answer_requests(Frames::new(stream)).await {
            Ok(()) => {}
            Err(error) => tracing::debug!(%node, ?error, "a connection has ended"),
        }
    }

    async fn answer_requests(&mut self, mut frames: Frames) -> io::Result<()> {
        loop {
            let frame = tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => return Ok(()),
                frame = frames.next(self.settings.max_frame_bytes) => frame?,
            };
            let Some(frame) = frame else { return Ok(()) };
            let incoming = read_request(frame, self.node, &self.settings).map_err(io::Error::other)?;
            let Hits { fault, alterations } = self.faults.next(self.node, incoming.api, incoming.version);
            let before = fault.as_ref().filter(|hit| !hit.after_handling);
            if !let_pass(&mut frames, before).await? {
                return Ok(());
            }
            let refusal = fault.as_ref().and_then(Hit::refusal);
            let context =
                Context { node: self.node, version: incoming.version, client_id: incoming.client_id, refusal };
            let Some(mut answer) = self.ask(&mut frames, context, incoming.request).await else { return Ok(()) };
            for altered in &alterations {
                altered.apply(&mut answer);
            }
            let after = fault.as_ref().filter(|hit| hit.after_handling);
            if !let_pass(&mut frames, after).await? {
                return Ok(());
            }
            match answer {
                Answer::Response(response) => {
                    let frame = response.encode(incoming.version, incoming.correlation_id).map_err(io::Error::other)?;
                    frames.write(frame).await?;
                }
                Answer::Nothing => {}
                Answer::Close => return Ok(()),
            }
        }
    }

    /// What the cluster answers; `None` when it is gone, or the client is and nothing was to be said yet.
    async fn ask(&self, frames: &mut Frames, context: Context, request: AnyRequest) -> Option<Answer> {
        let (answer, mut answered) = oneshot::channel();
        let id = CallId(self.next_call.fetch_add(1, Ordering::Relaxed));
        self.calls.send(Call::Request { id, context, request, answer }).await.ok()?;
        tokio::select! {
            biased; // the answer first: a client may have closed its side and still read
            answer = &mut answered => return answer.ok(),
            () = frames.gone() => {}
        }
        self.calls.send(Call::Gone(id)).await.ok()?;
        answered.await.ok()
    }
}

/// Applies what a fault does to a connection. False: the connection ends here.
async fn let_pass(frames: &mut Frames, hit: Option<&Hit>) -> io::Result<bool> {
    match hit.map(|hit| &hit.effect) {
        None | Some(Effect::Error(_) | Effect::Alter(_)) => Ok(true),
        Some(Effect::Delay(delay)) => {
            tokio::time::sleep(*delay).await;
            Ok(true)
        }
        Some(Effect::CloseConnection) => Ok(false),
        Some(Effect::BlackHole) => {
            frames.swallow().await?;
            Ok(false)
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that whoever would tell is gone: that is the end, too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// How long a node that cannot accept a connection waits before it tries again.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(20);
