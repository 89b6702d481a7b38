//! Where reading starts: an offset, one end of the log, a time, or what `auto.offset.reset` says.
//!
//! What is not an offset yet becomes one by ListOffsets; [`Lookup`] is what is asked there.

use std::fmt;
use std::time::Duration;

use ottla_wire::LeaderEpoch;

/// What to do where a partition has no position, or one that its log does not have (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AutoOffsetReset {
    /// Start at the first record that the log has.
    Earliest,
    /// Start at the end of the log. Kafka's default.
    #[default]
    Latest,
    /// Start at the first record that is younger than this: whose timestamp is at or after now less the duration
    /// (KIP-1106). `now` is the client's clock when it looks the offset up.
    ByDuration(Duration),
    /// Tell the application by an error from poll.
    None,
}

/// What to do where a log was truncated before the position: records that the application has read are gone from it, and
/// others may stand in their places (KIP-320). It happens after an unclean leader election, or where a broker lost its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnTruncation {
    /// Read on where the log parted from what was read; where that cannot be told, do what `auto.offset.reset` says. As Java
    /// does where it has a policy. Where `auto.offset.reset` is none, the application is told instead, as in Java.
    #[default]
    Reset,
    /// Tell the application by [`Error::LogTruncated`](crate::Error::LogTruncated) from poll, again and again until it has sought.
    Tell,
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
    /// The same, where the epoch of the leader is known that wrote the record before it, such as with a committed offset. The
    /// leader is then asked first whether its log still has that record (KIP-320).
    OffsetAndEpoch {
        /// The offset.
        offset: i64,
        /// The leader epoch of the record before it.
        leader_epoch: LeaderEpoch,
    },
    /// The first record that the log has.
    Earliest,
    /// The end of the log.
    Latest,
    /// The first record whose timestamp is this or later, in milliseconds since 1970; the end where there is none.
    Timestamp(i64),
    /// The first record that is not older than this; the end where there is none.
    Ago(Duration),
    /// The offset that the group has committed; where there is none, what `auto.offset.reset` says. The fetcher itself knows
    /// no group: the partition waits for [`FetcherHandle::start_awaited`](crate::FetcherHandle::start_awaited).
    Committed,
}

impl StartAt {
    /// An offset, and the epoch of the record before it, where that is known.
    pub fn offset_and_epoch(offset: i64, leader_epoch: Option<LeaderEpoch>) -> Self {
        leader_epoch.map_or(Self::Offset(offset), |leader_epoch| Self::OffsetAndEpoch { offset, leader_epoch })
    }

    /// The offset, where it is one.
    pub(crate) fn offset(self) -> Option<i64> {
        match self {
            Self::Offset(offset) | Self::OffsetAndEpoch { offset, .. } => Some(offset),
            Self::Reset | Self::Earliest | Self::Latest | Self::Timestamp(_) | Self::Ago(_) | Self::Committed => None,
        }
    }
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
    /// The first record that is not older than this, by the client's clock.
    Ago(Duration),
    /// The record with the greatest timestamp (KIP-734; brokers from 3.0 on).
    MaxTimestamp,
}

impl Lookup {
    /// What stands in the request for it, when the wall clock says `now_ms` (milliseconds since 1970).
    pub(crate) fn timestamp(self, now_ms: i64) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            // A negative time would be taken for one of the above; there are no records before 1970.
            Self::Timestamp(timestamp) => timestamp.max(0),
            Self::Ago(age) => now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)).max(0),
        }
    }

    /// Whether it is by time, so that there may be no record for it.
    pub(crate) fn is_by_time(self) -> bool {
        matches!(self, Self::Timestamp(_) | Self::Ago(_))
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => formatter.write_str("the earliest offset"),
            Self::Latest => formatter.write_str("the latest offset"),
            Self::Timestamp(timestamp) => write!(formatter, "the offset for timestamp {timestamp}"),
            Self::Ago(age) => write!(formatter, "the offset of {age:?} ago"),
            Self::MaxTimestamp => formatter.write_str("the offset of the greatest timestamp"),
        }
    }
}

/// How a start becomes a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It is one.
    At(i64, Option<LeaderEpoch>),
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
            (StartAt::Offset(offset), _) => Self::At(offset, None),
            (StartAt::OffsetAndEpoch { offset, leader_epoch }, _) => Self::At(offset, Some(leader_epoch)),
            (StartAt::Earliest, _) | (StartAt::Reset, AutoOffsetReset::Earliest) => Self::Ask(Lookup::Earliest),
            (StartAt::Latest, _) | (StartAt::Reset, AutoOffsetReset::Latest) => Self::Ask(Lookup::Latest),
            (StartAt::Timestamp(timestamp), _) => Self::Ask(Lookup::Timestamp(timestamp)),
            (StartAt::Ago(age), _) | (StartAt::Reset, AutoOffsetReset::ByDuration(age)) => Self::Ask(Lookup::Ago(age)),
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
            assert_eq!(Start::decide(StartAt::Offset(5), policy), Start::At(5, None));
            let start = StartAt::offset_and_epoch(5, Some(LeaderEpoch(2)));
            assert_eq!(Start::decide(start, policy), Start::At(5, Some(LeaderEpoch(2))));
            assert_eq!(Start::decide(StartAt::Earliest, policy), Start::Ask(Lookup::Earliest));
            assert_eq!(Start::decide(StartAt::Latest, policy), Start::Ask(Lookup::Latest));
            assert_eq!(Start::decide(StartAt::Timestamp(7), policy), Start::Ask(Lookup::Timestamp(7)));
            assert_eq!(Start::decide(StartAt::Committed, policy), Start::Await);
        }
        assert_eq!(Start::decide(StartAt::Reset, AutoOffsetReset::Earliest), Start::Ask(Lookup::Earliest));
        assert_eq!(Start::decide(StartAt::Reset, AutoOffsetReset::Latest), Start::Ask(Lookup::Latest));
        let hour = Duration::from_hours(1);
        assert_eq!(Start::decide(StartAt::Reset, AutoOffsetReset::ByDuration(hour)), Start::Ask(Lookup::Ago(hour)));
        assert_eq!(Start::decide(StartAt::Reset, AutoOffsetReset::None), Start::Refuse);
    }

    #[test]
    fn a_time_before_1970_is_not_taken_for_an_end_of_the_log() {
        assert_eq!(Lookup::Timestamp(-2).timestamp(5000), 0);
        assert_eq!(Lookup::Earliest.timestamp(5000), -2);
        assert_eq!(Lookup::Latest.timestamp(5000), -1);
        assert_eq!(Lookup::MaxTimestamp.timestamp(5000), -3);
        assert_eq!(Lookup::Ago(Duration::from_secs(2)).timestamp(5000), 3000);
        assert_eq!(Lookup::Ago(Duration::MAX).timestamp(5000), 0);
    }
}
