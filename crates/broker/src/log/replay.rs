//! What a log begins with that is replayed: batches that were prepared once, lap after lap.
//!
//! All partitions that replay the same share its memory: a Fetch is answered with a slice of it, and nothing is built for
//! an answer. Every lap has the same bytes but for the offsets that its batches begin with, which no CRC covers. So the
//! first lap is what was prepared, and a later one the memory of the lap before the last, with other offsets written into
//! it: copied only while an answer of that lap is still on its way.
//!
//! Invariants: batches lie without gaps, in bytes and in offsets; a lap's batches are entries of the first, moved by whole
//! laps; the two later laps that are kept are an even one and an odd one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use ottla_wire::records::{CorruptBatch, RecordBatches};

use super::{BatchEntry, StoredBatch};
use crate::error::Error;
use crate::records::place;

/// A log without end or of a given length, made of batches that were prepared once.
///
/// [`create_replayed_topic`](crate::EmbeddedCluster::create_replayed_topic) makes a topic of it. What reads such a topic is
/// not held up by the brokers: their answers are slices of memory. Clones share that memory.
#[derive(Clone)]
pub struct Replay {
    lap: Arc<Lap>,
    laps: u64,
}

struct Lap {
    /// The first lap.
    bytes: Bytes,
    /// Where its batches are.
    batches: Vec<BatchEntry>,
    /// How many offsets it has.
    offsets: i64,
    /// An even and an odd one of the later laps, each with its number.
    later: Mutex<[Option<(u64, Bytes)>; 2]>,
}

impl Replay {
    /// A log of one lap: of `batches`, whole ones of magic 2, one after the other. They are given offsets from 0 on, and the
    /// leader epoch 0; the rest, the CRCs included, is neither changed nor checked.
    ///
    /// # Errors
    ///
    /// [`Error::NotReplayable`] where there is anything else, or nothing.
    pub fn new(batches: Bytes) -> Result<Self, Error> {
        let mut bytes = BytesMut::from(&batches[..]);
        let mut parsed = RecordBatches::new(batches);
        let (mut entries, mut position, mut offset) = (Vec::new(), 0, 0);
        for batch in &mut parsed {
            let batch = batch.map_err(|corrupt| not_replayable(position, Some(corrupt)))?;
            if batch.magic() != 2 {
                return Err(not_replayable(position, None));
            }
            let last_offset = offset + (batch.last_offset() - batch.base_offset());
            let entry = BatchEntry::new((offset, last_offset), batch.max_timestamp(), LEADER_EPOCH);
            entries.push(BatchEntry { position: position as u64, size: batch.size_bytes(), ..entry });
            position += batch.size_bytes();
            offset = last_offset + 1;
        }
        if entries.is_empty() || position != bytes.len() {
            return Err(not_replayable(position, None));
        }
        put_in_place(&mut bytes, &entries, 0);
        let lap = Lap { bytes: bytes.freeze(), batches: entries, offsets: offset, later: Mutex::default() };
        Ok(Self { lap: Arc::new(lap), laps: 1 })
    }

    /// The same, so many times one after the other; at least once, and at most as often as [`endless`](Self::endless).
    pub fn laps(self, laps: u64) -> Self {
        let most = MOST_OF_A_LOG / (self.lap.offsets as u64).max(self.lap.bytes.len() as u64);
        Self { laps: laps.clamp(1, most.max(1)), ..self }
    }

    /// The same without end: an end that nobody reaches.
    pub fn endless(self) -> Self {
        self.laps(u64::MAX)
    }

    /// The offset behind the last record.
    pub fn end_offset(&self) -> i64 {
        self.lap.offsets.saturating_mul(self.laps as i64)
    }

    /// How many bytes all laps have.
    pub(super) fn end_position(&self) -> u64 {
        (self.lap.bytes.len() as u64).saturating_mul(self.laps)
    }

    /// The batches of the first lap. The later ones have the same timestamps, and so are never those looked for.
    pub(super) fn batches(&self) -> &[BatchEntry] {
        &self.lap.batches
    }

