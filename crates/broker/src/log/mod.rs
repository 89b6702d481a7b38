//! One replica's log of a partition: batches in the order of their offsets, and what can be asked about them.
//!
//! Bytes stand in [`Segment`]s; an index of fixed-size entries, one a batch, says where. Everything else (leader epochs,
//! producers) can be rebuilt from the index, and is, when the log is truncated.
//!
//! A log may begin with what is only [replayed](Replay): that never goes, and the batches that stand in segments follow it.
//!
//! Invariants: offsets and positions ascend; a segment holds whole batches; `end_offset` is one more than the last
//! batch's last offset, or the start offset of an empty log.

mod epochs;
mod producers;
mod replay;
mod segment;

use std::collections::VecDeque;

use bytes::Bytes;

pub(crate) use self::epochs::LeaderEpochs;
pub(crate) use self::producers::{ProducerStamp, Producers, Verdict};
pub use self::replay::Replay;
use self::segment::Segment;

/// What the log knows about a batch without reading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchEntry {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) producer: Option<ProducerStamp>,
    /// How many bytes of the log stand before it.
    position: u64,
    size: usize,
}

/// A batch that has left a log with all that is known about it, so that it can be put into another.
#[derive(Clone, Debug)]
pub(crate) struct StoredBatch {
    pub(crate) entry: BatchEntry,
    pub(crate) bytes: Bytes,
}

impl BatchEntry {
    /// A batch that is about to be appended; its position follows from that.
    pub(crate) fn new(offsets: (i64, i64), max_timestamp: i64, leader_epoch: i32) -> Self {
        let (base_offset, last_offset) = offsets;
        Self { base_offset, last_offset, max_timestamp, leader_epoch, producer: None, position: 0, size: 0 }
    }

    /// The same, written by an idempotent producer.
    pub(crate) fn by(self, producer: Option<ProducerStamp>) -> Self {
        Self { producer, ..self }
    }
}

/// A partition's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    replay: Option<Replay>,
    segments: VecDeque<Segment>,
    batches: VecDeque<BatchEntry>,
    start_offset: i64,
    end_offset: i64,
    end_position: u64,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: Producers,
}

impl Log {
    /// The first offset that can be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset that the next record gets.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Makes a log that is empty one that begins with what is replayed.
    pub(crate) fn replay(&mut self, replay: Replay) {
        self.end_offset = replay.end_offset();
        self.end_position = replay.end_position();
        self.replay = Some(replay);
    }

    /// Appends a batch. `bytes` copies the batch's own bytes to the end of the buffer, offsets written into them.
    pub(crate) fn append(&mut self, entry: BatchEntry, size: usize, bytes: impl FnOnce(&mut Vec<u8>)) {
        let entry = BatchEntry { position: self.end_position, size, ..entry };
        if self.segments.back().is_none_or(|last| !last.takes(size)) {
            self.segments.push_back(Segment::open(self.end_position));
        }
        if let Some(last) = self.segments.back_mut() {
            last.append(size, bytes);
        }
        self.end_position += size as u64;
        self.end_offset = entry.last_offset.saturating_add(1);
        self.epochs.assign(entry.leader_epoch, entry.base_offset);
        self.remember_producer(&entry);
        self.batches.push_back(entry);
    }

    /// Appends a batch that was in a log before, as it stands.
    pub(crate) fn append_stored(&mut self, batch: &StoredBatch) {
        self.append(batch.entry, batch.bytes.len(), |buffer| buffer.extend_from_slice(&batch.bytes));
    }

    /// Whole batches from the one that holds `from` on, of at most `max_bytes` and with no offset at or beyond `below`.
    /// The last one may be cut short, as Kafka cuts it. The first is never: where it alone is over `max_bytes`, it is
    /// what is answered if `at_least_one`, else nothing.
    pub(crate) fn read(&mut self, from: i64, below: i64, max_bytes: usize, at_least_one: bool) -> Bytes {
        if let Some(replay) = self.replayed_at(from) {
            return replay.read(from, below, max_bytes, at_least_one);
        }
        let Some(first) = self.entry_with(from).copied().filter(|first| first.last_offset < below) else {
            return Bytes::new();
        };
        if first.size > max_bytes && !at_least_one {
            return Bytes::new();
        }
        let limit = first.position.saturating_add(max_bytes.max(first.size) as u64);
        let end = limit.min(self.position_of(below));
        let index = self.segments.partition_point(|segment| segment.start <= first.position).saturating_sub(1);
        let Some(segment) = self.segments.get_mut(index) else { return Bytes::new() };
        // Up to the segment's end only, as in Kafka: what follows is for the next fetch.
        let end = (end - segment.start).min(segment.len() as u64) as usize;
        segment.read((first.position - segment.start) as usize, end)
    }

    /// How many bytes there are from the batch that holds `from` on, up to offset `below`.
    pub(crate) fn bytes_between(&self, from: i64, below: i64) -> u64 {
        self.position_of(below).saturating_sub(self.position_of(from))
    }

