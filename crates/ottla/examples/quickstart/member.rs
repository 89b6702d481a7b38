//! One member of the group: a client of its own, as if it were a process of its own.

use std::sync::Arc;
use std::time::Duration;

use ottla::consumer::Assigned;
use ottla::consumer::assignor::Assignor;
use ottla::{AssignmentChange, AutoOffsetReset, Client, ConsumerHandle, ListenerResult, RebalanceListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::Failure;
use crate::page_views::Tally;

/// What all members have in common.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) bootstrap_servers: String,
    pub(crate) topic: String,
    pub(crate) id: String,
    pub(crate) assignor: Arc<dyn Assignor>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) news: mpsc::UnboundedSender<News>,
}

/// A member has a new assignment.
pub(crate) struct News {
    pub(crate) name: &'static str,
    pub(crate) assigned: Arc<Assigned>,
}

pub(crate) struct Member {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Member {
    pub(crate) fn start(group: &Group, name: &'static str) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(run(group.clone(), name, stopped)) }
    }

    /// Takes it away as a crash does: its task and its sockets go, and nobody tells the group.
    pub(crate) async fn kill(self) {
        self.task.abort();
        // It ends with the abort, and that is no failure.
        let _ = self.task.await;
    }

    /// Has it commit, leave and close.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.stop.send_replace(true);
        self.task.await?
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

async fn run(group: Group, name: &'static str, mut stopped: watch::Receiver<bool>) -> Result<(), Failure> {
    let client = Client::builder().bootstrap_servers(&group.bootstrap_servers).client_id(name).build()?;
    let mut consumer = client
        .consumer()
        .group_id(&group.id)
        .partition_assignment_strategy([group.assignor])
        .session_timeout(Duration::from_secs(6))
        .heartbeat_interval(Duration::from_millis(500))
        .auto_commit_interval(Duration::from_secs(1))
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .rebalance_listener(Reporter { name, news: group.news })
        .build()?;
    consumer.subscribe([&*group.topic])?;
    while !*stopped.borrow_and_update() {
        let batches = tokio::select! {
            biased;
            _ = stopped.changed() => continue,
            batches = consumer.poll(Duration::from_secs(1)) => batches?,
        };
        for batch in &batches {
            group.tally.count(batch)?;
        }
    }
    consumer.close().await?;
    client.close().await;
    Ok(())
}

/// Passes on what the member was assigned.
struct Reporter {
    name: &'static str,
    news: mpsc::UnboundedSender<News>,
}

impl RebalanceListener for Reporter {
    async fn on_assigned(&self, _: AssignmentChange, consumer: ConsumerHandle) -> ListenerResult {
        if let Some(assigned) = consumer.last_assigned() {
            // Nobody listens when the example is over.
            let _ = self.news.send(News { name: self.name, assigned });
        }
        Ok(())
    }
}
