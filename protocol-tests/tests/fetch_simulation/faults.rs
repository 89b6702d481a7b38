//! What may go wrong with a request: an error that a broker may answer it with, an answer that is late or lost, a connection
//! that ends before the request is handled, or after, and brokers that throttle.

use std::time::Duration;

use fastrand::Rng;
use ottla::{ErrorCode, NodeId};
use ottla_broker::Fault;
use ottla_wire::ApiKey;

use crate::scenario::{NODES, Timing};

/// The APIs that faults hit, each with errors that a broker may answer it with. None of them says anything about a log that
/// the client would have to believe.
const FAULTS: &[(ApiKey, &[ErrorCode])] = &[
    (ApiKey::ApiVersions, &[]),
    (ApiKey::Metadata, &[ErrorCode::LeaderNotAvailable]),
    (
        ApiKey::ListOffsets,
        &[
            ErrorCode::NotLeaderOrFollower,
            ErrorCode::LeaderNotAvailable,
            ErrorCode::OffsetNotAvailable,
            ErrorCode::UnknownLeaderEpoch,
            ErrorCode::FencedLeaderEpoch,
        ],
    ),
    (
        ApiKey::OffsetForLeaderEpoch,
        &[ErrorCode::NotLeaderOrFollower, ErrorCode::UnknownLeaderEpoch, ErrorCode::FencedLeaderEpoch],
    ),
];

/// The errors that a broker may answer a part of a Fetch with.
const FETCH_ERRORS: &[ErrorCode] = &[
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::UnknownLeaderEpoch,
    ErrorCode::FencedLeaderEpoch,
    ErrorCode::KafkaStorageError,
    ErrorCode::OffsetNotAvailable,
    ErrorCode::ReplicaNotAvailable,
    ErrorCode::UnknownTopicOrPartition,
];

/// Any of them, at some request that is soon to come. Half of them hit Fetch.
pub(crate) fn fault(timing: &Timing, random: &mut Rng) -> Fault {
    let (api, codes) = match random.usize(0..2 * FAULTS.len()) {
        index if index < FAULTS.len() => FAULTS[index],
        _ => (ApiKey::Fetch, FETCH_ERRORS),
    };
    let fault = match random.u32(0..12) {
        0..4 if !codes.is_empty() => Fault::error(codes[random.usize(0..codes.len())]),
        0..7 => Fault::delay(timing.request_timeout.mul_f64(1.3 * random.f64())),
        7..9 => Fault::close_connection(),
        9..11 => Fault::throttle(Duration::from_millis(random.u64(1..3000))),
        _ => Fault::black_hole(),
    };
    let fault = fault.on_api(api).skip(random.u32(0..4)).times(random.u32(1..4));
    let fault = if random.bool() { fault.on_node(NodeId(random.i32(0..NODES))) } else { fault };
    if random.bool() { fault.after_handling() } else { fault }
}
