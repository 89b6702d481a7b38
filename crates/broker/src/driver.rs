//! The task that owns the cluster: passes calls to the machine and answers back, keeps its time, and starts and stops
//! nodes. The only file of this crate with tasks and timers, beside the nodes' connections.
//!
//! Everything that the cluster runs is owned by this task: when it ends or is dropped, so does all of it.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ottla_connection::clock::sleep_until;
use ottla_connection::{Address, watch};
use ottla_wire::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::Error;
use crate::fault::Faults;
use crate::machine::{Answer, CallId, Machine};
use crate::network::Endpoint;
use crate::node::{Call, Service};
use crate::settings::{Loss, Settings};
use crate::state::Now;

/// How long a node that stops in good order finishes what it is at.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How many requests may be on their way to the machine.
const CALL_QUEUE: usize = 1024;

/// What is done to the machine.
pub(crate) type Change = Box<dyn FnOnce(&mut Machine, Now) + Send>;

/// What a handle asks of the cluster.
pub(crate) enum Command {
    /// To look at its state or to change it.
    Change(Change),
    /// To start a node.
    Start(NodeId, oneshot::Sender<Result<(), Error>>),
    /// To stop a node in good order, or to kill it with a loss.
    Stop(NodeId, Option<Loss>, oneshot::Sender<Result<(), Error>>),
    /// To stop everything.
    ShutDown(oneshot::Sender<()>),
}

/// The wall clock, by tokio's clock: it stands still and jumps with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    origin: Instant,
    origin_ms: i64,
}

impl WallClock {
    /// Says that it is now `origin_ms` milliseconds after the start of 1970.
    pub(crate) fn starting_at(origin_ms: i64) -> Self {
        Self { origin: Instant::now(), origin_ms }
    }

    fn now(&self) -> Now {
        let instant = Instant::now();
        let elapsed = i64::try_from(instant.duration_since(self.origin).as_millis()).unwrap_or(i64::MAX);
        Now { instant: instant.into_std(), timestamp_ms: self.origin_ms.saturating_add(elapsed) }
    }
}

/// A node's sockets.
struct NodeServer {
    endpoint: Endpoint,
    address: Address,
    running: Option<Running>,
}

struct Running {
    stopping: watch::Sender<bool>,
    /// One task, which owns the connections.
    tasks: JoinSet<()>,
}

/// Everything that runs.
pub(crate) struct Driver {
    machine: Machine,
    clock: WallClock,
    nodes: BTreeMap<NodeId, NodeServer>,
    faults: Faults,
    settings: Arc<Settings>,
    calls: mpsc::Receiver<Call>,
    call_sender: mpsc::Sender<Call>,
    commands: mpsc::Receiver<Command>,
    answers: BTreeMap<CallId, oneshot::Sender<Answer>>,
    next_call: Arc<AtomicU64>,
}

impl Driver {
    pub(crate) fn new(
        machine: Machine,
        clock: WallClock,
        endpoints: BTreeMap<NodeId, Endpoint>,
        faults: Faults,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let (call_sender, calls) = mpsc::channel(CALL_QUEUE);
        let server = |endpoint: Endpoint| NodeServer { address: endpoint.address(), endpoint, running: None };
        let nodes = endpoints.into_iter().map(|(node, endpoint)| (node, server(endpoint))).collect();
        let settings = Arc::new(machine.state.settings.clone());
        let answers = BTreeMap::new();
        Self {
            machine,
            clock,
            nodes,
            faults,
            settings,
            calls,
            call_sender,
            commands,
            answers,
            next_call: Arc::default(),
        }
    }

    /// Starts every node.
    pub(crate) fn listen(&mut self) -> Result<(), Error> {
        let nodes = self.nodes.keys().copied().collect::<Vec<_>>();
        nodes.into_iter().try_for_each(|node| self.start_serving(node))
    }

    /// Runs until it is shut down, or nobody is left who could.
    pub(crate) async fn run(mut self) {
        loop {
            self.pass_answers();
            let deadline = self.machine.next_deadline();
            tokio::select! {
                // What was due comes before what is ordered now; what a test orders holds for every request after it.
                biased;
                () = sleep_until(deadline) => {
                    self.machine.handle_timeout(self.clock.now());
                }
                command = self.commands.recv() => {
                    let Some(command) = command else { return };
                    if self.obey(command).await.is_break() {
                        return;
                    }
                }
                Some(call) = self.calls.recv() => self.take_in(call),
            }
        }
    }

