//! Record batches that Java wrote, read; written again, byte for byte where the bytes are defined; and damaged ones.
//!
//! `expected` holds what Java reads in a form that can be compared, and `read` the same of ours.

mod damaged;
mod expected;
mod mutated;

mod read;
mod round_trip;
mod written;

use protocol_tests::golden;

use expected::ExpectedBatch;
use read::ReadBatch;

#[test]
fn what_java_wrote_in_magic_2_reads_as_java_reads_it() {
    let (batches, records) = compare_all("record_batches.jsonl.gz");
    println!("{batches} batches, {records} records read as Java reads them");
    assert_eq!((batches, records), (839, 8817));
}

#[test]
fn what_java_wrote_in_magic_0_and_1_reads_as_java_reads_it() {
    let (batches, records) = compare_all("record_batches_legacy.jsonl.gz");
    println!("{batches} batches, {records} records read as Java reads them");
    assert_eq!((batches, records), (1418, 5066));
}

/// Compares every line of a file of sound batches; returns how many batches and records there were.
fn compare_all(file: &str) -> (usize, usize) {
    let (mut batches, mut records) = (0, 0);
    for line in golden::lines(file) {
        let expected = ExpectedBatch::all(&line);
        let read = read::read(line.bytes("bytes"));
        assert_eq!(read.fault, None, "{line}");
        assert_eq!(read.batches.len(), expected.len(), "{line}: batches");
        for (index, (ours, java)) in read.batches.iter().zip(&expected).enumerate() {
            assert_eq!(ours, &java.batch, "{line}: batch {index}");
            assert!(java.complete, "{line}: batch {index}: Java read it to its end");
            records += ours.records.len();
        }
        assert_eq!(read.whole_bytes as i64, line.integer("valid_bytes"), "{line}: bytes of whole batches");
        batches += read.batches.len();
    }
    (batches, records)
}

/// A record in a form that can be compared: offset, timestamp, key, value, headers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ComparedRecord {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    /// Type and coordinator epoch of a control record.
    control: Option<(i16, Option<i32>)>,
}

/// The fields of magic 2 alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ComparedHeader {
    crc: u32,
    leader_epoch: i32,
    base_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    last_sequence: i32,
    transactional: bool,
    control: bool,
    delete_horizon_ms: Option<i64>,
    count: u32,
}

impl ReadBatch {
    fn same_header(&self, other: &Self) -> bool {
        let without_records = |batch: &Self| Self { records: Vec::new(), ..batch.clone() };
        without_records(self) == without_records(other)
    }
}
