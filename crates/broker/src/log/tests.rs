use super::*;

/// Appends a batch of `records` records and `size` bytes, all of which are the low byte of its base offset.
fn append(log: &mut Log, records: i64, size: usize, epoch: i32) {
    let base = log.end_offset();
    let entry = BatchEntry::new((base, base + records - 1), base, epoch);
    log.append(entry, size, |buffer| buffer.extend(std::iter::repeat_n(base as u8, size)));
}

fn log_of(batches: usize) -> Log {
    let mut log = Log::default();
    (0..batches).for_each(|_| append(&mut log, 10, 100, 0));
    log
}

#[test]
fn reads_start_with_the_batch_that_holds_the_offset() {
    let mut log = log_of(3);
    let read = log.read(15, 30, 1000, true);
    assert_eq!(read.len(), 200);
    assert_eq!((read[0], read[199]), (10, 20));
}

#[test]
fn reads_end_at_the_last_batch_that_is_whole_below_the_limit() {
    let mut log = log_of(3);
    assert_eq!(log.read(0, 20, 1000, true).len(), 200);
    assert_eq!(log.read(0, 25, 1000, true).len(), 200);
    assert_eq!(log.read(20, 20, 1000, true).len(), 0);
}

#[test]
fn a_leader_that_wrote_nothing_leaves_no_trace_of_its_epoch_in_what_was_written_before_it() {
    let mut log = Log::default();
    append(&mut log, 10, 100, 0);
    let removed = log.truncate(0);
    log.epochs.assign(1, 0);
    // The replica that had it all leads again.
    log.truncate(0);
    for batch in &removed {
        log.append_stored(batch);
    }
    log.epochs.assign(2, 10);
    assert_eq!(log.epochs.end_of(0, 10), Some((0, 10)));
}

#[test]
fn the_last_batch_of_a_read_may_be_cut_and_the_first_may_not() {
    let mut log = log_of(3);
    assert_eq!(log.read(0, 30, 150, true).len(), 150);
    assert_eq!(log.read(0, 30, 50, true).len(), 100);
    assert_eq!(log.read(0, 30, 50, false).len(), 0);
    assert_eq!(log.read(0, 30, 0, false).len(), 0);
}

#[test]
fn bytes_are_counted_from_the_batch_that_holds_the_offset() {
    let log = log_of(3);
    assert_eq!(log.bytes_between(0, 30), 300);
    assert_eq!(log.bytes_between(15, 30), 200);
    assert_eq!(log.bytes_between(15, 20), 100);
    assert_eq!(log.bytes_between(30, 30), 0);
}

#[test]
fn a_log_of_many_segments_reads_back_whole() {
    let mut log = Log::default();
    (0..40).for_each(|_| append(&mut log, 1, 300 * 1024, 0));
    let mut offset = 0;
    while offset < 40 {
        let read = log.read(offset, 40, 1 << 20, true);
        assert!(read.len() >= 300 * 1024);
        assert!(read.iter().take(300 * 1024).all(|byte| i64::from(*byte) == offset), "at {offset}");
        offset += (read.len() / (300 * 1024)) as i64;
    }
}

#[test]
fn truncation_gives_back_what_it_removes_and_it_can_be_appended_again() {
    let mut log = log_of(5);
    let before = log.read(0, 50, 1000, true);
    let removed = log.truncate(20);
    assert_eq!(log.end_offset(), 20);
    assert_eq!(log.read(0, 20, 1000, true).len(), 200);
    assert_eq!(removed.iter().map(|batch| batch.entry.base_offset).collect::<Vec<_>>(), [20, 30, 40]);
    for batch in &removed {
        log.append_stored(batch);
    }
    // What was read before is shared, and so no reader sees it change.
    let mut after = log.read(0, 50, 1000, true).to_vec();
    while after.len() < before.len() {
        after.extend(log.read(after.len() as i64 / 10, 50, 1000, true));
    }
    assert_eq!(after, before);
}

#[test]
fn truncation_within_a_shared_segment_leaves_the_rest() {
    let mut log = Log::default();
    (0..3).for_each(|_| append(&mut log, 1, 200 * 1024, 0));
    let shared = log.read(0, 3, 1 << 20, true);
    log.truncate(1);
    append(&mut log, 1, 100, 1);
    assert_eq!(shared.len(), 600 * 1024);
    assert_eq!(log.read(0, 2, 1 << 20, true).len(), 200 * 1024);
    assert_eq!(log.read(1, 2, 1 << 20, true).len(), 100);
}

#[test]
fn truncation_rebuilds_the_producers() {
    let mut log = Log::default();
    for batch in 0..3 {
        let stamp = ProducerStamp::new(7, 0, batch * 10, 10);
        let base = i64::from(batch * 10);
        log.append(BatchEntry::new((base, base + 9), 0, 0).by(stamp), 1, |buffer| buffer.push(0));
    }
    log.truncate(20);
    let next = ProducerStamp::new(7, 0, 20, 10).unwrap();
    assert_eq!(log.producers.check(&next), Verdict::New);
}

#[test]
fn deleting_keeps_the_batch_that_holds_the_new_start() {
    let mut log = log_of(3);
    log.delete_before(15);
    assert_eq!((log.start_offset(), log.batch_count()), (15, 2));
    assert_eq!(log.read(15, 30, 1000, true)[0], 10);
    log.delete_before(100);
    assert_eq!((log.start_offset(), log.end_offset(), log.batch_count()), (30, 30, 0));
    append(&mut log, 1, 10, 0);
    assert_eq!(log.read(30, 31, 1000, true).len(), 10);
}

#[test]
fn truncating_below_the_start_moves_the_start() {
    let mut log = log_of(3);
    log.delete_before(20);
    log.truncate(0);
    assert_eq!((log.start_offset(), log.end_offset()), (0, 0));
}
