//! Where reading starts: an offset, one end of the log, a time, or what `auto.offset.reset` says.
//!
//! What is not an offset yet becomes one by ListOffsets; [`Lookup`] is what is asked there.

use std::fmt;

/// What to do where a partition has no position, or one that its log does not have (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AutoOffsetReset {
    /// Start at the first record that the log has.
    Earliest,
    /// Start at the end of the log. Kafka's default.
    #[default]
    Latest,
    /// Tell the application by an error from poll.
    None,
}

/// Where a partition is to be read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartAt {
    /// What `auto.offset.reset` says.
    #[default]
    Reset,
    /// The record with this offset. Where the log does not have it, what `auto.offset.reset` says.
    Offset(i64),
    /// The first record that the log has.
    Earliest,
    /// The end of the log.
    Latest,
    /// The first record whose timestamp is this or later, in milliseconds since 1970; the end where there is none.
    Timestamp(i64),
    /// The offset that the group has committed; where there is none, what `auto.offset.reset` says. The fetcher itself knows
    /// no group: the partition waits for [`FetcherHandle::start_awaited`](crate::FetcherHandle::start_awaited).
    Committed,
}

/// What ListOffsets can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// The first offset that the log has.
    Earliest,
    /// The offset after the last one: under read_committed, after the last stable one.
    Latest,
    /// The first record whose timestamp is this or later, in milliseconds since 1970.
    Timestamp(i64),
    /// The record with the greatest timestamp (KIP-734; brokers from 3.0 on).
    MaxTimestamp,
}

impl Lookup {
    /// What stands in the request for it.
    pub fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            // A negative time would be taken for one of the above; there are no records before 1970.
            Self::Timestamp(timestamp) => timestamp.max(0),
        }
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => formatter.write_str("the earliest offset"),
            Self::Latest => formatter.write_str("the latest offset"),
            Self::Timestamp(timestamp) => write!(formatter, "the offset for timestamp {timestamp}"),
            Self::MaxTimestamp => formatter.write_str("the offset of the greatest timestamp"),
        }
    }
}

/// How a start becomes a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It is one.
    At(i64),
    /// By asking.
    Ask(Lookup),
    /// Somebody else finds out.
    Await,
    /// Not at all: the policy is to say so.
    Refuse,
}

impl Start {
    /// Decides for `at` under `policy`.
    pub(crate) fn decide(at: StartAt, policy: AutoOffsetReset) -> Self {
        match (at, policy) {
            (StartAt::Offset(offset), _) => Self::At(offset),
            (StartAt::Earliest, _) | (StartAt::Reset, AutoOffsetReset::Earliest) => Self::Ask(Lookup::Earliest),
            (StartAt::Latest, _) | (StartAt::Reset, AutoOffsetReset::Latest) => Self::Ask(Lookup::Latest),
            (StartAt::Timestamp(timestamp), _) => Self::Ask(Lookup::Timestamp(timestamp)),
            (StartAt::Committed, _) => Self::Await,
            (StartAt::Reset, AutoOffsetReset::None) => Self::Refuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_decides_only_where_no_start_was_given() {
        for policy in [AutoOffsetReset::Earliest, AutoOffsetReset::Latest, AutoOffsetReset::None] {
            assert_eq!(Start::decide(StartAt::Offset(5), policy), Start::At(5));
            assert_eq!(Start::decide(StartAt::Earliest, policy), Start::Ask(Lookup::Earliest));
            assert_eq!(Start::decide(StartAt::Latest, policy), Start::Ask(Lookup::Latest));
            assert_eq!(Start::decide(StartAt::Timestamp(7), policy), Start::Ask(Lookup::Timestamp(7)));
            assert_eq!(Start::decide(StartAt::Committed, policy), Start::Await);
        }
        assert_eq!(Start::decide(StartAt::Reset, AutoOffsetReset::Earliest), Start::Ask(Lookup::Earliest));
        assert_eq!(Start::decide(StartAt::Reset, AutoOffsetReset::Latest), Start::Ask(Lookup::Latest));
        assert_eq!(Start::decide(StartAt::Reset, AutoOffsetReset::None), Start::Refuse);
    }

    #[test]
    fn a_time_before_1970_is_not_taken_for_an_end_of_the_log() {
        assert_eq!(Lookup::Timestamp(-2).timestamp(), 0);
        assert_eq!(Lookup::Earliest.timestamp(), -2);
        assert_eq!(Lookup::Latest.timestamp(), -1);
        assert_eq!(Lookup::MaxTimestamp.timestamp(), -3);
    }
}
