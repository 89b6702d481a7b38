//! How much memory a reader's consumer takes, and how much it may.

use std::time::Duration;

use super::{Reader, lock};
use crate::sabotage::Sabotage;
use crate::scenario::ReaderPlan;

/// The most that was seen.
#[derive(Debug)]
pub(super) struct Memory {
    limit_bytes: usize,
    peak_bytes: usize,
}

impl Memory {
    pub(super) fn new(plan: &ReaderPlan, largest_batch_bytes: usize) -> Self {
        // A batch that does not fit into the bound, together with the answer that brings it, may go beyond it, alone.
        let rounded_bytes = largest_batch_bytes + largest_batch_bytes / 8 + ROUNDED_UP_BYTES;
        let bound_bytes = plan.fetch_buffer_max_bytes;
        let fits = 2 * rounded_bytes <= bound_bytes;
        let most_bytes = if fits { bound_bytes } else { bound_bytes + 2 * rounded_bytes };
        let limit_bytes = most_bytes + SMALL_ANSWERS_BYTES;
        Self { limit_bytes, peak_bytes: 0 }
    }

    pub(super) fn look(&mut self, bytes: usize) {
        self.peak_bytes = self.peak_bytes.max(bytes);
    }

    /// The most that was seen, and the most that may be.
    pub(super) fn peak(&self) -> (usize, usize) {
        (self.peak_bytes, self.limit_bytes)
    }
}

impl Reader {
    /// Looks at the gauge.
    pub(super) fn look_at_memory(&self) {
        let unnoticed = if self.sabotage == Some(Sabotage::HoldTooMuch) { HELD_TOO_MUCH } else { 1 };
        lock(&self.memory).look(unnoticed * self.handle.fetch_metrics().memory.used_bytes);
    }

    /// Looks at it again and again.
    pub(super) async fn watch_memory(&self) {
        loop {
            self.look_at_memory();
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// What a buffer may have beside what is in it.
const ROUNDED_UP_BYTES: usize = 8 << 10;
/// Answers of at most 4 KiB do not wait for memory: there may be one for each connection, of two to each of three nodes.
const SMALL_ANSWERS_BYTES: usize = 2 * 3 * (8 << 10);
/// So many times as much as is told.
const HELD_TOO_MUCH: usize = 1000;
const LOOK_INTERVAL: Duration = Duration::from_millis(7);
