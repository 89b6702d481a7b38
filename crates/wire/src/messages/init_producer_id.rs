//! InitProducerId (22): gives an idempotent or transactional producer its id and epoch (KIP-98, KIP-360).
//!
//! Version 6 (KIP-939, two-phase commit) is unstable in Kafka 4.3: it is chosen only where what it adds is used.

use super::macros::{message, wire_struct};
use crate::{ErrorCode, Field, Message, ProducerEpoch, ProducerId, Request, VersionRange};

wire_struct! {
    /// Asks for a producer id.
    pub struct InitProducerIdRequest {
        /// The transactional id, `None`: idempotent only.
        transactional_id: Option<String> [0..],
        /// After how long an idle transaction is aborted, in milliseconds (`transaction.timeout.ms`).
        transaction_timeout_ms: i32 [0..],
        /// The id that the producer has, -1: none.
        producer_id: ProducerId [3..],
        /// The epoch that it has, -1: none.
        producer_epoch: ProducerEpoch [3..],
        /// Whether an outside coordinator commits the transactions.
        enable_2pc: bool [6..],
        /// Whether a transaction that is prepared is to be kept.
        keep_prepared_txn: bool [6..],
    }
}

wire_struct! {
    /// Brings a producer id.
    pub struct InitProducerIdResponse {
        /// How long the broker held the request back for a quota, in milliseconds.
        throttle_time_ms: i32 [0..; ignorable],
        /// What went wrong.
        error_code: ErrorCode [0..],
        /// The id.
        producer_id: ProducerId [0..],
        /// The epoch.
        producer_epoch: ProducerEpoch [0..; default ProducerEpoch(0)],
        /// Whose transaction was kept, -1: none was.
        ongoing_txn_producer_id: ProducerId [6..],
        /// The epoch of its producer.
        ongoing_txn_producer_epoch: ProducerEpoch [6..],
    }
}

message! { InitProducerIdRequest, InitProducerIdResponse: InitProducerId, 0..=6, flexible 2 }

impl Request for InitProducerIdRequest {
    type Response = InitProducerIdResponse;

    fn usable_versions(&self) -> VersionRange {
        let versions = self.carried_by(Self::VERSIONS);
        if versions.min < 6 { versions.at_most(5) } else { versions }
    }
}
