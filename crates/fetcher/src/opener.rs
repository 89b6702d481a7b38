//! From received bytes to batches that can be iterated, on the application's task.
//!
//! Here a batch is looked at as a whole, once: its checksum, its transaction, its compression. This happens as late as
//! can be, a few hundred KiB before the application reads them, so that the bytes are still in a cache then.

use bytes::Bytes;

use ottla_wire::compression::{BatchMemory, DecompressFault, Decompressor};
use ottla_wire::records::{BatchFault, OpenBatch, RecordBatch, RecordBatches};
use ottla_wire::{LeaderEpoch, TopicPartition};

use crate::FetcherConfig;
use crate::buffer_pool::BufferPool;
use crate::buffered::{Answered, Entry};
use crate::handed_out::Stretch;

/// Opens batches, with the codecs' tables kept from one to the next.
#[derive(Debug)]
pub(crate) struct Opener {
    decompressor: Decompressor,
    check_crcs: bool,
    max_bytes: usize,
}

/// What has been opened for one poll.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) batches: Vec<OpenedBatch>,
    /// What was gone through, batches and what was passed over.
    pub(crate) stretches: Vec<Stretch>,
    /// What is left for the next poll, in order.
    pub(crate) rest: Vec<Entry>,
    /// A batch that cannot be read, of each partition that has one.
    pub(crate) faults: Vec<Fault>,
    /// Bytes that batches were decompressed to.
    pub(crate) decompressed_bytes: usize,
    /// Whether there was no memory to decompress the batch that is left as the first.
    pub(crate) lacks_memory: bool,
    /// Bytes, as received, of batches that there is nothing to hand out of.
    pub(crate) passed_over_bytes: usize,
    /// Bytes, as received, of batches that cannot be read and of what is behind them.
    pub(crate) given_up_bytes: usize,
    bytes: usize,
}

/// A batch to be handed out.
#[derive(Debug)]
pub(crate) struct OpenedBatch {
    pub(crate) place: usize,
    pub(crate) generation: u64,
    pub(crate) partition: TopicPartition,
    pub(crate) high_watermark: i64,
    /// The first offset that is wanted.
    pub(crate) from: i64,
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    /// What it takes as it was received.
    pub(crate) received_bytes: usize,
    pub(crate) open: OpenBatch,
}

/// A batch that cannot be read.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) place: usize,
    pub(crate) generation: u64,
    pub(crate) offset: i64,
    pub(crate) next_offset: Option<i64>,
    pub(crate) cause: BatchFault,
}

impl Opener {
    pub(crate) fn new(config: &FetcherConfig, pool: &BufferPool) -> Self {
        let memory = Box::new(PooledMemory { pool: pool.clone() });
        Self {
            decompressor: Decompressor::with_memory(config.max_decompressed_batch_bytes, memory),
            check_crcs: config.check_crcs,
            max_bytes: config.max_poll_bytes,
        }
    }

    /// Opens batches until there are enough for one poll.
    pub(crate) fn open(&mut self, entries: Vec<(TopicPartition, Answered)>) -> Opened {
        let mut opened = Opened::default();
        for (partition, answered) in entries {
            // What is behind a batch that cannot be read is fetched again, together with that.
            if opened.faults.iter().any(|fault| fault.place == answered.place) {
                opened.given_up_bytes += answered.records.len();
                continue;
            }
            if opened.bytes < self.max_bytes && !opened.lacks_memory {
                self.open_entry(&partition, answered, &mut opened);
            } else {
                opened.rest.push(Entry::Answered(answered));
            }
        }
        opened
    }

