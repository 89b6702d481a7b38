//! Kafka's error codes: the whole table of Kafka 4.3, with what each means for whoever asked.
//!
//! A row is: name, number, Kafka's own name; whether the same request may succeed later (`retriable`, as Java's
//! `RetriableException` has it); and which knowledge of the client is out of date when it comes, to be fetched again
//! before a retry: the `metadata` (Java's `InvalidMetadataException`), the `coordinator`, the `controller`, or `nothing`.

use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $retriable:ident, $invalidates:ident;)*) => {
        /// An error code of the protocol.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code that is not known here. Treated as retriable, with back-off.
            Unknown(i16),
        }

        impl From<i16> for ErrorCode {
            fn from(number: i16) -> Self {
                match number { $($number => Self::$name,)* _ => Self::Unknown(number) }
            }
        }

        impl From<ErrorCode> for i16 {
            fn from(code: ErrorCode) -> Self {
                match code { $(ErrorCode::$name => $number,)* ErrorCode::Unknown(number) => number }
            }
        }

        impl ErrorCode {
            /// Every code of the table, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Kafka's name for it, as its documentation writes it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Unknown(_) => "UNKNOWN" }
            }

            /// Whether the same request may succeed later, as Java's `RetriableException` has it.
            pub fn is_retriable(self) -> bool {
                match self { $(Self::$name => is_retriable!($retriable),)* Self::Unknown(_) => true }
            }

            fn invalidates(self) -> Knowledge {
                match self { $(Self::$name => knowledge!($invalidates),)* Self::Unknown(_) => Knowledge::Nothing }
            }
        }
    };
}

macro_rules! is_retriable {
    (retriable) => {
        true
    };
    (permanent) => {
        false
    };
}

macro_rules! knowledge {
    (nothing) => {
        Knowledge::Nothing
    };
    (metadata) => {
        Knowledge::Metadata
    };
    (coordinator) => {
        Knowledge::Coordinator
    };
    (controller) => {
        Knowledge::Controller
    };
}

/// What a client knows of the cluster, and a code can prove wrong.
#[derive(PartialEq)]
enum Knowledge {
    Nothing,
    Metadata,
    Coordinator,
    Controller,
}

impl ErrorCode {
    /// `Err` with the code, unless it is [`None`](Self::None).
    pub fn into_result(self) -> Result<(), Self> {
        if self == Self::None { Ok(()) } else { Err(self) }
    }

    /// Whether the leaders, replicas or topic ids that the request went by are out of date: metadata is to be fetched
    /// before a retry.
    pub fn invalidates_metadata(self) -> bool {
        self.invalidates() == Knowledge::Metadata
    }

    /// Whether the coordinator that the request went to is to be looked up again before a retry.
    pub fn invalidates_coordinator(self) -> bool {
        self.invalidates() == Knowledge::Coordinator
    }

    /// Whether the controller that the request went to is to be looked up again before a retry.
    pub fn invalidates_controller(self) -> bool {
        self.invalidates() == Knowledge::Controller
    }

    /// Whether the client cannot go on as who it is, or with what the broker speaks: somebody has to change its
    /// credentials, its rights, its ids or the broker's version first.
    pub fn is_fatal(self) -> bool {
        matches!(
            self,
            Self::GroupAuthorizationFailed
                | Self::ClusterAuthorizationFailed
                | Self::TransactionalIdAuthorizationFailed
                | Self::UnsupportedSaslMechanism
                | Self::IllegalSaslState
                | Self::SaslAuthenticationFailed
                | Self::UnsupportedVersion
                | Self::UnsupportedForMessageFormat
                | Self::FencedInstanceId
                | Self::ProducerFenced
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.name(), i16::from(*self))
    }
}

impl std::error::Error for ErrorCode {}