    /// A batch of the first lap.
    pub(super) fn stored(&self, index: usize) -> Option<StoredBatch> {
        let entry = *self.lap.batches.get(index)?;
        let start = entry.position as usize;
        Some(StoredBatch { entry, bytes: self.lap.bytes.slice(start..start + entry.size) })
    }

    /// How many bytes stand before the first batch that has an offset at or beyond `offset`, which lies before the end.
    pub(super) fn position_of(&self, offset: i64) -> u64 {
        let (lap, batch) = self.batch_with(offset);
        lap * self.lap.bytes.len() as u64 + batch.position
    }

    /// As [`Log::read`](super::Log::read); up to the end of the lap only.
    pub(super) fn read(&self, from: i64, below: i64, max_bytes: usize, at_least_one: bool) -> Bytes {
        let (lap, first) = self.batch_with(from);
        let last_offset = first.last_offset + lap as i64 * self.lap.offsets;
        if last_offset >= below || (first.size > max_bytes && !at_least_one) {
            return Bytes::new();
        }
        let lap_start = lap * self.lap.bytes.len() as u64;
        let readable = if below < self.end_offset() { self.position_of(below) } else { self.end_position() };
        let readable = (readable - lap_start).min(self.lap.bytes.len() as u64) as usize;
        let start = first.position as usize;
        let end = start.saturating_add(max_bytes.max(first.size)).min(readable);
        self.bytes_of(lap).slice(start..end)
    }

    /// The batch that holds `offset`, as it is in the first lap, and the lap.
    fn batch_with(&self, offset: i64) -> (u64, &BatchEntry) {
        let (lap, offset) = (offset / self.lap.offsets, offset % self.lap.offsets);
        let index = self.lap.batches.partition_point(|entry| entry.last_offset < offset);
        (lap as u64, &self.lap.batches[index])
    }

    fn bytes_of(&self, lap: u64) -> Bytes {
        if lap == 0 {
            return self.lap.bytes.clone();
        }
        let mut later = self.lap.later.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut later[(lap % 2) as usize];
        if let Some((number, bytes)) = kept
            && *number == lap
        {
            return bytes.clone();
        }
        // Memory that no answer refers to any more is written into, in place.
        let memory = kept.take().and_then(|(_, bytes)| bytes.try_into_mut().ok());
        let mut memory = memory.unwrap_or_else(|| BytesMut::from(&self.lap.bytes[..]));
        put_in_place(&mut memory, &self.lap.batches, lap as i64 * self.lap.offsets);
        let bytes = memory.freeze();
        *kept = Some((lap, bytes.clone()));
        bytes
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lap, laps } = self;
        formatter
            .debug_struct("Replay")
            .field("lap_bytes", &lap.bytes.len())
            .field("lap_offsets", &lap.offsets)
            .field("laps", laps)
            .finish_non_exhaustive()
    }
}

/// Gives the batches of a lap that begins with the offset `first` their offsets.
fn put_in_place(bytes: &mut [u8], batches: &[BatchEntry], first: i64) {
    for entry in batches {
        place(&mut bytes[entry.position as usize..], first + entry.base_offset, LEADER_EPOCH);
    }
}

fn not_replayable(position: usize, source: Option<CorruptBatch>) -> Error {
    Error::NotReplayable { position, source }
}

/// A replayed topic is new, and its leaders are those that it was made with.
const LEADER_EPOCH: i32 = 0;

