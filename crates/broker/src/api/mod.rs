//! The APIs, one a file: a request in, a response out, decided on the state without I/O.
//!
//! Every handler takes the request by value, so that Produce and Fetch can keep what they wait with.
//!
//! The table at the foot of this file is what the brokers speak. Some requests may have to wait; what they wait for is a
//! value ([`Waiting`]) that the machine looks at again when something has happened of what it awaits, or its time is up.

mod alter_configs;
mod api_versions;
mod authorized_operations;
mod awaited_reply;
mod config_resource;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
mod written;

use std::time::Instant;

use bytes::Bytes;
use ottla_wire::guarded::DescribeClusterRequest;
use ottla_wire::messages::{
    AlterConfigsRequest, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest,
    FindCoordinatorRequest, HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest,
    LeaderIdAndEpoch, LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest, NodeEndpoint,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest,
    SyncGroupRequest,
};
use ottla_wire::{
    ApiKey, DecodeError, EncodeError, ErrorCode, Frame, LeaderEpoch, Message, NodeId, Reader, Request, RequestHeader,
    TopicId, VersionRange, encode_response,
};

use crate::fault::Refusal;
use crate::settings::Settings;
use crate::state::{Awaited, ClusterState, Now, PartitionKey};

/// Where clients are, as Kafka's coordinators note it: on this host.
const CLIENT_HOST: &str = "/127.0.0.1";

/// What a request may take in memory whatever its size.
const REQUEST_BYTES: usize = 1024 * 1024;

/// What a handler needs to know beside the request itself.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The node that was asked.
    pub(crate) node: NodeId,
    /// The version of the request.
    pub(crate) version: i16,
    /// Who asks, in the client's own words; empty where it has none.
    pub(crate) client_id: String,
    /// An injected error.
    pub(crate) refusal: Option<Refusal>,
}

impl Context {
    /// The injected error that takes the place of handling a topic or partition.
    fn refused(&self, topic: &str, partition: Option<i32>) -> Option<ErrorCode> {
        self.refusal.as_ref().and_then(|refusal| refusal.before(topic, partition))
    }

    /// The injected error that is answered although a topic or partition was handled.
    fn answered_with(&self, topic: &str, partition: Option<i32>) -> Option<ErrorCode> {
        self.refusal.as_ref().and_then(|refusal| refusal.after(topic, partition))
    }

    /// The injected error for APIs that only read: before or after is the same to them.
    fn read_refused(&self, topic: &str, partition: Option<i32>) -> Option<ErrorCode> {
        self.refused(topic, partition).or_else(|| self.answered_with(topic, partition))
    }

    /// The injected error of a topic as a whole, where partitions have codes of their own.
    fn topic_refused(&self, topic: &str) -> Option<ErrorCode> {
        self.refusal.as_ref().filter(|refusal| !refusal.names_partition()).and_then(|_| self.read_refused(topic, None))
    }

    /// The injected error of that very partition, where topics have codes, too.
    fn partition_refused(&self, topic: &str, partition: i32) -> Option<ErrorCode> {
        let refusal = self.refusal.as_ref().filter(|refusal| refusal.names_partition());
        refusal.and_then(|_| self.read_refused(topic, Some(partition)))
    }

    /// The error of a node that leaves changes of topics to the controller.
    fn not_controller(&self, state: &ClusterState) -> Option<ErrorCode> {
        let refuses = state.settings.only_controller_changes_topics && state.controller() != self.node;
        refuses.then_some(ErrorCode::NotController)
    }

    /// The injected error of an API that has no topics and only reads.
    fn whole_refused(&self) -> Option<ErrorCode> {
        self.whole_refused_before().or_else(|| self.whole_answered_with())
    }

    /// The injected error that takes the place of handling a request as a whole.
    fn whole_refused_before(&self) -> Option<ErrorCode> {
        self.refusal.as_ref().and_then(Refusal::whole_before)
    }

    /// The injected error that is answered although a request was handled.
    fn whole_answered_with(&self) -> Option<ErrorCode> {
        self.refusal.as_ref().and_then(Refusal::whole_after)
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is answered.
    Answer(AnyResponse),
    /// It is not answered, as was asked (acks=0).
    NoAnswer,
    /// The connection is closed: the only way to tell a producer with acks=0 of an error.
    Close,
    /// It waits.
    Wait(Waiting),
}

/// A request that waits for something to happen.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// When it waits no longer; `None` where whoever has the answer counts the time.
    pub(crate) until: Option<Instant>,
    /// What it is looked at again for.
    pub(crate) awaited: Vec<Awaited>,
    pub(crate) request: WaitingRequest,
}

#[derive(Debug)]
pub(crate) enum WaitingRequest {
    Produce(produce::AwaitedProduce),
    Fetch(fetch::AwaitedFetch),
    Reply(awaited_reply::AwaitedReply),
    OffsetCommit(offset_commit::AwaitedCommit),
    OffsetFetch(offset_fetch::AwaitedOffsets),
    DeleteGroups(delete_groups::AwaitedDeletion),
    OffsetDelete(offset_delete::AwaitedOffsetDeletion),
}

