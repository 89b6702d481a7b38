//! What a poll handed out, in pieces of so many records.
//!
//! Ottla's poll hands out whole batches, bounded in bytes; Java's hands out `max.poll.records` at most. Whoever reads the lines
//! counts on lines of that size, and commits go by them.

use std::collections::BTreeMap;

use ottla::{Batch, Batches, CorruptRecord, Record, Records, TopicPartition};

/// The records that have not been taken.
pub(super) struct Polled<'b> {
    batches: std::slice::Iter<'b, Batch>,
    current: Option<(&'b TopicPartition, Records<'b>)>,
    corrupt: Option<CorruptRecord>,
}

/// What stands in one line.
pub(super) struct Chunk<'b> {
    /// How many records there were before some were left out.
    pub(super) count: usize,
    pub(super) records: BTreeMap<&'b TopicPartition, Vec<Record<'b>>>,
}

impl<'b> Polled<'b> {
    pub(super) fn new(batches: &'b Batches) -> Self {
        Self { batches: batches.iter(), current: None, corrupt: None }
    }

    /// Takes up to `max_records`; none at the end. Of these, only `wanted` are kept. What cannot be read is an error once what
    /// stands before it has been taken.
    pub(super) fn next(&mut self, max_records: usize, wanted: Option<u64>) -> Result<Chunk<'b>, CorruptRecord> {
        let mut chunk = Chunk { count: 0, records: BTreeMap::new() };
        while chunk.count < max_records && self.corrupt.is_none() {
            match self.next_record() {
                Some(Ok((partition, record))) => {
                    chunk.count += 1;
                    chunk.records.entry(partition).or_default().push(record);
                }
                Some(Err(corrupt)) => self.corrupt = Some(corrupt),
                None => break,
            }
        }
        if let (0, Some(corrupt)) = (chunk.count, self.corrupt.take_if(|_| chunk.count == 0)) {
            return Err(corrupt);
        }
        if let Some(wanted) = wanted {
            chunk.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        }
        Ok(chunk)
    }

    fn next_record(&mut self) -> Option<Result<(&'b TopicPartition, Record<'b>), CorruptRecord>> {
        loop {
            if let Some((partition, records)) = &mut self.current
                && let Some(record) = records.next()
            {
                let partition = *partition;
                return Some(record.map(|record| (partition, record)));
            }
            let batch = self.batches.next()?;
            self.current = Some((batch.topic_partition(), batch.records()));
        }
    }
}

impl<'b> Chunk<'b> {
    /// For each partition, the offset behind its last record.
    pub(super) fn next_offsets(&self) -> impl Iterator<Item = (&'b TopicPartition, i64)> {
        self.records.iter().filter_map(|(partition, records)| Some((*partition, records.last()?.offset() + 1)))
    }

    fn truncate(&mut self, mut wanted: usize) {
        self.records.retain(|_, records| {
            records.truncate(wanted);
            wanted -= records.len();
            !records.is_empty()
        });
    }
}
