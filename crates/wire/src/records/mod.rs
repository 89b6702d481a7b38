//! Record batches: what stands in the records of a Produce request, a Fetch response and a log.
//!
//! Reading: [`RecordBatches`] finds the batches in a partition's bytes; [`RecordBatch::open`] checks a batch's CRC and
//! decompresses it, at most once; [`OpenBatch::records`] walks its records, which borrow from it. Nothing is copied or
//! allocated for a record, and nothing of an uncompressed batch at all. Magic 2 is the fast path; magic 0 and 1 go
//! through the same types.
//!
//! Writing: [`BatchBuilder`] collects records in their wire form and makes a batch of magic 2 of them. A broker
//! gives it its place in the log with [`RecordBatch::assign_offsets`].
//!
//! Corrupt data is an error that says where it stands ([`CorruptBatch`], [`CorruptRecord`]), never a panic.
//! KIP-98 (magic 2), KIP-82 (headers), KIP-32 and KIP-31 (magic 1), KIP-534 (delete horizon).

mod batch;
mod builder;
mod control;
mod corrupt;
mod crc;
mod header;
mod legacy;
mod open;
mod record;
mod varint;

pub use batch::{RecordBatch, RecordBatches};
pub use builder::{BatchBuilder, EncodedBatch, ProducerState};
pub use control::{ControlRecord, ControlRecordType, control_batch};
pub use corrupt::{BatchFault, CorruptBatch, CorruptRecord, RecordFault};
pub use crc::{crc32, crc32c};
pub use header::TimestampType;
pub use open::{OpenBatch, Records};
pub use record::{Header, Headers, OwnedRecord, Record};

/// What stands for "no timestamp".
pub const NO_TIMESTAMP: i64 = -1;

#[cfg(test)]
mod tests;
