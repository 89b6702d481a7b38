//! Every message that the `kafka-protocol` crate has, behind the guard: for fuzzing, and for tests in which that crate
//! is the second opinion on the messages written by hand.

use bytes::Bytes;
use kafka_protocol::messages as kafka;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message};

use crate::guard::{self, ByteFields};
use crate::{DecodeError, EncodeError, VersionRange};

/// Whether a message asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Direction {
    /// It asks.
    Request,
    /// It answers.
    Response,
}

/// A message of any kind.
#[derive(Debug)]
pub struct AnyMessage {
    message: Box<dyn Erased>,
    name: &'static str,
}

impl AnyMessage {
    /// Reads `body`, which is the whole rest of a frame, behind the guard. Flexible versions only.
    pub fn decode(
        api_key: i16,
        direction: Direction,
        version: i16,
        body: Bytes,
        limit: usize,
    ) -> Result<Self, DecodeError> {
        let kind = kind(api_key, direction, version)?;
        if !kind.flexible_versions.contains(version) {
            return Err(DecodeError::UnknownVersion { message: kind.name, version });
        }
        (kind.decode)(kind.name, body, version, limit)
    }

    /// Reads `body` without the guard, in any version: for bytes that a test has made itself.
    pub fn decode_trusted(api_key: i16, direction: Direction, version: i16, body: Bytes) -> Result<Self, DecodeError> {
        let kind = kind(api_key, direction, version)?;
        (kind.decode_trusted)(kind.name, body, version)
    }

    /// Its bytes.
    pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        self.message.encode(self.name, version)
    }
}

/// The numbers of all APIs that the crate has, in order.
pub const API_KEYS: &[i16] = KEYS;

/// The versions of an API that the crate has, `None` where it does not have the API.
pub fn versions(api_key: i16) -> Option<VersionRange> {
    find(api_key, Direction::Request).map(|kind| kind.versions)
}

/// The flexible ones among them, empty where there are none.
pub fn flexible_versions(api_key: i16) -> Option<VersionRange> {
    find(api_key, Direction::Request).map(|kind| kind.flexible_versions)
}

