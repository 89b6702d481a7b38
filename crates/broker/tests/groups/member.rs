//! A member of a group, as a client's requests make one.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::{EmbeddedCluster, EmbeddedClusterBuilder, Transport};
use ottla_connection::{Connection, ConnectionConfig, MemoryNetwork};
use ottla_wire::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, LeaveGroupRequest, MemberIdentity,
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use ottla_wire::{ErrorCode, GenerationId, NodeId};

pub(crate) const GROUP: &str = "group";
pub(crate) const TOPIC: &str = "topic";
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const REBALANCE_TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) fn in_memory() -> EmbeddedClusterBuilder {
    EmbeddedCluster::builder().transport(Transport::Memory(MemoryNetwork::new())).start_time_ms(1_000_000)
}

pub(crate) async fn connect(cluster: &EmbeddedCluster, node: NodeId) -> Connection {
    let address = cluster.address(node).unwrap().clone();
    let config = ConnectionConfig::default().request_timeout(Duration::from_mins(10));
    Connection::open(&*cluster.connector(), &address, config).await.unwrap()
}

/// A connection to the coordinator of the group.
pub(crate) async fn connect_to_coordinator(cluster: &EmbeddedCluster) -> Connection {
    connect(cluster, cluster.coordinator(GROUP).await.unwrap()).await
}

/// A member with a connection of its own.
pub(crate) struct Member {
    pub(crate) connection: Connection,
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation_id: GenerationId,
    pub(crate) protocols: Vec<&'static str>,
    /// What it says for each of them.
    pub(crate) subscription: Bytes,
}

impl Member {
    pub(crate) async fn new(cluster: &EmbeddedCluster) -> Self {
        let connection = connect_to_coordinator(cluster).await;
        let (id, generation_id) = (String::new(), GenerationId::NONE);
        let (protocols, subscription) = (vec!["range"], Bytes::from_static(b"subscription"));
        Self { connection, id, instance_id: None, generation_id, protocols, subscription }
    }

    pub(crate) async fn new_static(cluster: &EmbeddedCluster, instance_id: &str) -> Self {
        Self { instance_id: Some(instance_id.to_owned()), ..Self::new(cluster).await }
    }

    pub(crate) fn join_request(&self) -> JoinGroupRequest {
        let protocol =
            |name: &&str| JoinGroupRequestProtocol { name: (*name).to_owned(), metadata: self.subscription.clone() };
        JoinGroupRequest {
            group_id: GROUP.to_owned(),
            session_timeout_ms: SESSION_TIMEOUT.as_millis() as i32,
            rebalance_timeout_ms: REBALANCE_TIMEOUT.as_millis() as i32,
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: self.protocols.iter().map(protocol).collect(),
            ..Default::default()
        }
    }

    /// Joins once, whatever the answer.
    pub(crate) async fn try_join(&mut self) -> JoinGroupResponse {
        let response = self.connection.request(&self.join_request()).await.unwrap();
        if matches!(response.error_code, ErrorCode::None | ErrorCode::MemberIdRequired) {
            self.id.clone_from(&response.member_id);
            self.generation_id = response.generation_id;
        }
        response
    }

    /// Joins, a second time where it is asked to.
    pub(crate) async fn join(&mut self) -> JoinGroupResponse {
        let mut response = self.try_join().await;
        if response.error_code == ErrorCode::MemberIdRequired {
            response = self.try_join().await;
        }
        assert_eq!(response.error_code, ErrorCode::None);
        response
    }

    pub(crate) fn sync_request(&self, assignments: &[(&str, &'static [u8])]) -> SyncGroupRequest {
        let assignment = |(member_id, assignment): &(&str, &'static [u8])| SyncGroupRequestAssignment {
            member_id: (*member_id).to_owned(),
            assignment: Bytes::from_static(assignment),
        };
        SyncGroupRequest {
            group_id: GROUP.to_owned(),
            generation_id: self.generation_id,
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some(self.protocols[0].to_owned()),
            assignments: assignments.iter().map(assignment).collect(),
        }
    }

    /// Asks for the assignment once, whatever the answer.
    pub(crate) async fn try_sync(&self, assignments: &[(&str, &'static [u8])]) -> SyncGroupResponse {
        self.connection.request(&self.sync_request(assignments)).await.unwrap()
    }

    /// Asks for the assignment, which has to be given.
    pub(crate) async fn sync(&self, assignments: &[(&str, &'static [u8])]) -> Bytes {
        let response = self.try_sync(assignments).await;
        assert_eq!(response.error_code, ErrorCode::None);
        response.assignment
    }

    /// Joins as the only member, and is assigned something.
    pub(crate) async fn join_alone(&mut self) {
        let joined = self.join().await;
        assert_eq!(joined.leader, self.id);
        assert_eq!(self.sync(&[(&self.id, b"all")]).await, b"all"[..]);
    }

    pub(crate) async fn heartbeat(&self) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: GROUP.to_owned(),
            generation_id: self.generation_id,
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
        };
        self.connection.request(&request).await.unwrap().error_code
    }

    pub(crate) async fn leave(&self) -> ErrorCode {
        let member = MemberIdentity { member_id: self.id.clone(), ..Default::default() };
        let request = LeaveGroupRequest { group_id: GROUP.to_owned(), members: vec![member], ..Default::default() };
        let response = self.connection.request(&request).await.unwrap();
        assert_eq!(response.error_code, ErrorCode::None);
        response.members[0].error_code
    }
}

/// Two members of one generation, the leader first, both assigned.
pub(crate) async fn two_members(cluster: &EmbeddedCluster) -> (Member, Member) {
    let (mut first, mut second) = (Member::new(cluster).await, Member::new(cluster).await);
    first.join_alone().await;
    assert_eq!(second.try_join().await.error_code, ErrorCode::MemberIdRequired);
    let (of_first, of_second) = tokio::join!(first.join(), second.join());
    assert_eq!(of_first.leader, of_second.leader);
    let (leader, other) = if of_first.leader == first.id { (first, second) } else { (second, first) };
    let given = [(leader.id.clone(), &b"one"[..]), (other.id.clone(), &b"two"[..])];
    let given = given.each_ref().map(|(member_id, given)| (member_id.as_str(), *given));
    let (of_leader, of_other) = tokio::join!(leader.sync(&given), other.sync(&[]));
    assert_eq!((&of_leader[..], &of_other[..]), (&b"one"[..], &b"two"[..]));
    (leader, other)
}

/// The assignments that the group's coordinator knows.
pub(crate) async fn assignments(cluster: &EmbeddedCluster) -> BTreeMap<String, Bytes> {
    let members = cluster.describe_group(GROUP).await.unwrap().members;
    members.into_iter().map(|member| (member.member_id, member.assignment)).collect()
}

/// A millisecond less.
pub(crate) fn just_under(time: Duration) -> Duration {
    time.saturating_sub(Duration::from_millis(1))
}
