use super::*;
use crate::log::BatchEntry;

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const C: NodeId = NodeId(2);

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a test's origin of time")]
    Instant::now()
}

fn append(partition: &mut Partition, batches: i64) {
    for _ in 0..batches {
        let offset = partition.log.end_offset();
        let entry = BatchEntry::new((offset, offset), offset, partition.leader_epoch());
        partition.log.append(entry, 1, |buffer| buffer.push(partition.leader_epoch as u8));
    }
}

/// Led by A, with ten records everywhere, and five more that only those have for which `follows` says so.
fn partition(follows: impl Fn(NodeId) -> bool) -> Partition {
    let mut partition = Partition::new(vec![A, B, C]);
    append(&mut partition, 10);
    partition.replicate(now(), |_| true);
    append(&mut partition, 5);
    partition.replicate(now(), follows);
    partition
}

/// What the leader's log holds: the epoch in which each record was written.
fn content(partition: &mut Partition) -> Vec<u8> {
    let end = partition.log.end_offset();
    (0..end).map(|offset| partition.log.read(offset, offset + 1, 1, true)[0]).collect()
}

#[test]
fn the_high_watermark_is_what_every_in_sync_replica_has() {
    assert_eq!(partition(|_| true).high_watermark(), 15);
    assert_eq!(partition(|node| node != C).high_watermark(), 10);
}

#[test]
fn a_laggard_leaves_the_in_sync_replicas_after_its_time_and_returns_when_it_has_caught_up() {
    let start = now();
    let mut partition = Partition::new(vec![A, B, C]);
    append(&mut partition, 1);
    partition.replicate(start, |node| node != C);
    let limit = Duration::from_secs(30);
    partition.drop_laggards(start + Duration::from_millis(29_999), limit);
    assert_eq!((partition.in_sync().len(), partition.high_watermark()), (3, 0));
    partition.drop_laggards(start + limit, limit);
    assert_eq!((partition.in_sync(), partition.high_watermark()), (&[A, B][..], 1));
    partition.replicate(start + limit, |_| true);
    assert_eq!(partition.in_sync(), [A, B, C]);
}

#[test]
fn an_in_sync_replica_takes_over_without_losing_what_was_acknowledged() {
    let mut partition = partition(|node| node == B);
    partition.fence(A);
    assert!(partition.elect(|node| node != A, false));
    assert_eq!((partition.leader(), partition.leader_epoch()), (Some(B), 1));
    assert_eq!(partition.log.end_offset(), 15);
}

#[test]
fn what_was_deleted_from_a_log_does_not_come_back_with_it() {
    let mut partition = partition(|_| false);
    partition.drop_laggards(now() + Duration::from_secs(30), Duration::ZERO);
    assert_eq!((partition.in_sync(), partition.high_watermark()), (&[A][..], 15));
    partition.log.delete_before(12);
    // A is down for a while, and nobody else may lead.
    partition.lose(A, Loss::Unreplicated);
    assert!(partition.elect(|node| node != A, false));
    assert!(partition.elect(|_| true, false));
    assert_eq!((partition.leader(), partition.log.start_offset(), partition.log.end_offset()), (Some(A), 12, 15));
}

#[test]
fn a_tail_that_only_the_dead_leader_has_is_lost() {
    let mut partition = partition(|_| false);
    partition.fence(A);
    partition.elect(|node| node != A, false);
    assert_eq!((partition.log.end_offset(), partition.high_watermark()), (10, 10));
    append(&mut partition, 2);
    partition.replicate(now(), |node| node == C);
    // Back again, A gives up its tail.
    partition.replicate(now(), |_| true);
    assert_eq!(partition.in_sync(), [A, B, C]);
    assert!(partition.move_leader(A));
    assert_eq!(content(&mut partition), [[0; 10].as_slice(), &[1, 1]].concat());
}

#[test]
fn an_unclean_election_brings_the_dead_leaders_tail_back() {
    let mut partition = partition(|_| false);
    partition.fence(A);
    partition.elect(|node| node != A, true);
    append(&mut partition, 2);
    partition.replicate(now(), |node| node == C);
    partition.fence(B);
    partition.fence(C);
    assert!(partition.elect(|node| node == A, true));
    assert_eq!((partition.leader(), partition.in_sync()), (Some(A), &[A][..]));
    assert_eq!(content(&mut partition), [0; 15]);
    assert_eq!(partition.high_watermark(), 12, "the watermark does not pass what A has");
}

#[test]
fn without_unclean_elections_the_last_in_sync_replica_is_waited_for() {
    let mut partition = partition(|_| true);
    for node in [A, B, C] {
        partition.fence(node);
    }
    assert!(partition.elect(|_| false, false));
    assert_eq!((partition.leader(), partition.in_sync()), (None, &[C][..]));
    assert!(!partition.elect(|node| node == A, false));
    assert!(partition.elect(|node| node == C, false));
    assert_eq!(partition.leader(), Some(C));
}

#[test]
fn a_follower_that_lost_everything_catches_up() {
    let mut partition = partition(|_| true);
    partition.fence(B);
    partition.lose(B, Loss::Everything);
    assert_eq!(partition.readable_end(B), 0);
    partition.replicate(now(), |_| true);
    assert_eq!(partition.readable_end(B), 15);
}

#[test]
fn what_the_leader_lost_the_others_still_have() {
    let mut partition = partition(|node| node == B);
    partition.lose(A, Loss::Everything);
    partition.fence(A);
    partition.elect(|node| node != A, false);
    assert_eq!(partition.leader(), Some(B));
    assert_eq!(content(&mut partition), [0; 15]);
}

#[test]
fn each_loss_takes_what_it_says() {
    let end_after = |loss| {
        let mut partition = partition(|_| false);
        partition.lose(A, loss);
        partition.fence(B);
        partition.fence(C);
        partition.elect(|node| node == A, true);
        partition.become_leader(A);
        partition.log.end_offset()
    };
    assert_eq!(end_after(Loss::Nothing), 15);
    assert_eq!(end_after(Loss::LastBatches(2)), 13);
    assert_eq!(end_after(Loss::LastBatches(7)), 8);
    assert_eq!(end_after(Loss::LastBatches(0)), 15);
    assert_eq!(end_after(Loss::LastBatches(99)), 0);
    assert_eq!(end_after(Loss::Unreplicated), 10);
    assert_eq!(end_after(Loss::Everything), 0);
}

#[test]
fn the_only_replica_loses_its_log_itself() {
    let end_after = |loss| {
        let mut partition = Partition::new(vec![A]);
        append(&mut partition, 10);
        partition.replicate(now(), |_| true);
        partition.lose(A, loss);
        (partition.log.end_offset(), partition.high_watermark())
    };
    assert_eq!(end_after(Loss::Unreplicated), (10, 10));
    assert_eq!(end_after(Loss::LastBatches(3)), (7, 7));
    assert_eq!(end_after(Loss::LastBatches(99)), (0, 0));
    assert_eq!(end_after(Loss::Everything), (0, 0));
}

#[test]
fn epochs_tell_where_logs_part() {
    let mut partition = partition(|_| false);
    assert_eq!(partition.log.epochs.end_of(0, partition.log.end_offset()), Some((0, 15)));
    partition.move_leader(B);
    append(&mut partition, 3);
    assert_eq!(partition.log.epochs.end_of(0, partition.log.end_offset()), Some((0, 10)));
    assert_eq!(partition.log.epochs.end_of(1, partition.log.end_offset()), Some((1, 13)));
}
