//! InitProducerId: an id for an idempotent producer (KIP-98). Every request gets a new one, as in Kafka (KIP-360 reuses
//! ids of transactional producers only).
//!
//! Transactional ids are refused with UNSUPPORTED_VERSION, which clients report and do not retry: there are no
//! transactions here yet.

use ottla_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_wire::{ErrorCode, ProducerEpoch, ProducerId};

use super::{AnyResponse, Context, Outcome};
use crate::state::{ClusterState, Now};

#[allow(clippy::needless_pass_by_value, reason = "the form of all handlers")]
pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: InitProducerIdRequest) -> Outcome {
    let refused = match (context.whole_refused(), request.transactional_id.as_deref()) {
        (Some(code), _) => Some(code),
        (None, Some("")) => Some(ErrorCode::InvalidRequest),
        (None, Some(transactional_id)) => {
            tracing::warn!(transactional_id, "the embedded cluster has no transactions: the producer is refused");
            Some(ErrorCode::UnsupportedVersion)
        }
        (None, None) => None,
    };
    let response = match refused {
        Some(error_code) => InitProducerIdResponse { error_code, ..Default::default() },
        None => InitProducerIdResponse {
            producer_id: ProducerId(state.new_producer_id()),
            producer_epoch: ProducerEpoch(0),
            ..Default::default()
        },
    };
    Outcome::Answer(AnyResponse::InitProducerId(response))
}