    fn open_entry(&mut self, partition: &TopicPartition, mut answered: Answered, opened: &mut Opened) {
        let records = std::mem::take(&mut answered.records);
        let (whole, mut batches) = (records.len(), RecordBatches::new(records.clone()));
        while opened.bytes < self.max_bytes {
            let batch = match batches.next() {
                None => return,
                Some(Ok(batch)) => batch,
                Some(Err(corrupt)) => {
                    opened.given_up_bytes += whole.saturating_sub(corrupt.position);
                    opened.faults.push(answered.fault(corrupt.next_offset, corrupt.fault));
                    return;
                }
            };
            if batch.next_offset() <= answered.position {
                opened.passed_over_bytes += batch.size_bytes();
                continue;
            }
            let skipped = answered.aborted.skips(&batch) || batch.is_control() || batch.record_count() == Some(0);
            let cell = if skipped {
                None
            } else {
                match self.open_batch(&batch) {
                    Ok(open) => {
                        if open.buffer().is_empty() {
                            None
                        } else {
                            Some(open)
                        }
                    }
                    Err(fault) if lacks_memory(&fault) => {
                        opened.lacks_memory = true;
                        answered.records = records.slice(batch.position()..);
                        opened.rest.push(Entry::Answered(answered));
                        return;
                    }
                    Err(fault) => {
                        opened.given_up_bytes += whole.saturating_sub(batch.position());
                        opened.faults.push(answered.fault(Some(batch.next_offset()), fault));
                        return;
                    }
                }
            };
            let (start, end) = (answered.position, batch.next_offset());
            let leader_epoch = LeaderEpoch(batch.partition_leader_epoch()).known();
            answered.position = end;
            if cell.is_none() {
                opened.passed_over_bytes += batch.size_bytes();
            }
            let cell = cell.map(|open| {
                opened.count(&batch, &open);
                opened.batches.push(OpenedBatch {
                    place: answered.place,
                    generation: answered.generation,
                    partition: partition.clone(),
                    high_watermark: answered.high_watermark,
                    from: start,
                    leader_epoch,
                    received_bytes: batch.size_bytes(),
                    open,
                });
                opened.batches.len() - 1
            });
            let Answered { place, generation, .. } = answered;
            opened.stretches.push(Stretch { place, generation, start, end, leader_epoch, cell });
        }
        answered.records = batches.rest();
        if !answered.records.is_empty() {
            opened.rest.push(Entry::Answered(answered));
        }
    }

    fn open_batch(&mut self, batch: &RecordBatch) -> Result<OpenBatch, BatchFault> {
        let open = if self.check_crcs {
            batch.open(&mut self.decompressor)
        } else {
            batch.open_unchecked(&mut self.decompressor)
        };
        open.map_err(|corrupt| corrupt.fault)
    }
}

impl Opened {
    fn count(&mut self, batch: &RecordBatch, open: &OpenBatch) {
        let bytes = open.buffer().len();
        self.bytes = self.bytes.saturating_add(bytes);
        if batch.compression() != ottla_wire::compression::Compression::None {
            self.decompressed_bytes = self.decompressed_bytes.saturating_add(bytes);
        }
    }
}

impl Answered {
    fn fault(&self, next_offset: Option<i64>, cause: BatchFault) -> Fault {
        Fault { place: self.place, generation: self.generation, offset: self.position, next_offset, cause }
    }
}

/// Whether that is what is wrong, and nothing about the batch.
fn lacks_memory(fault: &BatchFault) -> bool {
    matches!(fault, BatchFault::Decompress(error) if matches!(error.fault, DecompressFault::NoMemory { .. }))
}

/// Lets batches decompress into memory of the pool.
#[derive(Debug)]
struct PooledMemory {
    pool: BufferPool,
}

impl BatchMemory for PooledMemory {
    fn take(&mut self) -> Vec<u8> {
        self.pool.take_for_batch()
    }

    fn may_grow(&mut self, from: usize, to: usize) -> bool {
        self.pool.may_grow(to.saturating_sub(from))
    }

    fn share(&mut self, memory: Vec<u8>, length: usize) -> Bytes {
        self.pool.share(memory, length)
    }
}