    fn take_in(&mut self, call: Call) {
        match call {
            Call::Request { id, context, request, answer } => {
                self.answers.insert(id, answer);
                self.machine.handle_call(self.clock.now(), id, &context, request);
            }
            Call::Gone(id) => {
                self.machine.cancel_call(id);
                // Its connection sees by that that nothing is to come.
                self.answers.remove(&id);
            }
        }
    }

    fn pass_answers(&mut self) {
        while let Some((call, answer)) = self.machine.next_answer() {
            if let Some(waiting) = self.answers.remove(&call) {
                // Its connection may have gone; then nobody wants the answer.
                let _ = waiting.send(answer);
            }
        }
    }

    /// Breaks off when there is nothing left to run.
    async fn obey(&mut self, command: Command) -> ControlFlow<()> {
        match command {
            Command::Change(change) => change(&mut self.machine, self.clock.now()),
            Command::Start(node, done) => {
                let _ = done.send(self.start(node));
            }
            Command::Stop(node, loss, done) => {
                let result = match self.check_state(node, true) {
                    Ok(()) => {
                        self.stop(node, loss).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                };
                let _ = done.send(result);
            }
            Command::ShutDown(done) => {
                self.shut_down().await;
                let _ = done.send(());
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn start(&mut self, node: NodeId) -> Result<(), Error> {
        self.check_state(node, false)?;
        self.start_serving(node)?;
        let now = self.clock.now();
        self.machine.change(now, |state| state.start(node, now.instant));
        Ok(())
    }

    /// Takes a node away; `loss` says that it dies, and what that costs it.
    async fn stop(&mut self, node: NodeId, loss: Option<Loss>) {
        let now = self.clock.now();
        match loss {
            // What waits there is answered first: with the new leaders, where it asked for what has moved.
            None => self.machine.change(now, |state| state.stop(node, now.instant)),
            Some(loss) => {
                self.stop_serving(node, Duration::ZERO).await;
                self.machine.change(now, |state| state.kill(node, loss, now.instant));
            }
        }
        self.machine.cancel(node);
        self.pass_answers();
        self.stop_serving(node, STOP_TIMEOUT).await;
    }

    async fn shut_down(&mut self) {
        let nodes = self.nodes.keys().copied().collect::<Vec<_>>();
        for node in nodes {
            self.machine.cancel(node);
            self.pass_answers();
            self.stop_serving(node, Duration::ZERO).await;
        }
    }

    fn check_state(&self, node: NodeId, wanted: bool) -> Result<(), Error> {
        match self.machine.state.is_running(node) {
            None => Err(Error::UnknownNode { node }),
            Some(running) if running == wanted => Ok(()),
            Some(true) => Err(Error::NodeState { node, state: "running" }),
            Some(false) => Err(Error::NodeState { node, state: "not running" }),
        }
    }

    fn start_serving(&mut self, node: NodeId) -> Result<(), Error> {
        let (calls, next_call) = (self.call_sender.clone(), Arc::clone(&self.next_call));
        let (faults, settings) = (self.faults.clone(), Arc::clone(&self.settings));
        let server = self.nodes.get_mut(&node).ok_or(Error::UnknownNode { node })?;
        let failed = |source: io::Error| Error::Listen { node, address: server.address.clone(), source };
        let listener = server.endpoint.listen().map_err(failed)?;
        let (stopping, stopped) = watch::channel(false);
        let service = Service { node, calls, next_call, faults, settings, stopping: stopped };
        let mut tasks = JoinSet::new();
        tasks.spawn(service.run(listener));
        server.running = Some(Running { stopping, tasks });
        Ok(())
    }

    /// Lets a node's connections finish within `patience`, then closes them, and waits until all that is over.
    async fn stop_serving(&mut self, node: NodeId, patience: Duration) {
        let Some(server) = self.nodes.get_mut(&node) else { return };
        let Some(mut running) = server.running.take() else { return };
        if !patience.is_zero() {
            running.stopping.send_replace(true);
            let _ = tokio::time::timeout(patience, running.tasks.join_next()).await;
        }
        running.tasks.shutdown().await;
        server.endpoint.keep();
    }
}
