//! APIs, their versions, and the trait that ties a request to its response.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{RangeFrom, RangeInclusive};

use crate::messages::ApiVersionsResponse;
use crate::{DecodeError, EncodeError, Encoding, Reader, Writer};

macro_rules! api_keys {
    ($($name:ident = $key:literal,)*) => {
        /// An API of the Kafka protocol, by its number there.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(i16)]
        #[allow(missing_docs, reason = "the names are Kafka's, and the protocol guide describes each")]
        pub enum ApiKey { $($name = $key,)* }

        impl ApiKey {
            /// Every API known here.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The API of that number, if it is known here.
            pub fn from_number(number: i16) -> Option<Self> {
                match number { $($key => Some(Self::$name),)* _ => None }
            }
        }
    };
}

api_keys! {
    Produce = 0, Fetch = 1, ListOffsets = 2, Metadata = 3, OffsetCommit = 8, OffsetFetch = 9, FindCoordinator = 10,
    JoinGroup = 11, Heartbeat = 12, LeaveGroup = 13, SyncGroup = 14, DescribeGroups = 15, ListGroups = 16,
    SaslHandshake = 17, ApiVersions = 18, CreateTopics = 19, DeleteTopics = 20, DeleteRecords = 21, InitProducerId = 22,
    OffsetForLeaderEpoch = 23, AddPartitionsToTxn = 24, AddOffsetsToTxn = 25, EndTxn = 26, WriteTxnMarkers = 27,
    TxnOffsetCommit = 28, DescribeAcls = 29, CreateAcls = 30, DeleteAcls = 31, DescribeConfigs = 32, AlterConfigs = 33,
    AlterReplicaLogDirs = 34, DescribeLogDirs = 35, SaslAuthenticate = 36, CreatePartitions = 37,
    CreateDelegationToken = 38, RenewDelegationToken = 39, ExpireDelegationToken = 40, DescribeDelegationToken = 41,
    DeleteGroups = 42, ElectLeaders = 43, IncrementalAlterConfigs = 44, AlterPartitionReassignments = 45,
    ListPartitionReassignments = 46, OffsetDelete = 47, DescribeClientQuotas = 48, AlterClientQuotas = 49,
    DescribeUserScramCredentials = 50, AlterUserScramCredentials = 51, DescribeQuorum = 55, UpdateFeatures = 57,
    DescribeCluster = 60, DescribeProducers = 61, UnregisterBroker = 64, DescribeTransactions = 65,
    ListTransactions = 66, ConsumerGroupHeartbeat = 68, ConsumerGroupDescribe = 69, GetTelemetrySubscriptions = 71,
    PushTelemetry = 72, ListConfigResources = 74, DescribeTopicPartitions = 75,
}

impl ApiKey {
    /// Its number on the wire.
    pub fn number(self) -> i16 {
        self as i16
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// The versions from `min` to `max`, both included. Empty where `min` is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a range is its two ends")]
pub struct VersionRange {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl VersionRange {
    /// From `min` to `max`.
    pub const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }

    /// Whether it has no version at all.
    pub const fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// Whether the range has that version.
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The versions in both.
    pub fn intersect(self, other: Self) -> Self {
        Self { min: self.min.max(other.min), max: self.max.min(other.max) }
    }

    /// Without the versions above `max`.
    pub fn at_most(self, max: i16) -> Self {
        Self { max: self.max.min(max), ..self }
    }

    /// Without the versions below `min`.
    pub fn at_least(self, min: i16) -> Self {
        Self { min: self.min.max(min), ..self }
    }
}

impl From<RangeFrom<i16>> for VersionRange {
    fn from(range: RangeFrom<i16>) -> Self {
        Self::new(range.start, i16::MAX)
    }
}

impl From<RangeInclusive<i16>> for VersionRange {
    fn from(range: RangeInclusive<i16>) -> Self {
        Self::new(*range.start(), *range.end())
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} to {}", self.min, self.max)
    }
}

/// The body of a request or a response.
pub trait Message: Sized + Send + 'static {
    /// Its name, for errors.
    const NAME: &'static str;
    /// Its API.
    const API_KEY: ApiKey;
    /// The versions implemented here.
    const VERSIONS: VersionRange;