/// No log has more offsets or bytes than this: room for what is appended behind.
const MOST_OF_A_LOG: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use ottla_wire::compression::{Compression, Compressor};
    use ottla_wire::records::{BatchBuilder, ProducerState};

    use super::super::Log;
    use super::*;

    /// Batches of two records each.
    fn prepared(batches: usize) -> Bytes {
        let mut all = BytesMut::new();
        for batch in 0..batches {
            let mut builder = BatchBuilder::new();
            for _ in 0..2 {
                builder.append(1000 + batch as i64, None, Some(b"value"), []).unwrap();
            }
            let built = builder.build(&mut Compressor::new(Compression::None), ProducerState::NONE).unwrap();
            all.extend_from_slice(&built);
        }
        all.freeze()
    }

    fn log(batches: usize, laps: u64) -> Log {
        let mut log = Log::default();
        log.replay(Replay::new(prepared(batches)).unwrap().laps(laps));
        log
    }

    fn offsets(bytes: Bytes) -> Vec<(i64, i64)> {
        let batches = RecordBatches::new(bytes).map(Result::unwrap);
        batches.inspect(|batch| batch.check_crc().unwrap()).map(|b| (b.base_offset(), b.last_offset())).collect()
    }

    #[test]
    fn every_lap_has_the_offsets_that_follow_and_ends_where_the_next_begins() {
        let mut log = log(3, 4);
        assert_eq!((log.start_offset(), log.end_offset()), (0, 24));
        let mut next = 0;
        while next < 24 {
            let read = offsets(log.read(next, 24, usize::MAX, false));
            assert_eq!(read, [(next, next + 1), (next + 2, next + 3), (next + 4, next + 5)]);
            next += 6;
        }
        assert!(log.read(24, 24, usize::MAX, true).is_empty());
    }

    #[test]
    fn a_read_begins_at_the_batch_with_the_offset_and_keeps_its_bounds() {
        let mut log = log(3, 2);
        let size = log.stored(0).unwrap().bytes.len();
        assert_eq!(offsets(log.read(9, 12, size, false)), [(8, 9)]);
        assert_eq!(log.read(9, 12, size - 1, false).len(), 0);
        assert_eq!(offsets(log.read(9, 12, 1, true)), [(8, 9)], "the first batch comes whatever its size");
        assert_eq!(offsets(log.read(6, 10, usize::MAX, false)), [(6, 7), (8, 9)]);
        assert_eq!(log.bytes_between(8, 12), 2 * size as u64);
    }

    #[test]
    fn laps_share_memory_and_what_nobody_holds_is_used_again() {
        let replay = Replay::new(prepared(3)).unwrap().endless();
        let start_of = |lap: i64| replay.read(lap * 6, i64::MAX, usize::MAX, false);
        assert_eq!(start_of(0).as_ptr(), start_of(0).as_ptr());
        let first = start_of(1).as_ptr();
        assert_eq!(first, start_of(1).as_ptr());
        assert_eq!(first, start_of(3).as_ptr(), "in place");
        let held = start_of(3);
        assert_ne!(first, start_of(5).as_ptr(), "an answer that is on its way is left alone");
        assert_eq!(offsets(held)[0], (18, 19));
        assert_eq!(offsets(start_of(1))[0], (6, 7), "also when going back");
    }

    #[test]
    fn what_is_appended_stands_behind_and_is_all_that_is_truncated() {
        let mut log = log(3, 2);
        let entry = BatchEntry::new((12, 13), 5000, 0);
        let batch = prepared(1);
        log.append(entry, batch.len(), |buffer| {
            let start = buffer.len();
            buffer.extend_from_slice(&batch);
            buffer[start..start + 8].copy_from_slice(&12i64.to_be_bytes());
        });
        assert_eq!(offsets(log.read(12, 14, usize::MAX, false)), [(12, 13)]);
        assert_eq!(log.batch_count(), 4, "those of one lap, and what was appended");
        assert_eq!(offsets(log.stored(3).unwrap().bytes), [(12, 13)]);
        assert_eq!(log.truncate(0).len(), 1);
        assert_eq!(log.end_offset(), 12);
        assert_eq!(offsets(log.read(11, 12, usize::MAX, false)), [(10, 11)]);
    }

    #[test]
    fn only_whole_batches_can_be_replayed() {
        let whole = prepared(2);
        for bad in [Bytes::new(), whole.slice(..whole.len() - 1), Bytes::from(vec![7; 200])] {
            assert!(matches!(Replay::new(bad), Err(Error::NotReplayable { .. })));
        }
        let endless = Replay::new(whole).unwrap().endless();
        assert!(endless.end_offset() > 1 << 50);
    }
}
