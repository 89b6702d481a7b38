//! Damaged batches: where Java finds an error we find one, no later; what Java reads we read, and the same.

use std::collections::BTreeMap;

use protocol_tests::golden::{self, Line};

use super::expected::{ExpectedBatch, place};
use super::read::{self, Read, Stage};

#[test]
fn what_java_refuses_is_refused_and_what_it_accepts_reads_the_same() {
    let mut counts = BTreeMap::new();
    let mut stricter = Vec::new();
    let lines = golden::lines("record_batches_corrupt.jsonl.gz");
    for line in &lines {
        let expected = ExpectedBatch::all(line);
        let ours = read::read(line.bytes("bytes"));
        let outcome = match line.find("error_stage").map(|stage| stage.as_str().expect("a stage")) {
            None => accepted(line, &expected, &ours),
            Some("batch" | "header") => refused_before_its_records(line, &expected, &ours, Stage::Batch),
            Some("crc") => refused_before_its_records(line, &expected, &ours, Stage::Crc),
            Some("records") => refused_in_its_records(line, &expected, &ours),
            Some(stage) => panic!("{line}: stage {stage}"),
        };
        if outcome == STRICTER {
            let (stage, reason) = ours.fault.as_ref().expect("stricter is an error");
            stricter.push((line.text("id").to_owned(), format!("{}: {stage:?}: {reason}", line.text("change"))));
        }
        *counts.entry(outcome).or_insert(0) += 1;
    }
    println!("{counts:?}, {stricter:#?}");
    assert_eq!(counts.values().sum::<usize>(), lines.len(), "every line is accounted for");
    let stricter: Vec<&str> = stricter.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(stricter, STRICTER_IDS, "the lines that Java accepts and we do not");
    assert_eq!(counts.get("refused"), Some(&436));
}

/// Java reads everything.
fn accepted(line: &Line, expected: &[ExpectedBatch], ours: &Read) -> &'static str {
    let place = place(line);
    if ours.fault.is_some() {
        compare_whole(&place, expected, ours);
        return STRICTER;
    }
    assert_eq!(ours.batches.len(), expected.len(), "{place}: batches");
    compare_whole(&place, expected, ours);
    assert_eq!(ours.whole_bytes as i64, line.integer("valid_bytes"), "{place}: bytes of whole batches");
    "accepted alike"
}

/// Java finds an error before it looks at the records of the batch behind the listed ones.
fn refused_before_its_records(line: &Line, expected: &[ExpectedBatch], ours: &Read, latest: Stage) -> &'static str {
    let place = place(line);
    let (stage, reason) = ours.fault.as_ref().unwrap_or_else(|| panic!("{place}: Java finds an error, we none"));
    assert!(*stage <= latest, "{place}: found at {stage:?} ({reason}), by Java no later than {latest:?}");
    assert_eq!(ours.batches.len(), expected.len(), "{place}: batches before the error ({reason})");
    compare_whole(&place, expected, ours);
    "refused"
}

/// Java finds an error in the records of the last of the listed batches.
fn refused_in_its_records(line: &Line, expected: &[ExpectedBatch], ours: &Read) -> &'static str {
    let place = place(line);
    let (stage, reason) = ours.fault.as_ref().unwrap_or_else(|| panic!("{place}: Java finds an error, we none"));
    let (last, whole) = expected.split_last().unwrap_or_else(|| panic!("{place}: no batch"));
    assert!(!last.complete, "{place}: Java read the last batch to its end");
    if *stage == Stage::Records {
        // Uncompressed, or decompressed in one go: the same record is the bad one.
        assert_eq!(ours.batches.len(), expected.len(), "{place}: batches up to the error ({reason})");
        let read = ours.batches.last().expect("as many as expected");
        assert!(read.same_header(&last.batch), "{place}: header");
        assert_eq!(read.records, last.batch.records, "{place}: records before the error ({reason})");
    } else {
        // Java decompresses as it reads, and may have read records by then.
        assert_eq!(ours.batches.len(), whole.len(), "{place}: batches before the error ({reason})");
    }
    compare_whole(&place, whole, ours);
    "refused"
}

/// Compares the batches that both read whole.
fn compare_whole(place: &str, expected: &[ExpectedBatch], ours: &Read) {
    for (index, (ours, java)) in ours.batches.iter().zip(expected).enumerate() {
        assert!(java.complete, "{place}: batch {index}: Java read it to its end");
        assert_eq!(ours, &java.batch, "{place}: batch {index}");
    }
}

const STRICTER: &str = "refused by us alone";

/// Each for a reason.
const STRICTER_IDS: [&str; 0] = [];
