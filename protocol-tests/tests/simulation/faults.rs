//! What may go wrong with a request: an error that a broker may answer it with, an answer that is late or lost, a connection
//! that ends before the request is handled, or after.

use fastrand::Rng;
use ottla::ErrorCode;
use ottla_broker::Fault;
use ottla_wire::ApiKey;

use crate::scenario::Timing;

/// The APIs that faults hit, each with errors that a broker may answer it with.
const FAULTS: &[(ApiKey, &[ErrorCode])] = &[
    (ApiKey::FindCoordinator, &[ErrorCode::CoordinatorNotAvailable, ErrorCode::CoordinatorLoadInProgress]),
    (
        ApiKey::JoinGroup,
        &[
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::UnknownMemberId,
            ErrorCode::RebalanceInProgress,
        ],
    ),
    (
        ApiKey::SyncGroup,
        &[
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
            ErrorCode::RebalanceInProgress,
            ErrorCode::UnknownMemberId,
            ErrorCode::IllegalGeneration,
        ],
    ),
    (
        ApiKey::Heartbeat,
        &[
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
            ErrorCode::RebalanceInProgress,
            ErrorCode::UnknownMemberId,
            ErrorCode::IllegalGeneration,
        ],
    ),
    (
        ApiKey::OffsetCommit,
        &[
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::NotCoordinator,
            ErrorCode::RequestTimedOut,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::RebalanceInProgress,
            ErrorCode::UnknownMemberId,
            ErrorCode::IllegalGeneration,
        ],
    ),
    (
        ApiKey::OffsetFetch,
        &[
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::NotCoordinator,
            ErrorCode::UnstableOffsetCommit,
        ],
    ),
    (
        ApiKey::LeaveGroup,
        &[ErrorCode::NotCoordinator, ErrorCode::CoordinatorNotAvailable, ErrorCode::CoordinatorLoadInProgress],
    ),
    (ApiKey::Fetch, &[ErrorCode::NotLeaderOrFollower, ErrorCode::UnknownLeaderEpoch, ErrorCode::KafkaStorageError]),
    (ApiKey::ListOffsets, &[ErrorCode::NotLeaderOrFollower]),
    (ApiKey::Metadata, &[ErrorCode::LeaderNotAvailable]),
    (ApiKey::Produce, &[ErrorCode::NotLeaderOrFollower]),
];

/// Any of them, at some request that is soon to come.
pub(crate) fn fault(timing: &Timing, random: &mut Rng) -> Fault {
    let (api, codes) = FAULTS[random.usize(0..FAULTS.len())];
    let fault = match random.u32(0..10) {
        0..4 => Fault::error(codes[random.usize(0..codes.len())]),
        4..7 => Fault::delay(timing.request_timeout.mul_f64(1.3 * random.f64())),
        7..9 => Fault::close_connection(),
        _ => Fault::black_hole(),
    };
    let fault = fault.on_api(api).skip(random.u32(0..4)).times(random.u32(1..4));
    if random.bool() { fault.after_handling() } else { fault }
}
