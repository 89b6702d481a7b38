//! Records as the application gets them: borrowed from their batch, or owned with a share in its buffer.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use ottla_wire::records::{Header, Headers, OwnedRecord, Record, TimestampType};

use crate::handed_out::{END, Progress};
use crate::{Batch, CorruptRecord};

/// Walks the records of a [`Batch`], in the order of their offsets. Nothing is copied or allocated for a record.
///
/// How far it has come is the partition's position. It ends after the first record that cannot be read.
#[derive(Debug)]
pub struct Records<'b> {
    inner: ottla_wire::records::Records<'b>,
    batch: &'b Batch,
    /// Records before it are in the batch, but were not asked for.
    from: i64,
    /// Nor were those that are so far behind it.
    span: u64,
    reached: Option<&'b AtomicI64>,
    is_corrupt: bool,
}

impl<'b> Records<'b> {
    #[inline]
    pub(crate) fn new(batch: &'b Batch, progress: &'b Arc<Progress>, cell: usize, offsets: Range<i64>) -> Self {
        let inner = batch.open_batch().records();
        let (from, span) = (offsets.start, offsets.end.abs_diff(offsets.start));
        Self { inner, batch, from, span, reached: progress.cell(cell), is_corrupt: false }
    }

    #[inline]
    fn reach(&self, value: i64) {
        if let Some(reached) = self.reached {
            reached.store(value, Ordering::Relaxed);
        }
    }

    #[cold]
    fn corrupt(&mut self, corrupt: &ottla_wire::records::CorruptRecord) -> CorruptRecord {
        let offset = corrupt.offset.max(self.from).max(0);
        self.is_corrupt = true;
        self.reach(!offset);
        CorruptRecord {
            partition: self.batch.topic_partition().clone(),
            offset,
            next_offset: corrupt.next_offset,
            source: corrupt.fault,
        }
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<Record<'b>, CorruptRecord>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.inner.next() {
                Some(Ok(record)) => {
                    let offset = record.offset();
                    // One comparison for both ends: what is before the first is beyond any span.
                    if (offset.wrapping_sub(self.from) as u64) < self.span {
                        self.reach(offset.saturating_add(1).min(END - 1));
                        return Some(Ok(record));
                    }
                    if offset >= self.from {
                        self.reach(END);
                        return None;
                    }
                }
                Some(Err(corrupt)) => return Some(Err(self.corrupt(&corrupt))),
                None => {
                    if !self.is_corrupt {
                        self.reach(END);
                    }
                    return None;
                }
            }
        }
    }
}
