//! What a fetcher tells of itself: what its memory holds now, and what it has done since it was made.
//!
//! Reading it takes two locks for a moment, and counting nothing: numbers are kept by answer and by poll, never by record.
//! Every byte of records that was received is in one place, which is how the numbers are tested:
//! `fetched = delivered + passed over + cut + unwanted + given up + waiting`.

/// A snapshot: see [`FetcherHandle::metrics`](crate::FetcherHandle::metrics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchMetrics {
    /// What memory is used for.
    pub memory: FetchMemory,
    /// What has been fetched and what became of it.
    pub totals: FetchTotals,
}

/// What memory is used for, in bytes. Buffers count whole, with what an answer has beside records and what its size is
/// rounded up by. An answer of at most 4 KiB has none: it counts as 8 KiB while records of it wait to be handed out, and
/// as nothing from then on. Nor is it waited with, so that one for each of the two connections to a broker may go beyond the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchMemory {
    /// `fetch.buffer.max.bytes`.
    pub bound_bytes: usize,
    /// All that is in use: the sum of the next three.
    pub used_bytes: usize,
    /// Of these, what answers are being read into.
    pub receiving_bytes: usize,
    /// Of these, answers of which some records wait to be handed out, those of paused partitions included.
    pub buffered_bytes: usize,
    /// Of these, what only records that were handed out keep: answers that have been handed out whole, and batches that
    /// were decompressed. A record that is held keeps all of its buffer: where this is far more than the records
    /// that are held take, [detaching](crate::OwnedRecord::detach) them frees the rest.
    pub held_bytes: usize,
    /// Of what is held, batches that were decompressed.
    pub decompressed_bytes: usize,
    /// Kept for reuse, and within the bound together with what is in use.
    pub idle_bytes: usize,
}

/// What has been fetched and what became of it. Counts never fall. Bytes are those of records as they were received: whole
/// batches with their headers, compressed ones as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchTotals {
    /// Fetch requests that were answered.
    pub fetches: u64,
    /// Fetch requests that failed, or whose answer could not be read.
    pub failed_fetches: u64,
    /// Bytes of records in answers.
    pub fetched_bytes: u64,
    /// Of these, bytes of the batches that were handed out.
    pub delivered_bytes: u64,
    /// How many batches that were.
    pub delivered_batches: u64,
    /// How many records those say they have.
    pub delivered_records: u64,
    /// Of what was fetched, what there is nothing to hand out of: transaction markers, aborted transactions, batches that
    /// compaction has emptied or that lie before the position.
    pub passed_over_bytes: u64,
    /// Of what was fetched, the last batch of a partition's part where the broker had cut it: it is fetched again.
    pub cut_bytes: u64,
    /// Of what was fetched, what nobody wanted any more after a seek, a revocation or a change of leader.
    pub unwanted_bytes: u64,
    /// Of what was fetched, what was dropped and is fetched again: to make room, or behind a batch that could not be
    /// read.
    pub given_up_bytes: u64,
}

impl FetchTotals {
    /// Bytes that were fetched and not used: cut, unwanted or given up.
    pub fn discarded_bytes(&self) -> u64 {
        self.cut_bytes + self.unwanted_bytes + self.given_up_bytes
    }

    /// How many bytes had to be fetched for each that was delivered or passed over; 1 where nothing was discarded.
    pub fn fetched_per_delivered(&self) -> f64 {
        let used = self.delivered_bytes + self.passed_over_bytes;
        if used == 0 {
            return 1.0;
        }
        (used + self.discarded_bytes()) as f64 / used as f64
    }

    /// Bytes that have been received and wait to be handed out.
    pub fn waiting_bytes(&self) -> u64 {
        let gone = self.delivered_bytes + self.passed_over_bytes + self.discarded_bytes();
        self.fetched_bytes.saturating_sub(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_discarded_counts_on_top_of_what_is_delivered() {
        let mut totals = FetchTotals::default();
        assert!((totals.fetched_per_delivered() - 1.0).abs() < 1e-9, "nothing yet");
        totals.fetched_bytes = 1100;
        (totals.delivered_bytes, totals.passed_over_bytes) = (900, 100);
        (totals.cut_bytes, totals.unwanted_bytes, totals.given_up_bytes) = (10, 20, 30);
        assert!((totals.fetched_per_delivered() - 1.06).abs() < 1e-9);
        assert_eq!(totals.waiting_bytes(), 40);
    }
}
