//! What we read, in the form of the vectors.

use bytes::Bytes;
use ottla_wire::compression::Decompressor;
use ottla_wire::records::{ControlRecord, ControlRecordType, OpenBatch, Record, RecordBatch, RecordBatches};

use super::expected::UNKNOWN_CONTROL_TYPE;
use super::{ComparedHeader, ComparedRecord};

/// A batch, as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadBatch {
    pub(super) magic: i8,
    pub(super) size: usize,
    pub(super) base_offset: i64,
    pub(super) last_offset: i64,
    pub(super) next_offset: i64,
    pub(super) compression: String,
    pub(super) timestamp_type: String,
    pub(super) max_timestamp: i64,
    pub(super) header: Option<ComparedHeader>,
    pub(super) records: Vec<ComparedRecord>,
}

/// Where reading failed, in the order in which it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Finding the batch, or reading its header.
    Batch,
    /// Its CRC.
    Crc,
    /// Decompressing it.
    Open,
    /// A record.
    Records,
}

/// A buffer, read up to its first error.
pub(super) struct Read {
    pub(super) batches: Vec<ReadBatch>,
    /// What went wrong with the batch after those, or with the last of them if the stage is `Records`.
    pub(super) fault: Option<(Stage, String)>,
    pub(super) whole_bytes: usize,
}

/// Reads a buffer up to its first error.
pub(super) fn read(bytes: Vec<u8>) -> Read {
    let mut decompressor = Decompressor::default();
    let mut batches = RecordBatches::new(Bytes::from(bytes));
    let mut read = Read { batches: Vec::new(), fault: None, whole_bytes: 0 };
    while let Some(batch) = batches.next() {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                read.fault = Some((Stage::Batch, error.to_string()));
                return read;
            }
        };
        if let Err(error) = batch.check_crc() {
            read.fault = Some((Stage::Crc, error.to_string()));
            return read;
        }
        let open = match batch.open(&mut decompressor) {
            Ok(open) => open,
            Err(error) => {
                read.fault = Some((Stage::Open, error.to_string()));
                return read;
            }
        };
        let mut compared = header(&batch, &open);
        for record in open.records() {
            match record {
                Ok(record) => compared.records.push(self::record(&batch, &record)),
                Err(error) => read.fault = Some((Stage::Records, error.to_string())),
            }
        }
        read.batches.push(compared);
        if read.fault.is_some() {
            return read;
        }
        read.whole_bytes = batches.position();
    }
    read
}

fn header(batch: &RecordBatch, open: &OpenBatch) -> ReadBatch {
    assert_eq!(batch.next_offset(), open.next_offset());
    ReadBatch {
        magic: batch.magic(),
        size: batch.size_bytes(),
        base_offset: open.base_offset(),
        last_offset: batch.last_offset(),
        next_offset: batch.next_offset(),
        compression: batch.compression().to_string(),
        timestamp_type: format!("{:?}", batch.timestamp_type()),
        max_timestamp: batch.max_timestamp(),
        header: (batch.magic() == 2).then(|| ComparedHeader {
            crc: batch.crc(),
            leader_epoch: batch.partition_leader_epoch(),
            base_timestamp: batch.base_timestamp(),
            producer_id: batch.producer_id(),
            producer_epoch: batch.producer_epoch(),
            base_sequence: batch.base_sequence(),
            last_sequence: batch.last_sequence(),
            transactional: batch.is_transactional(),
            control: batch.is_control(),
            delete_horizon_ms: batch.delete_horizon_ms(),
            count: batch.record_count().expect("magic 2 says it"),
        }),
        records: Vec::new(),
    }
}

pub(super) fn record(batch: &RecordBatch, record: &Record<'_>) -> ComparedRecord {
    let control = batch.is_control().then(|| ControlRecord::parse(record)).flatten();
    ComparedRecord {
        offset: record.offset(),
        timestamp: record.timestamp(),
        key: record.key().map(<[u8]>::to_vec),
        value: record.value().map(<[u8]>::to_vec),
        headers: record
            .headers()
            .map(|header| (header.key().into_owned(), header.value().map(<[u8]>::to_vec)))
            .collect(),
        control: control.map(|control| (control_type(control.kind), control.coordinator_epoch)),
    }
}

fn control_type(kind: ControlRecordType) -> i16 {
    match kind {
        ControlRecordType::Abort | ControlRecordType::Commit => kind.id(),
        _ => UNKNOWN_CONTROL_TYPE,
    }
}
