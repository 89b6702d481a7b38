//! Which record stands behind which, on all branches that the logs have had.

use std::collections::BTreeMap;

use crate::history::{LogName, Stretch};

/// All records that were written.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    /// By the number of the first record of each batch.
    batches: BTreeMap<u64, Batch>,
}

#[derive(Debug)]
struct Batch {
    log: LogName,
    stretch: Stretch,
    after: Option<u64>,
}

impl Lineage {
    pub(super) fn wrote(&mut self, log: &LogName, stretch: Stretch, after: Option<u64>) {
        self.batches.insert(stretch.number, Batch { log: log.clone(), stretch, after });
    }

    /// Where a record was written.
    pub(super) fn place(&self, number: u64) -> Option<(&LogName, i64)> {
        let batch = self.batch_of(number)?;
        Some((&batch.log, batch.stretch.offset + (number - batch.stretch.number) as i64))
    }

    /// The record that it stands behind.
    pub(super) fn before(&self, number: u64) -> Option<u64> {
        let batch = self.batch_of(number)?;
        if number > batch.stretch.number { Some(number - 1) } else { batch.after }
    }

    /// Whether `one` stands before `other`, on the branch that leads there, or is it.
    pub(super) fn leads_to(&self, one: u64, other: u64) -> bool {
        let mut number = Some(other);
        // Younger records are never before older ones.
        while let Some(batch) = number.filter(|number| *number >= one).and_then(|number| self.batch_of(number)) {
            if batch.stretch.number <= one {
                return true;
            }
            number = batch.after;
        }
        false
    }

    fn batch_of(&self, number: u64) -> Option<&Batch> {
        let (_, batch) = self.batches.range(..=number).next_back()?;
        (number < batch.stretch.number + batch.stretch.count).then_some(batch)
    }
}