impl WaitingRequest {
    /// The answer, if it can be given now. `overdue` says that it waits no longer.
    pub(crate) fn try_answer(&self, state: &mut ClusterState, overdue: bool) -> Option<AnyResponse> {
        match self {
            Self::Produce(awaited) => awaited.try_answer(state, overdue).map(AnyResponse::Produce),
            Self::Fetch(awaited) => awaited.try_answer(state, overdue).map(AnyResponse::Fetch),
            Self::Reply(awaited) => awaited.try_answer(state),
            Self::OffsetCommit(awaited) => awaited.try_answer(state, overdue).map(AnyResponse::OffsetCommit),
            Self::OffsetFetch(awaited) => awaited.try_answer(state, overdue).map(AnyResponse::OffsetFetch),
            Self::DeleteGroups(awaited) => awaited.try_answer(state, overdue).map(AnyResponse::DeleteGroups),
            Self::OffsetDelete(awaited) => awaited.try_answer(state, overdue).map(AnyResponse::OffsetDelete),
        }
    }
}

/// A partition as a request names it, or why it cannot be had from the node that was asked.
fn partition_key(
    state: &ClusterState,
    topic: &str,
    topic_id: TopicId,
    partition: i32,
) -> Result<PartitionKey, ErrorCode> {
    let (found, code) = if topic_id == TopicId::NONE {
        (state.topic(topic), ErrorCode::UnknownTopicOrPartition)
    } else {
        (state.topic_by_id(topic_id), ErrorCode::UnknownTopicId)
    };
    let topic = found.ok_or(code)?;
    topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok(PartitionKey { topic: topic.id, partition })
}

