//! Batches that we write: what goes in comes out, whatever the records are.
//!
//! An input says what to write: the codec, the producer's state, the batch's place, and records made from the rest.

use bytes::Bytes;
use ottla_wire::compression::{Compression, Compressor, Decompressor};
use ottla_wire::records::{BatchBuilder, ProducerState, RecordBatch, RecordBatches};

/// A record to be written: timestamp, key, value, headers.
type Written = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

/// Checks an input.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let mut plan = Plan { rest: input };
    let compression = Compression::ALL[usize::from(plan.u8()) % Compression::ALL.len()];
    let producer = match plan.u8() % 3 {
        0 => ProducerState::NONE,
        flags => ProducerState {
            producer_id: plan.i64(),
            producer_epoch: plan.i64() as i16,
            base_sequence: plan.i64() as i32 & i32::MAX,
            transactional: flags == 2,
        },
    };
    // So low that no record's offset is beyond what an offset can be.
    let base_offset = plan.i64() & (i64::MAX >> 1);
    let leader_epoch = plan.i64() as i32;
    let mut records = Vec::new();
    while !plan.rest.is_empty() {
        records.push(plan.record());
    }
    if records.is_empty() {
        return;
    }

    let bytes = write(&records, compression, producer);
    let mut batches = RecordBatches::new(bytes);
    let Some(Ok(batch)) = batches.next() else { panic!("what was written is no batch") };
    assert!(batches.next().is_none());
    let batch = match batch.assign_offsets(base_offset, leader_epoch) {
        Ok(batch) => batch,
        Err(error) => panic!("the batch cannot be given the offset {base_offset}: {error}"),
    };
    assert_eq!(batch.compression(), compression);
    assert_eq!((batch.producer_id(), batch.producer_epoch()), (producer.producer_id, producer.producer_epoch));
    assert_eq!((batch.base_sequence(), batch.is_transactional()), (producer.base_sequence, producer.transactional));
    assert_eq!((batch.base_offset(), batch.partition_leader_epoch()), (base_offset, leader_epoch));
    assert_eq!(batch.last_offset(), base_offset + records.len() as i64 - 1);
    assert_eq!(batch.record_count(), Some(records.len() as u32));
    assert_eq!(read(&batch), records);
}

fn write(records: &[Written], compression: Compression, producer: ProducerState) -> Bytes {
    let mut builder = BatchBuilder::new();
    for (timestamp, key, value, headers) in records {
        let headers = headers.iter().map(|(key, value)| (key.as_str(), value.as_deref()));
        let (before, size) = (
            builder.estimated_size(),
            builder.record_size(*timestamp, key.as_deref(), value.as_deref(), headers.clone()),
        );
        let appended = builder.append(*timestamp, key.as_deref(), value.as_deref(), headers);
        assert_eq!(appended, Ok(()));
        assert_eq!(builder.estimated_size(), before + size, "the size that was announced");
    }
    match builder.build(&mut Compressor::new(compression), producer) {
        Ok(bytes) => bytes,
        Err(error) => panic!("{} records do not compress: {error}", records.len()),
    }
}

fn read(batch: &RecordBatch) -> Vec<Written> {
    let open = match batch.open(&mut Decompressor::default()) {
        Ok(open) => open,
        Err(error) => panic!("what was written does not open: {error}"),
    };
    let mut offset = batch.base_offset();
    let read = open.records().map(|record| {
        let record = match record {
            Ok(record) => record,
            Err(error) => panic!("what was written does not read: {error}"),
        };
        assert_eq!(record.offset(), offset);
        offset += 1;
        let headers = record.headers().map(|header| (header.key().into_owned(), header.value().map(<[u8]>::to_vec)));
        (record.timestamp(), record.key().map(<[u8]>::to_vec), record.value().map(<[u8]>::to_vec), headers.collect())
    });
    read.collect()
}

/// Reads an input as decisions; past its end all are zero.
struct Plan<'i> {
    rest: &'i [u8],
}

impl Plan<'_> {
    fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// An integer of any size: small ones are as likely as large ones.
    fn i64(&mut self) -> i64 {
        let bytes = self.take(usize::from(self.rest.first().copied().unwrap_or(0) % 9) + 1);
        bytes.iter().skip(1).fold(0, |value, byte| value << 8 | i64::from(*byte))
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken.to_vec()
    }

    /// Bytes, or null; now and then many that are alike, so that a codec has something to do.
    fn bytes(&mut self) -> Option<Vec<u8>> {
        match self.u8() {
            0 => None,
            255 => {
                let (pattern, times) = (self.take(4), usize::from(self.u8()) * 16);
                Some(pattern.repeat(times))
            }
            length => Some(self.take(usize::from(length) - 1)),
        }
    }

    fn record(&mut self) -> Written {
        let flags = self.u8();
        let timestamp = self.i64();
        let (key, value) = (if flags & 1 == 0 { None } else { self.bytes() }, self.bytes());
        let headers = (0..flags >> 6).map(|_| {
            let key = String::from_utf8_lossy(&self.bytes().unwrap_or_default()).into_owned();
            (key, self.bytes())
        });
        (timestamp, key, value, headers.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_all_shapes_become_records() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..500 {
            let input: Vec<u8> = (0..random.usize(0..400)).map(|_| random.u8(..)).collect();
            check(&input);
        }
    }
}
