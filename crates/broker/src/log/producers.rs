//! What a partition remembers of its idempotent producers (KIP-98): the last five batches of each.
//!
//! A batch that is among them is a duplicate and is answered with the offset it got the first time. Otherwise its
//! first sequence must follow the last one, or be 0 under a newer epoch. A producer that is not known may start
//! anywhere, because its earlier batches may have been deleted (KIP-360).

use std::collections::{BTreeMap, VecDeque};

use ottla_wire::ErrorCode;

/// How many batches are remembered of each producer; so many may be in flight at once.
const REMEMBERED_BATCHES: usize = 5;

/// What a batch says about its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerStamp {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
}

impl ProducerStamp {
    /// The stamp of a batch with `records` records, `None` where its producer is not idempotent.
    pub(crate) fn new(producer_id: i64, producer_epoch: i16, first_sequence: i32, records: i32) -> Option<Self> {
        let last_sequence = sequence_after(first_sequence, records.saturating_sub(1).max(0));
        (producer_id >= 0).then_some(Self { producer_id, producer_epoch, first_sequence, last_sequence })
    }
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is to be appended.
    New,
    /// It was appended before, at that offset.
    Duplicate { base_offset: i64, last_offset: i64, timestamp: i64 },
    /// It is refused.
    Refused(ErrorCode),
}

/// The producers that a partition knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Producer>,
}

#[derive(Clone, Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Remembered>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    last_offset: i64,
    timestamp: i64,
}

impl Producers {
    /// Whether a batch with that stamp may be appended.
    pub(crate) fn check(&self, stamp: &ProducerStamp) -> Verdict {
        let Some(producer) = self.by_id.get(&stamp.producer_id) else { return Verdict::New };
        if stamp.producer_epoch < producer.epoch {
            return Verdict::Refused(ErrorCode::InvalidProducerEpoch);
        }
        if stamp.producer_epoch > producer.epoch {
            return if stamp.first_sequence == 0 {
                Verdict::New
            } else {
                Verdict::Refused(ErrorCode::OutOfOrderSequenceNumber)
            };
        }
        if let Some(earlier) = producer.batches.iter().find(|earlier| earlier.is(stamp)) {
            let Remembered { base_offset, last_offset, timestamp, .. } = *earlier;
            return Verdict::Duplicate { base_offset, last_offset, timestamp };
        }
        match producer.batches.back() {
            Some(last) if stamp.first_sequence != sequence_after(last.last_sequence, 1) => {
                Verdict::Refused(ErrorCode::OutOfOrderSequenceNumber)
            }
            _ => Verdict::New,
        }
    }

    /// Remembers a batch that was appended.
    pub(crate) fn remember(&mut self, stamp: &ProducerStamp, base_offset: i64, last_offset: i64, timestamp: i64) {
        let producer = self
            .by_id
            .entry(stamp.producer_id)
            .or_insert_with(|| Producer { epoch: stamp.producer_epoch, batches: VecDeque::new() });
        if producer.epoch != stamp.producer_epoch {
            producer.epoch = stamp.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        let ProducerStamp { first_sequence, last_sequence, .. } = *stamp;
        producer.batches.push_back(Remembered { first_sequence, last_sequence, base_offset, last_offset, timestamp });
    }

    /// Forgets every producer, as a broker does with those that were idle for long (`producer.id.expiration.ms`).
    pub(crate) fn forget_all(&mut self) {
        self.by_id.clear();
    }
}

impl Remembered {
    fn is(&self, stamp: &ProducerStamp) -> bool {
        self.first_sequence == stamp.first_sequence && self.last_sequence == stamp.last_sequence
    }
}

/// The sequence number `increment` after `sequence`: after 2^31 - 1 comes 0.
fn sequence_after(sequence: i32, increment: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(increment);
    (sum % (i64::from(i32::MAX) + 1)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: i16, first: i32, records: i32) -> ProducerStamp {
        ProducerStamp::new(9, epoch, first, records).unwrap()
    }

    /// A producer that has written batches of ten records from sequence 0 on, at the offsets of their sequences.
    fn after(batches: i32) -> Producers {
        let mut producers = Producers::default();
        for batch in 0..batches {
            let first = i64::from(batch * 10);
            producers.remember(&stamp(3, batch * 10, 10), first, first + 9, 0);
        }
        producers
    }

    #[test]
    fn the_next_batch_follows_the_last_one() {
        assert_eq!(after(1).check(&stamp(3, 10, 10)), Verdict::New);
        assert_eq!(after(1).check(&stamp(3, 20, 10)), Verdict::Refused(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(after(1).check(&stamp(3, 5, 10)), Verdict::Refused(ErrorCode::OutOfOrderSequenceNumber));
    }

    #[test]
    fn one_of_the_last_five_batches_is_a_duplicate() {
        let duplicate = Verdict::Duplicate { base_offset: 10, last_offset: 19, timestamp: 0 };
        assert_eq!(after(6).check(&stamp(3, 10, 10)), duplicate);
        assert_eq!(after(6).check(&stamp(3, 0, 10)), Verdict::Refused(ErrorCode::OutOfOrderSequenceNumber));
    }

    #[test]
    fn a_batch_of_other_length_is_no_duplicate() {
        assert_eq!(after(2).check(&stamp(3, 10, 9)), Verdict::Refused(ErrorCode::OutOfOrderSequenceNumber));
    }

    #[test]
    fn an_older_epoch_is_refused_and_a_newer_one_starts_at_zero() {
        assert_eq!(after(1).check(&stamp(2, 10, 10)), Verdict::Refused(ErrorCode::InvalidProducerEpoch));
        assert_eq!(after(1).check(&stamp(4, 10, 10)), Verdict::Refused(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(after(1).check(&stamp(4, 0, 10)), Verdict::New);
    }

    #[test]
    fn an_unknown_producer_may_start_anywhere() {
        assert_eq!(Producers::default().check(&stamp(0, 77, 1)), Verdict::New);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut producers = Producers::default();
        let wrapping = stamp(0, i32::MAX - 1, 4);
        assert_eq!(wrapping.last_sequence, 1);
        producers.remember(&wrapping, 0, 3, 0);
        assert_eq!(producers.check(&stamp(0, 2, 1)), Verdict::New);
    }
}