/// The error that a client's idea of the leader's epoch calls for (KIP-320).
fn check_leader_epoch(requested: LeaderEpoch, current: i32) -> Result<(), ErrorCode> {
    match requested.known() {
        Some(LeaderEpoch(requested)) if requested < current => Err(ErrorCode::FencedLeaderEpoch),
        Some(LeaderEpoch(requested)) if requested > current => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

/// Collects where the leaders are that an answer names (KIP-951).
#[derive(Debug)]
struct LeaderHints {
    /// Whether the answer's version has a place for them.
    carried: bool,
    endpoints: Vec<NodeEndpoint>,
}

impl LeaderHints {
    /// For an answer in `version` of an API that names leaders from version `since` on.
    fn carried_since(since: i16, version: i16) -> Self {
        Self { carried: version >= since, endpoints: Vec::new() }
    }

    /// The leader to name beside an error that a client with newer metadata would not have got.
    fn hint(&mut self, state: &ClusterState, key: Option<PartitionKey>, code: ErrorCode) -> LeaderIdAndEpoch {
        let moved = matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
        let hint = key.filter(|_| moved && self.carried).and_then(|key| state.leader_hint(key));
        let Some((leader_id, leader_epoch)) = hint else { return LeaderIdAndEpoch::default() };
        if let Some(node) = state.live_node(leader_id)
            && self.endpoints.iter().all(|endpoint| endpoint.node_id != leader_id)
        {
            let (host, port) = (node.address.host().to_owned(), i32::from(node.address.port()));
            self.endpoints.push(NodeEndpoint { node_id: leader_id, host, port, rack: node.rack.clone() });
        }
        LeaderIdAndEpoch { leader_id, leader_epoch: LeaderEpoch(leader_epoch) }
    }
}

/// A request as a connection read it.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: String,
    pub(crate) request: AnyRequest,
}

/// Why a frame is not a request that can be answered. The connection is closed then, as Kafka does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("the API {api} in version {version} is not supported")]
    Unsupported { api: i16, version: i16 },
    #[error("the request does not decode")]
    Decode(#[from] DecodeError),
}

/// Reads the frame of a request.
pub(crate) fn read_request(frame: Bytes, node: NodeId, settings: &Settings) -> Result<Incoming, BadRequest> {
    let mut reader = Reader::new(frame).with_allowance_of_at_least(REQUEST_BYTES);
    let fixed = RequestHeader::read_fixed(&mut reader.clone())?;
    let (number, version, correlation_id) = (fixed.api_key, fixed.api_version, fixed.correlation_id);
    let unsupported = BadRequest::Unsupported { api: number, version };
    let Some(api) = ApiKey::from_number(number) else { return Err(unsupported) };
    let Some(spoken) = spoken_versions(api, node, settings) else { return Err(unsupported) };
    if !spoken.contains(version) {
        // A client cannot know yet what is spoken when it asks just that: it is told in the form of version 0.
        return if api == ApiKey::ApiVersions {
            let (client_id, request) = (String::new(), AnyRequest::UnknownApiVersions);
            Ok(Incoming { api, version: 0, correlation_id, client_id, request })
        } else {
            Err(unsupported)
        };
    }
    let (client_id, request) = AnyRequest::read(api, version, &mut reader)?.ok_or(unsupported)?;
    Ok(Incoming { api, version, correlation_id, client_id, request })
}

/// The versions of an API that a node speaks, `None` where it does not have it.
pub(crate) fn spoken_versions(api: ApiKey, node: NodeId, settings: &Settings) -> Option<VersionRange> {
    let implemented = AnyRequest::versions(api)?;
    let set = settings.node_api_versions.get(&(node, api)).or_else(|| settings.api_versions.get(&api));
    let spoken = set.map_or(implemented, |range| range.intersect(implemented));
    (spoken.min <= spoken.max).then_some(spoken)
}

macro_rules! apis {
    ($($api:ident($request:ident) $min:literal..=$max:literal => $handler:path;)*) => {
        /// A request of any API.
        #[derive(Debug)]
        pub(crate) enum AnyRequest {
            $($api($request),)*
            /// ApiVersions in a version that is not known here.
            UnknownApiVersions,
        }

        /// A response of any API.
        #[derive(Debug)]
        pub(crate) enum AnyResponse {
            $($api(<$request as Request>::Response),)*
        }

        impl AnyRequest {
            /// The versions of an API that are implemented.
            fn versions(api: ApiKey) -> Option<VersionRange> {
                match api { $(ApiKey::$api => Some(VersionRange::new($min, $max)),)* _ => None }
            }

            /// Reads who asks, and what.
            fn read(api: ApiKey, version: i16, reader: &mut Reader) -> Result<Option<(String, Self)>, DecodeError> {
                match api {
                    $(ApiKey::$api => {
                        let header = RequestHeader::read(reader, $request::encoding(version).flexible)?;
                        let client_id = header.client_id.unwrap_or_default();
                        // What follows is ignored, as in Kafka: librdkafka 2.16 asks for all topics with stray bytes behind.
                        Ok(Some((client_id, Self::$api($request::read_body(reader, version)?))))
                    })*
                    _ => Ok(None),
                }
            }

            /// Handles the request.
            pub(crate) fn handle(self, state: &mut ClusterState, now: Now, context: &Context) -> Outcome {
                match self {
                    $(Self::$api(request) => $handler(state, now, context, request),)*
                    Self::UnknownApiVersions => api_versions::unknown_version(state, context),
                }
            }
        }

        impl AnyResponse {
            /// Asks the client to wait (KIP-219).
            pub(crate) fn set_throttle_time_ms(&mut self, milliseconds: i32) {
                match self { $(Self::$api(response) => response.throttle_time_ms = milliseconds,)* }
            }

            /// The frame that answers.
            pub(crate) fn encode(&self, version: i16, correlation_id: i32) -> Result<Frame, EncodeError> {
                match self { $(Self::$api(response) => encode_response(response, version, correlation_id),)* }
            }
        }
    };
}

apis! {
    Produce(ProduceRequest) 3..=13 => produce::handle;
    Fetch(FetchRequest) 4..=18 => fetch::handle;
    ListOffsets(ListOffsetsRequest) 1..=11 => list_offsets::handle;
    Metadata(MetadataRequest) 0..=13 => metadata::handle;
    OffsetCommit(OffsetCommitRequest) 2..=10 => offset_commit::handle;
    OffsetFetch(OffsetFetchRequest) 1..=10 => offset_fetch::handle;
    FindCoordinator(FindCoordinatorRequest) 0..=6 => find_coordinator::handle;
    JoinGroup(JoinGroupRequest) 0..=9 => join_group::handle;
    Heartbeat(HeartbeatRequest) 0..=4 => heartbeat::handle;
    LeaveGroup(LeaveGroupRequest) 0..=5 => leave_group::handle;
    SyncGroup(SyncGroupRequest) 0..=5 => sync_group::handle;
    DescribeGroups(DescribeGroupsRequest) 0..=6 => describe_groups::handle;
    ListGroups(ListGroupsRequest) 0..=5 => list_groups::handle;
    ApiVersions(ApiVersionsRequest) 0..=4 => api_versions::handle;
    CreateTopics(CreateTopicsRequest) 2..=7 => create_topics::handle;
    DeleteTopics(DeleteTopicsRequest) 1..=6 => delete_topics::handle;
    DeleteRecords(DeleteRecordsRequest) 0..=2 => delete_records::handle;
    InitProducerId(InitProducerIdRequest) 0..=5 => init_producer_id::handle;
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest) 2..=4 => offset_for_leader_epoch::handle;
    DescribeConfigs(DescribeConfigsRequest) 1..=4 => describe_configs::handle;
    AlterConfigs(AlterConfigsRequest) 0..=2 => alter_configs::handle;
    CreatePartitions(CreatePartitionsRequest) 0..=3 => create_partitions::handle;
    DeleteGroups(DeleteGroupsRequest) 0..=2 => delete_groups::handle;
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest) 0..=1 => incremental_alter_configs::handle;
    OffsetDelete(OffsetDeleteRequest) 0..=0 => offset_delete::handle;
    DescribeCluster(DescribeClusterRequest) 0..=2 => describe_cluster::handle;
}
