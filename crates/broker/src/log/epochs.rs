//! Which leader wrote which offsets (KIP-101, KIP-279): the start of every leader epoch that the log knows.

/// The leader epochs of a log, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaderEpochs {
    /// (epoch, first offset written in it); both ascend.
    starts: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    /// Notes that from `start` on `epoch` writes. An epoch that is not newer than the latest changes nothing.
    pub(crate) fn assign(&mut self, epoch: i32, start: i64) {
        if self.starts.last().is_some_and(|(latest, _)| *latest >= epoch) {
            return;
        }
        // An epoch in which nothing was written leaves no trace, as in Kafka.
        while self.starts.last().is_some_and(|(_, offset)| *offset >= start) {
            self.starts.pop();
        }
        self.starts.push((epoch, start));
    }

    /// Forgets what was written at or after `end`.
    pub(crate) fn truncate(&mut self, end: i64) {
        self.starts.retain(|(_, start)| *start < end);
    }

    /// Where `epoch` ended, and the epoch that wrote up to there: `epoch` itself, or the next older one that the log
    /// knows. `None` where `epoch` is newer than all that the log knows.
    pub(crate) fn end_of(&self, epoch: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        let (latest, _) = *self.starts.last()?;
        if epoch == latest {
            return Some((epoch, log_end_offset));
        }
        let after = self.starts.partition_point(|(known, _)| *known <= epoch);
        let (_, end) = *self.starts.get(after)?;
        let floor = after.checked_sub(1).and_then(|index| self.starts.get(index));
        Some((floor.map_or(epoch, |(known, _)| *known), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        epochs.assign(0, 0);
        epochs.assign(2, 10);
        epochs.assign(5, 20);
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_known_one_starts() {
        assert_eq!(epochs().end_of(0, 30), Some((0, 10)));
        assert_eq!(epochs().end_of(2, 30), Some((2, 20)));
        assert_eq!(epochs().end_of(5, 30), Some((5, 30)));
    }

    #[test]
    fn an_epoch_that_wrote_nothing_is_answered_by_the_one_before() {
        assert_eq!(epochs().end_of(3, 30), Some((2, 20)));
    }

    #[test]
    fn an_epoch_of_the_future_is_not_answered() {
        assert_eq!(epochs().end_of(6, 30), None);
    }

    #[test]
    fn truncation_forgets_the_epochs_behind_it() {
        let mut epochs = epochs();
        epochs.truncate(20);
        assert_eq!(epochs.end_of(2, 20), Some((2, 20)));
    }

    #[test]
    fn an_epoch_without_records_is_replaced_by_the_next() {
        let mut epochs = epochs();
        epochs.assign(6, 30);
        epochs.assign(7, 30);
        assert_eq!(epochs.end_of(6, 40), Some((5, 30)));
    }
}
