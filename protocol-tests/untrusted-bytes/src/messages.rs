//! Frames of every message that is decoded by hand, requests and responses, in all their versions.
//!
//! An input is the message's index in [`KINDS`], its version counted from the lowest, and the body.
//!
//! - Decoding takes at most four times the frame, the frame itself included, and a floor that lets small frames hold a
//!   few strings and vectors.
//! - What decodes can be encoded in the same version, and then decodes to the same message.

use std::fmt::Debug;

use bytes::Bytes;
#[allow(clippy::wildcard_imports, reason = "the table below names each")]
use ottla_wire::messages::*;
use ottla_wire::{ApiKey, DecodeError, Message, Reader, VersionRange, Writer};

/// What decoding a frame of `length` bytes may take, the frame included: four times the frame, or the decoder's floor
/// for small ones; and the handles of shared buffers.
pub fn memory_bound(length: usize) -> usize {
    length + (3 * length).max(16 * 1024) + 1024
}

/// A message decoded by hand.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// Its API.
    pub api_key: ApiKey,
    /// Its versions.
    pub versions: VersionRange,
    check: fn(Bytes, i16),
}

impl Kind {
    const fn of<M: Message + PartialEq + Debug>() -> Self {
        Self { name: M::NAME, api_key: M::API_KEY, versions: M::VERSIONS, check: check_message::<M> }
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        self.name.ends_with("Request")
    }
}

macro_rules! kinds {
    ($($message:ty,)*) => {
        /// Every message decoded by hand. Inputs name a message by its place here: add at the end.
        pub const KINDS: &[Kind] = &[$(Kind::of::<$message>(),)*];
    };
}

kinds! {
    ApiVersionsRequest, ApiVersionsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse,
    FetchRequest, FetchResponse,
    HeartbeatRequest, HeartbeatResponse,
    InitProducerIdRequest, InitProducerIdResponse,
    JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse,
    ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse,
    OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    ProduceRequest, ProduceResponse,
    SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
    SyncGroupRequest, SyncGroupResponse,
    DescribeGroupsRequest, DescribeGroupsResponse,
    ListGroupsRequest, ListGroupsResponse,
    DeleteGroupsRequest, DeleteGroupsResponse,
    OffsetDeleteRequest, OffsetDeleteResponse,
    CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse,
    CreatePartitionsRequest, CreatePartitionsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse,
    AlterConfigsRequest, AlterConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse,
}

/// Checks an input.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let [kind, version, body @ ..] = input else { return };
    let kind = &KINDS[usize::from(*kind) % KINDS.len()];
    let versions = kind.versions.max - kind.versions.min + 1;
    let version = kind.versions.min + i16::from(*version) % versions;
    (kind.check)(Bytes::copy_from_slice(body), version);
}

/// The input that is `body` as a message of that name in `version`. `None` where it is not decoded by hand.
pub fn input(name: &str, version: i16, body: &[u8]) -> Option<Vec<u8>> {
    let index = KINDS.iter().position(|kind| kind.name == name)?;
    let kind = &KINDS[index];
    if !kind.versions.contains(version) {
        return None;
    }
    let mut input = vec![index as u8, (version - kind.versions.min) as u8];
    input.extend_from_slice(body);
    Some(input)
}

fn check_message<M: Message + PartialEq + Debug>(frame: Bytes, version: i16) {
    let length = frame.len();
    let (decoded, allocated) = allocation_counter::measure(|| M::decode(&mut Reader::new(frame), version));
    let (taken, bound) = (length + allocated.peak_bytes, memory_bound(length));
    assert!(taken <= bound, "{} {version}: {taken} bytes for a frame of {length}, over {bound}", M::NAME);
    let Ok(message) = decoded else { return };

    let mut writer = Writer::new();
    if let Err(error) = message.encode(&mut writer, version) {
        panic!("{} {version} was decoded and does not encode: {error}: {message:?}", M::NAME);
    }
    match M::decode(&mut Reader::new(writer.into_bytes()), version) {
        Ok(again) => assert_eq!(again, message, "{} {version} reads back differently", M::NAME),
        // Tagged fields that nobody knows are dropped, and with them the memory that a longer frame may take.
        Err(DecodeError::MemoryBeyondAllowance { .. }) => {}
        Err(error) => panic!("{} {version} was encoded and does not decode: {error}: {message:?}", M::NAME),
    }
}