    /// Whether a version is flexible.
    fn encoding(version: i16) -> Encoding;

    /// Reads the body, up to its last field. Use [`decode`](Self::decode), which checks the version and what is left.
    fn read_body(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes the body. Use [`encode`](Self::encode), which checks the version.
    fn write_body(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Reads the body, which is the whole rest of the frame.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(DecodeError::UnknownVersion { message: Self::NAME, version });
        }
        let message = Self::read_body(reader, version)?;
        match reader.remaining() {
            0 => Ok(message),
            left_over => Err(DecodeError::TrailingBytes { message: Self::NAME, left_over }),
        }
    }

    /// Writes the body.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(EncodeError::UnknownVersion { message: Self::NAME, version });
        }
        self.write_body(writer, version)
    }
}

/// A request: what it is answered with, and which of its versions can carry what it holds.
pub trait Request: Message + Sync {
    /// What it is answered with.
    type Response: Message;

    /// The versions that can carry this very request. Fewer than [`Message::VERSIONS`] where a version needs what is
    /// not known (topic ids) or would lose what is set. Empty where no version can carry all that is set.
    fn usable_versions(&self) -> VersionRange {
        Self::VERSIONS
    }
}

/// A request that is to be asked in certain versions only, for a reason that it does not carry itself: an incremental
/// fetch session, say, goes on in the versions in which it began, even when a request of it names no topic.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "a request and its versions")]
pub struct Within<R> {
    /// The request.
    pub request: R,
    /// The versions.
    pub versions: VersionRange,
}

impl<R: Message> Message for Within<R> {
    const NAME: &'static str = R::NAME;
    const API_KEY: ApiKey = R::API_KEY;
    const VERSIONS: VersionRange = R::VERSIONS;

    fn encoding(version: i16) -> Encoding {
        R::encoding(version)
    }

    fn read_body(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        Ok(Self { request: R::read_body(reader, version)?, versions: R::VERSIONS })
    }

    fn write_body(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        self.request.write_body(writer, version)
    }
}

impl<R: Request> Request for Within<R> {
    type Response = R::Response;

    fn usable_versions(&self) -> VersionRange {
        self.request.usable_versions().intersect(self.versions)
    }
}

/// The broker speaks no version of an API that would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", refusal(*.api, *.usable, *.broker))]
#[non_exhaustive]
pub struct UnsupportedVersion {
    /// The API.
    pub api: ApiKey,
    /// What would do; empty where the request holds what no one version can carry.
    pub usable: VersionRange,
    /// What the broker speaks, `None` where it does not have the API.
    pub broker: Option<VersionRange>,
}

fn refusal(api: ApiKey, usable: VersionRange, broker: Option<VersionRange>) -> String {
    match broker {
        _ if usable.is_empty() => format!("no version of {api} can carry all that the request holds"),
        None => format!("{api} is needed in version {usable}, which the broker does not have"),
        Some(range) => format!("{api} is needed in version {usable}, the broker speaks {range}"),
    }
}

/// What one broker speaks, as its ApiVersions response said. Negotiated per connection: a cluster may be half upgraded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerVersions {
    ranges: BTreeMap<i16, VersionRange>,
}

impl BrokerVersions {
    /// What `response` lists.
    pub fn from_response(response: &ApiVersionsResponse) -> Self {
        let range = |api: &crate::messages::ApiVersion| VersionRange::new(api.min_version, api.max_version);
        Self { ranges: response.api_keys.iter().map(|api| (api.api_key, range(api))).collect() }
    }

    /// The versions of an API that the broker speaks.
    pub fn range(&self, api: ApiKey) -> Option<VersionRange> {
        self.ranges.get(&api.number()).copied()
    }

    /// The highest version that the broker speaks and that can carry `request`.
    pub fn choose<R: Request>(&self, request: &R) -> Result<i16, UnsupportedVersion> {
        let usable = request.usable_versions();
        let broker = self.range(R::API_KEY);
        let both = broker.map(|range| range.intersect(usable));
        match both {
            Some(both) if !both.is_empty() => Ok(both.max),
            _ => Err(UnsupportedVersion { api: R::API_KEY, usable, broker }),
        }
    }
}