trait Erased: std::fmt::Debug + Send {
    fn encode(&self, name: &'static str, version: i16) -> Result<Bytes, EncodeError>;
}

impl<M: Encodable + std::fmt::Debug + Send> Erased for M {
    fn encode(&self, name: &'static str, version: i16) -> Result<Bytes, EncodeError> {
        guard::encode(name, self, version)
    }
}

/// One kind of message.
struct Kind {
    name: &'static str,
    versions: VersionRange,
    flexible_versions: VersionRange,
    decode: fn(&'static str, Bytes, i16, usize) -> Result<AnyMessage, DecodeError>,
    decode_trusted: fn(&'static str, Bytes, i16) -> Result<AnyMessage, DecodeError>,
}

fn kind(api_key: i16, direction: Direction, version: i16) -> Result<Kind, DecodeError> {
    find(api_key, direction).ok_or(DecodeError::UnknownVersion { message: "an API that kafka-protocol lacks", version })
}

/// `R` is the request of the API: its header tells which versions are flexible, for its response, too.
fn kind_of<M, R>(name: &'static str, byte_fields: ByteFields) -> Kind
where
    M: Decodable + Encodable + std::fmt::Debug + Send + 'static,
    R: Message + HeaderVersion,
{
    let versions = VersionRange::new(R::VERSIONS.min, R::VERSIONS.max);
    let first_flexible = (versions.min..=versions.max).find(|&version| R::header_version(version) >= 2);
    let flexible_versions = versions.at_least(first_flexible.unwrap_or(i16::MAX));
    let decode = match byte_fields {
        ByteFields::Large => decode::<M, true>,
        ByteFields::Small => decode::<M, false>,
    };
    Kind { name, versions, flexible_versions, decode, decode_trusted: decode_trusted::<M> }
}

fn decode<M, const LARGE_BYTE_FIELDS: bool>(
    name: &'static str,
    body: Bytes,
    version: i16,
    limit: usize,
) -> Result<AnyMessage, DecodeError>
where
    M: Decodable + Encodable + std::fmt::Debug + Send + 'static,
{
    let byte_fields = if LARGE_BYTE_FIELDS { ByteFields::Large } else { ByteFields::Small };
    let length = body.len();
    let (message, read): (M, usize) = guard::decode(name, body, version, byte_fields, limit)?;
    whole(name, message, length - read)
}

fn decode_trusted<M>(name: &'static str, mut body: Bytes, version: i16) -> Result<AnyMessage, DecodeError>
where
    M: Decodable + Encodable + std::fmt::Debug + Send + 'static,
{
    match M::decode(&mut body, version) {
        Ok(message) => whole(name, message, body.len()),
        Err(error) => Err(DecodeError::Guarded { message: name, reason: format!("{error:#}") }),
    }
}

fn whole<M: Erased + 'static>(name: &'static str, message: M, left_over: usize) -> Result<AnyMessage, DecodeError> {
    match left_over {
        0 => Ok(AnyMessage { message: Box::new(message), name }),
        _ => Err(DecodeError::TrailingBytes { message: name, left_over }),
    }
}

macro_rules! kinds {
    ($($key:literal $request:ident $response:ident $byte_fields:ident,)*) => {
        const KEYS: &[i16] = &[$($key,)*];

        fn find(api_key: i16, direction: Direction) -> Option<Kind> {
            match (api_key, direction) {
                $(($key, Direction::Request) => Some(kind_of::<kafka::$request, kafka::$request>(
                    stringify!($request),
                    ByteFields::$byte_fields,
                )),
                ($key, Direction::Response) => Some(kind_of::<kafka::$response, kafka::$request>(
                    stringify!($response),
                    ByteFields::$byte_fields,
                )),)*
                _ => None,
            }
        }
    };
}

kinds! {
    0 ProduceRequest ProduceResponse Large,
    1 FetchRequest FetchResponse Large,
    2 ListOffsetsRequest ListOffsetsResponse Small,
    3 MetadataRequest MetadataResponse Small,
    8 OffsetCommitRequest OffsetCommitResponse Small,
    9 OffsetFetchRequest OffsetFetchResponse Small,
    10 FindCoordinatorRequest FindCoordinatorResponse Small,
    11 JoinGroupRequest JoinGroupResponse Large,
    12 HeartbeatRequest HeartbeatResponse Small,
    13 LeaveGroupRequest LeaveGroupResponse Small,
    14 SyncGroupRequest SyncGroupResponse Large,
    15 DescribeGroupsRequest DescribeGroupsResponse Large,
    16 ListGroupsRequest ListGroupsResponse Small,
    17 SaslHandshakeRequest SaslHandshakeResponse Small,
    18 ApiVersionsRequest ApiVersionsResponse Small,
    19 CreateTopicsRequest CreateTopicsResponse Small,
    20 DeleteTopicsRequest DeleteTopicsResponse Small,
    21 DeleteRecordsRequest DeleteRecordsResponse Small,
    22 InitProducerIdRequest InitProducerIdResponse Small,
    23 OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse Small,
    24 AddPartitionsToTxnRequest AddPartitionsToTxnResponse Small,
    25 AddOffsetsToTxnRequest AddOffsetsToTxnResponse Small,
    26 EndTxnRequest EndTxnResponse Small,
    27 WriteTxnMarkersRequest WriteTxnMarkersResponse Small,
    28 TxnOffsetCommitRequest TxnOffsetCommitResponse Small,
    29 DescribeAclsRequest DescribeAclsResponse Small,
    30 CreateAclsRequest CreateAclsResponse Small,
    31 DeleteAclsRequest DeleteAclsResponse Small,
    32 DescribeConfigsRequest DescribeConfigsResponse Small,
    33 AlterConfigsRequest AlterConfigsResponse Small,
    34 AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse Small,
    35 DescribeLogDirsRequest DescribeLogDirsResponse Small,
    36 SaslAuthenticateRequest SaslAuthenticateResponse Large,
    37 CreatePartitionsRequest CreatePartitionsResponse Small,
    38 CreateDelegationTokenRequest CreateDelegationTokenResponse Small,
    39 RenewDelegationTokenRequest RenewDelegationTokenResponse Small,
    40 ExpireDelegationTokenRequest ExpireDelegationTokenResponse Small,
    41 DescribeDelegationTokenRequest DescribeDelegationTokenResponse Small,
    42 DeleteGroupsRequest DeleteGroupsResponse Small,
    43 ElectLeadersRequest ElectLeadersResponse Small,
    44 IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse Small,
    45 AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse Small,
    46 ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse Small,
    47 OffsetDeleteRequest OffsetDeleteResponse Small,
    48 DescribeClientQuotasRequest DescribeClientQuotasResponse Small,
    49 AlterClientQuotasRequest AlterClientQuotasResponse Small,
    50 DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse Small,
    51 AlterUserScramCredentialsRequest AlterUserScramCredentialsResponse Small,
    52 VoteRequest VoteResponse Small,
    53 BeginQuorumEpochRequest BeginQuorumEpochResponse Small,
    54 EndQuorumEpochRequest EndQuorumEpochResponse Small,
    55 DescribeQuorumRequest DescribeQuorumResponse Small,
    56 AlterPartitionRequest AlterPartitionResponse Small,
    57 UpdateFeaturesRequest UpdateFeaturesResponse Small,
    58 EnvelopeRequest EnvelopeResponse Large,
    59 FetchSnapshotRequest FetchSnapshotResponse Large,
    60 DescribeClusterRequest DescribeClusterResponse Small,
    61 DescribeProducersRequest DescribeProducersResponse Small,
    62 BrokerRegistrationRequest BrokerRegistrationResponse Small,
    63 BrokerHeartbeatRequest BrokerHeartbeatResponse Small,
    64 UnregisterBrokerRequest UnregisterBrokerResponse Small,
    65 DescribeTransactionsRequest DescribeTransactionsResponse Small,
    66 ListTransactionsRequest ListTransactionsResponse Small,
    67 AllocateProducerIdsRequest AllocateProducerIdsResponse Small,
    68 ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse Small,
    69 ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse Small,
    70 ControllerRegistrationRequest ControllerRegistrationResponse Small,
    71 GetTelemetrySubscriptionsRequest GetTelemetrySubscriptionsResponse Small,
    72 PushTelemetryRequest PushTelemetryResponse Large,
    73 AssignReplicasToDirsRequest AssignReplicasToDirsResponse Small,
    74 ListConfigResourcesRequest ListConfigResourcesResponse Small,
    75 DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse Small,
    76 ShareGroupHeartbeatRequest ShareGroupHeartbeatResponse Small,
    77 ShareGroupDescribeRequest ShareGroupDescribeResponse Small,
    78 ShareFetchRequest ShareFetchResponse Large,
    79 ShareAcknowledgeRequest ShareAcknowledgeResponse Small,
    80 AddRaftVoterRequest AddRaftVoterResponse Small,
    81 RemoveRaftVoterRequest RemoveRaftVoterResponse Small,
    82 UpdateRaftVoterRequest UpdateRaftVoterResponse Small,
    83 InitializeShareGroupStateRequest InitializeShareGroupStateResponse Small,
    84 ReadShareGroupStateRequest ReadShareGroupStateResponse Small,
    85 WriteShareGroupStateRequest WriteShareGroupStateResponse Small,
    86 DeleteShareGroupStateRequest DeleteShareGroupStateResponse Small,
    87 ReadShareGroupStateSummaryRequest ReadShareGroupStateSummaryResponse Small,
    90 DescribeShareGroupOffsetsRequest DescribeShareGroupOffsetsResponse Small,
    91 AlterShareGroupOffsetsRequest AlterShareGroupOffsetsResponse Small,
    92 DeleteShareGroupOffsetsRequest DeleteShareGroupOffsetsResponse Small,
}
