//! An application that loops over polls, and may hold on to what it was handed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ottla::{Batches, Consumer};
use protocol_tests::simulation::dropping::drop_after;
use tokio::sync::oneshot;

use super::{CLOSE_TIMEOUT, Reader, SLACK};
use crate::sabotage::Sabotage;

/// Runs until it is told to close.
pub(super) async fn run(reader: &Arc<Reader>, consumer: Consumer, close: &mut oneshot::Receiver<()>) {
    let mut application = Application { reader, consumer, random: reader.fork_random(), held: VecDeque::new() };
    loop {
        tokio::select! {
            biased; // the poll that waits is dropped
            _ = &mut *close => break,
            () = application.poll() => {}
        }
    }
    let closing = application.consumer.close_within(CLOSE_TIMEOUT);
    if let Some(Err(error)) = reader.within(CLOSE_TIMEOUT + SLACK, "close", closing).await {
        reader.refused("close", &error);
    }
}

struct Application<'r> {
    reader: &'r Arc<Reader>,
    consumer: Consumer,
    random: Rng,
    /// What is held on to, the oldest first.
    held: VecDeque<Batches>,
}

impl Application<'_> {
    async fn poll(&mut self) {
        if self.reader.sabotage == Some(Sabotage::Stall) && self.reader.is_quick() {
            return tokio::time::sleep(SLACK).await;
        }
        let timeout = Duration::from_millis(self.random.u64(0..1000));
        let polls = self.reader.polls_until_dropped(&mut self.random);
        let polling = drop_after(polls, self.consumer.poll(timeout));
        match self.reader.within(timeout + SLACK, "poll", polling).await {
            Some(Some(Ok(batches))) => self.read(batches).await,
            Some(Some(Err(error))) => {
                self.reader.told("poll", &error);
                self.held.clear();
                // As applications do that do not want to spin.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // Time has to pass, or dropping on and on would keep everybody from everything.
            Some(None) => tokio::time::sleep(Duration::from_millis(self.random.u64(1..20))).await,
            None => {}
        }
    }

    async fn read(&mut self, batches: Batches) {
        let mut ends = BTreeMap::new();
        for batch in &batches {
            self.reader.see(batch);
            ends.insert(batch.topic_partition().clone(), batch.next_offset());
        }
        for (partition, end) in ends {
            self.reader.compare_position(&partition, end);
        }
        self.reader.look_at_memory();
        let holds = if self.reader.is_quick() { 0 } else { self.random.usize(0..=self.reader.plan.holds) };
        if !batches.is_empty() {
            self.held.push_back(batches);
        }
        self.reader.dawdle(&mut self.random).await;
        while self.held.len() > holds {
            self.held.pop_front();
        }
    }
}
