//! What a reader sees of what it is handed.

use ottla::{Batch, TopicPartition};

use super::{Reader, lock};
use crate::history::{Event, LogName, Stretch};
use crate::sabotage::Sabotage;
use crate::values;

impl Reader {
    /// Goes through a batch, all of it, and writes down what it is.
    pub(super) fn see(&self, batch: &Batch) {
        let times = self.misbehave(batch);
        for _ in 0..times {
            self.look_through(batch);
        }
    }

    fn look_through(&self, batch: &Batch) {
        let partition = batch.topic_partition();
        let mut expected = batch.start_offset();
        for record in batch.records() {
            match record {
                Ok(record) => {
                    self.see_record(partition, record.offset(), record.value());
                    expected = record.offset() + 1;
                }
                Err(error) => self.damaged(partition, error.offset, error.to_string()),
            }
        }
        if expected != batch.next_offset() {
            let what = format!("the batch ends at {expected}, and says {}", batch.next_offset());
            self.damaged(partition, expected, what);
        }
    }

    /// Writes down a record: with those before it, where it follows them.
    pub(super) fn see_record(&self, partition: &TopicPartition, offset: i64, value: Option<&[u8]>) {
        let mut value = value.unwrap_or_default().to_vec();
        if self.sabotage == Some(Sabotage::DamageRecord)
            && let Some(last) = value.last_mut()
        {
            *last ^= 1;
        }
        match values::read(&value) {
            Some(said) if said.partition == partition.partition => {
                let log = LogName { partition: partition.clone(), incarnation: said.incarnation };
                self.handed(log, Stretch { offset, number: said.number, count: 1 });
                lock(&self.last).insert(partition.clone(), said.number);
            }
            said => self.damaged(partition, offset, format!("it says {said:?}")),
        }
    }

    /// In one event with the record before it, where that was handed out in the same breath.
    fn handed(&self, log: LogName, stretch: Stretch) {
        let follows = |event: &mut Event| match event {
            Event::Handed { name, log: before, stretch: last } if *name == self.name && *before == log => {
                let follows = last.followed_by(stretch);
                last.count += u64::from(follows);
                follows
            }
            _ => false,
        };
        if !self.history.add_to_last(follows) {
            self.history.record(Event::Handed { name: self.name, log, stretch });
        }
    }

    fn damaged(&self, partition: &TopicPartition, offset: i64, what: String) {
        let (name, partition) = (self.name, partition.clone());
        self.history.record(Event::Damaged { name, partition, offset, what });
    }

    /// What a broken application, or a broken consumer under it, shows before a batch; and how often it shows that.
    fn misbehave(&self, batch: &Batch) -> u32 {
        let Some(sabotage) = self.sabotage else { return 1 };
        let mut kept = lock(&self.kept);
        let is_wrong = |kept: &mut Batch| match sabotage {
            Sabotage::HandOutAfterSeek => {
                kept.topic_partition() == batch.topic_partition() && kept.next_offset() != batch.start_offset()
            }
            Sabotage::HandOutWhilePaused => self.handle.paused().contains(kept.topic_partition()),
            _ => false,
        };
        if let Some(kept) = kept.take_if(is_wrong) {
            self.look_through(&kept);
        }
        kept.get_or_insert_with(|| batch.clone());
        if sabotage == Sabotage::HandOutAfterSeek {
            *kept = Some(batch.clone());
        }
        let is_chosen = lock(&self.random).u32(0..5) == 0;
        match sabotage {
            Sabotage::HandOutTwice if is_chosen => 2,
            Sabotage::SkipBatch if is_chosen => 0,
            _ => 1,
        }
    }

    /// After all that it was handed of a partition, the consumer's position is behind that.
    pub(super) fn compare_position(&self, partition: &TopicPartition, expected: i64) {
        let said = self.handle.position_now(partition).ok().flatten();
        if said != Some(expected) {
            let (name, partition) = (self.name, partition.clone());
            self.history.record(Event::Misplaced { name, partition, expected, said });
        }
    }
}
