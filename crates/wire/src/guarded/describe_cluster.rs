//! DescribeCluster (60): the nodes of the cluster (KIP-700); of its controllers from version 1 on (KIP-919).

use kafka_protocol::messages as kafka;
use kafka_protocol::messages::describe_cluster_response as kafka_response;

use super::{FromGuarded, ToGuarded, guarded_message, optional_text, text};
use crate::{EncodeError, ErrorCode, Message, NodeId, Request, VersionRange};

/// Stands for brokers, where nodes are asked for.
pub const BROKER_ENDPOINTS: i8 = 1;
/// Stands for controllers.
pub const CONTROLLER_ENDPOINTS: i8 = 2;

/// Asks for the nodes.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DescribeClusterRequest {
    /// Whether to say what the client may do with the cluster.
    pub include_cluster_authorized_operations: bool,
    /// [`BROKER_ENDPOINTS`] or [`CONTROLLER_ENDPOINTS`]. From version 1 on.
    pub endpoint_type: i8,
    /// Whether brokers are to be named that are not up (KIP-1073). From version 2 on.
    pub include_fenced_brokers: bool,
}

impl Default for DescribeClusterRequest {
    fn default() -> Self {
        Self {
            include_cluster_authorized_operations: false,
            endpoint_type: BROKER_ENDPOINTS,
            include_fenced_brokers: false,
        }
    }
}

/// Names the nodes.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DescribeClusterResponse {
    /// How long the broker held the request back for a quota, in milliseconds.
    pub throttle_time_ms: i32,
    /// What went wrong.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<String>,
    /// [`BROKER_ENDPOINTS`] or [`CONTROLLER_ENDPOINTS`]. From version 1 on.
    pub endpoint_type: i8,
    /// The cluster's id.
    pub cluster_id: String,
    /// The broker to send to what is the controller's. In a KRaft cluster it is any broker, which forwards.
    pub controller_id: NodeId,
    /// The nodes.
    pub brokers: Vec<DescribeClusterBroker>,
    /// A bit for each operation that the client may do with the cluster; the lowest number where not asked for.
    pub cluster_authorized_operations: i32,
}

impl Default for DescribeClusterResponse {
    fn default() -> Self {
        Self {
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            error_message: None,
            endpoint_type: BROKER_ENDPOINTS,
            cluster_id: String::new(),
            controller_id: NodeId::NONE,
            brokers: Vec::new(),
            cluster_authorized_operations: i32::MIN,
        }
    }
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "gains fields with the protocol only; fill in with ..Default::default()")]
pub struct DescribeClusterBroker {
    /// Its id.
    pub broker_id: NodeId,
    /// Its host, as its listener advertises it.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it is not up. From version 2 on.
    pub is_fenced: bool,
}

guarded_message! { DescribeClusterRequest, DescribeClusterResponse: DescribeCluster, 0..=2 }

impl Request for DescribeClusterRequest {
    type Response = DescribeClusterResponse;

    fn usable_versions(&self) -> VersionRange {
        match (self.include_fenced_brokers, self.endpoint_type) {
            (true, _) => Self::VERSIONS.at_least(2),
            (false, BROKER_ENDPOINTS) => Self::VERSIONS,
            (false, _) => Self::VERSIONS.at_least(1),
        }
    }
}

impl ToGuarded<kafka::DescribeClusterRequest> for DescribeClusterRequest {
    fn to_guarded(&self, _: i16) -> Result<kafka::DescribeClusterRequest, EncodeError> {
        Ok(kafka::DescribeClusterRequest::default()
            .with_include_cluster_authorized_operations(self.include_cluster_authorized_operations)
            .with_endpoint_type(self.endpoint_type)
            .with_include_fenced_brokers(self.include_fenced_brokers))
    }
}

impl FromGuarded<kafka::DescribeClusterRequest> for DescribeClusterRequest {
    fn from_guarded(request: kafka::DescribeClusterRequest, _: i16) -> Self {
        Self {
            include_cluster_authorized_operations: request.include_cluster_authorized_operations,
            endpoint_type: request.endpoint_type,
            include_fenced_brokers: request.include_fenced_brokers,
        }
    }
}

impl ToGuarded<kafka::DescribeClusterResponse> for DescribeClusterResponse {
    fn to_guarded(&self, version: i16) -> Result<kafka::DescribeClusterResponse, EncodeError> {
        let broker = |broker: &DescribeClusterBroker| {
            kafka_response::DescribeClusterBroker::default()
                .with_broker_id(broker.broker_id.0.into())
                .with_host(text(&broker.host))
                .with_port(broker.port)
                .with_rack(optional_text(broker.rack.as_ref()))
                .with_is_fenced(version >= 2 && broker.is_fenced)
        };
        Ok(kafka::DescribeClusterResponse::default()
            .with_throttle_time_ms(self.throttle_time_ms)
            .with_error_code(self.error_code.into())
            .with_error_message(optional_text(self.error_message.as_ref()))
            .with_endpoint_type(self.endpoint_type)
            .with_cluster_id(text(&self.cluster_id))
            .with_controller_id(self.controller_id.0.into())
            .with_brokers(self.brokers.iter().map(broker).collect())
            .with_cluster_authorized_operations(self.cluster_authorized_operations))
    }
}

impl FromGuarded<kafka::DescribeClusterResponse> for DescribeClusterResponse {
    fn from_guarded(response: kafka::DescribeClusterResponse, _: i16) -> Self {
        let broker = |broker: kafka_response::DescribeClusterBroker| DescribeClusterBroker {
            broker_id: NodeId(broker.broker_id.0),
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.map(|rack| rack.to_string()),
            is_fenced: broker.is_fenced,
        };
        Self {
            throttle_time_ms: response.throttle_time_ms,
            error_code: response.error_code.into(),
            error_message: response.error_message.map(|message| message.to_string()),
            endpoint_type: response.endpoint_type,
            cluster_id: response.cluster_id.to_string(),
            controller_id: NodeId(response.controller_id.0),
            brokers: response.brokers.into_iter().map(broker).collect(),
            cluster_authorized_operations: response.cluster_authorized_operations,
        }
    }
}
