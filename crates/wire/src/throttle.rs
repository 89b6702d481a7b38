//! How long an answer asks the client to be quiet (KIP-124, KIP-219).
//!
//! Where a client has used up its quota, a broker says in its answer for how long it will not be heard. Up to a version of
//! each API it has waited that long itself before it answered, and nothing is left to do; from the next on it answers at
//! once, and it is for the client not to send anything on that connection meanwhile. The broker does not read it.

use std::time::Duration;

use bytes::Bytes;

use crate::{ApiKey, Message, Reader, ResponseHeader};

impl ApiKey {
    /// Whether a throttle time in an answer of that version is the client's to wait.
    pub fn is_throttled_by_client(self, version: i16) -> bool {
        let since = match self {
            Self::Produce | Self::Metadata => 6,
            Self::Fetch => 8,
            Self::OffsetCommit | Self::OffsetFetch => 4,
            Self::ListOffsets | Self::JoinGroup | Self::CreateTopics => 3,
            Self::FindCoordinator
            | Self::Heartbeat
            | Self::LeaveGroup
            | Self::SyncGroup
            | Self::ApiVersions
            | Self::DeleteTopics
            | Self::DescribeConfigs => 2,
            Self::InitProducerId | Self::CreatePartitions => 1,
            _ => return false,
        };
        version >= since
    }
}

/// A throttle time as it stands in an answer. No number keeps a client from a broker for more than a minute.
pub fn throttle_duration(throttle_time_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(throttle_time_ms).unwrap_or(0)).min(Duration::from_mins(1))
}

/// How long the answer in `frame`, a response `M` of that version, asks the client to be quiet; zero: not at all.
///
/// The body is not looked at beyond its first field. Produce and ApiVersions say it at their end, so that theirs is not
/// found here, but by those who decode them.
pub fn throttle_time<M: Message>(frame: &Bytes, version: i16) -> Duration {
    let is_first = !matches!(M::API_KEY, ApiKey::Produce | ApiKey::ApiVersions);
    if !is_first || !M::API_KEY.is_throttled_by_client(version) {
        return Duration::ZERO;
    }
    let mut reader = Reader::new(frame.clone());
    let header = ResponseHeader::read(&mut reader, ResponseHeader::is_flexible::<M>(version));
    // One that cannot be read is for whoever decodes the whole.
    throttle_duration(header.and_then(|_| reader.i32()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode_response;
    use crate::messages::{
        FetchResponse, FindCoordinatorResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse,
        ListOffsetsResponse, MetadataResponse, OffsetCommitResponse, OffsetFetchResponse, ProduceResponse,
        SyncGroupResponse,
    };

    fn asked_of<M: Message>(response: &M, version: i16) -> Duration {
        let frame = Bytes::from(encode_response(response, version, 7).unwrap().segments.concat());
        throttle_time::<M>(&frame.slice(4..), version)
    }

    fn check<M: Message>(since: i16, response: &M) {
        for version in M::VERSIONS.min..=M::VERSIONS.max {
            let expected = if version >= since { ASKED } else { Duration::ZERO };
            assert_eq!(asked_of(response, version), expected, "{} {version}", M::NAME);
        }
    }

    const ASKED: Duration = Duration::from_millis(1500);

    #[test]
    fn it_is_found_in_each_version_in_which_it_is_the_clients() {
        let throttle_time_ms = 1500;
        // Older versions have no way to say that there is no protocol.
        let protocol_name = Some(String::new());
        check(8, &FetchResponse { throttle_time_ms, ..Default::default() });
        check(3, &ListOffsetsResponse { throttle_time_ms, ..Default::default() });
        check(6, &MetadataResponse { throttle_time_ms, ..Default::default() });
        check(4, &OffsetCommitResponse { throttle_time_ms, ..Default::default() });
        check(4, &OffsetFetchResponse { throttle_time_ms, ..Default::default() });
        check(2, &FindCoordinatorResponse { throttle_time_ms, ..Default::default() });
        check(3, &JoinGroupResponse { throttle_time_ms, protocol_name, ..Default::default() });
        check(2, &HeartbeatResponse { throttle_time_ms, ..Default::default() });
        check(2, &LeaveGroupResponse { throttle_time_ms, ..Default::default() });
        check(2, &SyncGroupResponse { throttle_time_ms, ..Default::default() });
    }

    #[test]
    fn what_stands_elsewhere_or_is_no_time_asks_for_nothing() {
        assert_eq!(asked_of(&ProduceResponse { throttle_time_ms: 1500, ..Default::default() }, 9), Duration::ZERO);
        assert_eq!(asked_of(&HeartbeatResponse { throttle_time_ms: -1, ..Default::default() }, 4), Duration::ZERO);
        assert_eq!(throttle_time::<HeartbeatResponse>(&Bytes::from_static(&[0, 0]), 4), Duration::ZERO);
    }

    #[test]
    fn no_broker_has_its_quiet_for_longer_than_a_minute() {
        let longest = HeartbeatResponse { throttle_time_ms: i32::MAX, ..Default::default() };
        assert_eq!(asked_of(&longest, 4), Duration::from_mins(1));
    }
}
