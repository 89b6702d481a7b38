//! FindCoordinator: the leader of the partition that an id belongs to. Whoever asks first has the topic made, and is
//! told that there is no coordinator yet, as by Kafka.
//!
//! Transactional ids have a place, too, although there are no transactions here yet. Share groups have none.

use ottla_wire::ErrorCode;
use ottla_wire::NodeId;
use ottla_wire::messages::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use super::{AnyResponse, Context, Outcome};
use crate::state::{ClusterState, Now, OFFSETS_TOPIC, TRANSACTIONS_TOPIC};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: FindCoordinatorRequest) -> Outcome {
    let FindCoordinatorRequest { key, key_type, coordinator_keys } = request;
    let response = if context.version < 4 {
        let found = find(state, context, key_type, key);
        let said = if found.error_code == ErrorCode::None { "NONE" } else { found.error_code.name() };
        FindCoordinatorResponse {
            error_code: found.error_code,
            error_message: Some(said.to_owned()),
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..Default::default()
        }
    } else {
        let coordinators = coordinator_keys.into_iter().map(|key| find(state, context, key_type, key));
        FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() }
    };
    Outcome::Answer(AnyResponse::FindCoordinator(response))
}

fn find(state: &mut ClusterState, context: &Context, key_type: i8, key: String) -> Coordinator {
    let found = match (context.whole_refused(), key_type) {
        (Some(code), _) => Err(code),
        (None, GROUP) => state.find_coordinator(OFFSETS_TOPIC, &key),
        (None, TRANSACTION) => state.find_coordinator(TRANSACTIONS_TOPIC, &key),
        (None, _) => Err(ErrorCode::InvalidRequest),
    };
    let unset =
        Coordinator { node_id: NodeId::NONE, port: -1, error_message: Some(String::new()), ..Default::default() };
    let found = found.and_then(|id| Ok((id, state.live_node(id).ok_or(ErrorCode::CoordinatorNotAvailable)?)));
    match found {
        Ok((node_id, node)) => {
            let (host, port) = (node.address.host().to_owned(), i32::from(node.address.port()));
            Coordinator { key, node_id, host, port, error_code: ErrorCode::None, ..unset }
        }
        Err(error_code) => Coordinator { key, error_code, ..unset },
    }
}
