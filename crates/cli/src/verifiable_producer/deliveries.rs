//! Tells what becomes of each message, as soon as it is known: in the order of a partition, and without one partition waiting for
//! another.

use std::collections::BTreeMap;

use ottla::{Delivery, TopicPartition};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use super::events::{FailedSend, SuccessfulSend};
use crate::json_lines::JsonLines;

/// The messages under way. A task a partition awaits its messages.
pub(super) struct Deliveries {
    lines: JsonLines,
    /// Bounded by the producer's `buffer.memory`, from which messages are.
    partitions: BTreeMap<TopicPartition, UnboundedSender<Sent>>,
    tasks: JoinSet<u64>,
}

struct Sent {
    delivery: Delivery,
    key: Option<String>,
    value: String,
}

impl Deliveries {
    pub(super) fn new(lines: JsonLines) -> Self {
        Self { lines, partitions: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Tells what becomes of this message, some time.
    pub(super) fn await_one(&mut self, delivery: Delivery, key: Option<String>, value: String) {
        let partition = delivery.topic_partition();
        if !self.partitions.contains_key(partition) {
            let (sender, sent) = mpsc::unbounded_channel();
            self.partitions.insert(partition.clone(), sender);
            self.tasks.spawn(tell(self.lines.clone(), sent));
        }
        // The task ends only when the sender here is dropped.
        let _ = self.partitions[partition].send(Sent { delivery, key, value });
    }

    /// Waits until all has been told, and says how many messages were written.
    pub(super) async fn all_told(mut self) -> u64 {
        self.partitions.clear();
        self.tasks.join_all().await.into_iter().sum()
    }
}

async fn tell(lines: JsonLines, mut sent: UnboundedReceiver<Sent>) -> u64 {
    let mut acked = 0;
    while let Some(Sent { delivery, key, value }) = sent.recv().await {
        let topic_partition = delivery.topic_partition().clone();
        match delivery.await {
            Ok(written) => {
                acked += 1;
                lines.write(&SuccessfulSend::new(key.as_deref(), &value, &written));
            }
            Err(error) => lines.write(&FailedSend::new(&topic_partition.topic, key.as_deref(), &value, &error)),
        }
    }
    acked
}
