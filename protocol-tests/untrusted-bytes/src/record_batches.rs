//! A partition's records as they come from a broker: batches of every magic and codec, whole, cut or damaged.
//!
//! An input is the bytes as they stand.
//!
//! - Finding, opening and walking the batches ends, and an error ends the walk of a batch.
//! - Opening a batch takes no more memory than its bound allows. Walking its records allocates nothing at all.
//! - An owned record is what the borrowed one was.
//!
//! Each batch is opened with its CRC checked and unchecked: damage behind a CRC is only seen without.

use bytes::Bytes;
use ottla_wire::compression::Decompressor;
use ottla_wire::records::{ControlRecord, OpenBatch, Record, RecordBatch, RecordBatches};

use crate::decompression::memory_bound;

/// What a batch may decompress to here.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// Checks an input.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let mut batches = RecordBatches::new(bytes.clone());
    let mut decompressor = Decompressor::new(MAX_BATCH_BYTES);
    let mut position = 0;
    while let Some(batch) = batches.next() {
        assert!(batches.position() > position, "the batch at {position} does not end behind its start");
        assert!(batches.position() <= bytes.len(), "the batch at {position} ends behind the bytes");
        position = batches.position();
        if let Ok(batch) = batch {
            check_batch(&batch, &mut decompressor);
        }
    }
    assert_eq!(batches.rest().len(), bytes.len() - position);
}

fn check_batch(batch: &RecordBatch, decompressor: &mut Decompressor) {
    let checked = batch.open(decompressor);
    let (unchecked, allocated) = allocation_counter::measure(|| batch.open_unchecked(decompressor));
    let (taken, bound) = (allocated.peak_bytes, memory_bound(MAX_BATCH_BYTES));
    let (magic, compression, size) = (batch.magic(), batch.compression(), batch.size_bytes());
    assert!(taken <= bound, "opening a batch (magic {magic}, {compression}, {size} bytes) took {taken}, over {bound}");
    assert!(checked.is_err() || unchecked.is_ok(), "the batch opens with its CRC checked only: {unchecked:?}");
    if let Ok(open) = unchecked {
        check_records(&open);
    }
}

fn check_records(batch: &OpenBatch) {
    let ((), allocated) = allocation_counter::measure(|| walk(batch));
    assert_eq!(allocated.allocations, 0, "walking the records of a batch allocates");
    for record in batch.records().flatten() {
        let owned = batch.to_owned_record(&record);
        assert!(same(&record, &Record::from(&owned)), "{record:?} is owned as {owned:?}");
        let _ = ControlRecord::parse(&record);
    }
}

fn walk(batch: &OpenBatch) {
    let mut records = batch.records();
    // A record takes at least a byte.
    let mut most = batch.buffer().len();
    while let Some(record) = records.next() {
        let Ok(record) = record else {
            assert!(records.next().is_none(), "records follow a corrupt one");
            return;
        };
        assert!(most > 0, "there are more records than bytes");
        most -= 1;
        for header in record.headers() {
            std::hint::black_box((header.key_bytes(), header.value()));
        }
    }
}

fn same(one: &Record<'_>, other: &Record<'_>) -> bool {
    one.offset() == other.offset()
        && one.timestamp() == other.timestamp()
        && one.key() == other.key()
        && one.value() == other.value()
        && one.headers().eq(other.headers())
}