error_codes! {
    /// An error that the broker has no code for.
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", permanent, nothing;
    /// No error.
    #[default]
    None = 0, "NONE", permanent, nothing;
    /// The offset is before the first or after the last that the partition has.
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", permanent, nothing;
    /// The record batch is damaged, too large, or lacks a key that a compacted topic needs.
    CorruptMessage = 2, "CORRUPT_MESSAGE", retriable, nothing;
    /// The broker does not have that partition, or the client may not know of it.
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", retriable, metadata;
    /// The number of bytes asked for makes no sense.
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", permanent, nothing;
    /// The partition has no leader just now: an election is under way.
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", retriable, metadata;
    /// The broker does not lead the partition, or, for a read that a follower may answer, has no replica of it.
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", retriable, metadata;
    /// The broker, or those that it waited for, did not finish in time.
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", retriable, nothing;
    /// The broker is not there. Not sent by brokers of today.
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", permanent, nothing;
    /// The replica is not available on this broker.
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", retriable, metadata;
    /// The record batch is larger than `max.message.bytes`.
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", permanent, nothing;
    /// A controller spoke that has been replaced since. Among brokers only.
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", permanent, nothing;
    /// The metadata of a committed offset is longer than the broker allows.
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", permanent, nothing;
    /// The connection was lost before the answer came. Made by clients, never sent.
    NetworkException = 13, "NETWORK_EXCEPTION", retriable, metadata;
    /// The coordinator is still reading its log.
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", retriable, nothing;
    /// There is no coordinator just now.
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", retriable, coordinator;
    /// The broker does not coordinate this group or transactional id.
    NotCoordinator = 16, "NOT_COORDINATOR", retriable, coordinator;
    /// The topic's name is not allowed, or the topic is not to be written to.
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", permanent, nothing;
    /// The record batch is larger than a whole segment of the log.
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", permanent, nothing;
    /// Too few replicas are in sync for `min.insync.replicas`: nothing was written.
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", retriable, nothing;
    /// The batch was written, but too few replicas were in sync when it was.
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", retriable, nothing;
    /// `acks` is not -1, 0 or 1.
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", permanent, nothing;
    /// The member speaks of another generation of the group.
    IllegalGeneration = 22, "ILLEGAL_GENERATION", permanent, nothing;
    /// The member shares no protocol with the others, or named none.
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", permanent, nothing;
    /// The group id is not allowed.
    InvalidGroupId = 24, "INVALID_GROUP_ID", permanent, nothing;
    /// The coordinator does not know the member.
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", permanent, nothing;
    /// The session timeout is outside what the broker allows.
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", permanent, nothing;
    /// The group is rebalancing: the member is to rejoin.
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", permanent, nothing;
    /// The offsets to be committed are too large to be stored.
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", permanent, nothing;
    /// The client may not do that with the topic.
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", permanent, nothing;
    /// The client may not do that with the group.
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", permanent, nothing;
    /// The client may not do that with the cluster.
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", permanent, nothing;
    /// A record's timestamp is further off than the topic allows.
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", permanent, nothing;
    /// The broker does not have that SASL mechanism.
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", permanent, nothing;
    /// The request does not fit the state of the SASL exchange.
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", permanent, nothing;
    /// The broker does not speak that version of the API.
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", permanent, nothing;
    /// A topic of that name exists.
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", permanent, nothing;
    /// The number of partitions makes no sense, or would shrink the topic.
    InvalidPartitions = 37, "INVALID_PARTITIONS", permanent, nothing;
    /// There are fewer brokers than replicas wanted, or none wanted.
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", permanent, nothing;
    /// The replicas assigned by hand do not fit the brokers or one another.
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", permanent, nothing;
    /// A setting is not allowed, or its value is not.
    InvalidConfig = 40, "INVALID_CONFIG", permanent, nothing;
    /// The broker is not the controller.
    NotController = 41, "NOT_CONTROLLER", retriable, controller;
    /// The request contradicts itself, or the broker's version of the protocol.
    InvalidRequest = 42, "INVALID_REQUEST", permanent, nothing;
    /// The topic's message format is too old for the request.
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", permanent, nothing;
    /// A policy of the cluster forbids it.
    PolicyViolation = 44, "POLICY_VIOLATION", permanent, nothing;
    /// The batch does not follow the producer's last one: one before it is missing.
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", permanent, nothing;
    /// The batch has been written before.
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", permanent, nothing;
    /// A newer incarnation of the producer has been given a higher epoch.
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", permanent, nothing;
    /// The transaction's state does not allow that.
    InvalidTxnState = 48, "INVALID_TXN_STATE", permanent, nothing;
    /// The transactional id is bound to another producer id.
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", permanent, nothing;
    /// The transaction timeout is longer than the broker allows.
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", permanent, nothing;
    /// Another operation of the same transaction is not yet done.
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", retriable, nothing;
    /// A transaction coordinator spoke that has been replaced since. Among brokers only.
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", permanent, nothing;
    /// The client may not use the transactional id.
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", permanent, nothing;
    /// The broker has no authorizer to ask.
    SecurityDisabled = 54, "SECURITY_DISABLED", permanent, nothing;
    /// Not tried, because something before it in the same request failed.
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", permanent, nothing;
    /// The broker cannot read or write the disk that holds the partition.
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", retriable, metadata;
    /// The broker has no such log directory.
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", permanent, nothing;
    /// The credentials were refused.
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", permanent, nothing;
    /// The broker has forgotten the producer, its records having expired.
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", permanent, nothing;
    /// A reassignment of the partition is under way.
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", permanent, nothing;
    /// Delegation tokens are not enabled.
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", permanent, nothing;
    /// The broker does not know the delegation token.
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", permanent, nothing;
    /// The delegation token belongs to somebody else.
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", permanent, nothing;
    /// Delegation tokens are not to be asked for over a connection of this kind.
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", permanent, nothing;
    /// The client may not do that with the delegation token.
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", permanent, nothing;
    /// The delegation token has expired.
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", permanent, nothing;
    /// The kind of principal is not supported.
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", permanent, nothing;
    /// The group has members.
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", permanent, nothing;
    /// There is no such group.
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", permanent, nothing;
    /// The broker has forgotten the fetch session.
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", retriable, nothing;
    /// A request of the fetch session was lost or came twice.
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", retriable, nothing;
    /// The partition's leader has no listener of the kind that was asked through.
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", retriable, metadata;
    /// Topics are not to be deleted, by the broker's settings.
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", permanent, nothing;
    /// The client's leader epoch is older than the broker's: its metadata is old.
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", retriable, metadata;
    /// The client's leader epoch is newer than the broker's: the broker has yet to learn.
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", retriable, nothing;
    /// The version of the request is too old for the batch's compression.
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", permanent, nothing;
    /// The broker has been started anew since. Among brokers only.
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", permanent, nothing;
    /// A new leader does not know yet how far its records are replicated.
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", retriable, nothing;
    /// The member is to join again, with the id that this answer gives it.
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", permanent, nothing;
    /// The preferred leader is not available.
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", retriable, metadata;
    /// The group is full.
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", permanent, nothing;
    /// Another consumer has come under the same `group.instance.id`.
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", permanent, nothing;
    /// None of the replicas that may lead is available.
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", retriable, metadata;
    /// The partition has the leader already that was to be elected.
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", retriable, metadata;
    /// No reassignment of the partition is under way.
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", permanent, nothing;
    /// The group is subscribed to the topic whose offsets were to be deleted.
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", permanent, nothing;
    /// The broker refused a record for what it holds.
    InvalidRecord = 87, "INVALID_RECORD", permanent, nothing;
    /// Offsets of a transaction that is not yet decided are in the way.
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", retriable, nothing;
    /// The client has used up its quota.
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", retriable, nothing;
    /// Another producer has come under the same transactional id.
    ProducerFenced = 90, "PRODUCER_FENCED", permanent, nothing;
    /// What the request speaks of does not exist.
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", permanent, nothing;
    /// The request speaks of the same thing twice.
    DuplicateResource = 92, "DUPLICATE_RESOURCE", permanent, nothing;
    /// The credential to be stored is weaker than the broker allows.
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", permanent, nothing;
    /// A request among voters came from or to one that is none.
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", permanent, nothing;
    /// The version of an update makes no sense.
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", permanent, nothing;
    /// The features could not be updated.
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", permanent, nothing;
    /// A broker could not read whom a forwarded request came from.
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", permanent, nothing;
    /// The snapshot does not exist.
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", permanent, nothing;
    /// The position is outside the snapshot.
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", permanent, nothing;
    /// The broker does not know a topic of that id: it was deleted, or the broker has yet to learn of it.
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", retriable, metadata;
    /// Another broker has that id.
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", permanent, nothing;
    /// The broker id is not registered.
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", permanent, nothing;
    /// The topic's id in the broker's log is another: the topic was made anew.
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", retriable, metadata;
    /// The cluster is another than the one meant.
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", permanent, nothing;
    /// There is no such transactional id.
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", permanent, nothing;
    /// The fetch session mixes topics with and without ids.
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", retriable, nothing;
    /// A replica is not fit to be in sync.
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", permanent, nothing;
    /// The partition was changed, and has another leader now.
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", permanent, nothing;
    /// The offset is no longer on the broker's disk, but in tiered storage.
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", permanent, nothing;
    /// The member's epoch is not the group's: it is to give up its partitions and rejoin.
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", permanent, nothing;
    /// Another member of the group still has that instance id.
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", permanent, nothing;
    /// The group has no such assignor.
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", permanent, nothing;
    /// The member's epoch is behind the group's: it is to take in the next heartbeat's answer first.
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", permanent, nothing;
    /// The request is for the other kind of listener, a broker's or a controller's.
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", permanent, nothing;
    /// The kind of listener is not known.
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", permanent, nothing;
    /// The controller id is not known.
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", permanent, nothing;
    /// The subscription to telemetry is out of date.
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", permanent, nothing;
    /// The telemetry is larger than the broker takes.
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", permanent, nothing;
    /// The controller does not accept the broker's registration.
    InvalidRegistration = 119, "INVALID_REGISTRATION", permanent, nothing;
    /// The transaction failed, and can be aborted to go on with the same transactional id.
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", permanent, nothing;
    /// The record of a share group is not in a state to be acknowledged.
    InvalidRecordState = 121, "INVALID_RECORD_STATE", permanent, nothing;
    /// The broker has forgotten the share session.
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", retriable, nothing;
    /// A request of the share session was lost or came twice.
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", retriable, nothing;
    /// The share group's state has another epoch.
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", permanent, nothing;
    /// The voter's key is not the one that the replica has.
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", permanent, nothing;
    /// The voter is one already.
    DuplicateVoter = 126, "DUPLICATE_VOTER", permanent, nothing;
    /// The voter is none.
    VoterNotFound = 127, "VOTER_NOT_FOUND", permanent, nothing;
    /// The regular expression does not compile.
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", permanent, nothing;
    /// What the client knows of the cluster is too old: it is to bootstrap again.
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", permanent, nothing;
    /// The topology of a Streams application makes no sense.
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", permanent, nothing;
    /// The epoch of a Streams application's topology makes no sense.
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", permanent, nothing;
    /// The epoch of a Streams application's topology is out of date.
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", permanent, nothing;
    /// The broker has as many share sessions as it allows.
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", retriable, nothing;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_reads_back() {
        for number in i16::MIN..=i16::MAX {
            assert_eq!(i16::from(ErrorCode::from(number)), number);
        }
    }

    #[test]
    fn the_table_has_every_code_of_kafka_4_3() {
        let numbers: Vec<i16> = ErrorCode::ALL.iter().map(|&code| i16::from(code)).collect();
        assert_eq!(numbers, (-1..=133).collect::<Vec<i16>>());
        assert_eq!(ErrorCode::from(134), ErrorCode::Unknown(134));
    }

    /// What the classes of Kafka 4.3's `Errors` extend.
    #[test]
    fn codes_are_retriable_and_invalidate_metadata_as_javas_exceptions_are() {
        const RETRIABLE_EXCEPTION: &[i16] = &[
            2, 3, 5, 6, 7, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 70, 71, 72, 74, 75, 78, 80, 83, 84, 88, 89, 100, 103,
            106, 122, 123, 133,
        ];
        const INVALID_METADATA_EXCEPTION: &[i16] = &[3, 5, 6, 9, 13, 56, 72, 74, 80, 83, 84, 100, 103];
        for &code in ErrorCode::ALL {
            let number = i16::from(code);
            assert_eq!(code.is_retriable(), RETRIABLE_EXCEPTION.contains(&number), "{code}");
            assert_eq!(code.invalidates_metadata(), INVALID_METADATA_EXCEPTION.contains(&number), "{code}");
        }
    }

    #[test]
    fn what_invalidates_something_can_be_retried() {
        for &code in ErrorCode::ALL {
            let invalidates = code.invalidates() != Knowledge::Nothing;
            assert!(code.is_retriable() || !invalidates, "{code}");
            assert!(!(code.is_retriable() && code.is_fatal()), "{code}");
        }
    }

    #[test]
    fn a_lost_leader_invalidates_the_metadata_and_a_moved_group_its_coordinator() {
        for code in [ErrorCode::NotLeaderOrFollower, ErrorCode::FencedLeaderEpoch, ErrorCode::UnknownTopicId] {
            assert!(code.invalidates_metadata() && !code.invalidates_coordinator(), "{code}");
        }
        assert!(ErrorCode::NotCoordinator.invalidates_coordinator());
        assert!(!ErrorCode::CoordinatorLoadInProgress.invalidates_coordinator(), "it is the right one, but busy");
        assert!(ErrorCode::NotController.invalidates_controller());
    }

    #[test]
    fn a_code_prints_its_name_and_number() {
        assert_eq!(ErrorCode::NotLeaderOrFollower.to_string(), "NOT_LEADER_OR_FOLLOWER (6)");
        assert_eq!(ErrorCode::from(4321).to_string(), "UNKNOWN (4321)");
    }
}
