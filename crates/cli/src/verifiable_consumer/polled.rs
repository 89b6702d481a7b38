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
    /// For each partition of which some were left out, the offset of the first.
    pub(super) left_out: Vec<(&'b TopicPartition, i64)>,
}

impl<'b> Polled<'b> {
    pub(super) fn new(batches: &'b Batches) -> Self {
        Self { batches: batches.iter(), current: None, corrupt: None }
    }

    /// Takes up to `max_records`; none at the end. Of these, only `wanted` are kept. What cannot be read is an error once what
    /// stands before it has been taken.
    pub(super) fn next(&mut self, max_records: usize, wanted: Option<u64>) -> Result<Chunk<'b>, CorruptRecord> {
        let mut chunk = Chunk { count: 0, records: BTreeMap::new(), left_out: Vec::new() };
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
        if chunk.count == 0
            && let Some(corrupt) = self.corrupt.take()
        {
            return Err(corrupt);
        }
        if let Some(wanted) = wanted {
            chunk.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        }
        Ok(chunk)
    }

    /// For each partition, the offset of the first record that has not been taken.
    pub(super) fn rest(mut self) -> BTreeMap<&'b TopicPartition, i64> {
        let mut rest = BTreeMap::new();
        let corrupt = self.corrupt.take();
        if let Some((partition, mut records)) = self.current.take() {
            let next =
                records.next().map(|record| record.map_or_else(|corrupt| corrupt.offset, |record| record.offset()));
            rest.extend(corrupt.map(|corrupt| corrupt.offset).or(next).map(|offset| (partition, offset)));
        }
        for batch in self.batches {
            rest.entry(batch.topic_partition()).or_insert(batch.start_offset());
        }
        rest
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

    /// For each partition, the offset of its first record.
    pub(super) fn first_offsets(&self) -> impl Iterator<Item = (&'b TopicPartition, i64)> {
        self.records.iter().filter_map(|(partition, records)| Some((*partition, records.first()?.offset())))
    }

    fn truncate(&mut self, mut wanted: usize) {
        self.records.retain(|partition, records| {
            if let Some(first) = records.get(wanted) {
                self.left_out.push((*partition, first.offset()));
            }
            records.truncate(wanted);
            wanted -= records.len();
            !records.is_empty()
        });
    }
}
