//! Room for a batch that becomes more than there is memory for.
//!
//! [`Budget`](crate::budget::Budget) keeps as much free as batches have lately become, so this is rare: the first large batch
//! after many small ones, or an application that holds what it was handed out. What is done, in this order, until the
//! batch can be opened:
//!
//! 1. No more answers are read into what is given back.
//! 2. What else is buffered is dropped, and fetched again: memory before waste.
//! 3. Answers that are being read are waited for, and dropped likewise.
//! 4. What the application holds is waited for; it is told if that does not end.
//! 5. With nothing else in memory the batch may go beyond the bound, alone.

use crate::fetcher::Shared;

/// Whether a batch waits for room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    is_lacking: bool,
}

impl Room {
    /// There was no memory for the batch that is the first of what is buffered. Says whether it is to be tried again at once;
    /// otherwise when memory is given back or an answer has come.
    pub(crate) fn make(&mut self, shared: &Shared) -> bool {
        self.is_lacking = true;
        shared.pool.batch_waits();
        if shared.give_up_all_but_first() {
            return true;
        }
        let usage = shared.pool.usage();
        let is_alone = usage.reading == 0 && usage.held() == 0;
        if is_alone {
            shared.pool.batch_is_alone();
        }
        is_alone
    }

    /// What waited has been opened, or is not wanted any more.
    pub(crate) fn made(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.is_lacking) {
            shared.pool.batch_was_opened();
        }
    }

    pub(crate) fn is_lacking(&self) -> bool {
        self.is_lacking
    }
}
