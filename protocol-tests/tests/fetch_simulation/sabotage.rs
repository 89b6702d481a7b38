//! Ways to break a promise, each of which the checker has to notice.

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A batch is handed out twice.
    HandOutTwice,
    /// A batch is handed out to nobody.
    SkipBatch,
    /// What was handed out before a seek is handed out again after it.
    HandOutAfterSeek,
    /// What was handed out before a pause is handed out again during it.
    HandOutWhilePaused,
    /// A byte of a record is another.
    DamageRecord,
    /// A reader stops reading when nothing goes wrong any more.
    Stall,
    /// More memory is held than is told.
    HoldTooMuch,
    /// No broker says under which leader what was written, so that nobody can see that a log was cut and written anew.
    HideLeaderEpochs,
    /// A task outlives the consumer.
    LeakTask,
}