    /// Removes every batch with an offset at or beyond `end`, and returns them.
    pub(crate) fn truncate(&mut self, end: i64) -> Vec<StoredBatch> {
        let end = end.max(self.replay_end());
        // Truncated below its start, the log begins there anew: the node that leads now never had more.
        self.start_offset = self.start_offset.min(end.max(0));
        let keep = self.batches.partition_point(|entry| entry.last_offset < end);
        if keep == self.batches.len() {
            self.end_offset = self.end_of_batches();
            // Whoever led from there on, and wrote nothing, leaves no trace.
            self.epochs.truncate(self.end_offset);
            return Vec::new();
        }
        let mut removed = Vec::new();
        for index in keep..self.batches.len() {
            removed.extend(self.stored_in_segment(index));
        }
        self.batches.truncate(keep);
        self.end_position = removed.first().map_or(self.end_position, |batch| batch.entry.position);
        while self.segments.back().is_some_and(|last| last.start >= self.end_position) {
            self.segments.pop_back();
        }
        if let Some(last) = self.segments.back_mut() {
            last.truncate((self.end_position - last.start) as usize);
        }
        self.end_offset = self.end_of_batches();
        self.epochs.truncate(self.end_offset);
        self.rebuild_producers();
        removed
    }

    /// Makes `offset` the first that can be read, and drops the batches before it. At most up to the end.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.start_offset = offset.clamp(self.start_offset, self.end_offset);
        let start_offset = self.start_offset;
        let dropped = self.batches.partition_point(|entry| entry.last_offset < start_offset);
        self.batches.drain(..dropped);
        let position = self.batches.front().map_or(self.end_position, |entry| entry.position);
        while self.segments.front().is_some_and(|first| first.start + first.len() as u64 <= position) {
            self.segments.pop_front();
        }
    }

    /// Forgets everything, the offsets included: the log of a node that has lost its disk.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The batches, oldest first, without their bytes.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &BatchEntry> {
        self.replay.iter().flat_map(Replay::batches).chain(&self.batches)
    }

    /// The batches whose records may have a timestamp of at least `timestamp`, oldest first.
    pub(crate) fn entries_since(&self, timestamp: i64) -> impl Iterator<Item = usize> {
        let since = move |(index, entry): (usize, &BatchEntry)| (entry.max_timestamp >= timestamp).then_some(index);
        self.entries().enumerate().filter_map(since)
    }

    /// The batch with that place in the log.
    pub(crate) fn stored(&mut self, index: usize) -> Option<StoredBatch> {
        match &self.replay {
            Some(replay) if index < replay.batches().len() => replay.stored(index),
            Some(replay) => self.stored_in_segment(index - replay.batches().len()),
            None => self.stored_in_segment(index),
        }
    }

    /// How many batches the log has; of what is replayed, those of one lap.
    pub(crate) fn batch_count(&self) -> usize {
        self.replay.as_ref().map_or(0, |replay| replay.batches().len()) + self.batches.len()
    }

    fn stored_in_segment(&mut self, index: usize) -> Option<StoredBatch> {
        let entry = *self.batches.get(index)?;
        let segment = self.segments.partition_point(|segment| segment.start <= entry.position).checked_sub(1)?;
        let segment = self.segments.get_mut(segment)?;
        let from = (entry.position - segment.start) as usize;
        Some(StoredBatch { entry, bytes: segment.read(from, from + entry.size) })
    }

    fn entry_with(&self, offset: i64) -> Option<&BatchEntry> {
        self.batches.get(self.batches.partition_point(|entry| entry.last_offset < offset))
    }

    /// Where the first batch stands that has an offset at or beyond `offset`.
    fn position_of(&self, offset: i64) -> u64 {
        match self.replayed_at(offset) {
            Some(replay) => replay.position_of(offset),
            None => self.entry_with(offset).map_or(self.end_position, |entry| entry.position),
        }
    }

    /// What is replayed, if it holds `offset`.
    fn replayed_at(&self, offset: i64) -> Option<&Replay> {
        self.replay.as_ref().filter(|replay| (0..replay.end_offset()).contains(&offset))
    }

    /// The offset behind what is replayed.
    fn replay_end(&self) -> i64 {
        self.replay.as_ref().map_or(0, Replay::end_offset)
    }

    fn end_of_batches(&self) -> i64 {
        let none = self.start_offset.max(self.replay_end());
        self.batches.back().map_or(none, |entry| entry.last_offset + 1)
    }

    fn remember_producer(&mut self, entry: &BatchEntry) {
        if let Some(stamp) = &entry.producer {
            self.producers.remember(stamp, entry.base_offset, entry.last_offset, entry.max_timestamp);
        }
    }

    fn rebuild_producers(&mut self) {
        self.producers.forget_all();
        for index in 0..self.batches.len() {
            let entry = self.batches[index];
            self.remember_producer(&entry);
        }
    }
}

#[cfg(test)]
mod tests;
