//! The whole cluster over the in-memory transport, against brokers that answer what the test has put down.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use ottla_connection::{Address, BoxedStream, MemoryNetwork};
use ottla_wire::messages::{
    ApiVersion, ApiVersionsResponse, FindCoordinatorRequest, FindCoordinatorResponse, MetadataBroker,
    MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic,
};
use ottla_wire::{ApiKey, LeaderEpoch, Message, Reader, RequestHeader, encode_response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{LATE, MetadataRecoveryStrategy};

const SECOND: Duration = Duration::from_secs(1);

/// Brokers that all tell the same.
#[derive(Clone, Default)]
struct Brokers {
    network: MemoryNetwork,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    metadata: MetadataResponse,
    /// The topics of each Metadata request; `None`: all.
    asked: Vec<Option<Vec<String>>>,
    /// How many connections each broker has been made.
    accepted: BTreeMap<i32, usize>,
    /// What is answered to the next Metadata requests instead.
    errors: Vec<(String, ErrorCode)>,
    /// Brokers that tell something else than the others.
    stale: BTreeMap<i32, MetadataResponse>,
    /// Brokers whose answers about metadata cannot be read.
    garbled: Vec<i32>,
    /// Brokers that hang: they accept connections and answer nothing.
    hung: Vec<i32>,
}

fn address(node: i32) -> Address {
    Address::new(format!("b{node}"), 9092)
}

fn find() -> FindCoordinatorRequest {
    FindCoordinatorRequest { key: "group".to_owned(), ..Default::default() }
}

impl Brokers {
    /// Brokers of these numbers, of which the first is the controller.
    fn start(nodes: &[i32]) -> Self {
        let brokers = Self::default();
        for node in nodes {
            brokers.listen(*node);
        }
        brokers.describe(nodes);
        brokers
    }

    fn listen(&self, node: i32) {
        let mut listener = self.network.listen(address(node)).unwrap();
        let brokers = self.clone();
        tokio::spawn(async move {
            while let Ok(stream) = listener.accept().await {
                *brokers.state().accepted.entry(node).or_default() += 1;
                tokio::spawn(brokers.clone().serve(node, stream));
            }
        });
    }

    fn describe(&self, nodes: &[i32]) {
        let broker =
            |node: &i32| MetadataBroker { node_id: NodeId(*node), host: format!("b{node}"), port: 9092, rack: None };
        let mut state = self.state();
        state.metadata.brokers = nodes.iter().map(broker).collect();
        state.metadata.controller_id = nodes.first().map_or(NodeId::NONE, |node| NodeId(*node));
    }

    fn lead(&self, topic: &str, leader: i32, epoch: i32) {
        let partition =
            MetadataPartition { leader_id: NodeId(leader), leader_epoch: LeaderEpoch(epoch), ..Default::default() };
        let described =
            MetadataTopic { name: Some(topic.to_owned()), partitions: [partition].into(), ..Default::default() };
        let mut state = self.state();
        state.metadata.topics.retain(|known| known.name.as_deref() != Some(topic));
        state.metadata.topics.push(described);
    }

    async fn serve(self, node: i32, mut stream: BoxedStream) -> std::io::Result<()> {
        loop {
            let length = stream.read_u32().await?;
            let mut frame = vec![0; length as usize];
            stream.read_exact(&mut frame).await?;
            if self.state().hung.contains(&node) {
                continue;
            }
            let answer = self.answer(node, frame.into());
            stream.write_all(&answer).await?;
        }
    }

    fn answer(&self, node: i32, frame: Bytes) -> Vec<u8> {
        let header = RequestHeader::read_fixed(&mut Reader::new(frame.clone())).unwrap();
        let mut reader = Reader::new(frame);
        match ApiKey::from_number(header.api_key).unwrap() {
            ApiKey::ApiVersions => {
                let api = |api: ApiKey, max_version| ApiVersion { api_key: api.number(), min_version: 0, max_version };
                let api_keys = vec![api(ApiKey::Metadata, 8), api(ApiKey::FindCoordinator, 2)];
                encode(&header, &ApiVersionsResponse { api_keys, ..Default::default() })
            }
            ApiKey::Metadata => {
                RequestHeader::read(&mut reader, false).unwrap();
                let request = MetadataRequest::decode(&mut reader, header.api_version).unwrap();
                let mut answer = encode(&header, &self.metadata(node, request));
                if self.state().garbled.contains(&node) {
                    answer[8..].fill(0x7f);
                }
                answer
            }
            _ => encode(&header, &FindCoordinatorResponse { node_id: NodeId(node), ..Default::default() }),
        }
    }

    fn metadata(&self, node: i32, request: MetadataRequest) -> MetadataResponse {
        let mut state = self.state();
        let name = |topic: ottla_wire::messages::MetadataRequestTopic| topic.name.unwrap();
        let asked: Option<Vec<String>> = request.topics.map(|topics| topics.into_iter().map(name).collect());
        state.asked.push(asked.clone());
        let told = state.stale.get(&node).unwrap_or(&state.metadata).clone();
        let mut answer = told.clone();
        if let Some(asked) = asked {
            let known = |name: &String| {
                let known = told.topics.iter().find(|topic| topic.name.as_ref() == Some(name));
                let error_code = ErrorCode::UnknownTopicOrPartition;
                let unknown = || MetadataTopic { name: Some(name.clone()), error_code, ..Default::default() };
                known.cloned().unwrap_or_else(unknown)
            };
            answer.topics = asked.iter().map(known).collect();
        }
        for topic in &mut answer.topics {
            let error = state.errors.iter().position(|(name, _)| topic.name.as_ref() == Some(name));
            if let Some(error) = error {
                topic.error_code = state.errors.remove(error).1;
                topic.partitions = Box::default();
            }
        }
        answer
    }

    fn config(&self, nodes: &[i32]) -> ClusterConfig {
        ClusterConfig::new(nodes.iter().map(|node| address(*node))).connector(self.network.connector()).seed(1)
    }

    fn cluster(&self, nodes: &[i32]) -> Cluster {
        Cluster::new(self.config(nodes)).unwrap()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn asked(&self) -> usize {
        self.state().asked.len()
    }

    fn accepted(&self, node: i32) -> usize {
        self.state().accepted.get(&node).copied().unwrap_or_default()
    }
}

fn encode<M: Message>(request: &RequestHeader, response: &M) -> Vec<u8> {
    encode_response(response, request.api_version, request.correlation_id).unwrap().segments.concat()
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause))).unwrap_or_default();
    format!("{error}{cause}")
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_server_that_does_not_answer_is_passed_over() {
    let brokers = Brokers::start(&[2]);
    for seed in 0..8 {
        let cluster = Cluster::new(brokers.config(&[1, 2, 3]).seed(seed)).unwrap();
        let metadata = cluster.refresh(Topics::None).await.unwrap();
        assert_eq!(metadata.brokers().len(), 1);
        assert_eq!(cluster.metadata().controller(), Some(NodeId(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_server_that_hangs_is_waited_for_while_the_next_is_asked() {
    let brokers = Brokers::start(&[1, 2]);
    brokers.state().hung.push(1);
    for seed in 0..8 {
        let cluster = Cluster::new(brokers.config(&[1, 2]).seed(seed)).unwrap();
        let start = Instant::now();
        cluster.refresh(Topics::None).await.unwrap();
        assert!(start.elapsed() <= LATE, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn when_no_bootstrap_server_answers_each_cause_is_told_once() {
    let brokers = Brokers::start(&[]);
    let cluster = brokers.cluster(&[1, 2]);
    let start = Instant::now();
    let error = cluster.refresh(Topics::None).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_mins(1));
    assert!(error.is_retriable());
    assert_eq!(
        chain(&error),
        "asking for metadata took longer than 60s: no bootstrap server answered: \
         cannot connect to b1:9092: connection refused; cannot connect to b2:9092: connection refused"
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_only_starting_is_asked_again() {
    let brokers = Brokers::start(&[1]);
    brokers.describe(&[]);
    let cluster = brokers.cluster(&[1]);
    let refreshing = tokio::spawn(async move { cluster.refresh(Topics::None).await });
    tokio::time::sleep(SECOND * 5).await;
    brokers.describe(&[1]);
    assert_eq!(refreshing.await.unwrap().unwrap().brokers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_awaited_until_the_cluster_knows_it() {
    let brokers = Brokers::start(&[1]);
    let cluster = brokers.cluster(&[1]);
    let asking = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.topic("t").await }
    });
    tokio::time::sleep(SECOND * 10).await;
    brokers.lead("t", 1, 3);
    assert_eq!(asking.await.unwrap().unwrap().partitions.len(), 1);
    assert_eq!(cluster.metadata().leader("t", 0).unwrap().epoch, Some(LeaderEpoch(3)));
    let asked = brokers.asked();
    assert!((8..40).contains(&asked), "backed off: {asked}");
    cluster.topic("t").await.unwrap();
    assert_eq!(brokers.asked(), asked, "known now");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_stays_unknown_or_is_refused_is_an_error_with_its_code() {
    let brokers = Brokers::start(&[1]);
    let cluster = brokers.cluster(&[1]);
    let start = Instant::now();
    let error = cluster.topic("t").await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::UnknownTopicOrPartition));
    assert!(start.elapsed() <= Duration::from_mins(1) && start.elapsed() > Duration::from_secs(58));
    brokers.state().errors.push(("secret".to_owned(), ErrorCode::TopicAuthorizationFailed));
    let start = Instant::now();
    let error = cluster.topic("secret").await.unwrap_err();
    assert!(matches!(error, Error::Topic { error_code: ErrorCode::TopicAuthorizationFailed, .. }));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn refreshes_at_the_same_time_are_one_request() {
    let brokers = Brokers::start(&[1]);
    brokers.lead("t", 1, 1);
    let cluster = brokers.cluster(&[1]);
    cluster.refresh(Topics::None).await.unwrap();
    let refreshing: Vec<_> = (0..20)
        .map(|_| {
            let cluster = cluster.clone();
            tokio::spawn(async move { cluster.refresh(Topics::named(["t"])).await })
        })
        .collect();
    for refreshing in refreshing {
        assert_eq!(refreshing.await.unwrap().unwrap().partition_count("t"), Some(1));
    }
    assert_eq!(brokers.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn older_metadata_does_not_replace_newer() {
    let brokers = Brokers::start(&[1, 2]);
    brokers.lead("t", 2, 5);
    let cluster = brokers.cluster(&[1]);
    cluster.topic("t").await.unwrap();
    brokers.lead("t", 1, 4);
    let metadata = cluster.refresh(Topics::named(["t"])).await.unwrap();
    assert_eq!(metadata.leader("t", 0), Some(Leader { node: NodeId(2), epoch: Some(LeaderEpoch(5)) }));
    let partition = TopicPartition::new("t", 0);
    cluster.observe_leader(&partition, Leader { node: NodeId(1), epoch: Some(LeaderEpoch(5)) });
    assert_eq!(cluster.metadata().leader("t", 0).unwrap().node, NodeId(2));
    cluster.observe_leader(&partition, Leader { node: NodeId(1), epoch: Some(LeaderEpoch(6)) });
    assert_eq!(cluster.metadata().leader("t", 0).unwrap().node, NodeId(1));
}

#[tokio::test(start_paused = true)]
async fn metadata_is_refreshed_when_it_is_old_and_idle_topics_are_forgotten() {
    let brokers = Brokers::start(&[1]);
    for topic in ["kept", "looked at", "idle"] {
        brokers.lead(topic, 1, 1);
    }
    let cluster = brokers.cluster(&[1]);
    cluster.refresh(Topics::named(["kept", "looked at", "idle"])).await.unwrap();
    let _kept = cluster.keep_topics(["kept"]);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_mins(4)).await;
        cluster.metadata().leader("looked at", 0).unwrap();
    }
    let metadata = cluster.metadata();
    assert_eq!(metadata.topics().map(|topic| topic.name.as_ref()).collect::<Vec<_>>(), ["kept", "looked at"]);
    let last = brokers.state().asked.last().unwrap().clone();
    assert_eq!(last.unwrap(), ["kept", "looked at"]);
    assert_eq!(brokers.asked(), 3, "at 0, 5 and 10 minutes");
}

#[tokio::test(start_paused = true)]
async fn callers_at_the_same_time_share_one_connection_for_each_role() {
    let brokers = Brokers::start(&[1, 2]);
    let cluster = brokers.cluster(&[2]);
    cluster.refresh(Topics::None).await.unwrap();
    let connect = |role| {
        let cluster = cluster.clone();
        tokio::spawn(async move { cluster.connection(NodeId(1), role).await.unwrap() })
    };
    let connecting: Vec<_> = (0..10).map(|_| connect(ConnectionRole::Produce)).collect();
    // A caller that goes away takes nothing along.
    connecting[0].abort();
    for connecting in connecting.into_iter().skip(1) {
        connecting.await.unwrap();
    }
    assert_eq!(brokers.accepted(1), 1);
    connect(ConnectionRole::Coordinator).await.unwrap();
    assert_eq!(brokers.accepted(1), 2);
    cluster.connect(NodeId(1), None).await.unwrap();
    cluster.connect(NodeId(1), None).await.unwrap();
    assert_eq!(brokers.accepted(1), 4, "those are nobody else's");
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_is_replaced() {
    let brokers = Brokers::start(&[1]);
    let cluster = brokers.cluster(&[1]);
    cluster.refresh(Topics::None).await.unwrap();
    let connection = cluster.connection(NodeId(1), ConnectionRole::General).await.unwrap();
    brokers.network.cut(&address(1));
    connection.closed().await;
    let found = cluster.request(Destination::Node(NodeId(1)), &find()).await.unwrap();
    assert_eq!(found.node_id, NodeId(1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_refuses_is_tried_again_after_its_back_off() {
    let brokers = Brokers::start(&[1, 2]);
    let cluster = brokers.cluster(&[1]);
    cluster.refresh(Topics::None).await.unwrap();
    brokers.network.refuse(&address(2), true);
    let start = Instant::now();
    for _ in 0..10 {
        let error = cluster.connection(NodeId(2), ConnectionRole::Fetch).await.unwrap_err();
        assert!(matches!(error, Error::Connection { node: NodeId(2), .. }), "{error}");
    }
    let waited = start.elapsed();
    assert!(Duration::from_secs(3) < waited && waited < Duration::from_secs(7), "{waited:?}");
    brokers.network.refuse(&address(2), false);
    cluster.connection(NodeId(2), ConnectionRole::Fetch).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_in_the_cluster_is_an_error() {
    let brokers = Brokers::start(&[1]);
    let error = brokers.cluster(&[1]).connection(NodeId(9), ConnectionRole::Fetch).await.unwrap_err();
    assert!(matches!(error, Error::UnknownNode { node: NodeId(9) }));
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_that_answers_has_not_heard_yet_is_asked_of_another() {
    let brokers = Brokers::start(&[1, 2, 3]);
    brokers.lead("t", 1, 4);
    let cluster = brokers.cluster(&[1]);
    cluster.topic("t").await.unwrap();
    // The broker that the client is connected to, and would therefore ask first, learns of nothing more.
    let connected = cluster.request(Destination::AnyNode, &find()).await.unwrap().node_id.0;
    let stale = brokers.state().metadata.clone();
    brokers.state().stale.insert(connected, stale);
    brokers.lead("t", 2, 5);
    let start = Instant::now();
    while cluster.metadata().leader("t", 0).unwrap().node != NodeId(2) {
        cluster.refresh(Topics::named(["t"])).await.unwrap();
        assert!(start.elapsed() < SECOND * 5, "the same broker is asked for ever");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_hangs_delays_what_may_be_asked_of_any_by_moments_and_once() {
    let brokers = Brokers::start(&[1, 2, 3]);
    brokers.lead("t", 1, 4);
    let cluster = brokers.cluster(&[1]);
    cluster.topic("t").await.unwrap();
    // The broker that the client is connected to, and would therefore ask first.
    let connected = cluster.request(Destination::AnyNode, &find()).await.unwrap().node_id.0;
    brokers.state().hung.push(connected);
    brokers.lead("t", 2, 5);
    let start = Instant::now();
    let metadata = cluster.refresh(Topics::named(["t"])).await.unwrap();
    assert_eq!(metadata.leader("t", 0).unwrap().node, NodeId(2));
    assert!(start.elapsed() <= LATE + SECOND / 5, "{:?}", start.elapsed());
    let start = Instant::now();
    for _ in 0..3 {
        assert_ne!(cluster.request(Destination::AnyNode, &find()).await.unwrap().node_id.0, connected);
        cluster.refresh(Topics::named(["t"])).await.unwrap();
    }
    assert!(start.elapsed() < SECOND * 2, "it was not asked first again: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn connections_that_lead_nowhere_delay_what_may_be_asked_of_any_by_a_moment() {
    for (nodes, asks_for_metadata) in [(&[1][..], false), (&[1], true), (&[1, 2, 3], false), (&[1, 2, 3], true)] {
        let brokers = Brokers::start(nodes);
        brokers.lead("t", 1, 4);
        let cluster = brokers.cluster(&[1]);
        cluster.topic("t").await.unwrap();
        for node in nodes {
            cluster.request(Destination::Node(NodeId(*node)), &find()).await.unwrap();
            brokers.network.half_open(&address(*node));
        }
        let start = Instant::now();
        if asks_for_metadata {
            cluster.refresh(Topics::named(["t"])).await.unwrap();
        } else {
            cluster.request(Destination::AnyNode, &find()).await.unwrap();
        }
        assert!(start.elapsed() <= LATE + SECOND / 5, "{:?} of {nodes:?}", start.elapsed());
        // The new connection is kept.
        let start = Instant::now();
        cluster.request(Destination::AnyNode, &find()).await.unwrap();
        assert!(start.elapsed() < SECOND / 5, "{:?} of {nodes:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn whichever_broker_is_said_to_be_the_controller_is_no_news() {
    let brokers = Brokers::start(&[1, 2]);
    brokers.lead("t", 1, 4);
    let cluster = brokers.cluster(&[1]);
    cluster.topic("t").await.unwrap();
    let start = Instant::now();
    for round in 0..6 {
        brokers.describe(if round % 2 == 0 { &[2, 1] } else { &[1, 2] });
        cluster.refresh(Topics::named(["t"])).await.unwrap();
    }
    assert!(start.elapsed() > SECOND * 2, "each time it is asked later: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_reached_does_not_delay_what_is_asked_about_its_topics() {
    let brokers = Brokers::start(&[1, 2]);
    brokers.lead("t", 2, 4);
    let cluster = brokers.cluster(&[1]);
    cluster.topic("t").await.unwrap();
    tokio::time::sleep(SECOND * 10).await;
    brokers.network.refuse(&address(2), true);
    brokers.network.cut(&address(2));
    let (asked, start) = (brokers.asked(), Instant::now());
    cluster.connection(NodeId(2), ConnectionRole::Produce).await.unwrap_err();
    tokio::task::yield_now().await;
    cluster.refresh(Topics::named(["t"])).await.unwrap();
    assert_eq!((brokers.asked(), start.elapsed()), (asked + 1, Duration::ZERO));
    tokio::time::sleep(SECOND).await;
    assert_eq!(brokers.asked(), asked + 1, "that answer told of the nodes, too");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_tells_of_no_brokers_does_not_keep_others_from_being_asked() {
    let brokers = Brokers::start(&[1, 2]);
    let cluster = brokers.cluster(&[1]);
    cluster.request(Destination::AnyNode, &find()).await.unwrap();
    // The one that is connected has been started anew and has not caught up.
    let connected = cluster.request(Destination::AnyNode, &find()).await.unwrap().node_id.0;
    brokers.state().stale.insert(connected, MetadataResponse::default());
    let start = Instant::now();
    cluster.refresh(Topics::None).await.unwrap();
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_cannot_be_understood_does_not_keep_others_from_being_asked() {
    let brokers = Brokers::start(&[1, 2]);
    let cluster = brokers.cluster(&[1]);
    let connected = cluster.request(Destination::AnyNode, &find()).await.unwrap().node_id.0;
    brokers.state().garbled.push(connected);
    brokers.lead("t", 1, 1);
    assert_eq!(cluster.topic("t").await.unwrap().partitions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_cannot_be_written_fails_alone() {
    let brokers = Brokers::start(&[1]);
    brokers.lead("t", 1, 1);
    let cluster = brokers.cluster(&[1]);
    let endless = "x".repeat(40_000);
    let error = cluster.topic(&endless).await.unwrap_err();
    assert_eq!(error.error_code(), Some(ErrorCode::InvalidTopicException));
    cluster.request_refresh(Topics::named([endless.as_str()]));
    let _kept = cluster.keep_topics([endless.as_str()]);
    assert_eq!(cluster.topic("t").await.unwrap().partitions.len(), 1);
    let start = Instant::now();
    let error = cluster.refresh(Topics::named([endless.as_str()])).await.unwrap_err();
    assert_eq!((error.error_code(), start.elapsed()), (Some(ErrorCode::InvalidTopicException), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_node_that_moves_is_connected_to_where_it_is() {
    let brokers = Brokers::start(&[1, 2]);
    let cluster = brokers.cluster(&[1]);
    cluster.refresh(Topics::None).await.unwrap();
    brokers.network.refuse(&address(2), true);
    for _ in 0..4 {
        cluster.connection(NodeId(2), ConnectionRole::Produce).await.unwrap_err();
    }
    let waiting = [false, true].map(|is_own| {
        let cluster = cluster.clone();
        tokio::spawn(async move {
            if is_own {
                cluster.connect(NodeId(2), None).await
            } else {
                cluster.connection(NodeId(2), ConnectionRole::Produce).await
            }
        })
    });
    tokio::task::yield_now().await;
    brokers.listen(9);
    brokers.state().metadata.brokers[1].host = "b9".to_owned();
    cluster.observe_node(Broker::new(NodeId(2), address(9), None));
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap().address(), &address(9));
    }
}

#[tokio::test(start_paused = true)]
async fn topics_in_use_are_asked_for_anew_of_another_cluster() {
    let brokers = Brokers::start(&[1]);
    brokers.state().metadata.cluster_id = Some("one".to_owned());
    for topic in ["kept", "asked"] {
        brokers.lead(topic, 1, 7);
    }
    let cluster = brokers.cluster(&[1]);
    let _kept = cluster.keep_topics(["kept"]);
    cluster.refresh(Topics::named(["kept", "asked"])).await.unwrap();
    brokers.state().metadata.cluster_id = Some("another".to_owned());
    brokers.lead("kept", 1, 1);
    cluster.refresh(Topics::named(["asked"])).await.unwrap();
    let mut changes = cluster.metadata_changes();
    let known = tokio::time::timeout(SECOND, changes.wait_for(|metadata| metadata.leader("kept", 0).is_some())).await;
    let epoch = known.unwrap().unwrap().leader("kept", 0).unwrap().epoch;
    assert_eq!(epoch, Some(LeaderEpoch(1)));
}

#[tokio::test(start_paused = true)]
async fn any_node_is_one_that_can_be_reached() {
    let brokers = Brokers::start(&[1, 2, 3]);
    let cluster = brokers.cluster(&[1]);
    cluster.refresh(Topics::None).await.unwrap();
    brokers.network.refuse(&address(1), true);
    brokers.network.refuse(&address(3), true);
    for _ in 0..10 {
        assert_eq!(cluster.request(Destination::AnyNode, &find()).await.unwrap().node_id, NodeId(2));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_for_the_controller_follow_it() {
    let brokers = Brokers::start(&[1, 2]);
    let cluster = brokers.cluster(&[2]);
    assert_eq!(cluster.request(Destination::Controller, &find()).await.unwrap().node_id, NodeId(1));
    brokers.describe(&[2, 1]);
    cluster.invalidate_controller();
    assert_eq!(cluster.request(Destination::Controller, &find()).await.unwrap().node_id, NodeId(2));
}

#[tokio::test(start_paused = true)]
async fn when_every_known_broker_is_gone_the_cluster_is_bootstrapped_anew() {
    let brokers = Brokers::start(&[1, 2]);
    brokers.listen(7);
    brokers.lead("t", 1, 1);
    let cluster = brokers.cluster(&[7]);
    cluster.topic("t").await.unwrap();
    // All brokers move to new addresses; only the bootstrap server's stays.
    for node in [1, 2] {
        brokers.network.refuse(&address(node), true);
        brokers.network.cut(&address(node));
    }
    brokers.listen(3);
    brokers.describe(&[3]);
    brokers.lead("t", 3, 2);
    let metadata = cluster.refresh(Topics::named(["t"])).await.unwrap();
    assert_eq!(metadata.leader("t", 0).unwrap().node, NodeId(3));
    let found = cluster.request(Destination::AnyNode, &find()).await.unwrap();
    assert_eq!(found.node_id, NodeId(3));
}

#[tokio::test(start_paused = true)]
async fn without_recovery_the_known_brokers_are_asked_for_ever() {
    let brokers = Brokers::start(&[1]);
    brokers.listen(7);
    let config = brokers.config(&[7]).metadata_recovery_strategy(MetadataRecoveryStrategy::None);
    let cluster = Cluster::new(config).unwrap();
    cluster.refresh(Topics::None).await.unwrap();
    brokers.network.refuse(&address(1), true);
    let error = cluster.refresh(Topics::None).await.unwrap_err();
    assert!(chain(&error).contains("on node 1"), "{}", chain(&error));
    assert_eq!(brokers.accepted(7), 1);
    brokers.network.refuse(&address(1), false);
    cluster.refresh(Topics::None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_at_any_poll_harms_no_other() {
    let brokers = Brokers::start(&[1, 2]);
    brokers.lead("t", 2, 1);
    for polls in 0..12 {
        let cluster = brokers.cluster(&[1]);
        {
            let mut topic = pin!(cluster.topic("t"));
            let mut connection = pin!(cluster.connection(NodeId(2), ConnectionRole::Fetch));
            let mut request = pin!(async { cluster.request(Destination::AnyNode, &find()).await });
            let context = &mut Context::from_waker(Waker::noop());
            for _ in 0..polls {
                let is_ready = [
                    topic.as_mut().poll(context).is_ready(),
                    connection.as_mut().poll(context).is_ready(),
                    request.as_mut().poll(context).is_ready(),
                ];
                if is_ready.contains(&true) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(cluster.topic("t").await.unwrap().partitions.len(), 1, "dropped after {polls} polls");
        cluster.connection(NodeId(2), ConnectionRole::Fetch).await.unwrap();
        cluster.request(Destination::AnyNode, &find()).await.unwrap();
        cluster.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_cluster_has_no_connections_and_takes_nothing_more() {
    let brokers = Brokers::start(&[1]);
    let cluster = brokers.cluster(&[1]);
    cluster.request(Destination::AnyNode, &find()).await.unwrap();
    let clone = cluster.clone();
    cluster.close().await;
    assert!(matches!(clone.refresh(Topics::None).await, Err(Error::Closed)));
    assert!(matches!(clone.connection(NodeId(1), ConnectionRole::Fetch).await, Err(Error::Closed)));
    tokio::time::sleep(SECOND).await;
    assert_eq!(brokers.network.open_connections(&address(1)), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_closes_its_connections() {
    let brokers = Brokers::start(&[1]);
    let cluster = brokers.cluster(&[1]);
    let clone = cluster.clone();
    cluster.request(Destination::AnyNode, &find()).await.unwrap();
    drop(cluster);
    tokio::time::sleep(SECOND).await;
    assert_eq!(brokers.network.open_connections(&address(1)), 1);
    drop(clone);
    tokio::time::sleep(SECOND).await;
    assert_eq!(brokers.network.open_connections(&address(1)), 0);
}

#[test]
fn settings_that_cannot_be_are_named() {
    let config = || ClusterConfig::new([address(1)]);
    let table = [
        (ClusterConfig::new([]), "bootstrap.servers is empty, which is no server"),
        (config().retry_backoff(SECOND * 2), "retry.backoff.ms is 2000 ms, which is more than retry.backoff.max.ms"),
        (
            config().default_api_timeout(SECOND),
            "default.api.timeout.ms is 1000 ms, which is less than request.timeout.ms",
        ),
        (config().max_in_flight_requests(0), "max.in.flight.requests.per.connection is 0, which is not positive"),
    ];
    for (config, expected) in table {
        assert_eq!(Cluster::new(config).unwrap_err().to_string(), expected);
    }
    let cluster = Cluster::new(config()).unwrap();
    cluster.request_refresh(Topics::None);
    assert!(matches!(cluster.runtime(), Err(Error::NoRuntime)));
}
