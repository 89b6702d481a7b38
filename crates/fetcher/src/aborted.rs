//! Which batches belong to aborted transactions (`isolation.level=read_committed`, KIP-98).
//!
//! An answer lists the aborted transactions among its records by producer and first offset. A producer's batches from
//! that offset on are skipped, until its abort marker. The list is sorted here: Redpanda's is not.

use std::collections::BTreeSet;

use ottla_wire::records::RecordBatch;

/// The aborted transactions of one partition's part of an answer, and those open where it has been read to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AbortedTransactions {
    /// First offset and producer, the last first.
    ahead: Vec<(i64, i64)>,
    open: BTreeSet<i64>,
}

impl AbortedTransactions {
    /// From pairs of first offset and producer id, in any order.
    pub(crate) fn new(mut transactions: Vec<(i64, i64)>) -> Self {
        transactions.sort_unstable_by(|one, other| other.cmp(one));
        Self { ahead: transactions, open: BTreeSet::new() }
    }

    /// Takes in the next batch; true: it holds records of an aborted transaction.
    pub(crate) fn skips(&mut self, batch: &RecordBatch) -> bool {
        if self.ahead.is_empty() && self.open.is_empty() {
            return false;
        }
        while let Some((first_offset, producer)) = self.ahead.last().copied() {
            if first_offset > batch.last_offset() {
                break;
            }
            self.open.insert(producer);
            self.ahead.pop();
        }
        if !batch.is_transactional() {
            return false;
        }
        if batch.is_control() {
            // Either marker ends the producer's transaction. A commit marker cannot follow an aborted one's records
            // without an abort marker between them, so there is no need to read which it is.
            self.open.remove(&batch.producer_id());
            return false;
        }
        self.open.contains(&batch.producer_id())
    }
}
