//! DescribeCluster: the nodes, those that are not up where they are asked for.

use ottla_wire::ErrorCode;
use ottla_wire::guarded::{
    BROKER_ENDPOINTS, CONTROLLER_ENDPOINTS, DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use super::{AnyResponse, Context, Outcome, authorized_operations};
use crate::state::{ClusterState, Node, Now};

#[allow(clippy::needless_pass_by_value, reason = "the form of all handlers")]
pub(super) fn handle(state: &mut ClusterState, _: Now, context: &Context, request: DescribeClusterRequest) -> Outcome {
    if let Some((error_code, reason)) = refused(context, request.endpoint_type) {
        let response = DescribeClusterResponse { error_code, error_message: Some(reason), ..Default::default() };
        return Outcome::Answer(AnyResponse::DescribeCluster(response));
    }
    let broker = |(broker_id, node): (_, &Node)| DescribeClusterBroker {
        broker_id,
        host: node.address.host().to_owned(),
        port: i32::from(node.address.port()),
        rack: node.rack.clone(),
        is_fenced: !node.is_live(),
    };
    let brokers = state.nodes().filter(|(_, node)| node.is_live() || request.include_fenced_brokers).map(broker);
    Outcome::Answer(AnyResponse::DescribeCluster(DescribeClusterResponse {
        cluster_id: state.cluster_id.clone(),
        controller_id: state.controller(),
        brokers: brokers.collect(),
        cluster_authorized_operations: authorized_operations::of_cluster(request.include_cluster_authorized_operations),
        ..Default::default()
    }))
}

fn refused(context: &Context, endpoint_type: i8) -> Option<(ErrorCode, String)> {
    if let Some(code) = context.whole_refused() {
        return Some((code, code.name().to_owned()));
    }
    match endpoint_type {
        BROKER_ENDPOINTS => None,
        CONTROLLER_ENDPOINTS => {
            let reason =
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            Some((ErrorCode::MismatchedEndpointType, reason.to_owned()))
        }
        other => Some((ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}"))),
    }
}
