//! What has changed since it was last asked: for the requests that wait, and for the coordinators.

use std::collections::BTreeSet;

use super::PartitionKey;
use crate::group::ReplyId;

/// What a request may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    /// Something happens to a partition.
    Partition(PartitionKey),
    /// A group has the answer.
    Reply(ReplyId),
}

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    awaited: BTreeSet<Awaited>,
    unsettled: BTreeSet<PartitionKey>,
}

impl Changes {
    /// Something has happened to a partition.
    pub(super) fn insert(&mut self, key: PartitionKey) {
        self.awaited.insert(Awaited::Partition(key));
        self.unsettled.insert(key);
    }

    /// A group has an answer.
    pub(super) fn insert_reply(&mut self, id: ReplyId) {
        self.awaited.insert(Awaited::Reply(id));
    }

    /// What requests have to be looked at for.
    pub(super) fn take(&mut self) -> BTreeSet<Awaited> {
        std::mem::take(&mut self.awaited)
    }

    /// The next partition whose coordinator has to look at it.
    pub(super) fn next_unsettled(&mut self) -> Option<PartitionKey> {
        self.unsettled.pop_first()
    }
}
